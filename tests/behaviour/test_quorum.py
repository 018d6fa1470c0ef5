#!/usr/bin/python3
"""test_quorum.py - queues that clients declare as quorum queues, on one node

Leveret keeps them as it keeps all durable queues, under the rules that clients of quorum queues
rely on. Where 3.10 is looser about an order, the test says so. Delivery limits are in
test_delivery_limit.py.
"""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import run                                                                  # noqa: E402
from peer import Fixture, elsewhere, queue_text                             # noqa: E402
from semantics import (arrives, deaths, headers, inequivalent, invalid,     # noqa: E402
                       not_for_type, outcomes, settled, typed_headers)

FIXTURE = Fixture()
setup, teardown, world = FIXTURE.setup, FIXTURE.teardown, FIXTURE.world


def quorum(**more):
    """Arguments of a quorum queue: dlx for the queue of its dead letters, others by their names."""
    arguments = {'x-queue-type': 'quorum'}
    if 'dlx' in more:
        arguments.update({'x-dead-letter-exchange': '',
                          'x-dead-letter-routing-key': more.pop('dlx')})
    arguments.update({'x-' + name.replace('_', '-'): value for name, value in more.items()})
    return arguments


def declare(channel, queue, **more):
    """Declare a quorum queue."""
    return channel.declare(queue, quorum(**more), durable=True)


# ---- declaring -------------------------------------------------------------------------------

def test_publishing_consuming_and_getting():
    with world() as w:
        channel, consumer = w.channel(confirm=True), w.channel()
        event = declare(channel, w.q())
        run.check_equal((event.message_count, event.consumer_count), (0, 0), 'declare-ok')
        channel.put('', w.q(), *'abcd')
        channel.becomes(w.q(), 4, 0)
        event = channel.take(w.q(), 'a', redelivered=False)
        channel.ack(event.delivery_tag)
        consumer.qos(10)
        consumer.consume(w.q())
        events = consumer.deliveries('b', 'c', 'd', redelivered=False)
        consumer.ack(events[-1].delivery_tag, multiple=True)
        channel.becomes(w.q(), 0, 1)
        channel.put('', w.q(), 'e')
        consumer.delivery('e')
        run.check_equal(channel.call('queue.delete', queue=w.q()).message_count, 0, 'deleted')


def test_flags_that_cannot_be():
    with world() as w:
        channel = w.channel()
        for name, flags in (
                ('auto-delete', {'auto_delete': True, 'durable': True}),
                ('auto-delete', {'auto_delete': True, 'exclusive': True}),
                ('exclusive-owner', {'exclusive': True, 'durable': True}),
                ('non-durable', {})):
            channel.refuses(406, "PRECONDITION_FAILED - invalid property '%s' for %s"
                            % (name, queue_text(w.q())), 'queue.declare', queue=w.q(),
                            arguments=quorum(), **flags)
            run.check(not channel.exists('queue', w.q()), 'declared all the same')


def test_they_need_a_name():
    with world() as w:
        w.channel().refuses(406, 'PRECONDITION_FAILED - Cannot declare a server-named queue for '
                            'type rabbit_quorum_queue', 'queue.declare', durable=True,
                            arguments=quorum())


def test_arguments_they_know():
    with world() as w:
        channel = w.channel()
        for number, arguments in enumerate((
                {'expires': 60000}, {'max_length': 5, 'overflow': 'reject-publish'},
                {'max_length_bytes': 5}, {'dlx': 'x', 'dead_letter_strategy': 'at-most-once'},
                {'dlx': 'x', 'dead_letter_strategy': 'at-least-once',
                 'overflow': 'reject-publish'}, {'overflow': 'reject-publish-dlx'},
                {'single_active_consumer': True}, {'max_in_memory_length': 5},
                {'max_in_memory_bytes': 5}, {'quorum_initial_group_size': 3},
                {'delivery_limit': 5}, {'queue_leader_locator': 'client-local'},
                {'queue_leader_locator': 'balanced'}, {'message_ttl': 60000})):
            for _ in range(2):
                declare(channel, w.q(str(number)), **dict(arguments))


