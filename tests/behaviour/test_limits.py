#!/usr/bin/python3
"""test_limits.py - what a client may not exceed, and clients that take and never give

Limits are agreed in connection.tune or set in the configuration; those of our own are tested with
brokers started for them. Then the greedy ones: too many channels, a reader that never reads, a
caller that never hears its answers, crowds at the door. Each is watched from a second connection,
which must be served as if nothing were the matter, and where the broker is ours, its memory is.
"""

import os
import select
import socket
import struct
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))

import leveret                              # noqa: E402
import rawamqp                              # noqa: E402
import run                                  # noqa: E402
from rawamqp import BODY, Raw               # noqa: E402

BROKER = None
MIB = 1 << 20
SERVED_S = 2            # what a bystander's round trip may take on a loaded machine


def setup():
    global BROKER
    BROKER = leveret.open_broker()


def teardown():
    BROKER.close()


def ours_only():
    """Skip what needs a broker with settings of its own."""
    if BROKER.external:
        run.skip('needs settings of its own')


def too_many(limit):
    """The text for one channel too many."""
    return ('NOT_ALLOWED - number of channels opened (%d) has reached the negotiated '
            'channel_max (%d)' % (limit, limit))


class Bystander:
    """A connection that did nothing wrong and wants its messages passed on in time."""

    def __init__(self, port):
        self.raw = rawamqp.connect(port)
        self.queue = self.raw.rpc(1, 'queue.declare', exclusive=True).queue
        self.raw.rpc(1, 'basic.consume', queue=self.queue, no_ack=True)

    def is_served(self):
        """A message goes round on the old connection, and a new one is let in."""
        began = time.monotonic()
        self.raw.publish(1, '', self.queue, b'ping')
        run.check_equal(self.raw.expect_content(1, 'basic.deliver').body, b'ping')
        rawamqp.connect(self.raw.address[1]).close()
        seconds = time.monotonic() - began
        run.check(seconds < SERVED_S, 'a bystander waited %.1f s' % seconds)

    def close(self):
        """Close its connection."""
        self.raw.close()


# ---- tune ------------------------------------------------------------------------------------

@run.parallel
def test_tune_ok_outside_the_proposal_is_closed_in_silence():
    def check(channel_max, frame_max):
        raw = Raw(BROKER.port).start().login().tune_ok((channel_max, frame_max, 0))
        seconds = raw.eof(8)
        run.check(2 <= seconds <= 5, 'closed after %.1f s, expected 3 s' % seconds)

    run.each_at_once(check, [(0, None), (2048, None), (65535, None), (None, 4095), (None, 1),
                             (None, 0), (None, 131073), (None, 2**32 - 1)])


@run.parallel
def test_tune_ok_within_the_proposal_is_accepted():
    for channel_max, frame_max, heartbeat in ((1, None, 0), (2047, 131072, 60), (2, 4096, 65535),
                                              (None, 131071, 1)):
        rawamqp.connect(BROKER.port, tune=(channel_max, frame_max, heartbeat)).close()


@run.parallel
def test_proposal_follows_the_settings():
    ours_only()
    with leveret.open_broker({'channel_max': 5, 'frame_max': 8192, 'heartbeat': 7}) as broker:
        raw = Raw(broker.port).start().login().tune_ok()
        run.check_equal((raw.tune.channel_max, raw.tune.frame_max, raw.tune.heartbeat),
                        (5, 8192, 7), 'tune')
        raw.rpc(0, 'connection.open', vhost='/')
        for channel in range(1, 6):
            raw.open_channel(channel)
        raw.call(6, 'channel.open')
        raw.expect_close(530, too_many(5))
        raw = Raw(broker.port).start().login().tune_ok((None, 8193, 0))
        raw.eof(8)


# ---- frames ----------------------------------------------------------------------------------

def test_payload_of_frame_max_is_taken_and_one_octet_more_is_not():
    raw = rawamqp.connect(BROKER.port, tune=(None, 4096, 0))
    queue = raw.rpc(1, 'queue.declare', exclusive=True).queue
    raw.send(rawamqp.call_frame(1, 'basic.publish', routing_key=queue)
             + rawamqp.header_frame(1, 4096) + rawamqp.frame(BODY, 1, b'x' * 4096))
    run.check_equal(len(raw.get(1, queue).body), 4096, 'octets of body')
    raw.send(rawamqp.call_frame(1, 'basic.publish', routing_key=queue)
             + rawamqp.header_frame(1, 4097) + struct.pack('>BHI', BODY, 1, 4097) + b'x' * 100)
    raw.expect_close(501, 'FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,4097,4088}',
                     answer=False)
    raw.drop()


