#!/usr/bin/python3
"""test_policies.py - policies, operator policies, and the limits of vhosts and users

They come from policies.json, a definitions file: `lvpol` is a vhost whose policies match the ends
of queue names (a queue named ...length has max-length 3 by policy, and so on); the other vhosts and
the users named lvpol-* have limits; all passwords are "secret". Another broker is tested too when
that file has been imported there. What a definitions file brings when the broker starts again is
tested on leveretd, with files that the tests write.
"""

import json
import os
import signal
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import leveret                                                              # noqa: E402
import rawamqp                                                              # noqa: E402
import run                                                                  # noqa: E402
from peer import Fixture, World, elsewhere, exchange_text                   # noqa: E402
from semantics import (alive, arrives, deaths, headers, inequivalent,       # noqa: E402
                       outcomes, settled, sleep_until)

DEFINITIONS = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'policies.json')
QUORUM = {'x-queue-type': 'quorum'}
FIXTURE = Fixture(args=['--definitions', DEFINITIONS])
teardown = FIXTURE.teardown


def setup():
    """Start a broker that has the policies, or see whether the other one has them."""
    FIXTURE.setup()
    if not elsewhere():
        return
    raw = rawamqp.Raw(FIXTURE.broker.port).start().login('lvpol-all', 'secret')
    if raw.expect_any(0, ['connection.tune', 'connection.close'])[0] != 'connection.tune':
        run.skip('policies.json has not been imported there')
    raw.drop()


def world(vhost='lvpol', user='lvpol-all'):
    """A World in one of the vhosts."""
    return FIXTURE.world(user=user, password='secret', vhost=vhost)


def dead_letters(w, channel, key=''):
    """Declare the dead-letter exchange of the policies and a queue on it; return the queue."""
    channel.exchange('lvpol.dlx', 'topic', auto_delete=True)
    channel.declare(w.q('dead'))
    channel.bind(w.q('dead'), 'lvpol.dlx', key or '#')
    return w.q('dead')


def left_of(channel, queue, *bodies):
    """Publish to a queue and return what is left there."""
    channel.put('', queue, *bodies)
    settled(channel)
    return channel.drain(queue)


# ---- which policy applies --------------------------------------------------------------------

def test_a_policy_applies_where_its_pattern_is_found():
    with world() as w:
        channel = w.channel(confirm=True)
        for name, wanted in (('length', 'cde'), ('length.longer', 'abcde'), ('case', 'abcde'),
                             ('Case', ''), ('in the middle', 'e'), ('plain', 'abcde')):
            channel.declare(w.q(name))
            run.check_equal(left_of(channel, w.q(name), *'abcde'), list(wanted),
                            'left in ' + name)


def test_the_highest_priority_applies_alone():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('ranked'))
        run.check_equal(left_of(channel, w.q('ranked'), *'abcde'), list('abcde'), 'by number')
        run.check_equal(left_of(channel, w.q('ranked'), 'aaaaaa', 'bbbbbb'), ['bbbbbb'],
                        'by octets')


def test_it_applies_to_what_it_is_for():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange('lvpol.ae', 'fanout', auto_delete=True)
        channel.declare(w.q('ae'))
        channel.bind(w.q('ae'), 'lvpol.ae')
        for name in ('both', 'every'):
            channel.exchange(w.x(name))
            channel.declare(w.q(name))
            run.check_equal(left_of(channel, w.q(name), 'a', 'b'), ['b'], 'left in the queue')
            channel.put(w.x(name), 'nowhere', 'c', mandatory=True)
            event = arrives(channel, w.q('ae'), 'c')
            run.check_equal((event.exchange, event.routing_key), (w.x(name), 'nowhere'),
                            'came from')
        channel.unbind(w.q('ae'), 'lvpol.ae')


def test_an_alternate_exchange_of_the_declaration_wins():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x('own'), 'fanout')
        channel.exchange(w.x('every'), arguments={'alternate-exchange': w.x('own')})
        channel.declare(w.q())
        channel.bind(w.q(), w.x('own'))
        channel.put(w.x('every'), 'k', 'a')
        arrives(channel, w.q(), 'a')
        # and the policy is no part of what is compared
        channel.exchange(w.x('both'))
        channel.refuses(406, "PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for %s: "
                        "received the value 'lvpol.ae' of type 'longstr' but current is none"
                        % exchange_text(w.x('both'), 'lvpol'), 'exchange.declare',
                        exchange=w.x('both'), type='direct',
                        arguments={'alternate-exchange': 'lvpol.ae'})


