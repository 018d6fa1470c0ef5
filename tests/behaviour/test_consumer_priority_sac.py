#!/usr/bin/python3
"""test_consumer_priority_sac.py - which consumer is served: priorities, exclusive and single active

And how long it may keep what it got: the acknowledgement timeout. RabbitMQ looks at that once a
minute and ends the channel; Leveret looks when it is due, and where the client understands
basic.cancel it cancels the consumer and the channel lives on.
"""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import leveret                                                              # noqa: E402
import run                                                                  # noqa: E402
from peer import Fixture, World, elsewhere, field, queue_text               # noqa: E402
from semantics import (arrives, deaths, inequivalent, invalid, settled,     # noqa: E402
                       sleep_until)

FIXTURE = Fixture()
setup, teardown, world = FIXTURE.setup, FIXTURE.teardown, FIXTURE.world

SAC = {'x-single-active-consumer': True}
NO_CANCEL = {'capabilities': {'basic.nack': True}}
TIMEOUT_S = 0.6
TIMEOUT = {'x-consumer-timeout': int(TIMEOUT_S * 1000)}


def in_use(queue):
    """The text for a queue with an exclusive consumer."""
    return 'ACCESS_REFUSED - %s in exclusive use' % queue_text(queue)


# ---- priorities ------------------------------------------------------------------------------

def test_higher_priorities_are_served_until_they_are_full():
    with world() as w:
        channel, high, low = w.channel(confirm=True), w.channel(), w.channel()
        channel.declare(w.q())
        for consumer, arguments in ((low, {'x-priority': 0}), (high, {'x-priority': 10})):
            consumer.qos(2)
            consumer.consume(w.q(), arguments=arguments)
        channel.put('', w.q(), *'012345')
        events = high.deliveries('0', '1')
        low.deliveries('2', '3')
        channel.becomes(w.q(), 2)
        high.ack(events[0].delivery_tag)
        high.delivery('4')
        low.quiet()
        high.quiet()


def test_no_priority_is_zero_and_negative_ones_are_below():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q())
        consumers = []
        for priority in (-5, None, 3):
            consumer = w.channel()
            consumer.qos(1)
            consumer.consume(w.q(), arguments=None if priority is None
                             else {'x-priority': priority})
            consumers.append(consumer)
        channel.put('', w.q(), *'abcd')
        for consumer, body in zip(consumers, 'cba'):
            consumer.delivery(body)
            consumer.quiet()


def test_priorities_are_integers_of_any_width():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q())
        for octet in 'bBsuIil':
            channel.cancel(channel.consume(w.q(), arguments={'x-priority': field(octet, 5)}))
        for odd, name in (('5', 'longstr'), (True, 'bool'), (1.5, 'double'), ([1], 'array'),
                          ({}, 'table')):
            channel.refuses(406, invalid(w.q(), 'x-priority', '"expected integer, got %s"' % name),
                            'basic.consume', queue=w.q(), arguments={'x-priority': odd})
        run.check_equal(channel.counts(w.q()), (0, 0), 'consumers')


def test_a_consumer_of_higher_priority_that_comes_later_is_first():
    with world() as w:
        channel, low, high = w.channel(confirm=True), w.channel(), w.channel()
        channel.declare(w.q())
        low.consume(w.q(), arguments={'x-priority': 1})
        channel.put('', w.q(), 'a')
        low.delivery('a')
        tag = high.consume(w.q(), arguments={'x-priority': 2})
        channel.put('', w.q(), 'b')
        high.delivery('b')
        high.cancel(tag)
        channel.put('', w.q(), 'c')
        low.delivery('c')
        high.quiet()


# ---- single active consumer ------------------------------------------------------------------

def test_one_consumer_is_served_the_others_wait():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q(), SAC)
        consumers = [w.channel() for _ in range(3)]
        tags = [consumer.consume(w.q()) for consumer in consumers]
        run.check_equal(len(set(tags)), 3, 'tags')
        channel.put('', w.q(), *'abcdef')
        consumers[0].deliveries(*'abcdef', consumer_tag=tags[0])
        for consumer in consumers[1:]:
            consumer.quiet()
        channel.becomes(w.q(), 0, 3)


def test_the_active_one_is_waited_for_when_it_is_full():
    with world() as w:
        channel, one, two = w.channel(confirm=True), w.channel(), w.channel()
        channel.declare(w.q(), SAC)
        one.qos(1)
        one.consume(w.q())
        two.consume(w.q())
        channel.put('', w.q(), 'a', 'b')
        event = one.delivery('a')
        two.quiet()
        run.check_equal(channel.counts(w.q()), (1, 2), 'messages, consumers')
        one.ack(event.delivery_tag)
        one.delivery('b')
        two.quiet()


