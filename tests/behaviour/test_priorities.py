#!/usr/bin/python3
"""test_priorities.py - priorities of messages (x-max-priority)"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import run                                                                  # noqa: E402
from peer import Fixture, elsewhere, field                                  # noqa: E402
from semantics import inequivalent, not_for_type, props                     # noqa: E402

FIXTURE = Fixture()
setup, teardown, world = FIXTURE.setup, FIXTURE.teardown, FIXTURE.world


def declare(channel, queue, levels, **flags):
    """Declare a priority queue."""
    channel.declare(queue, {'x-max-priority': levels}, **flags)


def put(channel, queue, *messages):
    """Publish messages named by letters and priorities: 'a5', or 'a' for one without."""
    for body in messages:
        channel.publish('', queue, body, priority=int(body[1:]) if body[1:] else None)
    channel.confirmed(channel.published + len(messages))


def test_higher_first_and_in_order_within_a_level():
    with world() as w:
        channel = w.channel(confirm=True)
        declare(channel, w.q(), 5)
        put(channel, w.q(), 'a1', 'b3', 'c2', 'd', 'e0', 'f9', 'g5', 'h255')
        run.check_equal(channel.drain(w.q()), ['f9', 'g5', 'h255', 'b3', 'c2', 'a1', 'd', 'e0'],
                        'messages')


def test_priorities_are_delivered_as_they_were_written():
    with world() as w:
        channel = w.channel(confirm=True)
        declare(channel, w.q(), 2)
        put(channel, w.q(), 'a255', 'b')
        run.check_equal([props(channel.get(w.q())) for _ in range(2)], [{'priority': 255}, {}],
                        'properties')


def test_a_later_message_of_higher_priority_goes_before_what_waits():
    with world() as w:
        channel, consumer = w.channel(confirm=True), w.channel()
        declare(channel, w.q(), 10)
        consumer.qos(1)
        consumer.consume(w.q())
        put(channel, w.q(), 'a1', 'b1', 'c1')
        event = consumer.delivery('a1')
        put(channel, w.q(), 'd10', 'e5')
        for body in ('d10', 'e5', 'b1', 'c1'):
            consumer.ack(event.delivery_tag)
            event = consumer.delivery(body)


def test_what_is_out_is_not_called_back():
    with world() as w:
        channel, consumer = w.channel(confirm=True), w.channel()
        declare(channel, w.q(), 10)
        consumer.consume(w.q())
        for body in ('a1', 'b2'):               # one by one, or the second might overtake
            put(channel, w.q(), body)
            consumer.delivery(body)
        put(channel, w.q(), 'c10')
        consumer.delivery('c10', redelivered=False)


def test_requeue_goes_to_its_own_level_and_place():
    with world() as w:
        channel = w.channel(confirm=True)
        declare(channel, w.q(), 5)
        put(channel, w.q(), 'a2', 'b2', 'c2', 'd1', 'e3')
        tags = [channel.take(w.q(), body).delivery_tag for body in ('e3', 'a2', 'b2')]
        for tag in (tags[1], tags[0]):
            channel.reject(tag)
        channel.becomes(w.q(), 4)
        channel.reject(tags[2])
        channel.becomes(w.q(), 5)
        run.check_equal(channel.drain(w.q()), ['e3', 'a2', 'b2', 'c2', 'd1'], 'messages')


def test_counts_purge_and_delete_are_of_all_levels():
    with world() as w:
        channel = w.channel(confirm=True)
        declare(channel, w.q(), 5)
        put(channel, w.q(), 'a1', 'b5', 'c', 'd3')
        run.check_equal(channel.counts(w.q())[0], 4, 'messages')
        event = channel.get(w.q())
        run.check_equal((event.body, event.message_count), (b'b5', 3), 'get-ok')
        run.check_equal(channel.call('queue.purge', queue=w.q()).message_count, 3, 'purged')
        put(channel, w.q(), 'e1', 'f2')
        run.check_equal(channel.call('queue.delete', queue=w.q()).message_count, 2, 'deleted')


def test_all_255_levels():
    with world() as w:
        channel = w.channel(confirm=True)
        declare(channel, w.q(), 255)
        levels = [number * 97 % 256 for number in range(256)]
        put(channel, w.q(), *('m%d' % level for level in levels))
        run.check_equal(channel.drain(w.q()), ['m%d' % level for level in range(255, -1, -1)],
                        'messages')


def test_one_level_above_none():
    with world() as w:
        channel = w.channel(confirm=True)
        declare(channel, w.q(), 1)
        put(channel, w.q(), 'a', 'b1', 'c0', 'd2')
        run.check_equal(channel.drain(w.q()), ['b1', 'd2', 'a', 'c0'], 'messages')


def test_zero_levels_and_other_queues_keep_the_order_of_publishing():
    with world() as w:
        channel = w.channel(confirm=True)
        declare(channel, w.q('zero'), 0)
        channel.declare(w.q('plain'))
        for name in ('zero', 'plain'):
            put(channel, w.q(name), 'a1', 'b5', 'c', 'd9')
            run.check_equal(channel.drain(w.q(name)), ['a1', 'b5', 'c', 'd9'], 'messages')


def test_transactions_publish_by_priority_too():
    with world() as w:
        channel = w.channel()
        declare(channel, w.q(), 5)
        channel.call('tx.select')
        for body in ('a1', 'b5', 'c3'):
            channel.publish('', w.q(), body, priority=int(body[1:]))
        channel.call('tx.commit')
        run.check_equal(w.channel().drain(w.q()), ['b5', 'c3', 'a1'], 'messages')


def test_the_number_of_levels_is_compared():
    with world() as w:
        channel = w.channel()
        declare(channel, w.q(), 5)
        declare(channel, w.q(), field('B', 5))
        channel.declare(w.q('none'))
        for name, received, current, arguments in (
                ('q', "'6'", "'5'", {'x-max-priority': 6}),
                ('q', 'none', "the value '5' of type 'signedint'", {}),
                ('none', "the value '5' of type 'signedint'", 'none', {'x-max-priority': 5})):
            channel.refuses(406, inequivalent(w.q(name), 'x-max-priority', received, current),
                            'queue.declare', queue=w.q(name), arguments=arguments)


def test_quorum_queues_do_not_have_them():
    with world() as w:
        w.channel().refuses(406, not_for_type(w.q(), 'x-max-priority', 'quorum'), 'queue.declare',
                            queue=w.q(), durable=True,
                            arguments={'x-queue-type': 'quorum', 'x-max-priority': 5})


def test_order_and_levels_outlive_a_restart():
    if elsewhere():
        run.skip('restarts leveretd')
    with world() as w:
        channel = w.channel(confirm=True)
        declare(channel, w.q(), 5, durable=True)
        for body in ('a1', 'b5', 'c3', 'd', 'e5'):
            channel.put('', w.q(), body, delivery_mode=2,
                        priority=int(body[1:]) if body[1:] else None)
        event = channel.take(w.q(), 'b5')
        channel.take(w.q(), 'e5')
        channel.ack(event.delivery_tag)
        channel.put('', w.q(), 'f4', delivery_mode=2, priority=4)
        FIXTURE.broker.kill()
        FIXTURE.broker.start()
        channel = w.channel(confirm=True)
        channel.put('', w.q(), 'g3', priority=3)
        run.check_equal(channel.drain(w.q()), ['e5', 'f4', 'c3', 'g3', 'a1', 'd'], 'messages')


if __name__ == '__main__':
    run.main()
