#!/usr/bin/python3
"""test_routing.py - which queues a message reaches

Tables of bindings and keys with known answers for each exchange type, random topic keys against a
matcher written the slow and obvious way, and walks over several exchanges.
"""

import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import run                                                                  # noqa: E402
from peer import Fixture, elsewhere, field, properties                      # noqa: E402

FIXTURE = Fixture()
setup, teardown, world = FIXTURE.setup, FIXTURE.teardown, FIXTURE.world


def bind_queues(w, channel, exchange, keys):
    """A queue for each binding key; returns {key: queue}."""
    queues = {}
    for number, key in enumerate(keys):
        queues[key] = channel.declare(w.q(str(number))).queue
        channel.bind(queues[key], exchange, key)
    return queues


def check_routes(channel, exchange, queues, expected):
    """Publish every routing key of {routing key: binding keys} and compare where it went."""
    for routing_key in expected:
        channel.publish(exchange, routing_key, 'key:' + routing_key)
    channel.confirmed(channel.published + len(expected))
    got = {routing_key: set() for routing_key in expected}
    for key, queue in queues.items():
        bodies = channel.drain(queue)
        run.check_equal(len(bodies), len(set(bodies)), 'copies in the queue of %r' % key)
        for body in bodies:
            got[body[len('key:'):]].add(key)
    for routing_key, keys in expected.items():
        run.check_equal(got[routing_key], set(keys), 'routes of %r' % routing_key)


# ---- default, direct, fanout -----------------------------------------------------------------

def test_default_exchange_routes_to_the_queue_of_that_name():
    with world() as w:
        channel = w.channel(confirm=True)
        for name in 'ab':
            channel.declare(w.q(name))
        channel.put('', w.q('a'), 'for a')
        channel.put('', w.q('b'), 'for b')
        channel.put('', w.q('A'), 'for nobody')
        run.check_equal((channel.drain(w.q('a')), channel.drain(w.q('b'))), (['for a'], ['for b']),
                        'messages')


def test_direct_compares_octets():
    keys = ['', 'a', 'A', 'a.b', '#', '*', 'a ', 'ä', 'a\0']
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x(), 'direct')
        queues = bind_queues(w, channel, w.x(), keys)
        check_routes(channel, w.x(), queues, {**{key: [key] for key in keys}, 'b': [], 'a.': []})


def test_direct_serves_many_queues_by_one_key_and_many_keys_by_one_queue():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x(), 'direct')
        for name in 'abc':
            channel.declare(w.q(name))
            channel.bind(w.q(name), w.x(), 'all')
            channel.bind(w.q(name), w.x(), name)
        channel.put(w.x(), 'all', '1')
        channel.put(w.x(), 'b', '2')
        channel.unbind(w.q('c'), w.x(), 'all')
        channel.put(w.x(), 'all', '3')
        got = [channel.drain(w.q(name)) for name in 'abc']
        run.check_equal(got, [['1', '3'], ['1', '2', '3'], ['1']], 'messages')


def test_fanout_ignores_keys_and_arguments():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x(), 'fanout')
        for name, key, arguments in (('a', '', {}), ('b', 'key', {'x': 1}), ('c', 'c', {})):
            channel.declare(w.q(name))
            channel.bind(w.q(name), w.x(), key, arguments)
            channel.bind(w.q(name), w.x(), 'second binding')
        channel.put(w.x(), 'anything', '1', headers={'y': 2})
        channel.put(w.x(), '', '2')
        for name in 'abc':
            run.check_equal(channel.drain(w.q(name)), ['1', '2'], 'messages in ' + name)


# ---- topic -----------------------------------------------------------------------------------

TOPIC_KEYS = ['a.b', 'a.*', 'a.#', '#', '*', '*.*', '#.b', 'a.#.b', '', 'a..b', '*.#', 'a.*.#',
              '#.#', '#.*', '..']