# ---- channels --------------------------------------------------------------------------------

def test_one_channel_too_many():
    raw = rawamqp.connect(BROKER.port, channels=3, tune=(3, None, 0))
    raw.call(4, 'channel.open')
    raw.expect_close(530, too_many(3))


def test_channels_are_counted_before_the_method_is_looked_at():
    for method in ('basic.qos', 'channel.close', 'connection.open'):
        raw = rawamqp.connect(BROKER.port, channels=1, tune=(1, None, 0))
        raw.call(60000, method)
        raw.expect_close(530, too_many(1))


def test_closed_channels_do_not_count():
    raw = rawamqp.connect(BROKER.port, channels=2, tune=(2, None, 0))
    for channel in range(3, 200):
        raw.close_channel(channel - 1)
        raw.open_channel(channel)
    raw.sync(1)
    raw.sync(199)
    raw.close()


def test_channel_max_by_default_is_2047():
    raw = rawamqp.connect(BROKER.port, channels=0)
    raw.send(b''.join(rawamqp.call_frame(65535 - number, 'channel.open') for number in range(2047)))
    opened = set()
    for _ in range(2047):
        frame = raw.read_frame(30)
        run.check_equal(rawamqp.decode_method(frame.payload)[0].name, 'channel.open-ok')
        opened.add(frame.channel)
    run.check_equal(opened, set(range(65535 - 2046, 65536)), 'open channels')
    raw.sync(65535)
    raw.call(1, 'channel.open')
    raw.expect_close(530, too_many(2047), timeout=30)


def test_all_65535_channels_when_there_is_no_limit():
    ours_only()
    with leveret.open_broker({'channel_max': 0}) as broker:
        bystander = Bystander(broker.port)
        raw = rawamqp.connect(broker.port, channels=0)
        run.check_equal(raw.tune.channel_max, 0, 'channel_max')
        step = 4095
        for first in range(1, 65536, step):
            channels = range(first, min(first + step, 65536))
            raw.send(b''.join(rawamqp.call_frame(channel, 'channel.open') for channel in channels))
            for channel in channels:
                raw.expect(channel, 'channel.open-ok')
        bystander.is_served()
        for channel in (1, 4096, 65535):
            raw.sync(channel)
        raw.call(65535, 'channel.open')
        raw.expect_close(504, "CHANNEL_ERROR - second 'channel.open' seen", 'channel.open',
                         timeout=30)
        bystander.is_served()
        bystander.close()


# ---- messages and texts ----------------------------------------------------------------------

def test_message_larger_than_configured_is_refused():
    ours_only()
    with leveret.open_broker({'max_message_size': 1000}) as broker:
        raw = rawamqp.connect(broker.port, channels=2)
        queue = raw.rpc(2, 'queue.declare', exclusive=True).queue
        raw.publish(1, '', queue, b'x' * 1000)
        raw.sync(1)
        raw.publish(1, '', queue, b'x' * 1001)
        raw.expect_channel_close(1, 406, 'PRECONDITION_FAILED - message size 1001 is larger than '
                                 'configured max size 1000', 'basic.publish')
        run.check_equal(len(raw.get(2, queue).body), 1000, 'octets of body')
        run.check_equal(raw.get(2, queue), None, 'rest of the queue')
        raw.open_channel(1)
        raw.close()