def test_arguments_they_do_not_know():
    with world() as w:
        channel = w.channel()
        for name, value in (('x-max-priority', 5), ('x-queue-mode', 'lazy'),
                            ('x-queue-version', 2), ('x-max-age', '1D'),
                            ('x-stream-max-segment-size-bytes', 1000),
                            ('x-initial-cluster-size', 1)):
            channel.refuses(406, not_for_type(w.q(), name, 'quorum'), 'queue.declare',
                            queue=w.q(), durable=True, arguments={**quorum(), name: value})


def test_values_that_cannot_be():
    with world() as w:
        channel = w.channel()
        for name, value, reason in (
                ('x-dead-letter-strategy', 'twice', 'invalid_dlx_strategy'),
                ('x-max-in-memory-length', -1, '{value_negative,-1}'),
                ('x-max-in-memory-bytes', -1, '{value_negative,-1}'),
                ('x-quorum-initial-group-size', 0, '{value_zero,0}'),
                ('x-quorum-initial-group-size', -1, '{value_negative,-1}'),
                ('x-queue-leader-locator', 'odd', 'invalid_queue_locator_arg'),
                ('x-max-length', -1, '{value_negative,-1}'), ('x-overflow', 'odd',
                                                              'invalid_overflow'),
                ('x-single-active-consumer', 'yes', '{unacceptable_type,longstr}')):
            channel.refuses(406, invalid(w.q(), name, reason), 'queue.declare', queue=w.q(),
                            durable=True, arguments={**quorum(), name: value})
            run.check(not channel.exists('queue', w.q()), 'declared all the same')


def test_the_type_is_compared():
    with world() as w:
        channel = w.channel()
        declare(channel, w.q('quorum'))
        channel.declare(w.q('none'), durable=True)
        none, named = 'none', "the value 'quorum' of type 'longstr'"
        for name, received, current, arguments in (
                ('quorum', "'classic'", "'quorum'", {'x-queue-type': 'classic'}),
                ('quorum', none, named, {}), ('none', named, none, quorum())):
            channel.refuses(406, inequivalent(w.q(name), 'x-queue-type', received, current),
                            'queue.declare', queue=w.q(name), durable=True, arguments=arguments)
        channel.refuses(406, inequivalent(w.q('quorum'), 'durable', "'false'", "'true'"),
                        'queue.declare', queue=w.q('quorum'), arguments=quorum())


# ---- using -----------------------------------------------------------------------------------

def test_a_shared_prefetch_is_not_for_them():
    with world() as w:
        channel = w.channel()
        declare(channel, w.q())
        channel.qos(5, shared=True)
        channel.send('basic.consume', queue=w.q())
        channel.peer.fails(540, 'NOT_IMPLEMENTED - %s does not support global qos'
                           % queue_text(w.q()), 'basic.consume')


def test_the_exclusive_flag_of_a_consumer_is_ignored():
    with world() as w:
        channel, one, two = w.channel(confirm=True), w.channel(), w.channel()
        declare(channel, w.q())
        one.qos(1)
        one.consume(w.q(), exclusive=True)
        two.consume(w.q())
        channel.put('', w.q(), 'a', 'b')
        run.check_equal({one.delivery().body, two.delivery().body}, {b'a', b'b'}, 'messages')


def test_get_is_not_for_single_active_consumers():
    with world() as w:
        channel = w.channel()
        declare(channel, w.q(), single_active_consumer=True)
        channel.refuses(405, 'RESOURCE_LOCKED - cannot obtain access to locked %s. basic.get '
                        'operations are not supported by quorum queues with single active '
                        'consumer' % queue_text(w.q()), 'basic.get', queue=w.q())