def test_predeclared_exchanges_and_generated_names_match():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange('lvpol.ae', 'fanout', auto_delete=True)
        channel.declare(w.q('ae'))
        channel.bind(w.q('ae'), 'lvpol.ae')
        channel.put('amq.direct', w.q('nowhere'), 'a')
        arrives(channel, w.q('ae'), 'a')
        name = channel.declare(exclusive=True).queue
        run.check_equal(left_of(channel, name, *'abc'), ['c'], 'left')


def test_exclusive_and_auto_delete_queues_match():
    with world() as w:
        channel = w.channel(confirm=True)
        for number, flags in enumerate(({'exclusive': True}, {'auto_delete': True},
                                        {'durable': True})):
            name = w.q('%d.length' % number)
            channel.declare(name, **flags)
            run.check_equal(left_of(channel, name, *'abcde'), list('cde'), 'left')


def test_one_key_that_is_not_for_a_type_of_queue_keeps_the_policy_away():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('quorum.mixed'), QUORUM, durable=True)
        channel.put('', w.q('quorum.mixed'), 'a')
        channel.becomes(w.q('quorum.mixed'), 0)
        channel.declare(w.q('classic.mixed'))
        began = time.monotonic()
        channel.put('', w.q('classic.mixed'), 'a')
        sleep_until(began + 0.4)
        run.check_equal(channel.drain(w.q('classic.mixed')), ['a'], 'messages')


# ---- policies and arguments ------------------------------------------------------------------

def test_the_lower_number_counts():
    with world() as w:
        channel = w.channel(confirm=True)
        for argument, wanted in ((5, 'cde'), (2, 'de'), (0, '')):
            name = w.q('%d.length' % argument)
            channel.declare(name, {'x-max-length': argument})
            run.check_equal(left_of(channel, name, *'abcde'), list(wanted),
                            'left with %d' % argument)
        channel.declare(w.q('octets'), {'x-max-length-bytes': 4})
        run.check_equal(left_of(channel, w.q('octets'), 'aaa', 'bbb'), ['bbb'], 'left')


def test_the_overflow_of_the_arguments_wins():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('1.reject'))
        channel.declare(w.q('2.reject'), {'x-overflow': 'drop-head'})
        channel.declare(w.q('3.reject'), {'x-max-length': 2})
        for name, results, wanted in (('1.reject', ['ack', 'nack', 'nack'], 'a'),
                                      ('2.reject', ['ack', 'ack', 'ack'], 'c'),
                                      ('3.reject', ['ack', 'nack', 'nack'], 'a')):
            for body in 'abc':
                channel.publish('', w.q(name), body)
            run.check_equal(outcomes(channel, 3), results, 'outcomes')
            run.check_equal(channel.drain(w.q(name)), list(wanted), 'left in ' + name)


def test_the_time_of_a_policy():
    with world() as w:
        channel = w.channel(confirm=True)
        dead = dead_letters(w, channel)
        channel.declare(w.q('1.ttl'))
        channel.declare(w.q('2.ttl'), {'x-message-ttl': 60000})
        channel.declare(w.q('3.ttl'), {'x-message-ttl': 0})
        for name in ('1.ttl', '2.ttl'):
            began = time.monotonic()
            channel.put('', w.q(name), name)
            event = arrives(channel, dead, name)
            run.check(time.monotonic() - began >= 0.3, 'it expired early')
            run.check_equal(deaths(event), [(w.q(name), 'expired', 1)], 'x-death')
        began = time.monotonic()
        channel.put('', w.q('3.ttl'), 'at once')
        arrives(channel, dead, 'at once')
        run.check(time.monotonic() - began < 0.3, 'the argument did not count')


