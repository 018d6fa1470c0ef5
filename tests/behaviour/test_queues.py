#!/usr/bin/python3
"""test_queues.py - queue.declare, purge and delete: lifetimes, locks, counts and refusals

What happens to the messages in a queue is in test_basic.py, which queues survive a restart in
test_durability.py.
"""

import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import run                                                                  # noqa: E402
from peer import Fixture, elsewhere, exchange_text, field, queue_text       # noqa: E402

FIXTURE = Fixture()
setup, teardown, world = FIXTURE.setup, FIXTURE.teardown, FIXTURE.world

NO_LAST_QUEUE = 'NOT_FOUND - no previously declared queue'


def locked(queue):
    """The text for an exclusive queue of another connection."""
    return ('RESOURCE_LOCKED - cannot obtain exclusive access to locked %s. It could be originally '
            'declared on another connection or the exclusive property value does not match that '
            'of the original declaration.' % queue_text(queue))


def no_queue(queue):
    """The text for a queue that does not exist."""
    return 'NOT_FOUND - no ' + queue_text(queue)


def inequivalent(queue, name, received, current):
    """The text for a redeclaration with another property."""
    return ("PRECONDITION_FAILED - inequivalent arg '%s' for %s: received %s but current is %s"
            % (name, queue_text(queue), received, current))


def invalid(queue, name, reason):
    """The text for an argument that cannot be."""
    return "PRECONDITION_FAILED - invalid arg '%s' for %s%s" % (name, queue_text(queue), reason)


# ---- declare ---------------------------------------------------------------------------------

def test_declare_creates_an_empty_queue():
    with world() as w:
        event = w.channel().declare(w.q())
        run.check_equal((event.queue, event.message_count, event.consumer_count), (w.q(), 0, 0),
                        'declare-ok')


def test_declare_counts_ready_messages_and_all_consumers():
    with world() as w:
        channel, consumer = w.channel(confirm=True), w.channel()
        channel.declare(w.q())
        channel.put('', w.q(), *'abcde')
        channel.becomes(w.q(), 5, 0)
        channel.take(w.q(), 'a')
        channel.becomes(w.q(), 4, 0)
        consumer.qos(1)
        consumer.consume(w.q())
        consumer.delivery('b')
        consumer.consume(w.q())
        consumer.delivery('c')
        channel.becomes(w.q(), 2, 2)            # both wait for an ack, both are counted


def test_declare_is_idempotent_for_every_kind():
    with world() as w:
        channel = w.channel()
        for number in range(8):
            flags = {'durable': bool(number & 1), 'exclusive': bool(number & 2),
                     'auto_delete': bool(number & 4)}
            for _ in range(2):
                channel.declare(w.q(str(number)), **flags)


def test_declare_nowait_answers_nothing():
    with world() as w:
        channel = w.channel()
        channel.send('queue.declare', queue=w.q(), nowait=True)
        channel.quiet()
        run.check(channel.exists('queue', w.q()), 'it was not created')
        channel.send('queue.declare', queue=w.q(), passive=True, nowait=True)
        channel.quiet()
        channel.refuses(406, inequivalent(w.q(), 'durable', "'true'", "'false'"), 'queue.declare',
                        queue=w.q(), durable=True, nowait=True)


def test_passive_declare_finds_only_what_exists():
    with world() as w:
        channel = w.channel()
        for nowait in (False, True):
            channel.refuses(404, no_queue(w.q()), 'queue.declare', queue=w.q(), passive=True,
                            nowait=nowait)
        channel.declare(w.q())
        channel.declare(w.q(), passive=True)


def test_passive_declare_ignores_flags_and_arguments():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q())
        channel.declare(w.q(), {'x-queue-version': 7, 'x-queue-mode': 1}, passive=True,
                        durable=True, auto_delete=True)


def test_passive_declare_of_the_empty_name_is_not_the_last_queue():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q())
        channel.refuses(404, no_queue(''), 'queue.declare', queue='', passive=True)


def test_names_with_the_reserved_prefix_are_refused():
    with world() as w:
        channel = w.channel()
        channel.refuses(403, "ACCESS_REFUSED - queue name 'amq.lv' contains reserved prefix "
                        "'amq.*'", 'queue.declare', queue='amq.lv')
        channel.refuses(404, no_queue('amq.lv'), 'queue.declare', queue='amq.lv', passive=True)


