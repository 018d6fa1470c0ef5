#!/usr/bin/python3
"""test_basic.py - consume, get, acknowledge, requeue, recover, prefetch: the life of a delivery

Messages are published with confirms, so they are in their queue before the test goes on. Deliveries
are asked for one by one in order; `quiet` says that no more of them come.
"""

import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import rawamqp                                                              # noqa: E402
import run                                                                  # noqa: E402
from peer import Fixture, elsewhere, field, queue_text                      # noqa: E402

FIXTURE = Fixture()
setup, teardown, world = FIXTURE.setup, FIXTURE.teardown, FIXTURE.world


def unknown_tag(tag):
    """The text for a delivery tag that is not outstanding."""
    return 'PRECONDITION_FAILED - unknown delivery tag %d' % tag


def filled(w, *bodies):
    """A queue with these messages; returns a channel that published them and a second one."""
    peer = w.peer()
    publisher, channel = peer.channel(confirm=True), peer.channel()
    publisher.declare(w.q())
    publisher.put('', w.q(), *bodies)
    return publisher, channel


# ---- consume and cancel ----------------------------------------------------------------------

def test_consume_ok_comes_before_the_first_delivery():
    with world() as w:
        _, channel = filled(w, 'a', 'b')
        channel.send('basic.consume', queue=w.q(), consumer_tag='mine')
        channel.expect('basic.consume-ok', consumer_tag='mine')
        channel.delivery('a', consumer_tag='mine', delivery_tag=1, redelivered=False, exchange='',
                         routing_key=w.q())
        channel.delivery('b', consumer_tag='mine', delivery_tag=2)


def test_empty_consumer_tag_is_generated():
    with world() as w:
        _, channel = filled(w, 'a')
        tag = channel.consume(w.q())
        run.check(re.fullmatch('amq\\.ctag-[A-Za-z0-9_-]{22}', tag), 'tag %r' % tag)
        channel.delivery('a', consumer_tag=tag)
        run.check(channel.consume(w.q()) != tag, 'the same tag twice')


def test_consume_nowait_answers_nothing_but_deliveries():
    with world() as w:
        publisher, channel = filled(w, 'a')
        channel.send('basic.consume', queue=w.q(), consumer_tag='named', nowait=True, no_ack=True)
        channel.delivery('a', consumer_tag='named')
        channel.send('basic.cancel', consumer_tag='named', nowait=True)
        channel.quiet()
        publisher.put('', w.q(), 'b')
        channel.send('basic.consume', queue=w.q(), nowait=True)
        tag = channel.delivery('b').consumer_tag
        run.check(re.fullmatch('amq\\.ctag-[A-Za-z0-9_-]{22}', tag), 'tag %r' % tag)


def test_reuse_of_a_consumer_tag_ends_the_connection():
    with world() as w:
        _, channel = filled(w)
        channel.consume(w.q(), 'same')
        channel.send('basic.consume', queue=w.q(), consumer_tag='same')
        channel.peer.fails(530, "NOT_ALLOWED - attempt to reuse consumer tag 'same'",
                           'basic.consume')


def test_consumer_tags_belong_to_the_channel_and_are_free_after_cancel():
    with world() as w:
        publisher, channel = filled(w)
        publisher.consume(w.q(), 'same')
        for _ in range(3):
            channel.consume(w.q(), 'same')
            channel.cancel('same')
        channel.consume(w.q(), 'same')
        publisher.cancel('same')
        publisher.put('', w.q(), 'a')
        channel.delivery('a', consumer_tag='same')


def test_consume_from_a_missing_queue_is_refused():
    with world() as w:
        channel = w.channel()
        for nowait in (False, True):
            channel.refuses(404, 'NOT_FOUND - no ' + queue_text(w.q()), 'basic.consume',
                            queue=w.q(), nowait=nowait)


def test_exclusive_consumer_is_the_only_one():
    with world() as w:
        publisher, channel = filled(w, 'a')
        in_use = 'ACCESS_REFUSED - %s in exclusive use' % queue_text(w.q())
        tag = publisher.consume(w.q(), exclusive=True)
        publisher.delivery('a')
        for exclusive in (False, True):
            channel.refuses(403, in_use, 'basic.consume', queue=w.q(), exclusive=exclusive)
        publisher.nack(1)
        publisher.delivery('a', redelivered=True)
        publisher.cancel(tag)
        tag = channel.consume(w.q())
        publisher.refuses(403, in_use, 'basic.consume', queue=w.q(), exclusive=True)
        channel.delivery('a', redelivered=True)         # that exception gave the message back
        channel.cancel(tag)
        publisher.consume(w.q(), exclusive=True)


