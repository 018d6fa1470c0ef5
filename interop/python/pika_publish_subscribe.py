"""Publish/subscribe: fanout to server-named exclusive queues, each subscriber a connection.

Also exchange-to-exchange bindings, a cycle of them, alternate exchanges, CC and BCC: every queue
gets a message once, however many ways lead to it.
"""

import pika

from libclient import connect, counts, fresh_exchange, fresh_queue, get_all, say, Collector

LOG = 'interop.pika.log'


def fanout():
    publisher = connect()
    channel = publisher.channel()
    fresh_exchange(channel, LOG, 'fanout')
    subscribers = []
    for _ in range(3):
        subscriber = connect().channel()
        queue = subscriber.queue_declare('', exclusive=True).method.queue
        subscriber.queue_bind(queue, LOG)
        subscribers.append((queue, Collector(subscriber, queue, auto_ack=True)))
    say('queues:', *[queue for queue, _ in subscribers])
    say('names differ:', len({queue for queue, _ in subscribers}) == 3)
    for number in range(3):
        channel.basic_publish(LOG, 'ignored.%d' % number, b'line %d' % number)
    for _, collector in subscribers:
        collector.wait(3)
        say([(method.exchange, method.routing_key, body.decode())
             for method, _, body in collector.got])
    first, collector = subscribers[0]
    collector.channel.queue_unbind(first, LOG)
    channel.basic_publish(LOG, '', b'after unbind')
    say(subscribers[1][1].wait(4)[3:], subscribers[2][1].wait(4)[3:], collector.wait(3)[3:])
    for queue, collector in subscribers:
        collector.channel.connection.close()
        try:
            publisher.channel().queue_declare(queue, passive=True)
        except pika.exceptions.ChannelClosedByBroker as error:
            say('after its connection:', error.reply_code, error.reply_text)
    channel.exchange_delete(LOG)
    publisher.close()


def exchange_to_exchange():
    connection = connect()
    channel = connection.channel()
    for name, kind in (('in', 'topic'), ('mid', 'fanout'), ('out', 'direct')):
        fresh_exchange(channel, 'interop.pika.e2e.' + name, kind)
    one = fresh_queue(channel, 'interop.pika.e2e.one')
    two = fresh_queue(channel, 'interop.pika.e2e.two')
    channel.exchange_bind('interop.pika.e2e.mid', 'interop.pika.e2e.in', 'hare.#')
    channel.exchange_bind('interop.pika.e2e.out', 'interop.pika.e2e.mid')
    channel.exchange_bind('interop.pika.e2e.in', 'interop.pika.e2e.out', 'hare.brown')
    channel.queue_bind(one, 'interop.pika.e2e.in', 'hare.*')
    channel.queue_bind(one, 'interop.pika.e2e.mid')
    channel.queue_bind(two, 'interop.pika.e2e.out', 'hare.brown')
    for key in ('hare.brown', 'hare.white', 'fox.red'):
        channel.basic_publish('interop.pika.e2e.in', key, key.encode())
    say('one:', get_all(channel, one), 'two:', get_all(channel, two))
    channel.exchange_unbind('interop.pika.e2e.mid', 'interop.pika.e2e.in', 'hare.#')
    channel.basic_publish('interop.pika.e2e.in', 'hare.brown', b'unbound')
    say('one:', get_all(channel, one), 'two:', get_all(channel, two))
    for name in ('in', 'mid', 'out'):
        channel.exchange_delete('interop.pika.e2e.' + name)
    channel.queue_delete(one)
    channel.queue_delete(two)
    connection.close()


def alternate_exchange():
    connection = connect()
    channel = connection.channel()
    fresh_exchange(channel, 'interop.pika.rest', 'fanout')
    fresh_exchange(channel, 'interop.pika.main', 'direct',
                   arguments={'alternate-exchange': 'interop.pika.rest'})
    main = fresh_queue(channel, 'interop.pika.main.q')
    rest = fresh_queue(channel, 'interop.pika.rest.q')
    channel.queue_bind(main, 'interop.pika.main', 'known')
    channel.queue_bind(rest, 'interop.pika.rest')
    channel.basic_publish('interop.pika.main', 'known', b'a')
    channel.basic_publish('interop.pika.main', 'unknown', b'b')
    method, _, body = channel.basic_get(rest, auto_ack=True)
    say('alternate:', method.exchange, method.routing_key, body.decode())
    say('main:', get_all(channel, main))
    for name in ('interop.pika.main', 'interop.pika.rest'):
        channel.exchange_delete(name)
    channel.queue_delete(main)
    channel.queue_delete(rest)
    connection.close()


def carbon_copies():
    connection = connect()
    channel = connection.channel()
    queues = [fresh_queue(channel, 'interop.pika.cc.%d' % number) for number in range(4)]
    headers = {'CC': [queues[1], queues[0]], 'BCC': [queues[2]], 'kept': 'yes'}
    channel.basic_publish('', queues[0], b'copy', pika.BasicProperties(headers=headers))
    for number, queue in enumerate(queues):
        say(queue, counts(channel, queue, 1 if number < 3 else 0))
        method, properties, _ = channel.basic_get(queue, auto_ack=True)
        if method:
            say('  key', method.routing_key, 'headers', sorted(properties.headers.items()))
        channel.queue_delete(queue)
    connection.close()


if __name__ == '__main__':
    fanout()
    exchange_to_exchange()
    alternate_exchange()
    carbon_copies()
