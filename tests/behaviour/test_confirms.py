#!/usr/bin/python3
"""test_confirms.py - publisher confirms and transactions

A confirm may cover many publishes or come out of order, so the tests collect tags instead of
expecting frames: every number is answered exactly once. What a confirm promises about disks is in
test_durability.py.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import rawamqp                                                              # noqa: E402
import run                                                                  # noqa: E402
from peer import Fixture, elsewhere, exchange_text, properties, queue_text             # noqa: E402

FIXTURE = Fixture()
setup, teardown, world = FIXTURE.setup, FIXTURE.teardown, FIXTURE.world

PERSISTENT = properties(delivery_mode=2)
UNKNOWN_1 = 'PRECONDITION_FAILED - unknown delivery tag 1'


def collect(channel, count):
    """Read confirms until publishes 1..count are answered; fail on a second answer to one."""
    answered = []
    while len(set(answered)) < count:
        event = channel.next()
        run.check(event.name == 'basic.ack', 'expected basic.ack, got %r' % event)
        tags = [event.delivery_tag]
        if event.multiple:
            tags = [tag for tag in range(1, event.delivery_tag + 1) if tag not in answered]
        run.check(tags and not set(tags) & set(answered), 'tag %r twice' % tags)
        answered += tags
    run.check_equal(sorted(answered), list(range(1, count + 1)), 'confirmed')


# ---- confirms --------------------------------------------------------------------------------

def test_select_is_answered_each_time_and_keeps_the_numbers():
    with world() as w:
        channel = w.channel()
        channel.call('confirm.select')
        channel.publish('amq.direct', 'nowhere')
        channel.expect('basic.ack', delivery_tag=1)
        channel.call('confirm.select')
        channel.send('confirm.select', nowait=True)
        channel.publish('amq.direct', 'nowhere')
        channel.expect('basic.ack', delivery_tag=2)


def test_select_nowait_answers_nothing():
    with world() as w:
        channel = w.channel()
        channel.send('confirm.select', nowait=True)
        channel.quiet()
        channel.publish('amq.direct', 'nowhere')
        channel.expect('basic.ack', delivery_tag=1)


def test_publishes_before_select_are_not_counted():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q())
        for _ in range(3):
            channel.publish('', w.q(), b'before')
        channel.call('confirm.select')
        channel.publish('', w.q(), b'after')
        channel.expect('basic.ack', delivery_tag=1)
        channel.quiet()


def test_without_select_nothing_is_confirmed():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q(), durable=True)
        channel.publish('', w.q(), b'x', props=PERSISTENT)
        channel.becomes(w.q(), 1)
        channel.quiet()


def test_numbers_belong_to_the_channel():
    with world() as w:
        peer = w.peer()
        one, two = peer.channel(confirm=True), peer.channel(confirm=True)
        one.declare(w.q())
        one.put('', w.q(), 'a', 'b', 'c')
        two.publish('', w.q(), b'd')
        two.expect('basic.ack', delivery_tag=1)
        one.close()
        one.call('channel.open')
        one.call('confirm.select')
        one.publish('', w.q(), b'e')
        one.expect('basic.ack', delivery_tag=1)


def test_every_publish_is_confirmed_exactly_once():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('durable'), durable=True)
        channel.declare(w.q('transient'))
        channel.exchange(w.x(), 'fanout')
        for name in ('durable', 'transient'):
            channel.bind(w.q(name), w.x())
        kinds = [('', w.q('durable'), PERSISTENT), ('', w.q('durable'), b'\0\0'),
                 ('', w.q('transient'), PERSISTENT), ('', w.q('transient'), b'\0\0'),
                 (w.x(), '', PERSISTENT), (w.x(), '', b'\0\0'), ('', 'nowhere', PERSISTENT)]
        for number in range(210):
            exchange, key, props = kinds[number % len(kinds)]
            channel.publish(exchange, key, str(number), props=props)
        collect(channel, 210)
        channel.quiet()
        for name in ('durable', 'transient'):
            want = [str(number) for number in range(210)
                    if number % 7 in (4, 5) or number % 7 in ((0, 1) if name == 'durable'
                                                              else (2, 3))]
            run.check_equal(channel.drain(w.q(name)), want, 'messages in ' + name)


def test_unroutable_messages_are_confirmed_at_once():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.publish('', w.q('missing'), b'x', props=PERSISTENT)
        channel.expect('basic.ack', delivery_tag=1)
        channel.publish('amq.topic', 'nowhere', b'x')
        channel.expect('basic.ack', delivery_tag=2)


def test_a_return_comes_before_its_confirm():
    with world() as w:
        channel = w.channel(confirm=True)
        for tag in range(1, 6):
            channel.publish('', w.q('missing'), str(tag), mandatory=True, props=PERSISTENT)
            event = channel.expect('basic.return', reply_code=312)
            run.check_equal(event.body, str(tag).encode(), 'returned body')
            channel.expect('basic.ack', delivery_tag=tag)


def test_returns_and_confirms_of_a_burst_keep_their_order():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q(), durable=True)
        for number in range(1, 101):
            channel.publish('', w.q('missing') if number % 2 else w.q(), str(number),
                            mandatory=True, props=PERSISTENT)
        returned, confirmed = set(), set()
        while len(confirmed) < 100:
            event = channel.next()
            if event.name == 'basic.return':
                returned.add(int(event.body))
                continue
            tags = range(1, event.delivery_tag + 1) if event.multiple else [event.delivery_tag]
            early = [tag for tag in tags if tag % 2 and tag not in returned]
            run.check(not early, 'confirmed before they were returned: %r' % early)
            confirmed.update(tags)
        run.check_equal(len(returned), 50, 'returned')


def test_confirm_of_a_message_that_is_taken_at_once():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q(), durable=True)
        channel.consume(w.q(), no_ack=True)
        for number in range(20):
            channel.publish('', w.q(), str(number), props=PERSISTENT)
        got = [channel.reply('basic.deliver').body.decode() for _ in range(20)]
        run.check_equal(got, [str(number) for number in range(20)], 'deliveries')
        collect(channel, 20)


def test_confirm_waits_for_every_queue_but_not_for_deleted_ones():
    with world() as w:
        peer = w.peer()
        channel, other = peer.channel(confirm=True), peer.channel()
        channel.exchange(w.x(), 'fanout')
        for number in range(4):
            channel.declare(w.q(str(number)), durable=True)
            channel.bind(w.q(str(number)), w.x())
        for number in range(50):
            channel.publish(w.x(), '', b'x' * 1000, props=PERSISTENT)
        other.call('queue.delete', queue=w.q('2'))
        collect(channel, 50)
        for number in (0, 1, 3):
            run.check_equal(other.counts(w.q(str(number)))[0], 50, 'messages')


def test_confirms_that_are_ready_precede_a_channel_exception():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.publish('amq.direct', 'nowhere')
        channel.publish(w.x('missing'), 'k')
        channel.publish('amq.direct', 'nowhere')
        channel.expect('basic.ack', delivery_tag=1)
        channel.closed(404, 'NOT_FOUND - no ' + exchange_text(w.x('missing')), 'basic.publish')
        channel.quiet()


def test_confirm_and_tx_exclude_each_other():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.refuses(406, 'PRECONDITION_FAILED - cannot switch from confirm to tx mode',
                        'tx.select')
        channel.call('tx.select')           # the channel that was opened again has no mode
        channel.refuses(406, 'PRECONDITION_FAILED - cannot switch from tx to confirm mode',
                        'confirm.select')
        channel.call('tx.select')
        channel.refuses(406, 'PRECONDITION_FAILED - cannot switch from tx to confirm mode',
                        'confirm.select', nowait=True)


# ---- transactions ----------------------------------------------------------------------------

def transactional(w, *bodies):
    """A channel in tx mode, one to look on with, and a queue with these messages."""
    peer = w.peer()
    channel, other = peer.channel(), peer.channel(confirm=True)
    other.declare(w.q(), durable=True)
    other.put('', w.q(), *bodies)
    channel.call('tx.select')
    return channel, other


def test_commit_and_rollback_need_a_transaction():
    with world() as w:
        channel = w.channel()
        for name in ('tx.commit', 'tx.rollback'):
            channel.refuses(406, 'PRECONDITION_FAILED - channel is not transactional', name)


def test_select_and_empty_transactions_are_answered():
    with world() as w:
        channel = w.channel()
        for name in ('tx.select', 'tx.select', 'tx.commit', 'tx.rollback', 'tx.commit'):
            channel.call(name)


def test_publishes_are_seen_at_commit():
    with world() as w:
        channel, other = transactional(w)
        for round_number in range(3):       # a new transaction begins by itself
            bodies = ['%d.%d' % (round_number, number) for number in range(5)]
            for body in bodies:
                channel.publish('', w.q(), body, props=PERSISTENT)
            channel.call('basic.qos')
            run.check_equal(other.counts(w.q())[0], 0, 'messages before commit')
            channel.call('tx.commit')
            other.becomes(w.q(), 5)
            run.check_equal(other.drain(w.q()), bodies, 'messages')


def test_rolled_back_publishes_are_gone():
    with world() as w:
        channel, other = transactional(w)
        channel.publish('', w.q(), b'dropped')
        channel.call('tx.rollback')
        channel.publish('', w.q(), b'kept')
        channel.call('tx.commit')
        other.becomes(w.q(), 1)
        run.check_equal(other.drain(w.q()), ['kept'], 'messages')


def test_publishes_die_with_their_channel_or_connection():
    with world() as w:
        other = w.channel()
        other.declare(w.q())
        for way in (lambda channel: channel.close(), lambda channel: channel.peer.close(),
                    lambda channel: channel.peer.drop()):
            channel = w.channel()
            channel.call('tx.select')
            channel.publish('', w.q(), b'dropped')
            channel.call('basic.qos')
            way(channel)
        other.becomes(w.q(), 0)
        other.quiet()
        run.check_equal(other.drain(w.q()), [], 'messages')


def test_routing_is_decided_when_the_message_is_published():
    with world() as w:
        channel, other = transactional(w)
        other.exchange(w.x())
        other.bind(w.q(), w.x(), 'early')
        channel.publish(w.x(), 'early', b'was bound')
        channel.publish(w.x(), 'late', b'was not bound')
        channel.call('basic.qos')
        other.unbind(w.q(), w.x(), 'early')
        other.bind(w.q(), w.x(), 'late')
        channel.call('tx.commit')
        other.becomes(w.q(), 1)
        run.check_equal(other.drain(w.q()), ['was bound'], 'messages')


def test_returns_come_at_commit_before_commit_ok():
    with world() as w:
        channel, _ = transactional(w)
        channel.publish('', 'nowhere', b'1', mandatory=True)
        channel.publish('', w.q(), b'2', mandatory=True)
        channel.publish('', 'nowhere', b'3', mandatory=True)
        channel.quiet()
        channel.send('tx.commit')
        for body in (b'1', b'3'):
            run.check_equal(channel.expect('basic.return', reply_code=312).body, body, 'body')
        channel.expect('tx.commit-ok')
        channel.publish('', 'nowhere', b'4', mandatory=True)
        channel.call('tx.rollback')
        channel.quiet()


def test_acks_take_effect_at_commit():
    with world() as w:
        channel, other = transactional(w, *'abcd')
        channel.qos(2)
        channel.consume(w.q())
        channel.deliveries('a', 'b')
        channel.ack(1)
        channel.quiet()                     # the ack gives no credit yet
        channel.call('tx.commit')
        channel.delivery('c')
        channel.reject(2, requeue=True)
        channel.quiet()                     # nor does the requeue happen
        channel.call('tx.commit')
        channel.delivery('b', redelivered=True)
        channel.nack(0, multiple=True, requeue=False)
        channel.quiet()
        channel.call('tx.commit')
        channel.delivery('d')
        channel.close()
        other.becomes(w.q(), 1, 0)
        run.check_equal(other.drain(w.q()), ['d'], 'messages')


def test_rollback_keeps_messages_unacknowledged():
    with world() as w:
        channel, other = transactional(w, *'abc')
        channel.consume(w.q())
        channel.deliveries(*'abc')
        channel.ack(1)
        channel.nack(2)
        channel.reject(3, requeue=False)
        channel.call('tx.rollback')
        channel.quiet()                     # no redelivery
        other.becomes(w.q(), 0)
        channel.ack(1)                      # they can be settled again
        channel.ack(3)
        channel.nack(2)
        channel.call('tx.commit')
        channel.delivery('b', delivery_tag=4, redelivered=True)
        channel.close()
        other.becomes(w.q(), 1)
        run.check_equal(other.drain(w.q()), ['b'], 'messages')


def test_uncommitted_acks_are_undone_with_their_channel():
    with world() as w:
        channel, other = transactional(w, *'abc')
        channel.consume(w.q())
        channel.deliveries(*'abc')
        channel.ack(2, multiple=True)
        channel.close()
        other.becomes(w.q(), 3)
        for body in 'abc':
            other.take(w.q(), body, redelivered=True)


def test_errors_in_a_transaction_are_immediate():
    with world() as w:
        channel, other = transactional(w, 'a')
        channel.publish('', w.q(), b'dropped')
        channel.publish(w.x('missing'), 'k')
        channel.closed(404, 'NOT_FOUND - no ' + exchange_text(w.x('missing')), 'basic.publish')
        channel.call('tx.select')
        channel.refuses(406, UNKNOWN_1, 'basic.ack', delivery_tag=1)
        channel.call('tx.select')
        channel.take(w.q(), 'a')
        channel.ack(1)
        channel.refuses(406, UNKNOWN_1, 'basic.ack', delivery_tag=1)    # twice in one transaction
        other.becomes(w.q(), 1)
        run.check_equal(other.drain(w.q()), ['a'], 'messages')


def test_recover_get_and_declare_are_not_transactional():
    with world() as w:
        channel, other = transactional(w, 'a')
        channel.declare(w.q('two'))
        run.check(other.exists('queue', w.q('two')), 'a declare waits for its commit')
        channel.take(w.q(), 'a')
        channel.call('basic.recover', requeue=True)
        other.becomes(w.q(), 1)
        channel.take(w.q(), 'a', redelivered=True)
        channel.get(w.q(), no_ack=True)
        channel.call('queue.delete', queue=w.q('two'))
        run.check(not other.exists('queue', w.q('two')), 'a delete waits for its commit')


def test_commit_publishes_before_it_requeues():
    with world() as w:
        channel, other = transactional(w, 'a')
        channel.take(w.q(), 'a')
        channel.reject(1)
        channel.publish('', w.q(), b'b')
        channel.publish('', w.q(), b'c')
        channel.call('tx.commit')
        other.becomes(w.q(), 3)
        run.check_equal(other.drain(w.q()), ['a', 'b', 'c'], 'messages')


def test_large_commit():
    with world() as w:
        channel, other = transactional(w, *[str(number) for number in range(200)])
        channel.consume(w.q())
        channel.deliveries(*[str(number) for number in range(200)])
        for number in range(200, 500):
            channel.publish('', w.q(), str(number) + 'x' * 1000, props=PERSISTENT)
        channel.ack(200, multiple=True)
        channel.send('tx.commit')
        channel.reply('tx.commit-ok')
        for number in range(200, 500):
            channel.delivery(str(number) + 'x' * 1000)
        channel.call('tx.rollback')
        channel.close()
        other.becomes(w.q(), 300)


def test_commit_to_a_queue_that_was_deleted():
    with world() as w:
        channel, other = transactional(w, 'a')
        channel.take(w.q(), 'a')
        channel.ack(1)
        channel.publish('', w.q(), b'b')
        channel.call('basic.qos')
        other.call('queue.delete', queue=w.q())
        channel.call('tx.commit')
        channel.quiet()
        channel.refuses(404, 'NOT_FOUND - no ' + queue_text(w.q()), 'basic.get', queue=w.q())


def test_a_command_between_commit_and_commit_ok_closes_the_connection():
    commit = rawamqp.call_frame(1, 'tx.commit')
    with world() as w:
        other = w.channel()
        other.declare(w.q(), durable=True)
        for name, frames in (
                ('basic.get', rawamqp.call_frame(1, 'basic.get', queue=w.q())),
                ('tx.commit', commit),
                ('basic.publish', rawamqp.call_frame(1, 'basic.publish', routing_key=w.q())
                 + rawamqp.content_frames(1, b'b'))):
            peer = w.peer()
            channel = peer.channel()
            channel.call('tx.select')
            for _ in range(20):
                channel.publish('', w.q(), b'a', props=PERSISTENT)
            peer.raw.send(commit + frames)
            peer.fails(504, "CHANNEL_ERROR - unexpected command while processing 'tx.commit'",
                       rawamqp.method_id(name))
            w.peers.remove(peer)
            other.becomes(w.q(), 20)
            run.check_equal(other.drain(w.q()), ['a'] * 20, 'committed all the same')


def test_a_commit_that_waits_for_nothing_is_not_overtaken():
    with world() as w:
        channel, _ = transactional(w)
        if not elsewhere():     # RabbitMQ waits for queues too, Leveret for the disk alone
            channel.publish('', w.q(), b'a')
        channel.peer.raw.send(rawamqp.call_frame(channel.number, 'tx.commit')
                              + rawamqp.call_frame(channel.number, 'basic.qos'))
        channel.expect('tx.commit-ok')
        channel.expect('basic.qos-ok')


if __name__ == '__main__':
    run.main()