def test_get_is_allowed_beside_an_exclusive_consumer():
    with world() as w:
        publisher, channel = filled(w)
        publisher.qos(1)
        publisher.consume(w.q(), exclusive=True)
        publisher.publish('', w.q(), 'a')
        publisher.publish('', w.q(), 'b')
        channel.becomes(w.q(), 1)
        channel.take(w.q(), 'b')


def test_no_local_is_ignored():
    with world() as w:
        publisher, channel = filled(w)
        channel.consume(w.q(), no_local=True)
        publisher.put('', w.q(), 'own')
        channel.delivery('own')


def test_consume_arguments():
    with world() as w:
        _, channel = filled(w, 'a')
        bad = "PRECONDITION_FAILED - invalid arg '%s' for %s%s"
        for name, value, reason in (
                ('x-priority', 'high', ': "expected integer, got longstr"'),
                ('x-priority', 1.0, ': "expected integer, got double"'),
                ('x-stream-offset', 'first', ' of queue type rabbit_classic_queue')):
            channel.refuses(406, bad % (name, queue_text(w.q()), reason), 'basic.consume',
                            queue=w.q(), arguments={name: value})
        channel.consume(w.q(), arguments={'x-nobody-knows': 5})
        channel.delivery('a')


def test_cancel_ok_is_the_end_of_deliveries_but_not_of_acks():
    with world() as w:
        publisher, channel = filled(w, 'a', 'b')
        tag = channel.consume(w.q())
        channel.deliveries('a', 'b')
        channel.cancel(tag)
        publisher.put('', w.q(), 'c')
        channel.quiet()
        publisher.becomes(w.q(), 1, 0)          # a and b stay out
        channel.ack(1)
        channel.reject(2)
        publisher.becomes(w.q(), 2)
        run.check_equal(publisher.drain(w.q()), ['b', 'c'], 'messages')


def test_cancel_of_an_unknown_tag_is_no_error():
    with world() as w:
        channel = w.channel()
        channel.send('basic.cancel', consumer_tag='nobody')
        channel.expect('basic.cancel-ok', consumer_tag='nobody')
        channel.send('basic.cancel', consumer_tag='nobody', nowait=True)
        channel.quiet()


def test_no_ack_messages_are_gone_with_their_delivery():
    with world() as w:
        publisher, channel = filled(w, 'a', 'b')
        channel.consume(w.q(), no_ack=True)
        channel.deliveries('a', 'b')
        channel.refuses(406, unknown_tag(1), 'basic.ack', delivery_tag=1)
        publisher.becomes(w.q(), 0, 0)


def test_flow_stops_deliveries():
    with world() as w:
        publisher, channel = filled(w)
        channel.consume(w.q())
        channel.send('channel.flow', active=False)
        if elsewhere():
            channel.peer.fails(540, 'NOT_IMPLEMENTED - active=false', 'channel.flow')
            return
        channel.expect('channel.flow-ok', active=False)
        publisher.put('', w.q(), 'a')
        publisher.becomes(w.q(), 1, 1)
        publisher.quiet()
        channel.send('basic.get', queue=w.q())          # an answer, not a delivery
        channel.expect('basic.get-ok', delivery_tag=1)
        channel.nack(1)
        channel.send('channel.flow', active=True)
        channel.expect('channel.flow-ok', active=True)
        channel.delivery('a', redelivered=True)


# ---- get -------------------------------------------------------------------------------------

def test_get_tells_how_many_are_left():
    with world() as w:
        _, channel = filled(w, 'a', 'b', 'c')
        for tag, (body, left) in enumerate((('a', 2), ('b', 1), ('c', 0)), 1):
            channel.take(w.q(), body, message_count=left, redelivered=False, exchange='',
                         routing_key=w.q(), delivery_tag=tag)
        run.check_equal(channel.get(w.q()), None, 'message from an empty queue')


