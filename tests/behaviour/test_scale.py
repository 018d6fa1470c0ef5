#!/usr/bin/python3
"""Peers that do not read, and many of everything: what is kept for them in memory has a bound.

The bounds are counted in messages, not in time. What a stalled peer is owed stays in its queue, or
is not asked for; the kernel's socket buffers, which hold some megabytes, are allowed for.
"""

import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import leveret                                                              # noqa: E402
import run                                                                  # noqa: E402
from peer import Fixture, World                                             # noqa: E402
from rawamqp import call_frame, content_frames                     # noqa: E402

FIXTURE = Fixture()
setup, teardown, world = FIXTURE.setup, FIXTURE.teardown, FIXTURE.world

MIB = 1024 * 1024
OUTPUT_HIGH_BYTES = 1 * MIB             # no deliveries to a connection with more unsent
OUTPUT_FULL_BYTES = 2 * MIB             # and nothing read from it
DIRECT_REPLY_BYTES = 64 * MIB
KERNEL_BYTES = 12 * MIB                 # the socket buffers of both ends
REPLY_TO = 'amq.rabbitmq.reply-to'


def push_until_refused(sock, data, limit_bytes):
    """Send data again and again until the other end has not read for a second; octets sent."""
    sock.settimeout(1)
    sent = 0
    while sent < limit_bytes:
        try:
            sent += sock.send(data[sent % len(data):])
        except socket.timeout:
            break
    return sent


def test_a_consumer_that_does_not_read_leaves_its_messages_in_the_queue():
    with world() as w:
        publisher, stalled = w.channel(confirm=True), w.channel()
        publisher.declare(w.q())
        stalled.consume(w.q(), no_ack=True)
        count = 400                                             # of 100 KiB: 40 MiB
        for _ in range(count):
            publisher.publish('', w.q(), b'x' * 102400)
        publisher.confirmed(count)
        left = publisher.counts(w.q())[0]
        most = (OUTPUT_HIGH_BYTES + KERNEL_BYTES) // 102400 + 1
        run.check(left >= count - most, '%d messages were handed to a socket that is not read'
                  % (count - left))
        for _ in range(count):                                  # and it loses nothing by that
            stalled.delivery(b'x' * 102400)
        publisher.becomes(w.q(), 0)


def test_other_queues_and_consumers_go_on_meanwhile():
    with world() as w:
        publisher, stalled, innocent = w.channel(confirm=True), w.channel(), w.channel()
        publisher.declare(w.q())
        publisher.exchange(w.x(), 'fanout')
        publisher.declare(w.q('other'))
        publisher.bind(w.q(), w.x())
        publisher.bind(w.q('other'), w.x())
        stalled.consume(w.q(), no_ack=True)
        innocent.consume(w.q('other'), no_ack=True)
        for number in range(300):
            publisher.put(w.x(), '', b'%06d' % number + b'x' * 102400)
            innocent.delivery(b'%06d' % number + b'x' * 102400)
        run.check(publisher.counts(w.q())[0] > 0, 'the stalled consumer was sent everything')


def test_getters_that_do_not_read_are_not_read_either():
    with world() as w:
        channel, stalled = w.channel(confirm=True), w.channel()
        channel.declare(w.q())
        channel.put('', w.q(), *[b'x' * 102400] * 300)
        gets = call_frame(stalled.number, 'basic.get', queue=w.q(), no_ack=True) * 300
        stalled.peer.raw.send(gets)
        channel.quiet()
        taken = 300 - channel.counts(w.q())[0]
        most = (OUTPUT_FULL_BYTES + KERNEL_BYTES + 256 * 1024) // 102400 + 1
        run.check(taken <= most, '%d messages were got by a socket that is not read' % taken)
        for _ in range(300):
            stalled.expect('basic.get-ok')


def test_publishers_that_do_not_read_returns_are_not_read_either():
    with world() as w:
        stalled = w.channel()
        frames = (call_frame(stalled.number, 'basic.publish', exchange='amq.direct',
                             routing_key=w.q('none'), mandatory=True)
                  + content_frames(stalled.number, b'x' * 102400))
        sent = push_until_refused(stalled.peer.raw.socket, frames, 100 * MIB)
        most = OUTPUT_FULL_BYTES + 2 * KERNEL_BYTES
        run.check(sent <= most, '%d octets were read of one that reads nothing' % sent)


def test_replies_to_a_requester_that_does_not_read_are_dropped_beyond_the_bound():
    with world() as w:
        requester, replier = w.channel(), w.channel(confirm=True)
        tag = requester.consume(REPLY_TO, no_ack=True)
        replier.declare(w.q())
        requester.publish('', w.q(), 'request', reply_to=REPLY_TO)
        name = bytes(run.wait_for(lambda: replier.get(w.q()), 'the request').properties)
        name = name[name.index(REPLY_TO.encode()):].decode()
        body_bytes, count = 500000, 240                          # 114 MiB
        for number in range(count):
            replier.put('', name, b'%06d' % number + b'x' * body_bytes)
        numbers = []
        while True:                                             # the first ones came, in order
            try:
                numbers.append(int(requester.next(timeout=1).body[:6]))
            except AssertionError:
                break
        run.check_equal(numbers, list(range(len(numbers))), 'replies')
        got_bytes = len(numbers) * body_bytes
        run.check(got_bytes >= DIRECT_REPLY_BYTES - body_bytes, 'only %d octets came' % got_bytes)
        run.check(got_bytes <= DIRECT_REPLY_BYTES + KERNEL_BYTES, '%d octets waited' % got_bytes)
        replier.put('', name, 'later')                          # it reads again, and is answered
        requester.delivery('later', consumer_tag=tag)


class FewFiles(leveret.Broker):
    """A leveretd with a limit of open files."""

    hard_limit = 100

    def command(self):
        """The same process: prlimit becomes leveretd."""
        return ['prlimit', '--nofile=50:%d' % self.hard_limit] + super().command()


def test_a_small_limit_of_open_files_is_raised_and_said():
    if leveret.external_port():
        run.skip('about the log of leveretd')
    with FewFiles() as broker:
        broker.wait_for_log('the hard limit of open files is 100: fewer than 10000 connections fit')
        with World(broker.port) as w:
            channels = [w.channel() for _ in range(55)]         # more than the soft limit
            for channel in channels:
                channel.quiet()


def test_a_fan_out_to_a_thousand_queues_keeps_one_body():
    if leveret.external_port():
        run.skip('looks at the memory of leveretd')
    with FIXTURE.broker.__class__() as broker, World(broker.port) as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x(), 'fanout')
        queues = [w.q('q%d' % number) for number in range(1000)]
        for queue in queues:
            channel.declare(queue)
            channel.bind(queue, w.x())
        before = broker.rss_bytes()
        channel.put(w.x(), '', *[b'x' * 100000] * 10)           # a thousand copies: 1 GB
        for queue in queues[::100]:
            run.check_equal(channel.counts(queue)[0], 10, 'messages')
        grown = broker.rss_bytes() - before
        run.check(grown < 16 * MIB, 'RSS grew by %d octets for 1 MB of bodies' % grown)


if __name__ == '__main__':
    run.main()
