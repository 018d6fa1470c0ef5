#!/usr/bin/python3
"""test_durability.py - what is still there when the broker starts again

Every test fills a leveretd of its own, ends it, starts it on the same data and looks. There are two
ways to end it: `stop` (SIGTERM) and `kill` (SIGKILL, after a last confirm): commits are kept in
order, so everything that was answered before a confirm is there with it. Crashes at random moments
are another test program's (tests/crash); these tests know exactly what to expect.
"""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import leveret                                                              # noqa: E402
import run                                                                  # noqa: E402
from peer import Fixture, elsewhere, exchange_text, field, properties, queue_text  # noqa: E402

FIXTURE = Fixture()
teardown, world = FIXTURE.teardown, FIXTURE.world
WAYS = ('stop', 'kill')
PERSISTENT = properties(delivery_mode=2)


def setup():
    """Another broker is not ours to restart."""
    if elsewhere():
        run.skip('restarts leveretd')
    FIXTURE.setup()


def again(w, way):
    """End the broker, start it again, and forget the connections of before."""
    if way == 'kill':
        channel = w.channel(confirm=True)
        channel.declare(w.q('last'), durable=True)
        channel.put('', w.q('last'), 'confirmed', props=PERSISTENT)
    for peer in w.peers:
        peer.drop()
    w.peers.clear()
    getattr(FIXTURE.broker, way)()
    FIXTURE.broker.start()


def messages(channel, queue):
    """All messages, removed, as (body, redelivered)."""
    return [(event.body.decode(), event.redelivered)
            for event in iter(lambda: channel.get(queue), None)]


# ---- queues and exchanges --------------------------------------------------------------------

def test_queue_of_many_bindings_is_gone_for_good():
    """It is deleted over many turns; the answer comes after the last, and the name is free then."""
    keys = ['key.%d' % number for number in range(3000)]
    for way in WAYS:
        with world() as w:
            channel = w.channel()
            channel.declare(w.q(), durable=True)
            for key in keys:
                channel.bind(w.q(), 'amq.topic', key)
            channel.call('queue.delete', queue=w.q())
            channel.declare(w.q(), durable=True)
            channel.bind(w.q(), 'amq.topic', keys[7])
            again(w, way)
            channel = w.channel(confirm=True)
            for key in keys[:20]:
                channel.put('amq.topic', key, key)
            run.check_equal([body for body, _ in messages(channel, w.q())], [keys[7]], way)


def test_durable_queues_and_exchanges_stay_and_others_go():
    for way in WAYS:
        with world() as w:
            channel = w.channel()
            for durable in (False, True):
                for auto_delete in (False, True):
                    name = '%d%d' % (durable, auto_delete)
                    channel.declare(w.q(name), durable=durable, auto_delete=auto_delete)
                    channel.exchange(w.x(name), 'topic', durable=durable, auto_delete=auto_delete)
            again(w, way)
            channel = w.channel()
            for name in ('00', '01', '10', '11'):
                for kind, full in (('queue', w.q(name)), ('exchange', w.x(name))):
                    run.check_equal(channel.exists(kind, full), name[0] == '1',
                                    '%s %s after %s' % (kind, name, way))
            channel.declare(w.q('11'), durable=True, auto_delete=True)      # as they were
            channel.exchange(w.x('10'), 'topic', durable=True)
            channel.cancel(channel.consume(w.q('11')))
            run.check(not channel.exists('queue', w.q('11')), 'auto-delete was forgotten')


def test_exclusive_queues_go_even_if_durable():
    for way in WAYS:
        with world() as w:
            channel = w.channel(confirm=True)
            channel.declare(w.q(), durable=True, exclusive=True)
            name = channel.declare(durable=True, exclusive=True).queue
            channel.put('', w.q(), 'x', props=PERSISTENT)
            again(w, way)
            channel = w.channel()
            for queue in (w.q(), name):
                run.check(not channel.exists('queue', queue), 'still there after ' + way)
            channel.declare(w.q())
            run.check_equal(channel.drain(w.q()), [], 'messages in a new queue of that name')