def test_the_next_takes_over_what_a_closed_channel_had():
    for end in ('channel', 'connection', 'drop'):
        with world() as w:
            channel, one, two = w.channel(confirm=True), w.channel(), w.channel()
            channel.declare(w.q(), SAC)
            one.qos(2)
            one.consume(w.q())
            two.consume(w.q())
            channel.put('', w.q(), *'012')
            one.deliveries('0', '1')
            if end == 'channel':
                one.close()
            elif end == 'connection':
                one.peer.close()
            else:
                one.peer.drop()
            two.deliveries('0', '1', redelivered=True)
            two.delivery('2', redelivered=False)
            channel.put('', w.q(), '3')
            two.delivery('3')


def test_a_cancelled_one_keeps_what_it_has_and_the_next_gets_the_rest():
    if elsewhere():
        run.skip('the queue of 3.10 serves nobody after that, or fails')
    with world() as w:
        channel, one, two = w.channel(confirm=True), w.channel(), w.channel()
        channel.declare(w.q(), SAC)
        one.qos(1)
        tag = one.consume(w.q())
        two.consume(w.q())
        channel.put('', w.q(), 'a', 'b')
        event = one.delivery('a')
        one.cancel(tag)
        two.delivery('b')
        channel.put('', w.q(), 'c')
        two.delivery('c')
        one.reject(event.delivery_tag)
        two.delivery('a', redelivered=True)
        one.quiet()


def test_consumers_follow_each_other_by_priority_then_by_age():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q(), SAC)
        names = (('first', None), ('old', 0), ('high', 5), ('low', -1), ('young', 0))
        consumers = {}
        for name, priority in names:
            consumers[name] = w.channel()
            consumers[name].consume(w.q(), arguments=None if priority is None
                                    else {'x-priority': priority})
        for name in ('first', 'high', 'old', 'young', 'low'):
            channel.put('', w.q(), name)
            event = consumers[name].delivery(name)
            consumers[name].ack(event.delivery_tag)
            consumers[name].quiet()
            consumers[name].close()
        channel.becomes(w.q(), 0, 0)


def test_a_higher_priority_does_not_displace_the_active_one():
    with world() as w:
        channel, one, two = w.channel(confirm=True), w.channel(), w.channel()
        channel.declare(w.q(), SAC)
        one.consume(w.q())
        two.consume(w.q(), arguments={'x-priority': 10})
        channel.put('', w.q(), 'a')
        one.delivery('a')
        two.quiet()


def test_a_waiting_consumer_may_leave():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q(), SAC)
        one, two, three = w.channel(), w.channel(), w.channel()
        one.consume(w.q())
        tag = two.consume(w.q())
        three.consume(w.q())
        two.cancel(tag)
        one.close()
        channel.put('', w.q(), 'a')
        three.delivery('a')
        two.quiet()


def test_two_consumers_of_one_channel():
    with world() as w:
        channel, consumer = w.channel(confirm=True), w.channel()
        channel.declare(w.q(), SAC)
        tags = [consumer.consume(w.q()) for _ in range(2)]
        channel.put('', w.q(), 'a')
        consumer.delivery('a', consumer_tag=tags[0])
        consumer.cancel(tags[0])
        channel.put('', w.q(), 'b')
        consumer.delivery('b', consumer_tag=tags[1])


def test_exclusive_consumers_are_refused_and_get_is_allowed():
    with world() as w:
        channel, consumer = w.channel(confirm=True), w.channel()
        channel.declare(w.q(), SAC)
        consumer.refuses(403, in_use(w.q()), 'basic.consume', queue=w.q(), exclusive=True)
        channel.put('', w.q(), 'a', 'b')
        run.check_equal(channel.get(w.q()).body, b'a', 'get')
        consumer.consume(w.q())
        consumer.delivery('b')
        consumer.refuses(403, in_use(w.q()), 'basic.consume', queue=w.q(), exclusive=True)


def test_single_active_consumers_of_an_auto_delete_queue():
    with world() as w:
        channel, one, two = w.channel(), w.channel(), w.channel()
        channel.declare(w.q(), SAC, auto_delete=True)
        one.consume(w.q())
        two.consume(w.q())
        one.close()
        settled(channel)
        run.check_equal(channel.counts(w.q())[1], 1, 'consumers')
        two.close()
        run.wait_for(lambda: not channel.exists('queue', w.q()), 'the end of the queue')


