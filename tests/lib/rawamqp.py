#!/usr/bin/python3
"""rawamqp.py - an AMQP 0-9-1 client that can say anything

Behaviour tests must send what no client library would, and see exactly what comes back. So this is
a frame at a time: whatever is asked for is sent, and whatever comes is either what the test expects
or a failure which shows it. Methods are encoded and decoded from one table (METHODS); the raw
forms (`send`, `frame`, `method`) take any octets.

    raw = Raw(port).handshake()              # header, start-ok, tune-ok, open; heartbeat 0
    raw.open_channel(1)
    raw.rpc(1, 'queue.declare', queue='q')   # sends, expects queue.declare-ok, returns its fields
    raw.publish(1, '', 'q', b'hello')
    message = raw.get(1, 'q')                # .body .properties .method
    raw.call(1, 'queue.declare', queue='nope', passive=True)
    raw.expect_channel_close(1, 404, "NOT_FOUND - no queue 'nope' in vhost '/'", 'queue.declare')

Wherever a method is named, 'queue.declare' and (50, 10) mean the same.
"""

import collections
import re
import select
import socket
import struct
import time

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_END = 0xCE
PROTOCOL_HEADER = b'AMQP\x00\x00\x09\x01'
TIMEOUT_S = 10
CAPABILITIES = {'publisher_confirms': True, 'exchange_exchange_bindings': True,
                'basic.nack': True, 'consumer_cancel_notify': True, 'connection.blocked': True,
                'authentication_failure_close': True}

_METHOD_LINES = '''
10.10 connection.start           version_major:o version_minor:o server_properties:tbl \
                                 mechanisms:ls locales:ls
10.11 connection.start-ok        client_properties:tbl mechanism:ss response:ls locale:ss
10.20 connection.secure          challenge:ls
10.21 connection.secure-ok       response:ls
10.30 connection.tune            channel_max:s frame_max:l heartbeat:s
10.31 connection.tune-ok         channel_max:s frame_max:l heartbeat:s
10.40 connection.open            vhost:ss reserved_1:ss reserved_2:bit
10.41 connection.open-ok         reserved_1:ss
10.50 connection.close           reply_code:s reply_text:ss class_id:s method_id:s
10.51 connection.close-ok
10.60 connection.blocked         reason:ss
10.61 connection.unblocked
10.70 connection.update-secret   new_secret:ls reason:ss
10.71 connection.update-secret-ok
20.10 channel.open               reserved_1:ss
20.11 channel.open-ok            reserved_1:ls
20.20 channel.flow               active:bit
20.21 channel.flow-ok            active:bit
20.40 channel.close              reply_code:s reply_text:ss class_id:s method_id:s
20.41 channel.close-ok
30.10 access.request             realm:ss exclusive:bit passive:bit active:bit write:bit read:bit
30.11 access.request-ok          ticket:s
40.10 exchange.declare           ticket:s exchange:ss type:ss passive:bit durable:bit \
                                 auto_delete:bit internal:bit nowait:bit arguments:tbl
40.11 exchange.declare-ok
40.20 exchange.delete            ticket:s exchange:ss if_unused:bit nowait:bit
40.21 exchange.delete-ok
40.30 exchange.bind              ticket:s destination:ss source:ss routing_key:ss nowait:bit \
                                 arguments:tbl
40.31 exchange.bind-ok
40.40 exchange.unbind            ticket:s destination:ss source:ss routing_key:ss nowait:bit \
                                 arguments:tbl
40.51 exchange.unbind-ok
50.10 queue.declare              ticket:s queue:ss passive:bit durable:bit exclusive:bit \
                                 auto_delete:bit nowait:bit arguments:tbl
50.11 queue.declare-ok           queue:ss message_count:l consumer_count:l
50.20 queue.bind                 ticket:s queue:ss exchange:ss routing_key:ss nowait:bit \
                                 arguments:tbl
50.21 queue.bind-ok
50.30 queue.purge                ticket:s queue:ss nowait:bit
50.31 queue.purge-ok             message_count:l
50.40 queue.delete               ticket:s queue:ss if_unused:bit if_empty:bit nowait:bit
50.41 queue.delete-ok            message_count:l
50.50 queue.unbind               ticket:s queue:ss exchange:ss routing_key:ss arguments:tbl
50.51 queue.unbind-ok
60.10 basic.qos                  prefetch_size:l prefetch_count:s global_:bit
60.11 basic.qos-ok
60.20 basic.consume              ticket:s queue:ss consumer_tag:ss no_local:bit no_ack:bit \
                                 exclusive:bit nowait:bit arguments:tbl
60.21 basic.consume-ok           consumer_tag:ss
60.30 basic.cancel               consumer_tag:ss nowait:bit
60.31 basic.cancel-ok            consumer_tag:ss
60.40 basic.publish              ticket:s exchange:ss routing_key:ss mandatory:bit immediate:bit
60.50 basic.return               reply_code:s reply_text:ss exchange:ss routing_key:ss
60.60 basic.deliver              consumer_tag:ss delivery_tag:L redelivered:bit exchange:ss \
                                 routing_key:ss
60.70 basic.get                  ticket:s queue:ss no_ack:bit
60.71 basic.get-ok               delivery_tag:L redelivered:bit exchange:ss routing_key:ss \
                                 message_count:l
60.72 basic.get-empty            reserved_1:ss
60.80 basic.ack                  delivery_tag:L multiple:bit
60.90 basic.reject               delivery_tag:L requeue:bit
60.100 basic.recover-async       requeue:bit
60.110 basic.recover             requeue:bit
60.111 basic.recover-ok
60.120 basic.nack                delivery_tag:L multiple:bit requeue:bit
85.10 confirm.select             nowait:bit
85.11 confirm.select-ok
90.10 tx.select
90.11 tx.select-ok
90.20 tx.commit
90.21 tx.commit-ok
90.30 tx.rollback
90.31 tx.rollback-ok
'''

