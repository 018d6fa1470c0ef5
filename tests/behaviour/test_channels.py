#!/usr/bin/python3
"""test_channels.py - channels: their states, the assembly of contents, closing, and flow

A channel exception must end one channel and nothing else, a connection exception everything; the
tests look at both sides. `raw.sync(n)` is a round trip that changes nothing: when its answer is the
next thing to come, nothing else was sent before it.
"""

import os
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))

import leveret                              # noqa: E402
import rawamqp                              # noqa: E402
import run                                  # noqa: E402
from rawamqp import BODY, HEADER            # noqa: E402

BROKER = None
EXPECTED_OPEN = "CHANNEL_ERROR - expected 'channel.open'"
SECOND_OPEN = "CHANNEL_ERROR - second 'channel.open' seen"
WANT_METHOD = 'UNEXPECTED_FRAME - expected method frame, got non method frame instead'
WANT_HEADER = ('UNEXPECTED_FRAME - expected content header for class 60, '
               'got non content header frame instead')
WANT_BODY = 'UNEXPECTED_FRAME - expected content body, got non content body frame instead'
MISSING = 'channels.missing.%d' % os.getpid()
NO_QUEUE = "NOT_FOUND - no queue '%s' in vhost '/'" % MISSING
NO_EXCHANGE = "NOT_FOUND - no exchange '%s' in vhost '/'" % MISSING


def setup():
    global BROKER
    BROKER = leveret.open_broker()


def teardown():
    BROKER.close()


def connect(channels=1, **handshake):
    """A running connection with channels open."""
    return rawamqp.connect(BROKER.port, channels, **handshake)


def exclusive_queue(raw, channel=1):
    """A queue that lives as long as the connection."""
    return raw.rpc(channel, 'queue.declare', exclusive=True).queue


def fail_channel(raw, channel=1, answer=False):
    """Make a channel exception happen; the server's close has been read afterwards."""
    raw.call(channel, 'queue.declare', queue=MISSING, passive=True)
    raw.expect_channel_close(channel, 404, NO_QUEUE, 'queue.declare', answer=answer)


# ---- opening ---------------------------------------------------------------------------------

def test_open_use_close_and_use_again():
    raw = connect(0)
    for _ in range(50):
        raw.open_channel(1)
        raw.sync(1)
        raw.close_channel(1)
    raw.close()


def test_any_number_will_do():
    raw = connect(0)
    for channel in (65535, 5000, 2, 1, 32768):
        raw.open_channel(channel)
    for channel in (1, 65535, 32768):
        raw.sync(channel)
    raw.close()


def test_first_method_must_be_open():
    for method in ('basic.qos', 'channel.close', 'channel.close-ok', 'queue.declare', 'tx.select',
                   'channel.flow', 'basic.ack'):
        raw = connect(0)
        raw.call(3, method)
        raw.expect_close(504, EXPECTED_OPEN, method)


def test_publish_first_is_refused_once_its_content_is_there():
    raw = connect(0)
    raw.publish(3, '', 'x', b'body')
    raw.expect_close(504, EXPECTED_OPEN, 'basic.publish')


def test_content_first_is_refused():
    for octets in (rawamqp.header_frame(3, 1), rawamqp.frame(BODY, 3, b'x')):
        raw = connect(0)
        raw.send(octets)
        raw.expect_close(505, WANT_METHOD)


def test_second_open_is_refused():
    raw = connect(1)
    raw.call(1, 'channel.open')
    raw.expect_close(504, SECOND_OPEN, 'channel.open')


def test_second_open_is_refused_while_closing():
    raw = connect(1)
    fail_channel(raw)
    raw.call(1, 'channel.open')
    raw.expect_close(504, SECOND_OPEN, 'channel.open')


def test_method_on_a_closed_channel_is_refused():
    raw = connect(2)
    raw.close_channel(1)
    raw.call(1, 'basic.qos')
    raw.expect_close(504, EXPECTED_OPEN, 'basic.qos')
    raw = connect(2)
    fail_channel(raw, answer=True)
    raw.call(1, 'queue.declare', exclusive=True)
    raw.expect_close(504, EXPECTED_OPEN, 'queue.declare')


