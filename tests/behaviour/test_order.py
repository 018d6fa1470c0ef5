#!/usr/bin/python3
"""test_order.py - the effects of a channel's methods have the order of the methods

A client may write many methods in one go. Leveret hands messages out at the end of its turn, so a
method whose effect a client can tell from that of a delivery has to wait for the deliveries owed by
then: an acknowledgement that makes room, followed by a cancel, is a delivery before cancel-ok.

tests/data/order.txt holds what RabbitMQ 3.10 sends after pairs of methods that were written in one
segment, in several situations:

    SITUATION METHOD METHOD: stream of the queue | stream of the channel

A queue of RabbitMQ is a process beside the channel, so the order in which the two are heard is
chance, or habit: get-ok overtakes the delivery made before it, qos-ok overtakes consume-ok. What is
compared is each stream by itself: deliveries, consume-ok, cancel-ok and cancel are the queue's; all
other answers, and confirms of what was not routed, are the channel's. Beyond that Leveret's answers
come in the order of the methods, which is asked of it alone.

    LEVERET_INTEROP_PORT=5672 tests/behaviour/test_order.py --record
                write the file anew, from a RabbitMQ; pairs answered in two ways are left out
"""

import itertools
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import run                                                                  # noqa: E402
from peer import Fixture, WITH_CONTENT, elsewhere                           # noqa: E402
from rawamqp import call_frame, content_frames                              # noqa: E402

FIXTURE = Fixture()
setup, teardown, world = FIXTURE.setup, FIXTURE.teardown, FIXTURE.world

RECORDED = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'data', 'order.txt')
TOGETHER = 12           # channels that are used at the same time
QUIET_S = 0.15          # where queues are processes, nothing more comes after so long
TIMES = 4               # each pair is recorded so often


# ---- what a client writes --------------------------------------------------------------------

def call(name, **fields):
    """A method; 'Q' in a field stands for the queue."""
    def octets(number, queue):
        return call_frame(number, name, **{key: queue if value == 'Q' else value
                                           for key, value in fields.items()})
    return octets


def publish(key, body, mandatory=False):
    """basic.publish to the default exchange, with its content."""
    def octets(number, queue):
        return call_frame(number, 'basic.publish', exchange='',
                          routing_key=queue if key == 'Q' else key,
                          mandatory=mandatory) + content_frames(number, body)
    return octets


METHODS = {
    'ack': call('basic.ack', delivery_tag=1),
    'ack-all': call('basic.ack', delivery_tag=0, multiple=True),
    'requeue': call('basic.nack', delivery_tag=1, requeue=True),
    'drop': call('basic.reject', delivery_tag=1, requeue=False),
    'recover': call('basic.recover', requeue=True),
    'publish': publish('Q', b'p'),
    'unroutable': publish('lv.nowhere', b'u'),
    'mandatory': publish('lv.nowhere', b'm', mandatory=True),
    'cancel': call('basic.cancel', consumer_tag='t'),
    'consume': call('basic.consume', queue='Q', consumer_tag='u'),
    'consume-no-ack': call('basic.consume', queue='Q', consumer_tag='n', no_ack=True),
    'get': call('basic.get', queue='Q'),
    'qos': call('basic.qos', prefetch_count=5),
    'qos-global': call('basic.qos', prefetch_count=0, global_=True),
    'flow': call('channel.flow', active=True),
    'purge': call('queue.purge', queue='Q'),
    'delete': call('queue.delete', queue='Q'),
    'bind': call('queue.bind', queue='Q', exchange='amq.direct', routing_key='lv.order'),
    'tx-select': call('tx.select'),
    'tx-commit': call('tx.commit'),
    'tx-rollback': call('tx.rollback'),
    'confirm': call('confirm.select'),
    'close': call('channel.close', reply_code=200, reply_text='bye'),
}

