#!/usr/bin/python3
"""gate.py - fails when a message has become dearer, whatever machine this is

    bench/gate.py                     compare with bench/gate.json
    bench/gate.py --store             measure, and make that the new bench/gate.json
    bench/gate.py --rows durable      only rows whose name contains the word
    bench/gate.py --repeat 5          measure each row so often and print the spread

Times differ from one machine and one minute to the next; instructions hardly do. So leveretd and the
relay of floor.c each run under callgrind, and what counts is how many times as many instructions a
message takes in leveretd as in the relay. A row fails when that ratio is over 5 % above the stored
one. The relay is there because compilers and libraries change counts: both programs come from the
same build, so most of such a change cancels out.

How a row is made repeatable:

- One connection publishes and consumes in lock-step: it writes a burst in one go together with the
  acknowledgement of the burst before, and waits until all its deliveries and confirms are back. So
  a batch is a burst, however slow either side is.
- Each row runs with a small and with a large number of messages, each in a fresh process. The
  difference holds the messages only: start, login, topology and shutdown cancel out.
- Threads are counted apart. The loop's thread is what the ratio is made of. The others (the
  committer, the threads of RocksDB) also do work that goes by time, and share batches as the
  scheduler lets them: their sum has a looser tolerance, against its stored count.

The programs are taken from $LEVERET_BUILD (default: build/), which has to be an optimised build.
"""

import argparse
import concurrent.futures
import glob
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, 'tests', 'lib'))
os.environ.setdefault('LEVERET_BUILD', os.path.join(TOP, 'build'))

import leveret      # noqa: E402 - needs the path above
import rawamqp      # noqa: E402

STORED = os.path.join(TOP, 'bench', 'gate.json')
TOLERANCE = 0.05            # of the ratio to the relay, the loop's thread
OTHERS_TOLERANCE = 0.25     # of the instructions of all other threads
OTHERS_SLACK = 200          # instructions a message: what background threads do by the clock
LIMITS_TOLERANCE = 0.10     # of a queue with limits, over one without
START_BOUND_S = 60

LIMITS = {'x-message-ttl': 3600000, 'x-max-length': 1000000,
          'x-dead-letter-exchange': 'amq.fanout'}


class Row:
    """A workload: what is declared, what is published, and how many."""

    def __init__(self, name, size, burst, bursts, **options):
        self.name, self.size, self.burst, self.bursts = name, size, burst, bursts
        self.durable = options.get('durable', False)    # and persistent, and confirmed
        self.ack = options.get('ack', self.durable)
        self.fanout = options.get('fanout', 1)          # queues on a fanout exchange
        self.bindings = options.get('bindings', 0)      # on a topic exchange, one of which matches
        self.arguments = options.get('arguments')       # of the queues
        self.against = options.get('against')           # the row that is this one without arguments


ROWS = [
    Row('transient 12 B', 12, 50, (20, 160)),
    Row('transient 1 KiB', 1024, 50, (20, 160)),
    Row('transient 100 B, ack every 50', 100, 50, (20, 160), ack=True),
    Row('the same, TTL + max-length + DLX', 100, 50, (20, 160), ack=True, arguments=LIMITS,
        against='transient 100 B, ack every 50'),
    Row('durable 1 KiB, confirmed, acked', 1024, 50, (20, 100), durable=True),
    Row('durable 12 B, confirmed, acked', 12, 50, (20, 100), durable=True),
    Row('fan-out 1 to 10, 100 B', 100, 20, (10, 80), fanout=10),
    Row('topic, 100 bindings, 100 B', 100, 50, (20, 160), bindings=100),
]


class Counted(leveret.Broker):
    """A server under callgrind; close() leaves the counts in `loop` and `others`."""

    def __init__(self, row, relay):
        super().__init__({'log.console.level': 'error'})
        self.relay = relay
        self.row = row
        self.loop = self.others = None

    def command(self):
        line = ['valgrind', '--tool=callgrind', '-q', '--separate-threads=yes',
                '--callgrind-out-file=' + os.path.join(self.directory, 'callgrind')]
        if not self.relay:
            return line + super().command()
        line += [leveret.find_binary('bench/floor'), '--port', str(self.port)]
        if self.row.durable:
            line += ['--sync', os.path.join(self.directory, 'journal')]
        return line

    def stop(self):
        """Stop as usual and read the counts; the relay knows no other end than the signal."""
        if self._process is None:
            return
        if self.relay:
            process, self._process = self._process, None
            process.send_signal(signal.SIGTERM)
            process.wait(leveret.STOP_BOUND_S)
        else:
            super().stop()
        self.loop, self.others = self._read_counts()

    def _read_counts(self):
        """Instructions of the first thread, and of all others together."""
        counts = []
        for path in sorted(glob.glob(os.path.join(self.directory, 'callgrind*'))):
            with open(path, encoding='utf-8', errors='replace') as out:
                text = out.read()
            thread = re.search(r'^thread: (\d+)$', text, re.M)
            total = re.search(r'^(?:totals|summary): (\d+)', text, re.M)
            if thread and total:
                counts.append((int(thread[1]), int(total[1])))
        if not any(thread == 1 for thread, _ in counts):
            raise leveret.BrokerError('callgrind left no counts:\n' + self.log_tail())
        return (sum(total for thread, total in counts if thread == 1),
                sum(total for thread, total in counts if thread != 1))


