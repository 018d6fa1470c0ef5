#!/usr/bin/python3
"""test_tables.py - field tables and properties: what goes in comes out, what cannot be is refused

Properties travel as the octets that came, so the tests compare octets, not values. In a method's
arguments the same tables are decoded; a binding to amq.direct takes any.
"""

import math
import os
import re
import struct
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))

import leveret                              # noqa: E402
import rawamqp                              # noqa: E402
import run                                  # noqa: E402
from rawamqp import Field, longstr, shortstr, table     # noqa: E402

BROKER = None
DEPTH_MAX = 128         # tables and arrays within the outermost table
VALUES = [
    ('t', b'\0'), ('t', b'\1'), ('t', b'\2'), ('t', b'\xff'),
    ('b', b'\x80'), ('b', b'\x7f'), ('B', b'\xff'), ('B', b'\0'),
    ('s', struct.pack('>h', -32768)), ('u', struct.pack('>H', 65535)),
    ('I', struct.pack('>i', -2**31)), ('I', struct.pack('>i', 2**31 - 1)),
    ('i', struct.pack('>I', 2**32 - 1)),
    ('l', struct.pack('>q', -2**63)), ('l', struct.pack('>q', 2**63 - 1)),
    ('L', struct.pack('>q', -1)), ('L', struct.pack('>q', 2**40)),
    ('f', struct.pack('>f', 1.5)),
    ('d', struct.pack('>d', -math.pi)), ('d', struct.pack('>d', -0.0)),
    ('D', b'\x02' + struct.pack('>I', 31415)), ('D', b'\xff\xff\xff\xff\xff'),
    ('S', longstr('')), ('S', longstr('text')), ('S', longstr(b'\xff\xfe\0')),
    ('S', longstr('x' * 70000)),
    ('x', longstr(b'')), ('x', longstr(bytes(range(256)))),
    ('T', struct.pack('>Q', 0)), ('T', struct.pack('>Q', 2**64 - 1)),
    ('V', b''),
    ('A', longstr(b'')), ('A', longstr(b't\1VI\0\0\0\7')),
    ('A', longstr(b'A' + longstr(b'A' + longstr(b'')))),
    ('F', table({})), ('F', table({'a': 1, 'b': {'c': [1, 'two', None, {'d': 2.5}]}})),
]


def setup():
    global BROKER
    BROKER = leveret.open_broker()


def teardown():
    BROKER.close()


def nested(levels, kind='F'):
    """The entries of a table that holds containers in containers, so many levels deep."""
    value = b't\1'
    for level in range(levels):
        if kind == 'F' or (kind == 'mixed' and level % 2):
            value = b'F' + longstr(shortstr('k') + value)
        else:
            value = b'A' + longstr(value)
    return shortstr('k') + value


def check_round_trip(raw, queue, props):
    """Property octets come back exactly, by basic.get and through a consumer."""
    raw.publish(1, '', queue, b'body', props)
    message = raw.get(1, queue)
    run.check_equal(message.raw_properties, props, 'properties')
    run.check_equal(message.body, b'body', 'body')


def headers_of(entries):
    """Property octets with a headers table of given entries."""
    return struct.pack('>H', 0x2000) + longstr(entries)


# ---- in message headers ----------------------------------------------------------------------

def test_every_type_goes_through_headers_unchanged():
    raw = rawamqp.connect(BROKER.port)
    queue = raw.rpc(1, 'queue.declare', exclusive=True).queue
    for octet, value in VALUES:
        check_round_trip(raw, queue, rawamqp.properties(headers=[('key', Field(octet, value))]))
    everything = [('k%d' % number, Field(octet, value))
                  for number, (octet, value) in enumerate(VALUES) if len(value) < 1000]
    check_round_trip(raw, queue, rawamqp.properties(headers=everything))
    raw.close()


def test_every_type_goes_through_nested_tables_and_arrays():
    raw = rawamqp.connect(BROKER.port)
    queue = raw.rpc(1, 'queue.declare', exclusive=True).queue
    fields = [Field(octet, value) for octet, value in VALUES if len(value) < 1000]
    check_round_trip(raw, queue, rawamqp.properties(
        headers={'array': fields, 'table': {'k%d' % n: field for n, field in enumerate(fields)}}))
    raw.close()


