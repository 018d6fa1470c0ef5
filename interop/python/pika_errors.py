"""The errors that clients and their users match on: level, code and text of each.

Every case has a connection or channel of its own, and the transcript says which of the two the
broker closed. Where RabbitMQ's versions disagree (amqp-0-9-1 reference, section 12) there is no
case here: those are in the behaviour tests.
"""

import pika

from libclient import connect, fresh_exchange, fresh_queue, parameters, say

QUEUE = 'interop.pika.errors'
EXCHANGE = 'interop.pika.errors.x'
INTERNAL = 'interop.pika.errors.internal'
EXCLUSIVE = 'interop.pika.errors.exclusive'
MISSING = 'interop.pika.missing'


def attempt(what, provoke):
    """Runs provoke(channel) on a new connection and reports how the broker answered."""
    connection = connect()
    channel = connection.channel()
    try:
        provoke(channel)
        channel.exchange_declare('amq.direct', passive=True)
        say('%s: accepted' % what)
    except pika.exceptions.ChannelClosedByBroker as error:
        alive = connection.channel().is_open
        say('%s: channel %d %s%s' % (what, error.reply_code, error.reply_text,
                                     '' if alive else ' and the connection is gone'))
    except pika.exceptions.ConnectionClosedByBroker as error:
        say('%s: connection %d %s' % (what, error.reply_code, error.reply_text))
    if connection.is_open:
        connection.close()


def publish(exchange=QUEUE, key='k', **properties):
    return lambda channel: channel.basic_publish(exchange, key, b'x',
                                                 pika.BasicProperties(**properties))


def consume(queue, **options):
    return lambda channel: channel.basic_consume(queue, print, **options)


def declare(queue, **options):
    return lambda channel: channel.queue_declare(queue, **options)


def declare_exchange(name, *kind, **options):
    return lambda channel: channel.exchange_declare(name, *kind, **options)


def in_use(channel):
    channel.basic_consume(QUEUE, print)
    channel.queue_delete(QUEUE, if_unused=True)


def not_empty(channel):
    channel.basic_publish('', QUEUE, b'x')
    channel.queue_delete(QUEUE, if_empty=True)


def second_ack(channel):
    tag = channel.basic_get(QUEUE)[0].delivery_tag
    channel.basic_ack(tag)
    channel.basic_ack(tag)


def ack_without_ack(channel):
    channel.basic_publish('', QUEUE, b'x')
    channel.basic_ack(channel.basic_get(QUEUE, auto_ack=True)[0].delivery_tag)


def bind(destination, source, **arguments):
    return lambda channel: channel.queue_bind(destination, source, 'k', arguments=arguments)


def same_tag(channel):
    channel.basic_consume(QUEUE, print, consumer_tag='same')
    del channel._consumer_infos['same']  # pika itself would refuse the second
    channel._impl._consumers.pop('same')
    channel.basic_consume(QUEUE, print, consumer_tag='same')


def exclusive_consumer(channel):
    channel.basic_consume(QUEUE, print, exclusive=True)
    channel.connection.channel().basic_consume(QUEUE, print)


def exclusive_late(channel):
    channel.basic_consume(QUEUE, print)
    channel.basic_consume(QUEUE, print, exclusive=True)


def bound_exchange(channel):
    channel.queue_bind(QUEUE, EXCHANGE, 'k')
    channel.exchange_delete(EXCHANGE, if_unused=True)


def confirm_then_tx(channel):
    channel.confirm_delivery()
    channel.tx_select()


def tx_then_confirm(channel):
    channel.tx_select()
    channel.confirm_delivery()


