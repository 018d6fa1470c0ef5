#!/usr/bin/python3
"""test_permissions.py - what configure, write and read allow, operation by operation

The users come from permissions.json, a definitions file: lv-configure, lv-write and lv-read hold
one permission each, on everything; lv-none holds none; lv-names may touch what its expressions
match; lv-topic has topic permissions on the exchange "topics". All have the password "secret".
Another broker is tested too when that file has been imported there.
"""

import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import rawamqp                                                              # noqa: E402
import run                                                                  # noqa: E402
from peer import Fixture, elsewhere, exchange_text, properties, queue_text  # noqa: E402

DEFINITIONS = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'permissions.json')
VHOST = 'lvperm'
SINGLE = ('lv-configure', 'lv-write', 'lv-read', 'lv-none')
FIXTURE = Fixture(args=['--definitions', DEFINITIONS])
teardown = FIXTURE.teardown


def setup():
    """Start a broker that has the users, or see whether the other one has them."""
    FIXTURE.setup()
    if not elsewhere():
        return
    raw = rawamqp.Raw(FIXTURE.broker.port).start().login('lv-all', 'secret')
    if raw.expect_any(0, ['connection.tune', 'connection.close'])[0] != 'connection.tune':
        run.skip('permissions.json has not been imported there')
    raw.drop()


def world():
    """A World whose connections are lv-all's."""
    return FIXTURE.world(user='lv-all', password='secret', vhost=VHOST)


def refusal(access, resource, user):
    """The text of a refusal; up to 3.11 RabbitMQ does not name the permission."""
    return "ACCESS_REFUSED - %saccess to %s refused for user '%s'" % (
        '' if elsewhere() else access + ' ', resource, user)


def queue(name):
    """A queue as refusals name it."""
    return queue_text(name, VHOST)


def exchange(name):
    """An exchange as refusals name it."""
    return exchange_text(name, VHOST)


def attempt(channel, name, fields):
    """Try a method; for a publish with empty content, which is answered only by a refusal."""
    if name == 'basic.publish':
        channel.publish(fields['exchange'], fields['routing_key'])
        channel.quiet()
    else:
        channel.call(name, **fields)


def check_operation(w, name, fields, needs):
    """Run an operation as each user of SINGLE; needs is [(access, resource)] in order of checking.
    It must be refused at the first permission that the user does not hold."""
    for user in SINGLE:
        channel = w.channel(user=user)
        missing = [need for need in needs if user != 'lv-' + need[0]]
        if not missing:
            attempt(channel, name, fields)
            continue
        if name == 'basic.publish':
            channel.publish(fields['exchange'], fields['routing_key'])
        else:
            channel.send(name, **fields)
        channel.closed(403, refusal(*missing[0], user), name)


# ---- one permission at a time ----------------------------------------------------------------

def test_queue_declare_and_delete_need_configure():
    with world() as w:
        owner = w.channel()
        needs = [('configure', queue(w.q()))]
        check_operation(w, 'queue.declare', {'queue': w.q()}, needs)
        check_operation(w, 'queue.declare', {'queue': w.q()}, needs)        # one that exists
        check_operation(w, 'queue.delete', {'queue': w.q()}, needs)
        run.check(not owner.exists('queue', w.q()), 'it is still there')
        check_operation(w, 'queue.delete', {'queue': w.q()}, needs)         # one that does not


def test_exchange_declare_and_delete_need_configure():
    with world() as w:
        owner = w.channel()
        needs = [('configure', exchange(w.x()))]
        fields = {'exchange': w.x(), 'type': 'topic'}
        check_operation(w, 'exchange.declare', fields, needs)
        check_operation(w, 'exchange.declare', fields, needs)
        check_operation(w, 'exchange.delete', {'exchange': w.x()}, needs)
        run.check(not owner.exists('exchange', w.x()), 'it is still there')


def test_consume_get_and_purge_need_read():
    with world() as w:
        w.channel().declare(w.q())
        for name in ('basic.consume', 'basic.get', 'queue.purge'):
            check_operation(w, name, {'queue': w.q()}, [('read', queue(w.q()))])


def test_publish_needs_write():
    with world() as w:
        w.channel().exchange(w.x(), 'fanout')
        check_operation(w, 'basic.publish', {'exchange': w.x(), 'routing_key': 'k'},
                        [('write', exchange(w.x()))])
        check_operation(w, 'basic.publish', {'exchange': '', 'routing_key': 'k'},
                        [('write', exchange('amq.default'))])


def test_bindings_need_write_on_the_destination_and_read_on_the_source():
    with world() as w:
        owner = w.channel()
        owner.declare(w.q())
        owner.exchange(w.x())
        owner.exchange(w.x('to'))
        for name in ('queue.bind', 'queue.unbind'):
            check_operation(w, name, {'queue': w.q(), 'exchange': w.x(), 'routing_key': 'k'},
                            [('write', queue(w.q())), ('read', exchange(w.x()))])
        for name in ('exchange.bind', 'exchange.unbind'):
            check_operation(w, name, {'destination': w.x('to'), 'source': w.x()},
                            [('write', exchange(w.x('to'))), ('read', exchange(w.x()))])