def test_the_expiry_of_queues_by_policy():
    with world() as w:
        channel = w.channel(confirm=True)
        began = time.monotonic()
        channel.declare(w.q('1.expires'))
        channel.declare(w.q('2.expires'), {'x-expires': 60000})
        for name in ('1.expires', '2.expires'):
            run.wait_for(lambda: not alive(channel, w.q(name)), 'the end of ' + name)
            run.check(time.monotonic() - began >= 0.7, 'it went early')


def test_dead_letter_exchange_and_key_by_policy():
    with world() as w:
        channel = w.channel(confirm=True)
        dead = dead_letters(w, channel)
        channel.exchange(w.x('own'), 'fanout')
        channel.declare(w.q('own dead'))
        channel.bind(w.q('own dead'), w.x('own'))
        for name, arguments, target, exchange, key in (
                ('1.dlx', {}, dead, 'lvpol.dlx', 'by.policy'),
                ('2.dlx', {'x-dead-letter-exchange': w.x('own')}, w.q('own dead'), w.x('own'),
                 'by.policy'),
                ('3.dlx', {'x-dead-letter-exchange': w.x('own'),
                           'x-dead-letter-routing-key': 'own.key'}, w.q('own dead'), w.x('own'),
                 'own.key'),
                ('4.key', {'x-dead-letter-exchange': 'lvpol.dlx'}, dead, 'lvpol.dlx',
                 'by.policy')):
            channel.declare(w.q(name), arguments)
            channel.put('', w.q(name), name)
            channel.reject(channel.take(w.q(name), name).delivery_tag, requeue=False)
            event = arrives(channel, target, name)
            run.check_equal((event.exchange, event.routing_key), (exchange, key), 'came from')
        channel.declare(w.q('5.key'))           # a key without an exchange is nothing
        channel.put('', w.q('5.key'), 'a')
        channel.reject(channel.take(w.q('5.key'), 'a').delivery_tag, requeue=False)
        settled(channel)
        run.check_equal(channel.counts(dead)[0], 0, 'dead letters')


def test_the_delivery_limit_of_a_policy():
    with world() as w:
        channel = w.channel(confirm=True)
        dead = dead_letters(w, channel)
        for number, (argument, allowed) in enumerate(((None, 1), (5, 1), (0, 0))):
            name = w.q('%d.limit' % number)
            arguments = {**QUORUM} if argument is None else {**QUORUM,
                                                             'x-delivery-limit': argument}
            channel.declare(name, arguments, durable=True)
            channel.put('', name, 'a')
            for count in range(allowed + 1):
                event = arrives(channel, name, 'a', no_ack=False)
                run.check(not count or headers(event)['x-delivery-count'] == count, 'count')
                channel.reject(event.delivery_tag)
            run.check_equal(deaths(arrives(channel, dead, 'a')), [(name, 'delivery_limit', 1)],
                            'x-death')


def test_policies_are_no_part_of_what_is_compared():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q('length'))
        channel.declare(w.q('length'))
        text = inequivalent(w.q('length'), 'x-max-length', "the value '3' of type 'signedint'",
                            'none').replace("vhost '/'", "vhost 'lvpol'")
        channel.refuses(406, text, 'queue.declare', queue=w.q('length'),
                        arguments={'x-max-length': 3})


# ---- operator policies -----------------------------------------------------------------------

def test_an_operator_policy_alone_and_with_arguments():
    with world() as w:
        channel = w.channel(confirm=True)
        for number, (argument, wanted) in enumerate(((None, 'de'), (4, 'de'), (1, 'e'))):
            name = w.q('%d.operator' % number)
            channel.declare(name, None if argument is None else {'x-max-length': argument})
            run.check_equal(left_of(channel, name, *'abcde'), list(wanted), 'left')
        channel.declare(w.q('optime'), {'x-message-ttl': 60000})
        channel.put('', w.q('optime'), 'a')
        channel.becomes(w.q('optime'), 0)


def test_operator_policies_and_policies_are_merged_by_the_lower_number():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('merged'))
        run.check_equal(left_of(channel, w.q('merged'), *'abcde'), ['d', 'e'], 'by number')
        run.check_equal(left_of(channel, w.q('merged'), 'aaaaaa', 'bbbbbb'), ['bbbbbb'],
                        'by octets')
        channel.declare(w.q('1.merged'), {'x-max-length': 1})
        run.check_equal(left_of(channel, w.q('1.merged'), *'abcde'), ['e'], 'left')