CASES = [
    ('passive queue', declare(MISSING, passive=True)),
    ('passive exchange', declare_exchange(MISSING, passive=True)),
    ('get', lambda channel: channel.basic_get(MISSING)),
    ('consume', consume(MISSING)),
    ('purge', lambda channel: channel.queue_purge(MISSING)),
    ('delete a missing queue', lambda channel: channel.queue_delete(MISSING)),
    ('delete a missing exchange', lambda channel: channel.exchange_delete(MISSING)),
    ('publish', publish(MISSING)),
    ('bind a missing queue', bind(MISSING, EXCHANGE)),
    ('bind to a missing exchange', bind(QUEUE, MISSING)),
    ('bind both missing', bind(MISSING, MISSING)),
    ('unbind what is not bound', lambda channel: channel.queue_unbind(QUEUE, EXCHANGE, 'none')),
    ('bind to the default exchange', bind(QUEUE, '')),
    ('no queue declared yet', lambda channel: channel.queue_purge('')),
    ('durable differs', declare(QUEUE, durable=True)),
    ('auto-delete differs', declare(QUEUE, auto_delete=True)),
    ('exclusive differs', declare(QUEUE, exclusive=True)),
    ('exchange type differs', declare_exchange(EXCHANGE, 'fanout')),
    ('exchange durable differs', declare_exchange(EXCHANGE, 'direct', durable=True)),
    ('exchange auto-delete differs', declare_exchange(EXCHANGE, 'direct', auto_delete=True)),
    ('exchange internal differs', declare_exchange(EXCHANGE, 'direct', internal=True)),
    ('alternate exchange differs', declare_exchange(
        EXCHANGE, 'direct', arguments={'alternate-exchange': 'elsewhere'})),
    ('alternate exchange of a wrong type', declare_exchange(
        MISSING, 'direct', arguments={'alternate-exchange': 7})),
    ('same again', declare_exchange(EXCHANGE, 'direct')),
    ('reserved queue name', declare('amq.interop')),
    ('reserved queue name, passive', declare('amq.interop', passive=True)),
    ('reserved exchange name', declare_exchange('amq.interop', 'direct')),
    ('predeclared exchange', declare_exchange('amq.topic', 'topic', durable=True)),
    ('declare the default exchange', declare_exchange('', 'direct')),
    ('delete the default exchange', lambda channel: channel.exchange_delete('')),
    ('delete a system exchange', lambda channel: channel.exchange_delete('amq.fanout')),
    ('exchange in use', bound_exchange),
    ('internal exchange', publish(INTERNAL)),
    ('queue in use', in_use),
    ('queue not empty', not_empty),
    ('locked: declare', declare(EXCLUSIVE, exclusive=True)),
    ('locked: passive', declare(EXCLUSIVE, passive=True)),
    ('locked: consume', consume(EXCLUSIVE)),
    ('locked: get', lambda channel: channel.basic_get(EXCLUSIVE)),
    ('locked: purge', lambda channel: channel.queue_purge(EXCLUSIVE)),
    ('locked: delete', lambda channel: channel.queue_delete(EXCLUSIVE)),
    ('locked: bind', bind(EXCLUSIVE, EXCHANGE)),
    ('exclusive consumer exists', exclusive_consumer),
    ('exclusive consumer too late', exclusive_late),
    ('priority of a wrong type', consume(QUEUE, arguments={'x-priority': 'high'})),
    ('consumer tag twice', same_tag),
    ('cancel an unknown tag', lambda channel: channel._impl.basic_cancel('unknown')),
    ('unknown tag', lambda channel: channel.basic_ack(99)),
    ('unknown tag, nack', lambda channel: channel.basic_nack(99)),
    ('unknown tag, reject', lambda channel: channel.basic_reject(99)),
    ('unknown tag, multiple', lambda channel: channel.basic_ack(99, multiple=True)),
    ('all of nothing', lambda channel: channel.basic_ack(0, multiple=True)),
    ('acknowledged twice', second_ack),
    ('acknowledged without need', ack_without_ack),
    ('x-match of a wrong value', bind(QUEUE, 'amq.headers', **{'x-match': 'foo'})),
    ('x-match of a wrong type', bind(QUEUE, 'amq.headers', **{'x-match': 4})),
    ('expiration not a number', publish('', 'k', expiration='abc')),
    ('expiration with a unit', publish('', 'k', expiration='10x')),
    ('expiration negative', publish('', 'k', expiration='-1')),
    ('user-id of another', publish('', 'k', user_id='bob')),
    ('user-id of one\'s own', publish('', 'k', user_id='guest')),
    ('CC not a list', publish('', 'k', headers={'CC': 'one'})),
    ('BCC not a list', publish('', 'k', headers={'BCC': 'one'})),
    ('reply-to without a consumer', publish('', 'k', reply_to='amq.rabbitmq.reply-to')),
    ('commit without tx', lambda channel: channel.tx_commit()),
    ('rollback without tx', lambda channel: channel.tx_rollback()),
    ('confirm, then tx', confirm_then_tx),
    ('tx, then confirm', tx_then_confirm),
    ('prefetch size', lambda channel: channel.basic_qos(prefetch_size=10)),
    ('recover without requeue', lambda channel: channel.basic_recover(requeue=False)),
    ('flow on', lambda channel: channel.flow(True)),
]


def logins():
    wrong = pika.PlainCredentials('guest', 'wrong')
    for what, changes in (('wrong password', {'credentials': wrong}),
                          ('unknown vhost', {'virtual_host': 'interop-none'}),
                          ('empty vhost', {'virtual_host': ''})):
        try:
            pika.BlockingConnection(parameters(**changes)).close()
            say(what, 'accepted')
        except pika.exceptions.ProbableAuthenticationError as error:
            say('%s: %s %s' % (what, type(error).__name__, error.args[0]))
        except pika.exceptions.ConnectionClosedByBroker as error:
            say('%s: %s %d %s' % (what, type(error).__name__, error.reply_code, error.reply_text))
        except pika.exceptions.AMQPConnectionError as error:
            say('%s: %s %s' % (what, type(error).__name__, error.args))


def main():
    connection = connect()
    channel = connection.channel()
    fresh_queue(channel, QUEUE)
    fresh_exchange(channel, EXCHANGE, 'direct')
    fresh_exchange(channel, INTERNAL, 'fanout', internal=True)
    channel.queue_declare(EXCLUSIVE, exclusive=True)
    for what, provoke in CASES:
        attempt(what, provoke)
    logins()
    channel.queue_delete(QUEUE)
    channel.exchange_delete(EXCHANGE)
    channel.exchange_delete(INTERNAL)
    connection.close()


if __name__ == '__main__':
    main()