def test_server_named_durable_queues_stay():
    with world() as w:
        channel = w.channel(confirm=True)
        names = [channel.declare(durable=True).queue for _ in range(2)]
        channel.put('', names[0], 'x', props=PERSISTENT)
        again(w, 'stop')
        channel = w.channel()
        for name in names:
            run.check(channel.exists('queue', name), name + ' is gone')
        run.check_equal(channel.drain(names[0]), ['x'], 'messages')
        run.check(channel.declare(durable=True).queue not in names, 'a name was used again')
        for name in names:
            channel.call('queue.delete', queue=name)


def test_properties_of_queues_and_exchanges_stay():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q(), {'x-queue-version': 2, 'colour': 'red'}, durable=True)
        channel.exchange(w.x(), 'headers', {'alternate-exchange': w.x('ae')}, durable=True,
                         internal=True)
        again(w, 'kill')
        channel = w.channel()
        channel.declare(w.q(), {'x-queue-version': 2}, durable=True)
        channel.refuses(406, "PRECONDITION_FAILED - inequivalent arg 'x-queue-version' for %s: "
                        "received '1' but current is '2'" % queue_text(w.q()), 'queue.declare',
                        queue=w.q(), durable=True, arguments={'x-queue-version': 1})
        inequivalent = ("PRECONDITION_FAILED - inequivalent arg '%s' for " + exchange_text(w.x())
                        + ': received %s but current is %s')
        for name, received, current, fields in (
                ('type', "'topic'", "'headers'", {'type': 'topic'}),
                ('internal', "'false'", "'true'", {'internal': False}),
                ('alternate-exchange', "'other'", "'%s'" % w.x('ae'),
                 {'arguments': {'alternate-exchange': 'other'}})):
            channel.refuses(406, inequivalent % (name, received, current), 'exchange.declare',
                            exchange=w.x(), **{'type': 'headers', 'durable': True,
                                               'internal': True, **fields})


def test_bindings_between_durable_ends_stay():
    for way in WAYS:
        with world() as w:
            channel = w.channel()
            channel.exchange(w.x('topic'), 'topic', durable=True)
            channel.exchange(w.x('headers'), 'headers', durable=True)
            channel.exchange(w.x('auto'), 'fanout', durable=True, auto_delete=True)
            channel.declare(w.q(), durable=True)
            arguments = {'n': field('l', 1), 'x-match': 'any'}
            channel.bind_exchange(w.x('headers'), w.x('topic'), 'k.#')
            channel.bind(w.q(), w.x('headers'), 'ignored', arguments)
            channel.bind(w.q(), w.x('topic'), 'direct')
            channel.bind(w.q(), 'amq.direct', w.q())
            channel.bind(w.q(), w.x('auto'))
            again(w, way)
            channel = w.channel(confirm=True)
            channel.put(w.x('topic'), 'k.z', '1', headers={'n': 1})
            channel.put(w.x('topic'), 'direct', '2')
            channel.put('amq.direct', w.q(), '3')
            run.check_equal(channel.drain(w.q()), ['1', '2', '3'], 'messages after ' + way)
            channel.unbind(w.q(), w.x('headers'), 'ignored', arguments)     # types were kept
            channel.put(w.x('topic'), 'k.z', '4', headers={'n': 1})
            run.check_equal(channel.drain(w.q()), [], 'messages after unbind')
            channel.unbind(w.q(), w.x('auto'))
            run.check(not channel.exists('exchange', w.x('auto')), 'auto-delete was forgotten')


def test_bindings_with_a_transient_end_go():
    with world() as w:
        channel = w.channel()
        channel.exchange(w.x('durable'), 'fanout', durable=True)
        channel.exchange(w.x('transient'), 'fanout')
        channel.declare(w.q('durable'), durable=True)
        channel.declare(w.q('transient'))
        channel.bind(w.q('durable'), w.x('transient'))
        channel.bind(w.q('transient'), w.x('durable'))
        channel.bind_exchange(w.x('transient'), w.x('durable'))
        channel.bind_exchange(w.x('durable'), w.x('transient'))
        again(w, 'stop')
        channel = w.channel(confirm=True)
        channel.exchange(w.x('transient'), 'fanout')
        channel.declare(w.q('transient'))
        for name in ('durable', 'transient'):
            channel.publish(w.x(name), '', name, mandatory=True)
            run.check_equal(channel.expect('basic.return').body, name.encode(), 'returned')
            channel.expect('basic.ack')