TOPIC_ROUTES = {
    'a.b': ['a.b', 'a.*', 'a.#', '#', '*.*', '#.b', 'a.#.b', '*.#', 'a.*.#', '#.#', '#.*'],
    'a': ['a.#', '#', '*', '*.#', '#.#', '#.*'],
    '': ['#', '', '#.#'],
    'a.b.c': ['a.#', '#', '*.#', 'a.*.#', '#.#', '#.*'],
    'a..b': ['a.#', '#', '#.b', 'a.#.b', 'a..b', '*.#', 'a.*.#', '#.#', '#.*'],
    '.': ['#', '*.*', '*.#', '#.#', '#.*'],
    'a.': ['a.*', 'a.#', '#', '*.*', '*.#', 'a.*.#', '#.#', '#.*'],
    '.b': ['#', '*.*', '#.b', '*.#', '#.#', '#.*'],
    'b': ['#', '*', '#.b', '*.#', '#.#', '#.*'],
    'A.B': ['#', '*.*', '*.#', '#.#', '#.*'],
}


def topic_matches(pattern, words):
    """The obvious matcher; both are lists of words."""
    if not pattern:
        return not words
    if pattern[0] == '#':
        return topic_matches(pattern[1:], words) or \
            (bool(words) and topic_matches(pattern, words[1:]))
    return bool(words) and pattern[0] in ('*', words[0]) and topic_matches(pattern[1:], words[1:])


def words_of(key):
    """The words of a key; the empty key has none."""
    return key.split('.') if key else []


def test_topic_table():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x(), 'topic')
        queues = bind_queues(w, channel, w.x(), TOPIC_KEYS)
        check_routes(channel, w.x(), queues, TOPIC_ROUTES)


def test_the_obvious_matcher_agrees_with_the_table():
    for routing_key, expected in TOPIC_ROUTES.items():
        got = [key for key in TOPIC_KEYS if topic_matches(words_of(key), words_of(routing_key))]
        run.check_equal(sorted(got), sorted(expected), 'matches of %r' % routing_key)


def test_topic_wildcards_are_whole_words_of_the_binding_only():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x(), 'topic')
        queues = bind_queues(w, channel, w.x(), ['a.b*', 'a.**', 'a.##', 'x.*', 'y.#'])
        check_routes(channel, w.x(), queues, {
            'a.b*': ['a.b*'], 'a.bc': [], 'a.**': ['a.**'], 'a.b': [], 'a.##': ['a.##'],
            'x.#': ['x.*'], 'y.*': ['y.#'], '#': [], '*.*': []})


def test_topic_spec_examples():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x(), 'topic')
        queues = bind_queues(w, channel, w.x(), ['*.stock.#'])
        check_routes(channel, w.x(), queues, {'usd.stock': ['*.stock.#'], 'stock.nasdaq': [],
                                              'eur.stock.db': ['*.stock.#']})


def test_topic_against_random_keys():
    chance = random.Random(20240)
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x(), 'topic')
        keys = {'.'.join(chance.choice(['a', 'b', 'c', '', '*', '#'])
                         for _ in range(chance.randint(1, 5))) for _ in range(60)}
        queues = bind_queues(w, channel, w.x(), sorted(keys))
        for _ in range(2):
            routing_keys = {'.'.join(chance.choice(['a', 'b', 'c', 'd', ''])
                                     for _ in range(chance.randint(1, 6))) for _ in range(60)}
            check_routes(channel, w.x(), queues, {
                routing_key: [key for key in queues
                              if topic_matches(words_of(key), words_of(routing_key))]
                for routing_key in routing_keys})
            for key in chance.sample(sorted(queues), 25):       # and again with bindings removed
                channel.unbind(queues.pop(key), w.x(), key)


def test_topic_binding_removed_and_made_again():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x(), 'topic')
        channel.declare(w.q())
        for _ in range(2):
            for key in ('a.#', 'a.*', 'a.b', '#'):
                channel.bind(w.q(), w.x(), key)
            channel.put(w.x(), 'a.b', 'once')
            for key in ('#', 'a.b', 'a.*'):
                channel.unbind(w.q(), w.x(), key)
                channel.put(w.x(), 'a.b', 'still')
            channel.unbind(w.q(), w.x(), 'a.#')
            channel.put(w.x(), 'a.b', 'lost')
            run.check_equal(channel.drain(w.q()), ['once', 'still', 'still', 'still'], 'messages')


# ---- headers ---------------------------------------------------------------------------------

INTEGER_TYPES = [('b', 7), ('B', 7), ('s', 7), ('u', 7), ('I', 7), ('i', 7), ('l', 7), ('L', 7),
                  ('T', 7)]
