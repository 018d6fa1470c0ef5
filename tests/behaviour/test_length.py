#!/usr/bin/python3
"""test_length.py - queues that hold so much and no more

x-max-length and x-max-length-bytes, and what x-overflow says of a message too many.
"""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import run                                                                  # noqa: E402
from peer import Fixture, elsewhere                                         # noqa: E402
from semantics import arrives, deaths, outcomes, settled                    # noqa: E402

FIXTURE = Fixture()
setup, teardown, world = FIXTURE.setup, FIXTURE.teardown, FIXTURE.world


def limits(**named):
    """Arguments: length, bytes, overflow, and dead for the queue of the dead letters."""
    names = {'length': 'x-max-length', 'bytes': 'x-max-length-bytes', 'overflow': 'x-overflow',
             'priority': 'x-max-priority'}
    arguments = {names[name]: value for name, value in named.items() if name != 'dead'}
    if 'dead' in named:
        arguments.update({'x-dead-letter-exchange': '',
                          'x-dead-letter-routing-key': named['dead']})
    return arguments


def publish_all(channel, queue, bodies, **named):
    """Publish in confirm mode; the outcome of each."""
    for body in bodies:
        channel.publish('', queue, body, **named)
    return outcomes(channel, len(bodies))


# ---- drop-head -------------------------------------------------------------------------------

def test_the_oldest_message_makes_room_and_is_dead_lettered():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('dead'))
        for name, arguments in (('default', {}), ('named', {'overflow': 'drop-head'})):
            channel.declare(w.q(name), limits(length=2, dead=w.q('dead'), **arguments))
            channel.put('', w.q(name), *'abc')
            event = arrives(channel, w.q('dead'), 'a')
            run.check_equal(deaths(event), [(w.q(name), 'maxlen', 1)], 'x-death')
            run.check_equal(channel.counts(w.q(name))[0], 2, 'messages')
            run.check_equal(channel.drain(w.q(name)), ['b', 'c'], 'messages')
            run.check_equal(channel.drain(w.q('dead')), [], 'dead letters')


def test_octets_of_bodies_are_counted():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('dead'))
        channel.declare(w.q(), limits(bytes=10, dead=w.q('dead')))
        channel.put('', w.q(), 'aaaa', 'bbbb', '', 'cc', headers={'not': 'counted'},
                    message_id='x' * 50)
        run.check_equal(channel.counts(w.q())[0], 4, 'messages of exactly so many octets')
        channel.put('', w.q(), 'd')
        arrives(channel, w.q('dead'), 'aaaa')
        channel.put('', w.q(), 'e' * 8)
        run.check_equal([arrives(channel, w.q('dead')).body for _ in range(3)],
                        [b'bbbb', b'', b'cc'], 'dead letters')
        run.check_equal(channel.drain(w.q()), ['d', 'e' * 8], 'messages')


def test_a_body_larger_than_the_limit_is_dropped_itself():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('dead'))
        channel.declare(w.q(), limits(bytes=10, dead=w.q('dead')))
        channel.put('', w.q(), 'small')
        channel.put('', w.q(), 'x' * 11)
        run.check_equal(channel.counts(w.q())[0], 0, 'messages')
        run.check_equal([arrives(channel, w.q('dead')).body for _ in range(2)],
                        [b'small', b'x' * 11], 'dead letters')


def test_the_limit_that_is_met_first_counts():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q(), limits(length=3, bytes=10))
        channel.put('', w.q(), *'abcd')
        run.check_equal(channel.drain(w.q()), ['b', 'c', 'd'], 'messages by number')
        channel.put('', w.q(), 'aaaaaa', 'bbbbbb')
        run.check_equal(channel.drain(w.q()), ['bbbbbb'], 'messages by octets')


def test_only_ready_messages_count():
    with world() as w:
        channel, consumer = w.channel(confirm=True), w.channel()
        channel.declare(w.q(), limits(length=2, bytes=2))
        consumer.qos(2)
        consumer.consume(w.q())
        channel.put('', w.q(), *'abcde')
        events = consumer.deliveries('a', 'b')
        channel.becomes(w.q(), 2)
        consumer.ack(events[1].delivery_tag, multiple=True)
        consumer.deliveries('d', 'e')
        consumer.quiet()


