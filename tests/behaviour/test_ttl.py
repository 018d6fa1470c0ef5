#!/usr/bin/python3
"""test_ttl.py - messages that expire: x-message-ttl and the expiration property

Leveret lets a message go when its time comes, wherever it is in its queue; RabbitMQ looks at the
head of a queue only. Tests of that difference say which they expect.
"""

import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import run                                                                  # noqa: E402
from peer import Fixture, elsewhere                                         # noqa: E402
from semantics import arrives, deaths, props, settled, sleep_until          # noqa: E402

FIXTURE = Fixture()
setup, teardown, world = FIXTURE.setup, FIXTURE.teardown, FIXTURE.world

NEVER_MS = 315360000000         # ten years, the largest that is taken


def to(queue, **more):
    """Arguments of a queue whose dead letters go to another queue."""
    return {'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': queue,
            **{name.replace('_', '-'): value for name, value in more.items()}}


def check_life(channel, dead, body, began, ttl_ms):
    """A message published after began must be dead-lettered not before its time."""
    event = arrives(channel, dead, body)
    lived = time.monotonic() - began
    run.check(lived >= ttl_ms / 1000, '%s expired after %.3f s' % (body, lived))
    run.check(lived < ttl_ms / 1000 + 2, '%s expired after %.3f s only' % (body, lived))
    return event


# ---- which time counts -----------------------------------------------------------------------

@run.parallel
def test_the_ttl_of_the_queue_ends_a_message_without_any_consumer():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('dead'))
        channel.declare(w.q(), to(w.q('dead'), x_message_ttl=200))
        began = time.monotonic()
        channel.put('', w.q(), 'a')
        event = check_life(channel, w.q('dead'), 'a', began, 200)
        run.check_equal(deaths(event), [(w.q(), 'expired', 1)], 'x-death')
        channel.becomes(w.q(), 0)


@run.parallel
def test_the_expiration_of_a_message_ends_it():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('dead'))
        channel.declare(w.q(), to(w.q('dead')))
        began = time.monotonic()
        channel.put('', w.q(), 'a', expiration='200')
        event = check_life(channel, w.q('dead'), 'a', began, 200)
        run.check('expiration' not in props(event), 'the dead letter would expire again')


@run.parallel
def test_the_smaller_of_both_counts():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('dead'))
        for name, ttl, expiration in (('message', 60000, '200'), ('queue', 200, '60000')):
            channel.declare(w.q(name), to(w.q('dead'), x_message_ttl=ttl))
            began = time.monotonic()
            channel.put('', w.q(name), name, expiration=expiration)
            check_life(channel, w.q('dead'), name, began, 200)


@run.parallel
def test_messages_without_a_dead_letter_exchange_are_gone():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q(), {'x-message-ttl': 500})
        channel.put('', w.q(), *'abc')
        run.check_equal(channel.counts(w.q()), (3, 0), 'before')
        channel.becomes(w.q(), 0)
        run.check(channel.get(w.q()) is None, 'an expired message was delivered')


@run.parallel
def test_expiry_keeps_the_order_of_the_queue():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('dead'))
        channel.declare(w.q(), to(w.q('dead'), x_message_ttl=200))
        bodies = ['%02d' % number for number in range(50)]
        channel.put('', w.q(), *bodies)
        channel.becomes(w.q('dead'), len(bodies))
        run.check_equal(channel.drain(w.q('dead')), bodies, 'dead letters')


@run.parallel
def test_the_largest_times_are_taken():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q(), {'x-message-ttl': NEVER_MS})
        channel.put('', w.q(), 'a', expiration=str(NEVER_MS))
        channel.put('', w.q(), 'b')
        settled(channel)
        run.check_equal(channel.drain(w.q()), ['a', 'b'], 'messages')


@run.parallel
def test_the_expiration_is_delivered_as_it_was_written():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q(), {'x-message-ttl': 30000})
        channel.put('', w.q(), 'a', expiration='+0060000')
        run.check_equal(props(channel.get(w.q())), {'expiration': '+0060000'}, 'properties')


# ---- zero ------------------------------------------------------------------------------------