def test_get_from_a_missing_queue_is_refused():
    with world() as w:
        w.channel().refuses(404, 'NOT_FOUND - no ' + queue_text(w.q()), 'basic.get', queue=w.q())


def test_get_and_deliver_share_their_tags():
    with world() as w:
        publisher, channel = filled(w, *'abcd')
        run.check_equal(channel.get(w.q(), no_ack=True).delivery_tag, 1, 'tag of a no-ack get')
        run.check_equal(channel.take(w.q()).delivery_tag, 2, 'tag of a get')
        tag = channel.consume(w.q(), no_ack=True)
        channel.delivery('c', delivery_tag=3)
        channel.delivery('d', delivery_tag=4)
        channel.cancel(tag)
        publisher.put('', w.q(), 'e')
        run.check_equal(channel.take(w.q()).delivery_tag, 5, 'tag of a get')
        channel.ack(2)
        channel.ack(5)
        channel.quiet()


def test_no_ack_get_removes_the_message():
    with world() as w:
        _, channel = filled(w, 'a', 'b')
        channel.get(w.q(), no_ack=True)
        channel.peer.drop()
        run.check_equal(w.channel().drain(w.q()), ['b'], 'messages')


# ---- ack, nack, reject -----------------------------------------------------------------------

def test_ack_removes_for_good():
    with world() as w:
        publisher, channel = filled(w, *'abc')
        channel.consume(w.q())
        channel.deliveries(*'abc')
        channel.ack(2)
        channel.close()
        publisher.becomes(w.q(), 2)
        run.check_equal(publisher.drain(w.q()), ['a', 'c'], 'messages')


def test_ack_multiple_settles_all_up_to_its_tag():
    with world() as w:
        publisher, channel = filled(w, *'abcde')
        channel.consume(w.q())
        channel.deliveries(*'abcde')
        channel.ack(2)
        channel.ack(4, multiple=True)
        channel.close()
        publisher.becomes(w.q(), 1)
        run.check_equal(publisher.drain(w.q()), ['e'], 'messages')


def test_tag_zero_with_multiple_settles_everything():
    with world() as w:
        publisher, channel = filled(w, *'abc')
        channel.ack(0, multiple=True)                       # nothing is outstanding: no error
        channel.nack(0, multiple=True)
        channel.consume(w.q())
        channel.deliveries(*'abc')
        channel.nack(0, multiple=True, requeue=True)
        channel.deliveries(*'abc', redelivered=True)
        channel.ack(0, multiple=True)
        channel.close()
        publisher.becomes(w.q(), 0)


def test_unknown_delivery_tags_close_the_channel():
    with world() as w:
        _, channel = filled(w)
        for name, more in (('basic.ack', {}), ('basic.ack', {'multiple': True}),
                           ('basic.nack', {}), ('basic.nack', {'multiple': True}),
                           ('basic.reject', {}), ('basic.reject', {'requeue': True})):
            channel.refuses(406, unknown_tag(5), name, delivery_tag=5, **more)
        for name in ('basic.ack', 'basic.nack', 'basic.reject'):
            channel.refuses(406, unknown_tag(0), name, delivery_tag=0)
        big = 2**64 - 1
        channel.refuses(406, unknown_tag(big), 'basic.ack', delivery_tag=big, multiple=True)


def test_a_tag_is_known_until_it_is_settled():
    with world() as w:
        publisher, channel = filled(w, *'abc')
        for settle in ('basic.ack', 'basic.nack', 'basic.reject'):
            channel.consume(w.q())
            channel.deliveries(*'abc')
            channel.send(settle, delivery_tag=2)
            channel.quiet()
            channel.refuses(406, unknown_tag(2), settle, delivery_tag=2)
            publisher.becomes(w.q(), 2)
            publisher.call('queue.purge', queue=w.q())
            publisher.put('', w.q(), *'abc')


def test_multiple_needs_its_own_tag_to_be_outstanding():
    with world() as w:
        _, channel = filled(w, *'abc')
        for tag, settled in ((7, []), (2, [2]), (3, [1, 3])):
            channel.consume(w.q())
            channel.deliveries(*'abc')
            for one in settled:
                channel.nack(one)
            for one in range(len(settled)):
                channel.delivery(delivery_tag=4 + one, redelivered=True)
            channel.refuses(406, unknown_tag(tag), 'basic.ack', delivery_tag=tag, multiple=True)