def test_an_operator_limit_keeps_the_overflow_of_the_queue():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('operator'), {'x-overflow': 'reject-publish'})
        for body in 'abc':
            channel.publish('', w.q('operator'), body)
        run.check_equal(outcomes(channel, 3), ['ack', 'ack', 'nack'], 'outcomes')


# ---- limits of vhosts ------------------------------------------------------------------------

def queue_limit(queue, vhost, limit):
    """The text for one queue too many."""
    return ("PRECONDITION_FAILED - cannot declare queue '%s': queue limit in vhost '%s' (%d) is "
            'reached' % (queue, vhost, limit))


def connection_refused(vhost, user, text, code=530):
    """Opening a connection must be refused with this text; the method may be any."""
    raw = rawamqp.Raw(FIXTURE.broker.port).start().login(user, 'secret').tune_ok()
    raw.call(0, 'connection.open', vhost=vhost)
    raw.expect_close(code, text, None)
    raw.drop()


def test_queues_of_a_vhost():
    with world('lvqueues2') as w:
        channel = w.channel()
        channel.declare(w.q('a'))
        channel.declare(w.q('b'), exclusive=True)
        for name, flags in (('c', {}), ('c', {'exclusive': True}),
                            ('c', {'durable': True, 'arguments': QUORUM})):
            channel.refuses(406, queue_limit(w.q(name), 'lvqueues2', 2), 'queue.declare',
                            queue=w.q(name), **flags)
        channel.declare(w.q('a'))               # it is there already
        channel.declare(w.q('a'), passive=True)
        channel.refuses(406, inequivalent(w.q('a'), 'durable', "'true'", "'false'").replace(
            "vhost '/'", "vhost 'lvqueues2'"), 'queue.declare', queue=w.q('a'), durable=True)
        channel.call('queue.delete', queue=w.q('b'))
        channel.declare(w.q('c'))


def test_no_queues_and_any_number_of_queues():
    with world('lvqueues0') as w:
        w.channel().refuses(406, queue_limit(w.q(), 'lvqueues0', 0), 'queue.declare', queue=w.q())
    with world('lvfree') as w:
        channel = w.channel()
        for number in range(20):
            channel.declare(w.q(str(number)))


def test_connections_of_a_vhost():
    text = ("NOT_ALLOWED - access to vhost '%s' refused for user 'lvpol-all': connection limit "
            '(%d) is reached')
    connection_refused('lvconn0', 'lvpol-all', text % ('lvconn0', 0))
    with world('lvconn1') as w:
        channel = w.channel()
        connection_refused('lvconn1', 'lvpol-all', text % ('lvconn1', 1))
        channel.declare()                       # the first is untouched
        channel.peer.close()

        def again():
            raw = rawamqp.Raw(FIXTURE.broker.port).start().login('lvpol-all', 'secret').tune_ok()
            raw.call(0, 'connection.open', vhost='lvconn1')
            name, _ = raw.expect_any(0, ['connection.open-ok', 'connection.close'])
            raw.drop()
            return name == 'connection.open-ok'
        run.wait_for(again, 'room for another connection')
    with world('lvfree') as w:
        for _ in range(5):
            w.channel()


# ---- limits of users -------------------------------------------------------------------------

def test_connections_of_a_user():
    text = ("NOT_ALLOWED - connection refused for user '%s': user connection limit (%d) is "
            'reached')
    connection_refused('lvpol', 'lvpol-conn0', text % ('lvpol-conn0', 0))
    with world(user='lvpol-conn1') as w:
        channel = w.channel()
        connection_refused('lvpol', 'lvpol-conn1', text % ('lvpol-conn1', 1))
        w.channel(user='lvpol-all')             # others are not counted
        channel.declare()


def test_channels_of_a_user():
    with world(user='lvpol-chan2') as w:
        one, two = w.peer(), w.peer()
        first, second = one.channel(), two.channel()
        two.raw.call(2, 'channel.open')
        event = two.next(0)
        run.check_equal((event.name, event.reply_code, event.reply_text),
                        ('connection.close', 530, 'NOT_ALLOWED - number of channels opened for '
                         "user 'lvpol-chan2' has reached the maximum allowed user limit of (2)"),
                        'reply')
        two.raw.call(0, 'connection.close-ok')
        two.drop()
        first.declare()
        run.check(second.number == 1, 'the second connection had a channel')
    with world(user='lvpol-free') as w:
        peers = [w.peer() for _ in range(3)]
        for peer in peers:
            for _ in range(3):
                peer.channel()


