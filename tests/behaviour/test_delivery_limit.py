#!/usr/bin/python3
"""test_delivery_limit.py - messages that come back too often (x-delivery-limit, x-delivery-count)

Leveret has the limit on every queue; RabbitMQ on quorum queues, where these tests look at it too.
A message may come back as often as the limit says; the next return is its death.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import run                                                                  # noqa: E402
from peer import Fixture, elsewhere, field                                  # noqa: E402
from semantics import (arrives, deaths, headers, not_for_type, outcomes,    # noqa: E402
                       settled, typed_headers)

FIXTURE = Fixture()
setup, teardown, world = FIXTURE.setup, FIXTURE.teardown, FIXTURE.world

KINDS = ('quorum',) if elsewhere() else ('classic', 'quorum')


def declare(w, channel, kind, limit, **more):
    """Declare a queue of a kind and the queue of its dead letters; return their names."""
    name, dead = w.q(kind), w.q(kind + '.dead')
    channel.declare(dead)
    arguments = {'x-queue-type': kind, 'x-dead-letter-exchange': '',
                 'x-dead-letter-routing-key': dead, **more}
    if limit is not None:
        arguments['x-delivery-limit'] = limit
    channel.declare(name, arguments, durable=True)
    return name, dead


def count_of(event):
    """The x-delivery-count of a message; the first delivery has none, or 0 before RabbitMQ 3.13."""
    count = headers(event).get('x-delivery-count')
    if event.redelivered:
        return count
    run.check(count is None or (elsewhere() and count == 0),
              'count of a first delivery: %r' % count)
    return 0


def comes(channel, queue, body, count):
    """Take a message that has been delivered so many times before; return its tag."""
    event = arrives(channel, queue, body, no_ack=False)
    run.check_equal((count_of(event), event.redelivered), (count, count > 0),
                    'count, redelivered')
    return event.delivery_tag


def check_death(channel, dead, queue, body):
    """The message must be among the dead letters, as a new message."""
    event = arrives(channel, dead, body)
    run.check_equal(deaths(event), [(queue, 'delivery_limit', 1)], 'x-death')
    run.check(not event.redelivered, 'redelivered')
    run.check('x-delivery-count' not in headers(event) or elsewhere(), 'it kept its count')


def test_every_return_counts_until_one_is_too_many():
    for kind in KINDS:
        with world() as w:
            channel = w.channel(confirm=True)
            queue, dead = declare(w, channel, kind, 2)
            channel.put('', queue, 'a')
            channel.nack(comes(channel, queue, 'a', 0))
            channel.reject(comes(channel, queue, 'a', 1))
            tag = comes(channel, queue, 'a', 2)
            settled(channel)
            run.check_equal(channel.counts(dead)[0], 0, 'dead letters before the third return')
            channel.nack(tag)
            check_death(channel, dead, queue, 'a')
            channel.becomes(queue, 0)


def test_the_count_is_a_long():
    for kind in KINDS:
        with world() as w:
            channel = w.channel(confirm=True)
            queue, _ = declare(w, channel, kind, 5)
            channel.put('', queue, 'a', headers={'mine': 1})
            channel.reject(comes(channel, queue, 'a', 0))
            event = arrives(channel, queue, 'a', no_ack=False)
            run.check_equal(typed_headers(event), {'mine': ('I', 1), 'x-delivery-count': ('l', 1)},
                            'headers')


def test_a_limit_of_zero_is_one_delivery():
    for kind in KINDS:
        with world() as w:
            channel = w.channel(confirm=True)
            queue, dead = declare(w, channel, kind, 0)
            channel.put('', queue, 'a')
            channel.reject(comes(channel, queue, 'a', 0))
            check_death(channel, dead, queue, 'a')


def test_lost_channels_and_connections_count_and_so_does_recover():
    for kind in KINDS:
        with world() as w:
            channel = w.channel(confirm=True)
            queue, dead = declare(w, channel, kind, 2)
            channel.put('', queue, 'a')
            one = w.channel()
            comes(one, queue, 'a', 0)
            one.close()
            two = w.channel()
            comes(two, queue, 'a', 1)
            two.peer.drop()
            comes(channel, queue, 'a', 2)
            channel.call('basic.recover', requeue=True)
            check_death(channel, dead, queue, 'a')


def test_consumers_see_the_count_and_the_dead_letter_comes_before_long():
    for kind in KINDS:
        with world() as w:
            channel, consumer = w.channel(confirm=True), w.channel()
            queue, dead = declare(w, channel, kind, 3)
            consumer.qos(1)
            consumer.consume(queue)
            channel.put('', queue, 'bad')
            for count in range(4):
                event = consumer.delivery('bad')
                run.check_equal(count_of(event), count, 'count')
                consumer.reject(event.delivery_tag)
            check_death(channel, dead, queue, 'bad')
            channel.put('', queue, 'good')
            consumer.ack(consumer.delivery('good').delivery_tag)
            consumer.quiet()


def test_acks_and_rejections_are_no_returns():
    for kind in KINDS:
        with world() as w:
            channel = w.channel(confirm=True)
            queue, dead = declare(w, channel, kind, 0)
            channel.put('', queue, 'a', 'b')
            channel.ack(comes(channel, queue, 'a', 0))
            channel.reject(comes(channel, queue, 'b', 0), requeue=False)
            event = arrives(channel, dead, 'b')
            run.check_equal(deaths(event), [(queue, 'rejected', 1)], 'x-death')
            settled(channel)
            run.check_equal(channel.counts(dead)[0], 0, 'dead letters')


def test_each_message_has_its_own_count():
    for kind in KINDS:
        with world() as w:
            channel = w.channel(confirm=True)
            queue, dead = declare(w, channel, kind, 1)
            channel.put('', queue, 'a', 'b')
            one, two = comes(channel, queue, 'a', 0), comes(channel, queue, 'b', 0)
            channel.reject(one)
            again = comes(channel, queue, 'a', 1)
            channel.reject(again)
            check_death(channel, dead, queue, 'a')
            channel.reject(two)
            comes(channel, queue, 'b', 1)


def test_the_dead_letter_begins_again():
    for kind in KINDS:
        with world() as w:
            channel = w.channel(confirm=True)
            queue, dead = declare(w, channel, kind, 0)
            channel.put('', queue, 'a')
            channel.reject(comes(channel, queue, 'a', 0))
            channel.reject(arrives(channel, dead, 'a', no_ack=False).delivery_tag)
            event = arrives(channel, dead, 'a')
            run.check(event.redelivered, 'not redelivered')
            channel.publish('', queue, 'a', props=event.properties)
            run.check_equal(outcomes(channel, 1), ['ack'], 'outcome')
            event = arrives(channel, queue, 'a', no_ack=False)
            run.check(not event.redelivered, 'redelivered')


def test_without_a_dead_letter_exchange_it_is_dropped():
    for kind in KINDS:
        with world() as w:
            channel = w.channel(confirm=True)
            channel.declare(w.q(), {'x-queue-type': kind, 'x-delivery-limit': 1}, durable=True)
            channel.put('', w.q(), 'a')
            for count in range(2):
                channel.reject(comes(channel, w.q(), 'a', count))
            channel.becomes(w.q(), 0)
            settled(channel)
            run.check(channel.get(w.q()) is None, 'it came back')


def test_quorum_queues_have_a_limit_of_twenty():
    """RabbitMQ has this since 4.0; before, and with a negative limit still, there is none."""
    with world() as w:
        channel = w.channel(confirm=True)
        queue, dead = declare(w, channel, 'quorum', None)
        channel.put('', queue, 'a')
        for count in range(21):
            channel.reject(comes(channel, queue, 'a', count))
        if elsewhere():
            comes(channel, queue, 'a', 21)
        else:
            check_death(channel, dead, queue, 'a')


def test_a_negative_limit_is_none():
    if elsewhere():
        run.skip('3.10 kills a message at its first return then, 4.x never')
    for kind in KINDS:
        with world() as w:
            channel = w.channel(confirm=True)
            queue, _ = declare(w, channel, kind, -1)
            channel.put('', queue, 'a')
            for count in range(25):
                event = arrives(channel, queue, 'a', no_ack=False)
                run.check_equal(event.redelivered, count > 0, 'redelivered')
                channel.reject(event.delivery_tag)


def test_integers_of_any_width_are_limits():
    for kind in KINDS:
        for octet in 'bBsIl':
            with world() as w:
                channel = w.channel(confirm=True)
                queue, dead = declare(w, channel, kind, field(octet, 0))
                channel.put('', queue, octet)
                channel.reject(comes(channel, queue, octet, 0))
                check_death(channel, dead, queue, octet)


def test_classic_queues_without_a_limit_count_nothing():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q())
        channel.put('', w.q(), 'a')
        for turn in range(30):
            event = channel.take(w.q(), 'a', redelivered=turn > 0)
            run.check_equal(event.properties, b'\0\0', 'properties')
            channel.reject(event.delivery_tag)
            channel.becomes(w.q(), 1)


def test_classic_queues_have_no_limit_elsewhere():
    if not elsewhere():
        run.skip('Leveret has it on every queue')
    with world() as w:
        w.channel().refuses(406, not_for_type(w.q(), 'x-delivery-limit'), 'queue.declare',
                            queue=w.q(), arguments={'x-delivery-limit': 5})


def test_counts_outlive_a_restart():
    if elsewhere():
        run.skip('restarts leveretd')
    for kind in KINDS:
        for way in ('stop', 'kill'):
            with world() as w:
                channel = w.channel(confirm=True)
                queue, dead = declare(w, channel, kind, 3)
                channel.put('', queue, 'a', delivery_mode=2)
                for count in range(2):
                    channel.reject(comes(channel, queue, 'a', count))
                channel.put('', queue, 'later', delivery_mode=2)
                getattr(FIXTURE.broker, way)()
                FIXTURE.broker.start()
                channel = w.channel(confirm=True)
                channel.declare(dead)
                for count in (2, 3):
                    channel.reject(comes(channel, queue, 'a', count))
                check_death(channel, dead, queue, 'a')
                comes(channel, queue, 'later', 0)


if __name__ == '__main__':
    run.main()
