"""Request/reply: correlation ids over an exclusive reply queue, and the direct reply-to.

The server is a thread with a connection of its own. Requests are sent all at once and answered in
reverse, so that only correlation ids can put replies and requests together.
"""

import threading

import pika

from libclient import connect, counts, fresh_queue, say, Collector

REQUESTS = 'interop.pika.rpc'
COUNT = 5
DIRECT = 'amq.rabbitmq.reply-to'


def serve(ready):
    """Collects COUNT requests, answers them in reverse; twice, then ends."""
    connection = connect()
    channel = connection.channel()
    requests = []
    rounds = [0]

    def collect(_channel, method, properties, body):
        channel.basic_ack(method.delivery_tag)
        requests.append((properties, body))
        if len(requests) < COUNT:
            return
        for asked, number in reversed(requests):
            answer = b'%d squared is %d' % (int(number), int(number) ** 2)
            channel.basic_publish('', asked.reply_to, answer,
                                  pika.BasicProperties(correlation_id=asked.correlation_id))
        requests.clear()
        rounds[0] += 1
        if rounds[0] == 2:
            channel.stop_consuming()

    channel.basic_consume(REQUESTS, collect)
    ready.set()
    channel.start_consuming()
    connection.close()


def ask(channel, reply_to):
    for number in range(COUNT):
        channel.basic_publish('', REQUESTS, b'%d' % number,
                              pika.BasicProperties(reply_to=reply_to,
                                                   correlation_id='request-%d' % number))


def report(replies):
    replies.wait(COUNT)
    for method, properties, body in replies.got:
        say('exchange %r,' % method.exchange, properties.correlation_id + ':', body.decode())


def main():
    connection = connect()
    channel = connection.channel()
    fresh_queue(channel, REQUESTS)
    ready = threading.Event()
    server = threading.Thread(target=serve, args=(ready,), daemon=True)
    server.start()
    ready.wait(15)

    queue = channel.queue_declare('', exclusive=True).method.queue
    say('reply queue', queue)
    replies = Collector(channel, queue, auto_ack=True)
    say('consumer', replies.tag[:4])
    ask(channel, queue)
    report(replies)

    direct = connection.channel()
    replies = Collector(direct, DIRECT, auto_ack=True)
    ask(direct, DIRECT)
    report(replies)
    server.join(15)
    say('server ended:', not server.is_alive())

    rewritten = connection.channel()
    Collector(rewritten, DIRECT, auto_ack=True)
    ask(rewritten, DIRECT)
    watcher = connection.channel()
    say('waiting:', counts(watcher, REQUESTS, COUNT))
    _, properties, _ = watcher.basic_get(REQUESTS, auto_ack=True)
    token = properties.reply_to
    say('reply-to became', token)
    alive = watcher.queue_declare(token, passive=True).method
    say('declared:', alive.queue, alive.message_count, 'ready', alive.consumer_count, 'consumer')
    rewritten.close()
    try:
        watcher.queue_declare(token, passive=True)
    except pika.exceptions.ChannelClosedByBroker as error:
        say('requester gone:', error.reply_code, error.reply_text)
    errors(connection)
    channel.queue_delete(REQUESTS)
    connection.close()


def errors(connection):
    def refused(what, provoke):
        channel = connection.channel()
        try:
            provoke(channel)
            channel.exchange_declare('amq.direct', passive=True)
            say(what + ': accepted')
        except pika.exceptions.ChannelClosedByBroker as error:
            say(what + ':', error.reply_code, error.reply_text)

    refused('with acknowledgements', lambda channel: Collector(channel, DIRECT))
    refused('without a consumer', lambda channel: ask(channel, DIRECT))
    refused('twice', lambda channel: [Collector(channel, DIRECT, auto_ack=True) for _ in '12'])


if __name__ == '__main__':
    main()