Frame = collections.namedtuple('Frame', 'type channel payload')
MethodSpec = collections.namedtuple('MethodSpec', 'id name fields')
Message = collections.namedtuple('Message', 'method properties raw_properties body')


class Failure(AssertionError):
    """The peer did something else than what was expected."""


class Timeout(Failure):
    """Nothing came in time."""


class Closed(Failure):
    """The peer closed the TCP connection."""


class Args(dict):
    """Decoded fields of a method, also as attributes."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Field:
    """A field-table value given as its type octet and raw octets."""

    def __init__(self, octet, raw=b''):
        self.octet = octet.encode('latin-1') if isinstance(octet, str) else octet
        self.raw = raw


def _read_method_lines():
    by_id, by_name = {}, {}
    for line in _METHOD_LINES.split('\n'):
        words = line.split()
        if not words:
            continue
        ident = tuple(int(part) for part in words[0].split('.'))
        fields = [tuple(word.split(':')) for word in words[2:]]
        spec = MethodSpec(ident, words[1], fields)
        by_id[ident] = by_name[words[1]] = spec
    return by_id, by_name


METHODS, METHODS_BY_NAME = _read_method_lines()
PROPERTIES = [('content_type', 'ss'), ('content_encoding', 'ss'), ('headers', 'tbl'),
              ('delivery_mode', 'o'), ('priority', 'o'), ('correlation_id', 'ss'),
              ('reply_to', 'ss'), ('expiration', 'ss'), ('message_id', 'ss'), ('timestamp', 'L'),
              ('type', 'ss'), ('user_id', 'ss'), ('app_id', 'ss'), ('cluster_id', 'ss')]
_NUMBERS = {'o': '>B', 's': '>H', 'l': '>I', 'L': '>Q'}
_FIELD_NUMBERS = {'b': '>b', 'B': '>B', 's': '>h', 'u': '>H', 'I': '>i', 'i': '>I', 'l': '>q',
                  'L': '>q', 'f': '>f', 'd': '>d', 'T': '>Q'}


def method_id(method):
    """Return (class, method) for a name or a pair."""
    return METHODS_BY_NAME[method].id if isinstance(method, str) else tuple(method)


def method_name(ident):
    """Return a method's name for messages."""
    spec = METHODS.get(tuple(ident))
    return spec.name if spec else '%d.%d' % tuple(ident)


