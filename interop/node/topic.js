/*
 * topic.js - publish/subscribe: subscribers of a topic and a headers exchange, bound and unbound
 */
'use strict';

const { say, until, freshExchange, run } = require('./libclient');

const LOGS = 'interop.node.logs';
const PATTERNS = ['kern.*', '*.critical', '#', 'kern.critical.#', 'kern', ''];
const KEYS = ['kern.critical', 'kern.info', 'auth.critical', 'kern.critical.disk', 'kern', ''];

async function topics(channel) {
  await freshExchange(channel, LOGS, 'topic');
  const got = PATTERNS.map(() => []);
  let total = 0;
  const queues = [];
  for (const [index, pattern] of PATTERNS.entries()) {
    const { queue } = await channel.assertQueue('', { exclusive: true });
    queues.push(queue);
    await channel.bindQueue(queue, LOGS, pattern);
    await channel.consume(queue, (message) => {
      got[index].push(message.fields.routingKey);
      total += 1;
    }, { noAck: true });
  }
  for (const key of KEYS) channel.publish(LOGS, key, Buffer.from(key));
  await until(() => total === 14, 'all deliveries');
  await channel.checkExchange(LOGS);
  PATTERNS.forEach((pattern, index) => say('topic', `'${pattern}':`, got[index]));
  await channel.unbindQueue(queues[2], LOGS, '#');
  channel.publish(LOGS, 'kern.info', Buffer.from('x'));
  await until(() => got[0].length === 3, 'one more');
  await channel.checkExchange(LOGS);
  say('unbound:', got[2].length, 'still bound:', got[0].length);
}

async function headers(channel) {
  await freshExchange(channel, `${LOGS}.headers`, 'headers');
  await freshExchange(channel, `${LOGS}.all`, 'fanout');
  await channel.bindExchange(`${LOGS}.headers`, `${LOGS}.all`, '');
  const got = {};
  for (const [name, match] of Object.entries({
    all: { 'x-match': 'all', level: 3, kind: 'a' }, any: { 'x-match': 'any', level: 3, kind: 'a' },
    wide: { 'x-match': 'all', level: 300000 },
  })) {
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, `${LOGS}.headers`, '', match);
    got[name] = [];
    await channel.consume(queue, (message) => got[name].push(message.content.toString()),
      { noAck: true });
  }
  const send = (body, table) => channel.publish(`${LOGS}.all`, '', Buffer.from(body),
    { headers: table });
  send('both', { level: 3, kind: 'a' });
  send('level', { level: 3 });
  send('text', { level: '3' });
  send('large', { level: 300000 });
  await until(() => got.all.length + got.any.length + got.wide.length >= 4, 'headers deliveries');
  await channel.checkExchange(LOGS);
  say('headers:', got);
}

run(async (connection) => {
  const channel = await connection.createChannel();
  await topics(channel);
  await headers(channel);
  for (const name of ['', '.headers', '.all']) await channel.deleteExchange(LOGS + name);
  await channel.close();
});
