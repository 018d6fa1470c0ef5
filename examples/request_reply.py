#!/usr/bin/python3
"""Request/reply: ask a service and wait for its answer, in two ways.

    request_reply.py

The request names the queue for the answer (reply_to) and carries a correlation id, which the
service copies, so that an answer that comes late is not taken for another's. The queue is either an
exclusive one, which you declare, or the direct reply-to: a name that stands for your channel,
with no queue behind it, quicker and never stored. The service cannot tell the difference.
Here the service is a thread with a connection of its own; in yours it is another program.
"""

import argparse
import sys
import threading
import time
import uuid

import pika

DIRECT = 'amq.rabbitmq.reply-to'


def connect(options):
    return pika.BlockingConnection(pika.URLParameters(options.uri))


def serve(options, requests):
    """Answer so many requests, then end. Acknowledged after the answer is sent, so none is lost."""
    connection = connect(options)
    channel = connection.channel()
    channel.basic_qos(prefetch_count=1)
    for method, properties, body in channel.consume(options.queue,
                                                    inactivity_timeout=options.wait):
        if method is None:
            break
        answer = b'%d squared is %d' % (int(body), int(body) ** 2)
        channel.basic_publish('', properties.reply_to, answer, pika.BasicProperties(
            correlation_id=properties.correlation_id))
        channel.basic_ack(method.delivery_tag)
        requests -= 1
        if not requests:
            break
    channel.cancel()
    connection.close()


class Client:
    """Asks one question at a time and waits for the answer to it."""

    def __init__(self, connection, service, direct):
        self.connection = connection
        self.service = service
        self.answers = {}
        self.channel = connection.channel()
        if direct:
            self.reply_to = DIRECT
        else:
            self.reply_to = self.channel.queue_declare('', exclusive=True).method.queue
        # The direct reply-to must be consumed before, and on the channel of, the first request.
        self.channel.basic_consume(self.reply_to, self._remember, auto_ack=True)

    def _remember(self, _channel, _method, properties, body):
        if properties.correlation_id in self.answers:
            self.answers[properties.correlation_id] = body

    def ask(self, question, wait_s):
        """Return the answer; raise if there is none in time."""
        correlation_id = str(uuid.uuid4())
        self.answers[correlation_id] = None
        self.channel.basic_publish('', self.service, question, pika.BasicProperties(
            reply_to=self.reply_to, correlation_id=correlation_id,
            expiration=str(int(wait_s * 1000))))        # nobody waits for it any longer
        deadline = time.monotonic() + wait_s
        while self.answers[correlation_id] is None and time.monotonic() < deadline:
            self.connection.process_data_events(time_limit=max(0, deadline - time.monotonic()))
        answer = self.answers.pop(correlation_id)
        if answer is None:
            raise TimeoutError('no answer from %s in %g s' % (self.service, wait_s))
        return answer


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--uri', default='amqp://guest:guest@localhost:5672/%2F')
    parser.add_argument('--queue', default='squares', help='where the service takes requests')
    parser.add_argument('--wait', type=float, default=5, help='seconds to wait for an answer')
    options = parser.parse_args()

    connection = connect(options)
    connection.channel().queue_declare(options.queue, durable=True)
    service = threading.Thread(target=serve, args=(options, 6))
    service.start()
    for way, direct in (('exclusive queue', False), ('direct reply-to', True)):
        client = Client(connection, options.queue, direct)
        for number in (3, 4, 5):
            answer = client.ask(b'%d' % number, options.wait)
            print('%s: %s' % (way, answer.decode()), flush=True)
    service.join()
    connection.close()


if __name__ == '__main__':
    try:
        main()
    except (pika.exceptions.AMQPError, OSError) as error:
        sys.exit('%s: %s' % (sys.argv[0], str(error) or repr(error)))
    except KeyboardInterrupt:
        sys.exit('%s: interrupted' % sys.argv[0])
