"""pika's asynchronous connection: the whole life of a connection in callbacks.

Publishes in confirm mode and consumes at the same time on two channels, has a mandatory message
returned, cancels, provokes a channel exception and goes on with a new channel, then closes.
"""

import pika

from libclient import parameters, say

QUEUE = 'interop.pika.select'
COUNT = 200


class Scenario:
    """Each method is one step; it starts the next from the callback of its last answer."""

    def __init__(self):
        self.settled = set()    # publishes that have been confirmed, by number
        self.nacked = 0
        self.received = []
        self.returned = []
        self.consumer = self.publisher = None
        self.connection = pika.SelectConnection(
            parameters(client_properties={'connection_name': 'interop select'}),
            on_open_callback=self.opened, on_open_error_callback=self.failed,
            on_close_callback=self.closed)

    def run(self):
        self.connection.ioloop.call_later(30, self.give_up)
        self.connection.ioloop.start()

    def give_up(self):
        raise SystemExit('no end: %d confirmed, %d received' % (len(self.settled),
                                                                len(self.received)))

    def failed(self, _connection, error):
        raise SystemExit('cannot connect: %r' % error)

    def opened(self, connection):
        server = connection.server_properties
        say('product', server['product'])
        say('capabilities', *sorted(name for name, on in server['capabilities'].items() if on))
        say('version-like', all(part.isdigit() for part in server['version'].split('.')))
        say('tuned', connection.params.channel_max, connection.params.frame_max,
            connection.params.heartbeat)
        connection.channel(on_open_callback=self.consumer_open)

    def consumer_open(self, channel):
        self.consumer = channel
        channel.queue_delete(QUEUE, callback=lambda _: channel.queue_declare(
            QUEUE, durable=True, callback=self.declared))

    def declared(self, frame):
        say('declared', frame.method.queue, frame.method.message_count, frame.method.consumer_count)
        self.consumer.basic_qos(prefetch_count=17, callback=lambda _: self.consumer.basic_consume(
            QUEUE, self.deliver, consumer_tag='select', callback=self.consuming))

    def consuming(self, frame):
        say('consuming', frame.method.consumer_tag)
        self.connection.channel(on_open_callback=self.publisher_open)

    def publisher_open(self, channel):
        self.publisher = channel
        channel.add_on_return_callback(self.take_return)
        channel.confirm_delivery(self.confirm, callback=lambda _: self.publish())

    def publish(self):
        self.publisher.basic_publish('', 'interop.pika.nobody', b'unroutable', mandatory=True)
        for number in range(1, COUNT):
            self.publisher.basic_publish('', QUEUE, b'%d' % number,
                                         pika.BasicProperties(delivery_mode=1 + number % 2))

    def take_return(self, _channel, method, _properties, body):
        self.returned.append((method.reply_code, method.reply_text, body.decode(),
                              'before its confirm' if 1 not in self.settled else 'too late'))

    def confirm(self, frame):
        tag = frame.method.delivery_tag
        if isinstance(frame.method, pika.spec.Basic.Nack):
            self.nacked += 1
        self.settled.update(range(1, tag + 1) if frame.method.multiple else [tag])
        self.proceed()

    def deliver(self, channel, method, _properties, body):
        self.received.append(int(body))
        channel.basic_ack(method.delivery_tag)
        self.proceed()

    def proceed(self):
        if len(self.settled) == COUNT and len(self.received) == COUNT - 1:
            say('confirmed', len(self.settled), 'nacked', self.nacked)
            say('returned', self.returned)
            say('received in order', self.received == list(range(1, COUNT)))
            self.consumer.basic_cancel('select', callback=self.cancelled)

    def cancelled(self, frame):
        say('cancelled', frame.method.consumer_tag)
        self.publisher.add_on_close_callback(self.channel_closed)
        self.publisher.basic_publish('interop.pika.missing', '', b'x')

    def channel_closed(self, _channel, reason):
        say('channel closed', reason.reply_code, reason.reply_text)
        # pika forgets the closed channel only after this callback; then the number is free again
        self.connection.ioloop.call_later(0, lambda: self.connection.channel(
            channel_number=2, on_open_callback=self.reopened))

    def reopened(self, channel):
        say('channel', channel.channel_number, 'again')
        channel.queue_delete(QUEUE, callback=lambda frame: self.deleted(channel, frame))

    def deleted(self, channel, frame):
        say('deleted with', frame.method.message_count)
        channel.add_on_close_callback(lambda _channel, reason: self.connection.close())
        channel.close()

    def closed(self, connection, reason):
        say('connection closed', type(reason).__name__, reason.reply_code)
        connection.ioloop.stop()


if __name__ == '__main__':
    Scenario().run()
