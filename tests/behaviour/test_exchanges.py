#!/usr/bin/python3
"""test_exchanges.py - exchange.declare, delete, bind and unbind: what they do and what they refuse

Routing is in test_routing.py, publishing to an exchange in test_publish.py. An exchange is observed
through the protocol only: passive declares tell whether it exists, a declare with other properties
what it is, and messages where its bindings lead.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import run                                                                  # noqa: E402
from peer import Fixture, elsewhere, exchange_text, field, queue_text       # noqa: E402

FIXTURE = Fixture()
setup, teardown, world = FIXTURE.setup, FIXTURE.teardown, FIXTURE.world

DEFAULT_REFUSED = 'ACCESS_REFUSED - operation not permitted on the default exchange'
PREDECLARED = (('amq.direct', 'direct'), ('amq.fanout', 'fanout'), ('amq.topic', 'topic'),
               ('amq.headers', 'headers'), ('amq.match', 'headers'))


def inequivalent(exchange, name, received, current):
    """The text for a redeclaration with another property."""
    return ("PRECONDITION_FAILED - inequivalent arg '%s' for %s: received %s but current is %s"
            % (name, exchange_text(exchange), received, current))


# ---- declare ---------------------------------------------------------------------------------

def test_predeclared_exchanges_are_there_with_their_types():
    with world() as w:
        channel = w.channel()
        for name, kind in PREDECLARED:
            channel.exchange(name, kind, durable=True)
        channel.exchange('amq.rabbitmq.trace', 'topic', durable=True, internal=True)


def test_predeclared_exchanges_refuse_other_properties():
    with world() as w:
        channel = w.channel()
        channel.refuses(406, inequivalent('amq.direct', 'durable', "'false'", "'true'"),
                        'exchange.declare', exchange='amq.direct', type='direct')
        channel.refuses(406, inequivalent('amq.topic', 'type', "'fanout'", "'topic'"),
                        'exchange.declare', exchange='amq.topic', type='fanout', durable=True)


def test_declare_is_idempotent():
    with world() as w:
        channel = w.channel()
        for kind in ('direct', 'fanout', 'topic', 'headers'):
            for _ in range(2):
                channel.exchange(w.x(kind), kind, durable=True, auto_delete=True)


def test_declare_nowait_answers_nothing():
    with world() as w:
        channel = w.channel()
        channel.send('exchange.declare', exchange=w.x(), type='fanout', nowait=True)
        channel.quiet()
        channel.exchange(w.x(), passive=True)
        channel.send('exchange.declare', exchange=w.x(), passive=True, nowait=True)
        channel.quiet()


def test_passive_declare_finds_only_what_exists():
    with world() as w:
        channel = w.channel()
        missing = 'NOT_FOUND - no ' + exchange_text(w.x())
        for nowait in (False, True):
            channel.refuses(404, missing, 'exchange.declare', exchange=w.x(), type='direct',
                            passive=True, nowait=nowait)
        channel.exchange(w.x())
        channel.exchange(w.x(), passive=True)


def test_passive_declare_ignores_type_flags_and_arguments():
    with world() as w:
        channel = w.channel()
        channel.exchange(w.x())
        channel.exchange(w.x(), 'x-nobody-knows', {'alternate-exchange': 4}, passive=True,
                         durable=True, auto_delete=True, internal=True)


def test_unknown_exchange_type_is_refused():
    text = "unknown exchange type 'x-nobody-knows'"
    with world() as w:
        channel = w.channel()
        if elsewhere():
            channel.send('exchange.declare', exchange=w.x(), type='x-nobody-knows')
            channel.peer.fails(503, 'COMMAND_INVALID - ' + text, 'exchange.declare')
            return
        channel.refuses(406, 'PRECONDITION_FAILED - ' + text, 'exchange.declare', exchange=w.x(),
                        type='x-nobody-knows')
        run.check(not channel.exists('exchange', w.x()), 'it was created all the same')


def test_the_default_exchange_cannot_be_declared():
    with world() as w:
        channel = w.channel()
        for passive in (False, True):
            channel.refuses(403, DEFAULT_REFUSED, 'exchange.declare', exchange='', type='direct',
                            passive=passive, durable=True)


def test_names_with_the_reserved_prefix_are_refused():
    with world() as w:
        channel = w.channel()
        channel.refuses(403, "ACCESS_REFUSED - exchange name 'amq.lv' contains reserved prefix "
                        "'amq.*'", 'exchange.declare', exchange='amq.lv', type='direct')
        channel.refuses(404, 'NOT_FOUND - no ' + exchange_text('amq.lv'), 'exchange.declare',
                        exchange='amq.lv', type='direct', passive=True)
        channel.exchange(w.x('amq.is.fine.later'))


def test_line_ends_are_removed_from_names():
    with world() as w:
        channel = w.channel()
        channel.exchange(w.x('ab').replace('ab', 'a\r\nb'))
        channel.exchange(w.x('ab'), passive=True)


def test_exchanges_are_deleted_by_names_without_line_ends():
    with world() as w:
        channel = w.channel()
        for name in (w.x() + '\r', '\n' + w.x(), w.x().replace('.', '\r\n.')):
            channel.exchange(w.x())
            channel.call('exchange.delete', exchange=name)
            run.check(not channel.exists('exchange', w.x()), 'it is still there')
        channel.refuses(403, 'ACCESS_REFUSED - deletion of system %s not allowed'
                        % exchange_text('amq.direct'), 'exchange.delete',
                        exchange='amq.\rdirect')


def test_line_ends_are_removed_from_both_ends_of_bindings():
    """But not from the routing key, nor from the exchange of a publish."""
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q())
        channel.exchange(w.x())
        channel.exchange(w.x('y'), 'fanout')
        queue, source, target = (name.replace('.', '\r\n.') + '\n'
                                 for name in (w.q(), w.x(), w.x('y')))
        channel.bind(queue, source, 'k')
        channel.bind(queue, source, 'k\r\n')
        channel.bind_exchange(target, source, 'k')
        channel.bind(w.q(), target)
        for key in ('k', 'k\r\n'):
            channel.put(w.x(), key, key)
        run.check_equal(channel.drain(w.q()), ['k', 'k\r\n'], 'messages')
        channel.unbind(queue, source, 'k')
        channel.put(w.x(), 'k', 'by the exchange')
        run.check_equal(channel.drain(w.q()), ['by the exchange'], 'messages')
        channel.call('exchange.unbind', destination=target, source=source, routing_key='k')
        channel.put(w.x(), 'k', 'lost')
        channel.put(w.x(), 'k\r\n', 'kept')
        run.check_equal(channel.drain(w.q()), ['kept'], 'messages')
        channel.publish(source, 'k', 'lost')
        channel.closed(404, 'NOT_FOUND - no ' + exchange_text(source), 'basic.publish')


def test_bindings_refuse_names_that_are_only_line_ends():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q())
        channel.exchange(w.x())
        denied = 'ACCESS_REFUSED - operation not permitted on the default exchange'
        for method in ('bind', 'unbind'):
            channel.refuses(403, denied, 'queue.' + method, queue=w.q(), exchange='\r\n')
            channel.refuses(403, denied, 'exchange.' + method, destination=w.x(), source='\r')
            channel.refuses(403, denied, 'exchange.' + method, destination='\n', source=w.x())
        # no shortcut for the last declared queue
        channel.declare(w.q())
        channel.refuses(404, 'NOT_FOUND - no ' + queue_text(''), 'queue.bind', queue='\r\n',
                        exchange=w.x())
        channel.refuses(404, 'NOT_FOUND - no ' + exchange_text('missing'), 'queue.bind',
                        queue=w.q(), exchange='mis\rsing')


def test_redeclaration_with_another_property_is_refused():
    with world() as w:
        channel = w.channel()
        channel.exchange(w.x(), 'direct')
        for name, received, current, fields in (
                ('type', "'fanout'", "'direct'", {'type': 'fanout'}),
                ('durable', "'true'", "'false'", {'durable': True}),
                ('auto_delete', "'true'", "'false'", {'auto_delete': True}),
                ('internal', "'true'", "'false'", {'internal': True}),
                # the first difference in this order is the one that is named
                ('type', "'topic'", "'direct'", {'type': 'topic', 'durable': True}),
                ('durable', "'true'", "'false'", {'durable': True, 'auto_delete': True}),
                ('auto_delete', "'true'", "'false'", {'auto_delete': True, 'internal': True})):
            channel.refuses(406, inequivalent(w.x(), name, received, current),
                            'exchange.declare', exchange=w.x(), **{'type': 'direct', **fields})
        channel.exchange(w.x(), 'direct')


def test_redeclaration_compares_the_alternate_exchange():
    with world() as w:
        channel = w.channel()
        channel.exchange(w.x('plain'))
        channel.exchange(w.x('ae'), arguments={'alternate-exchange': 'one'})
        channel.exchange(w.x('ae'), arguments={'alternate-exchange': 'one'})
        for name, arguments, received, current in (
                ('ae', {'alternate-exchange': 'two'}, "'two'", "'one'"),
                ('ae', {}, 'none', "the value 'one' of type 'longstr'"),
                ('plain', {'alternate-exchange': 'one'}, "the value 'one' of type 'longstr'",
                 'none')):
            channel.refuses(406, inequivalent(w.x(name), 'alternate-exchange', received, current),
                            'exchange.declare', exchange=w.x(name), type='direct',
                            arguments=arguments)


def test_redeclaration_ignores_other_arguments():
    with world() as w:
        channel = w.channel()
        channel.exchange(w.x(), arguments={'colour': 'red', 'size': 5})
        channel.exchange(w.x(), arguments={'colour': 'blue'})
        channel.exchange(w.x())


def test_alternate_exchange_must_be_a_string():
    with world() as w:
        channel = w.channel()
        for octet, value, kind in (('I', 4, 'signedint'), ('t', True, 'bool'), ('V', None, 'void'),
                                   ('l', 4, 'long'), ('d', 1.0, 'double')):
            channel.refuses(406, "PRECONDITION_FAILED - invalid type '%s' for arg "
                            "'alternate-exchange' in %s" % (kind, exchange_text(w.x())),
                            'exchange.declare', exchange=w.x(), type='direct',
                            arguments={'alternate-exchange': field(octet, value)})
        run.check(not channel.exists('exchange', w.x()), 'it was created all the same')


def test_a_failed_declare_closes_only_its_channel():
    with world() as w:
        peer = w.peer()
        one, two = peer.channel(), peer.channel()
        one.refuses(404, 'NOT_FOUND - no ' + exchange_text(w.x()), 'exchange.declare',
                    exchange=w.x(), type='direct', passive=True)
        two.exchange(w.x())
        two.quiet()


# ---- delete ----------------------------------------------------------------------------------

def test_delete_of_a_missing_exchange_is_no_error():
    with world() as w:
        channel = w.channel()
        channel.call('exchange.delete', exchange=w.x())
        channel.call('exchange.delete', exchange=w.x(), if_unused=True)


def test_delete_removes_the_exchange():
    with world() as w:
        channel = w.channel()
        channel.exchange(w.x(), durable=True)
        channel.call('exchange.delete', exchange=w.x())
        run.check(not channel.exists('exchange', w.x()), 'it is still there')
        channel.exchange(w.x(), 'fanout')           # and its name is free for another type
        channel.send('exchange.delete', exchange=w.x(), nowait=True)
        channel.quiet()
        run.check(not channel.exists('exchange', w.x()), 'it is still there')


def test_system_exchanges_cannot_be_deleted():
    with world() as w:
        channel = w.channel()
        channel.refuses(403, DEFAULT_REFUSED, 'exchange.delete', exchange='')
        for name in ('amq.direct', 'amq.headers', 'amq.does-not-exist'):
            channel.refuses(403, 'ACCESS_REFUSED - deletion of system %s not allowed'
                            % exchange_text(name), 'exchange.delete', exchange=name)


def test_delete_if_unused_asks_for_bindings_from_the_exchange():
    with world() as w:
        channel = w.channel()
        in_use = 'PRECONDITION_FAILED - %s in use' % exchange_text(w.x())
        channel.exchange(w.x())
        channel.exchange(w.x('other'))
        channel.declare(w.q())
        channel.bind(w.q(), w.x(), 'k')
        channel.refuses(406, in_use, 'exchange.delete', exchange=w.x(), if_unused=True)
        channel.unbind(w.q(), w.x(), 'k')
        channel.bind_exchange(w.x('other'), w.x(), 'k')
        channel.refuses(406, in_use, 'exchange.delete', exchange=w.x(), if_unused=True)
        # being the destination of a binding is no use
        channel.call('exchange.delete', exchange=w.x('other'), if_unused=True)
        channel.call('exchange.delete', exchange=w.x(), if_unused=True)
        run.check(not channel.exists('exchange', w.x()), 'it is still there')


def test_delete_removes_bindings_on_both_sides():
    with world() as w:
        channel = w.channel(confirm=True)
        for name in 'abc':
            channel.exchange(w.x(name), 'fanout')
        channel.declare(w.q())
        channel.bind_exchange(w.x('b'), w.x('a'))
        channel.bind_exchange(w.x('c'), w.x('b'))
        channel.bind(w.q(), w.x('c'))
        channel.put(w.x('a'), '', 'before')
        channel.call('exchange.delete', exchange=w.x('b'))
        channel.exchange(w.x('b'), 'fanout')
        channel.put(w.x('a'), '', 'lost between a and b')
        channel.put(w.x('b'), '', 'lost between b and c')
        channel.put(w.x('c'), '', 'after')
        run.check_equal(channel.drain(w.q()), ['before', 'after'], 'messages')


# ---- bind and unbind -------------------------------------------------------------------------

def test_the_default_exchange_cannot_be_bound():
    with world() as w:
        channel = w.channel()
        channel.exchange(w.x())
        channel.declare(w.q())
        for name, fields in (
                ('queue.bind', {'queue': w.q(), 'exchange': ''}),
                ('queue.unbind', {'queue': w.q(), 'exchange': ''}),
                ('exchange.bind', {'source': '', 'destination': w.x()}),
                ('exchange.bind', {'source': w.x(), 'destination': ''}),
                ('exchange.unbind', {'source': '', 'destination': w.x()}),
                ('exchange.unbind', {'source': w.x(), 'destination': ''})):
            channel.refuses(403, DEFAULT_REFUSED, name, routing_key='k', **fields)


def test_bind_needs_both_ends():
    with world() as w:
        channel = w.channel()
        channel.exchange(w.x())
        channel.declare(w.q())
        no_exchange = 'NOT_FOUND - no ' + exchange_text(w.x('none'))
        no_queue = 'NOT_FOUND - no ' + queue_text(w.q('none'))
        for text, name, fields in (
                (no_exchange, 'queue.bind', {'queue': w.q(), 'exchange': w.x('none')}),
                (no_queue, 'queue.bind', {'queue': w.q('none'), 'exchange': w.x()}),
                (no_exchange, 'queue.bind', {'queue': w.q('none'), 'exchange': w.x('none')}),
                (no_exchange, 'exchange.bind', {'source': w.x('none'), 'destination': w.x()}),
                (no_exchange, 'exchange.bind', {'source': w.x(), 'destination': w.x('none')})):
            channel.refuses(404, text, name, routing_key='k', **fields)


def test_bind_nowait_answers_nothing_unless_it_fails():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x('a'))
        channel.exchange(w.x('b'))
        channel.declare(w.q())
        channel.send('queue.bind', queue=w.q(), exchange=w.x('b'), routing_key='k', nowait=True)
        channel.send('exchange.bind', destination=w.x('b'), source=w.x('a'), routing_key='k',
                     nowait=True)
        channel.quiet()
        channel.put(w.x('a'), 'k', 'through')
        run.check_equal(channel.drain(w.q()), ['through'], 'messages')
        channel.send('exchange.unbind', destination=w.x('b'), source=w.x('a'), routing_key='k',
                     nowait=True)
        channel.quiet()
        channel.put(w.x('a'), 'k', 'lost')
        run.check_equal(channel.drain(w.q()), [], 'messages')
        channel.refuses(404, 'NOT_FOUND - no ' + exchange_text(w.x('none')), 'queue.bind',
                        queue=w.q(), exchange=w.x('none'), nowait=True)
        channel.refuses(404, 'NOT_FOUND - no ' + exchange_text(w.x('none')), 'exchange.bind',
                        destination=w.x('a'), source=w.x('none'), nowait=True)


def test_unbind_of_what_is_missing_is_no_error():
    with world() as w:
        channel = w.channel()
        channel.exchange(w.x())
        channel.declare(w.q())
        for queue, exchange in ((w.q(), w.x()), (w.q(), w.x('none')), (w.q('none'), w.x()),
                                (w.q('none'), w.x('none'))):
            channel.unbind(queue, exchange, 'k')
        for destination, source in ((w.x(), w.x()), (w.x(), w.x('none')), (w.x('none'), w.x())):
            channel.call('exchange.unbind', destination=destination, source=source)


def test_a_binding_exists_once_however_often_it_is_made():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x('a'))
        channel.exchange(w.x('b'), 'fanout')
        channel.declare(w.q())
        channel.bind(w.q(), w.x('b'))
        for _ in range(3):
            channel.bind_exchange(w.x('b'), w.x('a'), 'k')
            channel.bind(w.q(), w.x('a'), 'direct')
        channel.put(w.x('a'), 'k', 'one')
        channel.put(w.x('a'), 'direct', 'two')
        run.check_equal(channel.drain(w.q()), ['one', 'two'], 'messages')
        channel.unbind(w.q(), w.x('a'), 'direct')
        channel.call('exchange.unbind', destination=w.x('b'), source=w.x('a'), routing_key='k')
        channel.put(w.x('a'), 'k', 'one')
        channel.put(w.x('a'), 'direct', 'two')
        run.check_equal(channel.drain(w.q()), [], 'messages after one unbind each')


def test_bindings_are_told_apart_by_key_and_typed_arguments():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x())
        channel.declare(w.q())
        made = {'z': field('I', 1)}
        channel.bind(w.q(), w.x(), 'k', made)
        for key, arguments in (('k', {}), ('k', {'z': field('l', 1)}), ('k', {'z': 2}),
                               ('other', made), ('k', {'z': 1, 'y': 1})):
            channel.unbind(w.q(), w.x(), key, arguments)
            channel.put(w.x(), 'k', 'still')
            run.check_equal(channel.drain(w.q()), ['still'], 'after unbinding %r' % arguments)
        channel.unbind(w.q(), w.x(), 'k', made)
        channel.put(w.x(), 'k', 'gone')
        run.check_equal(channel.drain(w.q()), [], 'after the matching unbind')


def test_bindings_with_the_same_key_and_other_arguments_are_two():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x())
        channel.declare(w.q())
        channel.bind(w.q(), w.x(), 'k', {'n': 1})
        channel.bind(w.q(), w.x(), 'k', {'n': 2})
        channel.put(w.x(), 'k', 'once')
        run.check_equal(channel.drain(w.q()), ['once'], 'messages')
        channel.unbind(w.q(), w.x(), 'k', {'n': 1})
        channel.put(w.x(), 'k', 'by the other')
        run.check_equal(channel.drain(w.q()), ['by the other'], 'messages')


def test_order_of_binding_arguments_does_not_matter():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x())
        channel.declare(w.q())
        channel.bind(w.q(), w.x(), 'k', [('a', 1), ('b', 2)])
        channel.unbind(w.q(), w.x(), 'k', [('b', 2), ('a', 1)])
        channel.put(w.x(), 'k', 'gone')
        run.check_equal(channel.drain(w.q()), [], 'messages')


# ---- auto-delete -----------------------------------------------------------------------------

def test_auto_delete_waits_for_a_first_binding():
    with world() as w:
        channel = w.channel()
        channel.exchange(w.x(), auto_delete=True)
        channel.exchange(w.x('source'))
        channel.bind_exchange(w.x(), w.x('source'), 'k')
        channel.call('exchange.unbind', destination=w.x(), source=w.x('source'), routing_key='k')
        run.check(channel.exists('exchange', w.x()), 'a binding to it counted as one from it')


def test_auto_delete_when_the_last_binding_is_unbound():
    with world() as w:
        channel = w.channel()
        channel.exchange(w.x(), auto_delete=True)
        channel.declare(w.q())
        channel.bind(w.q(), w.x(), 'a')
        channel.bind(w.q(), w.x(), 'b')
        channel.unbind(w.q(), w.x(), 'a')
        run.check(channel.exists('exchange', w.x()), 'it went with the last binding but one')
        channel.unbind(w.q(), w.x(), 'b')
        run.check(not channel.exists('exchange', w.x()), 'it outlived its last binding')


def test_auto_delete_when_the_queue_is_deleted():
    with world() as w:
        channel = w.channel()
        channel.exchange(w.x(), auto_delete=True)
        channel.declare(w.q())
        channel.bind(w.q(), w.x(), 'k')
        channel.call('queue.delete', queue=w.q())
        run.check(not channel.exists('exchange', w.x()), 'it outlived its last binding')


def test_auto_delete_when_the_destination_exchange_is_deleted_and_on_upstream():
    with world() as w:
        channel = w.channel()
        for name in 'ab':
            channel.exchange(w.x(name), auto_delete=True)
        channel.exchange(w.x('c'))
        channel.bind_exchange(w.x('b'), w.x('a'))
        channel.bind_exchange(w.x('c'), w.x('b'))
        channel.call('exchange.delete', exchange=w.x('c'))
        run.check(not channel.exists('exchange', w.x('b')), 'b outlived its last binding')
        run.check(not channel.exists('exchange', w.x('a')), 'a outlived its last binding')


def test_auto_delete_when_an_exclusive_queue_goes_with_its_connection():
    with world() as w:
        channel, other = w.channel(), w.channel()
        channel.exchange(w.x(), auto_delete=True)
        channel.declare(w.q(), exclusive=True)
        channel.bind(w.q(), w.x(), 'k')
        channel.peer.close()
        run.check(not other.exists('exchange', w.x()), 'it outlived its last binding')


if __name__ == '__main__':
    run.main()
