/*
 * rpc.js - request/reply over an exclusive queue and over the direct reply-to
 */
'use strict';

const { say, until, freshQueue, run } = require('./libclient');

const REQUESTS = 'interop.node.rpc';

function fibonacci(n) {
  let [a, b] = [0, 1];
  for (; n > 0; n--) [a, b] = [b, a + b];
  return a;
}

async function ask(channel, replyTo, consumeFrom) {
  const replies = new Map();
  await channel.consume(consumeFrom, (message) => {
    replies.set(message.properties.correlationId, message.content.toString());
  }, { noAck: true });
  for (const n of [5, 10, 20]) {
    channel.sendToQueue(REQUESTS, Buffer.from(`${n}`), { replyTo, correlationId: `fib-${n}` });
  }
  await until(() => replies.size === 3, 'the replies');
  say(replyTo, [...replies.entries()].sort());
}

run(async (connection) => {
  const server = await connection.createChannel();
  await freshQueue(server, REQUESTS);
  await server.consume(REQUESTS, (message) => {
    if (message === null) return; // the queue is gone
    server.sendToQueue(message.properties.replyTo,
      Buffer.from(`${fibonacci(Number(message.content.toString()))}`),
      { correlationId: message.properties.correlationId });
    server.ack(message);
  });

  const client = await connection.createChannel();
  const { queue } = await client.assertQueue('', { exclusive: true });
  await ask(client, queue, queue);
  const direct = await connection.createChannel();
  await ask(direct, 'amq.rabbitmq.reply-to', 'amq.rabbitmq.reply-to');
  await server.deleteQueue(REQUESTS);
});