def test_limit_zero_passes_messages_to_waiting_consumers_only():
    with world() as w:
        channel, consumer = w.channel(confirm=True), w.channel()
        channel.declare(w.q(), limits(length=0))
        channel.put('', w.q(), 'nobody is there')
        run.check_equal(channel.counts(w.q())[0], 0, 'messages')
        consumer.qos(1)
        consumer.consume(w.q())
        channel.put('', w.q(), 'a')
        event = consumer.delivery('a')
        channel.put('', w.q(), 'dropped')
        run.check_equal(channel.counts(w.q())[0], 0, 'messages')
        consumer.ack(event.delivery_tag)
        consumer.quiet()
        channel.put('', w.q(), 'b')
        consumer.delivery('b')


def test_requeue_over_the_limit_drops_the_head_which_is_what_came_back():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('dead'))
        channel.declare(w.q(), limits(length=2, dead=w.q('dead')))
        channel.put('', w.q(), 'a', 'b')
        event = channel.take(w.q(), 'a')
        channel.put('', w.q(), 'c')
        channel.reject(event.delivery_tag)
        event = arrives(channel, w.q('dead'), 'a')
        run.check_equal(deaths(event), [(w.q(), 'maxlen', 1)], 'x-death')
        run.check_equal(channel.drain(w.q()), ['b', 'c'], 'messages')


def test_the_head_of_a_priority_queue_is_its_most_urgent_message():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('dead'))
        channel.declare(w.q(), limits(length=2, priority=5, dead=w.q('dead')))
        for body, priority in (('low', 1), ('high', 5), ('middle', 3)):
            channel.put('', w.q(), body, priority=priority)
        arrives(channel, w.q('dead'), 'high')
        run.check_equal(channel.drain(w.q()), ['middle', 'low'], 'messages')


def test_room_is_counted_again_after_purge_get_and_ack():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q(), limits(length=2, bytes=4))
        channel.put('', w.q(), 'aa', 'bb')
        channel.call('queue.purge', queue=w.q())
        channel.put('', w.q(), 'cc', 'dd')
        event = channel.take(w.q(), 'cc')
        channel.put('', w.q(), 'ee')
        channel.ack(event.delivery_tag)
        run.check_equal(channel.drain(w.q()), ['dd', 'ee'], 'messages')
        channel.put('', w.q(), 'ff', 'gg')
        run.check_equal(channel.drain(w.q()), ['ff', 'gg'], 'messages')


def test_without_confirms_and_in_transactions_the_head_makes_room_too():
    with world() as w:
        channel, other = w.channel(), w.channel(confirm=True)
        other.declare(w.q(), limits(length=2))
        for body in 'abc':
            channel.publish('', w.q(), body)
        channel.quiet()
        run.check_equal(other.drain(w.q()), ['b', 'c'], 'messages')
        channel.call('tx.select')
        for body in 'defg':
            channel.publish('', w.q(), body)
        channel.call('tx.commit')
        run.check_equal(other.drain(w.q()), ['f', 'g'], 'messages of a transaction')


# ---- reject-publish --------------------------------------------------------------------------

def test_publishes_over_the_limit_are_refused():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('dead'))
        channel.declare(w.q(), limits(length=2, overflow='reject-publish', dead=w.q('dead')))
        run.check_equal(publish_all(channel, w.q(), 'abcd'), ['ack', 'ack', 'nack', 'nack'],
                        'outcomes')
        run.check_equal(channel.drain(w.q()), ['a', 'b'], 'messages')
        run.check_equal(publish_all(channel, w.q(), 'e'), ['ack'], 'with room again')
        settled(channel)
        run.check_equal(channel.counts(w.q('dead'))[0], 0, 'dead letters')


def test_publishes_over_the_octets_are_refused():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q(), limits(bytes=10, overflow='reject-publish'))
        run.check_equal(publish_all(channel, w.q(), ['x' * 11, 'y' * 6, 'z' * 5, 'z' * 4, '']),
                        ['nack', 'ack', 'nack', 'ack', 'ack'], 'outcomes')
        run.check_equal(channel.counts(w.q())[0], 3, 'messages')


def test_unacknowledged_messages_leave_room_and_may_come_back_over_the_limit():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q(), limits(length=1, overflow='reject-publish'))
        channel.put('', w.q(), 'a')
        event = channel.take(w.q(), 'a')
        run.check_equal(publish_all(channel, w.q(), 'bc'), ['ack', 'nack'], 'outcomes')
        channel.reject(event.delivery_tag)
        channel.becomes(w.q(), 2)
        run.check_equal(publish_all(channel, w.q(), 'd'), ['nack'], 'outcome')
        run.check_equal(channel.get(w.q()).body, b'a', 'head')
        run.check_equal(publish_all(channel, w.q(), 'e'), ['nack'], 'outcome at the limit')
        run.check_equal(channel.drain(w.q()), ['b'], 'messages')