class Client:
    """Publishes bursts and takes their deliveries and confirms, on one channel."""

    def __init__(self, port, row):
        self.row = row
        self.raw = rawamqp.Raw(port).handshake()
        self.socket = self.raw.socket
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.raw.open_channel(1)
        self.delivered = self.confirmed = 0
        self.partial = b''

    def declare(self):
        """Declare what the row needs, and consume from each queue."""
        row, raw, queues = self.row, self.raw, ['gate-%d' % i for i in range(self.row.fanout)]
        exchange = 'gate' if row.fanout > 1 or row.bindings else ''
        if exchange:
            raw.rpc(1, 'exchange.declare', exchange=exchange, durable=row.durable,
                    type='topic' if row.bindings else 'fanout')
        for queue in queues:
            raw.rpc(1, 'queue.declare', queue=queue, durable=row.durable,
                    arguments=row.arguments or {})
            if row.fanout > 1:
                raw.rpc(1, 'queue.bind', queue=queue, exchange=exchange)
        for i in range(row.bindings):
            raw.rpc(1, 'queue.bind', queue=queues[0], exchange=exchange,
                    routing_key='gate.%d.*' % i)
        for queue in queues:
            raw.rpc(1, 'basic.consume', queue=queue, no_ack=not row.ack)
        if row.durable:
            raw.rpc(1, 'confirm.select')
        return exchange, 'gate.7.key' if row.bindings else queues[0]

    def run(self, bursts, queues):
        """Publish bursts of a row; each message comes back from so many queues."""
        row = self.row
        exchange, key = self.declare()
        message = rawamqp.call_frame(1, 'basic.publish', exchange=exchange, routing_key=key) + \
            rawamqp.content_frames(1, b'g' * row.size,
                                   rawamqp.properties(delivery_mode=2 if row.durable else 1))
        data = message * row.burst
        for burst in range(1, bursts + 1):
            ack = b''
            if row.ack and burst > 1:
                ack = rawamqp.call_frame(1, 'basic.ack', delivery_tag=self.delivered, multiple=True)
            self.socket.sendall(ack + data)
            while self.delivered < burst * row.burst * queues or \
                    (row.durable and self.confirmed < burst * row.burst):
                self.receive()
        self.raw.rpc(1, 'channel.close', reply_code=200)
        self.raw.drop()

    def receive(self):
        """Take what has come: count deliveries, remember how far confirms go."""
        data = self.socket.recv(1 << 20)
        if not data:
            raise rawamqp.Closed('the server closed the connection')
        data = self.partial + data
        at = 0
        while len(data) - at >= 7:
            kind, _, size = struct.unpack_from('>BHI', data, at)
            if len(data) - at < size + 8:
                break
            if kind == rawamqp.METHOD:
                self.take(struct.unpack_from('>HH', data, at + 7), data, at + 11)
            at += size + 8
        self.partial = data[at:]

    def take(self, method, data, at):
        """One method of the server."""
        if method == (60, 60):
            self.delivered += 1
        elif method == (60, 80):
            tag, = struct.unpack_from('>Q', data, at)
            self.confirmed = tag if data[at + 8] & 1 else self.confirmed + 1
        else:
            raise rawamqp.Failure('the server sent %d.%d' % method)


def run_once(row, relay, bursts):
    """Instructions of one process over its whole life: of the loop, and of its other threads."""
    with Counted(row, relay) as server:
        client = Client(server.port, row)
        client.socket.settimeout(START_BOUND_S)
        client.run(bursts, 1 if relay else row.fanout)
        server.stop()
        return server.loop, server.others


def measure(row, pool):
    """Futures of the row's four runs: leveretd and the relay, with few and with many messages."""
    return [pool.submit(run_once, row, relay, bursts)
            for relay in (False, True) for bursts in row.bursts]


def figures(row, futures):
    """Instructions a delivery: leveretd's loop, its other threads, the relay; and the ratio."""
    (few, few_others), (many, many_others), (relay_few, _), (relay_many, _) = \
        [future.result() for future in futures]
    messages = (row.bursts[1] - row.bursts[0]) * row.burst
    loop = (many - few) / messages / row.fanout
    floor = (relay_many - relay_few) / messages
    return {'leveret': round(loop, 1), 'floor': round(floor, 1), 'ratio': round(loop / floor, 4),
            'others': max(0.0, round((many_others - few_others) / messages / row.fanout, 1))}