HEADERS_TABLE = [
    # binding arguments, message headers (None: no headers property), matches
    ({'x-match': 'all', 'a': 1, 'b': 'two'}, {'a': 1, 'b': 'two', 'c': 3}, True),
    ({'x-match': 'all', 'a': 1, 'b': 'two'}, {'a': 1}, False),
    ({'x-match': 'all', 'a': 1, 'b': 'two'}, {'a': 1, 'b': 'three'}, False),
    ({'a': 1, 'b': 'two'}, {'a': 1, 'b': 'two'}, True),         # all is the default
    ({'a': 1, 'b': 'two'}, {'a': 1}, False),
    ({'x-match': 'any', 'a': 1, 'b': 'two'}, {'a': 1}, True),
    ({'x-match': 'any', 'a': 1, 'b': 'two'}, {'a': 2, 'b': 'two'}, True),
    ({'x-match': 'any', 'a': 1, 'b': 'two'}, {'a': 2, 'b': 'three'}, False),
    ({'x-match': 'any', 'a': 1, 'b': 'two'}, {}, False),
    ({'x-match': 'any', 'a': 1}, None, False),
    # keys that begin with x- take part only where asked for
    ({'x-match': 'all', 'x-a': 1, 'b': 2}, {'b': 2}, True),
    ({'x-match': 'any', 'x-a': 1, 'b': 2}, {'x-a': 1}, False),
    ({'x-match': 'all-with-x', 'x-a': 1, 'b': 2}, {'b': 2}, False),
    ({'x-match': 'all-with-x', 'x-a': 1, 'b': 2}, {'x-a': 1, 'b': 2}, True),
    ({'x-match': 'any-with-x', 'x-a': 1, 'b': 2}, {'x-a': 1}, True),
    ({'x-match': 'any-with-x', 'x-a': 1, 'b': 2}, {'x-a': 2, 'b': 3}, False),
    # x-match itself is never compared
    ({'x-match': 'any-with-x', 'a': 1}, {'x-match': 'any-with-x'}, False),
    ({'x-match': 'all-with-x', 'a': 1}, {'a': 1}, True),
    # nothing left to compare
    ({}, {'a': 1}, True),
    ({}, {}, True),
    ({}, None, True),
    ({'x-match': 'all'}, None, True),
    ({'x-match': 'any'}, {'a': 1}, False),
    ({'x-match': 'any'}, None, False),
    ({'x-match': 'all', 'x-only': 1}, {'a': 1}, True),
    ({'x-match': 'any', 'x-only': 1}, {'x-only': 1}, False),
    # a void argument asks only for the name
    ({'a': None}, {'a': 'whatever'}, True),
    ({'a': None}, {'a': None}, True),
    ({'a': None}, {'b': 1}, False),
    ({'x-match': 'any', 'a': None, 'b': 1}, {'a': 5}, True),
    ({'a': 1}, {'a': None}, False),
    # values are compared, types of integers and strings are not
    ({'a': 1}, {'a': field('l', 1)}, True),
    ({'a': 1}, {'a': field('T', 1)}, True),
    ({'a': field('S', '1')}, {'a': field('x', '1')}, True),
    ({'a': '1'}, {'a': 1}, False),
    ({'a': 1}, {'a': '1'}, False),
    ({'a': True}, {'a': 1}, False),
    ({'a': True}, {'a': True}, True),
    ({'a': True}, {'a': False}, False),
    ({'a': field('d', 0.5)}, {'a': field('f', 0.5)}, True),
    ({'a': field('D', (2, 100))}, {'a': field('D', (2, 100))}, True),
    ({'a': field('D', (2, 100))}, {'a': field('D', (1, 100))}, False),
    ({'a': -1}, {'a': field('l', -1)}, True),
    ({'a': -1}, {'a': field('i', 0xffffffff)}, False),
    # but not inside of arrays and tables
    ({'a': [1, 'x']}, {'a': [1, 'x']}, True),
    ({'a': [1]}, {'a': [field('l', 1)]}, False),
    ({'a': [1, 2]}, {'a': [2, 1]}, False),
    ({'a': {'k': 1}}, {'a': {'k': 1}}, True),
    ({'a': {'k': 1}}, {'a': {'k': field('l', 1)}}, False),
    ({'a': []}, {'a': []}, True),
    # names and strings are octets
    ({'a': 1}, {'A': 1}, False),
    ({'a': 'v'}, {'a': 'V'}, False),
    ({'a': ''}, {'a': ''}, True),
    ({'': 1}, {'': 1}, True),
    ({'ä': 'ö'}, {'ä': 'ö'}, True),
]