def test_deletions_and_unbindings_are_kept():
    for way in WAYS:
        with world() as w:
            channel = w.channel(confirm=True)
            channel.exchange(w.x('gone'), 'fanout', durable=True)
            channel.exchange(w.x('stays'), 'fanout', durable=True)
            for name in ('gone', 'stays', 'purged'):
                channel.declare(w.q(name), durable=True)
                channel.bind(w.q(name), w.x('stays'))
            channel.put(w.x('stays'), '', '1', '2', props=PERSISTENT)
            channel.unbind(w.q('purged'), w.x('stays'))
            channel.call('queue.purge', queue=w.q('purged'))
            channel.call('queue.delete', queue=w.q('gone'))
            channel.call('exchange.delete', exchange=w.x('gone'))
            again(w, way)
            channel = w.channel(confirm=True)
            run.check(not channel.exists('queue', w.q('gone')), 'the queue came back')
            run.check(not channel.exists('exchange', w.x('gone')), 'the exchange came back')
            channel.call('confirm.select')      # each 404 has cost the channel
            channel.put(w.x('stays'), '', '3')
            run.check_equal(channel.drain(w.q('stays')), ['1', '2', '3'], 'messages')
            run.check_equal(channel.drain(w.q('purged')), [], 'messages of the purged queue')
            channel.declare(w.q('gone'), durable=True)
            run.check_equal(channel.drain(w.q('gone')), [], 'messages of the deleted queue')


# ---- messages --------------------------------------------------------------------------------

def test_persistent_messages_in_durable_queues_stay_in_order():
    for way in WAYS:
        with world() as w:
            channel = w.channel(confirm=True)
            channel.declare(w.q('durable'), durable=True)
            channel.declare(w.q('transient'))
            for number in range(40):
                channel.publish('', w.q('durable'), str(number), delivery_mode=1 + number % 2)
                channel.publish('', w.q('transient'), str(number), delivery_mode=2)
            channel.confirmed(80)
            again(w, way)
            channel = w.channel()
            run.check_equal(channel.counts(w.q('durable')), (20, 0), 'messages, consumers')
            got = messages(channel, w.q('durable'))
            run.check_equal([body for body, _ in got], [str(number) for number in range(1, 40, 2)],
                            'messages after ' + way)
            # after a crash nobody may remember whether they were out; then true is the answer
            run.check(way == 'kill' or not any(redelivered for _, redelivered in got),
                      'redelivered, and never delivered')
            channel.declare(w.q('transient'))
            run.check_equal(channel.drain(w.q('transient')), [], 'messages of a transient queue')


def test_messages_come_back_whole():
    props = properties(
        content_type='text/plain', content_encoding='gzip', delivery_mode=2, priority=9,
        headers=[('z', 1), ('a', [field('l', 2), None, {'k': 'v'}]), ('z', field('D', (2, 3)))],
        correlation_id='corr', reply_to='somewhere', expiration='+6000000', message_id=b'\xff',
        timestamp=1700000000, type='kind', user_id='guest', app_id='app', cluster_id='c')
    key = b'key \xff\xfe'
    for way in WAYS:
        with world() as w:
            channel = w.channel(confirm=True)
            channel.exchange(w.x(), 'fanout', durable=True)
            channel.declare(w.q(), durable=True)
            channel.bind(w.q(), w.x())
            channel.put(w.x(), key, b'\0\1\xff' * 100, props=props)
            channel.put('', w.q(), b'', props=PERSISTENT)
            again(w, way)
            channel = w.channel()
            event = channel.get(w.q())
            run.check_equal((event.exchange, event.routing_key, event.properties, event.body),
                            (w.x(), key, props, b'\0\1\xff' * 100), 'message after ' + way)
            event = channel.get(w.q())
            run.check_equal((event.exchange, event.routing_key, event.properties, event.body),
                            ('', w.q(), PERSISTENT, b''), 'message after ' + way)