def test_order_duplicates_and_odd_keys_of_headers_survive():
    raw = rawamqp.connect(BROKER.port)
    queue = raw.rpc(1, 'queue.declare', exclusive=True).queue
    for headers in ([('z', 1), ('a', 2), ('m', 3)], [('same', 1), ('same', 2), ('same', None)],
                    [(b'\xff\0key', 'x')], [('', 'empty key')], [('k' * 255, 'long key')],
                    [], [('big', 'y' * 100000)]):
        check_round_trip(raw, queue, rawamqp.properties(headers=headers))
    raw.close()


def test_every_property_goes_through_unchanged():
    raw = rawamqp.connect(BROKER.port)
    queue = raw.rpc(1, 'queue.declare', exclusive=True).queue
    values = {'content_type': 'text/plain', 'content_encoding': 'gzip', 'headers': {'h': 1},
              'delivery_mode': 2, 'priority': 255, 'correlation_id': b'\xff\xfe', 'reply_to': 'me',
              'expiration': '60000', 'message_id': 'm' * 255, 'timestamp': 2**63,
              'type': 't', 'user_id': 'guest', 'app_id': '', 'cluster_id': 'reserved'}
    check_round_trip(raw, queue, rawamqp.properties(**values))
    check_round_trip(raw, queue, b'\0\0')
    for name, value in values.items():
        check_round_trip(raw, queue, rawamqp.properties(**{name: value}))
    raw.close()


def test_properties_reach_consumers_unchanged():
    raw = rawamqp.connect(BROKER.port)
    queue = raw.rpc(1, 'queue.declare', exclusive=True).queue
    raw.rpc(1, 'basic.consume', queue=queue, no_ack=True)
    for octet, value in VALUES:
        props = rawamqp.properties(headers=[('key', Field(octet, value))], app_id='tables')
        raw.publish(1, '', queue, b'body', props)
        run.check_equal(raw.expect_content(1, 'basic.deliver').raw_properties, props)
    raw.close()


def test_properties_of_returned_messages_are_unchanged():
    raw = rawamqp.connect(BROKER.port)
    props = rawamqp.properties(headers=[('z', 1), ('a', Field('u', b'\1\2'))], message_id='r')
    raw.publish(1, '', 'tables.nowhere.%d' % os.getpid(), b'back', props, mandatory=True)
    message = raw.expect_content(1, 'basic.return')
    run.check_equal((message.method.reply_code, message.method.reply_text), (312, 'NO_ROUTE'))
    run.check_equal((message.raw_properties, message.body), (props, b'back'))
    raw.close()


def test_routing_key_that_is_not_utf8_survives():
    raw = rawamqp.connect(BROKER.port)
    queue = raw.rpc(1, 'queue.declare', exclusive=True).queue
    raw.rpc(1, 'queue.bind', queue=queue, exchange='amq.fanout')
    raw.publish(1, 'amq.fanout', b'\xff\xfe', b'x')
    run.wait_for(lambda: raw.rpc(1, 'queue.declare', queue=queue, passive=True).message_count,
                 'the message in the queue')
    run.check_equal(raw.get(1, queue).method.routing_key, b'\xff\xfe', 'routing key')
    raw.close()


def test_signed_16_bit_u_is_accepted():
    if BROKER.external:
        run.skip('a choice of Leveret: RabbitMQ does not know U')
    raw = rawamqp.connect(BROKER.port)
    queue = raw.rpc(1, 'queue.declare', exclusive=True).queue
    check_round_trip(raw, queue, rawamqp.properties(headers=[('key', Field('U', b'\xff\xff'))]))
    raw.close()


def test_unknown_types_in_headers_are_refused():
    for octet in (b'C', b'Z', b'\0', b'\xff', b'a', b'X', b'v'):
        raw = rawamqp.connect(BROKER.port)
        raw.publish(1, '', 'x', b'', headers_of(b'\1k' + octet + bytes(8)))
        if BROKER.external:
            raw.expect_close(541, 'INTERNAL_ERROR')
        else:
            raw.expect_close(501, re.compile('^FRAME_ERROR - '), None)