def check_headers(w, rows):
    """Bind, publish and look, for each row, on one exchange and one queue."""
    channel = w.channel(confirm=True)
    channel.exchange(w.x(), 'headers')
    channel.declare(w.q())
    for arguments, headers, matches in rows:
        channel.bind(w.q(), w.x(), 'ignored', arguments)
        props = b'\0\0' if headers is None else properties(headers=headers)
        channel.put(w.x(), 'key', 'm', props=props)
        channel.unbind(w.q(), w.x(), 'ignored', arguments)
        run.check_equal(channel.drain(w.q()), ['m'] if matches else [],
                        'binding %r, headers %r' % (arguments, headers))


def test_headers_table():
    with world() as w:
        check_headers(w, HEADERS_TABLE)


def test_headers_compare_integers_of_all_widths():
    with world() as w:
        check_headers(w, [({'a': field(one, value)}, {'a': field(other, value)}, True)
                          for one, value in INTEGER_TYPES for other, _ in INTEGER_TYPES])


def test_headers_tell_integers_from_floats():
    with world() as w:
        check_headers(w, [({'a': 1}, {'a': 1.0}, elsewhere()), ({'a': 1.0}, {'a': 1}, elsewhere()),
                          ({'a': 1}, {'a': 1.5}, False)])


def test_headers_of_many_bindings_and_one_queue():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x(), 'headers')
        for name in ('all', 'any', 'both'):
            channel.declare(w.q(name))
        both = {'a': 1, 'b': 2}
        for name in ('all', 'both'):
            channel.bind(w.q(name), w.x(), '', {'x-match': 'all', **both})
        for name in ('any', 'both'):
            channel.bind(w.q(name), w.x(), '', {'x-match': 'any', **both})
        channel.put(w.x(), '', '1', headers=both)
        channel.put(w.x(), '', '2', headers={'a': 1})
        channel.put(w.x(), '', '3', headers={'c': 1})
        got = [channel.drain(w.q(name)) for name in ('all', 'any', 'both')]
        run.check_equal(got, [['1'], ['1', '2'], ['1', '2']], 'messages')


def test_headers_use_the_first_of_duplicate_names():
    with world() as w:
        check_headers(w, [({'a': 1}, [('a', 1), ('a', 2)], True)])


def test_headers_pair_duplicate_names_in_order():
    """The nth header of a name is asked by the nth argument of that name, and by no other."""
    one_two = [('a', 1), ('a', 2)]
    with world() as w:
        check_headers(w, [
            ({'a': 2}, one_two, False),
            ({'a': None}, one_two, True),
            (one_two, one_two, True),
            (one_two, [('a', 2), ('a', 1)], False),
            (one_two, {'a': 1}, False),
            (one_two, [('a', 1), ('a', 2), ('a', 3)], True),
            (one_two, [('a', 1), ('b', 0), ('a', 2)], True),
            ([('a', 1), ('a', None)], [('a', 1), ('a', 9)], True),
            ([('a', 1), ('a', None)], {'a': 1}, False),
            ([('x-match', 'any'), ('a', 2)], one_two, False),
            ([('x-match', 'any'), ('a', 7), ('a', 2)], one_two, True),
            ([('x-match', 'any'), ('a', 2), ('a', 1)], one_two, False),
            ([('x-match', 'any'), ('a', 2), ('b', 1)], one_two + [('b', 1)], True),
        ])


def test_headers_refuse_an_odd_x_match():
    with world() as w:
        channel = w.channel()
        channel.declare(w.q())
        for value, reason in (
                ('foo', 'value <<"foo">>; expected all, any, all-with-x, or any-with-x'),
                ('ALL', 'value <<"ALL">>; expected all, any, all-with-x, or any-with-x'),
                (4, 'type signedint (value 4); expected longstr'),
                (field('l', 5), 'type long (value 5); expected longstr')):
            channel.refuses(406, 'PRECONDITION_FAILED - Invalid x-match field ' + reason,
                            'queue.bind', queue=w.q(), exchange='amq.headers',
                            arguments={'x-match': value, 'a': 1})
        channel.exchange(w.x())
        channel.refuses(406, 'PRECONDITION_FAILED - Invalid x-match field value <<"foo">>; '
                        'expected all, any, all-with-x, or any-with-x', 'exchange.bind',
                        destination=w.x(), source='amq.headers', arguments={'x-match': 'foo'})
        channel.bind(w.q(), w.x(), 'k', {'x-match': 'foo'})     # elsewhere it is just a name