def test_number_is_free_at_once_after_close_ok():
    raw = connect(1)
    fail_channel(raw, answer=True)
    raw.open_channel(1)
    # the client's close-ok and its next open may come in one go
    fail_channel(raw)
    raw.send(rawamqp.call_frame(1, 'channel.close-ok') + rawamqp.call_frame(1, 'channel.open')
             + rawamqp.call_frame(1, 'basic.qos', prefetch_count=2))
    for method in ('channel.open-ok', 'basic.qos-ok'):
        raw.expect(1, method)
    raw.close()


def test_new_channel_starts_afresh():
    raw = connect(1)
    queue = exclusive_queue(raw)
    raw.rpc(1, 'confirm.select')
    raw.publish(1, '', queue, b'one')
    run.check_equal(raw.expect(1, 'basic.ack').delivery_tag, 1, 'confirm')
    run.check(raw.get(1, queue, no_ack=False), 'the queue is empty')
    raw.close_channel(1)
    raw.open_channel(1)
    raw.rpc(1, 'tx.select')                         # not in confirm mode any more
    message = raw.get(1, queue, no_ack=False)
    run.check_equal(message.method.delivery_tag, 1, 'delivery tag')
    raw.call(1, 'queue.purge')
    raw.expect_channel_close(1, 404, 'NOT_FOUND - no previously declared queue', 'queue.purge')
    raw.close()


# ---- contents --------------------------------------------------------------------------------

def publish_then(raw, octets):
    """Send basic.publish and octets after it."""
    raw.send(rawamqp.call_frame(1, 'basic.publish', routing_key='x') + octets)


def test_content_without_publish_is_refused():
    for octets in (rawamqp.header_frame(1, 1), rawamqp.frame(BODY, 1, b'x'),
                   rawamqp.frame(BODY, 1, b'')):
        raw = connect()
        raw.send(octets)
        raw.expect_close(505, WANT_METHOD)


def test_after_publish_only_a_header_is_expected():
    for octets in (rawamqp.call_frame(1, 'basic.qos'), rawamqp.frame(BODY, 1, b'x'),
                   rawamqp.call_frame(1, 'basic.publish'), rawamqp.call_frame(1, 'channel.close'),
                   rawamqp.header_frame(1, 1, weight=1)):
        raw = connect()
        publish_then(raw, octets)
        raw.expect_close(505, WANT_HEADER, 'basic.publish')


def test_header_of_another_class_is_refused():
    for class_id in (50, 0, 61, 65535):
        raw = connect()
        publish_then(raw, rawamqp.header_frame(1, 1, class_id=class_id))
        raw.expect_close(505, 'UNEXPECTED_FRAME - expected content header for class 60, '
                         'got one for class %d instead' % class_id, 'basic.publish')


def test_after_header_only_bodies_are_expected():
    for octets in (rawamqp.call_frame(1, 'basic.qos'), rawamqp.header_frame(1, 4),
                   rawamqp.call_frame(1, 'channel.close')):
        for begun in (b'', rawamqp.frame(BODY, 1, b'abc')):
            raw = connect()
            publish_then(raw, rawamqp.header_frame(1, 4) + begun + octets)
            raw.expect_close(505, WANT_BODY, 'basic.publish')


def test_body_longer_than_announced_is_refused():
    if BROKER.external:
        run.skip('RabbitMQ before 4.2 waits for ever')
    for octets in (rawamqp.frame(BODY, 1, b'12345'),
                   rawamqp.frame(BODY, 1, b'123') + rawamqp.frame(BODY, 1, b'45')):
        raw = connect()
        publish_then(raw, rawamqp.header_frame(1, 4) + octets)
        raw.expect_close(501, 'FRAME_ERROR - content body frame exceeds remaining content size',
                         'basic.publish')


def test_no_body_frame_may_follow_an_empty_body():
    for body in (b'', b'x'):
        raw = connect()
        publish_then(raw, rawamqp.header_frame(1, 0) + rawamqp.frame(BODY, 1, body))
        raw.expect_close(505, WANT_METHOD)


def test_empty_body_frames_in_between_are_ignored():
    raw = connect()
    queue = exclusive_queue(raw)
    empty = rawamqp.frame(BODY, 1, b'')
    raw.send(rawamqp.call_frame(1, 'basic.publish', routing_key=queue)
             + rawamqp.header_frame(1, 4) + empty + rawamqp.frame(BODY, 1, b'12') + empty + empty
             + rawamqp.frame(BODY, 1, b'34'))
    run.check_equal(raw.get(1, queue).body, b'1234')
    raw.close()


