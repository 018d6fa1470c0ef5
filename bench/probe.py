#!/usr/bin/python3
"""How long one client waits while another does its worst.

Each row starts a leveretd of its own, prepares an attack, and runs it beside a *probe*: a client that
publishes one persistent message, waits for its confirm and gets it back, every few milliseconds. The
table says how long that took (p50, p99, worst, in wall time), and the longest turn of the broker's
loop in processor time, which the broker logs at level debug when a turn takes over a millisecond.

    bench/probe.py                          every row, in the small size
    bench/probe.py --rows cut,tx --scale 10 a million unacknowledged, a million publishes
    bench/probe.py --list                   the rows, and what --scale 1 means in each
    LEVERETD=other/leveretd bench/probe.py  another build; one that logs no turns shows a dash
"""
import argparse
import multiprocessing
import os
import re
import socket
import statistics
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'tests', 'lib'))

import leveret  # noqa: E402
import raw  # noqa: E402

EMPTY = raw.EMPTY_TABLE
TURN = re.compile(r'a turn took (\d+) us')
BATCH = 1000


def get(queue, no_ack=True):
    return raw.method(60, 70, b'\0\0' + raw.short(queue) + bytes([no_ack]))


def consume(queue, tag='c'):
    return raw.method(60, 20, b'\0\0' + raw.short(queue) + raw.short(tag) + b'\0' + EMPTY)


def headers_table(keys):
    data = b''.join(raw.short(f'h{key}') + b'S' + struct.pack('>I', 2) + b'no' for key in keys)
    return struct.pack('>I', len(data)) + data


def swallow(client, seconds):
    """Read and forget what comes, for so long."""
    client.socket.settimeout(0.05)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if not client.socket.recv(1 << 20):
                return
        except socket.timeout:
            pass
    client.socket.settimeout(120)


# --- the probe ---

def probe(port, period, started, stop, results):
    """One confirmed publish and one get each period, until stop; the times in microseconds."""
    client = raw.Client(port)
    client.pipeline([raw.declare('probe')], 50, 11)
    client.select_confirms()
    publish, fetch = raw.publish('', 'probe', b'x' * 100), get('probe')
    times = []
    started.set()
    while not stop.is_set():
        begun = time.monotonic()
        client.send(publish)
        client.expect(60, 80)
        client.send(fetch)
        client.expect(60, 71)
        times.append((time.monotonic() - begun) * 1e6)
        time.sleep(max(0, period - (time.monotonic() - begun)))
    results.put(times)


# --- attacks: prepare(port, scale) returns what is handed to attack(port, prepared) ---

