#!/usr/bin/python3
"""test_direct_reply.py - answers without a queue: amq.rabbitmq.reply-to

A client consumes from that name and publishes requests with it as reply-to; the broker replaces it
by a name that leads back to the channel, to which a responder publishes by the default exchange.
"""

import base64
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import run                                                                  # noqa: E402
from peer import Fixture, elsewhere                                         # noqa: E402
from semantics import no_queue, props, settled                              # noqa: E402

FIXTURE = Fixture()
setup, teardown, world = FIXTURE.setup, FIXTURE.teardown, FIXTURE.world

REPLY_TO = 'amq.rabbitmq.reply-to'


def requester(w):
    """A channel that consumes replies, and its consumer tag."""
    channel = w.channel()
    return channel, channel.consume(REPLY_TO, no_ack=True)


def reply_name(channel, responder, queue):
    """Send a request; the responder takes it and returns the name for its answer."""
    channel.publish('', queue, 'request', reply_to=REPLY_TO, correlation_id='7')
    event = run.wait_for(lambda: responder.get(queue), 'the request')
    found = props(event)
    run.check_equal(found.pop('correlation_id'), '7', 'correlation id')
    name = found.pop('reply_to')
    run.check(name.startswith(REPLY_TO + '.'), 'name %r' % name)
    run.check_equal(found, {}, 'other properties')
    return name


def test_a_request_and_its_replies():
    with world() as w:
        channel, tag = requester(w)
        responder = w.channel(confirm=True)
        responder.declare(w.q())
        name = reply_name(channel, responder, w.q())
        responder.put('', name, 'one', 'two', correlation_id='7')
        for number, body in ((1, 'one'), (2, 'two')):
            event = channel.delivery(body, consumer_tag=tag, redelivered=False, exchange='',
                                     routing_key=name)
            # 3.10 shows the next tag without using it up
            run.check_equal(event.delivery_tag, 1 if elsewhere() else number, 'delivery tag')
            run.check_equal(props(event), {'correlation_id': '7'}, 'properties')
        channel.quiet()


def test_the_other_properties_stay_as_they_were():
    with world() as w:
        channel, _ = requester(w)
        responder = w.channel()
        responder.declare(w.q())
        named = {'content_type': 'text/plain', 'headers': {'a': 1, 'b': [True]}, 'priority': 3,
                 'message_id': 'm', 'timestamp': 5, 'type': 't', 'app_id': 'a'}
        channel.publish('', w.q(), 'x' * 5000, reply_to=REPLY_TO, **named)
        event = run.wait_for(lambda: responder.get(w.q()), 'the request')
        found = props(event)
        run.check(found.pop('reply_to').startswith(REPLY_TO + '.'), 'reply-to')
        run.check_equal((found, len(event.body)), (named, 5000), 'properties, octets')


def test_names_are_two_parts_of_base64():
    """Libraries split them at the dot, and decode them; the second part is the secret."""
    with world() as w:
        responder = w.channel(confirm=True)
        responder.declare(w.q())
        names = [reply_name(requester(w)[0], responder, w.q()) for _ in range(20)]
        seen = set()
        for name in names:
            parts = name[len(REPLY_TO + '.'):].split('.')
            run.check_equal(len(parts), 2, 'parts of %r' % name)
            first, secret = (base64.b64decode(part, validate=True) for part in parts)
            run.check(first, 'an empty part in %r' % name)
            run.check_equal(len(secret), 16, 'octets of the secret')
            run.check(name.endswith('=='), 'no padding in %r' % name)
            seen.add(secret)
        run.check_equal(len(seen), 20, 'secrets')


def test_only_that_name_is_replaced():
    with world() as w:
        channel, _ = requester(w)
        channel.declare(w.q())
        for name in ('my.queue', REPLY_TO + '.made-up', 'amq.rabbitmq.reply', ''):
            channel.publish('', w.q(), 'a', reply_to=name)
            event = run.wait_for(lambda: channel.get(w.q()), 'the request')
            run.check_equal(props(event), {'reply_to': name}, 'properties')


def test_every_channel_has_its_own_name_and_secret():
    with world() as w:
        peer = w.peer()
        responder = w.channel(confirm=True)
        responder.declare(w.q())
        channels = [peer.channel() for _ in range(3)]
        names = []
        for channel in channels:
            channel.consume(REPLY_TO, no_ack=True)
            names.append(reply_name(channel, responder, w.q()))
        run.check_equal(len(set(names)), 3, 'different names')
        for number, name in enumerate(names):
            responder.put('', name, str(number))
        for number, channel in enumerate(channels):
            channel.delivery(str(number))
            channel.quiet()
        # a name with another end leads nowhere
        forged = names[0][:-1] + ('A' if names[0][-1] != 'A' else 'B')
        responder.publish('', forged, 'forged')
        responder.reply('basic.ack')
        channels[0].quiet()