def test_odd_names():
    with world() as w:
        channel = w.channel(confirm=True)
        long_name = w.q('long').ljust(255, 'x')
        nul_name = w.q('nul') + '\0end'
        for name in (long_name, nul_name):
            channel.declare(name, exclusive=True)
            channel.put('', name, 'in')
            run.check_equal(channel.drain(name), ['in'], 'messages in %r' % name)
        event = channel.declare(w.q('ab').replace('ab', 'a\r\nb'))
        run.check_equal(event.queue, w.q('ab'), 'name without line ends')
        run.check(channel.exists('queue', w.q('ab')), 'not found without line ends')


def test_names_are_used_as_they_come_where_nothing_is_declared():
    """RabbitMQ removes line ends where it declares, binds, unbinds and deletes, nowhere else."""
    with world() as w:
        channel = w.channel()
        channel.declare(w.q())
        for number in (0, 5, len(w.q())):
            name = w.q()[:number] + '\r\n' + w.q()[number:]
            for method in ('queue.purge', 'basic.get', 'basic.consume'):
                channel.refuses(404, 'NOT_FOUND - no ' + queue_text(name), method, queue=name)
            channel.call('confirm.select')
            channel.publish('', name, 'lost', mandatory=True)
            channel.expect('basic.return', reply_code=312, routing_key=name)
            channel.expect('basic.ack')


def test_queues_are_deleted_by_names_without_line_ends():
    with world() as w:
        channel = w.channel()
        for name in (w.q() + '\r', '\n' + w.q(), w.q().replace('.', '\r\n.')):
            channel.declare(w.q())
            channel.call('confirm.select')
            channel.put('', w.q(), 'a')
            channel.refuses(406, 'PRECONDITION_FAILED - %s not empty' % queue_text(w.q()),
                            'queue.delete', queue=name, if_empty=True)
            event = channel.call('queue.delete', queue=name)
            run.check_equal(event.message_count, 1, 'messages deleted')
            run.check(not channel.exists('queue', w.q()), 'it is still there')
        channel.declare(w.q())
        # not the last declared one: that is what an empty name is before line ends are removed
        event = channel.call('queue.delete', queue='\r\n')
        run.check_equal(event.message_count, 0, 'messages deleted')
        run.check(channel.exists('queue', w.q()), 'it is gone')


def test_server_named_queues_have_generated_names():
    with world() as w:
        peer = w.peer()
        channel, other = peer.channel(confirm=True), peer.channel()
        names = [channel.declare(exclusive=True).queue for _ in range(3)]
        run.check_equal(len(set(names)), 3, 'different names')
        for name in names:
            run.check(re.fullmatch('amq\\.gen-[A-Za-z0-9_-]{22}', name), 'name %r' % name)
            other.declare(name, passive=True)
            other.refuses(403, "ACCESS_REFUSED - queue name '%s' contains reserved prefix 'amq.*'"
                          % name, 'queue.declare', queue=name, exclusive=True)
        channel.put('', names[1], 'in')
        run.check_equal(channel.drain(names[1]), ['in'], 'messages')


# ---- the most recently declared queue --------------------------------------------------------

def test_empty_name_without_a_declared_queue_is_refused():
    with world() as w:
        channel = w.channel()
        for name, fields in (('basic.get', {}), ('basic.consume', {}), ('queue.purge', {}),
                             ('queue.delete', {}), ('queue.bind', {'exchange': 'amq.direct'}),
                             ('queue.unbind', {'exchange': 'amq.direct'})):
            channel.refuses(404, NO_LAST_QUEUE, name, queue='', **fields)


def test_empty_name_means_the_most_recently_declared_queue():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x())
        for name in 'ab':
            channel.declare(w.q(name))
        channel.bind('', w.x(), 'k')
        channel.put(w.x(), 'k', '1', '2', '3')
        run.check_equal(channel.take('').body, b'1', 'get')
        channel.call('queue.unbind', queue='', exchange=w.x(), routing_key='k')
        channel.put(w.x(), 'k', 'lost')
        channel.becomes(w.q('b'), 2)
        run.check_equal(channel.call('queue.purge', queue='').message_count, 2, 'purged')
        channel.put('', w.q('b'), '4')
        tag = channel.consume('')
        channel.delivery('4', consumer_tag=tag)
        channel.call('queue.delete', queue='')
        run.check(channel.exists('queue', w.q('a')), 'the wrong queue was deleted')
        run.check(not channel.exists('queue', w.q('b')), 'the last queue was not deleted')