def compiler():
    """What compiled leveretd, as the program itself says."""
    text = subprocess.run(['readelf', '-p', '.comment', leveret.find_binary()], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    found = re.findall(r'\]\s+(.*\S)', text)
    return ', '.join(sorted(set(found))) or 'unknown'


def check(row, new, old, results):
    """Return sentences about what is wrong with a row, and hints that fail nothing."""
    bad, hints = [], []
    if old is None:
        bad.append("there is no stored figure for '%s': run bench/gate.py --store." % row.name)
        return bad, hints
    if new['ratio'] > old['ratio'] * (1 + TOLERANCE):
        bad.append("'%s' takes %.1f %% more instructions a message against the relay than stored: "
                   "find out where with 'valgrind --tool=callgrind' and callgrind_annotate, or "
                   "run bench/gate.py --store if it is worth its price."
                   % (row.name, 100 * (new['ratio'] / old['ratio'] - 1)))
    if new['ratio'] < old['ratio'] * (1 - TOLERANCE):
        hints.append("'%s' has become cheaper: bench/gate.py --store keeps it so." % row.name)
    if new['others'] > old['others'] * (1 + OTHERS_TOLERANCE) + OTHERS_SLACK:
        bad.append("'%s' takes %.0f instructions a message in the store's threads, %.0f are stored: "
                   "look with callgrind_annotate, or run bench/gate.py --store if it is wanted."
                   % (row.name, new['others'], old['others']))
    base = results.get(row.against)
    if base and new['leveret'] > base['leveret'] * (1 + LIMITS_TOLERANCE):
        bad.append("'%s' takes %.1f %% more instructions a message than '%s', at most %.0f %% are "
                   "allowed: look at what the limits do for each message with callgrind_annotate."
                   % (row.name, 100 * (new['leveret'] / base['leveret'] - 1), row.against,
                      100 * LIMITS_TOLERANCE))
    return bad, hints


def report(rows, results, stored):
    """Print the table and the sentences; return the exit status."""
    now, then = compiler(), stored.get('compiler', 'nothing')
    print('compiled with %s' % now)
    print('stored figures: %s%s' % (then, '' if now == then else
                                    ' - another compiler, so only the ratios say something'))
    print('\ninstructions a message    %-9s %9s %9s %7s %7s %8s' %
          ('', 'leveret', 'floor', 'ratio', 'stored', 'change'))
    failed, sentences = 0, []
    for row in rows:
        new, old = results[row.name], stored.get('rows', {}).get(row.name)
        bad, hints = check(row, new, old, results)
        failed += bool(bad)
        sentences += ['FAIL: ' + text for text in bad] + ['hint: ' + text for text in hints]
        print('%-35s %9.0f %9.0f %7.2f %7s %8s%s' % (
            row.name, new['leveret'], new['floor'], new['ratio'],
            '%.2f' % old['ratio'] if old else '-',
            '%+.1f %%' % (100 * (new['ratio'] / old['ratio'] - 1)) if old else '-',
            '   other threads: %.0f (stored %.0f)' % (new['others'], old['others'] if old else 0)
            if row.durable else ''))
        base = results.get(row.against)
        if base:
            print('%-35s %+.1f %% over the row without' %
                  ('', 100 * (new['leveret'] / base['leveret'] - 1)))
    print()
    for sentence in sentences:
        print(sentence)
    print('%d passed, %d failed' % (len(rows) - failed, failed))
    return 1 if failed or not rows else 0


def store(results):
    """Write the stored figures."""
    with open(STORED, 'w', encoding='utf-8') as out:
        json.dump({'compiler': compiler(), 'rows': results}, out, indent=1)
        out.write('\n')
    print('stored in %s; look at the difference before you commit it' % os.path.relpath(STORED))


def print_spread(rows, runs):
    """How far repeated measurements of a row lie apart."""
    for row in rows:
        for name in ('leveret', 'floor', 'ratio', 'others'):
            values = [run[row.name][name] for run in runs]
            middle = sorted(values)[len(values) // 2]
            print('%-35s %-8s %10.2f .. %10.2f  spread %.2f %%' % (
                row.name, name, min(values), max(values),
                100 * (max(values) - min(values)) / middle if middle else 0))


def main():
    """Measure what is asked for; compare it, store it, or print its spread."""
    parser = argparse.ArgumentParser(description='the cost gate')
    parser.add_argument('--store', action='store_true')
    parser.add_argument('--rows', default='')
    parser.add_argument('--repeat', type=int, default=1)
    options = parser.parse_args()
    rows = [row for row in ROWS if options.rows in row.name]
    if options.store and options.rows:
        parser.error('--store measures all rows')
    if not shutil.which('valgrind'):
        sys.exit('gate.py needs valgrind: run script/bootstrap')
    leveret.START_BOUND_S = START_BOUND_S
    runs = []
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for _ in range(options.repeat):
            begun = [(row, measure(row, pool)) for row in rows]
            runs.append({row.name: figures(row, futures) for row, futures in begun})
    if options.repeat > 1:
        print_spread(rows, runs)
    if options.store:
        store(runs[-1])
    try:
        with open(STORED, encoding='utf-8') as stored:
            return report(rows, runs[-1], json.load(stored))
    except FileNotFoundError:
        sys.exit('%s is missing: run bench/gate.py --store' % STORED)


if __name__ == '__main__':
    sys.exit(main())
