/*
 * errors.js - channel and connection errors as amqplib's events and rejections show them
 *
 * The message that amqplib makes of a close names the operation, the code and the text, and user
 * code matches on it.
 */
'use strict';

const { amqp, url, say, freshQueue, freshExchange, failure, run } = require('./libclient');

const QUEUE = 'interop.node.errors';
const EXCHANGE = 'interop.node.errors.x';
const MISSING = 'interop.node.missing';

const CASES = {
  'check a missing queue': (channel) => channel.checkQueue(MISSING),
  'check a missing exchange': (channel) => channel.checkExchange(MISSING),
  'get from a missing queue': (channel) => channel.get(MISSING),
  'consume from a missing queue': (channel) => channel.consume(MISSING, () => {}),
  'durable differs': (channel) => channel.assertQueue(QUEUE, { durable: true }),
  'type differs': (channel) => channel.assertExchange(EXCHANGE, 'fanout', { durable: false }),
  'reserved name': (channel) => channel.assertQueue('amq.interop'),
  'in use': async (channel) => {
    await channel.consume(QUEUE, () => {});
    await channel.deleteQueue(QUEUE, { ifUnused: true });
  },
  'exclusive consumer': async (channel) => {
    await channel.consume(QUEUE, () => {}, { exclusive: true });
    await channel.consume(QUEUE, () => {});
  },
  'publish to a missing exchange': (channel) => channel.publish(MISSING, '', Buffer.from('x')),
  'ack of an unknown tag': (channel) => channel.ack({ fields: { deliveryTag: 42 } }),
  'expiration': (channel) => channel.sendToQueue(QUEUE, Buffer.from('x'), { expiration: 'soon' }),
  'user id': (channel) => channel.sendToQueue(QUEUE, Buffer.from('x'), { userId: 'bob' }),
};

async function channelError(connection, what, provoke) {
  const channel = await connection.createChannel();
  const failed = failure(channel);
  let rejected = 'nothing to wait for';
  try {
    await provoke(channel);
  } catch (error) {
    rejected = error.message;
  }
  const error = await failed;
  say(`${what}: code ${error.code}, class ${error.classId}, method ${error.methodId}`);
  say('  event:', error.message);
  say('  rejection:', rejected);
}

async function connectionError() {
  const connection = await amqp.connect(url());
  const failed = failure(connection);
  const channel = await connection.createChannel();
  await channel.consume(QUEUE, () => {}, { consumerTag: 'same' });
  channel.consume(QUEUE, () => {}, { consumerTag: 'same' }).catch(() => {});
  const error = await failed;
  say(`same consumer tag: code ${error.code}, ${error.message}`);
}

async function login(what, address) {
  try {
    await (await amqp.connect(address)).close();
    say(what, 'accepted');
  } catch (error) {
    say(`${what}: ${error.message}`);
  }
}

async function locked(connection) {
  const channel = await connection.createChannel();
  const { queue } = await channel.assertQueue(`${QUEUE}.mine`, { exclusive: true });
  const other = await amqp.connect(url());
  await channelError(other, 'exclusive elsewhere', (stranger) => stranger.checkQueue(queue));
  await other.close();
  await channel.close();
}

run(async (connection) => {
  const channel = await connection.createChannel();
  await freshQueue(channel, QUEUE);
  await freshExchange(channel, EXCHANGE, 'direct');
  for (const [what, provoke] of Object.entries(CASES)) {
    await channelError(connection, what, provoke);
  }
  await locked(connection);
  await connectionError();
  await login('wrong password', url('guest', 'wrong'));
  await login('unknown vhost', url('guest', 'guest', 'interop-none'));
  await channel.deleteQueue(QUEUE);
  await channel.deleteExchange(EXCHANGE);
  say('the first connection is still usable');
});