def test_every_kind_of_declare_sets_the_last_queue():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('a'))
        channel.declare(w.q('b'))
        channel.put('', w.q('a'), 'in a')
        channel.put('', w.q('b'), 'in b')
        channel.declare(w.q('a'), passive=True)
        run.check_equal(channel.get('').body, b'in a', 'after a passive declare')
        channel.send('queue.declare', queue=w.q('b'), nowait=True)
        run.check_equal(channel.get('').body, b'in b', 'after a nowait declare')
        name = channel.declare(exclusive=True).queue
        channel.put('', name, 'in the unnamed')
        run.check_equal(channel.get('').body, b'in the unnamed', 'after a server-named declare')


def test_last_queue_stands_for_the_key_too_when_both_are_empty():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x())
        channel.declare(w.q())
        channel.bind('', w.x(), '')
        channel.put(w.x(), w.q(), 'by name')
        channel.put(w.x(), '', 'by the empty key')
        run.check_equal(channel.drain(w.q()), ['by name'], 'messages')
        channel.unbind('', w.x(), '')
        channel.put(w.x(), w.q(), 'gone')
        channel.bind(w.q(), w.x(), '')              # a named queue with the empty key is just that
        channel.put(w.x(), '', 'by the empty key')
        run.check_equal(channel.drain(w.q()), ['by the empty key'], 'messages')


def test_last_queue_belongs_to_the_channel():
    with world() as w:
        peer = w.peer()
        one, two = peer.channel(), peer.channel()
        one.declare(w.q())
        two.refuses(404, NO_LAST_QUEUE, 'basic.get', queue='')


# ---- equivalence -----------------------------------------------------------------------------

def test_redeclaration_with_other_flags_is_refused():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q('plain'))
        channel.declare(w.q('both'), durable=True, auto_delete=True)
        for name, flag, received, current, flags in (
                ('plain', 'durable', "'true'", "'false'", {'durable': True}),
                ('plain', 'auto_delete', "'true'", "'false'", {'auto_delete': True}),
                ('plain', 'durable', "'true'", "'false'", {'durable': True, 'auto_delete': True}),
                ('both', 'durable', "'false'", "'true'", {'auto_delete': True}),
                ('both', 'auto_delete', "'false'", "'true'", {'durable': True})):
            channel.refuses(406, inequivalent(w.q(name), flag, received, current),
                            'queue.declare', queue=w.q(name), **flags)


def test_redeclaration_with_another_exclusive_flag_is_a_lock():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q('shared'))
        channel.declare(w.q('mine'), exclusive=True)
        channel.refuses(405, locked(w.q('shared')), 'queue.declare', queue=w.q('shared'),
                        exclusive=True, durable=True)
        channel.refuses(405, locked(w.q('mine')), 'queue.declare', queue=w.q('mine'))


def test_exclusive_queues_forget_the_durable_flag():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q('a'), exclusive=True, durable=True)
        channel.declare(w.q('a'), exclusive=True, durable=False)
        channel.declare(w.q('b'), exclusive=True, durable=False)
        channel.declare(w.q('b'), exclusive=True, durable=True)


def test_redeclaration_compares_known_arguments():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q('none'))
        channel.declare(w.q('two'), {'x-queue-version': 2, 'x-queue-mode': 'lazy'})
        for name, argument, received, current, arguments in (
                ('two', 'x-queue-version', "'1'", "'2'",
                 {'x-queue-version': 1, 'x-queue-mode': 'lazy'}),
                ('two', 'x-queue-version', 'none', "the value '2' of type 'signedint'",
                 {'x-queue-mode': 'lazy'}),
                ('two', 'x-queue-mode', "'default'", "'lazy'",
                 {'x-queue-version': 2, 'x-queue-mode': 'default'}),
                ('two', 'x-queue-mode', 'none', "the value 'lazy' of type 'longstr'",
                 {'x-queue-version': 2}),
                ('none', 'x-queue-version', "the value '1' of type 'long'", 'none',
                 {'x-queue-version': field('l', 1)})):
            channel.refuses(406, inequivalent(w.q(name), argument, received, current),
                            'queue.declare', queue=w.q(name), arguments=arguments)


def test_integers_are_equal_whatever_their_width():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q(), {'x-queue-version': field('l', 2)})
        for octet in 'bBsuIilL':
            channel.declare(w.q(), {'x-queue-version': field(octet, 2)})


def test_missing_queue_type_is_classic():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q('a'))
        channel.declare(w.q('a'), {'x-queue-type': 'classic'})
        channel.declare(w.q('b'), {'x-queue-type': 'classic'})
        channel.declare(w.q('b'))