def test_acknowledgements_are_refused():
    with world() as w:
        channel = w.channel()
        channel.refuses(406, 'PRECONDITION_FAILED - reply consumer cannot acknowledge',
                        'basic.consume', queue=REPLY_TO)


def test_there_is_one_reply_consumer_on_a_channel():
    with world() as w:
        channel, tag = requester(w)
        channel.refuses(406, 'PRECONDITION_FAILED - reply consumer already set', 'basic.consume',
                        queue=REPLY_TO, no_ack=True)
        channel.consume(REPLY_TO, tag, no_ack=True)     # the channel began anew


def test_flags_and_arguments_of_the_consumer_are_ignored():
    with world() as w:
        peer = w.peer()
        one, two = peer.channel(), peer.channel()
        for channel in (one, two):
            tag = channel.consume(REPLY_TO, 'mine', {'x-priority': 5, 'unknown': True},
                                  no_ack=True, exclusive=True)
            run.check_equal(tag, 'mine', 'consumer tag')


def test_requests_need_a_reply_consumer_on_their_channel():
    with world() as w:
        peer = w.peer()
        one, two = peer.channel(), peer.channel()
        one.declare(w.q())
        one.consume(REPLY_TO, no_ack=True)
        two.publish('', w.q(), 'a', reply_to=REPLY_TO)
        two.closed(406, 'PRECONDITION_FAILED - fast reply consumer does not exist',
                   'basic.publish')
        settled(one)
        run.check_equal(one.counts(w.q())[0], 0, 'messages')


def test_replies_go_by_the_default_exchange_only():
    with world() as w:
        channel, _ = requester(w)
        responder = w.channel(confirm=True)
        responder.declare(w.q())
        responder.exchange(w.x(), 'direct')
        name = reply_name(channel, responder, w.q())
        for exchange in ('amq.direct', w.x(), 'amq.fanout'):
            responder.publish(exchange, name, 'lost', mandatory=True)
            responder.expect('basic.return', reply_code=312, reply_text='NO_ROUTE')
            responder.reply('basic.ack')
        channel.quiet()


def test_replies_are_not_routed_by_cc():
    """Nor lost by it: the key leads to the requester, CC to a queue."""
    with world() as w:
        channel, _ = requester(w)
        responder = w.channel()
        responder.declare(w.q())
        name = reply_name(channel, responder, w.q())
        responder.publish('', name, 'both', headers={'CC': [w.q()]})
        channel.delivery('both')
        run.wait_for(lambda: responder.get(w.q()), 'the copy')


def test_declaring_tells_whether_the_requester_is_there():
    with world() as w:
        channel, _ = requester(w)
        responder = w.channel()
        responder.declare(w.q())
        for passive in (False, True):
            event = responder.declare(REPLY_TO, passive=passive)
            run.check_equal((event.queue, event.message_count, event.consumer_count),
                            (REPLY_TO, 0, 1), 'declare-ok')
        name = reply_name(channel, responder, w.q())
        for passive in (False, True):
            event = responder.declare(name, passive=passive)
            run.check_equal((event.queue, event.message_count, event.consumer_count),
                            (name, 0, 1), 'declare-ok')
        channel.close()
        for passive in (False, True):
            responder.refuses(404, no_queue(name), 'queue.declare', queue=name, passive=passive)


def test_names_that_were_never_given_are_missing():
    with world() as w:
        w.channel().refuses(404, no_queue(REPLY_TO + '.made-up'), 'queue.declare',
                            queue=REPLY_TO + '.made-up', passive=True)


def test_names_that_only_look_like_it_are_told_before_line_ends_go():
    with world() as w:
        channel = w.channel()
        for passive in (False, True):
            event = channel.declare(REPLY_TO + '\r\n', passive=passive)
            run.check_equal((event.queue, event.consumer_count), (REPLY_TO, 1), 'declare-ok')
            channel.refuses(404, no_queue(REPLY_TO + 'X'), 'queue.declare', queue=REPLY_TO + 'X',
                            passive=passive)
        cut = REPLY_TO.replace('.', '.\r')
        channel.refuses(404, no_queue(REPLY_TO), 'queue.declare', queue=cut, passive=True)
        channel.refuses(403, "ACCESS_REFUSED - queue name '%s' contains reserved prefix 'amq.*'"
                        % REPLY_TO, 'queue.declare', queue=cut)
        channel.refuses(404, no_queue(REPLY_TO + '\n'), 'basic.consume', queue=REPLY_TO + '\n',
                        no_ack=True)


