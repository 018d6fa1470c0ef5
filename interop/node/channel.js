/*
 * channel.js - amqplib's plain channel: get, consume, prefetch, requeue, headers, cancel
 *
 * amqplib writes integer arguments and headers in the smallest type that fits (b, s, I, l), and
 * null when the broker cancels a consumer.
 */
'use strict';

const { say, until, freshQueue, drain, run } = require('./libclient');

const QUEUE = 'interop.node.channel';

async function headers(channel) {
  const sent = {
    tiny: -5, short: 300, int: 70000, long: 2 ** 40, negative: -(2 ** 40), fraction: 1.5,
    text: 'zając', yes: true, nothing: null, list: [1, 'two', { three: [3] }],
    bytes: Buffer.from([0, 255]),
    table: { nested: { deep: 'down' }, empty: {} }, time: { '!': 'timestamp', value: 1700000000 },
    float: { '!': 'float', value: 0.25 },
    decimal: { '!': 'decimal', value: { digits: 125, places: 2 } },
  };
  channel.sendToQueue(QUEUE, Buffer.from('headers'), {
    headers: sent, contentType: 'text/plain', contentEncoding: 'utf-8', persistent: true,
    priority: 3, correlationId: 'c', replyTo: 'r', expiration: 100000, messageId: 'm',
    timestamp: 1700000000, type: 't', userId: 'guest', appId: 'a', CC: ['interop.node.none'],
  });
  const message = await channel.get(QUEUE, { noAck: true });
  say(message.fields);
  for (const [name, value] of Object.entries(message.properties)) {
    if (name !== 'headers') say(name, value === undefined ? 'undefined' : value);
  }
  for (const [name, value] of Object.entries(message.properties.headers)) {
    say('header', name, value);
  }
}

async function prefetch(channel) {
  for (let number = 0; number < 6; number++) channel.sendToQueue(QUEUE, Buffer.from(`${number}`));
  await channel.prefetch(2);
  const got = [];
  const { consumerTag } = await channel.consume(QUEUE, (message) => got.push(message),
    { consumerTag: 'node' });
  await until(() => got.length === 2, 'two deliveries');
  await channel.checkExchange('amq.direct');
  say('prefetch 2:', got.map((message) => message.content.toString()));
  channel.ack(got[1], true);
  await until(() => got.length === 4, 'four deliveries');
  channel.nack(got[3], false, false);
  await until(() => got.length === 5, 'five deliveries');
  channel.reject(got[2], true);
  await until(() => got.length === 6, 'six deliveries');
  say('then:', got.slice(4).map((message) => [message.content.toString(),
    message.fields.redelivered]));
  await channel.cancel(consumerTag);
  channel.nackAll(true);
  say('left after nackAll:', await drain(channel, QUEUE));
}

async function recover(channel) {
  channel.sendToQueue(QUEUE, Buffer.from('again'));
  const got = [];
  const { consumerTag } = await channel.consume(QUEUE, (message) => got.push(message));
  say('consumer', consumerTag);
  await until(() => got.length === 1, 'a delivery');
  await channel.recover();
  await until(() => got.length === 2, 'its redelivery');
  say('recovered:', got.map((message) => [message.content.toString(), message.fields.redelivered]));
  channel.ackAll();
  await channel.cancel(consumerTag);
}

async function cancelled(connection, channel) {
  let end = false;
  await channel.consume(QUEUE, (message) => { end = message === null; });
  const other = await connection.createChannel();
  say('deleted:', await other.deleteQueue(QUEUE));
  await until(() => end, 'the cancel');
  say('consumer was called with null');
  await other.close();
}

run(async (connection) => {
  const channel = await connection.createChannel();
  await freshQueue(channel, QUEUE, { durable: true });
  say('again:', await channel.assertQueue(QUEUE, { durable: true }));
  await headers(channel);
  await prefetch(channel);
  await recover(channel);
  say('purged:', await channel.purgeQueue(QUEUE));
  say('get from an empty queue:', await channel.get(QUEUE));
  await cancelled(connection, channel);
  say('server-named:', await channel.assertQueue('', { exclusive: true }));
  await channel.close();
});