def test_the_argument_is_compared_and_has_one_type():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q('on'), SAC)
        channel.declare(w.q('off'), {'x-single-active-consumer': False})
        channel.declare(w.q('none'))
        name = 'x-single-active-consumer'
        for queue, received, current, arguments in (
                ('on', "'false'", "'true'", {name: False}),
                ('on', 'none', "the value 'true' of type 'bool'", {}),
                ('off', "'true'", "'false'", SAC),
                ('none', "the value 'true' of type 'bool'", 'none', SAC)):
            channel.refuses(406, inequivalent(w.q(queue), name, received, current),
                            'queue.declare', queue=w.q(queue), arguments=arguments)
        for odd, kind in (('true', 'longstr'), (1, 'signedint'), (None, 'void')):
            channel.refuses(406, invalid(w.q(), name, '{unacceptable_type,%s}' % kind),
                            'queue.declare', queue=w.q(), arguments={name: odd})


def test_false_is_an_ordinary_queue():
    with world() as w:
        channel, one, two = w.channel(confirm=True), w.channel(), w.channel()
        channel.declare(w.q(), {'x-single-active-consumer': False})
        one.consume(w.q())
        two.consume(w.q())
        channel.put('', w.q(), 'a', 'b')
        one.delivery()
        two.delivery()


def test_a_single_active_queue_outlives_a_restart():
    if elsewhere():
        run.skip('restarts leveretd')
    with world() as w:
        w.channel().declare(w.q(), SAC, durable=True)
        FIXTURE.broker.restart()
        channel, one, two = w.channel(confirm=True), w.channel(), w.channel()
        channel.declare(w.q(), SAC, durable=True)
        one.consume(w.q())
        two.consume(w.q())
        channel.put('', w.q(), 'a', 'b')
        one.deliveries('a', 'b')
        two.quiet()


# ---- exclusive consumers ---------------------------------------------------------------------

def test_an_exclusive_consumer_is_alone_until_it_ends():
    with world() as w:
        channel, one, two = w.channel(confirm=True), w.channel(), w.channel()
        channel.declare(w.q())
        tag = one.consume(w.q(), exclusive=True)
        for exclusive in (False, True):
            two.refuses(403, in_use(w.q()), 'basic.consume', queue=w.q(), exclusive=exclusive)
        one.cancel(tag)
        two.consume(w.q())
        one.refuses(403, in_use(w.q()), 'basic.consume', queue=w.q(), exclusive=True)
        two.close()
        run.wait_for(lambda: channel.counts(w.q())[1] == 0, 'the end of the consumer')
        one.consume(w.q(), exclusive=True)
        one.peer.drop()
        run.wait_for(lambda: channel.counts(w.q())[1] == 0, 'the end of the consumer')
        w.channel().consume(w.q(), exclusive=True)


# ---- consumer timeout ------------------------------------------------------------------------

def timed_out(channel, milliseconds):
    """The text of the channel exception."""
    return ('PRECONDITION_FAILED - delivery acknowledgement on channel %d timed out. Timeout value '
            'used: %d ms. This timeout value can be configured, see consumers doc guide to learn '
            'more' % (channel, milliseconds))


def only_leveret():
    """RabbitMQ looks once a minute, and has it by argument since 3.12."""
    if elsewhere():
        run.skip('RabbitMQ looks once a minute')


def in_time(began, limit_s=TIMEOUT_S):
    """What is over must not be so before its time, nor long after."""
    lasted = time.monotonic() - began
    run.check(lasted >= limit_s, 'after %.3f s' % lasted)
    run.check(lasted < limit_s + 2, 'after %.3f s only' % lasted)


def check_cancelled(w, channel, consumer, tag, events, began):
    """A consumer that timed out is cancelled, its messages are back, and its channel lives."""
    consumer.expect('basic.cancel', consumer_tag=tag, nowait=True)
    in_time(began)
    channel.becomes(w.q(), len(events), 0)
    for event in events:
        channel.ack(channel.take(w.q(), event.body, redelivered=True).delivery_tag)
    consumer.quiet()
    consumer.declare(w.q('alive'))


