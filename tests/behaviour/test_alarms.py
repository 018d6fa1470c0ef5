#!/usr/bin/python3
"""test_alarms.py - publishers are blocked in time, and the alarm ends when its cause has gone

Each test starts a leveretd of its own with limits that are soon met. A sanitizer keeps freed memory
for itself, so it is told to keep little.
"""

import os
import re
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
os.environ['ASAN_OPTIONS'] = 'quarantine_size_mb=1:' + os.environ.get('ASAN_OPTIONS', '')
import leveret                                                              # noqa: E402
import rawamqp                                                              # noqa: E402
import run                                                                  # noqa: E402
from peer import elsewhere                                                  # noqa: E402

MIB = 1 << 20
LIMIT_BYTES = 300 * MIB
LOOK_BYTES = 16 * MIB       # allocated between two looks
MEMORY_LOW = {'vm_memory_high_watermark.absolute': LIMIT_BYTES,
              'vm_memory_high_watermark_paging_ratio': '0', 'queue_memory_limit': '0'}
DISK_LOW = {'disk_free_limit.absolute': '1000000GB'}
SET, CLEARED = 'memory resource limit alarm set', 'memory resource limit alarm cleared'
ENDED_S = 20                # within which the end of a blocked client is noticed: 12 s at most


def setup():
    """The limits of another broker are not ours to set."""
    if elsewhere():
        run.skip('sets limits of leveretd')


def send_until_blocked(raw, octets):
    """Write as long as the broker reads; the rest is lost with the connection."""
    def write():
        try:
            raw.send(octets)
        except OSError:
            pass
    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread


def test_memory_alarm_lets_no_more_pass_than_named():
    with leveret.open_broker(MEMORY_LOW) as broker:
        with rawamqp.connect(broker.port) as raw, rawamqp.connect(broker.port) as other:
            queue = 'alarms.%d' % os.getpid()
            other.rpc(1, 'queue.declare', queue=queue)
            program_bytes = broker.rss_bytes()      # more than what it has allocated
            one = rawamqp.call_frame(1, 'basic.publish', routing_key=queue) \
                + rawamqp.content_frames(1, b'x' * 8192)
            send_until_blocked(raw, one * (2 * LIMIT_BYTES // 8192))
            broker.wait_for_log(SET, timeout_s=60)
            count = other.rpc(1, 'queue.declare', queue=queue, passive=True).message_count
            run.check(count * 8192 <= LIMIT_BYTES + LOOK_BYTES,
                      '%d MiB came' % (count * 8192 // MIB))
            run.check(broker.rss_bytes() <= LIMIT_BYTES + LOOK_BYTES + program_bytes,
                      'resident: %d MiB' % (broker.rss_bytes() // MIB))
            run.check_equal(other.rpc(1, 'queue.purge', queue=queue).message_count, count,
                            'purged')


def leave_unfinished(raw, channels):
    """Half a megabyte of a message that will never be complete, on each channel."""
    parts = []
    for channel in channels:
        parts.append(rawamqp.call_frame(channel, 'channel.open')
                     + rawamqp.call_frame(channel, 'basic.publish', routing_key='x')
                     + rawamqp.header_frame(channel, 128 * MIB))
        parts += [rawamqp.frame(3, channel, b'x' * 100000)] * 5
    return send_until_blocked(raw, b''.join(parts))


def test_unfinished_messages_are_given_up_and_the_alarm_ends():
    with leveret.open_broker(MEMORY_LOW) as broker:
        with rawamqp.connect(broker.port) as raw:
            leave_unfinished(raw, range(2, 1002))
            broker.wait_for_log(SET, timeout_s=60)
            broker.wait_for_log('RESOURCE_ERROR - memory is low and unfinished messages of this '
                                'connection take')
            broker.wait_for_log(CLEARED)
        with rawamqp.connect(broker.port) as raw:
            queue = raw.rpc(1, 'queue.declare', exclusive=True).queue
            raw.publish(1, '', queue, b'served again')
            raw.sync(1)
            run.check_equal(raw.get(1, queue).body, b'served again', 'message')


def test_client_whose_unfinished_messages_are_given_up_is_told():
    with leveret.open_broker(MEMORY_LOW) as broker:
        raw = rawamqp.connect(broker.port, capabilities={})
        leave_unfinished(raw, range(2, 800)).join(60)
        raw.expect_close(506, re.compile('^RESOURCE_ERROR - memory is low and unfinished messages '
                                         'of this connection take [0-9]+ octets$'),
                         'basic.publish', skip=True)


@run.parallel
def test_end_of_a_blocked_client_is_noticed():
    check_end_is_noticed(lambda raw: raw.drop())


@run.parallel
def test_half_closed_blocked_client_is_noticed():
    check_end_is_noticed(lambda raw: raw.socket.shutdown(1))


def check_end_is_noticed(leave):
    """Its exclusive queue is free again, though the alarm goes on."""
    with leveret.open_broker(DISK_LOW) as broker:
        raw, other = rawamqp.connect(broker.port), rawamqp.connect(broker.port)
        raw.rpc(1, 'queue.declare', queue='mine', exclusive=True)
        raw.publish(1, '', 'mine', b'blocks it')
        run.check(locked(other), 'it is exclusive')
        leave(raw)
        run.wait_for(lambda: not locked(other), 'the queue to be gone', timeout_s=ENDED_S,
                     pause_s=0.2)
        other.close()


def locked(other):
    """Whether the queue is exclusive to somebody else; not there is 404."""
    other.call(1, 'queue.declare', queue='mine', passive=True)
    code = other.expect(1, 'channel.close').reply_code
    run.check(code in (404, 405), 'refused with %d' % code)
    other.call(1, 'channel.close-ok')
    other.open_channel(1)
    return code == 405


if __name__ == '__main__':
    run.main()