def test_another_queue_type_is_inequivalent():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q(), durable=True)
        channel.refuses(406, inequivalent(w.q(), 'x-queue-type',
                                          "the value 'quorum' of type 'longstr'", 'none'),
                        'queue.declare', queue=w.q(), durable=True,
                        arguments={'x-queue-type': 'quorum'})


def test_unknown_arguments_are_kept_out_of_it():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q(), {'x-nobody-knows': [1, {'deep': None}], 'colour': 'red'})
        channel.declare(w.q(), {'colour': 'blue'})
        channel.declare(w.q())


def test_invalid_argument_values_are_refused():
    with world() as w:
        channel = w.channel()
        for arguments, name, reason in (
                ({'x-queue-type': 'foo'}, 'x-queue-type',
                 ': "unsupported queue type \'foo\'"'),
                ({'x-queue-type': 5}, 'x-queue-type', ': {unacceptable_type,signedint}'),
                ({'x-queue-mode': 'bad'}, 'x-queue-mode', ': "unsupported queue mode \'bad\'"'),
                ({'x-queue-version': 3}, 'x-queue-version',
                 ': "unsupported queue version \'3\'"'),
                ({'x-max-age': '1D'}, 'x-max-age', ' of queue type rabbit_classic_queue')):
            channel.refuses(406, invalid(w.q(), name, reason), 'queue.declare', queue=w.q(),
                            arguments=arguments)
            run.check(not channel.exists('queue', w.q()), 'it was created all the same')


def test_argument_errors_come_after_name_errors():
    with world() as w:
        channel = w.channel()
        channel.refuses(403, "ACCESS_REFUSED - queue name 'amq.lv' contains reserved prefix "
                        "'amq.*'", 'queue.declare', queue='amq.lv',
                        arguments={'x-queue-version': 3})
        channel.declare(w.q())
        channel.refuses(406, inequivalent(w.q(), 'x-queue-version',
                                          "the value '3' of type 'signedint'", 'none'),
                        'queue.declare', queue=w.q(), arguments={'x-queue-version': 3})


# ---- exclusive queues ------------------------------------------------------------------------

def test_exclusive_queue_is_locked_for_other_connections():
    with world() as w:
        owner, other = w.channel(), w.channel()
        other.exchange(w.x())
        owner.declare(w.q(), exclusive=True)
        owner.bind(w.q(), w.x(), 'k')
        for name, fields in (
                ('queue.declare', {}), ('queue.declare', {'exclusive': True}),
                ('queue.declare', {'passive': True}), ('queue.purge', {}), ('queue.delete', {}),
                ('queue.bind', {'exchange': w.x(), 'routing_key': 'k'}),
                ('queue.bind', {'exchange': w.x(), 'routing_key': 'other'}),
                ('queue.unbind', {'exchange': w.x(), 'routing_key': 'k'}),
                ('basic.consume', {}), ('basic.get', {})):
            other.refuses(405, locked(w.q()), name, queue=w.q(), **fields)
        # where there is no binding there is nothing to protect
        other.unbind(w.q(), w.x(), 'missing')


def test_exclusive_queue_takes_messages_from_anybody():
    with world() as w:
        owner, other = w.channel(), w.channel(confirm=True)
        owner.declare(w.q(), exclusive=True)
        other.put('', w.q(), 'from outside')
        run.check_equal(owner.drain(w.q()), ['from outside'], 'messages')


def test_exclusive_queue_belongs_to_all_channels_of_its_connection():
    with world() as w:
        peer = w.peer()
        one, two = peer.channel(), peer.channel(confirm=True)
        one.declare(w.q(), exclusive=True)
        one.close()
        two.declare(w.q(), exclusive=True)
        two.consume(w.q())
        two.publish('', w.q(), 'here')
        two.reply('basic.ack')
        two.delivery('here')


def test_exclusive_queue_is_gone_when_close_ok_comes():
    with world() as w:
        other = w.channel()
        for _ in range(5):
            owner = w.channel()
            owner.declare(w.q('a'), exclusive=True)
            owner.declare(w.q('b'), exclusive=True, durable=True)
            owner.peer.close()
            for name in 'ab':
                run.check(not other.exists('queue', w.q(name)), 'it outlived its connection')


def test_exclusive_queue_goes_when_its_connection_drops():
    with world() as w:
        owner, other = w.channel(), w.channel()
        owner.declare(w.q(), exclusive=True)
        owner.peer.drop()
        run.wait_for(lambda: not other.exists('queue', w.q()), 'the end of the queue')