# ---- leveretd with definitions of its own ----------------------------------------------------

class Written:
    """A leveretd whose definitions file the test writes, and may write again."""

    def __init__(self, settings=None, **definitions):
        if elsewhere():
            run.skip('starts a leveretd of its own')
        self.directory = tempfile.TemporaryDirectory(prefix='leveret-test-')
        self.path = os.path.join(self.directory.name, 'definitions.json')
        self.write(**definitions)
        self.broker = leveret.Broker(settings, args=['--definitions', self.path])

    def write(self, **definitions):
        """Replace the file. A broker that begins with a file has no more than that says, so guest
        and vhost / are added."""
        vhosts = [{'name': '/'}, *definitions.pop('vhosts', [])]
        whole = {'vhosts': vhosts,
                 'users': [{'name': 'guest', 'password': 'guest', 'tags': ['administrator']}],
                 'permissions': [{'user': 'guest', 'vhost': vhost['name'], 'configure': '.*',
                                  'write': '.*', 'read': '.*'} for vhost in vhosts],
                 **definitions}
        with open(self.path, 'w', encoding='utf-8') as out:
            json.dump(whole, out)

    def again(self, w, **definitions):
        """Start again with another file."""
        for peer in w.peers:
            peer.drop()
        w.peers.clear()
        self.write(**definitions)
        self.broker.restart()

    def __enter__(self):
        self.broker.start()
        return self

    def __exit__(self, *failure):
        self.broker.close(check=failure[0] is None)
        self.directory.cleanup()


def policy(name, pattern, **definition):
    """A policy for queues in vhost /."""
    priority = definition.pop('priority', 0)
    apply_to = definition.pop('apply_to', 'queues')
    return {'vhost': '/', 'name': name, 'pattern': pattern, 'apply-to': apply_to,
            'priority': priority, 'definition': {key.replace('_', '-'): value
                                                 for key, value in definition.items()}}


def operator(name, pattern, **definition):
    """An operator policy for queues in vhost /."""
    value = policy(name, pattern, **definition)
    return {'vhost': value.pop('vhost'), 'component': 'operator_policy', 'name': value.pop('name'),
            'value': value}


def test_policies_of_a_later_file_act_on_queues_that_exist():
    with Written(policies=[policy('p', 'drops', max_length=5),
                           policy('r', 'rejects', max_length=5, overflow='reject-publish'),
                           policy('t', 'times', message_ttl=600000)]) as own, \
            World(own.broker.port) as w:
        channel = w.channel(confirm=True)
        for name in ('drops', 'rejects', 'times'):
            channel.declare(w.q(name), durable=True)
            channel.put('', w.q(name), *'abcde', delivery_mode=2)
        own.again(w, policies=[policy('p', 'drops', max_length=2),
                               policy('r', 'rejects', max_length=2, overflow='reject-publish'),
                               policy('t', 'times', message_ttl=100)])
        channel = w.channel(confirm=True)
        channel.becomes(w.q('drops'), 2)
        run.check_equal(channel.drain(w.q('drops')), ['d', 'e'], 'left of drop-head')
        channel.publish('', w.q('rejects'), 'f')
        run.check_equal(outcomes(channel, 1), ['nack'], 'outcome')
        run.check_equal(channel.drain(w.q('rejects')), list('abcde'), 'left of reject-publish')
        channel.put('', w.q('times'), 'new')
        channel.becomes(w.q('times'), 5)
        run.check_equal(channel.drain(w.q('times')), list('abcde'), 'times are those of before')


def hang_up(own, said, **definitions):
    """Write another file and have it imported while the broker runs."""
    own.write(**definitions)
    seen = len(own.broker.log())
    os.kill(own.broker.pid, signal.SIGHUP)
    run.wait_for(lambda: said in own.broker.log()[seen:], 'the log to say %r' % said)