def test_other_channels_go_on_while_a_content_is_incomplete():
    raw = connect(2)
    queue = exclusive_queue(raw, 2)
    publish_then(raw, rawamqp.header_frame(1, 1 << 20) + rawamqp.frame(BODY, 1, b'x' * 1000))
    raw.publish(2, '', queue, b'whole')
    run.check_equal(raw.get(2, queue).body, b'whole')
    raw.close()


def test_connection_may_close_while_a_content_is_incomplete():
    for octets in (b'', rawamqp.header_frame(1, 100), rawamqp.header_frame(1, 100)
                   + rawamqp.frame(BODY, 1, b'x')):
        raw = connect()
        publish_then(raw, octets)
        raw.close()


def test_content_is_assembled_and_dropped_while_closing():
    raw = connect(2)
    queue = exclusive_queue(raw, 2)
    fail_channel(raw)
    raw.publish(1, '', queue, b'dropped')
    raw.send(rawamqp.call_frame(1, 'basic.publish', routing_key=queue) + rawamqp.header_frame(1, 6)
             + rawamqp.frame(BODY, 1, b'gone') + rawamqp.frame(BODY, 1, b'!!'))
    raw.call(1, 'channel.close-ok')
    raw.open_channel(1)
    run.check_equal(raw.get(1, queue), None, 'message of a closing channel')
    raw.close()


def test_content_begun_before_the_exception_may_end_after_it():
    raw = connect(2)
    queue = exclusive_queue(raw, 2)
    fail_channel(raw)
    raw.send(rawamqp.call_frame(1, 'basic.publish', routing_key=queue))
    raw.send(rawamqp.header_frame(1, 3))
    raw.sync(2)
    raw.frame(BODY, 1, b'end')
    raw.call(1, 'channel.close-ok')
    raw.open_channel(1)
    run.check_equal(raw.get(1, queue), None, 'message of a closing channel')
    raw.close()


def test_undecodable_properties_are_refused():
    text, code = re.compile('^FRAME_ERROR'), 501
    if BROKER.external:
        text, code = 'INTERNAL_ERROR', 541
    for octets in (b'\x80\0',                               # a content type, but where?
                   b'\x80\0\x05abc',                        # cut short
                   b'\0\0x',                                # octets after the last property
                   b'\x10\0',                               # delivery-mode without its octet
                   b'\x20\0\0\0\0\x05',                     # table cut short
                   b'\x20\0\0\0\0\x03\1aZ',                 # unknown type
                   b'\x20\0' + rawamqp.table(b'\x05ab'),    # key longer than its table
                   b'\x20\0' + rawamqp.table(b'\1aS\0\0\0\x09x'),
                   b'\x20\0' + rawamqp.table(b'\1aA\0\0\0\2t\1' + b'\1bF\0\0\0\7')):
        raw = connect()
        publish_then(raw, rawamqp.frame(HEADER, 1, b'\0\x3c\0\0' + bytes(8) + octets))
        raw.expect_close(code, text, None)


def test_unused_property_flags_are_ignored():
    raw = connect()
    queue = exclusive_queue(raw)
    raw.publish(1, '', queue, b'x', b'\x80\x02' + rawamqp.shortstr('text/plain'))
    run.check_equal(raw.get(1, queue).properties.content_type, 'text/plain')
    raw.close()


# ---- closing ---------------------------------------------------------------------------------

def test_channel_exception_leaves_other_channels_alone():
    raw = connect(3)
    queue = exclusive_queue(raw, 2)
    raw.rpc(2, 'basic.consume', queue=queue, consumer_tag='c', no_ack=True)
    fail_channel(raw)
    raw.publish(3, '', queue, b'still')
    run.check_equal(raw.expect_content(2, 'basic.deliver').body, b'still')
    raw.call(1, 'channel.close-ok')
    raw.sync(2)
    raw.sync(3)
    raw.close()


