#!/usr/bin/python3
"""test_publish.py - basic.publish: what is refused, what comes back, and what is passed through

Properties are compared as octets: a broker that leaves them alone replays them exactly, with type
octets, key order and duplicates that no library would send.
"""

import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import run                                                                  # noqa: E402
from peer import Fixture, World, elsewhere, exchange_text, field, properties    # noqa: E402
from rawamqp import Field, shortstr                                         # noqa: E402

FIXTURE = Fixture()
setup, teardown, world = FIXTURE.setup, FIXTURE.teardown, FIXTURE.world

MAX_MS = 315360000000           # ten years
ALL_TYPES = [
    ('t', Field('t', b'\1')), ('b', field('b', -5)), ('B', field('B', 250)),
    ('s', field('s', -300)), ('u', field('u', 65000)), ('I', field('I', -70000)),
    ('i', field('i', 4000000000)), ('l', field('l', -2**40)), ('L', field('L', 2**40)),
    ('f', field('f', 0.5)), ('d', field('d', 0.1)), ('D', field('D', (2, 12345))),
    ('S', field('S', 'text')), ('x', field('x', b'\0\xff')), ('T', field('T', 1700000000)),
    ('V', None), ('A', [1, 'two', [None], {'k': 3}]), ('F', {'in': {'deep': [True]}}),
]


def text(code, reason):
    """A reply text."""
    return '%s - %s' % ({403: 'ACCESS_REFUSED', 404: 'NOT_FOUND',
                         406: 'PRECONDITION_FAILED'}[code], reason)


def refused(channel, code, reason, **publish):
    """A publish must be answered by this channel exception."""
    channel.publish(publish.pop('exchange', 'amq.direct'), publish.pop('key', 'k'), **publish)
    channel.closed(code, text(code, reason), 'basic.publish')


# ---- refusals --------------------------------------------------------------------------------

def test_publish_to_a_missing_exchange():
    with world() as w:
        channel = w.channel()
        refused(channel, 404, 'no ' + exchange_text(w.x()), exchange=w.x(), body=b'x')
        refused(channel, 404, 'no ' + exchange_text(w.x()), exchange=w.x(), mandatory=True)


def test_publish_to_an_internal_exchange():
    with world() as w:
        channel = w.channel()
        channel.exchange(w.x(), 'fanout', internal=True)
        refused(channel, 403, 'cannot publish to internal ' + exchange_text(w.x()),
                exchange=w.x())
        refused(channel, 403, 'cannot publish to internal ' + exchange_text('amq.rabbitmq.trace'),
                exchange='amq.rabbitmq.trace')


def test_immediate_is_not_implemented():
    with world() as w:
        for exchange in ('', w.x('missing')):           # looked at before the exchange is
            channel = w.channel()
            channel.publish(exchange, 'k', b'body', immediate=True)
            channel.peer.fails(540, 'NOT_IMPLEMENTED - immediate=true', 'basic.publish')


def test_user_id_must_be_the_user():
    with world() as w:
        channel = w.channel(confirm=True)
        for user in ('bob', '', 'Guest'):
            refused(channel, 406, "user_id property set to '%s' but authenticated user was 'guest'"
                    % user, user_id=user)
        channel.declare(w.q())
        channel.call('confirm.select')
        channel.put('', w.q(), 'mine', user_id='guest')
        run.check_equal(channel.get(w.q()).properties, properties(user_id='guest'), 'properties')


def test_invalid_expirations():
    with world() as w:
        channel = w.channel()
        for value, reason in (('abc', 'no_integer'), ('', 'no_integer'),
                              ('10x', '{leftover_string,"x"}'), ('1.5', '{leftover_string,".5"}'),
                              ('-1', '{value_negative,-1}'),
                              (str(MAX_MS + 1), '{value_too_large,%d}' % (MAX_MS + 1))):
            refused(channel, 406, "invalid expiration '%s': %s" % (value, reason),
                    expiration=value)


def test_valid_expirations_stay_as_they_were_written():
    values = ('600000', '+500000', '0600000', str(MAX_MS))
    with world() as w:
        peer = w.peer()
        channel, other = peer.channel(confirm=True), peer.channel()
        channel.declare(w.q())
        for value in values:
            channel.put('', w.q(), value, expiration=value)
        for value in values:
            event = other.take(w.q(), value)
            run.check_equal(event.properties, properties(expiration=value), 'properties')
        other.nack(0, multiple=True)
        channel.becomes(w.q(), len(values))
        for value in values:
            event = other.take(w.q(), value, redelivered=True)
            run.check_equal(event.properties, properties(expiration=value), 'properties')