def fill(port, queue, count, persistent=False, arguments=None):
    client = raw.Client(port)
    client.pipeline([raw.declare(queue, arguments, durable=persistent)], 50, 11)
    client.select_confirms()
    batch = raw.publish('', queue, b'x' * 12, persistent=persistent) * BATCH
    for _ in range(count // BATCH):
        client.publish_confirmed(batch, BATCH, 10 * BATCH)
    client.wait_confirms()
    return client


def unacked(port, count):
    """A client that holds so many deliveries."""
    fill(port, 'u', count).close()
    client = raw.Client(port)
    client.send(consume('u'))
    client.expect(60, 21)
    length = 0
    while True:
        kind, payload = client.next()
        length += len(payload) + 8
        if kind == 3:
            break
    read = length + len(client.pending)
    while read < count * length:
        read += len(client.read())
    client.pending = b''
    return client


def prepare_idle(port, scale):
    return None


def attack_idle(port, prepared):
    time.sleep(3)


def prepare_unacked(port, scale):
    return unacked(port, 100_000 * scale)


def attack_cut(port, client):
    client.close()
    time.sleep(2)


def attack_recover(port, client):
    client.send(raw.method(60, 120, b'\0') + raw.method(60, 110, b'\1'))
    swallow(client, 3)


def attack_nack(port, client):
    client.send(raw.method(60, 120, struct.pack('>QB', 0, 3)))
    swallow(client, 3)


def attack_ack(port, client):
    client.send(raw.method(60, 80, struct.pack('>QB', 0, 1)))
    time.sleep(1)


def attack_close(port, client):
    client.send(raw.method(20, 40, b'\0\310\0' + b'\0\0\0\0'))
    time.sleep(2)


def attack_qos(port, client):
    """The shared limit set over and over, each time for all that is out."""
    client.send((raw.method(60, 10, struct.pack('>IHB', 0, 1, 1))
                 + raw.method(60, 10, struct.pack('>IHB', 0, 0, 1))) * 2000)
    swallow(client, 2)


def prepare_backlog(port, scale):
    return fill(port, 'b', 200_000 * scale)


def prepare_stored(port, scale):
    return fill(port, 'b', 200_000 * scale, persistent=True)


def attack_purge(port, client):
    client.send(raw.method(50, 30, b'\0\0' + raw.short('b') + b'\0'))
    client.expect(50, 31)
    time.sleep(0.5)


def attack_delete(port, client):
    client.send(raw.method(50, 40, b'\0\0' + raw.short('b') + b'\0'))
    client.expect(50, 41)
    time.sleep(2)


def prepare_tx(port, scale):
    client = raw.Client(port)
    client.pipeline([raw.declare('t')], 50, 11)
    client.send(raw.method(90, 10, b''))
    client.expect(90, 11)
    return client, 50_000 * scale


def attack_tx(port, prepared):
    client, count = prepared
    batch = raw.publish('', 't', b'x' * 12) * BATCH
    for _ in range(count // BATCH):
        client.send(batch)
    client.send(raw.method(90, 20, b''))
    try:
        client.expect(90, 21)
    except raw.Closed as closed:
        print(f'    (refused: {closed})', flush=True)
    time.sleep(1)


def prepare_expire(port, scale):
    return fill(port, 'e', 200_000 * scale, arguments={'x-message-ttl': 4000})


def attack_expire(port, client):
    time.sleep(6)


def prepare_connects(port, scale):
    return int(2000 * scale)


def attack_connects(port, count):
    """Logins as fast as they go, from a few processes."""
    def storm(part):
        for _ in range(part):
            raw.Client(port).close()
    parts = [multiprocessing.Process(target=storm, args=(count // 4,)) for _ in range(4)]
    for part in parts:
        part.start()
    for part in parts:
        part.join()


def attack_bare_connects(port, count):
    """Sockets that say nothing, some hundred at a time."""
    end = time.monotonic() + 4
    while time.monotonic() < end:
        sockets = []
        for _ in range(min(count, 500)):
            some = socket.socket()
            some.setblocking(False)
            some.connect_ex(('127.0.0.1', port))
            sockets.append(some)
        time.sleep(0.01)
        for some in sockets:
            some.close()


def prepare_headers(port, scale):
    client = raw.Client(port)
    client.pipeline([raw.declare_exchange('h', 'headers')], 40, 11)
    client.pipeline([raw.declare('hq', durable=False)], 50, 11)
    keys = headers_table(range(1000))
    binds = [raw.method(50, 20, b'\0\0' + raw.short('hq') + raw.short('h') + raw.short(f'{i}')
                        + b'\0' + keys) for i in range(int(100 * scale))]
    client.pipeline(binds, 50, 21, batch=20)
    return client


def attack_headers(port, client):
    yes = b''.join(raw.short(f'h{key}') + b'S' + struct.pack('>I', 2) + b'no'
                   for key in range(999)) + raw.short('h999') + b'S' + struct.pack('>I', 3) + b'yes'
    properties = struct.pack('>I', len(yes)) + yes
    content = raw.frame(2, 1, struct.pack('>HHQH', 60, 0, 0, 0x2000) + properties)
    one = raw.method(60, 40, b'\0\0' + raw.short('h') + raw.short('k') + b'\0') + content
    end = time.monotonic() + 5
    while time.monotonic() < end:
        client.send(one)


def prepare_bindings(port, scale):
    client = raw.Client(port)
    client.pipeline([raw.declare('many', durable=False)], 50, 11)
    client.pipeline([raw.bind('many', 'amq.topic', f'a.{i}') for i in range(int(100_000 * scale))],
                    50, 21)
    return client


def attack_bindings(port, client):
    client.send(raw.method(50, 40, b'\0\0' + raw.short('many') + b'\0'))
    client.expect(50, 41)
    time.sleep(1)


def prepare_exclusive(port, scale):
    client = raw.Client(port)
    requests = [raw.method(50, 10, b'\0\0' + raw.short(f'x{i}') + b'\4' + EMPTY)
                for i in range(int(100_000 * scale))]
    client.pipeline(requests, 50, 11)
    return client


def attack_exclusive(port, client):
    client.close()
    time.sleep(2)


def prepare_trim(port, scale):
    """A heap full of holes: every other queue's messages are let go of."""
    client = raw.Client(port)
    for name in ('b', 'kept'):
        client.pipeline([raw.declare(name, durable=False)], 50, 11)
    client.select_confirms()
    batch = (raw.publish('', 'b', b'x' * 300, persistent=False)
             + raw.publish('', 'kept', b'x' * 300, persistent=False)) * (BATCH // 2)
    for _ in range(400 * scale):
        client.publish_confirmed(batch, BATCH, 10 * BATCH)
    client.wait_confirms()
    return client


def attack_trim(port, client):
    client.send(raw.method(50, 30, b'\0\0' + raw.short('b') + b'\0'))
    client.expect(50, 31)
    time.sleep(8)


def prepare_wildcards(port, scale):
    client = raw.Client(port)
    client.pipeline([raw.declare('w', durable=False)], 50, 11)
    return client, int(2000 * scale)


def attack_wildcards(port, prepared):
    client, count = prepared
    keys = ('#', '#.#', '*.#', '#.*.#')
    for first in range(0, count, 100):
        binds = [raw.bind('w', 'amq.topic', key) for key in keys] * 25
        unbinds = [raw.method(50, 50, b'\0\0' + raw.short('w') + raw.short('amq.topic')
                              + raw.short(key) + EMPTY) for key in keys]
        client.pipeline(binds, 50, 21)
        client.pipeline(unbinds, 50, 51)
        client.send(raw.publish('amq.topic', '.'.join('a' * 100), b'x', persistent=False) * 100)


def prepare_stalled(port, scale):
    client = fill(port, 's', 50_000 * scale)
    return client, int(50 * scale)


def attack_stalled(port, prepared):
    """Consumers that never read."""
    stalled = []
    for _ in range(prepared[1]):
        client = raw.Client(port)
        client.send(consume('s'))
        stalled.append(client)
    time.sleep(4)
    for client in stalled:
        client.close()
    time.sleep(1)


def prepare_broken(port, scale):
    return int(1000 * scale)


def attack_broken(port, count):
    """A mistake, and then a frame that is none, on as many sockets as descriptors allow."""
    held = []
    for _ in range(count):
        client = raw.Client(port)
        client.send(raw.frame(1, 0, struct.pack('>HH', 99, 99)) + raw.frame(9, 9, b'junk') + b'!!')
        held.append(client)
    time.sleep(1)
    for client in held:
        client.close()


ROWS = {
    'idle': (prepare_idle, attack_idle, 'nothing: what the probe takes by itself'),
    'cut': (prepare_unacked, attack_cut, '100,000 unacknowledged, the socket is closed'),
    'close': (prepare_unacked, attack_close, '100,000 unacknowledged, channel.close'),
    'ack': (prepare_unacked, attack_ack, '100,000 unacknowledged, basic.ack multiple'),
    'nack': (prepare_unacked, attack_nack, '100,000 unacknowledged, basic.nack multiple, requeue'),
    'recover': (prepare_unacked, attack_recover, '100,000 unacknowledged, basic.recover'),
    'qos': (prepare_unacked, attack_qos, '100,000 unacknowledged, 4,000 times basic.qos global'),
    'purge': (prepare_backlog, attack_purge, 'queue.purge of 200,000 transient messages'),
    'purge-stored': (prepare_stored, attack_purge, 'queue.purge of 200,000 persistent messages'),
    'delete': (prepare_stored, attack_delete, 'queue.delete of 200,000 persistent messages'),
    'expire': (prepare_expire, attack_expire, '200,000 messages with one time to live'),
    'tx': (prepare_tx, attack_tx, 'tx.commit of 50,000 persistent messages'),
    'connects': (prepare_connects, attack_connects, '2,000 logins as fast as they go'),
    'bare-connects': (prepare_connects, attack_bare_connects, '500 silent sockets at a time'),
    'headers': (prepare_headers, attack_headers, '100 headers bindings of 1,000 keys each'),
    'bindings': (prepare_bindings, attack_bindings, 'a queue with 100,000 bindings is deleted'),
    'exclusive': (prepare_exclusive, attack_exclusive, '100,000 exclusive queues, socket closed'),
    'trim': (prepare_trim, attack_trim, '400,000 messages, every other one purged: memory is given'
                                        ' back'),
    'wildcards': (prepare_wildcards, attack_wildcards, '2,000 bindings of wildcards come and go'),
    'stalled': (prepare_stalled, attack_stalled, '50 consumers that never read'),
    'broken': (prepare_broken, attack_broken, '1,000 sockets with broken frames after an error'),
}


def percentile(times, part):
    return sorted(times)[min(len(times) - 1, int(len(times) * part))]


def run_row(name, options):
    prepare, attack, _ = ROWS[name]
    settings = {'log.console.level': 'debug', 'tx_message_limit': options.tx_limit,
                'tx_bytes_limit': 0}
    if options.old:
        settings = {}
    with leveret.Broker(settings=settings) as broker:
        prepared = prepare(broker.port, options.scale)
        time.sleep(0.3)
        started, stop = multiprocessing.Event(), multiprocessing.Event()
        results = multiprocessing.Queue()
        prober = multiprocessing.Process(target=probe, args=(broker.port, options.period / 1000,
                                                             started, stop, results))
        prober.start()
        started.wait(30)
        seen = len(broker.log())
        begun = time.monotonic()
        attack(broker.port, prepared)
        took = time.monotonic() - begun
        stop.set()
        times = results.get(timeout=60)
        prober.join()
        turns = [int(turn) for turn in TURN.findall(broker.log()[seen:])]
    longest = '-' if options.old else f'{max(turns) / 1000:.1f}' if turns else '<1'
    print(f'| {name} | {len(times)} | {statistics.median(times) / 1000:.1f} | '
          f'{percentile(times, 0.99) / 1000:.1f} | {max(times) / 1000:.1f} | {longest} | {took:.1f} |',
          flush=True)
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rows', default=','.join(ROWS), help='names, separated by commas')
    parser.add_argument('--scale', type=int, default=1, help='how many times the small size (1)')
    parser.add_argument('--period', type=float, default=3, help='ms from probe to probe (3)')
    parser.add_argument('--tx-limit', type=int, default=100_000,
                        help='tx_message_limit of the broker; 0: none (100000)')
    parser.add_argument('--old', action='store_true',
                        help='a broker that knows none of these settings and logs no turns')
    parser.add_argument('--list', action='store_true', help='say what the rows are')
    options = parser.parse_args()
    if options.list:
        for name, (_, _, what) in ROWS.items():
            print(f'{name:14} {what}')
        return 0
    unknown = [name for name in options.rows.split(',') if name not in ROWS]
    if unknown:
        parser.error(f'no such row: {", ".join(unknown)}; --list says which there are')
    print('| row | probes | p50 ms | p99 ms | worst ms | longest turn, ms CPU | seconds |')
    print('|---|---|---|---|---|---|---|')
    failed = 0
    for name in options.rows.split(','):
        try:
            run_row(name, options)
        except (leveret.BrokerError, raw.Closed, OSError, AssertionError) as failure:
            failed = 1
            print(f'| {name} | failed: {failure} |', flush=True)
    return failed


if __name__ == '__main__':
    sys.exit(main())
