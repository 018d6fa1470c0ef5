#!/usr/bin/python3
"""test_arguments.py - arguments of queue.declare: what is taken, what is refused, what is compared

The tables name every argument that RabbitMQ 3.10 knows; values that can be are tested for what they
do in the files of their topics. Where Leveret takes more than 3.10, that is said.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import leveret                                                              # noqa: E402
import run                                                                  # noqa: E402
from peer import Fixture, World, elsewhere, field, queue_text                      # noqa: E402
from semantics import inequivalent, invalid, not_for_type                   # noqa: E402

FIXTURE = Fixture()
setup, teardown, world = FIXTURE.setup, FIXTURE.teardown, FIXTURE.world

TEN_YEARS_MS = 315360000000
DLX = {'x-dead-letter-exchange': 'dlx'}
# in the order in which they are checked: name, a value that is taken, what must stand beside it
CLASSIC = (('x-expires', 60000, {}), ('x-message-ttl', 60000, {}),
           ('x-dead-letter-exchange', 'dlx', {}), ('x-dead-letter-routing-key', 'k', DLX),
           ('x-max-length', 10, {}), ('x-max-length-bytes', 1000, {}), ('x-max-priority', 5, {}),
           ('x-overflow', 'reject-publish', {}), ('x-queue-mode', 'lazy', {}),
           ('x-queue-version', 2, {}), ('x-single-active-consumer', True, {}))
# not for classic queues; Leveret takes x-delivery-limit on any queue
OTHERS = (('x-dead-letter-strategy', 'at-least-once'), ('x-max-in-memory-length', 5),
          ('x-max-in-memory-bytes', 5), ('x-quorum-initial-group-size', 1), ('x-max-age', '1D'),
          ('x-stream-max-segment-size-bytes', 1000), ('x-initial-cluster-size', 1))
# of a type that no argument has but those that take it
ODD = (('text', 'longstr'), (True, 'bool'), (1.5, 'double'), (None, 'void'), ([1], 'array'),
       ({'a': 1}, 'table'), (b'\1', 'binary'), (field('f', 1), 'float'),
       (field('D', (0, 1)), 'decimal'), (field('T', 1), 'timestamp'))


def refused(w, channel, arguments, text):
    """These arguments must be refused with this text, and nothing declared."""
    channel.refuses(406, text, 'queue.declare', queue=w.q(), durable=True, arguments=arguments)
    run.check(not channel.exists('queue', w.q()), 'declared in spite of %r' % arguments)


def test_values_that_can_be():
    with world() as w:
        channel = w.channel()
        for number, arguments in enumerate((
                {'x-expires': 1000000}, {'x-expires': TEN_YEARS_MS}, {'x-message-ttl': 0},
                {'x-message-ttl': TEN_YEARS_MS}, {'x-dead-letter-exchange': ''},
                {'x-dead-letter-exchange': 'does.not.exist', 'x-dead-letter-routing-key': ''},
                {'x-max-length': 0}, {'x-max-length': 2**62}, {'x-max-length-bytes': 2**62},
                {'x-max-priority': 0}, {'x-max-priority': 255}, {'x-overflow': 'drop-head'},
                {'x-overflow': 'reject-publish'}, {'x-overflow': 'reject-publish-dlx'},
                {'x-queue-mode': 'default'}, {'x-queue-mode': 'lazy'}, {'x-queue-version': 1},
                {'x-queue-version': 2}, {'x-single-active-consumer': True},
                {'x-single-active-consumer': False}, {'x-queue-type': 'classic'})):
            for _ in range(2):                  # the second time as equal
                channel.declare(w.q(str(number)), arguments)


def test_integers_of_every_width_are_integers():
    with world() as w:
        channel = w.channel()
        for name in ('x-expires', 'x-message-ttl', 'x-max-length', 'x-max-length-bytes',
                     'x-max-priority'):
            for octet in 'bBsuIilL':
                channel.declare(w.q(name), {name: field(octet, 100)})


def test_numbers_that_cannot_be():
    with world() as w:
        channel = w.channel()
        over = '{value_too_large,%d}' % (TEN_YEARS_MS + 1)
        for name, value, reason in (
                ('x-expires', 0, '{value_zero,0}'), ('x-expires', -1, '{value_negative,-1}'),
                ('x-expires', TEN_YEARS_MS + 1, over),
                ('x-message-ttl', -1, '{value_negative,-1}'),
                ('x-message-ttl', TEN_YEARS_MS + 1, over),
                ('x-max-length', -1, '{value_negative,-1}'),
                ('x-max-length', -2**63, '{value_negative,%d}' % -2**63),
                ('x-max-length-bytes', -7, '{value_negative,-7}'),
                ('x-max-priority', -1, '{value_negative,-1}'),
                ('x-max-priority', 256, '{max_value_exceeded,256}'),
                ('x-queue-version', 0, '"unsupported queue version \'0\'"'),
                ('x-queue-version', 3, '"unsupported queue version \'3\'"')):
            refused(w, channel, {name: value}, invalid(w.q(), name, reason))


def test_where_a_number_is_wanted():
    with world() as w:
        channel = w.channel()
        for name in ('x-expires', 'x-message-ttl', 'x-max-length', 'x-max-length-bytes',
                     'x-max-priority'):
            for value, kind in ODD:
                refused(w, channel, {name: value},
                        invalid(w.q(), name, '"expected integer, got %s"' % kind))


def test_where_text_is_wanted():
    with world() as w:
        channel = w.channel()
        odd = ((5, 'signedint'), (field('l', 5), 'long'), (True, 'bool'), (None, 'void'),
               ([], 'array'), ({}, 'table'))
        for name in ('x-dead-letter-routing-key', 'x-overflow', 'x-queue-mode', 'x-queue-type'):
            for value, kind in odd:
                refused(w, channel, {**(DLX if 'key' in name else {}), name: value},
                        invalid(w.q(), name, '{unacceptable_type,%s}' % kind))
        for value, kind in odd:
            refused(w, channel, {'x-dead-letter-exchange': value},
                    "PRECONDITION_FAILED - invalid type '%s' for arg 'x-dead-letter-exchange' in %s"
                    % (kind, queue_text(w.q())))


def test_where_yes_or_no_is_wanted():
    with world() as w:
        channel = w.channel()
        for value, kind in ((1, 'signedint'), ('true', 'longstr'), (None, 'void')):
            refused(w, channel, {'x-single-active-consumer': value},
                    invalid(w.q(), 'x-single-active-consumer', '{unacceptable_type,%s}' % kind))


def test_words_that_cannot_be():
    with world() as w:
        channel = w.channel()
        for name, value, reason in (
                ('x-overflow', 'drop-tail', 'invalid_overflow'),
                ('x-overflow', '', 'invalid_overflow'),
                ('x-overflow', 'Drop-Head', 'invalid_overflow'),
                ('x-queue-mode', 'eager', '"unsupported queue mode \'eager\'"'),
                ('x-queue-type', 'foo', '"unsupported queue type \'foo\'"'),
                ('x-queue-type', 'Classic', '"unsupported queue type \'Classic\'"')):
            refused(w, channel, {name: value}, invalid(w.q(), name, reason))


def test_a_dead_letter_key_needs_its_exchange_in_the_same_arguments():
    with world() as w:
        refused(w, w.channel(), {'x-dead-letter-routing-key': 'k'},
                invalid(w.q(), 'x-dead-letter-routing-key', 'routing_key_but_no_dlx_defined'))


def test_arguments_of_other_types_of_queues():
    with world() as w:
        channel = w.channel()
        for name, value in OTHERS:
            refused(w, channel, {name: value}, not_for_type(w.q(), name))
            refused(w, channel, {name: value, 'x-queue-type': 'classic'},
                    not_for_type(w.q(), name))


def test_the_first_failing_check_is_told():
    bad = {'x-expires': 0, 'x-message-ttl': -1, 'x-dead-letter-routing-key': 5, 'x-max-length': -1,
           'x-max-length-bytes': -1, 'x-max-priority': 256, 'x-overflow': 'odd',
           'x-queue-mode': 'odd', 'x-queue-version': 3, 'x-single-active-consumer': 1}
    with world() as w:
        channel = w.channel()
        left = dict(reversed(bad.items()))      # the order of the table does not count
        left['x-max-age'] = '1D'
        left['x-dead-letter-exchange'] = 5
        left['x-queue-type'] = 'foo'
        refused(w, channel, left, "PRECONDITION_FAILED - invalid type 'signedint' for arg "
                "'x-dead-letter-exchange' in %s" % queue_text(w.q()))
        left['x-dead-letter-exchange'] = 'dlx'
        refused(w, channel, left,
                invalid(w.q(), 'x-queue-type', '"unsupported queue type \'foo\'"'))
        left['x-queue-type'] = 'classic'
        for name in bad:
            channel.send('queue.declare', queue=w.q(), arguments=left)
            event = channel.expect('channel.close', reply_code=406)
            run.check("invalid arg '%s' for" % name in event.reply_text,
                      '%s is told, not %s' % (event.reply_text, name))
            channel.send('channel.close-ok')
            channel.call('channel.open')
            del left[name]
        refused(w, channel, left, not_for_type(w.q(), 'x-max-age'))


def test_every_argument_is_compared_when_a_queue_is_declared_again():
    names = {int: 'signedint', str: 'longstr', bool: 'bool'}
    others = {int: 7, str: 'other', bool: False}
    special = {'x-queue-version': 1, 'x-queue-mode': 'default', 'x-overflow': 'drop-head'}
    with world() as w:
        channel = w.channel()
        for name, value, beside in CLASSIC:
            text, kind = (str(value).lower() if value is True else str(value)), names[type(value)]
            channel.declare(w.q(name), {name: value, **beside})
            channel.declare(w.q(name + '.none'), beside)
            other = special.get(name, others[type(value)])
            shown = str(other).lower() if other is False else str(other)
            for queue, received, current, arguments in (
                    (name, "'%s'" % shown, "'%s'" % text, {name: other}),
                    (name, 'none', "the value '%s' of type '%s'" % (text, kind), {}),
                    (name + '.none', "the value '%s' of type '%s'" % (text, kind), 'none',
                     {name: value})):
                channel.refuses(406, inequivalent(w.q(queue), name, received, current),
                                'queue.declare', queue=w.q(queue), arguments={**beside,
                                                                              **arguments})
            channel.declare(w.q(name), {name: value, **beside})


def test_numbers_are_compared_by_value_and_text_is_no_number():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q(), {'x-max-length': 5})
        for octet in 'bBsuIilL':
            channel.declare(w.q(), {'x-max-length': field(octet, 5)})
        channel.refuses(406, inequivalent(w.q(), 'x-max-length', "'6'", "'5'"), 'queue.declare',
                        queue=w.q(), arguments={'x-max-length': field('l', 6)})
        channel.refuses(406, inequivalent(w.q(), 'x-max-length', "'5'", "'5'"), 'queue.declare',
                        queue=w.q(), arguments={'x-max-length': '5'})


def test_values_are_not_checked_but_compared_where_the_queue_exists():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q(), {'x-max-length': 5})
        channel.refuses(406, inequivalent(w.q(), 'x-max-length', "'-1'", "'5'"), 'queue.declare',
                        queue=w.q(), arguments={'x-max-length': -1})


def test_flags_are_compared_before_arguments():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q(), {'x-max-length': 5})
        channel.refuses(406, inequivalent(w.q(), 'durable', "'true'", "'false'"), 'queue.declare',
                        queue=w.q(), durable=True, arguments={'x-max-length': 6})


def test_all_of_them_together():
    with world() as w:
        channel = w.channel(confirm=True)
        arguments = {name: value for name, value, _ in CLASSIC}
        for _ in range(2):
            channel.declare(w.q(), arguments, durable=True)
        channel.put('', w.q(), 'a', priority=3)
        run.check_equal(channel.drain(w.q()), ['a'], 'messages')


def test_unknown_arguments_are_accepted_and_told_once():
    with world() as w:
        channel = w.channel()
        for number in range(3):
            channel.declare(w.q(str(number)), {'x-nobody-knows': 1, 'colour': 'red',
                                               'x-max-lenght': 5})
            channel.declare(w.q(str(number)))   # and not compared
        if elsewhere():
            return
        log = FIXTURE.broker.log()
        for name in ('x-nobody-knows', 'x-max-lenght', 'colour'):
            run.check_equal(log.count("argument '%s', which is not known" % name), 1,
                            'lines of the log about ' + name)


def test_unknown_arguments_that_differ_are_not_compared_but_told():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q(), {'x-shade': 'dark'})
        channel.exchange(w.x(), arguments={'x-shade': 'dark'})
        for arguments in ({'x-shade': 'dark'}, {'x-shade': 'pale'}, {'x-shade': 7}, {},
                          {'x-shade': 'dark', 'x-tint': 1}):
            channel.declare(w.q(), arguments)
            channel.exchange(w.x(), arguments=arguments)
        if elsewhere():
            return
        log = FIXTURE.broker.log()
        for kind, name in (('queue', w.q()), ('exchange', w.x())):
            line = ("%s '%s' in vhost '/' stays as it is: it was declared again with 'pale' for the "
                    "argument 'x-shade' but has 'dark'" % (kind, name))
            run.check_equal(log.count(line), 1, line)
            run.check_equal(log.count("%s '%s' in vhost '/' stays as it is" % (kind, name)), 1,
                            'lines about ' + name)


def test_names_of_unknown_arguments_fill_no_log():
    if elsewhere():
        run.skip('reads the log of leveretd')
    with leveret.Broker() as broker, World(broker.port) as w:
        channel = w.channel()
        for number in range(100):
            channel.exchange(w.x(str(number)), arguments={'x-odd-%d' % number: 1})
        log = broker.log()
        run.check_equal(log.count('which is not known here'), 64, 'names listed')
        run.check_equal(log.count('no more will be'), 1, 'end of the list')


def test_streams_are_refused_by_name():
    if elsewhere():
        run.skip('RabbitMQ has them')
    with world() as w:
        channel = w.channel()
        channel.send('queue.declare', queue=w.q(), durable=True,
                     arguments={'x-queue-type': 'stream'})
        event = channel.expect('channel.close', reply_code=406)
        run.check(event.reply_text.startswith(invalid(w.q(), 'x-queue-type', ''))
                  and "'stream'" in event.reply_text, 'text %r' % event.reply_text)
        channel.send('channel.close-ok')
        channel.call('channel.open')
        run.check(not channel.exists('queue', w.q()), 'declared all the same')


def test_arguments_outlive_a_restart():
    if elsewhere():
        run.skip('restarts leveretd')
    with world() as w:
        channel = w.channel()
        arguments = {name: value for name, value, _ in CLASSIC}
        channel.declare(w.q(), arguments, durable=True)
        channel.declare(w.q('limited'), {'x-delivery-limit': 3, 'x-consumer-timeout': 60000},
                        durable=True)
        FIXTURE.broker.restart()
        channel = w.channel(confirm=True)
        channel.declare(w.q(), arguments, durable=True)
        channel.declare(w.q('limited'), {'x-delivery-limit': 3, 'x-consumer-timeout': 60000},
                        durable=True)
        channel.refuses(406, inequivalent(w.q(), 'x-max-length', "'11'", "'10'"), 'queue.declare',
                        queue=w.q(), durable=True, arguments={**arguments, 'x-max-length': 11})


if __name__ == '__main__':
    run.main()
