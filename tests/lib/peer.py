#!/usr/bin/python3
"""peer.py - conversations with a broker, one channel at a time

rawamqp.py reads frames in the order of the wire. Tests of queue semantics talk on several channels
at once and want methods and messages, so this module puts the frames of a connection together into
events (a method, with its content if it has one) and sorts them by channel, keeping their order.
Nothing is hidden: a test that expects X as the next event of a channel fails if anything else comes
first, and property octets are kept as they came.

A World is what one test owns on a broker that others may use too: the connections it opened and
names of its own, which are deleted at the end.

    with World(broker.port) as world:
        channel = world.channel(confirm=True)
        queue = world.q()
        channel.declare(queue)
        channel.put('', queue, 'a', 'b')            # published, and confirmed
        channel.consume(queue)
        channel.deliveries('a', 'b')
        channel.refuses(406, 'PRECONDITION_FAILED - unknown delivery tag 9',
                        'basic.ack', delivery_tag=9)
"""

import collections
import itertools
import os
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import leveret                                                              # noqa: E402
import rawamqp                                                              # noqa: E402
import run                                                                  # noqa: E402
from rawamqp import Field, METHODS_BY_NAME, Timeout, as_bytes, properties   # noqa: E402

PATIENCE_S = 10
QUIET_ELSEWHERE_S = 0.08        # how long silence is listened to on a broker that is not Leveret
WITH_CONTENT = ('basic.deliver', 'basic.return', 'basic.get-ok')


def field(octet, value):
    """A field-table value of a given type, e.g. field('l', 5); tables and arrays take Python's."""
    formats = {'t': '>?', 'b': '>b', 'B': '>B', 's': '>h', 'u': '>H', 'I': '>i', 'i': '>I',
               'l': '>q', 'L': '>q', 'f': '>f', 'd': '>d', 'T': '>Q'}
    if octet in formats:
        return Field(octet, struct.pack(formats[octet], value))
    if octet == 'D':
        return Field(octet, struct.pack('>BI', *value))
    return Field(octet, rawamqp.longstr(value) if octet in 'Sx' else b'')


class Event:
    """A method from the broker; its fields are attributes. Content: properties (raw), body."""

    def __init__(self, name, fields):
        self.name = name
        self.fields = fields
        self.properties = b''
        self.body = b''

    def __getattr__(self, name):
        try:
            return self.__dict__['fields'][name]
        except KeyError:
            raise AttributeError(name) from None

    def __repr__(self):
        content = ' %r' % self.body[:40] if self.name in WITH_CONTENT else ''
        return '%s%r%s' % (self.name, dict(self.fields), content)

    def check_close(self, code, text, method):
        """Compare a channel.close or connection.close."""
        run.check_equal((self.reply_code, self.reply_text, (self.class_id, self.method_id)),
                        (code, text, rawamqp.method_id(method)), self.name)