def test_a_hangup_imports_the_definitions_again():
    done = 'definitions were imported again from'
    with Written(policies=[policy('p', 'drops', max_length=5)]) as own, \
            World(own.broker.port) as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('drops'))
        channel.put('', w.q('drops'), *'abcde')
        hang_up(own, done, policies=[policy('p', 'drops', max_length=2)],
                parameters=[{'vhost': '/', 'component': 'vhost-limits', 'name': 'limits',
                             'value': {'max-queues': 1}}])
        channel.becomes(w.q('drops'), 2)
        channel.refuses(406, queue_limit(w.q('more'), '/', 1), 'queue.declare', queue=w.q('more'))
        channel.call('confirm.select')
        hang_up(own, 'policies[0].definition',
                policies=[policy('p', 'drops', max_length='many')])
        channel.put('', w.q('drops'), *'fg')
        run.check_equal(channel.drain(w.q('drops')), ['f', 'g'], 'the old limit holds')
        hang_up(own, done, policies=[policy('p', '$^x', max_length=2)])
        channel.put('', w.q('drops'), *'abc')
        run.check_equal(channel.drain(w.q('drops')), list('abc'), 'no policy matches')


def test_what_a_hangup_brings_holds_for_queues_and_exchanges_that_exist():
    exchange_policy = policy('ae', '[.]x', apply_to='exchanges', alternate_exchange='amq.fanout')
    with Written() as own, World(own.broker.port) as w:
        channel, consumer = w.channel(confirm=True), w.channel()
        exchange = w.x() + '.x'
        channel.exchange(exchange, auto_delete=True)
        for name in ('dead', 'dies', 'goes', 'slow'):
            channel.declare(w.q(name))
        channel.declare(w.q('counts'), QUORUM, durable=True)
        channel.bind(w.q('dead'), 'amq.fanout')
        for name in ('dies', 'slow', 'counts'):
            channel.put('', w.q(name), 'before')
        tag = consumer.consume(w.q('slow'))
        consumer.delivery('before')
        hang_up(own, 'definitions were imported again from', policies=[
            exchange_policy,
            policy('d', 'dies', message_ttl=1, dead_letter_exchange='',
                   dead_letter_routing_key=w.q('dead')),
            policy('g', 'goes', expires=100),
            policy('s', 'slow', consumer_timeout=200),
            policy('c', 'counts', delivery_limit=0)])
        consumer.expect('basic.cancel', consumer_tag=tag, nowait=True)
        run.wait_for(lambda: not channel.exists('queue', w.q('goes')), 'the end of the queue')
        channel.call('confirm.select')
        channel.published = 0
        channel.put('', w.q('dies'), 'after')
        event = arrives(channel, w.q('dead'), 'after')
        run.check_equal(deaths(event), [(w.q('dies'), 'expired', 1)], 'x-death')
        run.check_equal(channel.drain(w.q('dies')), ['before'], 'times are those of before')
        channel.reject(channel.take(w.q('counts'), 'before').delivery_tag)
        channel.becomes(w.q('counts'), 0)
        channel.put(exchange, 'nowhere', 'unrouted')
        arrives(channel, w.q('dead'), 'unrouted')


def test_limits_of_a_hangup_hold_at_once_and_close_nobody():
    def limits(user_limits, vhost_limits):
        hang_up(own, 'definitions were imported again from', users=[
            {'name': 'guest', 'password': 'guest', 'tags': ['administrator'],
             'limits': user_limits}],
                parameters=[{'vhost': '/', 'component': 'vhost-limits', 'name': 'limits',
                             'value': vhost_limits}])

    def refused(text):
        raw = rawamqp.Raw(own.broker.port).start().login().tune_ok()
        raw.call(0, 'connection.open', vhost='/')
        raw.expect_close(530, 'NOT_ALLOWED - ' + text, 'connection.open')

    with Written() as own, World(own.broker.port) as w:
        first, second = w.channel(), w.channel()
        limits({'max-connections': 1, 'max-channels': 2}, {})
        refused("connection refused for user 'guest': user connection limit (1) is reached")
        first.quiet()
        second.quiet()
        limits({'max-channels': 2}, {})
        third = w.peer()
        third.raw.call(1, 'channel.open')
        third.fails(530, "NOT_ALLOWED - number of channels opened for user 'guest' has reached the "
                    'maximum allowed user limit of (2)')
        w.peers.remove(third)
        limits({}, {'max-connections': 1})
        refused("access to vhost '/' refused for user 'guest': connection limit (1) is reached")
        limits({}, {})
        w.peer().channel().declare()
        first.quiet()