def test_channel_is_deaf_and_dumb_until_close_ok():
    raw = connect(2)
    queue = exclusive_queue(raw, 2)
    raw.rpc(1, 'basic.consume', queue=queue, no_ack=True)
    fail_channel(raw)
    raw.call(1, 'queue.declare', exclusive=True)
    raw.call(1, 'basic.qos', prefetch_count=1)
    raw.call(1, 'queue.declare', queue=MISSING, passive=True)
    raw.publish(1, '', MISSING, b'ignored')
    raw.publish(2, '', queue, b'not for 1')
    raw.sync(2)                                     # nothing came on 1
    raw.call(1, 'channel.close-ok')
    raw.open_channel(1)
    run.check_equal(raw.get(1, queue).body, b'not for 1')
    raw.close()


def test_requests_before_the_failing_one_are_answered_and_later_ones_are_not():
    raw = connect(1)
    raw.send(rawamqp.call_frame(1, 'basic.qos', prefetch_count=1)
             + rawamqp.call_frame(1, 'queue.declare', queue=MISSING, passive=True)
             + rawamqp.call_frame(1, 'basic.qos', prefetch_count=2)
             + rawamqp.call_frame(1, 'channel.flow', active=True))
    raw.expect(1, 'basic.qos-ok')
    raw.expect_channel_close(1, 404, NO_QUEUE, 'queue.declare')
    raw.open_channel(1)
    raw.close()


def test_confirms_come_before_the_close_of_their_channel():
    raw = connect(1)
    raw.rpc(1, 'confirm.select')
    raw.send(rawamqp.call_frame(1, 'basic.publish', exchange='amq.fanout')
             + rawamqp.content_frames(1, b'goes nowhere: safe at once')
             + rawamqp.call_frame(1, 'basic.publish', exchange=MISSING)
             + rawamqp.content_frames(1, b'fails')
             + rawamqp.call_frame(1, 'basic.publish', exchange='amq.fanout')
             + rawamqp.content_frames(1, b'comes too late'))
    run.check_equal(raw.expect(1, 'basic.ack').delivery_tag, 1, 'confirm')
    raw.expect_channel_close(1, 404, NO_EXCHANGE, 'basic.publish')
    raw.open_channel(1)
    raw.close()


def test_closes_that_cross_are_both_answered():
    raw = connect(2)
    fail_channel(raw)
    raw.call(1, 'channel.close')
    raw.expect(1, 'channel.close-ok')
    raw.call(1, 'queue.declare', exclusive=True)    # still ignored: our close-ok is missing
    raw.sync(2)
    raw.call(1, 'channel.close-ok')
    raw.open_channel(1)
    raw.close()


def test_close_ok_without_close_is_refused():
    raw = connect(1)
    raw.call(1, 'channel.close-ok')
    raw.expect_close(503, 'COMMAND_INVALID - unimplemented method', 'channel.close-ok')


def test_deliveries_under_way_come_before_close_ok():
    raw = connect(1)
    queue = exclusive_queue(raw)
    for number in range(300):
        raw.publish(1, '', queue, b'%d' % number)
    raw.send(rawamqp.call_frame(1, 'basic.consume', queue=queue, consumer_tag='c'))
    raw.expect(1, 'basic.consume-ok')
    first = raw.expect_content(1, 'basic.deliver')
    raw.call(1, 'channel.close')
    came = [int(first.body)]
    while True:
        name, values = raw.expect_any(1, ['basic.deliver', 'channel.close-ok'])
        if name == 'channel.close-ok':
            break
        came.append(int(raw.content(1, values).body))
    run.check_equal(came, list(range(len(came))), 'deliveries')
    raw.open_channel(1)
    count = raw.rpc(1, 'queue.declare', queue=queue, passive=True).message_count
    run.check_equal(count, 300, 'messages after the close')
    raw.close()


def test_closing_requeues_what_was_not_acknowledged():
    raw = connect(2)
    queue = exclusive_queue(raw)
    for body in (b'1', b'2', b'3'):
        raw.publish(1, '', queue, body)
    for _ in range(3):
        run.check(raw.get(1, queue, no_ack=False), 'the queue is empty')
    raw.call(1, 'basic.ack', delivery_tag=2)
    raw.close_channel(1)
    for body in (b'1', b'3'):
        message = raw.get(2, queue)
        run.check_equal((message.body, message.method.redelivered), (body, True), 'message')
    run.check_equal(raw.get(2, queue), None, 'rest of the queue')
    raw.close()


def test_closing_ends_consumers_and_keeps_exclusive_queues():
    raw = connect(2)
    queue = exclusive_queue(raw)
    raw.rpc(1, 'basic.consume', queue=queue, consumer_tag='c')
    raw.close_channel(1)
    told = raw.rpc(2, 'queue.declare', queue=queue, passive=True)
    run.check_equal(told.consumer_count, 0, 'consumers')
    raw.close()