ANSWERS = {'recover': 'recover-ok', 'mandatory': 'return', 'cancel': 'cancel-ok',
           'consume': 'consume-ok', 'consume-no-ack': 'consume-ok', 'get': 'get-',
           'qos': 'qos-ok', 'qos-global': 'qos-ok', 'flow': 'flow-ok', 'purge': 'purge-ok',
           'delete': 'delete-ok', 'bind': 'bind-ok', 'tx-select': 'select-ok',
           'tx-commit': 'commit-ok', 'tx-rollback': 'rollback-ok', 'confirm': 'select-ok',
           'close': 'close-ok'}


# ---- where a client may be -------------------------------------------------------------------

def filled(channel, queue, bodies):
    """A queue with messages."""
    channel.declare(queue)
    for body in bodies:
        channel.publish('', queue, body)
    channel.becomes(queue, len(bodies))


def limited(count):
    """A consumer with a prefetch limit that is used up, and messages behind it."""
    def begin(channel, queue):
        filled(channel, queue, '1234')
        channel.qos(count)
        channel.consume(queue, 't')
        channel.deliveries(*'1234'[:count])
    return begin


def idle(channel, queue):
    """A consumer that waits for messages."""
    channel.declare(queue)
    channel.consume(queue, 't')


def got(channel, queue):
    """No consumer, a message that is out, and two that are ready."""
    filled(channel, queue, '123')
    channel.take(queue, '1')


def then(begin, method):
    """The same on a channel in another mode."""
    def both(channel, queue):
        begin(channel, queue)
        channel.call(method)
    return both


SITUATIONS = {'limit-1': limited(1), 'limit-2': limited(2), 'idle': idle, 'got': got,
              'confirm-limit-1': then(limited(1), 'confirm.select'),
              'confirm-idle': then(idle, 'confirm.select'),
              'tx-limit-1': then(limited(1), 'tx.select'), 'tx-got': then(got, 'tx.select')}

# Pairs that Leveret answers otherwise, and why.
OTHERWISE = {
    ('delete', 'cancel'): "RabbitMQ's channel is cancelled before it hears that the queue has gone",
    ('cancel', 'close'): "RabbitMQ's cancel-ok is lost on the way",
    ('delete', 'close'): "RabbitMQ's cancel is lost on the way",
    ('consume', 'close'): "RabbitMQ's consume-ok is lost on the way",
    ('consume-no-ack', 'close'): "RabbitMQ's consume-ok is lost on the way",
    ('consume-no-ack', 'delete'): 'the order of cancels of one queue is that of a hash',
    ('consume', 'delete'): 'the order of cancels of one queue is that of a hash',
    ('requeue', 'ack-all'): "RabbitMQ's queue takes acknowledgements before what was sent first",
    ('consume', 'cancel'): 'no such consumer: the channel answers, and is faster than the queue',
    ('consume-no-ack', 'cancel'): 'no such consumer: the channel answers, and is faster',
}


# ---- what the broker writes ------------------------------------------------------------------

def word(event):
    """An event in short: 'deliver t 2 again', 'ack 3', 'purge-ok'."""
    name = event.name.split('.')[1]
    if event.name == 'basic.deliver':
        return 'deliver %s %s%s' % (event.consumer_tag, event.body.decode(),
                                    ' again' if event.redelivered else '')
    if event.name in WITH_CONTENT:
        return '%s %s' % (name, event.body.decode())
    if name in ('ack', 'nack'):
        return '%s%s %d' % (name, ' to' if event.multiple else '', event.delivery_tag)
    if name in ('cancel', 'cancel-ok', 'consume-ok'):
        return '%s %s' % (name, event.consumer_tag)
    if event.name == 'channel.close':
        return 'closed %d' % event.reply_code
    return name