def test_tags_of_another_channel_are_unknown():
    with world() as w:
        publisher, channel = filled(w, 'a')
        channel.take(w.q(), 'a')
        publisher.refuses(406, unknown_tag(1), 'basic.ack', delivery_tag=1)
        channel.ack(1)
        channel.quiet()


def test_an_unknown_tag_leaves_what_was_acked_before_it():
    with world() as w:
        publisher, channel = filled(w, *'abc')
        channel.consume(w.q())
        channel.deliveries(*'abc')
        channel.ack(1)
        channel.refuses(406, unknown_tag(9), 'basic.ack', delivery_tag=9)
        publisher.becomes(w.q(), 2)
        run.check_equal(publisher.drain(w.q()), ['b', 'c'], 'messages')


def test_methods_after_a_failing_one_are_not_run():
    with world() as w:
        publisher, channel = filled(w, *'abc')
        channel.consume(w.q())
        channel.deliveries(*'abc')
        channel.ack(9)
        channel.ack(1)
        channel.send('queue.purge', queue=w.q())
        channel.closed(406, unknown_tag(9), 'basic.ack')
        publisher.becomes(w.q(), 3)
        run.check_equal(publisher.drain(w.q()), ['a', 'b', 'c'], 'messages')


def test_reject_and_nack_without_requeue_drop():
    with world() as w:
        publisher, channel = filled(w, *'abcd')
        channel.consume(w.q())
        channel.deliveries(*'abcd')
        channel.reject(1, requeue=False)
        channel.nack(3, multiple=True, requeue=False)
        channel.quiet()
        channel.close()
        publisher.becomes(w.q(), 1)
        run.check_equal(publisher.drain(w.q()), ['d'], 'messages')


def test_requeue_goes_to_the_original_position():
    with world() as w:
        publisher, channel = filled(w, *'01234')
        tags = [channel.take(w.q(), body).delivery_tag for body in '012']
        for position in (1, 2, 0):
            channel.nack(tags[position])
        publisher.becomes(w.q(), 5)
        for body, redelivered in zip('01234', (True, True, True, False, False)):
            channel.take(w.q(), body, redelivered=redelivered)


def test_requeue_beside_gaps():
    with world() as w:
        publisher, channel = filled(w, *'0123456')
        tags = [channel.take(w.q(), body).delivery_tag for body in '012345']
        channel.ack(tags[1])
        channel.nack(tags[4])
        channel.ack(tags[3])
        channel.nack(tags[2])
        publisher.becomes(w.q(), 3)
        publisher.put('', w.q(), '7')
        channel.nack(tags[0])
        publisher.becomes(w.q(), 5)
        run.check_equal(publisher.drain(w.q()), list('02467'), 'messages')


def test_nack_multiple_redelivers_in_order_with_new_tags():
    with world() as w:
        _, channel = filled(w, *'12345')
        channel.consume(w.q())
        channel.deliveries(*'12345')
        channel.nack(3, multiple=True)
        for tag, body in ((6, '1'), (7, '2'), (8, '3')):
            channel.delivery(body, delivery_tag=tag, redelivered=True)
        channel.quiet()


def test_requeued_to_another_consumer():
    with world() as w:
        _, channel = filled(w, 'a')
        channel.qos(1)
        channel.consume(w.q(), 'first')
        channel.delivery('a', consumer_tag='first')
        channel.consume(w.q(), 'second')
        channel.reject(1)
        channel.delivery('a', redelivered=True)


# ---- recover ---------------------------------------------------------------------------------

def test_recover_requeues_everything_unacknowledged():
    with world() as w:
        publisher, channel = filled(w, *'abcd')
        channel.take(w.q(), 'a')
        tag = channel.consume(w.q())
        channel.deliveries(*'bcd')
        channel.ack(3)
        channel.send('basic.recover', requeue=True)
        channel.expect('basic.recover-ok')
        channel.deliveries(*'abd', redelivered=True)
        channel.cancel(tag)
        channel.send('basic.recover-async', requeue=True)
        publisher.becomes(w.q(), 3)
        channel.quiet()
        for body in 'abd':
            channel.take(w.q(), body, redelivered=True)
        channel.refuses(406, unknown_tag(1), 'basic.ack', delivery_tag=1)