def test_odd_delivery_modes():
    with world() as w:
        channel = w.channel(confirm=True)
        for mode in (0, 3, 255):
            if elsewhere():
                refused(channel, 406, 'invalid message: {delivery_mode_unknown,%d}' % mode,
                        delivery_mode=mode)
                continue
            channel.declare(w.q())
            channel.put('', w.q(), 'odd', delivery_mode=mode)
            run.check_equal(channel.get(w.q()).properties, properties(delivery_mode=mode),
                            'properties')


def test_cc_and_bcc_must_be_arrays():
    with world() as w:
        channel = w.channel()
        for name, value, kind in (('CC', 'k', 'longstr'), ('BCC', 5, 'signedint'),
                                  ('CC', None, 'void'), ('BCC', {}, 'table')):
            refused(channel, 406, 'invalid message: {unacceptable_type_in_header,"%s",%s}'
                    % (name, kind), headers={name: value})


def test_the_first_failing_check_is_told():
    with world() as w:
        channel = w.channel()
        no_exchange = 'no ' + exchange_text(w.x())
        refused(channel, 404, no_exchange, exchange=w.x(), user_id='bob', expiration='x')
        refused(channel, 406, "user_id property set to 'bob' but authenticated user was 'guest'",
                user_id='bob', expiration='x', headers={'CC': 1})
        refused(channel, 406, "invalid expiration 'x': no_integer", expiration='x',
                headers={'CC': 1})


def test_other_publishes_around_a_failing_one():
    with world() as w:
        peer = w.peer()
        channel, other = peer.channel(), peer.channel(confirm=True)
        other.declare(w.q())
        channel.publish('', w.q(), b'before')
        channel.publish(w.x(), 'k', b'failing')
        channel.publish('', w.q(), b'after')
        channel.closed(404, 'NOT_FOUND - no ' + exchange_text(w.x()), 'basic.publish')
        other.becomes(w.q(), 1)
        other.put('', w.q(), 'other')
        run.check_equal(other.drain(w.q()), ['before', 'other'], 'messages')


def test_a_body_over_the_configured_size():
    if elsewhere():
        run.skip('needs a setting')
    small = Fixture({'max_message_size': 1000})
    small.setup()
    try:
        with World(small.broker.port) as w:
            channel = w.channel(confirm=True)
            channel.declare(w.q())
            channel.put('', w.q(), b'x' * 1000)
            refused(channel, 406, 'message size 1001 is larger than configured max size 1000',
                    exchange='', key=w.q(), body=b'x' * 1001)
            refused(channel, 406, 'message size 500000 is larger than configured max size 1000',
                    exchange=w.x('missing'), body=b'x' * 500000)
            run.check_equal(channel.drain(w.q()), ['x' * 1000], 'messages')
    finally:
        small.teardown()


# ---- returns ---------------------------------------------------------------------------------

def test_unroutable_mandatory_messages_come_back_whole():
    props = properties(content_type='a/b', headers=ALL_TYPES, delivery_mode=2, correlation_id='c')
    body = bytes(range(256)) * 1000         # several frames
    with world() as w:
        channel = w.channel()
        channel.exchange(w.x())
        channel.publish(w.x(), 'nowhere', body, mandatory=True, props=props)
        event = channel.expect('basic.return', reply_code=312, reply_text='NO_ROUTE',
                               exchange=w.x(), routing_key='nowhere')
        run.check_equal(event.properties, props, 'properties')
        run.check_equal(event.body, body, 'body')
        channel.publish('', w.q('missing'), b'', mandatory=True)
        event = channel.expect('basic.return', exchange='', routing_key=w.q('missing'))
        run.check_equal((event.properties, event.body), (b'\0\0', b''), 'content')
        channel.quiet()                         # not an exception


def test_unroutable_messages_are_dropped_without_mandatory():
    with world() as w:
        channel = w.channel()
        channel.publish('', w.q('missing'), b'lost')
        channel.publish('amq.direct', w.q('missing'), b'lost')
        channel.quiet()
        channel.declare(w.q('missing'))
        channel.quiet()
        run.check_equal(channel.drain(w.q('missing')), [], 'messages')


