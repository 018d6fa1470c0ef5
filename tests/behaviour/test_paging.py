#!/usr/bin/python3
"""test_paging.py - long queues are kept on disk, transient messages too, and come back

The broker of most of these tests is told that any use of memory is too much, so all but the first
few messages of every queue cross the boundary and come back; that of the last ones has memory, and
a small limit for each queue.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import run                                                                  # noqa: E402
from peer import Fixture, elsewhere, properties                             # noqa: E402

FIXTURE = Fixture({'vm_memory_high_watermark.absolute': '1GB',
                   'vm_memory_high_watermark_paging_ratio': '0.001'})
LOW_FROM = 'leave memory from now on'
teardown, world = FIXTURE.teardown, FIXTURE.world
SHORT = 256            # messages that a queue keeps although memory is low
MESSAGES = 3000
PERSISTENT = properties(delivery_mode=2)
BODY = b'x' * 1000


def setup():
    """What another broker keeps where is not seen from outside."""
    if elsewhere():
        run.skip('looks at the log of leveretd')
    FIXTURE.setup()


def paging(w):
    """A megabyte is always in use, so memory is low from the first look on."""
    run.wait_for(lambda: LOW_FROM in FIXTURE.broker.log(), 'memory to be low')
    return w.channel()


def fill(channel, queue, props=None):
    """MESSAGES of them, numbered."""
    for number in range(MESSAGES):
        channel.publish('', queue, b'%d ' % number + BODY, props=props or properties())
    run.wait_for(lambda: channel.counts(queue)[0] == MESSAGES, 'all messages to arrive',
                 timeout_s=30)


def check_next(channel, queue, number, **get):
    """The next message is this one."""
    got = channel.get(queue, **get)
    run.check_equal(got.body, b'%d ' % number + BODY, 'message')
    return got


def test_transient_messages_come_back_whole_and_in_order():
    with world() as w:
        channel = paging(w)
        channel.declare(w.q())
        fill(channel, w.q())
        channel.call('basic.consume', queue=w.q(), consumer_tag='c', no_ack=True)
        for number in range(MESSAGES):
            run.check_equal(channel.expect('basic.deliver').body, b'%d ' % number + BODY, 'message')


def test_transient_messages_are_on_disk():
    with world() as w:
        channel = paging(w)
        channel.declare(w.q())
        before = written(FIXTURE.broker.pid)
        fill(channel, w.q())
        paged_bytes = (MESSAGES - SHORT) * len(BODY)
        run.wait_for(lambda: written(FIXTURE.broker.pid) - before >= paged_bytes,
                     'what does not stay in memory to be written')
        run.check_equal(channel.call('queue.purge', queue=w.q()).message_count, MESSAGES, 'purged')


def test_get_reject_and_requeue_across_the_boundary():
    with world() as w:
        channel = paging(w)
        channel.declare(w.q())
        fill(channel, w.q())
        for number in range(MESSAGES - 1):
            if number % 100 == 99:
                got = channel.take(w.q())
                channel.reject(got.delivery_tag, requeue=True)
            check_next(channel, w.q(), number, no_ack=True)
        run.check_equal(channel.counts(w.q())[0], 1, 'left')


def test_one_message_in_a_durable_and_a_transient_queue():
    with world() as w:
        channel = paging(w)
        channel.exchange(w.x(), 'fanout')
        channel.declare(w.q('durable'), durable=True)
        channel.declare(w.q('transient'))
        for queue in ('durable', 'transient'):
            channel.bind(w.q(queue), w.x())
        for number in range(MESSAGES):
            channel.publish(w.x(), '', b'%d ' % number + BODY, props=PERSISTENT)
        run.wait_for(lambda: channel.counts(w.q('transient'))[0] == MESSAGES, 'all to arrive',
                     timeout_s=30)
        run.check_equal(channel.call('queue.purge', queue=w.q('durable')).message_count, MESSAGES,
                        'purged')
        for number in range(MESSAGES):
            check_next(channel, w.q('transient'), number, no_ack=True)


def test_dead_letters_of_paged_messages():
    with world() as w:
        channel = paging(w)
        channel.declare(w.q('dead'))
        channel.declare(w.q(), arguments={'x-dead-letter-exchange': '',
                                          'x-dead-letter-routing-key': w.q('dead'),
                                          'x-max-length': MESSAGES - 1000})
        for number in range(MESSAGES):
            channel.publish('', w.q(), b'%d ' % number + BODY)
        run.wait_for(lambda: channel.counts(w.q('dead'))[0] == 1000, 'dead letters', timeout_s=30)
        for number in range(1000):
            check_next(channel, w.q('dead'), number, no_ack=True)
        check_next(channel, w.q(), 1000, no_ack=True)


def test_a_restart_keeps_what_is_persistent_and_drops_what_is_not():
    for way in ('stop', 'kill'):
        with world() as w:
            channel = paging(w)
            channel.declare(w.q(), durable=True)
            fill(channel, w.q())
            channel.call('confirm.select')
            channel.put('', w.q(), 'last', props=PERSISTENT)
            for peer in w.peers:
                peer.drop()
            w.peers.clear()
            getattr(FIXTURE.broker, way)()
            FIXTURE.broker.start()
            channel = w.channel()
            run.check_equal(channel.counts(w.q())[0], 1, 'left after ' + way)
            run.check_equal(channel.get(w.q(), no_ack=True).body, b'last', 'message')


# ---- a limit for each queue ------------------------------------------------------------------

LIMITED = {'queue_memory_limit': '256KB'}
WITHIN = 262144 // (len(BODY) + 6 + 128)    # messages that a queue keeps of those here, about


def test_a_queue_past_its_limit_is_on_disk_though_memory_is_not_low():
    fixture = Fixture(LIMITED)
    fixture.setup()
    try:
        with fixture.world() as w:
            channel = w.channel()
            channel.declare(w.q())
            before = written(fixture.broker.pid)
            fill(channel, w.q())
            run.wait_for(lambda: written(fixture.broker.pid) - before
                         >= (MESSAGES - 2 * WITHIN) * len(BODY), 'the rest to be written')
            run.check(LOW_FROM not in fixture.broker.log(), 'memory was low')
            for number in range(MESSAGES):
                check_next(channel, w.q(), number, no_ack=True)
            run.check_equal(channel.get(w.q()), None, 'left')
    finally:
        fixture.teardown()


def test_short_queues_beside_it_are_not_on_disk():
    fixture = Fixture(LIMITED)
    fixture.setup()
    try:
        with fixture.world() as w:
            channel = w.channel()
            for queue in range(20):
                channel.declare(w.q(str(queue)))
            before = written(fixture.broker.pid)
            for number in range(20 * (WITHIN // 2)):
                channel.publish('', w.q(str(number % 20)), b'%d ' % number + BODY)
            run.wait_for(lambda: sum(channel.counts(w.q(str(queue)))[0] for queue in range(20))
                         == 20 * (WITHIN // 2), 'all messages to arrive', timeout_s=30)
            run.check(written(fixture.broker.pid) - before < len(BODY) * WITHIN, 'written')
    finally:
        fixture.teardown()


def written(pid):
    """Octets that the process has had written to disk."""
    with open('/proc/%d/io' % pid, encoding='ascii') as text:
        return int(dict(line.split(': ') for line in text)['write_bytes'])


if __name__ == '__main__':
    run.main()