@run.parallel
def test_zero_is_for_consumers_that_can_take_it_at_once():
    with world() as w:
        channel, consumer = w.channel(confirm=True), w.channel()
        channel.declare(w.q('dead'))
        consumer.qos(1)
        for name, ttl, named in (('queue', {'x_message_ttl': 0}, {}),
                                 ('message', {}, {'expiration': '0'})):
            channel.declare(w.q(name), to(w.q('dead'), **ttl))
            consumer.consume(w.q(name))
            channel.put('', w.q(name), 'taken', **named)
            event = consumer.delivery('taken')
            channel.put('', w.q(name), 'late', **named)     # the consumer is full
            arrives(channel, w.q('dead'), 'late')
            consumer.ack(event.delivery_tag)
            consumer.quiet()
            run.check_equal(channel.counts(w.q('dead'))[0], 0, 'dead letters')


@run.parallel
def test_zero_without_a_consumer_is_confirmed_dead_lettered_and_not_returned():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('dead'))
        for name, ttl, named in (('queue', {'x_message_ttl': 0}, {}),
                                 ('message', {}, {'expiration': '0'})):
            channel.declare(w.q(name), to(w.q('dead'), **ttl))
            channel.put('', w.q(name), name, mandatory=True, **named)
            event = arrives(channel, w.q('dead'), name)
            run.check_equal(deaths(event), [(w.q(name), 'expired', 1)], 'x-death')
            channel.becomes(w.q(name), 0)


# ---- messages that are out -------------------------------------------------------------------

@run.parallel
def test_unacknowledged_messages_do_not_expire():
    with world() as w:
        channel, consumer = w.channel(confirm=True), w.channel()
        channel.declare(w.q('dead'))
        channel.declare(w.q(), to(w.q('dead'), x_message_ttl=300))
        consumer.consume(w.q())
        began = time.monotonic()
        channel.put('', w.q(), 'a')
        event = consumer.delivery('a')
        sleep_until(began + 0.5)
        settled(channel)
        run.check_equal(channel.counts(w.q('dead'))[0], 0, 'dead letters')
        consumer.ack(event.delivery_tag)
        consumer.quiet()
        settled(channel)
        run.check_equal(channel.counts(w.q('dead'))[0], 0, 'dead letters after the ack')


@run.parallel
def test_a_message_that_comes_back_after_its_time_expires():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('dead'))
        channel.declare(w.q(), to(w.q('dead')))
        began = time.monotonic()
        channel.put('', w.q(), 'a', expiration='400')
        event = channel.take(w.q(), 'a')
        sleep_until(began + 0.6)
        channel.nack(event.delivery_tag)
        event = arrives(channel, w.q('dead'), 'a')
        run.check_equal(deaths(event), [(w.q(), 'expired', 1)], 'x-death')
        run.check(not event.redelivered, 'redelivered')
        channel.becomes(w.q(), 0)


@run.parallel
def test_a_message_that_comes_back_in_time_keeps_its_expiry():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('dead'))
        channel.declare(w.q(), to(w.q('dead'), x_message_ttl=1000))
        began = time.monotonic()
        channel.put('', w.q(), 'a')
        event = channel.take(w.q(), 'a')
        sleep_until(began + 0.6)
        channel.reject(event.delivery_tag)
        check_life(channel, w.q('dead'), 'a', began, 1000)
        run.check(time.monotonic() < began + 1.59, 'its time began anew')


@run.parallel
def test_messages_behind_a_full_consumer_expire():
    with world() as w:
        channel, consumer = w.channel(confirm=True), w.channel()
        channel.declare(w.q('dead'))
        channel.declare(w.q(), to(w.q('dead'), x_message_ttl=200))
        consumer.qos(1)
        consumer.consume(w.q())
        channel.put('', w.q(), *'abc')
        event = consumer.delivery('a')
        channel.becomes(w.q('dead'), 2)
        run.check_equal(channel.drain(w.q('dead')), ['b', 'c'], 'dead letters')
        channel.put('', w.q(), 'd')
        consumer.ack(event.delivery_tag)
        consumer.delivery('d')