def test_routed_mandatory_messages_do_not_come_back():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q())
        channel.exchange(w.x())
        channel.bind(w.q(), w.x(), 'copy')
        channel.put('', w.q(), 'direct', mandatory=True)
        channel.put(w.x(), 'nowhere', 'by CC', mandatory=True, headers={'CC': ['copy']})
        channel.quiet()
        run.check_equal(channel.drain(w.q()), ['direct', 'by CC'], 'messages')


# ---- CC and BCC ------------------------------------------------------------------------------

def test_cc_and_bcc_are_further_routing_keys():
    with world() as w:
        channel = w.channel(confirm=True)
        for name in 'abc':
            channel.declare(w.q(name))
        channel.put('', w.q('a'), 'hello', headers={'CC': [w.q('b')], 'BCC': [w.q('c')], 'n': 1})
        visible = properties(headers={'CC': [w.q('b')], 'n': 1})
        for name in 'abc':
            event = channel.get(w.q(name))
            run.check(event, 'nothing in ' + name)
            run.check_equal((event.exchange, event.routing_key), ('', w.q('a')), 'address')
            run.check_equal(event.properties, visible, 'properties')


def test_bcc_alone_leaves_no_trace():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q())
        channel.put('', 'nowhere', 'x', headers={'BCC': [w.q()]}, content_type='a', app_id='b')
        run.check(channel.get(w.q()).properties in (
            properties(content_type='a', app_id='b'),
            properties(content_type='a', app_id='b', headers={})), 'BCC is seen')
        channel.publish('amq.direct', 'nowhere', b'x', mandatory=True,
                        headers={'BCC': ['nowhere either'], 'n': 1})
        run.check_equal(channel.expect('basic.return').properties, properties(headers={'n': 1}),
                        'properties of the return')


def test_other_headers_keep_their_octets_when_bcc_goes():
    # RabbitMQ encodes the remaining headers anew, an L becomes an l
    others = [entry for entry in ALL_TYPES if not (elsewhere() and entry[0] == 'L')]
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q())
        channel.put('', 'nowhere', 'x', headers=[('BCC', [w.q()])] + others, message_id='m')
        run.check_equal(channel.get(w.q()).properties, properties(headers=others, message_id='m'),
                        'properties')


def test_only_strings_in_cc_count():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q())
        keys = [5, None, ['x'], {'k': w.q()}, w.q(), True]
        channel.put('', 'nowhere', 'x', headers={'CC': keys})
        event = channel.get(w.q())
        run.check(event, 'not routed')
        run.check_equal(event.properties, properties(headers={'CC': keys}), 'properties')
        channel.put('', w.q(), 'y', headers={'CC': [], 'BCC': []})
        run.check_equal(channel.drain(w.q()), ['y'], 'messages')


def test_one_copy_however_many_keys_lead_to_a_queue():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q())
        channel.exchange(w.x(), 'topic')
        for key in ('a.*', '#', 'a.b'):
            channel.bind(w.q(), w.x(), key)
        channel.put(w.x(), 'a.b', 'once', headers={'CC': ['a.c', 'a.b'], 'BCC': ['z', w.q()]})
        channel.put('', w.q(), 'twice', headers={'CC': [w.q(), w.q()], 'BCC': [w.q()]})
        run.check_equal(channel.drain(w.q()), ['once', 'twice'], 'messages')


def test_cc_on_a_topic_exchange():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x(), 'topic')
        for name, key in (('a', 'a.#'), ('b', '*.b')):
            channel.declare(w.q(name))
            channel.bind(w.q(name), w.x(), key)
        channel.put(w.x(), 'a', 'both', headers={'CC': ['x.b']})
        channel.put(w.x(), 'x', 'b only', headers={'CC': ['y.b'], 'BCC': ['z']})
        run.check_equal(channel.drain(w.q('a')), ['both'], 'messages')
        run.check_equal(channel.drain(w.q('b')), ['both', 'b only'], 'messages')


# ---- passed through --------------------------------------------------------------------------