def test_headers_nested_to_the_bound_pass_and_beyond_are_refused():
    for kind in ('F', 'A', 'mixed'):
        raw = rawamqp.connect(BROKER.port)
        queue = raw.rpc(1, 'queue.declare', exclusive=True).queue
        check_round_trip(raw, queue, headers_of(nested(DEPTH_MAX, kind)))
        raw.publish(1, '', queue, b'', headers_of(nested(DEPTH_MAX + 1, kind)))
        if BROKER.external:                 # RabbitMQ has no bound
            run.check(raw.get(1, queue), 'the message is gone')
            raw.close()
        else:
            raw.expect_close(502, re.compile('^SYNTAX_ERROR - '), None)


# ---- in method arguments ---------------------------------------------------------------------

def bind(raw, queue, arguments):
    """Send a binding with the octets of its arguments table."""
    raw.method(1, 'queue.bind', b'\0\0' + shortstr(queue) + shortstr('amq.direct') + shortstr('key')
               + b'\0' + arguments)


def test_every_type_is_accepted_in_arguments():
    raw = rawamqp.connect(BROKER.port)
    queue = raw.rpc(1, 'queue.declare', exclusive=True).queue
    for octet, value in VALUES:
        bind(raw, queue, table([('key', Field(octet, value))]))
        raw.expect(1, 'queue.bind-ok')
    raw.close()


def test_every_type_is_accepted_in_client_properties():
    told = {'k%d' % number: Field(octet, value)
            for number, (octet, value) in enumerate(VALUES) if len(value) < 300}
    rawamqp.Raw(BROKER.port).handshake(client_properties=told).close()


def refused_arguments(arguments, code, text):
    """A binding whose arguments cannot be decoded ends the connection."""
    raw = rawamqp.connect(BROKER.port)
    queue = raw.rpc(1, 'queue.declare', exclusive=True).queue
    bind(raw, queue, arguments)
    if BROKER.external:
        raw.eof()                           # RabbitMQ drops the connection without a word
    else:
        raw.expect_close(code, re.compile(text), 'queue.bind')


def test_malformed_arguments_are_refused():
    cannot = '^FRAME_ERROR - cannot decode '
    for entries in (b'\1k', b'\1kZ', b'\1kC\0', b'\1kI\0\0\0', b'\1kl\0\0\0\0\0\0\0',
                    b'\1kS\0\0\0\5abcd', b'\1kS\xff\xff\xff\xff', b'\1kF\0\0\0\5',
                    b'\1kF\0\0\0\2\1a', b'\1kA\0\0\0\3S\0\0', b'\1kA\0\0\0\1Z', b'\5abc', b'\1kt',
                    b'\1kD\0\0\0\0', b'\1kx\0\0\0\1', b'\1kV\1'):
        refused_arguments(table(entries), 501, cannot)


def test_table_longer_than_its_frame_is_refused():
    for size in (1, 2**31, 2**32 - 1):
        raw = rawamqp.connect(BROKER.port)
        bind(raw, 'q', struct.pack('>I', size))
        raw.expect_close(501, re.compile('^FRAME_ERROR - cannot decode '), 'queue.bind')


def test_arguments_nested_beyond_the_bound_are_refused():
    for kind in ('F', 'A', 'mixed'):
        raw = rawamqp.connect(BROKER.port)
        queue = raw.rpc(1, 'queue.declare', exclusive=True).queue
        bind(raw, queue, table(nested(DEPTH_MAX, kind)))
        raw.expect(1, 'queue.bind-ok')
        for levels in (DEPTH_MAX + 1, 10000):
            if BROKER.external:             # RabbitMQ has no bound
                continue
            raw = rawamqp.connect(BROKER.port)
            bind(raw, 'q', table(nested(levels, kind)))
            raw.expect_close(502, re.compile('^SYNTAX_ERROR - '), 'queue.bind')


def test_tables_of_very_many_entries_are_refused():
    if BROKER.external:
        run.skip('a choice of Leveret: RabbitMQ has no bound')
    many = b'\1kA' + longstr(b'V' * 100000)
    raw = rawamqp.connect(BROKER.port)
    bind(raw, 'q', table(many))
    raw.expect_close(502, re.compile('^SYNTAX_ERROR - '), 'queue.bind')
    raw = rawamqp.connect(BROKER.port)
    raw.publish(1, '', 'x', b'', headers_of(many))
    raw.expect_close(502, re.compile('^SYNTAX_ERROR - '), None)


if __name__ == '__main__':
    run.main()