def test_recover_with_nothing_to_do():
    with world() as w:
        channel = w.channel()
        channel.call('basic.recover', requeue=True)
        channel.send('basic.recover-async', requeue=True)
        channel.quiet()


def test_recover_without_requeue_is_not_implemented():
    with world() as w:
        for name in ('basic.recover', 'basic.recover-async'):
            channel = w.channel()
            channel.send(name, requeue=False)
            channel.peer.fails(540, 'NOT_IMPLEMENTED - requeue=false', name)


# ---- redelivered -----------------------------------------------------------------------------

def test_lost_channels_and_connections_give_their_messages_back():
    with world() as w:
        publisher, _ = filled(w, *'abc')

        def by_exception(channel):
            channel.refuses(406, unknown_tag(99), 'basic.ack', delivery_tag=99)

        for number, way in enumerate((lambda channel: channel.close(),
                                      lambda channel: channel.peer.close(),
                                      lambda channel: channel.peer.drop(), by_exception)):
            channel = w.channel()
            channel.take(w.q(), 'a', redelivered=number > 0)
            channel.consume(w.q())
            channel.deliveries('b', 'c', redelivered=number > 0)
            way(channel)
            publisher.becomes(w.q(), 3, 0)
        for body in 'abc':
            publisher.take(w.q(), body, redelivered=True)


def test_undelivered_messages_are_not_redelivered():
    with world() as w:
        publisher, channel = filled(w, *'abc')
        channel.qos(1)
        channel.consume(w.q())
        channel.delivery('a')
        channel.close()
        publisher.becomes(w.q(), 3)
        for body, redelivered in zip('abc', (True, False, False)):
            publisher.take(w.q(), body, redelivered=redelivered)


def test_channel_close_ok_comes_after_everything_sent():
    with world() as w:
        bodies = [str(number) for number in range(300)]
        publisher, channel = filled(w, *bodies)
        channel.consume(w.q())
        channel.send('channel.close', reply_code=200, reply_text='bye')
        got = []
        while True:
            event = channel.next()
            if event.name == 'channel.close-ok':
                break
            got.append(event.body.decode())
        run.check_equal(got, bodies[:len(got)], 'deliveries')
        publisher.becomes(w.q(), 300)
        channel.call('channel.open')            # and nothing of the old channel comes here
        channel.quiet()


# ---- prefetch --------------------------------------------------------------------------------

def test_prefetch_size_is_not_implemented():
    with world() as w:
        channel = w.channel()
        channel.send('basic.qos', prefetch_size=10)
        channel.peer.fails(540, 'NOT_IMPLEMENTED - prefetch_size!=0 (10)', 'basic.qos')


def test_prefetch_bounds_what_a_consumer_has_unacknowledged():
    with world() as w:
        publisher, channel = filled(w, *'abcdef')
        channel.qos(2)
        channel.consume(w.q())
        channel.deliveries('a', 'b')
        channel.quiet()
        publisher.becomes(w.q(), 4)
        channel.ack(1)
        channel.delivery('c')
        channel.quiet()
        channel.reject(2, requeue=False)
        channel.delivery('d')
        channel.ack(0, multiple=True)
        channel.deliveries('e', 'f')


def test_prefetch_is_for_consumers_that_come_later():
    with world() as w:
        publisher, channel = filled(w)
        channel.declare(w.q('two'))
        channel.qos(1)
        channel.consume(w.q(), 'limited')
        channel.qos(0)
        channel.consume(w.q('two'), 'free')
        channel.qos(5)
        publisher.put('', w.q(), *'abc')
        channel.delivery('a', consumer_tag='limited')
        publisher.put('', w.q('two'), *'0123456789')
        channel.deliveries(*'0123456789', consumer_tag='free')
        channel.quiet()


def test_prefetch_counts_for_each_consumer():
    with world() as w:
        publisher, channel = filled(w)
        channel.qos(2)
        for tag in 'xy':
            channel.consume(w.q(), tag)
        publisher.put('', w.q(), *'abcdef')
        tags = [channel.delivery(body).consumer_tag for body in 'abcd']
        run.check_equal(sorted(tags), ['x', 'x', 'y', 'y'], 'consumers')
        channel.quiet()
        freed = tags[0]
        channel.ack(1)
        channel.delivery('e', consumer_tag=freed)
        channel.quiet()