def test_policies_stay_when_a_file_does_not_name_them():
    with Written(policies=[policy('p', 'limited', max_length=2)],
                 parameters=[operator('o', 'operated', max_length=1)]) as own, \
            World(own.broker.port) as w:
        own.again(w)
        channel = w.channel(confirm=True)
        for name, wanted in (('limited', 'bc'), ('operated', 'c')):
            channel.declare(w.q(name))
            run.check_equal(left_of(channel, w.q(name), *'abc'), list(wanted), 'left')


def test_the_overflow_of_an_operator_policy():
    with Written(policies=[policy('p', 'both', max_length=5, overflow='drop-head')],
                 parameters=[operator('o', 'both', max_length=1, overflow='reject-publish')]
                 ) as own, World(own.broker.port) as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('both'))
        for body in 'ab':
            channel.publish('', w.q('both'), body)
        run.check_equal(outcomes(channel, 2), ['ack', 'nack'], 'outcomes')


def test_policies_for_one_type_of_queue():
    with Written(policies=[
            policy('c', 'typed', apply_to='classic_queues', max_length=1, priority=1),
            policy('q', 'typed', apply_to='quorum_queues', max_length=2, priority=2)]) as own, \
            World(own.broker.port) as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q('typed.c'))
        channel.declare(w.q('typed.q'), QUORUM, durable=True)
        run.check_equal(left_of(channel, w.q('typed.c'), *'abc'), ['c'], 'left in classic')
        run.check_equal(left_of(channel, w.q('typed.q'), *'abc'), ['b', 'c'], 'left in quorum')


def test_the_consumer_timeout_of_a_policy():
    with Written(policies=[policy('p', 'slow', consumer_timeout=400)]) as own, \
            World(own.broker.port) as w:
        channel, consumer = w.channel(confirm=True), w.channel()
        channel.declare(w.q('slow'))
        tag = consumer.consume(w.q('slow'))
        channel.put('', w.q('slow'), 'a')
        consumer.delivery('a')
        consumer.expect('basic.cancel', consumer_tag=tag, nowait=True)
        channel.becomes(w.q('slow'), 1, 0)


def test_policies_that_cannot_be():
    """The words are RabbitMQ's; the broker does not start with half of a file."""
    if elsewhere():
        run.skip('starts leveretd')
    for definition, words in (
            ({'message_ttl': -1}, '-1 is not a valid message TTL'),
            ({'expires': 0}, '0 is not a valid queue expiry'),
            ({'max_length': -5}, '-5 is not a valid maximum length'),
            ({'max_length_bytes': -5}, '-5 is not a valid maximum length in bytes'),
            ({'dead_letter_exchange': 5}, '5 is not a valid dead letter exchange name'),
            ({'dead_letter_routing_key': 5}, '5 is not a valid dead letter routing key'),
            ({'overflow': 'x'}, 'is not a valid overflow value'),
            ({'delivery_limit': 'a'}, 'is not a valid delivery limit'),
            ({'nobody_knows': 1}, 'unknown policy key'),
            ({'max_priority': 5}, 'unknown policy key')):
        own = Written(policies=[policy('odd one', 'x', **definition)])
        try:
            own.broker.start()
        except leveret.BrokerError as failure:
            run.check(words in str(failure), 'no %r in: %s' % (words, failure))
        else:
            raise AssertionError('leveretd started with %r' % definition)
        finally:
            own.broker.close(check=False)
            own.directory.cleanup()


# ---- default queue type ----------------------------------------------------------------------