def test_exclusive_queue_is_gone_before_a_connection_exception_is_told():
    with world() as w:
        owner, other = w.channel(), w.channel()
        owner.declare(w.q(), exclusive=True)
        owner.send('basic.qos', prefetch_size=10)
        run.check_equal(owner.peer.next(0).name, 'connection.close', 'reply')
        run.check(not other.exists('queue', w.q()), 'it outlived its connection')


# ---- auto-delete queues ----------------------------------------------------------------------

def test_auto_delete_waits_for_a_first_consumer():
    with world() as w:
        channel, other = w.channel(confirm=True), w.channel()
        channel.declare(w.q(), auto_delete=True)
        channel.put('', w.q(), 'a')
        run.check_equal(channel.drain(w.q()), ['a'], 'messages')    # basic.get is no consumer
        channel.peer.close()
        run.check(other.exists('queue', w.q()), 'it went without ever having a consumer')


def test_auto_delete_when_the_last_consumer_is_cancelled():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q(), auto_delete=True)
        tags = [channel.consume(w.q()) for _ in range(2)]
        channel.cancel(tags[0])
        channel.put('', w.q())
        channel.cancel(tags[1])
        run.check(not channel.exists('queue', w.q()), 'it outlived its last consumer')


def test_auto_delete_when_the_last_consumer_goes_with_its_channel():
    with world() as w:
        peer = w.peer()
        one, two = peer.channel(), peer.channel()
        one.declare(w.q(), auto_delete=True)
        one.consume(w.q())
        one.close()
        run.wait_for(lambda: not two.exists('queue', w.q()), 'the end of the queue')


def test_auto_delete_when_the_last_consumer_goes_with_its_connection():
    with world() as w:
        other = w.channel()
        for way in ('close', 'drop'):
            channel = w.channel()
            channel.declare(w.q(), auto_delete=True)
            channel.consume(w.q())
            getattr(channel.peer, way)()
            run.wait_for(lambda: not other.exists('queue', w.q()), 'the end after ' + way)


# ---- purge -----------------------------------------------------------------------------------

def test_purge_removes_and_counts_ready_messages_only():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q())
        channel.put('', w.q(), *'abcde')
        event = channel.take(w.q(), 'a')
        run.check_equal(channel.call('queue.purge', queue=w.q()).message_count, 4, 'purged')
        channel.becomes(w.q(), 0)
        channel.reject(event.delivery_tag)
        channel.becomes(w.q(), 1)
        run.check_equal(channel.drain(w.q()), ['a'], 'messages')
        run.check_equal(channel.call('queue.purge', queue=w.q()).message_count, 0, 'purged')


def test_purge_nowait_answers_nothing():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q())
        channel.put('', w.q(), *'abc')
        channel.send('queue.purge', queue=w.q(), nowait=True)
        channel.quiet()
        run.check_equal(channel.drain(w.q()), [], 'messages')


def test_purge_of_a_missing_queue_is_refused():
    with world() as w:
        channel = w.channel()
        for nowait in (False, True):
            channel.refuses(404, no_queue(w.q()), 'queue.purge', queue=w.q(), nowait=nowait)


# ---- delete ----------------------------------------------------------------------------------

def test_delete_counts_ready_messages():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q())
        channel.put('', w.q(), *'abcde')
        channel.take(w.q(), 'a')
        run.check_equal(channel.call('queue.delete', queue=w.q()).message_count, 4, 'deleted')


def test_delete_of_a_missing_queue_is_no_error():
    with world() as w:
        event = w.channel().call('queue.delete', queue=w.q(), if_unused=True, if_empty=True)
        run.check_equal(event.message_count, 0, 'deleted')


def test_delete_nowait_answers_nothing():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q())
        channel.send('queue.delete', queue=w.q(), nowait=True)
        channel.send('queue.delete', queue=w.q(), nowait=True)
        channel.quiet()
        run.check(not channel.exists('queue', w.q()), 'it is still there')


def test_delete_if_empty():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q())
        channel.put('', w.q(), 'a')
        for _ in range(2):
            channel.refuses(406, 'PRECONDITION_FAILED - %s not empty' % queue_text(w.q()),
                            'queue.delete', queue=w.q(), if_empty=True)
        channel.take(w.q(), 'a')            # a message that is out does not count
        channel.call('queue.delete', queue=w.q(), if_empty=True)
        run.check(not channel.exists('queue', w.q()), 'it is still there')


