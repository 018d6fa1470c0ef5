#!/usr/bin/python3
"""test_frames.py - frames: what is refused, in which words, and what the broker sends itself

Each refusal is asked for on a connection of its own while a bystander, opened before the first of
them, keeps passing messages through the same broker; after each it must be able to do so still.
Reply texts show the frame as an Erlang term because that is what users of RabbitMQ search for.
"""

import os
import re
import struct
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))

import leveret                              # noqa: E402
import rawamqp                              # noqa: E402
import run                                  # noqa: E402
from rawamqp import BODY, HEADER, HEARTBEAT, METHOD     # noqa: E402

BROKER = None
BYSTANDER = None
BYSTANDER_LOCK = threading.Lock()
QOS_OCTETS = b'\0\x3c\0\x0a' + bytes(7)     # a whole basic.qos payload


def setup():
    global BROKER, BYSTANDER
    BROKER = leveret.open_broker()
    BYSTANDER = rawamqp.connect(BROKER.port)
    BYSTANDER.rpc(1, 'queue.declare', queue='frames.bystander.%d' % os.getpid(), exclusive=True)
    BYSTANDER.rpc(1, 'basic.consume', consumer_tag='b', no_ack=True)


def teardown():
    BYSTANDER.close()
    BROKER.close()


def bystander_notices_nothing():
    """A message still goes round on the connection that did nothing wrong."""
    with BYSTANDER_LOCK:
        BYSTANDER.publish(1, '', 'frames.bystander.%d' % os.getpid(), 'still here')
        run.check_equal(BYSTANDER.expect_content(1, 'basic.deliver').body, b'still here')


def check_refused(octets, code, text, method=(0, 0), **handshake):
    """Octets sent on a running connection with channel 1 open are answered by one close."""
    raw = rawamqp.connect(BROKER.port, **handshake)
    raw.send(octets)
    raw.expect_close(code, text, method)
    bystander_notices_nothing()


def check_lost_sync(octets, text):
    """Octets after which frames cannot be told apart: close, nothing read, gone after 3 s."""
    raw = rawamqp.connect(BROKER.port)
    raw.send(octets)
    if BROKER.external:             # RabbitMQ may break the line before a number
        text = re.compile('^' + re.escape(text).replace(',', r',\s*') + '$')
    raw.expect_close(501, text, answer=False)
    try:
        raw.call(0, 'connection.close-ok')      # must not be waited for, nor read
    except OSError:
        pass
    seconds = raw.eof(8)
    run.check(2 <= seconds <= 5, 'closed after %.1f s, expected 3 s' % seconds)
    bystander_notices_nothing()


# ---- frames that cannot be -------------------------------------------------------------------

def test_frame_end_must_be_206_and_the_connection_lingers_3_seconds():
    run.each_at_once(check_lost_sync, [
        (rawamqp.frame(METHOD, 0, QOS_OCTETS, end=0),
         'FRAME_ERROR - type 1, all octets = <<0,60,0,10,0,0,0,0,0,0,0>>: '
         '{invalid_frame_end_marker,0}'),
        (rawamqp.frame(METHOD, 1, QOS_OCTETS, end=0xCF),
         'FRAME_ERROR - type 1, all octets = <<0,60,0,10,0,0,0,0,0,0,0>>: '
         '{invalid_frame_end_marker,207}'),
        (rawamqp.frame(HEARTBEAT, 0, b'', end=1),
         'FRAME_ERROR - type 8, all octets = <<>>: {invalid_frame_end_marker,1}'),
        (rawamqp.frame(BODY, 1, b'abcdefghijklmnopqrstuvwxyz', end=2),
         'FRAME_ERROR - type 3, first 16 octets = <<"abcdefghijklmnop">>: '
         '{invalid_frame_end_marker,2}'),
        # only the seven octets of the head are read of a frame that is too large
        (struct.pack('>BHI', BODY, 1, 131073),
         'FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,131073,131064}'),
        (struct.pack('>BHI', METHOD, 0, 0xFFFFFFFF),
         'FRAME_ERROR - type 1, all octets = <<>>: {frame_too_large,4294967295,131064}'),
    ])


def test_frame_types_other_than_1_2_3_8_are_refused():
    for kind in (0, 4, 5, 9, 255):
        for channel in (0, 1):
            check_refused(rawamqp.frame(kind, channel, b'abc'), 501,
                          'FRAME_ERROR - type %d, all octets = <<"abc">>: unknown_frame' % kind)