def test_a_single_active_consumer_is_succeeded():
    with world() as w:
        channel, one, two = w.channel(confirm=True), w.channel(), w.channel()
        declare(channel, w.q(), single_active_consumer=True)
        one.qos(1)
        two.qos(5)
        tag = one.consume(w.q())
        two.consume(w.q())
        channel.put('', w.q(), *'abc')
        event = one.delivery('a')
        two.quiet()
        one.cancel(tag)
        two.deliveries('b', 'c')
        one.ack(event.delivery_tag)
        one.quiet()
        two.close()
        channel.becomes(w.q(), 2, 0)


def test_a_return_is_redelivered_and_counted():
    with world() as w:
        channel = w.channel(confirm=True)
        declare(channel, w.q())
        channel.put('', w.q(), *'0123')
        events = [channel.take(w.q(), body, redelivered=False) for body in '01']
        channel.nack(events[0].delivery_tag)
        channel.becomes(w.q(), 3)
        channel.nack(events[1].delivery_tag)
        channel.becomes(w.q(), 4)
        seen = [arrives(channel, w.q()) for _ in range(4)]
        bodies = [event.body.decode() for event in seen]
        # 3.10 without a limit puts what comes back at the end
        run.check_equal(bodies, list('2301') if elsewhere() else list('0123'), 'messages')
        for event in seen:
            back = event.body in b'01'
            run.check_equal(event.redelivered, back, 'redelivered')
            if back:
                run.check_equal(headers(event).get('x-delivery-count'), 1, 'x-delivery-count')


def test_returns_are_counted_whatever_the_limit():
    limits = ({}, {'delivery_limit': 9}, {'delivery_limit': -1})
    for more in limits[:2] if elsewhere() else limits:  # 3.10 takes -1 for 0
        with world() as w:
            channel = w.channel(confirm=True)
            declare(channel, w.q(), **more)
            channel.put('', w.q(), 'a', headers={'mine': 1})
            channel.qos(1)
            channel.consume(w.q())
            event = channel.delivery('a', redelivered=False)
            run.check_equal(headers(event), {'mine': 1}, 'headers')
            for count in range(1, 5):
                channel.nack(event.delivery_tag)
                event = channel.delivery('a', redelivered=True)
                run.check_equal(typed_headers(event),
                                {'mine': ('I', 1), 'x-delivery-count': ('l', count)}, 'headers')
            channel.peer.drop()
            channel = w.channel()
            event = run.wait_for(lambda: channel.get(w.q(), no_ack=False), 'the message')
            run.check_equal(headers(event), {'mine': 1, 'x-delivery-count': 5}, 'headers')


def test_a_lost_connection_gives_its_messages_back():
    with world() as w:
        channel, consumer = w.channel(confirm=True), w.channel()
        declare(channel, w.q())
        consumer.qos(2)
        consumer.consume(w.q())
        channel.put('', w.q(), 'a', 'b')
        consumer.deliveries('a', 'b')
        consumer.peer.drop()
        channel.becomes(w.q(), 2, 0)
        run.check_equal(sorted(channel.drain(w.q())), ['a', 'b'], 'messages')


def test_purge_and_conditional_delete():
    with world() as w:
        channel = w.channel(confirm=True)
        declare(channel, w.q())
        channel.put('', w.q(), *'abc')
        channel.becomes(w.q(), 3)
        run.check_equal(channel.call('queue.purge', queue=w.q()).message_count, 3, 'purged')
        channel.becomes(w.q(), 0)
        channel.call('queue.delete', queue=w.q())
        run.check(not channel.exists('queue', w.q()), 'it is still there')


def test_deleting_it_cancels_its_consumers():
    with world() as w:
        channel, consumer = w.channel(), w.channel()
        declare(channel, w.q())
        consumer.qos(1)
        tag = consumer.consume(w.q())
        channel.call('queue.delete', queue=w.q())
        consumer.expect('basic.cancel', consumer_tag=tag, nowait=True)