def test_limit_zero_refuses_everything():
    with world() as w:
        channel, consumer = w.channel(confirm=True), w.channel()
        channel.declare(w.q(), limits(length=0, overflow='reject-publish'))
        run.check_equal(publish_all(channel, w.q(), 'ab'), ['nack', 'nack'], 'outcomes')
        consumer.consume(w.q())
        run.check_equal(publish_all(channel, w.q(), 'c'), ['nack'], 'with a waiting consumer')
        consumer.quiet()


def test_without_confirms_a_refused_publish_is_silence():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q(), limits(length=1, overflow='reject-publish'))
        for body in 'abc':
            channel.publish('', w.q(), body)
        channel.quiet()
        run.check_equal(channel.drain(w.q()), ['a'], 'messages')


def test_a_refused_mandatory_publish_is_not_returned():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q(), limits(length=0, overflow='reject-publish'))
        channel.publish('', w.q(), 'a', mandatory=True)
        run.check_equal(outcomes(channel, 1), ['nack'], 'outcome')
        channel.quiet()


def test_one_queue_that_refuses_is_one_nack_and_the_others_keep_theirs():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x(), 'fanout')
        names = ('plain', 'full', 'full too', 'drops')
        for name, arguments in zip(names, (
                {}, limits(length=1, overflow='reject-publish'),
                limits(length=1, overflow='reject-publish'), limits(length=1))):
            channel.declare(w.q(name), arguments)
            channel.bind(w.q(name), w.x())
        for body in 'ab':
            channel.publish(w.x(), '', body)
        run.check_equal(outcomes(channel, 2), ['ack', 'nack'], 'outcomes')
        channel.quiet()
        run.check_equal([channel.drain(w.q(name)) for name in names],
                        [['a', 'b'], ['a'], ['a'], ['b']], 'messages')


def test_a_refused_publish_fails_its_transaction():
    with world() as w:
        channel, other = w.channel(), w.channel()
        other.declare(w.q(), limits(length=1, overflow='reject-publish'))
        channel.call('tx.select')
        channel.publish('', w.q(), 'a')
        channel.call('tx.commit')
        channel.publish('', w.q(), 'b')
        channel.refuses(406, 'PRECONDITION_FAILED - partial tx completion', 'tx.commit')
        run.check_equal(other.drain(w.q()), ['a'], 'messages')


def test_refusals_and_acceptances_of_many_publishes_are_each_told_once():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('full'), limits(length=3, overflow='reject-publish'))
        channel.declare(w.q('open'))
        wanted = []
        for number in range(400):
            queue, room = (('open', True) if number % 3 else ('full', number < 9))
            channel.publish('', w.q(queue), str(number))
            wanted.append('ack' if room else 'nack')
        run.check_equal(outcomes(channel, 400), wanted, 'outcomes')
        channel.quiet()
        run.check_equal(channel.drain(w.q('full')), ['0', '3', '6'], 'messages')
        run.check_equal(channel.counts(w.q('open'))[0], 266, 'messages')


# ---- reject-publish-dlx ----------------------------------------------------------------------

def test_refused_publishes_are_dead_lettered_where_that_is_asked_for():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('dead'))
        channel.declare(w.q(), limits(length=1, overflow='reject-publish-dlx', dead=w.q('dead')))
        run.check_equal(publish_all(channel, w.q(), 'abc'), ['ack', 'nack', 'nack'], 'outcomes')
        for body in 'bc':
            event = arrives(channel, w.q('dead'), body)
            run.check_equal(deaths(event), [(w.q(), 'maxlen', 1)], 'x-death')
        run.check_equal(channel.drain(w.q()), ['a'], 'messages')


def test_refused_publishes_without_a_dead_letter_exchange_are_just_refused():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q(), limits(length=1, overflow='reject-publish-dlx'))
        run.check_equal(publish_all(channel, w.q(), 'ab'), ['ack', 'nack'], 'outcomes')
        run.check_equal(channel.drain(w.q()), ['a'], 'messages')


# ---- dead letters that meet a limit ----------------------------------------------------------