def test_octets_of_a_refused_frame_are_shown_as_an_erlang_binary():
    for payload, shown in ((b'', 'all octets = <<>>'),
                           (b'\0\xff\x80', 'all octets = <<0,255,128>>'),
                           (b'0123456789abcdef', 'all octets = <<"0123456789abcdef">>'),
                           (b'0123456789abcdefg', 'first 16 octets = <<"0123456789abcdef">>'),
                           (bytes(17), 'first 16 octets = <<0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0>>'),
                           (b'a b~', 'all octets = <<"a b~">>'),
                           (b'a\x7f', 'all octets = <<97,127>>')):
        check_refused(rawamqp.frame(4, 1, payload), 501,
                      'FRAME_ERROR - type 4, %s: unknown_frame' % shown)


def test_method_frame_shorter_than_its_ids_is_refused():
    for payload, shown in ((b'', '<<>>'), (b'\0<', '<<0,60>>'), (b'\0\x14\0', '<<0,20,0>>')):
        for channel in (0, 1):
            check_refused(rawamqp.frame(METHOD, channel, payload), 501,
                          'FRAME_ERROR - type 1, all octets = %s: unknown_frame' % shown)


def test_header_frame_shorter_than_12_octets_is_refused():
    publish = rawamqp.call_frame(1, 'basic.publish', routing_key='x')
    check_refused(publish + rawamqp.frame(HEADER, 1, b'\0\x3c\0\0\0\0\0\0\0\0\0'), 501,
                  'FRAME_ERROR - type 2, all octets = <<0,60,0,0,0,0,0,0,0,0,0>>: unknown_frame')


def test_heartbeat_with_payload_is_refused():
    check_refused(rawamqp.frame(HEARTBEAT, 0, b'x'), 501,
                  'FRAME_ERROR - type 8, all octets = <<"x">>: unknown_frame')


def test_heartbeat_outside_channel_0_is_refused():
    for channel in (1, 7):
        check_refused(rawamqp.frame(HEARTBEAT, channel, b''), 505,
                      'UNEXPECTED_FRAME - type 8, all octets = <<>>')


def test_content_on_channel_0_is_refused():
    check_refused(rawamqp.frame(BODY, 0, b'zzz'), 505,
                  'UNEXPECTED_FRAME - type 3, all octets = <<"zzz">>')
    check_refused(rawamqp.header_frame(0, 1), 505, 'UNEXPECTED_FRAME - type 2, all octets = '
                  '<<0,60,0,0,0,0,0,0,0,0,0,1,0,0>>')


# ---- methods that cannot be ------------------------------------------------------------------

def test_unknown_class_or_method_is_refused():
    for channel in (0, 1):
        for ident in ((60, 99), (99, 10), (0, 0), (40, 41), (70, 10), (65535, 65535)):
            raw = rawamqp.connect(BROKER.port)
            raw.method(channel, ident)
            if BROKER.external:
                raw.eof()               # RabbitMQ drops the connection without a word
            else:
                raw.expect_close(503, re.compile('^COMMAND_INVALID - '), None)
            bystander_notices_nothing()


def test_arguments_must_fill_the_frame_exactly():
    whole = rawamqp.encode_fields(rawamqp.METHODS[60, 10].fields, {'prefetch_count': 1})
    for args, shown in ((whole + b'zz', '0,0,0,0,0,1,0,122,122'), (whole[:-1], '0,0,0,0,0,1'),
                        (b'', '')):
        check_refused(rawamqp.method_frame(1, 'basic.qos', args), 501,
                      'FRAME_ERROR - cannot decode <<%s>>' % shown, 'basic.qos')
    check_refused(rawamqp.method_frame(1, 'tx.select', b'\0'), 501,
                  'FRAME_ERROR - cannot decode <<0>>', 'tx.select')


def test_short_string_longer_than_the_frame_is_refused():
    check_refused(rawamqp.method_frame(1, 'basic.get', b'\0\0\xffabc\0'), 501,
                  re.compile('^FRAME_ERROR - cannot decode <<'), 'basic.get')


def test_bad_arguments_on_channel_0_are_refused():
    bad = rawamqp.method_frame(0, 'connection.close', b'\0')
    if BROKER.external:
        check_refused(bad, 541, 'INTERNAL_ERROR')
    else:
        check_refused(bad, 501, 'FRAME_ERROR - cannot decode <<0>>', 'connection.close')