def test_an_alternate_exchange_needs_read_on_the_new_and_write_on_the_alternate():
    with world() as w:
        arguments = {'alternate-exchange': w.x('ae')}
        check_operation(w, 'exchange.declare', {'exchange': w.x(), 'type': 'fanout',
                                                'arguments': arguments},
                        [('configure', exchange(w.x())), ('read', exchange(w.x()))])
        names = w.channel(user='lv-names')
        names.refuses(403, refusal('write', exchange(w.x('ae')), 'lv-names'), 'exchange.declare',
                      exchange=w.x('own'), type='fanout', arguments=arguments)
        run.check(not w.channel().exists('exchange', w.x('own')), 'it was created all the same')
        names.exchange(w.x('own'), 'fanout', {'alternate-exchange': w.x('own')})


def test_passive_declare_needs_any_permission():
    with world() as w:
        owner = w.channel()
        owner.declare(w.q())
        owner.exchange(w.x())
        for user in SINGLE:
            channel = w.channel(user=user)
            for kind, name in (('queue', w.q()), ('exchange', w.x())):
                channel.send(kind + '.declare', passive=True, **{kind: name})
                if user != 'lv-none' or elsewhere():
                    channel.expect(kind + '.declare-ok')
                    continue
                event = channel.expect('channel.close', reply_code=403)
                run.check(event.reply_text.startswith('ACCESS_REFUSED - '), repr(event))
                channel.send('channel.close-ok')
                channel.call('channel.open')


def test_operations_on_the_own_channel_need_nothing():
    with world() as w:
        channel = w.channel(user='lv-none')
        for name in ('basic.qos', 'confirm.select'):
            channel.call(name)
        channel.call('basic.recover', requeue=True)
        channel.call('basic.cancel', consumer_tag='nobody')
        channel.ack(0, multiple=True)
        channel.quiet()
        channel.close()
        channel.call('channel.open')
        for name in ('tx.select', 'tx.commit', 'tx.rollback'):
            channel.call(name)


def test_permission_is_looked_at_before_existence():
    with world() as w:
        none, everything = w.channel(user='lv-none'), w.channel()
        for name, fields, need in (
                ('basic.get', {'queue': w.q()}, ('read', queue(w.q()))),
                ('basic.consume', {'queue': w.q()}, ('read', queue(w.q()))),
                ('queue.bind', {'queue': w.q(), 'exchange': w.x()}, ('write', queue(w.q())))):
            none.refuses(403, refusal(*need, 'lv-none'), name, **fields)
        everything.refuses(404, 'NOT_FOUND - no ' + queue(w.q()), 'basic.get', queue=w.q())
        none.publish(w.x(), 'k')
        none.closed(403, refusal('write', exchange(w.x()), 'lv-none'), 'basic.publish')


def test_refused_operations_change_nothing():
    with world() as w:
        owner, none = w.channel(confirm=True), w.channel(user='lv-none')
        owner.declare(w.q())
        owner.put('', w.q(), 'a')
        none.publish('', w.q(), b'b')
        none.closed(403, refusal('write', exchange('amq.default'), 'lv-none'), 'basic.publish')
        for name, access in (('queue.purge', 'read'), ('queue.delete', 'configure'),
                             ('basic.get', 'read')):
            none.refuses(403, refusal(access, queue(w.q()), 'lv-none'), name, queue=w.q())
        run.check_equal(owner.drain(w.q()), ['a'], 'messages')


# ---- expressions -----------------------------------------------------------------------------

def test_expressions_are_searched_for_unless_anchored():
    with world() as w:
        channel, owner = w.channel(user='lv-names'), w.channel()
        for name in ('own', 'disown', 'owned', 'other'):
            owner.declare(w.q(name))
        for name, configure, write, read in (('own', True, True, True),
                                             ('disown', True, False, True),
                                             ('owned', False, False, True),
                                             ('other', False, False, False)):
            for method, fields, access, allowed in (
                    ('queue.declare', {}, 'configure', configure),
                    ('queue.unbind', {'exchange': w.x('own')}, 'write', write),
                    ('basic.get', {}, 'read', read)):
                fields['queue'] = w.q(name)
                if allowed:
                    channel.call(method, **fields)
                else:
                    channel.refuses(403, refusal(access, queue(w.q(name)), 'lv-names'), method,
                                    **fields)


def test_server_named_queues_are_checked_under_their_name():
    with world() as w:
        channel = w.channel(user='lv-names')
        channel.send('queue.declare', exclusive=True)
        event = channel.expect('channel.close', reply_code=403)
        name = re.search("queue '(amq\\.gen-[A-Za-z0-9_-]{22})'", event.reply_text)
        run.check(name, 'no generated name in %r' % event)
        event.check_close(403, refusal('configure', queue(name[1]), 'lv-names'), 'queue.declare')