# ---- encoding --------------------------------------------------------------------------------

def as_bytes(text):
    """Text as UTF-8; octets stay as they are."""
    return text.encode() if isinstance(text, str) else bytes(text)


def shortstr(text):
    """Encode a short string."""
    data = as_bytes(text)
    return struct.pack('>B', len(data)) + data


def longstr(text):
    """Encode a long string."""
    data = as_bytes(text)
    return struct.pack('>I', len(data)) + data


def field_value(value):
    """Encode a field-table value with its type octet; Field gives the octets themselves."""
    if isinstance(value, Field):
        return value.octet + value.raw
    if value is None:
        return b'V'
    if isinstance(value, bool):
        return b't' + bytes([value])
    if isinstance(value, int):
        return struct.pack('>ci', b'I', value) if -2**31 <= value < 2**31 else \
            struct.pack('>cq', b'l', value)
    if isinstance(value, float):
        return struct.pack('>cd', b'd', value)
    if isinstance(value, str):
        return b'S' + longstr(value)
    if isinstance(value, bytes):
        return b'x' + longstr(value)
    if isinstance(value, (list, tuple)):
        return b'A' + longstr(b''.join(field_value(element) for element in value))
    return b'F' + table(value)


def table(entries):
    """Encode a field table from a dict, a list of pairs, or the octets of its entries."""
    if isinstance(entries, (bytes, bytearray)):
        return longstr(entries)
    pairs = entries.items() if isinstance(entries, dict) else (entries or [])
    return longstr(b''.join(shortstr(key) + field_value(value) for key, value in pairs))


def encode_fields(fields, values):
    """Encode (name, type) fields; missing values are 0, false or empty."""
    unknown = set(values) - {name for name, _ in fields}
    if unknown:
        raise TypeError('no such argument: %s' % ', '.join(sorted(unknown)))
    out = bytearray()
    bits = 0
    for name, kind in fields:
        value = values.get(name)
        if kind == 'bit':
            if bits % 8 == 0:
                out.append(0)
            out[-1] |= (1 << bits % 8) if value else 0
            bits += 1
            continue
        bits = 0
        if kind in _NUMBERS:
            out += struct.pack(_NUMBERS[kind], value or 0)
        elif kind == 'ss':
            out += shortstr(value or b'')
        elif kind == 'ls':
            out += longstr(value or b'')
        else:
            out += table(value or {})
    return bytes(out)


def frame(kind, channel, payload, end=FRAME_END):
    """Return the octets of a frame."""
    return struct.pack('>BHI', kind, channel, len(payload)) + payload + bytes([end])


def method_frame(channel, method, args=b''):
    """Return a method frame with raw arguments."""
    return frame(METHOD, channel, struct.pack('>HH', *method_id(method)) + args)


def call_frame(channel, method, **values):
    """Return a method frame with encoded arguments."""
    spec = METHODS[method_id(method)]
    return method_frame(channel, spec.id, encode_fields(spec.fields, values))


def properties(**values):
    """Encode the property flags and values of a content header."""
    flags = 0
    out = b''
    unknown = set(values) - {name for name, _ in PROPERTIES}
    if unknown:
        raise TypeError('no such property: %s' % ', '.join(sorted(unknown)))
    for position, (name, kind) in enumerate(PROPERTIES):
        if values.get(name) is not None:
            flags |= 0x8000 >> position
            out += encode_fields([(name, kind)], {name: values[name]})
    return struct.pack('>H', flags) + out