@run.parallel
def test_the_timeout_of_a_queue_cancels_a_consumer():
    only_leveret()
    with world() as w:
        channel, consumer = w.channel(confirm=True), w.channel()
        channel.declare(w.q(), TIMEOUT)
        tag = consumer.consume(w.q())
        began = time.monotonic()
        channel.put('', w.q(), 'a', 'b')
        events = consumer.deliveries('a', 'b')
        check_cancelled(w, channel, consumer, tag, events, began)


@run.parallel
def test_the_timeout_of_a_consumer_cancels_it():
    only_leveret()
    with world() as w:
        channel, consumer, other = w.channel(confirm=True), w.channel(), w.channel()
        channel.declare(w.q())
        tag = consumer.consume(w.q(), arguments=TIMEOUT)
        began = time.monotonic()
        channel.put('', w.q(), 'a')
        events = [consumer.delivery('a')]
        check_cancelled(w, channel, consumer, tag, events, began)
        other.consume(w.q())
        channel.put('', w.q(), 'b')
        other.delivery('b')
        time.sleep(TIMEOUT_S * 1.5)
        other.quiet()                           # the timeout was the first consumer's


@run.parallel
def test_the_timeout_of_the_consumer_goes_before_that_of_the_queue():
    only_leveret()
    with world() as w:
        channel, consumer = w.channel(confirm=True), w.channel()
        channel.declare(w.q(), {'x-consumer-timeout': 100})
        tag = consumer.consume(w.q(), arguments=TIMEOUT)
        began = time.monotonic()
        channel.put('', w.q(), 'a')
        events = [consumer.delivery('a')]
        check_cancelled(w, channel, consumer, tag, events, began)


@run.parallel
def test_only_the_consumer_that_is_late_is_cancelled():
    only_leveret()
    with world() as w:
        channel, consumer = w.channel(confirm=True), w.channel()
        for name, arguments in (('slow', TIMEOUT), ('patient', {})):
            channel.declare(w.q(name), arguments)
        late = consumer.consume(w.q('slow'))
        patient = consumer.consume(w.q('patient'))
        channel.put('', w.q('slow'), 'a')
        channel.put('', w.q('patient'), 'b')
        events = {event.consumer_tag: event for event in (consumer.delivery(),
                                                          consumer.delivery())}
        consumer.expect('basic.cancel', consumer_tag=late, nowait=True)
        channel.becomes(w.q('slow'), 1, 0)
        consumer.ack(events[patient].delivery_tag)
        channel.put('', w.q('patient'), 'c')
        consumer.delivery('c', consumer_tag=patient)
        consumer.quiet()


@run.parallel
def test_acks_in_time_and_no_ack_keep_a_consumer():
    only_leveret()
    with world() as w:
        channel, consumer, careless = w.channel(confirm=True), w.channel(), w.channel()
        channel.declare(w.q(), TIMEOUT)
        channel.declare(w.q('no-ack'), TIMEOUT)
        consumer.consume(w.q())
        careless.consume(w.q('no-ack'), no_ack=True)
        channel.put('', w.q('no-ack'), 'x')
        careless.delivery('x')
        end = time.monotonic() + TIMEOUT_S * 3
        while time.monotonic() < end:
            channel.put('', w.q(), 'a')
            event = consumer.delivery('a')
            time.sleep(TIMEOUT_S / 3)
            consumer.ack(event.delivery_tag)
        consumer.quiet()
        careless.quiet()


@run.parallel
def test_the_oldest_message_counts():
    only_leveret()
    with world() as w:
        channel, consumer = w.channel(confirm=True), w.channel()
        channel.declare(w.q(), TIMEOUT)
        tag = consumer.consume(w.q())
        began = time.monotonic()
        channel.put('', w.q(), 'kept')
        consumer.delivery('kept')
        for step in range(1, 4):
            sleep_until(began + step * TIMEOUT_S / 5)
            channel.put('', w.q(), 'acked')
            consumer.ack(consumer.delivery('acked').delivery_tag)
        consumer.expect('basic.cancel', consumer_tag=tag, nowait=True)
        in_time(began)
        run.check_equal(channel.take(w.q(), 'kept', redelivered=True).message_count, 0, 'left')


@run.parallel
def test_a_late_ack_of_a_timed_out_message_is_no_error():
    only_leveret()
    with world() as w:
        channel, consumer = w.channel(confirm=True), w.channel()
        channel.declare(w.q(), TIMEOUT)
        tag = consumer.consume(w.q())
        channel.put('', w.q(), 'a')
        event = consumer.delivery('a')
        consumer.expect('basic.cancel', consumer_tag=tag, nowait=True)
        channel.becomes(w.q(), 1)
        consumer.ack(event.delivery_tag)
        consumer.quiet()
        run.check_equal(channel.drain(w.q()), ['a'], 'messages')