def test_the_default_queue_type_of_a_vhost():
    vhosts = [{'name': 'quorum', 'metadata': {'default_queue_type': 'quorum'}},
              {'name': 'classic', 'metadata': {'default_queue_type': 'classic'}},
              {'name': 'undefined', 'metadata': {'default_queue_type': 'undefined'}}]
    with Written(vhosts=vhosts) as own:
        with World(own.broker.port, vhost='quorum') as w:
            channel = w.channel(confirm=True)
            channel.declare(w.q('durable'), durable=True)
            for arguments in ({}, QUORUM):
                channel.declare(w.q('durable'), arguments, durable=True)
            channel.send('queue.declare', queue=w.q('durable'), durable=True,
                         arguments={'x-queue-type': 'classic'})
            channel.expect('channel.close', reply_code=406)
            channel.send('channel.close-ok')
            channel.call('channel.open')
            channel.call('confirm.select')
            channel.put('', w.q('durable'), 'a')
            channel.reject(channel.take(w.q('durable'), 'a').delivery_tag)
            event = channel.take(w.q('durable'), 'a', redelivered=True)
            run.check_equal(headers(event)['x-delivery-count'], 1, 'x-delivery-count')
            # flags that a quorum queue cannot have, and a named type, make it a classic one
            for name, flags in (('transient', {}), ('auto', {'durable': True,
                                                             'auto_delete': True}),
                                ('exclusive', {'exclusive': True})):
                channel.declare(w.q(name), **flags)
                channel.declare(w.q(name), {'x-queue-type': 'classic'}, **flags)
            channel.declare(w.q('named'), {'x-queue-type': 'classic', 'x-max-priority': 5},
                            durable=True)
            channel.declare('', exclusive=True)
        for vhost in ('classic', 'undefined'):
            with World(own.broker.port, vhost=vhost) as w:
                channel = w.channel()
                channel.declare(w.q(), durable=True)
                channel.declare(w.q(), {'x-queue-type': 'classic'}, durable=True)


# ---- limits of the configuration -------------------------------------------------------------

def test_queues_and_exchanges_of_the_whole_server():
    if elsewhere():
        run.skip('starts leveretd')
    with leveret.Broker({'cluster_queue_limit': 2, 'cluster_exchange_limit': 9}) as broker, \
            World(broker.port) as w:
        channel = w.channel()
        for name in 'ab':
            channel.declare(w.q(name))
        channel.refuses(406, "PRECONDITION_FAILED - cannot declare queue '%s': queue limit in "
                        'cluster (2) is reached' % w.q('c'), 'queue.declare', queue=w.q('c'))
        channel.declare(w.q('a'))
        channel.call('queue.delete', queue=w.q('a'))
        channel.declare(w.q('c'))
        made = 0
        while made < 10:                        # seven or so are there from the start
            channel.send('exchange.declare', exchange=w.x(str(made)), type='direct')
            event = channel.next()
            if event.name != 'exchange.declare-ok':
                break
            made += 1
        run.check(0 < made < 10, '%d exchanges were declared' % made)
        event.check_close(406, "PRECONDITION_FAILED - cannot declare exchange '%s': exchange limit "
                          'of 9 is reached' % w.x(str(made)), 'exchange.declare')
        channel.send('channel.close-ok')
        channel.call('channel.open')
        channel.exchange(w.x('0'))              # it is there already
        del w.names['exchange', w.x(str(made))]


def test_bindings_of_the_whole_server():
    if elsewhere():
        run.skip('starts leveretd')
    with leveret.Broker({'cluster_binding_limit': 2}) as broker, World(broker.port) as w:
        channel = w.channel()
        channel.declare(w.q())
        channel.exchange(w.x())
        channel.bind(w.q(), 'amq.direct', 'a')
        channel.bind_exchange(w.x(), 'amq.direct', 'b')
        channel.bind(w.q(), 'amq.direct', 'a')           # it is there already
        channel.refuses(406, "PRECONDITION_FAILED - cannot bind queue '%s': binding limit of 2 is "
                        'reached' % w.q(), 'queue.bind', queue=w.q(), exchange='amq.direct',
                        routing_key='c')
        channel.refuses(406, "PRECONDITION_FAILED - cannot bind exchange '%s': binding limit of 2 "
                        'is reached' % w.x(), 'exchange.bind', destination=w.x(),
                        source='amq.fanout')
        channel.unbind(w.q(), 'amq.direct', 'a')
        channel.bind(w.q(), 'amq.direct', 'c')


if __name__ == '__main__':
    run.main()