def test_short_strings_of_methods_must_be_utf8():
    for method, values in (('queue.declare', {'queue': b'\xff\xfe'}),
                           ('exchange.declare', {'exchange': b'a\xc0\x80', 'type': 'direct'}),
                           ('basic.consume', {'consumer_tag': b'caf\xe9'}),
                           ('queue.bind', {'exchange': 'amq.topic', 'routing_key': b'\xf5'})):
        check_refused(rawamqp.call_frame(1, method, **values), 501,
                      'FRAME_ERROR - Malformed UTF-8 in shortstr')


def test_methods_of_the_server_are_not_for_clients():
    for method in ('queue.declare-ok', 'basic.get-empty', 'channel.open-ok', 'exchange.bind-ok',
                   'confirm.select-ok', 'tx.commit-ok'):
        check_refused(rawamqp.call_frame(1, method), 503,
                      'COMMAND_INVALID - unimplemented method', method)


def test_cancel_ok_and_flow_ok_from_a_client_change_nothing():
    if BROKER.external:
        run.skip('a choice of Leveret: RabbitMQ before 4.3 answers 503')
    raw = rawamqp.connect(BROKER.port)
    raw.call(1, 'basic.cancel-ok', consumer_tag='gone')
    raw.call(1, 'channel.flow-ok', active=True)
    raw.sync(1)
    raw.close()


def test_only_connection_methods_on_channel_0():
    unexpected = 'CHANNEL_ERROR - unexpected method in connection state running'
    for method in ('channel.open', 'basic.qos', 'queue.declare', 'tx.select', 'access.request',
                   'connection.open', 'connection.tune-ok', 'connection.start-ok',
                   'connection.secure-ok', 'connection.blocked', 'connection.close-ok'):
        check_refused(rawamqp.call_frame(0, method), 504, unexpected, method)


def test_connection_methods_only_on_channel_0():
    for method in ('connection.close', 'connection.open', 'connection.update-secret'):
        check_refused(rawamqp.call_frame(1, method), 503,
                      'COMMAND_INVALID - unimplemented method', method)


def test_unused_bits_are_ignored():
    raw = rawamqp.connect(BROKER.port)
    raw.method(1, 'basic.qos', b'\0\0\0\0\0\1' + b'\xfe')
    raw.expect(1, 'basic.qos-ok')
    raw.close()


def test_access_request_is_still_answered():
    raw = rawamqp.connect(BROKER.port)
    run.check_equal(raw.rpc(1, 'access.request', realm='/data', active=True).ticket, 1)
    raw.close()


# ---- input in any pieces ---------------------------------------------------------------------

def test_input_split_at_every_octet():
    raw = rawamqp.connect(BROKER.port)
    queue = raw.rpc(1, 'queue.declare', exclusive=True).queue
    raw.send_slowly(rawamqp.call_frame(1, 'basic.publish', routing_key=queue)
                    + rawamqp.content_frames(1, b'in pieces', rawamqp.properties(app_id='split'))
                    + rawamqp.call_frame(1, 'basic.get', queue=queue, no_ack=True))
    name, _ = raw.expect_any(1, ['basic.get-ok'])
    run.check_equal(name, 'basic.get-ok')
    raw.drop()


def test_bodies_of_many_sizes_arrive_whole():
    raw = rawamqp.connect(BROKER.port)
    queue = raw.rpc(1, 'queue.declare', exclusive=True).queue
    raw.rpc(1, 'basic.consume', queue=queue, no_ack=True)
    pattern = bytes(range(251)) * 5000
    for size in (0, 1, 2047, 2048, 2049, 131063, 131064, 131065, 262128, 1000003):
        raw.publish(1, '', queue, pattern[:size])
        body = raw.expect_content(1, 'basic.deliver').body
        run.check(body == pattern[:size], 'a body of %d octets came back changed' % size)
    raw.close()


# ---- what the broker sends -------------------------------------------------------------------

def body_sizes(raw, queue):
    """Get a message frame by frame; return the sizes of its body frames."""
    raw.call(1, 'basic.get', queue=queue, no_ack=True)
    raw.expect(1, 'basic.get-ok')
    header = raw.read_frame()
    run.check_equal(header.type, HEADER, 'frame type')
    left = struct.unpack_from('>Q', header.payload, 4)[0]
    sizes = []
    while left > 0:
        part = raw.read_frame()
        run.check_equal(part.type, BODY, 'frame type')
        sizes.append(len(part.payload))
        left -= sizes[-1]
    raw.sync(1)                             # nothing follows the last body frame
    return sizes


