/*
 * confirm_channel.js - amqplib's confirm channel: a callback per publish, returns before confirms
 */
'use strict';

const { say, freshQueue, run } = require('./libclient');

const QUEUE = 'interop.node.confirm';
const COUNT = 300;

run(async (connection) => {
  const channel = await connection.createConfirmChannel();
  await freshQueue(channel, QUEUE, { durable: true });
  const events = [];
  channel.on('return', (message) => events.push(['returned', message.fields,
    message.content.toString(), message.properties.headers]));

  const confirmed = [];
  for (let number = 0; number < COUNT; number++) {
    const options = { persistent: number % 2 === 0 };
    channel.sendToQueue(QUEUE, Buffer.from(`${number}`), options, (error) => {
      if (error) say('refused', number);
      confirmed[number] = (confirmed[number] || 0) + 1;
    });
  }
  await channel.waitForConfirms();
  say('confirmed', confirmed.length, 'each once', confirmed.every((times) => times === 1));

  await new Promise((resolve) => {
    channel.publish('', 'interop.node.nobody', Buffer.from('mandatory'),
      { mandatory: true, headers: { h: 1 } }, (error) => {
        events.push(['confirmed', error]);
        resolve();
      });
  });
  await new Promise((resolve) => {
    channel.publish('amq.fanout', '', Buffer.from('not mandatory'), {}, (error) => {
      events.push(['confirmed', error]);
      resolve();
    });
  });
  for (const event of events) say(...event);
  say('deleted:', await channel.deleteQueue(QUEUE));
  await channel.close();
});