def test_global_prefetch_is_shared_and_acts_at_once():
    with world() as w:
        publisher, channel = filled(w)
        for tag in 'xy':
            channel.consume(w.q(), tag)
        channel.qos(3, shared=True)
        publisher.put('', w.q(), *'abcdefg')
        channel.deliveries('a', 'b', 'c')
        channel.quiet()
        channel.ack(1)
        channel.delivery('d')
        channel.quiet()
        channel.qos(4, shared=True)
        channel.delivery('e')
        channel.quiet()
        channel.qos(0, shared=True)
        channel.deliveries('f', 'g')


def takes_in_turn(channel, count):
    """Acknowledge one delivery after the other; return how many each consumer got."""
    got = {}
    for _ in range(count):
        event = channel.next()
        run.check_equal(event.name, 'basic.deliver', 'event')
        got[event.consumer_tag] = got.get(event.consumer_tag, 0) + 1
        channel.ack(event.delivery_tag)
    return got


def test_global_prefetch_is_shared_fairly_over_queues():
    with world() as w:
        publisher, channel = w.peer().channel(confirm=True), w.channel()
        for queue in 'abc':
            publisher.declare(w.q(queue))
            publisher.put('', w.q(queue), *(str(number) for number in range(100)))
        channel.qos(1, shared=True)
        for queue in 'abc':
            channel.consume(w.q(queue), queue)
        got = takes_in_turn(channel, 90)
        run.check(all(got.get(queue, 0) >= 20 for queue in 'abc'), 'deliveries: %s' % got)


def test_global_prefetch_is_shared_fairly_over_consumers_of_a_queue():
    with world() as w:
        publisher, channel = filled(w, *(str(number) for number in range(100)))
        channel.qos(1, shared=True)
        for tag in 'xyz':
            channel.consume(w.q(), tag)
        got = takes_in_turn(channel, 90)
        run.check(all(got.get(tag, 0) >= 20 for tag in 'xyz'), 'deliveries: %s' % got)


def test_global_prefetch_is_shared_fairly_with_limits_of_consumers():
    with world() as w:
        publisher, channel = w.peer().channel(confirm=True), w.channel()
        for queue in 'ab':
            publisher.declare(w.q(queue))
            publisher.put('', w.q(queue), *(str(number) for number in range(100)))
        channel.qos(2)
        channel.qos(3, shared=True)
        for queue in 'ab':
            channel.consume(w.q(queue), queue)
        got = takes_in_turn(channel, 90)
        run.check(all(got.get(queue, 0) >= 25 for queue in 'ab'), 'deliveries: %s' % got)


def test_global_prefetch_that_is_used_up_holds_back_automatic_acknowledgement_too():
    with world() as w:
        publisher, channel = w.peer().channel(confirm=True), w.channel()
        for queue in 'ab':
            publisher.declare(w.q(queue))
        channel.qos(1, shared=True)
        channel.consume(w.q('a'), 'a')
        publisher.put('', w.q('a'), 'one')
        channel.delivery('one')
        channel.consume(w.q('b'), 'b', no_ack=True)
        publisher.put('', w.q('b'), 'two')
        channel.quiet()
        channel.ack(1)
        channel.delivery('two', consumer_tag='b')


def test_consumers_without_acknowledgements_take_turns_with_others():
    with world() as w:
        publisher, channel = filled(w)
        channel.qos(1, shared=True)
        channel.consume(w.q(), 'a')
        channel.consume(w.q(), 'n', no_ack=True)
        publisher.put('', w.q(), *'123456')
        channel.delivery('1', consumer_tag='a')
        channel.quiet()
        channel.ack(1)
        channel.delivery('2', consumer_tag='n')
        channel.delivery('3', consumer_tag='a')
        channel.quiet()