# ---- exchange to exchange --------------------------------------------------------------------

def test_chain_of_exchanges_keeps_key_headers_and_name():
    with world() as w:
        channel = w.channel(confirm=True)
        for name, kind in (('a', 'fanout'), ('b', 'topic'), ('c', 'headers'), ('d', 'direct')):
            channel.exchange(w.x(name), kind, internal=name != 'a')
        channel.bind_exchange(w.x('b'), w.x('a'))
        channel.bind_exchange(w.x('c'), w.x('b'), 'k.#')
        channel.bind_exchange(w.x('d'), w.x('c'), '', {'n': 1})
        channel.declare(w.q())
        channel.bind(w.q(), w.x('d'), 'k.z')
        channel.put(w.x('a'), 'k.z', 'through', headers={'n': 1})
        channel.put(w.x('a'), 'k.z', 'stopped at c', headers={'n': 2})
        channel.put(w.x('a'), 'k.y', 'stopped at d', headers={'n': 1})
        channel.put(w.x('a'), 'z', 'stopped at b', headers={'n': 1})
        event = channel.get(w.q())
        run.check_equal((event.exchange, event.routing_key, event.body, event.properties),
                        (w.x('a'), 'k.z', b'through', properties(headers={'n': 1})), 'message')
        run.check_equal(channel.drain(w.q()), [], 'more messages')


def test_one_copy_for_each_queue_over_all_paths():
    with world() as w:
        channel = w.channel(confirm=True)
        for name in 'abcd':
            channel.exchange(w.x(name), 'fanout')
        for name in 'bc':
            channel.bind_exchange(w.x(name), w.x('a'))
            channel.bind_exchange(w.x('d'), w.x(name))
        channel.declare(w.q())
        for name in 'abcd':
            channel.bind(w.q(), w.x(name))
        channel.put(w.x('a'), '', 'once')
        run.check_equal(channel.drain(w.q()), ['once'], 'messages')


def test_cycles_of_exchanges_end():
    with world() as w:
        channel = w.channel(confirm=True)
        for name in 'abc':
            channel.exchange(w.x(name), 'fanout')
            channel.declare(w.q(name))
            channel.bind(w.q(name), w.x(name))
            channel.bind_exchange(w.x(name), w.x(name))
        for source, destination in ('ab', 'bc', 'ca'):
            channel.bind_exchange(w.x(destination), w.x(source))
        for name in 'abc':
            channel.put(w.x(name), '', 'at ' + name)
        for name in 'abc':
            run.check_equal(channel.drain(w.q(name)), ['at a', 'at b', 'at c'],
                            'messages in ' + name)


def test_routes_change_with_bindings_far_away():
    with world() as w:
        channel = w.channel(confirm=True)
        for name in 'abc':
            channel.exchange(w.x(name), 'direct')
        channel.bind_exchange(w.x('b'), w.x('a'), 'k')
        channel.bind_exchange(w.x('c'), w.x('b'), 'k')
        channel.declare(w.q())
        channel.put(w.x('a'), 'k', '1')             # a route that may be remembered
        channel.bind(w.q(), w.x('c'), 'k')
        channel.put(w.x('a'), 'k', '2')
        channel.unbind(w.q(), w.x('c'), 'k')
        channel.put(w.x('a'), 'k', '3')
        channel.bind(w.q(), w.x('b'), 'k')
        channel.put(w.x('a'), 'k', '4')
        channel.call('exchange.unbind', destination=w.x('b'), source=w.x('a'), routing_key='k')
        channel.put(w.x('a'), 'k', '5')
        run.check_equal(channel.drain(w.q()), ['2', '4'], 'messages')


# ---- alternate exchanges ---------------------------------------------------------------------

def with_alternate(w, channel, name, alternate, kind='direct'):
    """Declare an exchange with an alternate one."""
    channel.exchange(w.x(name), kind, {'alternate-exchange': w.x(alternate)})