EXACT = {
    'none': b'\0\0',
    'all fourteen': properties(
        content_type='text/plain', content_encoding='gzip', headers=ALL_TYPES, delivery_mode=2,
        priority=9, correlation_id='corr', reply_to='somewhere', expiration='600000',
        message_id='id', timestamp=1700000000, type='kind', user_id='guest', app_id='app',
        cluster_id='cluster'),
    'empty headers': properties(headers={}),
    'empty strings': properties(content_type='', correlation_id='', type='', app_id=''),
    'unsorted and duplicate keys': properties(headers=[('z', 1), ('a', 2), ('z', 3), ('', 4)]),
    'transient': properties(delivery_mode=1),
    'any priority': properties(priority=255),
    'odd boolean': properties(headers=[('t', Field('t', b'\7'))]),
    'long strings': properties(correlation_id='c' * 255, headers={'k' * 255: 'v' * 70000}),
    'not UTF-8': properties(content_type=b'\xff\xfe', message_id=b'\0\x80',
                            headers=[(b'\xff', field('S', b'\xfe\xff'))]),
    'deep': properties(headers={'1': {'2': {'3': [[[{'4': [None]}]]]}}}),
    'unused flag bits': struct.pack('>H', 0x8003) + shortstr('a/b'),
}


def test_properties_are_replayed_octet_by_octet():
    with world() as w:
        peer = w.peer()
        channel, consumer = peer.channel(confirm=True), peer.channel()
        channel.declare(w.q(), durable=True)
        for name, props in EXACT.items():
            channel.put('', w.q(), name, props=props)
            event = consumer.take(w.q(), name)
            run.check_equal(event.properties, props, 'got: ' + name)
            consumer.nack(event.delivery_tag)
            tag = consumer.consume(w.q())
            event = consumer.delivery(name, redelivered=True)
            run.check_equal(event.properties, props, 'delivered: ' + name)
            consumer.ack(event.delivery_tag)
            consumer.cancel(tag)
            consumer.publish('amq.direct', w.q('nowhere'), name, mandatory=True, props=props)
            run.check_equal(consumer.expect('basic.return').properties, props,
                            'returned: ' + name)


def test_routing_keys_are_octets():
    with world() as w:
        peer = w.peer()
        channel = peer.channel(confirm=True)
        channel.declare(w.q())
        channel.exchange(w.x(), 'fanout')
        channel.bind(w.q(), w.x())
        for key in (b'\xff\xfe', b'', b'\0', b'k' * 255, 'käse'.encode(), b'a\r\nb'):
            channel.put(w.x(), key, 'x')
            event = channel.get(w.q())
            got = event.routing_key
            run.check_equal(got if isinstance(got, bytes) else got.encode(), key, 'routing key')
            run.check_equal(event.exchange, w.x(), 'exchange')


def test_bodies_of_all_sizes():
    with world() as w:
        peer = w.peer()
        channel, consumer = peer.channel(confirm=True), peer.channel()
        channel.declare(w.q())
        consumer.consume(w.q(), no_ack=True)
        sizes = (0, 1, 255, 2047, 2048, 2049, 65536, 131064, 131065, 262128, 1000003)
        for size in sizes:
            channel.publish('', w.q(), (struct.pack('>I', size) * (size // 4 + 1))[:size])
        for size in sizes:
            body = consumer.delivery().body
            run.check_equal(len(body), size, 'size')
            run.check(body == (struct.pack('>I', size) * (size // 4 + 1))[:size], 'other octets')


def test_a_message_for_many_queues_is_the_same_in_all():
    props = properties(headers=ALL_TYPES, delivery_mode=2)
    body = b'shared' * 1000
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x(), 'fanout')
        for number in range(20):
            channel.declare(w.q(str(number)), durable=number % 2 > 0)
            channel.bind(w.q(str(number)), w.x())
        channel.put(w.x(), 'key', body, props=props)
        for number in range(20):
            event = channel.get(w.q(str(number)))
            run.check_equal((event.body, event.properties, event.routing_key, event.exchange),
                            (body, props, 'key', w.x()), 'message %d' % number)


def test_a_headers_table_may_be_large():
    props = properties(headers={'key%d' % number: 'value' * 22 for number in range(1000)})
    run.check(100000 < len(props) < 131000, 'the sample has the wrong size')
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q())
        channel.put('', w.q(), 'x', props=props)
        run.check_equal(channel.get(w.q()).properties, props, 'properties')


if __name__ == '__main__':
    run.main()