def header_frame(channel, body_bytes, props=b'\0\0', class_id=60, weight=0):
    """Return a content header frame; props are the octets from the flags on."""
    return frame(HEADER, channel, struct.pack('>HHQ', class_id, weight, body_bytes) + props)


def content_frames(channel, body, props=b'\0\0', frame_max=131072):
    """Return the header and body frames of a message."""
    out = header_frame(channel, len(body), props)
    step = frame_max - 8
    for at in range(0, len(body), step):
        out += frame(BODY, channel, body[at:at + step])
    return out


def plain(user, password):
    """Return a PLAIN response."""
    return b'\0' + as_bytes(user) + b'\0' + as_bytes(password)


def amqplain(user, password):
    """Return an AMQPLAIN response: the entries of a table, without its length."""
    return table([('LOGIN', as_text_field(user)), ('PASSWORD', as_text_field(password))])[4:]


def as_text_field(text):
    """A long string field, whatever Python type the text has."""
    return Field('S', longstr(text))


# ---- decoding --------------------------------------------------------------------------------

class Reader:
    """Takes values from the front of a byte string; Failure when they are not there."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, count):
        """Take a number of octets."""
        if self.at + count > len(self.data):
            raise Failure('%d octets are missing in %r' % (self.at + count - len(self.data),
                                                           self.data))
        self.at += count
        return self.data[self.at - count:self.at]

    def number(self, form):
        """Take one number in a struct format."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self, form):
        """Take a length and that many octets; text when they are UTF-8, else bytes."""
        data = self.take(self.number(form))
        try:
            return data.decode()
        except UnicodeDecodeError:
            return data

    def value(self):
        """Take a type octet and its value."""
        octet = self.take(1).decode('latin-1')
        if octet in _FIELD_NUMBERS:
            return self.number(_FIELD_NUMBERS[octet])
        if octet == 't':
            return self.number('>B') != 0
        if octet == 'D':
            scale = self.number('>B')
            return self.number('>I') / 10 ** scale
        if octet == 'S':
            return self.text('>I')
        if octet == 'x':
            return self.take(self.number('>I'))
        if octet == 'U':
            return self.number('>h')
        if octet == 'V':
            return None
        if octet == 'F':
            return self.table()
        if octet == 'A':
            inner = Reader(self.take(self.number('>I')))
            elements = []
            while not inner.empty():
                elements.append(inner.value())
            return elements
        raise Failure('unknown field type %r' % octet)

    def table(self):
        """Take a field table."""
        inner = Reader(self.take(self.number('>I')))
        entries = {}
        while not inner.empty():
            key = inner.text('>B')
            entries.setdefault(key, inner.value())
        return entries

    def fields(self, fields):
        """Take (name, type) fields."""
        values = Args()
        bits = octet = 0
        for name, kind in fields:
            if kind == 'bit':
                if bits % 8 == 0:
                    octet = self.number('>B')
                values[name] = bool(octet >> bits % 8 & 1)
                bits += 1
                continue
            bits = 0
            if kind in _NUMBERS:
                values[name] = self.number(_NUMBERS[kind])
            elif kind == 'tbl':
                values[name] = self.table()
            else:
                values[name] = self.text('>B' if kind == 'ss' else '>I')
        return values

    def empty(self):
        """Say whether everything has been taken."""
        return self.at == len(self.data)


def decode_method(payload):
    """Return (spec, Args) of a method payload; it must be exactly as long as its fields."""
    reader = Reader(payload)
    ident = (reader.number('>H'), reader.number('>H'))
    spec = METHODS.get(ident)
    if spec is None:
        raise Failure('unknown method %d.%d' % ident)
    values = reader.fields(spec.fields)
    if not reader.empty():
        raise Failure('%s has octets after its last field: %r' % (spec.name, payload))
    return spec, values


def decode_properties(data):
    """Return the properties of a content header (octets from the flags on) as Args."""
    reader = Reader(data)
    flags = reader.number('>H')
    present = [field for position, field in enumerate(PROPERTIES) if flags & 0x8000 >> position]
    return reader.fields(present)


