"""What goes in comes out: all properties, field types, binary keys and bodies of many sizes.

Bodies are chosen around the frame size, where one frame becomes two. The second half negotiates a
small frame-max, so that every message is cut.
"""

import datetime
import decimal
import hashlib

import pika

from libclient import connect, fresh_exchange, fresh_queue, say

QUEUE = 'interop.pika.properties'
FRAME_MAX = 131072
OVERHEAD = 8
HEADERS = {
    'text': 'Feldhase', 'unicode': 'zając 野兎', 'empty': '', 'bytes': b'\x00\xff',
    'true': True, 'false': False, 'int': -7, 'max32': 2 ** 31 - 1, 'wide': 2 ** 40,
    'decimal': decimal.Decimal('12.5'),
    'time': datetime.datetime(2023, 11, 14, 22, 13, 20), 'none': None,
    'list': [1, 'two', None, [3, {}], {'four': 4}], 'table': {'a': {'b': {'c': ['d']}}},
    'empty list': [], 'empty table': {}, 'k' * 128: 'longest key for pika',
}


def round_trip(channel, body, properties=None, routing_key=QUEUE, exchange=''):
    channel.basic_publish(exchange, routing_key, body, properties)
    return channel.basic_get(QUEUE, auto_ack=True)


def properties(channel):
    sent = pika.BasicProperties(
        content_type='application/json', content_encoding='gzip', headers=HEADERS,
        delivery_mode=2, priority=255, correlation_id='c' * 255, reply_to='r', expiration='100000',
        message_id='m', timestamp=1700000000, type='t', user_id='guest', app_id='a',
        cluster_id='cl')
    _, got, body = round_trip(channel, b'{}', sent)
    for name in ('content_type', 'content_encoding', 'delivery_mode', 'priority', 'reply_to',
                 'expiration', 'message_id', 'timestamp', 'type', 'user_id', 'app_id',
                 'cluster_id'):
        say(name, repr(getattr(got, name)))
    say('correlation_id', len(got.correlation_id))
    for key in HEADERS:
        say('header', key, repr(got.headers[key]))
    say('same headers', got.headers == HEADERS, 'in the same order',
        list(got.headers) == list(HEADERS))
    _, got, _ = round_trip(channel, b'', pika.BasicProperties())
    say('none', {name: value for name, value in vars(got).items() if value is not None})
    _, got, _ = round_trip(channel, b'', pika.BasicProperties(headers={}, content_type='',
                                                              priority=0))
    say('empty ones', got.headers, repr(got.content_type), got.priority)


def bodies(channel, frame_max, sizes):
    for size in sizes:
        body = bytes(number * 7 % 256 for number in range(min(size, 65536)))
        body = (body * (size // 65536 + 1))[:size]
        method, _, got = round_trip(channel, body)
        same = hashlib.sha256(got).digest() == hashlib.sha256(body).digest()
        say('frame-max', frame_max, 'body', size, 'same' if same else 'DIFFERENT %d' % len(got))


def routing_keys(channel):
    exchange = fresh_exchange(channel, QUEUE, 'fanout')
    channel.queue_bind(QUEUE, exchange)
    for key in ('', 'k' * 255, 'zając', 'a.b c*#', '\x01'):
        method, _, _ = round_trip(channel, b'x', None, key, exchange)
        say('routing key', len(method.routing_key), method.routing_key == key)
    channel.exchange_delete(exchange)


def main():
    connection = connect()
    channel = connection.channel()
    fresh_queue(channel, QUEUE)
    properties(channel)
    routing_keys(channel)
    edge = FRAME_MAX - OVERHEAD
    bodies(channel, FRAME_MAX, (0, 1, edge - 1, edge, edge + 1, 2 * edge, 2 * edge + 1, 3000000))
    small = connect(frame_max=4096)
    edge = 4096 - OVERHEAD
    bodies(small.channel(), 4096, (0, 1, edge - 1, edge, edge + 1, 10000, 500000))
    small.close()
    channel.queue_delete(QUEUE)
    connection.close()


if __name__ == '__main__':
    main()