def test_alternate_exchange_takes_what_has_no_destination():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x('ae'), 'fanout', internal=True)
        with_alternate(w, channel, 'x', 'ae')
        for name in ('main', 'rest'):
            channel.declare(w.q(name))
        channel.bind(w.q('main'), w.x(), 'known')
        channel.bind(w.q('rest'), w.x('ae'))
        channel.put(w.x(), 'known', '1', mandatory=True)
        channel.put(w.x(), 'unknown', '2', mandatory=True)      # the alternate one satisfies it
        run.check_equal(channel.drain(w.q('main')), ['1'], 'messages of the main queue')
        event = channel.get(w.q('rest'))
        run.check_equal((event.exchange, event.routing_key, event.body),
                        (w.x(), 'unknown', b'2'), 'message of the other')
        run.check_equal(channel.drain(w.q('rest')), [], 'more messages of the other')


def test_alternate_exchange_is_not_asked_when_an_exchange_binding_matched():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x('ae'), 'fanout')
        channel.exchange(w.x('dead end'), 'fanout')
        with_alternate(w, channel, 'x', 'ae')
        channel.declare(w.q())
        channel.bind(w.q(), w.x('ae'))
        channel.bind_exchange(w.x('dead end'), w.x(), 'k')
        channel.publish(w.x(), 'k', b'1', mandatory=True)
        run.check_equal(channel.expect('basic.return').body, b'1', 'returned')
        channel.confirmed(1)
        channel.put(w.x(), 'other', '2')
        run.check_equal(channel.drain(w.q()), ['2'], 'messages')


def test_alternate_exchange_in_the_middle_of_a_walk():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x('ae'), 'fanout')
        channel.exchange(w.x('first'), 'fanout')
        with_alternate(w, channel, 'second', 'ae')
        channel.bind_exchange(w.x('second'), w.x('first'))
        channel.declare(w.q())
        channel.bind(w.q(), w.x('ae'))
        channel.put(w.x('first'), 'k', 'through')
        run.check_equal(channel.drain(w.q()), ['through'], 'messages')


def test_alternate_exchanges_follow_each_other():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x('c'), 'fanout')
        with_alternate(w, channel, 'b', 'c')
        with_alternate(w, channel, 'a', 'b')
        channel.declare(w.q())
        channel.bind(w.q(), w.x('c'))
        channel.put(w.x('a'), 'k', 'through')
        run.check_equal(channel.drain(w.q()), ['through'], 'messages')


def test_cycles_of_alternate_exchanges_end():
    with world() as w:
        channel = w.channel(confirm=True)
        for name, alternate in ('ab', 'bc', 'ca', 'ss'):
            with_alternate(w, channel, name, alternate)
        for name in 'abcs':
            channel.publish(w.x(name), 'k', name, mandatory=True)
            run.check_equal(channel.expect('basic.return').body, name.encode(), 'returned')
            channel.expect('basic.ack')


def test_a_missing_alternate_exchange_is_none():
    with world() as w:
        channel = w.channel(confirm=True)
        with_alternate(w, channel, 'x', 'ae')
        channel.publish(w.x(), 'k', b'1', mandatory=True)
        channel.expect('basic.return')
        channel.confirmed(1)
        channel.exchange(w.x('ae'), 'fanout')           # it counts from when it is declared
        channel.declare(w.q())
        channel.bind(w.q(), w.x('ae'))
        channel.put(w.x(), 'k', '2')
        channel.call('exchange.delete', exchange=w.x('ae'))
        channel.put(w.x(), 'k', '3')
        run.check_equal(channel.drain(w.q()), ['2'], 'messages')


def test_cc_keys_count_for_the_alternate_exchange():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x('ae'), 'fanout')
        with_alternate(w, channel, 'x', 'ae')
        for name in ('main', 'rest'):
            channel.declare(w.q(name))
        channel.bind(w.q('main'), w.x(), 'known')
        channel.bind(w.q('rest'), w.x('ae'))
        channel.put(w.x(), 'unknown', '1', headers={'CC': ['known']})
        channel.put(w.x(), 'unknown', '2', headers={'BCC': ['unknown too']})
        run.check_equal(channel.drain(w.q('main')), ['1'], 'messages of the main queue')
        run.check_equal(channel.drain(w.q('rest')), ['2'], 'messages of the other')


if __name__ == '__main__':
    run.main()
