"""Consumers: prefetch of both kinds, round robin, priorities, exclusivity, cancelling, requeueing.

Where two consumers share a queue, the transcript shows what each one holds, not the order in which
frames of different channels came in.
"""

import pika

from libclient import connect, counts, fresh_queue, get_all, say, wait_until, Collector

QUEUE = 'interop.pika.consumers'


def fill(connection, count):
    """The queue with messages 0..count-1, all of them in it and nothing else."""
    channel = connection.channel()
    fresh_queue(channel, QUEUE)
    channel.confirm_delivery()
    for number in range(count):
        channel.basic_publish('', QUEUE, b'%d' % number)
    channel.close()


def prefetch_per_consumer(connection):
    fill(connection, 10)
    channel = connection.channel()
    channel.basic_qos(prefetch_count=2)
    first = Collector(channel, QUEUE)
    say('prefetch 2:', first.wait(2))
    channel.basic_qos(prefetch_count=3)
    second = Collector(channel, QUEUE)
    say('second with 3:', second.wait(3), 'first still:', first.bodies())
    channel.basic_ack(first.tags()[0])
    say('first after one ack:', first.wait(3))
    channel.basic_ack(second.tags()[-1], multiple=True)
    first.settle()
    wait_until(lambda: len(first.got) + len(second.got) == 10, 'the rest', connection)
    say('then all:', sorted(first.bodies() + second.bodies()))
    channel.close()


def prefetch_per_channel(connection):
    fill(connection, 10)
    channel = connection.channel()
    channel.basic_qos(prefetch_count=2)
    channel.basic_qos(prefetch_count=3, global_qos=True)
    first = Collector(channel, QUEUE)
    say('per consumer 2, per channel 3: first', first.wait(2))
    second = Collector(channel, QUEUE)
    say('second', second.wait(1))
    channel.basic_qos(prefetch_count=0, global_qos=True)
    say('channel limit lifted: second', second.wait(2), 'first', first.bodies())
    unlimited = Collector(channel, QUEUE, auto_ack=True)
    say('without acknowledgements:', unlimited.wait(6))
    channel.close()


def round_robin(connection):
    fill(connection, 0)
    collectors = [Collector(connection.channel(), QUEUE, auto_ack=True) for _ in range(3)]
    publisher = connection.channel()
    for number in range(9):
        publisher.basic_publish('', QUEUE, b'%d' % number)
    wait_until(lambda: sum(len(one.got) for one in collectors) == 9, 'nine', connection)
    say('round robin:', *[one.bodies() for one in collectors])
    collectors[1].channel.basic_cancel(collectors[1].tag)
    for number in range(9, 13):
        publisher.basic_publish('', QUEUE, b'%d' % number)
    wait_until(lambda: sum(len(one.got) for one in collectors) == 13, 'thirteen', connection)
    say('without the second:', *[one.bodies() for one in collectors])
    for one in collectors:
        one.channel.close()
    publisher.close()


def priorities(connection):
    fill(connection, 0)
    channels = [connection.channel() for _ in range(3)]
    for channel in channels:
        channel.basic_qos(prefetch_count=2)
    low = Collector(channels[0], QUEUE, arguments={'x-priority': -1})
    high = Collector(channels[1], QUEUE, arguments={'x-priority': 10})
    normal = Collector(channels[2], QUEUE)
    publisher = connection.channel()
    for number in range(7):
        publisher.basic_publish('', QUEUE, b'%d' % number)
    low.wait(2)
    say('high', high.wait(2), 'normal', normal.wait(2), 'low', low.bodies())
    high.channel.basic_ack(high.tags()[0])
    say('high after an ack', high.wait(3))
    for channel in channels + [publisher]:
        channel.close()


