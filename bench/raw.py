"""A blocking AMQP 0-9-1 client of bytes: it writes batches made beforehand and counts replies.

What scale.py asks of a broker is the same frame many times over, which is cheap even from Python as
long as nothing is done for each message: publishes are one buffer sent again and again, and
deliveries of equal messages have equal lengths, so that the bytes read say how many came.
"""
import socket
import struct

EMPTY_TABLE = struct.pack('>I', 0)


def short(text):
    data = text.encode()
    return bytes([len(data)]) + data


def table(arguments):
    data = b''
    for name, value in arguments.items():
        if isinstance(value, int):
            data += short(name) + b'l' + struct.pack('>q', value)
        else:
            data += short(name) + b'S' + struct.pack('>I', len(value)) + value.encode()
    return struct.pack('>I', len(data)) + data


def frame(kind, channel, payload):
    return struct.pack('>BHI', kind, channel, len(payload)) + payload + b'\xce'


def method(class_id, method_id, arguments, channel=1):
    return frame(1, channel, struct.pack('>HH', class_id, method_id) + arguments)


def declare(queue, arguments=None, durable=True):
    return method(50, 10, b'\0\0' + short(queue) + bytes([2 if durable else 0])
                  + table(arguments or {}))


def bind(queue, exchange, key):
    return method(50, 20, b'\0\0' + short(queue) + short(exchange) + short(key) + b'\0'
                  + EMPTY_TABLE)


def declare_exchange(exchange, kind):
    return method(40, 10, b'\0\0' + short(exchange) + short(kind) + b'\2' + EMPTY_TABLE)


def publish(exchange, key, body, persistent=True, expiration=None):
    flags, properties = 0, b''
    if persistent:
        flags, properties = flags | 0x1000, properties + b'\2'
    if expiration is not None:
        flags, properties = flags | 0x0100, properties + short(str(expiration))
    return (method(60, 40, b'\0\0' + short(exchange) + short(key) + b'\0')
            + frame(2, 1, struct.pack('>HHQH', 60, 0, len(body), flags) + properties)
            + (frame(3, 1, body) if body else b''))


class Closed(Exception):
    """The broker closed the channel or the connection, or ended it; the text says why."""


class Client:
    """One connection with one open channel, as guest on vhost /."""

    def __init__(self, port, timeout=120):
        self.socket = socket.create_connection(('127.0.0.1', port), timeout=timeout)
        self.pending = b''
        self.socket.sendall(b'AMQP\0\0\x09\x01')
        self.expect(10, 10)
        login = b'\0guest\0guest'
        self.send(method(10, 11, EMPTY_TABLE + short('PLAIN') + struct.pack('>I', len(login))
                         + login + short('en_US'), 0))
        self.expect(10, 30)
        self.send(method(10, 31, struct.pack('>HIH', 16, 131072, 0), 0)
                  + method(10, 40, short('/') + b'\0\0', 0))
        self.expect(10, 41)
        self.send(method(20, 10, b'\0'))
        self.expect(20, 11)

    def send(self, data):
        self.socket.sendall(data)

    def read(self, size=1 << 20):
        data = self.socket.recv(size)
        if not data:
            raise Closed('the broker ended the connection')
        return data

    def next(self):
        """(kind, payload) of the next frame."""
        while True:
            if len(self.pending) >= 7:
                kind, _, length = struct.unpack_from('>BHI', self.pending)
                if len(self.pending) >= length + 8:
                    payload = self.pending[7:7 + length]
                    self.pending = self.pending[length + 8:]
                    return kind, payload
            self.pending += self.read(65536)

    def expect(self, class_id, method_id, count=1):
        """Wait for this method so many times; what else comes is skipped, a close is an error."""
        while count:
            kind, payload = self.next()
            if kind != 1:
                continue
            got = struct.unpack_from('>HH', payload)
            if got in ((10, 50), (20, 40)):
                raise Closed(payload[7:7 + payload[6]].decode())
            if got == (class_id, method_id):
                count -= 1
        return payload

    def pipeline(self, requests, class_id, method_id, batch=500):
        """Requests sent many at once, their replies counted."""
        for first in range(0, len(requests), batch):
            some = requests[first:first + batch]
            self.send(b''.join(some))
            self.expect(class_id, method_id, len(some))

    def select_confirms(self):
        self.confirmed = self.sent = 0
        self.send(method(85, 10, b'\0'))
        self.expect(85, 11)

    def publish_confirmed(self, batch, size, window):
        """Send a batch of so many publishes once no more than window are unconfirmed."""
        self.send(batch)
        self.sent += size
        self.wait_confirms(window)

    def wait_confirms(self, window=0):
        while self.sent - self.confirmed > window:
            payload = self.expect(60, 80)
            tag, multiple = struct.unpack_from('>QB', payload, 4)
            self.confirmed = tag if multiple else self.confirmed + 1

    def consume(self, queue, prefetch, automatic_ack=False):
        self.send(method(60, 10, struct.pack('>IHB', 0, prefetch, 0)))
        self.expect(60, 11)
        self.send(method(60, 20, b'\0\0' + short(queue) + short('c')
                         + bytes([2 if automatic_ack else 0]) + EMPTY_TABLE))
        self.expect(60, 21)

    def drain(self, count, ack_every):
        """Read so many deliveries as long as the first, counted and acknowledged by length."""
        length = 0
        while True:  # the first: a method, a header, a body
            kind, payload = self.next()
            length += len(payload) + 8
            if kind == 3:
                break
        read, acked = length + len(self.pending), 0
        self.pending = b''
        while acked < count:
            got = read // length
            if got - acked >= ack_every or got >= count:
                self.send(method(60, 80, struct.pack('>QB', got, 1)))
                acked = got
            if acked < count:
                read += len(self.read())
        if read != count * length:
            raise Closed(f'{count} deliveries of {length} bytes were expected, {read} bytes came')

    def message_count(self, queue):
        """Of ready messages; raises when the broker closed the channel before."""
        self.send(method(50, 10, b'\0\0' + short(queue) + b'\1' + EMPTY_TABLE))
        payload = self.expect(50, 11)
        return struct.unpack_from('>I', payload, 5 + payload[4])[0]

    def close(self):
        self.socket.close()