def test_bodies_of_all_sizes_stay():
    sizes = (0, 1, 2047, 2049, 65535, 65536, 65537, 300000, 5000000)
    for way in WAYS:
        with world() as w:
            channel = w.channel(confirm=True)
            channel.declare(w.q(), durable=True)
            for size in sizes:
                channel.publish('', w.q(), (b'%07d.' % size * (size // 8 + 1))[:size],
                                props=PERSISTENT)
            channel.confirmed(len(sizes))
            again(w, way)
            channel = w.channel()
            for size in sizes:
                body = channel.get(w.q()).body
                run.check(body == (b'%07d.' % size * (size // 8 + 1))[:size],
                          'body of %d octets differs after %s' % (size, way))


def test_acknowledged_messages_do_not_come_back():
    for way in WAYS:
        with world() as w:
            peer = w.peer()
            publisher, channel = peer.channel(confirm=True), peer.channel(confirm=True)
            publisher.declare(w.q(), durable=True)
            publisher.declare(w.q('fence'), durable=True)
            publisher.put('', w.q(), *'abcdefgh', props=PERSISTENT)
            channel.consume(w.q())
            channel.deliveries(*'abcdefgh')
            channel.ack(2)
            channel.reject(4, requeue=False)
            channel.nack(5, requeue=False)
            channel.ack(7)
            # an ack is on disk at the latest with the next confirmed publish of its channel
            channel.publish('', w.q('fence'), b'x', props=PERSISTENT)
            channel.expect('basic.ack', delivery_tag=1)
            again(w, way)
            channel = w.channel()
            run.check_equal([body for body, _ in messages(channel, w.q())], list('acfh'),
                            'messages after ' + way)


def test_no_ack_deliveries_do_not_come_back():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q(), durable=True)
        channel.put('', w.q(), *'abcd', props=PERSISTENT)
        channel.get(w.q(), no_ack=True)
        tag = channel.consume(w.q(), no_ack=True)
        channel.deliveries('b', 'c', 'd')
        channel.cancel(tag)
        channel.put('', w.q(), 'e', props=PERSISTENT)
        again(w, 'kill')
        run.check_equal(w.channel().drain(w.q()), ['e'], 'messages')


def test_redelivered_is_remembered():
    with world() as w:
        peer = w.peer()
        publisher, channel = peer.channel(confirm=True), peer.channel()
        publisher.declare(w.q(), durable=True)
        publisher.put('', w.q(), *'abcd', props=PERSISTENT)
        channel.take(w.q(), 'a')                    # still out when the broker stops
        tag = channel.take(w.q(), 'b').delivery_tag
        channel.reject(tag)                         # was out, and came back
        publisher.becomes(w.q(), 3)
        again(w, 'stop')
        run.check_equal(messages(w.channel(), w.q()),
                        [('a', True), ('b', True), ('c', False), ('d', False)],
                        'messages, redelivered')


def test_requeued_messages_keep_their_position():
    for way in WAYS:
        with world() as w:
            peer = w.peer()
            publisher, channel = peer.channel(confirm=True), peer.channel()
            publisher.declare(w.q(), durable=True)
            publisher.put('', w.q(), *'012345', props=PERSISTENT)
            for body in '01234':
                channel.take(w.q(), body)
            channel.nack(4)
            channel.ack(3)
            channel.nack(1)
            publisher.becomes(w.q(), 3)
            publisher.put('', w.q(), '6', props=PERSISTENT)
            again(w, way)
            run.check_equal(w.channel().drain(w.q()), list('013456'), 'messages after ' + way)


def test_publishes_without_confirms_are_kept_by_an_orderly_stop():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q(), durable=True)
        for number in range(500):
            channel.publish('', w.q(), str(number), props=PERSISTENT)
        channel.call('basic.qos')               # they have all been read
        again(w, 'stop')
        run.check_equal(w.channel().drain(w.q()), [str(number) for number in range(500)],
                        'messages')


def test_a_message_in_many_queues_is_settled_in_each_on_its_own():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x(), 'fanout', durable=True)
        for number in range(50):
            channel.declare(w.q(str(number)), durable=True)
            channel.bind(w.q(str(number)), w.x())
        channel.put(w.x(), '', *'abc', props=PERSISTENT)
        for number in range(50):
            for _ in range(number % 4):
                channel.get(w.q(str(number)), no_ack=True)
        channel.put('', w.q('0'), 'fence', props=PERSISTENT)
        again(w, 'kill')
        channel = w.channel(confirm=True)
        for number in range(50):
            want = list('abc')[number % 4:] + (['fence'] if number == 0 else [])
            run.check_equal(channel.drain(w.q(str(number))), want, 'messages of %d' % number)
        again(w, 'stop')
        channel = w.channel()
        for number in range(50):
            run.check_equal(channel.counts(w.q(str(number))), (0, 0), 'counts of %d' % number)


def test_committed_transactions_are_whole_after_a_crash():
    with world() as w:
        peer = w.peer()
        publisher, channel = peer.channel(confirm=True), peer.channel()
        for name in ('in', 'out'):
            publisher.declare(w.q(name), durable=True)
        publisher.put('', w.q('in'), *'abc', props=PERSISTENT)
        channel.call('tx.select')
        channel.consume(w.q('in'))
        channel.deliveries(*'abc')
        for tag, body in ((1, 'A'), (2, 'B')):
            channel.publish('', w.q('out'), body, props=PERSISTENT)
            channel.ack(tag)
        channel.call('tx.commit')
        channel.publish('', w.q('out'), b'C', props=PERSISTENT)
        channel.ack(3)
        channel.call('basic.qos')               # was read, and is not committed
        again(w, 'kill')
        channel = w.channel()
        run.check_equal(channel.drain(w.q('in')), ['c'], 'input')
        run.check_equal(channel.drain(w.q('out')), ['A', 'B'], 'output')


def test_many_restarts_while_a_queue_moves_on():
    with world() as w:
        first, last = 0, 0
        for round_number in range(6):
            channel = w.channel(confirm=True)
            channel.declare(w.q(), durable=True)
            for _ in range(400):
                channel.publish('', w.q(), str(last).ljust(round_number * 300), props=PERSISTENT)
                last += 1
            channel.confirmed(400)
            for _ in range(300):
                run.check_equal(int(channel.get(w.q()).body), first, 'next message')
                first += 1
            channel.put('', w.q(), str(last), props=PERSISTENT)
            last += 1
            again(w, WAYS[round_number % 2])
        channel = w.channel()
        run.check_equal([int(body) for body in channel.drain(w.q())], list(range(first, last)),
                        'messages')


def test_unacknowledged_messages_return_after_every_restart():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q(), durable=True)
        channel.put('', w.q(), *'abc', props=PERSISTENT)
        for way in WAYS + WAYS:
            channel = w.channel()
            channel.consume(w.q())
            channel.deliveries(*'abc')
            again(w, way)
        run.check_equal(w.channel().drain(w.q()), list('abc'), 'messages')