@run.parallel
def test_a_consumer_that_comes_late_gets_what_is_left():
    with world() as w:
        channel, consumer = w.channel(confirm=True), w.channel()
        channel.declare(w.q())
        began = time.monotonic()
        channel.put('', w.q(), 'a', 'b', expiration='100')
        channel.put('', w.q(), 'c')
        sleep_until(began + 0.3)
        consumer.consume(w.q())
        consumer.delivery('c')
        consumer.quiet()


@run.parallel
def test_the_time_of_a_transaction_begins_at_its_commit():
    with world() as w:
        channel, other = w.channel(), w.channel()
        other.declare(w.q())
        channel.call('tx.select')
        channel.publish('', w.q(), 'a', expiration='400')
        time.sleep(0.5)
        channel.call('tx.commit')
        run.check(other.get(w.q()) is not None, 'it expired before it was published')


# ---- mixed times in one queue ----------------------------------------------------------------

@run.parallel
def test_a_message_behind_one_that_lives():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('dead'))
        channel.declare(w.q(), to(w.q('dead')))
        began = time.monotonic()
        channel.put('', w.q(), 'lives')
        channel.put('', w.q(), 'expires', expiration='500')
        channel.put('', w.q(), 'lives on')
        run.check_equal(channel.counts(w.q())[0], 3, 'messages')
        if elsewhere():
            sleep_until(began + 0.7)
            run.check_equal(channel.counts(w.q())[0], 3, 'messages')
            run.check_equal(channel.get(w.q()).body, b'lives', 'head')
        event = check_life(channel, w.q('dead'), 'expires', began, 500)
        run.check_equal(deaths(event), [(w.q(), 'expired', 1)], 'x-death')
        channel.becomes(w.q(), 1 if elsewhere() else 2)
        run.check_equal(channel.drain(w.q()), ['lives', 'lives on'][elsewhere():], 'messages')


@run.parallel
def test_an_expired_message_is_never_seen_whoever_asks():
    with world() as w:
        channel, consumer = w.channel(confirm=True), w.channel()
        channel.declare(w.q())
        began = time.monotonic()
        for number in range(30):
            named = {'expiration': '100'} if number % 3 else {}
            channel.put('', w.q(), str(number), **named)
        sleep_until(began + 0.3)
        run.check_equal(channel.drain(w.q()), [str(number) for number in range(0, 30, 3)],
                        'messages')


@run.parallel
def test_priorities_do_not_hide_an_expired_message():
    if elsewhere():
        run.skip('RabbitMQ looks at a level only when those above it are empty')
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('dead'))
        channel.declare(w.q(), to(w.q('dead'), x_max_priority=5))
        began = time.monotonic()
        channel.put('', w.q(), 'low', priority=1, expiration='150')
        channel.put('', w.q(), 'high', priority=5)
        check_life(channel, w.q('dead'), 'low', began, 150)
        run.check_equal(channel.counts(w.q())[0], 1, 'messages')


@run.parallel
def test_what_has_expired_stops_counting_against_a_limit():
    if elsewhere():
        run.skip('RabbitMQ keeps it until it is at the head')
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q(), {'x-max-length': 3, 'x-max-length-bytes': 100})
        channel.put('', w.q(), 'a')
        channel.put('', w.q(), 'b', 'c', expiration='150')
        channel.becomes(w.q(), 1)
        channel.put('', w.q(), 'd', 'e')
        run.check_equal(channel.counts(w.q())[0], 3, 'messages')
        channel.put('', w.q(), 'f' * 98)        # drops 'a' and fills both limits exactly
        run.check_equal(channel.drain(w.q()), ['d', 'e', 'f' * 98], 'messages')