class Peer:
    """A connection after its handshake."""

    def __init__(self, port, **handshake):
        self.raw = rawamqp.Raw(port).handshake(**handshake)
        self.events = collections.defaultdict(collections.deque)    # by channel
        self.partial = {}                   # channel: [event, octets of the body still to come]
        self.numbers = itertools.count(1)

    def channel(self, confirm=False):
        """Open the next channel."""
        channel = Channel(self, next(self.numbers))
        channel.call('channel.open')
        if confirm:
            channel.call('confirm.select')
        return channel

    def pump(self, timeout):
        """Take in one frame; False when none came in time."""
        try:
            seen = self.raw.read_frame(max(timeout, 0.001))
        except Timeout:
            return False
        if seen.type == rawamqp.METHOD:
            spec, fields = rawamqp.decode_method(seen.payload)
            event = Event(spec.name, fields)
            if spec.name in WITH_CONTENT:
                self.partial[seen.channel] = [event, None]
            else:
                self.events[seen.channel].append(event)
        elif seen.type != rawamqp.HEARTBEAT:
            self._add_content(seen)
        return True

    def _add_content(self, seen):
        event, left = self.partial[seen.channel]
        if seen.type == rawamqp.HEADER:
            assert left is None, 'a second content header'
            left = struct.unpack_from('>Q', seen.payload, 4)[0]
            event.properties = seen.payload[12:]
        else:
            event.body += seen.payload
            left -= len(seen.payload)
        self.partial[seen.channel][1] = left
        if left <= 0:
            assert left == 0, 'a longer body than announced'
            del self.partial[seen.channel]
            self.events[seen.channel].append(event)

    def next(self, number, timeout=PATIENCE_S):
        """The next event of a channel; one on channel 0 is an error when not asked for."""
        bound = time.monotonic() + timeout
        while not self.events[number]:
            if number and self.events[0]:
                raise AssertionError('on channel 0: %r' % self.events[0][0])
            if not self.pump(bound - time.monotonic()) and time.monotonic() > bound:
                raise AssertionError('nothing on channel %d in %g s' % (number, timeout))
        return self.events[number].popleft()

    def fails(self, code, text, method=(0, 0)):
        """Expect the connection exception, answer it, and see the socket closed."""
        event = self.next(0)
        run.check_equal(event.name, 'connection.close', repr(event))
        event.check_close(code, text, method)
        self.raw.call(0, 'connection.close-ok')
        self.raw.eof(PATIENCE_S)
        self.drop()

    def close(self):
        """Close in the proper way; what comes before close-ok is kept."""
        self.raw.call(0, 'connection.close', reply_code=200, reply_text='bye')
        while self.next(0).name != 'connection.close-ok':
            pass
        self.drop()

    def drop(self):
        """Close the socket without a word."""
        self.raw.drop()