def test_dead_letters_drop_the_head_of_a_full_queue():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('dead'), limits(length=2))
        channel.declare(w.q(), limits(length=0, dead=w.q('dead')))
        channel.put('', w.q(), *'abcd')
        channel.becomes(w.q('dead'), 2)
        settled(channel)
        run.check_equal(channel.drain(w.q('dead')), ['c', 'd'], 'dead letters')


def test_dead_letters_are_not_lost_to_a_full_queue_that_refuses():
    """RabbitMQ's classic queues lose them; here nothing that was accepted is lost."""
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('dead'), limits(length=1, overflow='reject-publish'))
        channel.declare(w.q(), limits(length=0, dead=w.q('dead')))
        channel.put('', w.q(), *'abc')
        channel.becomes(w.q('dead'), 1 if elsewhere() else 3)
        settled(channel)
        if not elsewhere():
            run.check_equal(publish_all(channel, w.q('dead'), 'd'), ['nack'], 'a publish')
        run.check_equal(channel.drain(w.q('dead')), ['a'] if elsewhere() else list('abc'),
                        'dead letters')
        run.check_equal(channel.counts(w.q())[0], 0, 'messages')


def test_a_long_chain_of_dead_letters_holds_up_nobody():
    """1000 messages through 60 queues that keep nothing are 60,000 hops, with longer headers each;
    others are served meanwhile, and all arrive."""
    hops, messages = 60, 1000
    with world() as w:
        channel, other = w.channel(confirm=True), w.peer().channel(confirm=True)
        channel.declare(w.q(str(hops)))
        for hop in range(hops):
            channel.declare(w.q(str(hop)), limits(length=0, dead=w.q(str(hop + 1))))
        for number in range(messages):
            channel.publish('', w.q('0'), str(number))
        began = last = time.monotonic()
        worst = 0
        while other.counts(w.q(str(hops)))[0] < messages:
            now = time.monotonic()
            worst, last = max(worst, now - last), now
        whole = time.monotonic() - began
        if not elsewhere():
            run.check(worst < whole / 3, 'somebody else waited %.2f s of %.2f s' % (worst, whole))
        run.check_equal(outcomes(channel, messages), ['ack'] * messages, 'outcomes')
        run.check_equal(channel.drain(w.q(str(hops))), [str(n) for n in range(messages)], 'order')


def test_a_chain_of_dead_letters_goes_on_after_a_crash():
    """What a turn has not moved yet is still in its old queue, in the store."""
    if elsewhere():
        run.skip('kills leveretd')
    hops, messages = 40, 400
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q(str(hops)), durable=True)
        for hop in range(hops):
            channel.declare(w.q(str(hop)), limits(length=0, dead=w.q(str(hop + 1))), durable=True)
        for number in range(messages):
            channel.publish('', w.q('0'), str(number), delivery_mode=2)
        run.check_equal(outcomes(channel, messages), ['ack'] * messages, 'outcomes')
        FIXTURE.broker.kill()
        FIXTURE.broker.start()
        channel = w.channel(confirm=True)
        channel.becomes(w.q(str(hops)), messages)
        run.check_equal(sorted(map(int, channel.drain(w.q(str(hops))))), list(range(messages)),
                        'messages')
        for hop in range(hops):
            run.check_equal(channel.counts(w.q(str(hop)))[0], 0, 'left on the way')


# ---- restarts --------------------------------------------------------------------------------

def test_limits_hold_after_a_restart():
    if elsewhere():
        run.skip('restarts leveretd')
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('drops'), limits(length=3, bytes=30), durable=True)
        channel.declare(w.q('rejects'), limits(length=3, overflow='reject-publish'), durable=True)
        for name in ('drops', 'rejects'):
            publish_all(channel, w.q(name), 'abcd', delivery_mode=2)
        FIXTURE.broker.kill()
        FIXTURE.broker.start()
        channel = w.channel(confirm=True)
        run.check_equal(channel.counts(w.q('drops'))[0], 3, 'messages')
        channel.put('', w.q('drops'), 'e' * 28)
        run.check_equal(channel.drain(w.q('drops')), ['c', 'd', 'e' * 28], 'messages')
        run.check_equal(publish_all(channel, w.q('rejects'), 'e'), ['nack'], 'outcome')
        run.check_equal(channel.drain(w.q('rejects')), ['a', 'b', 'c'], 'messages')


if __name__ == '__main__':
    run.main()