def streams(words):
    """The stream of the queue and that of the channel; after an exception nothing counts."""
    queue, channel, confirmed = [], [], 0
    for seen in words:
        if seen.startswith('closed'):
            return queue, channel + [seen]
        if seen.split()[0] in ('ack', 'nack'):
            last = int(seen.split()[-1])
            low = confirmed + 1 if ' to ' in seen else last
            channel += ['%s %d' % (seen.split()[0], tag) for tag in range(low, last + 1)]
            confirmed = last
        elif re.match('deliver|cancel|consume-ok', seen):
            queue.append(seen)
        else:
            channel.append(seen)
    return queue, channel


def wait_until_it_is_quiet(peer, fence):
    """Two round trips on another channel are enough for Leveret; elsewhere, queues need time."""
    fence.quiet()
    bound = time.monotonic() + (QUIET_S if elsewhere() else 0)
    while time.monotonic() < bound:
        if peer.pump(bound - time.monotonic()):
            bound = time.monotonic() + QUIET_S


def transcripts(cases):
    """Write the methods of each case in one go, on a channel of its own; what came back."""
    with world() as w:
        peer, places = w.peer(), []
        fence = peer.channel()
        for number, (situation, _) in enumerate(cases):
            places.append((peer.channel(), w.q('q%d' % number)))
            SITUATIONS[situation](*places[-1])
        for (channel, queue), (_, methods) in zip(places, cases):
            peer.raw.send(b''.join(METHODS[name](channel.number, queue) for name in methods))
        wait_until_it_is_quiet(peer, fence)
        run.check(not peer.events[0], 'on channel 0: %r' % list(peer.events[0]))
        return [[word(event) for event in peer.events[channel.number]] for channel, _ in places]


def all_transcripts(cases):
    """The same for any number of cases."""
    return [words for at in range(0, len(cases), TOGETHER)
            for words in transcripts(cases[at:at + TOGETHER])]


# ---- recorded pairs --------------------------------------------------------------------------

def shown(case, words):
    """A line of the file; confirms of routed messages, which come when they come, are left out."""
    queue, channel = streams(words)
    if 'publish' in case[1]:
        channel = [seen for seen in channel if not re.match('n?ack', seen)]
    return '%s %s: %s | %s' % (case[0], ' '.join(case[1]), ', '.join(queue), ', '.join(channel))


def record():
    """Write the file from the broker at hand; run once as a program, not as a test."""
    cases = [(situation, pair) for situation in SITUATIONS
             for pair in itertools.product(METHODS, repeat=2)
             if pair[0] != 'close' and not (pair[0] == pair[1] and 'consume' in pair[0])]
    rounds = [all_transcripts(cases) for _ in range(TIMES)]
    with open(RECORDED, 'w', encoding='utf-8') as file:
        for case, *seen in zip(cases, *rounds):
            lines = {shown(case, words) for words in seen}
            if len(lines) == 1:
                print(lines.pop(), file=file)


def check_order_of_answers(case, words):
    """The channel answers in the order of its methods, as far as it got."""
    transaction = case[0].startswith('tx')
    at = 0
    for name in case[1]:
        answer = ANSWERS.get(name)
        if not answer or (transaction and name == 'mandatory'):
            continue            # no answer, or not before the commit
        transaction |= name == 'tx-select'
        while at < len(words) and not words[at].startswith((answer, 'closed')):
            at += 1
        run.check(at < len(words), '%s of %r is not in its place in %r' % (answer, case, words))
        if words[at].startswith('closed'):
            return
        at += 1


def ends_alike(wanted, got_line):
    """After an exception RabbitMQ's queue may have been slow."""
    queue, _, channel = wanted.partition(': ')[2].partition(' | ')
    ours, _, answers = got_line.partition(': ')[2].partition(' | ')
    return 'closed' in channel and channel == answers and ours.startswith(queue)