def describe(seen):
    """One line that shows a frame."""
    if seen.type == METHOD:
        try:
            spec, values = decode_method(seen.payload)
            return '%s on %d %s' % (spec.name, seen.channel, dict(values))
        except Failure:
            pass
    return 'frame of type %d on %d: %r' % (seen.type, seen.channel, seen.payload[:100])


# ---- the client ------------------------------------------------------------------------------

class Raw:
    """A TCP connection that speaks frames."""

    def __init__(self, port, host='127.0.0.1', connect=True):
        self.address = (host, port)
        self.socket = None
        self.received = bytearray()
        self.server = None          # Args of connection.start
        self.tune = None            # Args of connection.tune
        self.frame_max = 4096       # as tuned
        if connect:
            self.connect()

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.drop()

    def connect(self):
        """Open the TCP connection, or open another one."""
        self.drop()
        self.received.clear()
        self.socket = socket.create_connection(self.address, timeout=TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self

    def drop(self):
        """Close the TCP connection without a word."""
        if self.socket:
            self.socket.close()
            self.socket = None

    # -- sending --

    def send(self, data):
        """Send octets."""
        self.socket.settimeout(TIMEOUT_S)
        self.socket.sendall(data)
        return self

    def send_slowly(self, data, octets=1):
        """Send octets a few at a time, each in a segment of its own."""
        for at in range(0, len(data), octets):
            self.send(data[at:at + octets])
        return self

    def frame(self, kind, channel, payload, end=FRAME_END):
        """Send a frame."""
        return self.send(frame(kind, channel, payload, end))

    def method(self, channel, method, args=b''):
        """Send a method with raw arguments."""
        return self.send(method_frame(channel, method, args))

    def call(self, channel, method, **values):
        """Send a method with encoded arguments; those not given are 0, false or empty."""
        return self.send(call_frame(channel, method, **values))

    def rpc(self, channel, method, **values):
        """Send a method and return the fields of its reply."""
        self.call(channel, method, **values)
        return self.expect(channel, METHODS[method_id(method)].name + '-ok')

    def publish(self, channel, exchange, routing_key, body=b'', props=b'\0\0', mandatory=False,
                immediate=False):
        """Send basic.publish with its content; props come from properties()."""
        body = as_bytes(body)
        return self.send(call_frame(channel, 'basic.publish', exchange=exchange,
                                    routing_key=routing_key, mandatory=mandatory,
                                    immediate=immediate)
                         + content_frames(channel, body, props, self.frame_max))

    # -- receiving --

    def _receive(self, bound, doing):
        """Read some octets into the buffer; False at the end of the stream."""
        left = bound - time.monotonic()
        if left <= 0 or not select.select([self.socket], [], [], left)[0]:
            raise Timeout('nothing came while waiting for %s' % doing)
        try:
            data = self.socket.recv(1 << 18)
        except ConnectionError:
            return False
        self.received += data
        return bool(data)

    def read_bytes(self, count, timeout=TIMEOUT_S):
        """Read exactly count octets."""
        bound = time.monotonic() + timeout
        while len(self.received) < count:
            if not self._receive(bound, '%d octets' % count):
                raise Closed('closed after %r, expected %d octets'
                             % (bytes(self.received), count))
        data = bytes(self.received[:count])
        del self.received[:count]
        return data

    def read_frame(self, timeout=TIMEOUT_S, doing='a frame'):
        """Read the next frame, heartbeats too."""
        bound = time.monotonic() + timeout
        while True:
            if len(self.received) >= 7:
                kind, channel, size = struct.unpack_from('>BHI', self.received)
                if len(self.received) >= size + 8:
                    break
            if not self._receive(bound, doing):
                raise Closed('the connection was closed while waiting for %s' % doing)
        payload = bytes(self.received[7:7 + size])
        end = self.received[7 + size]
        del self.received[:size + 8]
        if end != FRAME_END:
            raise Failure('frame of type %d ends with %d' % (kind, end))
        return Frame(kind, channel, payload)

    def _next_frame(self, timeout, doing):
        """Read the next frame that is not a heartbeat."""
        while True:
            seen = self.read_frame(timeout, doing)
            if seen.type != HEARTBEAT:
                return seen

    def expect_any(self, channel, methods, timeout=TIMEOUT_S):
        """Read a frame that must be one of some methods; return (name, fields)."""
        names = [method_name(method_id(method)) for method in methods]
        doing = '%s on %d' % (' or '.join(names), channel)
        seen = self._next_frame(timeout, doing)
        if seen.type == METHOD and seen.channel == channel:
            spec, values = decode_method(seen.payload)
            if spec.name in names:
                return spec.name, values
        raise Failure('got %s instead of %s' % (describe(seen), doing))

    def expect(self, channel, method, timeout=TIMEOUT_S):
        """Read a frame that must be this method on this channel; return its fields."""
        return self.expect_any(channel, [method], timeout)[1]

    def expect_content(self, channel, method, timeout=TIMEOUT_S):
        """Read a method that carries content, and its content; return a Message."""
        return self.content(channel, self.expect(channel, method, timeout), timeout)

    def content(self, channel, values, timeout=TIMEOUT_S):
        """Read the content that follows a method whose fields have been read; return a Message."""
        seen = self._next_frame(timeout, 'a content header')
        if seen.type != HEADER or seen.channel != channel:
            raise Failure('got %s instead of a content header on %d' % (describe(seen), channel))
        class_id, weight, size = struct.unpack_from('>HHQ', seen.payload)
        if class_id != 60 or weight != 0:
            raise Failure('content header has class %d and weight %d' % (class_id, weight))
        body = bytearray()
        while len(body) < size:
            part = self._next_frame(timeout, 'a content body')
            if part.type != BODY or part.channel != channel:
                raise Failure('got %s instead of a body on %d' % (describe(part), channel))
            if not part.payload:
                raise Failure('got an empty body frame')
            body += part.payload
        if len(body) != size:
            raise Failure('%d octets of body came, %d were announced' % (len(body), size))
        raw = seen.payload[12:]
        return Message(values, decode_properties(raw), raw, bytes(body))

    def get(self, channel, queue, no_ack=True, timeout=TIMEOUT_S):
        """Get a message; None when the queue is empty."""
        self.call(channel, 'basic.get', queue=queue, no_ack=no_ack)
        name, values = self.expect_any(channel, ['basic.get-ok', 'basic.get-empty'], timeout)
        return self.content(channel, values, timeout) if name == 'basic.get-ok' else None

    def expect_close(self, code, text, method=(0, 0), answer=True, timeout=TIMEOUT_S, skip=False):
        """Read connection.close and compare it; answer it and wait for the end of the stream.

        text is a string, a compiled pattern, or None for any; method None for any. With skip,
        frames of channels are read over first.
        """
        seen = self._next_frame(timeout, 'connection.close')
        while skip and seen.channel != 0:
            seen = self._next_frame(timeout, 'connection.close')
        values = self._compare_close(seen, 0, 'connection.close', (code, text, method))
        if answer:
            self.call(0, 'connection.close-ok')
            self.eof(timeout)
        return values

    def expect_channel_close(self, channel, code, text, method=None, answer=True,
                             timeout=TIMEOUT_S):
        """Read channel.close, compare it, and answer it."""
        seen = self._next_frame(timeout, 'channel.close on %d' % channel)
        values = self._compare_close(seen, channel, 'channel.close', (code, text, method))
        if answer:
            self.call(channel, 'channel.close-ok')
        return values

    @staticmethod
    def _compare_close(seen, channel, name, wanted):
        code, text, method = wanted
        if seen.type != METHOD or seen.channel != channel:
            raise Failure('got %s instead of %s %s on %d' % (describe(seen), name, code, channel))
        spec, got = decode_method(seen.payload)
        if spec.name != name:
            raise Failure('got %s instead of %s %s' % (describe(seen), name, code))
        same_text = text is None or (text.search(str(got.reply_text)) if
                                     isinstance(text, re.Pattern) else got.reply_text == text)
        ident = (got.class_id, got.method_id)
        if got.reply_code != code or not same_text or \
                (method is not None and ident != method_id(method)):
            raise Failure('%s is %d %r for %d.%d, expected %d %r for %s'
                          % (name, got.reply_code, got.reply_text, *ident, code,
                             text.pattern if isinstance(text, re.Pattern) else text,
                             'any' if method is None else '%d.%d' % method_id(method)))
        return got

    def eof(self, timeout=TIMEOUT_S):
        """Read until the peer closes; fail when anything but heartbeats comes. Return seconds."""
        began = time.monotonic()
        while True:
            try:
                left = began + timeout - time.monotonic()
                seen = self.read_frame(left, 'the end of the stream')
            except Closed:
                if self.received:
                    raise Failure('got %r before the end of the stream'
                                  % bytes(self.received)) from None
                return time.monotonic() - began
            if seen.type != HEARTBEAT:
                raise Failure('got %s instead of the end of the stream' % describe(seen))

    # -- the usual conversations --

    def start(self, header=PROTOCOL_HEADER):
        """Send the protocol header and read connection.start."""
        self.send(header)
        self.server = self.expect(0, 'connection.start')
        return self

    def login(self, user='guest', password='guest', capabilities=None, client_properties=None,
              mechanism='PLAIN', response=None, locale='en_US'):
        """Send start-ok; read nothing."""
        told = {'product': 'rawamqp', **(client_properties or {})}
        told.setdefault('capabilities', CAPABILITIES if capabilities is None else capabilities)
        if response is None:
            response = (plain if mechanism == 'PLAIN' else amqplain)(user, password)
        return self.call(0, 'connection.start-ok', client_properties=told, mechanism=mechanism,
                         response=response, locale=locale)

    def tune_ok(self, tune=(None, None, 0)):
        """Read connection.tune and answer with (channel_max, frame_max, heartbeat).

        None, for one of them or for all, takes what the server proposes.
        """
        self.tune = self.expect(0, 'connection.tune')
        offered = (self.tune.channel_max, self.tune.frame_max, self.tune.heartbeat)
        chosen = [offer if wish is None else wish
                  for wish, offer in zip(tune or (None, None, None), offered)]
        self.frame_max = chosen[1] or 131072
        return self.call(0, 'connection.tune-ok', channel_max=chosen[0], frame_max=chosen[1],
                         heartbeat=chosen[2])

    def handshake(self, user='guest', password='guest', vhost='/', capabilities=None,
                  tune=(None, None, 0), client_properties=None, **login):
        """Go from the protocol header to connection.open-ok; heartbeats are off by default."""
        self.start()
        self.login(user, password, capabilities, client_properties, **login)
        self.tune_ok(tune)
        self.rpc(0, 'connection.open', vhost=vhost)
        return self

    def open_channel(self, channel=1):
        """Open a channel and return its number."""
        self.rpc(channel, 'channel.open')
        return channel

    def close_channel(self, channel=1):
        """Close a channel."""
        self.rpc(channel, 'channel.close', reply_code=200, reply_text='bye')

    def sync(self, channel=1):
        """Make sure that all before has been handled: a round trip that changes nothing."""
        self.rpc(channel, 'channel.flow', active=True)

    def close(self):
        """Close the connection in the proper way."""
        self.rpc(0, 'connection.close', reply_code=200, reply_text='Goodbye')
        self.drop()


def connect(port, channels=1, **handshake):
    """Return a Raw with its handshake done and channels 1..n open."""
    raw = Raw(port).handshake(**handshake)
    for channel in range(1, channels + 1):
        raw.open_channel(channel)
    return raw