def test_transaction_larger_than_its_limit_is_refused_and_leaves_nothing():
    ours_only()
    with leveret.Broker(settings={'tx_message_limit': '3', 'tx_bytes_limit': '10240'}) as broker:
        raw = rawamqp.connect(broker.port)
        queue = raw.rpc(1, 'queue.declare', exclusive=True).queue
        raw.rpc(1, 'tx.select')
        for _ in range(3):
            raw.publish(1, '', queue, b'x')
        raw.rpc(1, 'tx.commit')             # a new transaction begins
        for _ in range(4):
            raw.publish(1, '', queue, b'x')
        close = raw.expect(1, 'channel.close')
        run.check_equal(close.reply_code, 406)
        run.check_equal(close.reply_text, 'PRECONDITION_FAILED - transaction is larger than 3 '
                                          'messages (tx_message_limit)')
        raw.open_channel(2)
        run.check_equal(raw.rpc(2, 'queue.declare', queue=queue, passive=True).message_count, 3)
        raw.rpc(2, 'tx.select')
        raw.publish(2, '', queue, b'x' * 11000)
        close = raw.expect(2, 'channel.close')
        run.check_equal((close.reply_code, close.reply_text),
                        (406, 'PRECONDITION_FAILED - transaction is larger than %d bytes '
                              '(tx_bytes_limit)' % 10240))
        raw.close()


def test_announced_body_beyond_any_limit_is_refused():
    if BROKER.external:
        run.skip('RabbitMQ before 4.2 waits for the body')
    for size in (629145600, 2**63, 2**64 - 1):
        raw = rawamqp.connect(BROKER.port)
        raw.send(rawamqp.call_frame(1, 'basic.publish', routing_key='x')
                 + rawamqp.header_frame(1, size))
        raw.expect_close(501, 'FRAME_ERROR - content body size %d exceeds maximum allowed size '
                         '536870912' % size, 'basic.publish')


