#!/usr/bin/python3
"""Redrive: what lies in the dead-letter queue goes back to its work queue, and none gets lost.

    redrive.py                    replay what work_queue.py has set aside, once its bug is repaired

Each job is published, the broker confirms that it is safe, and only then is the dead one
acknowledged. If this program, its connection or the broker dies in between, the job is in both
queues: twice, never nowhere; its message id tells. A job that is published again counts its
attempts anew. No more is taken than was there at the start, so a job that fails again does not go
round for ever.
"""

import argparse
import sys

import pika


def without_history(properties):
    """The properties as they were published: without what the broker noted about the death."""
    headers = {name: value for name, value in (properties.headers or {}).items()
               if name not in ('x-death', 'x-delivery-count')
               and not name.startswith(('x-first-death-', 'x-last-death-'))}
    properties.headers = headers or None
    return properties


def reason(properties):
    """Why the job died, newest first: x-death has a row for each queue and reason."""
    deaths = (properties.headers or {}).get('x-death', [])
    return ', '.join('%s in %s' % (death['reason'], death['queue']) for death in deaths)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--uri', default='amqp://guest:guest@localhost:5672/%2F')
    parser.add_argument('--queue', default='jobs', help='the work queue; QUEUE.dead is emptied')
    options = parser.parse_args()

    connection = pika.BlockingConnection(pika.URLParameters(options.uri))
    channel = connection.channel()
    channel.confirm_delivery()
    dead = options.queue + '.dead'
    count = channel.queue_declare(dead, passive=True).method.message_count
    replayed = 0
    while replayed < count:
        method, properties, body = channel.basic_get(dead)
        if method is None:                      # someone else took the rest
            break
        why = reason(properties)
        # mandatory: without the work queue this raises, and the job stays in the dead-letter queue
        channel.basic_publish('', options.queue, body, without_history(properties),
                              mandatory=True)
        channel.basic_ack(method.delivery_tag)
        replayed += 1
        print('replayed %s (%s)' % (body.decode(), why), flush=True)
    print('%d of %d replayed' % (replayed, count), flush=True)
    connection.close()


if __name__ == '__main__':
    try:
        main()
    except (pika.exceptions.AMQPError, OSError) as error:
        sys.exit('%s: %s' % (sys.argv[0], str(error) or repr(error)))
    except KeyboardInterrupt:
        sys.exit('%s: interrupted' % sys.argv[0])
