#!/usr/bin/python3
"""test_closing.py - how a connection's socket ends, whoever ends it

Where all has been said, the broker reads on until the client closes, so that whoever still writes
gets no reset. A peer that is given up is reset, so that its next write fails. Sockets whose peers
have gone, or that will never be closed by them, must not use up the descriptors. And what is not
AMQP 0-9-1 is named in the log.
"""

import os
import resource
import socket
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))

import leveret                              # noqa: E402
import rawamqp                              # noqa: E402
import run                                  # noqa: E402
from rawamqp import Raw                     # noqa: E402

BROKER = None
HEARTBEAT_FRAME = b'\x08\0\0\0\0\0\0\xce'
FLOOD_SOCKETS = 5000
LINGERING_MAX = 1024                        # BOUND_LINGERING_SOCKETS
BROKEN_FRAME = rawamqp.frame(1, 1, b'abcdefgh', end=0)


def setup():
    global BROKER
    BROKER = leveret.open_broker()


def teardown():
    BROKER.close()


def ours_only():
    """Skip what needs a look into our process, or settings of our own."""
    if BROKER.external:
        run.skip('needs a broker of its own')


def end_of_stream(raw, timeout=10):
    """Read to the end; return (octets, 'end' or 'reset')."""
    octets = bytes(raw.received)
    raw.socket.settimeout(timeout)
    while True:
        try:
            part = raw.socket.recv(1 << 16)
        except ConnectionResetError:
            return octets, 'reset'
        if not part:
            return octets, 'end'
        octets += part


def count_descriptors(broker):
    """How many descriptors the broker has open."""
    return len(os.listdir('/proc/%d/fd' % broker.pid))


# ---- the last answer, and who still writes ---------------------------------------------------

def test_who_writes_behind_close_ok_gets_no_reset():
    raw = rawamqp.connect(BROKER.port, channels=2)
    raw.rpc(0, 'connection.close', reply_code=200, reply_text='bye')
    for _ in range(200):                    # 20 MB: more than the buffers of the kernel hold
        raw.publish(2, '', 'nowhere', b'x' * 100000)
    run.check_equal(raw.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), 0, 'error')
    raw.drop()


def test_threads_that_publish_during_the_close_get_no_reset():
    raw = rawamqp.connect(BROKER.port, channels=1)
    failures, enough = [], threading.Event()

    def publish():
        try:
            while not enough.is_set():
                raw.publish(1, '', 'nowhere', b'x' * 1000)
        except OSError as failure:
            failures.append(failure)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        raw.send(rawamqp.call_frame(0, 'connection.close', reply_code=200))
        raw.expect(0, 'connection.close-ok')
        time.sleep(0.3)                     # the load: publishes behind close-ok
    finally:
        enough.set()
        thread.join()
    run.check_equal(failures, [], 'failures')
    raw.drop()


def test_who_writes_behind_close_ok_of_its_own_gets_no_reset():
    ours_only()                             # RabbitMQ resets
    raw = rawamqp.connect(BROKER.port)
    raw.call(0, 'basic.qos')
    raw.expect_close(504, None, 'basic.qos', answer=False)
    raw.call(0, 'connection.close-ok')
    for _ in range(200):
        raw.send(b'x' * 100000)
    run.check_equal(end_of_stream(raw), (b'', 'end'), 'end of the stream')
    raw.drop()


def test_refusal_reaches_who_still_writes():
    ours_only()                             # RabbitMQ resets
    raw = Raw(BROKER.port)
    raw.send(b'POST / HTTP/1.1\r\n\r\n' + b'x' * 5000000)
    run.check_equal(end_of_stream(raw), (rawamqp.PROTOCOL_HEADER, 'end'), 'answer')
    raw.drop()


@run.parallel
def test_connection_that_is_closing_counts_against_no_limit():
    ours_only()
    with leveret.Broker({'connection_max': 1}) as broker:
        first = rawamqp.connect(broker.port)
        second = Raw(broker.port).start().login().tune_ok()
        second.call(0, 'connection.open', vhost='/')
        second.expect_close(530, None, 'connection.open', answer=False)    # and does not answer it
        first.call(0, 'basic.qos')
        first.expect_close(504, None, 'basic.qos', answer=False)
        rawamqp.connect(broker.port).close()
        first.drop()
        second.drop()


# ---- peers that are given up -----------------------------------------------------------------

@run.parallel
def test_silent_peer_is_reset():
    raw = rawamqp.connect(BROKER.port, channels=0, tune=(None, None, 1))
    octets, how = end_of_stream(raw)
    run.check_equal(octets.replace(HEARTBEAT_FRAME, b''), b'', 'octets')
    run.check_equal(how, 'reset', 'end')
    try:
        raw.publish(1, '', 'nowhere', b'into a dead connection')
        raise AssertionError('the write looked good')
    except ConnectionError:
        pass


