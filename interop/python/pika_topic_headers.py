"""Topic and headers exchanges: which bindings match which messages.

One queue a binding; after each publish every queue is emptied, and the line lists who had it.
"""

import datetime
import decimal

import pika

from libclient import connect, fresh_exchange, fresh_queue, say

TOPIC_BINDINGS = ['a.b', 'a.*', 'a.#', '#', '*', '*.*', '#.b', 'a.#.b', '', 'a..b', '*.#', 'a.*.#',
                  '#.#', '#.*', '..', 'a.b*']
TOPIC_KEYS = ['a.b', 'a', '', 'a.b.c', 'a..b', '.', 'a.', '.b', 'b', 'A.B', 'a.x.y.b', 'a.b*', '#',
              'a.*']

HEADER_BINDINGS = {
    'all-2': {'x-match': 'all', 'kind': 'pdf', 'pages': 3},
    'default-is-all': {'kind': 'pdf', 'pages': 3},
    'any': {'x-match': 'any', 'kind': 'pdf', 'pages': 3},
    'all-empty': {'x-match': 'all'},
    'any-empty': {'x-match': 'any'},
    'all-ignores-x': {'x-match': 'all', 'kind': 'pdf', 'x-secret': 'no'},
    'all-with-x': {'x-match': 'all-with-x', 'kind': 'pdf', 'x-secret': 'yes'},
    'any-with-x': {'x-match': 'any-with-x', 'x-secret': 'yes'},
    'exists': {'x-match': 'all', 'kind': None},
    'bool': {'x-match': 'all', 'flag': True},
    'text-1': {'x-match': 'all', 'pages': '3'},
    'wide': {'x-match': 'all', 'pages': 3, 'big': 2 ** 40},
    'list': {'x-match': 'all', 'list': ['a', 1]},
    'time': {'x-match': 'all', 'number': datetime.datetime(2023, 11, 14, 22, 13, 20)},
    'decimal': {'x-match': 'all', 'price': decimal.Decimal('1.25')},
}
HEADER_MESSAGES = [
    None,
    {},
    {'kind': 'pdf'},
    {'kind': 'pdf', 'pages': 3},
    {'kind': 'pdf', 'pages': '3'},
    {'Kind': 'pdf', 'pages': 3},
    {'kind': 'doc', 'pages': 3, 'big': 2 ** 40},
    {'kind': 'pdf', 'x-secret': 'yes'},
    {'x-secret': 'yes'},
    {'kind': None},
    {'flag': True},
    {'flag': 1},
    {'list': ['a', 1]},
    {'list': ['a', 2]},
    {'number': 1700000000},
    {'price': decimal.Decimal('1.25')},
    {'price': decimal.Decimal('1.24')},
]


def takers(channel, queues):
    """Names of the queues that hold a message; takes it out."""
    return [name for name, queue in queues.items()
            if channel.basic_get(queue, auto_ack=True)[0] is not None]


def topic(channel):
    exchange = fresh_exchange(channel, 'interop.pika.topic', 'topic')
    queues = {}
    for number, key in enumerate(TOPIC_BINDINGS):
        queues[key] = fresh_queue(channel, 'interop.pika.topic.%d' % number)
        channel.queue_bind(queues[key], exchange, key)
    for key in TOPIC_KEYS:
        channel.basic_publish(exchange, key, b'x')
        say('topic %r: %s' % (key, ' '.join(repr(name) for name in takers(channel, queues))))
    channel.queue_bind(queues['a.b'], exchange, 'a.*')
    channel.queue_unbind(queues['#'], exchange, '#')
    channel.basic_publish(exchange, 'a.b', b'x')
    say('after rebinding:', takers(channel, queues))
    for queue in queues.values():
        channel.queue_delete(queue)
    channel.exchange_delete(exchange)


def headers(channel):
    exchange = fresh_exchange(channel, 'interop.pika.headers', 'headers')
    queues = {}
    for name, arguments in HEADER_BINDINGS.items():
        queues[name] = fresh_queue(channel, 'interop.pika.headers.' + name)
        channel.queue_bind(queues[name], exchange, 'ignored', arguments)
    for table in HEADER_MESSAGES:
        properties = None if table is None else pika.BasicProperties(headers=table)
        channel.basic_publish(exchange, '', b'x', properties)
        say('headers %r: %s' % (table, ' '.join(takers(channel, queues))))
    for queue in queues.values():
        channel.queue_delete(queue)
    channel.exchange_delete(exchange)


def direct(channel):
    exchange = fresh_exchange(channel, 'interop.pika.direct', 'direct', auto_delete=True)
    queues = {key: fresh_queue(channel, 'interop.pika.direct.%d' % number)
              for number, key in enumerate(['', 'k', 'K', 'k.#'])}
    for key, queue in queues.items():
        channel.queue_bind(queue, exchange, key)
    for key in ('', 'k', 'K', 'k.x', 'k.#'):
        channel.basic_publish(exchange, key, b'x')
        say('direct %r: %s' % (key, takers(channel, queues)))
    for queue in queues.values():
        channel.queue_delete(queue)
    try:
        channel.exchange_declare(exchange, passive=True)
    except pika.exceptions.ChannelClosedByBroker as error:
        say('auto-deleted:', error.reply_code, error.reply_text)


if __name__ == '__main__':
    with connect() as one:
        topic(one.channel())
        headers(one.channel())
        direct(one.channel())