def test_bodies_are_cut_to_the_tuned_frame_max():
    raw = rawamqp.connect(BROKER.port, tune=(None, 4096, 0))
    queue = raw.rpc(1, 'queue.declare', exclusive=True).queue
    for size, want in ((10000, [4088, 4088, 1824]), (4088, [4088]), (4089, [4088, 1]),
                       (8176, [4088, 4088]), (1, [1]), (0, [])):
        raw.publish(1, '', queue, b'x' * size)
        run.check_equal(body_sizes(raw, queue), want, 'body frames of %d octets' % size)
    raw.close()


def test_message_of_a_large_frame_connection_reaches_a_small_frame_one():
    large = rawamqp.connect(BROKER.port)
    small = rawamqp.connect(BROKER.port, tune=(None, 4096, 0))
    queue = 'frames.cut.%d' % os.getpid()
    small.rpc(1, 'queue.declare', queue=queue, auto_delete=True)
    large.publish(1, '', queue, b'y' * 100000)
    large.sync(1)
    run.wait_for(lambda: small.rpc(1, 'queue.declare', queue=queue, passive=True).message_count,
                 'the message in the queue')
    run.check_equal(body_sizes(small, queue), [4088] * 24 + [100000 - 24 * 4088])
    small.rpc(1, 'queue.delete', queue=queue)
    small.close()
    large.close()


def test_contents_of_two_channels_do_not_mix():
    raw = rawamqp.connect(BROKER.port, channels=2, tune=(None, 4096, 0))
    queue = raw.rpc(1, 'queue.declare', exclusive=True).queue
    body = b'z' * 20000
    for channel in (1, 2):
        raw.rpc(channel, 'basic.consume', queue=queue, consumer_tag='c%d' % channel, no_ack=True)
    for _ in range(20):
        raw.publish(1, '', queue, body)
    seen = set()
    for _ in range(20):
        first = raw.read_frame()
        spec, _values = rawamqp.decode_method(first.payload)
        run.check_equal(spec.name, 'basic.deliver', 'first frame')
        seen.add(first.channel)
        parts = [raw.read_frame() for _ in range(1 + 5)]
        run.check_equal([(part.type, part.channel) for part in parts],
                        [(HEADER, first.channel)] + [(BODY, first.channel)] * 5, 'content')
    run.check_equal(seen, {1, 2}, 'channels that got deliveries')
    raw.close()


def test_contents_of_two_channels_may_come_mixed():
    raw = rawamqp.connect(BROKER.port, channels=2)
    queue = raw.rpc(1, 'queue.declare', exclusive=True).queue
    publish = [rawamqp.call_frame(n, 'basic.publish', routing_key=queue) for n in (1, 2)]
    raw.send(publish[0] + publish[1] + rawamqp.header_frame(2, 3) + rawamqp.header_frame(1, 4)
             + rawamqp.frame(BODY, 1, b'on') + rawamqp.frame(BODY, 2, b'two')
             + rawamqp.frame(HEARTBEAT, 0, b'') + rawamqp.frame(BODY, 1, b'e.'))
    raw.sync(1)
    raw.sync(2)
    run.check_equal(sorted(raw.get(1, queue).body for _ in range(2)), [b'one.', b'two'])
    raw.close()


# ---- one line in the log ---------------------------------------------------------------------

def test_refusal_is_one_line_in_the_log():
    if BROKER.external:
        run.skip('the log of another broker is not ours to read')

    def complaints():
        return [line for line in BROKER.log().splitlines() if 'unknown_frame' in line]

    before = len(complaints())
    check_refused(rawamqp.frame(4, 1, b'for the log'), 501,
                  'FRAME_ERROR - type 4, all octets = <<"for the log">>: unknown_frame')
    run.wait_for(lambda: len(complaints()) > before, 'a line in the log')
    check_refused(rawamqp.frame(9, 0, b''), 501,
                  'FRAME_ERROR - type 9, all octets = <<>>: unknown_frame')
    run.wait_for(lambda: len(complaints()) > before + 1, 'a second line in the log')
    run.check_equal(len(complaints()) - before, 2, 'lines for two refused frames')


if __name__ == '__main__':
    run.main()