def test_queues_share_a_socket_that_is_full():
    if elsewhere():
        return          # only about equal there
    with world() as w:
        publisher, channel = w.channel(confirm=True), w.channel()
        for queue in 'abc':
            publisher.declare(w.q(queue))
            publisher.put('', w.q(queue), *['x' * 4000] * 2000)
        for queue in 'abc':         # the first fills the socket, the others come to a full one
            channel.send('basic.consume', queue=w.q(queue), consumer_tag=queue, no_ack=True,
                         nowait=True)
        seen = [channel.delivery().consumer_tag for _ in range(3000)][1500:]
        counts = {queue: seen.count(queue) for queue in 'abc'}
        run.check(min(counts.values()) > 400, 'of the second half: %r' % counts)


def test_what_an_acknowledgement_makes_room_for_comes_before_the_answer_of_cancel():
    with world() as w:
        publisher, channel = filled(w, *'ab')
        channel.qos(1)
        channel.consume(w.q(), 'x')
        channel.delivery('a')
        channel.peer.raw.send(rawamqp.call_frame(channel.number, 'basic.ack', delivery_tag=1) +
                              rawamqp.call_frame(channel.number, 'basic.cancel',
                                                 consumer_tag='x'))
        channel.delivery('b')
        run.check_equal(channel.next().name, 'basic.cancel-ok', 'after the delivery')


def test_what_is_published_is_delivered_before_a_cancel_behind_it_is_answered():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q())
        channel.consume(w.q(), 'x', no_ack=True)
        channel.peer.raw.send(rawamqp.call_frame(channel.number, 'basic.publish', routing_key=w.q()) +
                              rawamqp.content_frames(channel.number, b'a') +
                              rawamqp.call_frame(channel.number, 'basic.cancel',
                                                 consumer_tag='x'))
        channel.delivery('a')
        run.check_equal(channel.next().name, 'basic.cancel-ok', 'after the delivery')


def test_confirms_and_returns_come_in_the_order_of_the_publishes():
    if elsewhere():
        return                                  # a race there
    with world() as w:
        channel = w.channel()
        channel.declare(w.q())
        channel.call('confirm.select')
        data = b''
        for key in (w.q(), w.q('nowhere'), w.q()):
            data += rawamqp.call_frame(channel.number, 'basic.publish', routing_key=key,
                                       mandatory=True)
            data += rawamqp.content_frames(channel.number, b'a')
        channel.peer.raw.send(data)
        seen = []
        while len(seen) < 4:
            event = channel.next()
            if event.name == 'basic.ack' and event.multiple:
                seen += ['basic.ack'] * (event.delivery_tag - seen.count('basic.ack'))
            else:
                seen.append(event.name)
        run.check_equal(seen[:2], ['basic.ack', 'basic.return'], 'order')


def test_both_limits_must_allow():
    with world() as w:
        publisher, channel = filled(w)
        channel.qos(2)
        channel.qos(3, shared=True)
        channel.declare(w.q('two'))
        publisher.put('', w.q(), *'abcdef')
        publisher.put('', w.q('two'), *'uv')
        channel.consume(w.q(), 'a')
        channel.deliveries('a', 'b', consumer_tag='a')
        channel.quiet()
        channel.consume(w.q('two'), 'b')
        channel.delivery('u', consumer_tag='b')
        channel.quiet()
        channel.ack(3)
        channel.delivery('v', consumer_tag='b')
        channel.ack(1)
        channel.delivery('c', consumer_tag='a')
        channel.quiet()


def test_qos_per_consumer_takes_the_global_limit_away():
    with world() as w:
        publisher, channel = filled(w)
        channel.qos(1, shared=True)
        channel.consume(w.q())
        publisher.put('', w.q(), *'abc')
        channel.delivery('a')
        channel.quiet()
        channel.qos(1)              # not for the consumer that is here already
        channel.deliveries('b', 'c')


def test_gets_count_against_a_global_limit_set_later():
    with world() as w:
        _, channel = filled(w, *'abcd')
        channel.take(w.q(), 'a')
        channel.qos(2, shared=True)
        channel.consume(w.q())
        channel.delivery('b')
        channel.quiet()
        channel.ack(2)
        channel.delivery('c')
        channel.quiet()


def test_no_ack_consumers_and_gets_are_never_limited():
    with world() as w:
        _, channel = filled(w, *'abcdef')
        channel.qos(1)
        channel.qos(1, shared=True)
        channel.take(w.q(), 'a')
        channel.take(w.q(), 'b')
        channel.consume(w.q(), no_ack=True)
        channel.deliveries(*'cdef')