def test_reserved_names_are_refused_whatever_the_permissions():
    with world() as w:
        everything, none = w.channel(), w.channel(user='lv-none')
        for channel in (everything, none):
            channel.refuses(403, "ACCESS_REFUSED - queue name 'amq.lv' contains reserved prefix "
                            "'amq.*'", 'queue.declare', queue='amq.lv')
        everything.refuses(403, "ACCESS_REFUSED - exchange name 'amq.lv' contains reserved prefix "
                           "'amq.*'", 'exchange.declare', exchange='amq.lv', type='direct')
        none.refuses(403, refusal('configure', exchange('amq.lv'), 'lv-none'),
                     'exchange.declare', exchange='amq.lv', type='direct')


# ---- topics ----------------------------------------------------------------------------------

def topic_refusal(access, key):
    """The text of a refusal by a topic permission."""
    return refusal(access, "topic '%s' in exchange 'topics' in vhost '%s'" % (key, VHOST),
                   'lv-topic')


def test_topic_permissions_look_at_routing_keys():
    with world() as w:
        w.names['exchange', 'topics'] = True
        owner, channel = w.channel(confirm=True), w.channel(user='lv-topic', confirm=True)
        owner.exchange('topics', 'topic')
        owner.declare(w.q())
        owner.exchange(w.x())
        for name, fields in (('queue.bind', {'queue': w.q(), 'exchange': 'topics'}),
                             ('queue.unbind', {'queue': w.q(), 'exchange': 'topics'}),
                             ('exchange.bind', {'destination': w.x(), 'source': 'topics'}),
                             ('exchange.unbind', {'destination': w.x(), 'source': 'topics'})):
            channel.call(name, routing_key='pub.#', **fields)
            for key in ('priv.#', '#', '', 'a.pub.#'):
                channel.refuses(403, topic_refusal('read', key), name, routing_key=key, **fields)
        owner.bind(w.q(), 'topics', '#')
        channel.call('confirm.select')
        channel.put('topics', 'lv-topic.a', 'allowed')          # ^{username}\.
        for key in ('other.a', 'lv-topic', '', 'x.lv-topic.a'):
            channel.publish('topics', key, b'refused')
            channel.closed(403, topic_refusal('write', key), 'basic.publish')
        owner.put('topics', 'other.a', 'of another user')       # who has no topic permissions
        run.check_equal(owner.drain(w.q()), ['allowed', 'of another user'], 'messages')


def test_topic_permissions_are_for_one_topic_exchange():
    with world() as w:
        channel = w.channel(user='lv-topic', confirm=True)
        channel.exchange(w.x(), 'topic')
        channel.declare(w.q())
        channel.bind(w.q(), w.x(), 'anything')
        channel.put(w.x(), 'anything', 'a')
        w.names['exchange', 'topics'] = True
        channel.exchange('topics', 'direct')                    # not a topic exchange
        channel.bind(w.q(), 'topics', 'anything')
        channel.put('topics', 'anything', 'b')
        run.check_equal(channel.drain(w.q()), ['a', 'b'], 'messages')


# ---- users -----------------------------------------------------------------------------------

def test_only_impersonators_may_set_another_user_id():
    with world() as w:
        everything = w.channel(confirm=True)                    # an administrator is not exempt
        everything.declare(w.q())
        everything.publish('', w.q(), b'x', user_id='bob')
        everything.closed(406, "PRECONDITION_FAILED - user_id property set to 'bob' but "
                          "authenticated user was 'lv-all'", 'basic.publish')
        channel = w.channel(user='lv-impersonator', confirm=True)
        channel.put('', w.q(), 'x', user_id='bob')
        run.check_equal(channel.get(w.q()).properties, properties(user_id='bob'), 'properties')


def test_a_vhost_needs_a_permission_row():
    with world():
        raw = rawamqp.Raw(FIXTURE.broker.port).start().login('lv-outsider', 'secret').tune_ok()
        raw.call(0, 'connection.open', vhost=VHOST)
        raw.expect_close(530, "NOT_ALLOWED - access to vhost '%s' refused for user 'lv-outsider'"
                         % VHOST, 'connection.open')
        raw.drop()


def test_vhosts_are_worlds_of_their_own():
    with world() as w:
        one, two = w.channel(confirm=True), w.channel(confirm=True, vhost=VHOST + '2')
        for channel in (one, two):
            channel.exchange(w.x(), 'fanout')
            channel.declare(w.q(), exclusive=True)
            channel.bind(w.q(), w.x())
        one.put(w.x(), '', 'one')
        two.put('', w.q(), 'two')
        run.check_equal(one.drain(w.q()), ['one'], 'messages in the first')
        run.check_equal(two.drain(w.q()), ['two'], 'messages in the second')
        two.call('exchange.delete', exchange=w.x())
        run.check(one.exists('exchange', w.x()), 'deleted in both')
        two.refuses(404, 'NOT_FOUND - no ' + exchange_text(w.x(), VHOST + '2'), 'exchange.declare',
                    exchange=w.x(), passive=True)


if __name__ == '__main__':
    run.main()