def requeue(connection):
    fill(connection, 5)
    channel = connection.channel()
    for number in range(3):
        channel.basic_get(QUEUE)
    channel.basic_reject(2, requeue=True)
    channel.basic_nack(1, requeue=True)
    channel.basic_reject(3, requeue=False)
    order = []
    for _ in range(4):
        method, _, body = channel.basic_get(QUEUE)
        order.append((method.delivery_tag, body.decode(), method.redelivered))
    say('after rejects:', order)
    channel.basic_nack(6, multiple=True, requeue=True)
    say('nack multiple to 6, left:', counts(channel, QUEUE, 3))
    consumer = Collector(channel, QUEUE)
    consumer.wait(3)
    say('redelivered:', [(method.delivery_tag, body.decode(), method.redelivered)
                         for method, _, body in consumer.got])
    channel.basic_nack(0, multiple=True, requeue=False)
    channel.basic_cancel(consumer.tag)
    say('nack of all without requeue, left:', counts(channel, QUEUE, 0))
    channel.close()


def recover(connection):
    fill(connection, 4)
    channel = connection.channel()
    consumer = Collector(channel, QUEUE)
    consumer.wait(4)
    channel.basic_ack(2)
    channel.basic_recover(requeue=True)
    consumer.wait(7)
    say('recovered:', [(method.delivery_tag, body.decode(), method.redelivered)
                       for method, _, body in consumer.got[4:]])
    channel.basic_cancel(consumer.tag)
    channel.basic_ack(5)
    other = connection.channel()
    say('cancelled, still unacknowledged:', counts(other, QUEUE, 0))
    channel.close()
    say('channel closed:', counts(other, QUEUE, 2), get_all(other, QUEUE))
    other.close()


def cancel_notification(connection):
    fill(connection, 2)
    channel = connection.channel()
    consumer = Collector(channel, QUEUE, consumer_tag='watched')
    consumer.wait(2)
    other = connection.channel()
    say('deleted with', other.queue_delete(QUEUE).method.message_count, 'ready')
    wait_until(lambda: consumer.cancelled, 'the cancel', connection)
    say('cancelled by the broker:', consumer.cancelled)
    channel.basic_ack(1)
    channel.basic_ack(2)
    consumer.settle()
    say('late acks accepted:', channel.is_open)
    other.close()
    channel.close()


def exclusive(connection):
    fill(connection, 2)
    channel = connection.channel()
    owner = Collector(channel, QUEUE, exclusive=True)
    owner.wait(2)
    try:
        Collector(connection.channel(), QUEUE)
    except pika.exceptions.ChannelClosedByBroker as error:
        say('second consumer:', error.reply_code, error.reply_text)
    channel.basic_nack(2, requeue=False)
    channel.basic_cancel(owner.tag)
    second = Collector(channel, QUEUE, exclusive=True)
    second.settle()
    say('after cancel:', second.bodies(), counts(channel, QUEUE, 0, 1))
    channel.close()


def auto_delete(connection):
    channel = connection.channel()
    channel.queue_declare(QUEUE + '.auto', auto_delete=True)
    channel.basic_publish('', QUEUE + '.auto', b'x')
    say('got without consuming:', get_all(channel, QUEUE + '.auto'), counts(
        channel, QUEUE + '.auto', 0))
    consumer = Collector(channel, QUEUE + '.auto')
    channel.basic_cancel(consumer.tag)
    try:
        channel.queue_declare(QUEUE + '.auto', passive=True)
    except pika.exceptions.ChannelClosedByBroker as error:
        say('after its last consumer:', error.reply_code, error.reply_text)


def queue_names(connection):
    channel = connection.channel()
    named = channel.queue_declare('', exclusive=True).method.queue
    say('server-named:', named)
    channel.basic_publish('', named, b'x')
    say('last declared is meant by an empty name:', get_all(channel, ''),
        channel.queue_purge('').method.message_count)
    other = connect()
    try:
        other.channel().queue_declare(named, passive=True)
    except pika.exceptions.ChannelClosedByBroker as error:
        say('elsewhere:', error.reply_code, error.reply_text)
    other.close()
    say('on another channel:', counts(connection.channel(), named, 0))
    longest = channel.queue_declare('interop.pika.' + 'x' * 242, exclusive=True).method.queue
    say('longest name:', len(longest))


if __name__ == '__main__':
    with connect() as one:
        for scenario in (prefetch_per_consumer, prefetch_per_channel, round_robin, priorities,
                         requeue, recover, cancel_notification, exclusive, auto_delete,
                         queue_names):
            say('--', scenario.__name__)
            scenario(one)
        one.channel().queue_delete(QUEUE)
