"""Publisher confirms on a blocking channel: each publish waits for its own confirm.

pika raises UnroutableError when a mandatory message comes back, and NackError when the broker
refuses one; both depend on the return arriving before the confirm.
"""

import pika

from libclient import connect, counts, fresh_exchange, fresh_queue, say


def main():
    connection = connect()
    channel = connection.channel()
    queue = fresh_queue(channel, 'interop.pika.confirms', durable=True)
    exchange = fresh_exchange(channel, 'interop.pika.confirms.x', 'direct', durable=True)
    channel.queue_bind(queue, exchange, 'yes')
    channel.confirm_delivery()
    for mode in (1, 2):
        for number in range(5):
            channel.basic_publish(exchange, 'yes', b'%d' % number,
                                  pika.BasicProperties(delivery_mode=mode), mandatory=True)
    say('confirmed, queue has', counts(channel, queue, 10))
    channel.basic_publish(exchange, 'no', b'not mandatory')
    say('unroutable and not mandatory: confirmed')
    for target in (exchange, '', 'amq.fanout', 'amq.topic', 'amq.headers'):
        try:
            channel.basic_publish(target, 'no', b'mandatory ' + target.encode(),
                                  pika.BasicProperties(message_id='m', headers={'h': 1}),
                                  mandatory=True)
            say('no error for', repr(target))
        except pika.exceptions.UnroutableError as error:
            for message in error.messages:
                say('unroutable:', message.method.reply_code, message.method.reply_text,
                    repr(message.method.exchange), message.method.routing_key,
                    message.properties.message_id, message.properties.headers,
                    message.body.decode())
    channel.basic_publish(exchange, 'yes', b'after returns', mandatory=True)
    say('then', counts(channel, queue, 11))
    try:
        channel.basic_publish('interop.pika.missing', 'k', b'x')
        say('published to a missing exchange')
    except pika.exceptions.ChannelClosedByBroker as error:
        say('missing exchange:', error.reply_code, error.reply_text)
    returns_without_confirms(connection)
    channel = connection.channel()
    say('deleted with', channel.queue_delete(queue).method.message_count)
    channel.exchange_delete(exchange)
    connection.close()


def returns_without_confirms(connection):
    channel = connection.channel()
    returned = []
    channel.add_on_return_callback(
        lambda _channel, method, properties, body: returned.append(
            (method.reply_code, method.reply_text, method.exchange, method.routing_key, body)))
    channel.basic_publish('', 'interop.pika.nobody', b'1', mandatory=True)
    channel.basic_publish('', 'interop.pika.nobody', b'2')
    channel.basic_publish('', 'interop.pika.nobody', b'3', mandatory=True)
    channel.exchange_declare('amq.direct', passive=True)
    connection.process_data_events(time_limit=0)
    say('returned:', returned)


if __name__ == '__main__':
    main()