@run.parallel
def test_peer_that_does_not_finish_its_handshake_is_reset():
    ours_only()
    with leveret.Broker({'handshake_timeout': 1000}) as hasty:
        run.check_equal(end_of_stream(Raw(hasty.port).start())[1], 'reset', 'end')


@run.parallel
def test_peer_that_does_not_answer_connection_close_is_reset():
    raw = rawamqp.connect(BROKER.port, tune=(None, None, 2))
    raw.call(0, 'basic.qos')
    raw.expect_close(504, None, 'basic.qos', answer=False)
    run.check_equal(end_of_stream(raw)[1], 'reset', 'end')


class Stuck:
    """A consumer with small buffers that reads nothing; its heartbeats come."""

    def __init__(self, port, messages):
        self.raw = Raw(port, connect=False)
        self.raw.socket = socket.socket()
        self.raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.raw.socket.connect(('127.0.0.1', port))
        self.raw.handshake(tune=(None, None, 1))
        self.raw.open_channel(1)
        self.queue = self.raw.rpc(1, 'queue.declare').queue
        self.raw.rpc(1, 'basic.consume', queue=self.queue, no_ack=True)
        self.publisher = rawamqp.connect(port)
        for _ in range(messages):
            self.publisher.publish(1, '', self.queue, b'x' * 100000)

    def beat(self, seconds):
        """Send heartbeats for so long; return after how many seconds one failed, or None."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            try:
                self.raw.send(HEARTBEAT_FRAME)
            except ConnectionError:
                return time.monotonic() - began
            time.sleep(0.05)                # the load: twenty heartbeats a second
        return None


@run.parallel
def test_peer_that_reads_nothing_is_reset_although_its_heartbeats_come():
    ours_only()
    with leveret.Broker({'tcp_listen_options.send_timeout': 2000}) as broker:
        stuck = Stuck(broker.port, 200)
        seconds = stuck.beat(15)
        run.check(seconds is not None, 'it was never dropped')
        run.check(1.5 <= seconds <= 8, 'dropped after %.1f s' % seconds)
        line = broker.wait_for_log('the client reads nothing')
        run.check('send timeout: 2000 ms' in line, 'the log says %r' % line)
        run.check_equal(broker.log().count('the client reads nothing'), 1, 'lines')
        stuck.publisher.sync(1)             # others are served
        stuck.publisher.close()


@run.parallel
def test_peer_that_reads_nothing_stays_without_a_send_timeout():
    ours_only()
    with leveret.Broker({'tcp_listen_options.send_timeout': 'infinity'}) as broker:
        stuck = Stuck(broker.port, 200)
        run.check_equal(stuck.beat(5), None, 'dropped after')
        stuck.raw.drop()
        stuck.publisher.close()


# ---- descriptors -----------------------------------------------------------------------------

def opening_octets():
    """All that a client sends up to connection.open, in one piece."""
    told = {'capabilities': rawamqp.CAPABILITIES}
    return (rawamqp.PROTOCOL_HEADER
            + rawamqp.call_frame(0, 'connection.start-ok', client_properties=told,
                                 mechanism='PLAIN', response=rawamqp.plain('guest', 'guest'),
                                 locale='en_US')
            + rawamqp.call_frame(0, 'connection.tune-ok', channel_max=10, frame_max=131072)
            + rawamqp.call_frame(0, 'connection.open', vhost='/'))


def flood(count, octets, mark):
    """Open so many connections that send octets; return them when all have read the mark."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit[1] != resource.RLIM_INFINITY and limit[1] < count + 100:
        run.skip('the hard limit of open files is %d' % limit[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limit[0], count + 100), limit[1]))
    sockets = []
    for _ in range(count):
        sockets.append(socket.create_connection(('127.0.0.1', BROKER.port), timeout=30))
        sockets[-1].sendall(octets)
    for each in sockets:
        seen = b''
        while mark not in seen:
            part = each.recv(1 << 16)
            run.check(part, 'the end came before the answer: %r' % seen)
            seen += part
    return sockets


def drop_all(sockets):
    """Close them all."""
    for each in sockets:
        each.close()


CLOSE_MARK = b'\x00\x0a\x00\x32'            # connection.close
CLOSE_OK_MARK = b'\x00\x0a\x00\x33'