class Channel:
    """A channel; after an exception that was expected it is opened again."""

    def __init__(self, peer, number):
        self.peer = peer
        self.number = number
        self.published = 0          # in confirm mode, by put()

    # -- any method --

    def send(self, name, **fields):
        """Send a method."""
        self.peer.raw.call(self.number, name, **fields)

    def next(self, timeout=PATIENCE_S):
        """The next event."""
        return self.peer.next(self.number, timeout)

    def expect(self, name, **fields):
        """The next event must be this method, with these fields."""
        event = self.next()
        assert event.name == name, 'expected %s, got %r' % (name, event)
        for key, value in fields.items():
            assert getattr(event, key) == value, 'expected %s=%r in %r' % (key, value, event)
        return event

    def call(self, name, **fields):
        """Send a synchronous method and return its reply; other events stay queued."""
        self.send(name, **fields)
        return self.reply(*{'basic.get': ('basic.get-ok', 'basic.get-empty')}.get(
            name, (name + '-ok',)))

    def reply(self, *names):
        """Wait for one of these methods, leaving what comes before it in the queue."""
        before = []
        while True:
            event = self.next()
            if event.name in names:
                self.peer.events[self.number].extendleft(reversed(before))
                return event
            assert event.name != 'channel.close', 'waiting for %s: %r' % (names[0], event)
            before.append(event)

    def closed(self, code, text, method):
        """Expect the channel exception as the next event, answer it, open the channel again."""
        self.expect('channel.close').check_close(code, text, method)
        self.send('channel.close-ok')
        self.call('channel.open')
        self.published = 0

    def refuses(self, code, text, name, **fields):
        """This method must be answered by this channel exception."""
        self.send(name, **fields)
        self.closed(code, text, name)

    def quiet(self):
        """Nothing may be waiting or come. Two round trips flush what Leveret has in hand; queues
        that run beside their channels get a moment more."""
        for _ in range(2):
            self.send('channel.flow', active=True)
            self.expect('channel.flow-ok')
        if leveret.external_port():
            bound = time.monotonic() + QUIET_ELSEWHERE_S
            while time.monotonic() < bound:
                self.peer.pump(bound - time.monotonic())
        waiting = self.peer.events[self.number]
        assert not waiting, 'unexpected %r' % waiting[0]

    # -- the methods that every test uses, in short --

    def declare(self, queue='', arguments=None, **flags):
        """queue.declare, returns the declare-ok."""
        return self.call('queue.declare', queue=queue, arguments=arguments, **flags)

    def exchange(self, exchange, kind='direct', arguments=None, **flags):
        """exchange.declare."""
        return self.call('exchange.declare', exchange=exchange, type=kind, arguments=arguments,
                         **flags)

    def bind(self, queue, exchange, key='', arguments=None):
        """queue.bind."""
        return self.call('queue.bind', queue=queue, exchange=exchange, routing_key=key,
                         arguments=arguments)

    def unbind(self, queue, exchange, key='', arguments=None):
        """queue.unbind."""
        return self.call('queue.unbind', queue=queue, exchange=exchange, routing_key=key,
                         arguments=arguments)

    def bind_exchange(self, destination, source, key='', arguments=None):
        """exchange.bind."""
        return self.call('exchange.bind', destination=destination, source=source,
                         routing_key=key, arguments=arguments)

    def publish(self, exchange, key, body=b'', mandatory=False, immediate=False, props=None,
                **named):
        """basic.publish; properties by name, or props=octets."""
        self.peer.raw.publish(self.number, exchange, key, body, props or properties(**named),
                              mandatory, immediate)

    def put(self, exchange, key, *bodies, **named):
        """Publish in confirm mode and wait until all is confirmed."""
        for body in bodies:
            self.publish(exchange, key, body, **named)
        self.confirmed(self.published + len(bodies))

    def confirmed(self, last):
        """Wait for the acks up to number last."""
        tags = set()
        for tag in range(self.published + 1, last + 1):
            while tag not in tags:
                event = self.expect('basic.ack')
                low = self.published + 1 if event.multiple else event.delivery_tag
                tags.update(range(low, event.delivery_tag + 1))
        run.check_equal(max(tags, default=last), last, 'last confirmed publish')
        self.published = last

    def consume(self, queue, tag='', arguments=None, **flags):
        """basic.consume, returns the consumer tag."""
        return self.call('basic.consume', queue=queue, consumer_tag=tag, arguments=arguments,
                         **flags).consumer_tag

    def cancel(self, tag):
        """basic.cancel."""
        self.call('basic.cancel', consumer_tag=tag)

    def qos(self, count, shared=False):
        """basic.qos."""
        self.call('basic.qos', prefetch_count=count, global_=shared)

    def delivery(self, body=None, **fields):
        """The next event must be a delivery."""
        event = self.expect('basic.deliver', **fields)
        if body is not None:
            assert event.body == as_bytes(body), 'expected body %r in %r' % (body, event)
        return event

    def deliveries(self, *bodies, **fields):
        """The next events must be these deliveries; returns them."""
        return [self.delivery(body, **fields) for body in bodies]

    def get(self, queue, no_ack=True):
        """basic.get: the message, or None."""
        event = self.call('basic.get', queue=queue, no_ack=no_ack)
        return event if event.name == 'basic.get-ok' else None

    def take(self, queue, body=None, **fields):
        """Get a message, leaving it unacknowledged; there must be one."""
        event = self.get(queue, no_ack=False)
        assert event, '%s is empty' % queue
        if body is not None:
            fields['body'] = as_bytes(body)
        for key, value in fields.items():
            assert getattr(event, key) == value, 'expected %s=%r in %r' % (key, value, event)
        return event

    def drain(self, queue):
        """Remove all ready messages and return their bodies."""
        return [event.body.decode() for event in iter(lambda: self.get(queue), None)]

    def ack(self, tag, multiple=False):
        """basic.ack."""
        self.send('basic.ack', delivery_tag=tag, multiple=multiple)

    def nack(self, tag, multiple=False, requeue=True):
        """basic.nack."""
        self.send('basic.nack', delivery_tag=tag, multiple=multiple, requeue=requeue)

    def reject(self, tag, requeue=True):
        """basic.reject."""
        self.send('basic.reject', delivery_tag=tag, requeue=requeue)

    def counts(self, queue):
        """(ready messages, consumers)."""
        event = self.declare(queue, passive=True)
        return event.message_count, event.consumer_count

    def becomes(self, queue, messages, consumers=None):
        """Wait until the queue has so many ready messages (and consumers)."""
        wanted = (messages, consumers)
        run.wait_for(lambda: self.counts(queue)[:1 if consumers is None else 2]
                     == wanted[:1 if consumers is None else 2],
                     '%s to have %r messages, consumers' % (queue, wanted))

    def exists(self, kind, name):
        """Whether an 'exchange' or a 'queue' exists; an exclusive one elsewhere does."""
        self.send(kind + '.declare', passive=True, **{kind: name})
        event = self.reply(kind + '.declare-ok', 'channel.close')
        if event.name == kind + '.declare-ok':
            return True
        self.send('channel.close-ok')
        self.call('channel.open')
        return event.reply_code != 404

    def close(self):
        """channel.close, and wait for close-ok."""
        self.call('channel.close', reply_code=200, reply_text='bye')