def test_pairs_of_methods_in_one_segment_have_their_effects_in_order():
    if elsewhere():
        run.skip('what was recorded there comes in more than one order')
    wanted = {}
    with open(RECORDED, encoding='utf-8') as file:
        for line in file:
            situation, *pair = line.split(':')[0].split()
            wanted[situation, tuple(pair)] = line.rstrip('\n')
    run.check(len(wanted) > 3000, 'only %d pairs are recorded' % len(wanted))
    cases = [case for case in wanted if case[1] not in OTHERWISE]
    failures = []
    for case, words in zip(cases, all_transcripts(cases)):
        check_order_of_answers(case, words)
        got_line = shown(case, words)
        if got_line != wanted[case] and not ends_alike(wanted[case], got_line):
            failures.append('%s\n    instead of %s' % (got_line, wanted[case]))
    run.check(not failures, '%d of %d:\n%s' % (len(failures), len(cases), '\n'.join(failures)))


# ---- single properties -----------------------------------------------------------------------

def written(situation, *methods):
    """What comes after these methods."""
    return transcripts([(situation, methods)])[0]


def test_room_is_used_before_a_cancel():
    for first, wanted in (('ack', 'deliver t 2'), ('requeue', 'deliver t 1 again'),
                          ('drop', 'deliver t 2')):
        run.check_equal(written('limit-1', first, 'cancel'), [wanted, 'cancel-ok t'], first)
    run.check_equal(written('idle', 'publish', 'cancel'), ['deliver t p', 'cancel-ok t'], 'publish')


def test_room_is_used_before_a_close():
    run.check_equal(written('limit-1', 'ack', 'close'), ['deliver t 2', 'close-ok'], 'ack')
    run.check_equal(written('idle', 'publish', 'close'), ['deliver t p', 'close-ok'], 'publish')


def test_a_consumer_takes_what_there_is_before_something_comes_back():
    run.check_equal(streams(written('limit-1', 'consume', 'requeue'))[0],
                    ['consume-ok u', 'deliver u 2', 'deliver t 1 again'], 'requeue')
    run.check_equal(streams(written('limit-1', 'consume-no-ack', 'ack'))[0],
                    ['consume-ok n', 'deliver n 2', 'deliver n 3', 'deliver n 4'], 'ack')


def test_an_acknowledgement_makes_room_before_something_comes_back():
    run.check_equal(written('limit-2', 'ack', 'recover'),
                    ['recover-ok', 'deliver t 3', 'deliver t 2 again'] if elsewhere() else
                    ['deliver t 3', 'recover-ok', 'deliver t 2 again'], 'recover')


def test_all_does_not_mean_what_no_client_can_have_seen():
    # with a limit of one, the consumer would get another message if its first had been settled
    run.check_equal(streams(written('limit-1', 'consume', 'ack-all'))[0],
                    ['consume-ok u', 'deliver u 2', 'deliver t 3'], 'ack')
    run.check_equal(streams(written('limit-1', 'consume', 'recover'))[0],
                    ['consume-ok u', 'deliver u 2', 'deliver t 1 again'], 'recover')
    run.check_equal(streams(written('limit-1', 'ack', 'recover'))[0], ['deliver t 2'], 'recover')


def test_confirms_come_before_the_answers_of_later_methods():
    for method, answer in (('recover', 'recover-ok'), ('qos', 'qos-ok'), ('flow', 'flow-ok'),
                           ('get', 'get-empty'), ('bind', 'bind-ok'), ('confirm', 'select-ok'),
                           ('purge', 'purge-ok'), ('close', 'close-ok')):
        run.check_equal(written('confirm-idle', 'unroutable', method), ['ack 1', answer], method)


def test_a_return_comes_between_the_confirms_around_it():
    run.check_equal(written('confirm-idle', 'unroutable', 'mandatory', 'unroutable', 'mandatory'),
                    ['ack 1', 'return m', 'ack 2', 'ack 3', 'return m', 'ack 4'] if elsewhere()
                    else ['ack 1', 'return m', 'ack to 3', 'return m', 'ack 4'], 'answers')


if __name__ == '__main__':
    if sys.argv[1:] == ['--record']:
        setup()
        record()
    else:
        run.main()
