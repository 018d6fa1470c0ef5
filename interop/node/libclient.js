/*
 * libclient.js - what every amqplib program of this folder needs
 *
 * run() opens a connection, hands it to the scenario and closes it; whatever goes wrong ends the
 * process with status 1 and the reason on stderr. say() prints one line of the transcript, without
 * the random part of generated names.
 */
'use strict';

const amqp = require('amqplib');

const WAIT_MS = 15000;

function url(user = 'guest', password = 'guest', vhost = '%2F') {
  return `amqp://${user}:${password}@127.0.0.1:${process.env.AMQP_PORT}/${vhost}?heartbeat=0`;
}

function stable(text) {
  return text.replace(/amq\.(gen|ctag)-[A-Za-z0-9_-]{22}/g, 'amq.$1-GENERATED')
    .replace(/amq\.rabbitmq\.reply-to\.[^\s',")]+/g, 'amq.rabbitmq.reply-to.TOKEN');
}

function say(...words) {
  console.log(stable(words.map((word) => typeof word === 'string' ? word
    : JSON.stringify(word)).join(' ')));
}

/* A promise that is kept when the condition holds, and broken when it does not within bounds. */
function until(condition, what) {
  const deadline = Date.now() + WAIT_MS;
  return new Promise((resolve, reject) => {
    const look = () => {
      if (condition()) return resolve();
      if (Date.now() > deadline) return reject(new Error(`waited too long for ${what}`));
      return setTimeout(look, 10);
    };
    look();
  });
}

async function freshQueue(channel, name, options = {}) {
  await channel.deleteQueue(name);
  await channel.assertQueue(name, { durable: false, ...options });
  return name;
}

async function freshExchange(channel, name, type, options = {}) {
  await channel.deleteExchange(name);
  await channel.assertExchange(name, type, { durable: false, ...options });
  return name;
}

/* Takes all ready messages; the bodies in order. */
async function drain(channel, queue) {
  const bodies = [];
  for (;;) {
    const message = await channel.get(queue, { noAck: true });
    if (!message) return bodies;
    bodies.push(message.content.toString());
  }
}

/* A promise for the error event of a channel or connection. */
function failure(emitter) {
  return new Promise((resolve, reject) => {
    emitter.once('error', resolve);
    setTimeout(() => reject(new Error('no error event')), WAIT_MS).unref();
  });
}

function run(scenario) {
  amqp.connect(url()).then(async (connection) => {
    await scenario(connection);
    await connection.close();
  }).catch((error) => {
    console.error(error);
    process.exit(1);
  });
}

module.exports = { amqp, url, say, until, freshQueue, freshExchange, drain, failure, run };