def test_closing_drops_an_uncommitted_transaction():
    raw = connect(2)
    queue = exclusive_queue(raw)
    raw.rpc(1, 'tx.select')
    raw.publish(1, '', queue, b'never')
    raw.close_channel(1)
    run.check_equal(raw.get(2, queue), None, 'uncommitted message')
    raw.close()


def test_connection_exception_ends_every_channel():
    other = connect(1)
    queue = 'channels.shared.%d' % os.getpid()
    other.rpc(1, 'queue.declare', queue=queue, auto_delete=True)
    raw = connect(2)
    for channel, body in ((1, b'a'), (2, b'b')):
        raw.publish(channel, '', queue, body)
        raw.sync(channel)
        run.check_equal(raw.get(channel, queue, no_ack=False).body, body)
    raw.call(2, 'channel.open')
    raw.expect_close(504, SECOND_OPEN, 'channel.open', answer=False)
    bodies = []

    def all_are_back():
        message = other.get(1, queue)
        if message:
            run.check(message.method.redelivered, 'not marked as redelivered')
            bodies.append(message.body)
        return len(bodies) == 2

    run.wait_for(all_are_back, 'return of both messages')
    run.check_equal(bodies, [b'a', b'b'], 'order')
    other.rpc(1, 'queue.delete', queue=queue)
    other.close()
    raw.drop()


# ---- flow ------------------------------------------------------------------------------------

def test_flow_active_is_answered():
    raw = connect(1)
    run.check_equal(raw.rpc(1, 'channel.flow', active=True).active, True, 'active')
    raw.close()


def test_flow_stops_and_resumes_deliveries():
    raw = connect(2)
    if BROKER.external:
        raw.call(1, 'channel.flow', active=False)
        raw.expect_close(540, 'NOT_IMPLEMENTED - active=false', 'channel.flow')
        return
    queue = exclusive_queue(raw)
    raw.rpc(1, 'basic.consume', queue=queue, consumer_tag='c', no_ack=True)
    run.check_equal(raw.rpc(1, 'channel.flow', active=False).active, False, 'active')
    for number in range(20):
        raw.publish(2, '', queue, b'%d' % number)
    raw.sync(2)
    raw.rpc(1, 'basic.qos')                         # the channel answers, but delivers nothing
    told = raw.rpc(2, 'queue.declare', queue=queue, passive=True)
    run.check_equal(told.message_count, 20, 'messages that wait')
    run.check_equal(raw.get(1, queue).body, b'0', 'basic.get while inactive')
    run.check_equal(raw.rpc(1, 'channel.flow', active=True).active, True, 'active')
    for number in range(1, 20):
        run.check_equal(raw.expect_content(1, 'basic.deliver').body, b'%d' % number)
    raw.sync(1)
    raw.close()


def test_flow_of_one_channel_leaves_others_alone():
    if BROKER.external:
        run.skip('RabbitMQ does not offer flow(false)')
    raw = connect(2)
    queue = exclusive_queue(raw)
    for channel in (1, 2):
        raw.rpc(channel, 'basic.consume', queue=queue, consumer_tag='c%d' % channel, no_ack=True)
    raw.rpc(1, 'channel.flow', active=False)
    for number in range(10):
        raw.publish(1, '', queue, b'%d' % number)
    for number in range(10):
        run.check_equal(raw.expect_content(2, 'basic.deliver').body, b'%d' % number)
    raw.sync(1)
    raw.close()


def test_flow_stopped_channel_may_close():
    if BROKER.external:
        run.skip('RabbitMQ does not offer flow(false)')
    raw = connect(1)
    queue = exclusive_queue(raw)
    raw.rpc(1, 'basic.consume', queue=queue, consumer_tag='c')
    raw.rpc(1, 'channel.flow', active=False)
    raw.publish(1, '', queue, b'kept')
    raw.close_channel(1)
    raw.open_channel(1)
    raw.rpc(1, 'basic.consume', queue=queue, consumer_tag='c', no_ack=True)
    run.check_equal(raw.expect_content(1, 'basic.deliver').body, b'kept')
    raw.close()


if __name__ == '__main__':
    run.main()