# ---- the server itself -----------------------------------------------------------------------

def test_clients_are_told_of_an_orderly_stop():
    with world() as w:
        peer = w.peer()
        peer.channel()
        w.peers.clear()
        process_id = FIXTURE.broker.pid
        os.kill(process_id, 15)
        peer.next(0).check_close(320, "CONNECTION_FORCED - broker forced connection closure with "
                                 "reason 'shutdown'", (0, 0))
        try:
            peer.raw.call(0, 'connection.close-ok')
        except ConnectionError:
            pass                                # it need not wait for an answer
        run.check_equal(FIXTURE.broker.wait(), 0, 'exit status')
        FIXTURE.broker.start()
        w.channel()


def test_a_data_directory_is_used_by_one_server():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q(), durable=True)
        second = leveret.Broker(datadir=FIXTURE.broker.datadir)
        try:
            second.start()
        except leveret.BrokerError as refusal:
            run.check(FIXTURE.broker.datadir in str(refusal), 'no word on it: %s' % refusal)
        else:
            raise AssertionError('a second server started on the same data')
        finally:
            second.close(check=False)
        channel.put('', w.q(), 'x', props=PERSISTENT)
        run.check_equal(channel.drain(w.q()), ['x'], 'messages')


def test_deliveries_alone_are_remembered():
    """Nothing but deliveries happens before the crash: they are noted within 20 ms all the same."""
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q(), durable=True)
        for number in range(100):
            channel.put('', w.q(), 'm%d' % number, props=PERSISTENT)
        channel.call('basic.qos', prefetch_count=60)
        channel.consume(w.q())
        for _ in range(60):
            channel.expect('basic.deliver')
        time.sleep(0.5)                     # the commit is also written and synced meanwhile
        FIXTURE.broker.kill()               # the client is still there: nothing is requeued
        for peer in w.peers:
            peer.drop()
        w.peers.clear()
        FIXTURE.broker.start()
        run.check_equal(messages(w.channel(), w.q()),
                        [('m%d' % number, number < 60) for number in range(100)],
                        'messages, redelivered')


if __name__ == '__main__':
    run.main()