def test_delete_if_unused():
    with world() as w:
        channel, consumer = w.channel(), w.channel()
        channel.declare(w.q())
        tag = consumer.consume(w.q())
        channel.refuses(406, 'PRECONDITION_FAILED - %s in use' % queue_text(w.q()),
                        'queue.delete', queue=w.q(), if_unused=True)
        consumer.cancel(tag)
        channel.call('queue.delete', queue=w.q(), if_unused=True)
        run.check(not channel.exists('queue', w.q()), 'it is still there')


def test_delete_looks_at_if_empty_first():
    with world() as w:
        channel, consumer = w.channel(confirm=True), w.channel()
        channel.declare(w.q())
        consumer.qos(1)
        consumer.consume(w.q())
        channel.put('', w.q(), 'a', 'b')
        consumer.delivery('a')
        channel.becomes(w.q(), 1, 1)
        channel.refuses(406, 'PRECONDITION_FAILED - %s not empty' % queue_text(w.q()),
                        'queue.delete', queue=w.q(), if_empty=True, if_unused=True)


def test_delete_removes_bindings():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x())
        channel.declare(w.q())
        channel.bind(w.q(), w.x(), 'k')
        channel.call('queue.delete', queue=w.q())
        channel.declare(w.q())
        channel.put(w.x(), 'k', 'lost')
        channel.put('', w.q(), 'found')
        run.check_equal(channel.drain(w.q()), ['found'], 'messages')


def test_messages_of_a_deleted_queue_may_be_settled_once():
    with world() as w:
        peer = w.peer()
        channel, publisher = peer.channel(), peer.channel(confirm=True)
        channel.declare(w.q())
        publisher.put('', w.q(), *'abcd')
        tags = [channel.take(w.q(), body).delivery_tag for body in 'abcd']
        publisher.call('queue.delete', queue=w.q())
        channel.ack(tags[0])
        channel.reject(tags[1])
        channel.nack(tags[2], requeue=False)
        channel.quiet()
        channel.refuses(406, 'PRECONDITION_FAILED - unknown delivery tag %d' % tags[0],
                        'basic.ack', delivery_tag=tags[0])
        channel.declare(w.q())
        channel.becomes(w.q(), 0)           # nothing came back to a new queue of that name


# ---- consumer cancel notification ------------------------------------------------------------

def test_consumers_are_told_when_their_queue_is_deleted():
    with world() as w:
        channel, consumer = w.channel(), w.channel()
        channel.declare(w.q())
        tags = {consumer.consume(w.q()) for _ in range(2)}
        channel.call('queue.delete', queue=w.q())
        told = [consumer.expect('basic.cancel', nowait=True).consumer_tag for _ in range(2)]
        run.check_equal(set(told), tags, 'cancelled consumers')
        consumer.quiet()
        for tag in tags:                    # their tags are free, cancelling them is no error
            consumer.cancel(tag)


def test_consumers_are_not_told_without_the_capability():
    with world() as w:
        channel, consumer = w.channel(), w.channel(capabilities={'basic.nack': True})
        channel.declare(w.q())
        tag = consumer.consume(w.q())
        channel.call('queue.delete', queue=w.q())
        consumer.quiet()
        channel.declare(w.q())
        run.wait_for(lambda: consumer.call('basic.consume', queue=w.q(), consumer_tag=tag),
                     'the tag to be free')


def test_delete_ok_precedes_the_cancel_of_the_own_consumer():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q())
        tag = channel.consume(w.q())
        channel.send('queue.delete', queue=w.q())
        channel.expect('queue.delete-ok', message_count=0)
        channel.expect('basic.cancel', consumer_tag=tag, nowait=True)


def test_own_cancel_is_not_notified():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q(), auto_delete=True)
        tag = channel.consume(w.q())
        channel.cancel(tag)
        channel.quiet()


# ---- server-side odds and ends ---------------------------------------------------------------

def test_queue_and_exchange_may_share_a_name():
    with world() as w:
        channel = w.channel(confirm=True)
        w.x('same')
        channel.exchange(w.q('same'), 'fanout')
        channel.declare(w.q('same'))
        channel.bind(w.q('same'), w.x('same'))
        channel.put(w.x('same'), '', 'in')
        run.check_equal(channel.drain(w.q('same')), ['in'], 'messages')
        channel.call('exchange.delete', exchange=w.x('same'))
        run.check(channel.exists('queue', w.q('same')), 'the queue went with the exchange')
        run.check(not channel.exists('exchange', w.x('same')),
                  'still there: ' + exchange_text(w.x('same')))


if __name__ == '__main__':
    run.main()