@run.parallel
def test_without_the_capability_the_channel_is_closed():
    only_leveret()
    with world() as w:
        channel, consumer = w.channel(confirm=True), w.channel(**NO_CANCEL)
        channel.declare(w.q(), TIMEOUT)
        consumer.consume(w.q())
        began = time.monotonic()
        channel.put('', w.q(), 'a')
        consumer.delivery('a')
        event = consumer.expect('channel.close')
        in_time(began)
        run.check_equal((event.reply_code, event.reply_text, event.class_id, event.method_id),
                        (406, timed_out(1, int(TIMEOUT_S * 1000)), 0, 0), 'channel.close')
        consumer.send('channel.close-ok')
        consumer.call('channel.open')
        channel.becomes(w.q(), 1, 0)
        channel.take(w.q(), 'a', redelivered=True)


@run.parallel
def test_a_timed_out_single_active_consumer_is_succeeded():
    only_leveret()
    with world() as w:
        channel, one, two = w.channel(confirm=True), w.channel(), w.channel()
        channel.declare(w.q(), {**SAC, **TIMEOUT})
        one.qos(1)
        tag = one.consume(w.q())
        two.consume(w.q())
        channel.put('', w.q(), 'a', 'b')
        one.delivery('a')
        one.expect('basic.cancel', consumer_tag=tag, nowait=True)
        two.delivery('a', redelivered=True)
        two.delivery('b')


@run.parallel
def test_a_timeout_is_a_return_for_the_delivery_limit():
    only_leveret()
    with world() as w:
        channel, consumer = w.channel(confirm=True), w.channel()
        channel.declare(w.q('dead'))
        channel.declare(w.q(), {'x-consumer-timeout': 200, 'x-dead-letter-exchange': '',
                                'x-dead-letter-routing-key': w.q('dead'), 'x-delivery-limit': 1})
        channel.put('', w.q(), 'a')
        for _ in range(2):
            tag = consumer.consume(w.q())
            consumer.delivery('a')
            consumer.expect('basic.cancel', consumer_tag=tag, nowait=True)
        event = arrives(channel, w.q('dead'), 'a')
        run.check_equal(deaths(event), [(w.q(), 'delivery_limit', 1)], 'x-death')


@run.parallel
def test_the_timeout_of_the_server_is_for_all_queues():
    only_leveret()
    with leveret.Broker({'consumer_timeout': 400}) as broker, World(broker.port) as w:
        channel, consumer, old = w.channel(confirm=True), w.channel(), w.channel(**NO_CANCEL)
        channel.declare(w.q())
        channel.declare(w.q('old'))
        channel.declare(w.q('longer'), {'x-consumer-timeout': 60000})
        tag = consumer.consume(w.q())
        consumer.consume(w.q('longer'), arguments={'x-consumer-timeout': 60000})
        old.consume(w.q('old'))
        began = time.monotonic()
        for name in ('q', 'old', 'longer'):
            channel.put('', w.q(name), name)
        consumer.deliveries('q', 'longer')
        old.delivery('old')
        consumer.expect('basic.cancel', consumer_tag=tag, nowait=True)
        in_time(began, 0.4)
        event = old.expect('channel.close')
        run.check_equal((event.reply_code, event.reply_text), (406, timed_out(1, 400)),
                        'channel.close')
        old.send('channel.close-ok')
        consumer.quiet()
        for name in ('q', 'old'):
            channel.becomes(w.q(name), 1, 0)
        run.check_equal(channel.counts(w.q('longer')), (0, 1), 'messages, consumers')


def test_odd_timeouts_are_refused():
    only_leveret()
    with world() as w:
        channel = w.channel()
        channel.declare(w.q('any'))
        name = 'x-consumer-timeout'
        for odd, reason in ((-1, '{value_negative,-1}'),
                            ('100', '"expected integer, got longstr"'),
                            (True, '"expected integer, got bool"')):
            channel.refuses(406, invalid(w.q(), name, reason), 'queue.declare', queue=w.q(),
                            arguments={name: odd})
            channel.refuses(406, invalid(w.q('any'), name, reason), 'basic.consume',
                            queue=w.q('any'), arguments={name: odd})
        run.check(not channel.exists('queue', w.q()), 'declared all the same')
        run.check_equal(channel.counts(w.q('any'))[1], 0, 'consumers')


if __name__ == '__main__':
    run.main()
