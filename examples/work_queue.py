#!/usr/bin/python3
"""A work queue: jobs are shared out to workers, retried, and set aside after three attempts.

    work_queue.py publish         put ten jobs into the queue, each confirmed by the broker
    work_queue.py work            do jobs until none has come for two seconds; start several
    work_queue.py work --repaired the same, after "the bug" that makes every fifth job fail is gone

A job belongs to a worker until it is acknowledged. If the worker dies or gives the job back, the
queue hands it to the next one; x-delivery-limit ends that, and the job moves to the dead-letter
queue, where redrive.py finds it. A worker that dies after its work and before the acknowledgement
leaves a job that is done twice: let do_job() look at the message id where that matters.
"""

import argparse
import sys
import time

import pika


def declare(channel, queue):
    """The work queue and its dead-letter queue; whoever comes first makes them."""
    dead = queue + '.dead'
    channel.queue_declare(dead, durable=True, arguments={'x-queue-type': 'quorum'})
    channel.queue_declare(queue, durable=True, arguments={
        'x-queue-type': 'quorum',
        'x-delivery-limit': 2,                  # returned a third time, the job is dead ...
        'x-dead-letter-exchange': '',           # ... and goes, through the default exchange,
        'x-dead-letter-routing-key': dead})     # to this queue


def publish(channel, options):
    """Each basic_publish() returns when the job is safe; it raises if the broker cannot keep it."""
    channel.confirm_delivery()
    for number in range(1, options.jobs + 1):
        channel.basic_publish('', options.queue, b'job %d' % number, mandatory=True,
                              properties=pika.BasicProperties(delivery_mode=2,
                                                              message_id='job-%d' % number))
        print('published job %d' % number, flush=True)


def do_job(job, options):
    """The work itself: takes some time, and fails for every fifth job until that is repaired."""
    time.sleep(options.seconds)
    if int(job.split()[1]) % 5 == 0 and not options.repaired:
        raise ValueError('a number that I cannot work with')


def work(channel, options):
    """One job at a time: done and acknowledged, or failed and given back."""
    channel.basic_qos(prefetch_count=1)
    for method, properties, body in channel.consume(options.queue,
                                                    inactivity_timeout=options.idle):
        if method is None:                      # nothing came for a while
            break
        job = body.decode()
        attempt = (properties.headers or {}).get('x-delivery-count', 0) + 1
        print('started %s, attempt %d' % (job, attempt), flush=True)
        try:
            do_job(job, options)
        except ValueError as error:
            channel.basic_nack(method.delivery_tag, requeue=True)
            print('failed %s, attempt %d: %s' % (job, attempt, error), flush=True)
        else:
            channel.basic_ack(method.delivery_tag)
            print('done %s, attempt %d' % (job, attempt), flush=True)
    channel.cancel()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('action', choices=['publish', 'work'])
    parser.add_argument('--uri', default='amqp://guest:guest@localhost:5672/%2F')
    parser.add_argument('--queue', default='jobs')
    parser.add_argument('--jobs', type=int, default=10, help='how many to publish')
    parser.add_argument('--seconds', type=float, default=0.1, help='how long a job takes')
    parser.add_argument('--idle', type=float, default=2, help='stop after so long without a job')
    parser.add_argument('--repaired', action='store_true', help='no job fails any more')
    options = parser.parse_args()

    connection = pika.BlockingConnection(pika.URLParameters(options.uri))
    channel = connection.channel()
    declare(channel, options.queue)
    if options.action == 'publish':
        publish(channel, options)
    else:
        work(channel, options)
    connection.close()


if __name__ == '__main__':
    try:
        main()
    except (pika.exceptions.AMQPError, OSError) as error:
        sys.exit('%s: %s' % (sys.argv[0], str(error) or repr(error)))
    except KeyboardInterrupt:
        sys.exit('%s: interrupted' % sys.argv[0])