def test_it_is_no_queue_for_anything_else():
    with world() as w:
        channel, _ = requester(w)
        responder = w.channel()
        responder.declare(w.q())
        name = reply_name(channel, responder, w.q())
        for queue in (REPLY_TO, name):
            for method, fields in (('basic.get', {}), ('queue.purge', {}),
                                   ('queue.bind', {'exchange': 'amq.direct'})):
                responder.refuses(404, no_queue(queue), method, queue=queue, **fields)
            run.check_equal(responder.call('queue.delete', queue=queue).message_count, 0,
                            'deleted')
        responder.publish('', name, 'still there')
        channel.delivery('still there')


def test_cancel_ends_the_replies():
    with world() as w:
        channel, tag = requester(w)
        responder = w.channel(confirm=True)
        responder.declare(w.q())
        name = reply_name(channel, responder, w.q())
        channel.cancel(tag)
        responder.publish('', name, 'late')
        responder.reply('basic.ack')
        channel.quiet()
        channel.publish('', w.q(), 'a', reply_to=REPLY_TO)
        channel.closed(406, 'PRECONDITION_FAILED - fast reply consumer does not exist',
                       'basic.publish')
        channel.consume(REPLY_TO, no_ack=True)


def test_replies_to_a_requester_that_is_gone_are_unroutable():
    with world() as w:
        responder = w.channel(confirm=True)
        responder.declare(w.q())
        for end in ('close', 'drop'):
            channel, _ = requester(w)
            name = reply_name(channel, responder, w.q())
            getattr(channel.peer, end)()
            run.wait_for(lambda: not responder.exists('queue', name), 'the end of the requester')
            responder.call('confirm.select')    # on the channel opened again
            responder.publish('', name, 'late', mandatory=True)
            responder.expect('basic.return', reply_code=312, reply_text='NO_ROUTE',
                             routing_key=name)
            responder.expect('basic.ack')
            responder.publish('', name, 'late')
            responder.expect('basic.ack')


def test_a_mandatory_reply_is_delivered_once():
    """RabbitMQ up to 4.1 returns it as well, because no queue took it."""
    with world() as w:
        channel, _ = requester(w)
        responder = w.channel(confirm=True)
        responder.declare(w.q())
        name = reply_name(channel, responder, w.q())
        responder.publish('', name, 'a', mandatory=True)
        if elsewhere():
            responder.expect('basic.return', reply_code=312)
        else:
            event = responder.next()
            if event.name == 'basic.return':
                run.check_equal(event.reply_code, 312, repr(event))
                event = responder.next()
            run.check_equal(event.name, 'basic.ack', repr(event))
        channel.delivery('a')
        channel.quiet()


def test_it_works_within_one_channel_and_beside_other_consumers():
    with world() as w:
        channel, tag = requester(w)
        channel.declare(w.q())
        channel.qos(1)
        work = channel.consume(w.q())
        channel.publish('', w.q(), 'request', reply_to=REPLY_TO)
        event = channel.delivery('request', consumer_tag=work, delivery_tag=1)
        channel.publish('', props(event)['reply_to'], 'reply')
        reply = channel.delivery('reply', consumer_tag=tag, delivery_tag=2)
        channel.ack(event.delivery_tag)
        channel.quiet()
        channel.refuses(406, 'PRECONDITION_FAILED - unknown delivery tag 2', 'basic.ack',
                        delivery_tag=reply.delivery_tag)


def test_replies_are_not_held_back_by_prefetch_or_ended_by_their_expiration():
    with world() as w:
        channel = w.channel()
        channel.qos(1)
        channel.consume(REPLY_TO, no_ack=True)
        responder = w.channel(confirm=True)
        responder.declare(w.q())
        name = reply_name(channel, responder, w.q())
        bodies = [str(number) for number in range(50)]
        responder.put('', name, *bodies, expiration='0')
        channel.deliveries(*bodies)


def test_a_reply_inside_a_transaction_comes_once():
    """RabbitMQ does not wait for the commit, for there is no queue; nothing hangs on that."""
    with world() as w:
        channel, _ = requester(w)
        responder = w.channel()
        responder.declare(w.q())
        name = reply_name(channel, responder, w.q())
        responder.call('tx.select')
        responder.publish('', name, 'a')
        responder.call('tx.commit')
        channel.delivery('a')
        channel.quiet()


def test_a_request_that_dies_keeps_its_way_back():
    with world() as w:
        channel, _ = requester(w)
        responder = w.channel()
        responder.declare(w.q('dead'))
        responder.declare(w.q(), {'x-dead-letter-exchange': '', 'x-message-ttl': 0,
                                  'x-dead-letter-routing-key': w.q('dead')})
        channel.publish('', w.q(), 'a', reply_to=REPLY_TO)
        event = run.wait_for(lambda: responder.get(w.q('dead')), 'the dead letter')
        responder.publish('', props(event)['reply_to'], 'sorry')
        channel.delivery('sorry')


if __name__ == '__main__':
    run.main()
