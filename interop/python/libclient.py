"""What every pika program of this folder needs: connecting, clean names, stable output.

The programs print transcripts that are compared with checked-in ones, so nothing that depends on
time or chance may be printed: stable() replaces names that the broker generates, and deliveries are
printed in an order that AMQP promises or not in order at all.
"""

import os
import re
import sys
import time

import pika

PORT = int(os.environ['AMQP_PORT'])
WAIT_S = 15


def parameters(**changes):
    """Connection parameters for the broker under test: guest, vhost "/", no heartbeat."""
    settings = dict(host='127.0.0.1', port=PORT, heartbeat=0, blocked_connection_timeout=WAIT_S,
                    socket_timeout=WAIT_S, connection_attempts=1)
    settings.update(changes)
    return pika.ConnectionParameters(**settings)


def connect(**changes):
    return pika.BlockingConnection(parameters(**changes))


def stable(text):
    """The text without the random part of generated names."""
    text = re.sub(r'amq\.gen-[A-Za-z0-9_-]{22}', 'amq.gen-GENERATED', str(text))
    text = re.sub(r'amq\.ctag-[A-Za-z0-9_-]{22}', 'amq.ctag-GENERATED', text)
    return re.sub(r'amq\.rabbitmq\.reply-to\.[^\s\',)]+', 'amq.rabbitmq.reply-to.TOKEN', text)


def say(*words):
    print(*[stable(word) for word in words], flush=True)


def fresh_queue(channel, name, **flags):
    """Declares an empty queue, whatever an earlier run left behind."""
    channel.queue_delete(name)
    channel.queue_declare(name, **flags)
    return name


def fresh_exchange(channel, name, kind, **flags):
    channel.exchange_delete(name)
    channel.exchange_declare(name, kind, **flags)
    return name


def get_all(channel, queue):
    """Takes every ready message and returns the bodies in order."""
    bodies = []
    while True:
        method, _, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return bodies
        bodies.append(body.decode())


def counts(channel, queue, ready, consumers=0):
    """'R ready, C consumers' of a queue, once that is as expected or, failing that, as it stays.

    RabbitMQ answers this question ahead of messages that are still on their way into the queue, so
    the first answer says little.
    """
    deadline = time.monotonic() + WAIT_S
    while True:
        answer = channel.queue_declare(queue, passive=True).method
        seen = (answer.message_count, answer.consumer_count)
        if seen == (ready, consumers) or time.monotonic() > deadline:
            return '%d ready, %d consumers' % seen
        time.sleep(0.02)


def wait_until(condition, what, connection=None):
    """Processes events until the condition holds; ends the program if it does not within bounds."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > deadline:
            sys.exit('waited %d s for %s' % (WAIT_S, what))
        if connection is not None:
            connection.process_data_events(time_limit=0.05)
        else:
            time.sleep(0.02)


class Collector:
    """A consumer that remembers what it was sent, for one blocking channel."""

    def __init__(self, channel, queue, auto_ack=False, **options):
        self.channel = channel
        self.got = []
        self.cancelled = []
        channel.add_on_cancel_callback(self._cancelled)
        self.tag = channel.basic_consume(queue, self._deliver, auto_ack=auto_ack, **options)

    def _deliver(self, _channel, method, properties, body):
        self.got.append((method, properties, body))

    def _cancelled(self, frame):
        self.cancelled.append(frame.method.consumer_tag)

    def bodies(self):
        return [body.decode() for _, _, body in self.got]

    def tags(self):
        return [method.delivery_tag for method, _, _ in self.got]

    def wait(self, count):
        """Waits for count deliveries in all, then asks the broker something to see that no more
        were on the way, and returns the bodies."""
        wait_until(lambda: len(self.got) >= count, '%d deliveries, have %d' % (count,
                   len(self.got)), self.channel.connection)
        self.settle()
        return self.bodies()

    def settle(self):
        """A round trip on the channel: what the broker sent before its answer has arrived."""
        self.channel.exchange_declare('amq.direct', passive=True)
        self.channel.connection.process_data_events(time_limit=0)