class World:
    """Connections and names of one test; both are gone at its end."""

    serial = itertools.count(1)

    def __init__(self, port, **login):
        self.port = port
        self.login = {'vhost': '/', **login}        # of connections that do not say otherwise
        self.peers = []
        self.names = {}
        self.prefix = 'lv%d.%d.' % (os.getpid(), next(World.serial))

    def peer(self, **handshake):
        """Open a connection."""
        self.peers.append(Peer(self.port, **{**self.login, **handshake}))
        return self.peers[-1]

    def channel(self, confirm=False, **handshake):
        """Open a connection and a channel on it."""
        return self.peer(**handshake).channel(confirm)

    def q(self, name='q'):
        """A queue name that nobody else uses; the queue is deleted at the end."""
        self.names['queue', self.prefix + name] = True
        return self.prefix + name

    def x(self, name='x'):
        """An exchange name that nobody else uses; the exchange is deleted at the end."""
        self.names['exchange', self.prefix + name] = True
        return self.prefix + name

    def __enter__(self):
        return self

    def __exit__(self, kind, failure, trace):
        for peer in self.peers:
            peer.drop()
        if not self.names:
            return
        try:
            self._delete_names()
        except (AssertionError, OSError):
            if kind is None:
                raise

    def _delete_names(self):
        peer = Peer(self.port, **self.login)
        channel = peer.channel()
        for kind, name in self.names:
            run.wait_for(lambda: self._deleted(channel, kind, name), 'deletion of ' + name)
        peer.close()

    @staticmethod
    def _deleted(channel, kind, name):
        channel.send(kind + '.delete', **{kind: name})
        if channel.next().name == kind + '.delete-ok':
            return True
        channel.send('channel.close-ok')        # exclusive to a connection that is about to go
        channel.call('channel.open')
        return False


class Fixture:
    """The broker of a test program, started for its first test: setup and teardown for run.py."""

    def __init__(self, settings=None, args=()):
        self.settings = settings
        self.args = args
        self.broker = None

    def setup(self):
        """Start it."""
        self.broker = leveret.open_broker(self.settings, self.args)

    def teardown(self):
        """Stop it, in good order."""
        if self.broker:
            self.broker.close()

    def world(self, **login):
        """A World on it."""
        return World(self.broker.port, **login)


def elsewhere():
    """True when another broker is tested, where Leveret's choices among versions do not hold."""
    return leveret.external_port() is not None


def queue_text(queue, vhost='/'):
    """The queue as reply texts name it."""
    return "queue '%s' in vhost '%s'" % (queue, vhost)


def exchange_text(exchange, vhost='/'):
    """The exchange as reply texts name it."""
    return "exchange '%s' in vhost '%s'" % (exchange, vhost)