def test_flood_of_garbage_behind_an_error_is_gone_with_its_peers():
    ours_only()
    before = count_descriptors(BROKER)
    sockets = flood(FLOOD_SOCKETS, opening_octets() + rawamqp.call_frame(0, 'basic.qos')
                    + BROKEN_FRAME, CLOSE_MARK)
    drop_all(sockets)
    # Long before the 3 seconds of a broken stream or the 30 of a missing close-ok.
    run.wait_for(lambda: count_descriptors(BROKER) <= before, 'the end of all sockets', 2.5)


def test_flood_of_garbage_that_stays_is_gone_in_3_seconds():
    ours_only()
    before = count_descriptors(BROKER)
    sockets = flood(1000, opening_octets() + rawamqp.call_frame(0, 'basic.qos')
                    + BROKEN_FRAME, CLOSE_MARK)
    run.wait_for(lambda: count_descriptors(BROKER) <= before, 'the end of all sockets', 10)
    drop_all(sockets)


def test_flood_of_closed_connections_that_stay_is_bounded():
    ours_only()
    before = count_descriptors(BROKER)
    sockets = flood(2 * LINGERING_MAX, opening_octets()
                    + rawamqp.call_frame(0, 'connection.close', reply_code=200), CLOSE_OK_MARK)
    run.wait_for(lambda: count_descriptors(BROKER) <= before + LINGERING_MAX,
                 'a bound of the sockets that linger', 10)
    run.check(count_descriptors(BROKER) > before + LINGERING_MAX // 2, 'none of them lingers')
    drop_all(sockets)
    run.wait_for(lambda: count_descriptors(BROKER) <= before, 'the end of all sockets', 10)


def test_refused_peer_that_goes_is_not_kept_for_3_seconds():
    ours_only()
    before = count_descriptors(BROKER)
    raw = Raw(BROKER.port).start().login(password='wrong', capabilities={})
    BROKER.wait_for_log('invalid credentials')
    raw.drop()
    run.wait_for(lambda: count_descriptors(BROKER) <= before, 'the end of the socket', 2)


def test_stop_closes_what_lingers():
    ours_only()
    with leveret.Broker() as broker:
        raw = rawamqp.connect(broker.port)
        raw.rpc(0, 'connection.close', reply_code=200)
        began = time.monotonic()
        broker.stop()
        run.check(time.monotonic() - began < 10, 'stopping waited for a socket that lingers')
        raw.drop()


# ---- other protocols -------------------------------------------------------------------------

FOREIGN = [
    (b'GET / HTTP/1.1\r\nHost: x\r\n\r\n', 'looks like HTTP; this port speaks AMQP 0-9-1'),
    (bytes.fromhex('1603010200010001fc0303') + b'r' * 500,
     'looks like TLS; this listener is plain'),
    (bytes.fromhex('101000044d5154540402003c000461626364'), 'looks like MQTT'),
    (b'STOMP\naccept-version:1.2\n\n\0', 'looks like STOMP'),
    (b'AMQP\0\x01\0\0', 'looks like AMQP 1.0'),
    (b'AMQP\x03\x01\0\0', 'looks like AMQP 1.0'),
    (b'AMQP\0\0\x0a\0', 'looks like another version of AMQP'),
    (b'garbage!', 'does not speak AMQP: it begins with "garbage!"'),
]


def test_other_protocols_are_answered_with_the_header_and_named():
    for octets, named in FOREIGN:
        raw = Raw(BROKER.port).send(octets)
        run.check_equal(raw.read_bytes(8), rawamqp.PROTOCOL_HEADER, 'answer to %r' % octets)
        raw.drop()
        if not BROKER.external:
            line = BROKER.wait_for_log(named)
            run.check('127.0.0.1:' in line and '[warning]' in line, 'the log says %r' % line)


def test_short_beginnings_are_named_when_they_end():
    ours_only()
    raw = Raw(BROKER.port).send(b'PING\r\n')
    raw.drop()
    BROKER.wait_for_log('looks like Redis')
    with leveret.Broker({'handshake_timeout': 500}) as hasty:
        raw = Raw(hasty.port).send(b'\x16\x03\x01')
        run.check_equal(end_of_stream(raw), (b'', 'reset'), 'end')
        hasty.wait_for_log('looks like TLS')


def test_address_is_named_once_a_minute():
    ours_only()
    with leveret.Broker() as broker:
        for _ in range(50):
            raw = Raw(broker.port).send(b'GET /metr')
            raw.read_bytes(8)
            raw.drop()
        run.check_equal(broker.log().count('looks like HTTP'), 1, 'lines')
        run.check_equal(broker.log().count('accepting AMQP connection'), 0, 'lines of accepting')


if __name__ == '__main__':
    run.main()