# ---- limits, times, dead letters -------------------------------------------------------------

def test_drop_head():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('dead'))
        declare(channel, w.q(), max_length=2, dlx=w.q('dead'))
        channel.put('', w.q(), *'abc')
        event = arrives(channel, w.q('dead'), 'a')
        run.check_equal(deaths(event), [(w.q(), 'maxlen', 1)], 'x-death')
        run.check_equal(channel.drain(w.q()), ['b', 'c'], 'messages')


def test_reject_publish():
    """RabbitMQ's leader tells its publishers after the limit has been passed."""
    with world() as w:
        channel = w.channel(confirm=True)
        declare(channel, w.q(), max_length=2, overflow='reject-publish')
        seen = []
        for number in range(6):
            channel.publish('', w.q(), str(number))
            seen += outcomes(channel, 1)
            settled(channel)
        room = 3 if elsewhere() else 2
        run.check_equal(seen, ['ack'] * room + ['nack'] * (6 - room), 'outcomes')
        run.check_equal(channel.drain(w.q()), [str(number) for number in range(room)], 'messages')


def test_one_that_refuses_among_others():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x(), 'fanout')
        declare(channel, w.q('full'), max_length=1, overflow='reject-publish')
        declare(channel, w.q('open'))
        for name in ('full', 'open'):
            channel.bind(w.q(name), w.x())
        for number in range(3):
            channel.put('', w.q('open'), 'x')   # paces the publishes: see above
            channel.publish('', w.q('full'), str(number))
            outcomes(channel, 1)
            settled(channel)
        channel.publish(w.x(), '', 'both')
        run.check_equal(outcomes(channel, 1), ['nack'], 'outcome')
        channel.quiet()
        run.check_equal(channel.drain(w.q('open')), ['x', 'x', 'x', 'both'], 'messages')


def test_times():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('dead'))
        declare(channel, w.q('queue'), message_ttl=200, dlx=w.q('dead'))
        declare(channel, w.q('message'), dlx=w.q('dead'))
        for name, named in (('queue', {}), ('message', {'expiration': '200'})):
            began = time.monotonic()
            channel.put('', w.q(name), name, **named)
            event = arrives(channel, w.q('dead'), name)
            run.check(time.monotonic() - began >= 0.2, 'it expired early')
            run.check_equal(deaths(event), [(w.q(name), 'expired', 1)], 'x-death')


def test_dead_letters_at_least_once_are_moved_and_not_lost():
    with world() as w:
        channel = w.channel(confirm=True)
        declare(channel, w.q('dead'))
        declare(channel, w.q(), dead_letter_strategy='at-least-once', overflow='reject-publish',
                dlx=w.q('dead'))
        channel.put('', w.q(), *'abc')
        for body in 'abc':
            channel.reject(arrives(channel, w.q(), body, no_ack=False).delivery_tag,
                           requeue=False)
        for body in 'abc':
            event = arrives(channel, w.q('dead'), body)
            run.check_equal(deaths(event), [(w.q(), 'rejected', 1)], 'x-death')
        settled(channel)
        run.check_equal(channel.counts(w.q())[0], 0, 'messages')


# ---- restarts --------------------------------------------------------------------------------

def test_every_message_is_kept_whatever_its_delivery_mode():
    if elsewhere():
        run.skip('kills leveretd')
    with world() as w:
        channel = w.channel(confirm=True)
        declare(channel, w.q())
        for mode in (None, 1, 2):
            channel.put('', w.q(), str(mode), delivery_mode=mode)
        channel.take(w.q(), 'None')             # a message that is out is not gone
        FIXTURE.broker.kill()
        FIXTURE.broker.start()
        channel = w.channel(confirm=True)
        declare(channel, w.q())
        run.check_equal(channel.drain(w.q()), ['None', '1', '2'], 'messages')


if __name__ == '__main__':
    run.main()