def test_a_cancelled_consumer_frees_its_share_when_its_messages_are_settled():
    with world() as w:
        _, channel = filled(w, *'abc')
        channel.qos(1, shared=True)
        tag = channel.consume(w.q())
        channel.delivery('a')
        channel.cancel(tag)
        channel.consume(w.q())
        channel.quiet()
        channel.ack(1)
        channel.delivery('b')


def test_prefetch_belongs_to_the_channel():
    with world() as w:
        publisher, channel = filled(w, *'abc')
        publisher.qos(1)
        publisher.qos(1, shared=True)
        channel.consume(w.q())
        channel.deliveries(*'abc')


# ---- who gets what ---------------------------------------------------------------------------

def test_consumers_take_turns():
    with world() as w:
        publisher, channel = filled(w)
        for tag in 'xyz':
            channel.consume(w.q(), tag, no_ack=True)
        publisher.put('', w.q(), *'012345678')
        tags = [channel.delivery(body).consumer_tag for body in '012345678']
        run.check_equal(''.join(sorted(tags[:3])), 'xyz', 'first round')
        run.check_equal(tags, tags[:3] * 3, 'turns')


def test_turns_skip_consumers_that_are_full():
    with world() as w:
        publisher, channel = filled(w)
        channel.qos(1)
        channel.consume(w.q(), 'one')
        channel.qos(3)
        channel.consume(w.q(), 'three')
        publisher.put('', w.q(), *'01234')
        tags = [channel.delivery(body).consumer_tag for body in '0123']
        run.check_equal(sorted(tags), ['one', 'three', 'three', 'three'], 'consumers')
        channel.quiet()


def test_a_backlog_goes_to_whoever_is_there():
    with world() as w:
        _, channel = filled(w, *'0123456789')
        channel.consume(w.q(), 'early')
        channel.consume(w.q(), 'late')
        channel.deliveries(*'0123456789', consumer_tag='early')
        channel.quiet()


def test_higher_priority_is_served_first():
    with world() as w:
        publisher, channel = filled(w)
        channel.qos(2)
        channel.consume(w.q(), 'low', {'x-priority': field('b', -5)})
        channel.consume(w.q(), 'default')
        channel.consume(w.q(), 'high', {'x-priority': field('l', 10)})
        publisher.put('', w.q(), *'abcdefg')
        for bodies, tag in (('ab', 'high'), ('cd', 'default'), ('ef', 'low')):
            channel.deliveries(*bodies, consumer_tag=tag)
        channel.quiet()
        channel.ack(1)
        channel.delivery('g', consumer_tag='high')


def test_equal_priorities_take_turns():
    with world() as w:
        publisher, channel = filled(w)
        channel.consume(w.q(), 'never')
        for tag in 'xy':
            channel.consume(w.q(), tag, {'x-priority': 1})
        publisher.put('', w.q(), *'012345')
        tags = [channel.delivery(body).consumer_tag for body in '012345']
        run.check_equal(tags, tags[:2] * 3, 'turns')
        run.check_equal(sorted(tags[:2]), ['x', 'y'], 'consumers')


def test_one_consumer_sees_the_order_of_publishing():
    with world() as w:
        publisher, channel = filled(w)
        channel.consume(w.q(), no_ack=True)
        bodies = [str(number) for number in range(500)]
        for body in bodies:
            publisher.publish('', w.q(), body)
        channel.deliveries(*bodies)


def test_two_consumers_split_the_messages_without_loss():
    with world() as w:
        publisher, channel = filled(w)
        channel.qos(10)
        for tag in 'xy':
            channel.consume(w.q(), tag)
        bodies = [str(number) for number in range(200)]
        for body in bodies:
            publisher.publish('', w.q(), body)
        got = []
        for _ in bodies:
            event = channel.delivery()
            channel.ack(event.delivery_tag)
            got.append(int(event.body))
        run.check_equal(sorted(got), list(range(200)), 'messages')
        channel.quiet()
        publisher.confirmed(200)
        publisher.becomes(w.q(), 0, 2)


if __name__ == '__main__':
    run.main()
