#!/usr/bin/python3
"""Publish/subscribe: every subscriber gets its own copy, of everything or of what it asked for.

    publish_subscribe.py

A publisher knows an exchange and no queue; each subscriber has a queue of its own, bound to the
exchange. A fanout exchange copies each message to all of them. A topic exchange compares the words
of the routing key with what the subscriber bound: "*" stands for one word, "#" for any number.
Here one program plays all the parts; in yours, each is a program of its own.
"""

import argparse
import sys

import pika


def subscribe(channel, exchange, binding_key=''):
    """A queue that only this connection may use and that goes away with it."""
    queue = channel.queue_declare('', exclusive=True).method.queue
    channel.queue_bind(queue, exchange, binding_key)
    return queue


def receive(channel, who, queue, idle):
    """Print what one subscriber gets, until nothing more comes."""
    for method, _, body in channel.consume(queue, auto_ack=True, inactivity_timeout=idle):
        if method is None:
            break
        print('%s got %s' % (who, body.decode()), flush=True)
    channel.cancel()


def publish(channel, exchange, routing_key, text):
    """Without a subscriber the message is gone, which is what publish/subscribe means."""
    channel.basic_publish(exchange, routing_key, text.encode())
    print('published %s' % text, flush=True)


def fanout(channel, exchange, idle):
    """Everyone gets everything."""
    channel.exchange_declare(exchange, 'fanout', durable=True)
    subscribers = {who: subscribe(channel, exchange) for who in ('screen', 'logbook')}
    publish(channel, exchange, '', 'doors open')
    publish(channel, exchange, '', 'doors close')
    for who, queue in subscribers.items():
        receive(channel, who, queue, idle)


def topic(channel, exchange, idle):
    """Everyone gets what fits its binding key."""
    channel.exchange_declare(exchange, 'topic', durable=True)
    subscribers = {key: subscribe(channel, exchange, key)
                   for key in ('order.*.paid', 'order.berlin.#', '#')}
    for routing_key in ('order.berlin.paid', 'order.paris.paid', 'order.berlin.paid.late',
                        'stock.paris'):
        publish(channel, exchange, routing_key, routing_key)
    for key, queue in subscribers.items():
        receive(channel, key, queue, idle)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--uri', default='amqp://guest:guest@localhost:5672/%2F')
    parser.add_argument('--fanout', default='announcements', help='name of the fanout exchange')
    parser.add_argument('--topic', default='events', help='name of the topic exchange')
    parser.add_argument('--idle', type=float, default=1, help='stop after so long without news')
    options = parser.parse_args()

    connection = pika.BlockingConnection(pika.URLParameters(options.uri))
    channel = connection.channel()
    fanout(channel, options.fanout, options.idle)
    topic(channel, options.topic, options.idle)
    connection.close()


if __name__ == '__main__':
    try:
        main()
    except (pika.exceptions.AMQPError, OSError) as error:
        sys.exit('%s: %s' % (sys.argv[0], str(error) or repr(error)))
    except KeyboardInterrupt:
        sys.exit('%s: interrupted' % sys.argv[0])
