#!/usr/bin/python3
"""Long queues: what no longer fits into a queue's share of memory comes back, whole and in order."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import run  # noqa: E402
from peer import Fixture, properties  # noqa: E402

FIXTURE = Fixture()
setup, teardown, world = FIXTURE.setup, FIXTURE.teardown, FIXTURE.world

PERSISTENT = properties(delivery_mode=2)
MESSAGES = 20000        # more than a queue keeps in memory (16384)


def fill(channel, queue, count=MESSAGES):
    """Publish numbered messages; the last one's confirm tells that all are there."""
    for number in range(count - 1):
        channel.publish('', queue, b'%d' % number, props=PERSISTENT)
    channel.publish('', queue, b'%d' % (count - 1), props=PERSISTENT)
    run.wait_for(lambda: channel.counts(queue)[0] == count, 'all messages to arrive', timeout_s=30)


def test_a_long_queue_is_drained_in_order():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q(), durable=True)
        fill(channel, w.q())
        channel.call('basic.consume', queue=w.q(), consumer_tag='c', no_ack=True)
        for number in range(MESSAGES):
            delivery = channel.expect('basic.deliver')
            run.check_equal(delivery.body, b'%d' % number, 'message')
            run.check(not delivery.redelivered, 'message %d came as redelivered' % number)


def test_get_and_requeue_across_the_boundary():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q(), durable=True)
        fill(channel, w.q())
        for number in range(0, MESSAGES - 100):
            if number % 1000 == 999:
                got = channel.take(w.q())
                channel.reject(got.delivery_tag, requeue=True)
            got = channel.get(w.q(), no_ack=True)
            run.check_equal(got.body, b'%d' % number, 'message')
        run.check_equal(channel.call('queue.purge', queue=w.q()).message_count, 100, 'purged')


def test_large_bodies_leave_memory_and_come_back():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q(), durable=True)
        body = os.urandom(1000) * 100
        for number in range(600):
            channel.publish('', w.q(), b'%04d' % number + body, props=PERSISTENT)
        run.wait_for(lambda: channel.counts(w.q())[0] == 600, 'all messages to arrive', timeout_s=30)
        for number in range(600):
            run.check_equal(channel.get(w.q(), no_ack=True).body, b'%04d' % number + body, 'message')


if __name__ == '__main__':
    run.main()