def test_announced_bodies_take_no_memory_before_they_come():
    ours_only()
    raw = rawamqp.connect(BROKER.port, channels=200)
    before = BROKER.rss_bytes()
    for channel in range(1, 201):
        raw.send(rawamqp.call_frame(channel, 'basic.publish', routing_key='x')
                 + rawamqp.header_frame(channel, 100 * MIB))
    raw.open_channel(201)
    run.check(BROKER.rss_bytes() - before < 32 * MIB, 'memory grew by %d MiB'
              % ((BROKER.rss_bytes() - before) // MIB))
    raw.close()


def test_names_of_255_octets():
    raw = rawamqp.connect(BROKER.port)
    name = ('limits.%d.' % os.getpid()).ljust(255, 'n')
    run.check_equal(raw.rpc(1, 'queue.declare', queue=name, exclusive=True).queue, name, 'queue')
    raw.rpc(1, 'queue.bind', queue=name, exchange='amq.direct', routing_key='k' * 255)
    tag = raw.rpc(1, 'basic.consume', queue=name, consumer_tag='t' * 255, no_ack=True).consumer_tag
    run.check_equal(tag, 't' * 255, 'consumer tag')
    raw.publish(1, 'amq.direct', 'k' * 255, b'x')
    run.check_equal(raw.expect_content(1, 'basic.deliver').method.routing_key, 'k' * 255)
    raw.close()


def test_long_reply_texts_are_cut():
    raw = rawamqp.connect(BROKER.port)
    name = ('limits.none.%d.' % os.getpid()).ljust(255, 'n')
    raw.call(1, 'queue.declare', queue=name, passive=True)
    text = "NOT_FOUND - no queue '%s' in vhost '/'" % name
    raw.expect_channel_close(1, 404, text[:252] + '...', 'queue.declare')
    raw.close()


# ---- greedy clients --------------------------------------------------------------------------

def small_buffer_connection(port, **handshake):
    """A connection whose kernel buffer on our side is small, so that not reading is felt."""
    raw = Raw(port, connect=False)
    raw.socket = socket.socket()
    raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    raw.socket.settimeout(rawamqp.TIMEOUT_S)
    raw.socket.connect(raw.address)
    raw.handshake(**handshake)
    raw.open_channel(1)
    return raw


def test_consumer_that_never_reads_costs_the_others_nothing():
    count, size = 40000, 1024
    bystander = Bystander(BROKER.port)
    raw = small_buffer_connection(BROKER.port)
    filler = rawamqp.connect(BROKER.port)
    queue = 'limits.backlog.%d' % os.getpid()
    filler.rpc(1, 'queue.declare', queue=queue)
    filler.rpc(1, 'confirm.select')
    batch = 1000
    for first in range(0, count, batch):
        filler.send(b''.join(
            rawamqp.call_frame(1, 'basic.publish', routing_key=queue)
            + rawamqp.content_frames(1, b'%8d' % number + b'.' * (size - 8))
            for number in range(first, first + batch)))
    acked = 0
    while acked < count:
        acked = filler.expect(1, 'basic.ack', timeout=30).delivery_tag
    before = None if BROKER.external else BROKER.rss_bytes()
    raw.rpc(1, 'basic.consume', queue=queue, consumer_tag='never', no_ack=True)
    bystander.is_served()

    # the broker has stopped giving it messages: the depth of the queue stands still
    depths = []

    def stands_still():
        bystander.is_served()
        told = filler.rpc(1, 'queue.declare', queue=queue, passive=True)
        depths.append(told.message_count)
        return len(depths) > 5 and len(set(depths[-5:])) == 1

    run.wait_for(stands_still, 'back-pressure', timeout_s=20, pause_s=0.05)
    if not BROKER.external:
        run.check(depths[-1] > count // 2, 'only %d of %d messages were held back'
                  % (depths[-1], count))
        grown = BROKER.rss_bytes() - before
        run.check(grown < 16 * MIB, 'memory grew by %d MiB' % (grown // MIB))
    for number in range(count):             # now it reads, and nothing is missing
        body = raw.expect_content(1, 'basic.deliver', timeout=30).body
        if int(body[:8]) != number or len(body) != size:
            raise AssertionError('message %d is %r' % (number, body[:20]))
    filler.rpc(1, 'queue.delete', queue=queue)
    raw.expect(1, 'basic.cancel')
    bystander.close()
    filler.close()
    raw.close()


def test_unread_deliveries_do_not_keep_a_dropped_connection():
    bystander = Bystander(BROKER.port)
    raw = small_buffer_connection(BROKER.port)
    queue = 'limits.dropped.%d' % os.getpid()
    raw.rpc(1, 'queue.declare', queue=queue)
    for number in range(1000):
        raw.publish(1, '', queue, b'%8d' % number + b'.' * 16384)
    raw.sync(1)
    raw.rpc(1, 'basic.consume', queue=queue, consumer_tag='never')
    bystander.is_served()
    raw.drop()

    def all_are_back():
        told = bystander.raw.rpc(1, 'queue.declare', queue=queue, passive=True)
        return (told.message_count, told.consumer_count) == (1000, 0)

    run.wait_for(all_are_back, 'return of all messages')
    for number in range(1000):
        run.check_equal(int(bystander.raw.get(1, queue).body[:8]), number, 'message')
    bystander.raw.rpc(1, 'queue.delete', queue=queue)
    bystander.close()


def test_caller_that_never_hears_its_answers_is_kept_waiting():
    bystander = Bystander(BROKER.port)
    raw = small_buffer_connection(BROKER.port)
    before = None if BROKER.external else BROKER.rss_bytes()
    block = rawamqp.call_frame(1, 'channel.flow', active=True) * 5000
    left = 300                              # 1.5 million calls, 20 MiB of answers
    raw.socket.setblocking(False)
    rest = b''
    while left > 0:
        if not select.select([], [raw.socket], [], 1)[1]:
            break                           # it reads no more until we do
        rest = rest or block
        try:
            rest = rest[raw.socket.send(rest):]
        except BlockingIOError:
            continue
        left -= not rest
    bystander.is_served()
    if not BROKER.external:
        grown = BROKER.rss_bytes() - before
        run.check(grown < 10 * MIB, 'memory grew by %d MiB' % (grown // MIB))
    raw.drop()
    bystander.is_served()
    bystander.close()


@run.parallel
def test_crowd_of_refused_logins_does_not_hold_others_up():
    bystander = Bystander(BROKER.port)
    crowd = [Raw(BROKER.port).start().login(password='wrong', capabilities={})
             for _ in range(150)]
    bystander.is_served()
    for raw in crowd:
        raw.eof(8)
    bystander.close()


@run.parallel
def test_connections_leave_no_descriptors_behind():
    ours_only()
    with leveret.open_broker() as broker:
        fds = '/proc/%d/fd' % broker.pid
        rawamqp.connect(broker.port).close()

        def settled():
            return len(os.listdir(fds))

        before = settled()
        for number in range(200):
            raw = Raw(broker.port)
            if number % 4:
                raw.handshake()
                raw.open_channel(1)
            if number % 4 == 3:
                raw.close()
            raw.drop()
        run.wait_for(lambda: settled() <= before, 'closing of all sockets')


if __name__ == '__main__':
    run.main()