def test_many_times_are_each_kept():
    """Half of 200 dead letters must be there within 50 ms of their time: that is the promise, and
    the other half allows for a busy machine. None may come early."""
    if elsewhere():
        run.skip('RabbitMQ looks at the head only')
    with world() as w:
        channel, consumer = w.channel(confirm=True), w.channel()
        channel.declare(w.q('dead'))
        channel.declare(w.q(), to(w.q('dead')))
        consumer.consume(w.q('dead'), no_ack=True)
        channel.put('', w.q(), 'stays at the head')
        times = [random.randrange(150, 1200) for _ in range(200)]
        due, late = {}, []
        for number, ttl in enumerate(times):
            due[str(number)] = time.monotonic() + ttl / 1000
            channel.publish('', w.q(), str(number), expiration=str(ttl))
        channel.confirmed(channel.published + len(times))
        for _ in times:
            event = consumer.delivery()
            late.append(time.monotonic() - due.pop(event.body.decode()))
        run.check(min(late) >= 0, 'one came %.1f ms early' % (min(late) * -1000))
        late.sort()
        run.check(late[100] <= 0.05, 'half of them were over %.0f ms late' % (late[100] * 1000))
        run.check(late[-1] <= 1, 'one was %.0f ms late' % (late[-1] * 1000))
        run.check_equal(channel.counts(w.q())[0], 1, 'messages')


# ---- coming back -----------------------------------------------------------------------------

def back_by_end_of_connection(channel, _):
    channel.peer.drop()


def back_by_end_of_channel(channel, _):
    channel.close()


def back_by_recover(channel, _):
    channel.call('basic.recover', requeue=True)


WAYS_BACK = {'reject': lambda channel, tag: channel.reject(tag),
             'nack': lambda channel, tag: channel.nack(tag),
             'nack multiple': lambda channel, _: channel.nack(0, multiple=True),
             'recover': back_by_recover,
             'channel': back_by_end_of_channel,
             'connection': back_by_end_of_connection}


def test_a_ttl_of_0_is_over_when_its_delivery_comes_back():
    """Whoever waits: the consumer that had it, or another one that is free."""
    with world() as w:
        sender = w.channel(confirm=True)
        sender.declare(w.q('dead'))
        sender.declare(w.q('message'), to(w.q('dead')))
        sender.declare(w.q('queue'), to(w.q('dead'), x_message_ttl=0))
        for queue, named in (('message', {'expiration': '0'}), ('queue', {})):
            for way, give_back in WAYS_BACK.items():
                for _ in range(5):
                    one, two = w.channel(), w.channel()
                    tag = one.consume(w.q(queue))
                    sender.publish('', w.q(queue), way, **named)
                    event = one.delivery(way, redelivered=False)
                    sender.confirmed(sender.published + 1)
                    two.consume(w.q(queue))
                    give_back(one, event.delivery_tag)
                    event = arrives(sender, w.q('dead'), way)
                    run.check_equal(deaths(event), [(w.q(queue), 'expired', 1)], 'x-death')
                    two.quiet()
                    two.peer.drop()
                    if way not in ('channel', 'connection'):
                        one.cancel(tag)
                        one.quiet()
                    one.peer.drop()
                    sender.becomes(w.q(queue), 0, 0)


def test_deliveries_that_expire_when_they_come_back_die_in_their_order():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('dead'))
        channel.declare(w.q(), to(w.q('dead'), x_message_ttl=0))
        consumer = w.channel()
        consumer.consume(w.q())
        for body in 'abc':
            channel.put('', w.q(), body)
        consumer.deliveries('a', 'b', 'c')
        consumer.nack(0, multiple=True)
        for body in 'abc':
            arrives(channel, w.q('dead'), body)


# ---- restarts --------------------------------------------------------------------------------

def test_times_go_on_over_a_restart():
    """What expires while the broker is down is dead-lettered when it comes up, the rest on time."""
    if elsewhere():
        run.skip('restarts leveretd')
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('dead'), durable=True)
        channel.declare(w.q(), to(w.q('dead'), x_message_ttl=60000), durable=True)
        began = time.monotonic()
        channel.put('', w.q(), 'lives', delivery_mode=2)
        channel.put('', w.q(), 'down', delivery_mode=2, expiration='50')
        channel.put('', w.q(), 'later', delivery_mode=2, expiration='1500')
        FIXTURE.broker.kill()
        sleep_until(began + 0.1)
        FIXTURE.broker.start()
        channel = w.channel(confirm=True)
        event = arrives(channel, w.q('dead'), 'down')
        run.check_equal(deaths(event), [(w.q(), 'expired', 1)], 'x-death')
        check_life(channel, w.q('dead'), 'later', began, 1500)
        run.check_equal(channel.drain(w.q()), ['lives'], 'messages')


if __name__ == '__main__':
    run.main()
