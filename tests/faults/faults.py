#!/usr/bin/python3
"""faults.py - every nth write, sync, rename and open of the data directory fails

A small history (publish with confirms, get, acknowledge, stop, start, go on, kill) is run once to
count the calls of each kind that leveretd makes below its data directory. Then it is run again with
one, three or five of them in a row failing with EIO or ENOSPC (fault.c), from the nth on. Counting
goes on over restarts, so starting and stopping are hit as well. Whatever happens,
also with store.sync = interval, which every fourth n has:

- leveretd is never killed by a signal of its own; it goes on, or ends with a status that is promised
  (leveretd(8)) and can be started again
- everything confirmed is there at the end, in order and unchanged; what was acknowledged before a
  later confirm is not; what was not confirmed is whole or absent

    faults.py [--full | --samples N] [--seed S] [--jobs J] [--only KIND,COUNT,ERROR[,FIRST]]

One history is one test: "N passed, N failed". --full takes every n, which is 15 to 30 minutes;
otherwise some are chosen, the same ones for the same seed.
"""

import argparse
import collections
import concurrent.futures
import errno
import hashlib
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import leveret  # noqa: E402
import rawamqp  # noqa: E402

KINDS = ('write', 'sync', 'rename', 'open')
COUNTS = (1, 3, 5)
ERRORS = ('EIO', 'ENOSPC')
BATCH = 4
BODY_BYTES = 30000
ANSWER_BOUND_S = 40
START_BOUND_S = 30
STARTS_MAX = 12
LOST = 74           # what leveretd(8) promises for a disk that it cannot go on from
CAPABILITIES = {'publisher_confirms': True}     # not connection.blocked: it would be in the way

Fault = collections.namedtuple('Fault', 'kind count error first')
PERSISTENT = rawamqp.properties(delivery_mode=2)


def body_of(number):
    """The body of a message: its number, and octets that follow from it."""
    seed = hashlib.sha256(b'%d' % number).digest()
    return (b'%08d' % number + seed * (BODY_BYTES // len(seed)))[:BODY_BYTES - number % 7]


class Ports:
    """Ports that no other history of this program uses."""

    def __init__(self):
        self.lock = threading.Lock()
        self.taken = set()

    def take(self):
        """Return one that is free."""
        with self.lock:
            port = leveret.free_port()
            while port in self.taken:
                port = leveret.free_port()
            self.taken.add(port)
            return port

    def give_back(self, port):
        """It may be used again."""
        with self.lock:
            self.taken.discard(port)


PORTS = Ports()


class Run:
    """One history with one fault."""

    def __init__(self, fault):
        self.fault = fault
        self.directory = tempfile.mkdtemp(prefix='leveret-faults-')
        self.tally_path = os.path.join(self.directory, 'tally')
        with open(self.tally_path, 'wb') as tally:
            tally.write(bytes(8))
        self.log_path = os.path.join(self.directory, 'log')
        self.data = os.path.join(self.directory, 'data')
        self.port = PORTS.take()
        self.process = None
        self.raw = None
        self.published = 0          # numbers 1 to this have been sent
        self.confirmed = set()
        self.acked = set()          # and not known to be so for good
        self.gone = set()
        self.maybe_gone = set()     # acknowledged on a connection that was lost
        self.tag = 0                # of the last publish on this connection
        self.ends = collections.Counter()

    # -- the broker --

    def environment(self, kind):
        fault = self.fault
        return dict(os.environ, LD_PRELOAD=leveret.find_binary('tests/faults/fault.so'),
                    LEVERET_FAULT_ROOT=self.data, LEVERET_FAULT_KIND=kind,
                    LEVERET_FAULT_FIRST=str(fault.first), LEVERET_FAULT_COUNT=str(fault.count),
                    LEVERET_FAULT_ERRNO=str(getattr(errno, fault.error)),
                    LEVERET_FAULT_TALLY=self.tally_path)

    def spawn(self, faulty):
        line = [leveret.find_binary(), '-D', self.data, '-p', str(self.port),
                '--set', 'store.write_buffer_size=1MB', '--set', 'store.reserve_size=1MB',
                '--set', 'disk_free_limit.absolute=1', '--set', 'store.sync_interval=10',
                '--set', 'store.sync=' + ('interval' if self.fault.first % 4 == 3 else 'commit')]
        with open(self.log_path, 'ab') as log:
            self.process = subprocess.Popen(
                line, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self.environment(self.fault.kind) if faulty else None)

    def ended(self, status, allowed):
        """Note how a process ended; a signal of its own is a failure."""
        self.process = None
        self.ends[status] += 1
        if status not in allowed:
            raise rawamqp.Failure('leveretd ended with %d' % status)

    def start(self, faulty=True):
        """Start until it listens. A start may fail, with a status and a sentence."""
        for _ in range(STARTS_MAX if faulty else 1):
            self.spawn(faulty)
            bound = time.monotonic() + START_BOUND_S
            while time.monotonic() < bound:
                status = self.process.poll()
                if status is not None:
                    break
                if leveret.port_accepts(self.port):
                    return
                time.sleep(0.01)
            else:
                raise rawamqp.Failure('leveretd did not listen in %d s' % START_BOUND_S)
            self.ended(status, (1, LOST) if faulty else ())
        raise rawamqp.Failure('leveretd could not be started %d times' % STARTS_MAX)

    def stop(self):
        """Ask it to end; it may have to give something up, which was never confirmed."""
        self.drop()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.ended(self.process.wait(START_BOUND_S), (0, 1, LOST) if self.fault.first else (0,))

    def kill(self):
        self.drop()
        self.process.kill()
        status = self.process.wait()
        self.ended(status, (-signal.SIGKILL, LOST))

    # -- the client --

    def drop(self):
        if self.raw:
            self.raw.drop()
        self.raw = None

    def connect(self):
        self.raw = rawamqp.Raw(self.port).handshake(capabilities=CAPABILITIES)
        self.raw.open_channel(1)
        self.raw.rpc(1, 'confirm.select')
        self.raw.call(1, 'queue.declare', queue='q', durable=True)
        self.raw.expect(1, 'queue.declare-ok', ANSWER_BOUND_S)

    def batch(self):
        """Publish some and wait for their confirms."""
        first = self.published + 1
        waiting = {}
        for number in range(first, first + BATCH):
            self.published = number
            self.tag += 1
            waiting[self.tag] = number
            self.raw.publish(1, '', 'q', body_of(number), PERSISTENT)
        while waiting:
            values = self.raw.expect(1, 'basic.ack', ANSWER_BOUND_S)
            for tag in [t for t in waiting if t == values.delivery_tag or
                        (values.multiple and t < values.delivery_tag)]:
                self.confirmed.add(waiting.pop(tag))
        self.gone |= self.acked
        self.acked.clear()

    def take(self):
        """Get a message and acknowledge it."""
        message = self.raw.get(1, 'q', no_ack=False, timeout=ANSWER_BOUND_S)
        if message:
            number = int(message.body[:8])
            self.raw.call(1, 'basic.ack', delivery_tag=message.method.delivery_tag)
            self.acked.add(number)

    def work(self, batches):
        """Publish and take; when the broker has had to go, start it and go on."""
        done = 0
        while done < batches:
            try:
                if not self.raw:
                    self.tag = 0
                    self.connect()
                self.batch()
                if done % 2:
                    self.take()
                done += 1
            except (rawamqp.Closed, ConnectionError, rawamqp.Failure) as failure:
                if isinstance(failure, rawamqp.Timeout):
                    raise
                self.after_loss(failure)

    def after_loss(self, failure):
        """The connection is gone: because the broker ends, and for no other reason."""
        self.drop()
        try:
            status = self.process.wait(START_BOUND_S)
        except subprocess.TimeoutExpired:
            raise failure from None
        self.ended(status, (LOST,))
        self.maybe_gone |= self.acked
        self.acked.clear()
        self.start()

    # -- the whole --

    def look(self):
        """What is in the queue at the end."""
        self.connect()
        found = []
        while True:
            message = self.raw.get(1, 'q', timeout=ANSWER_BOUND_S)
            if not message:
                break
            number = int(message.body[:8])
            if message.body != body_of(number):
                raise rawamqp.Failure('message %d has another body' % number)
            found.append(number)
        self.drop()
        if found != sorted(set(found)):
            raise rawamqp.Failure('out of order or twice: %s' % found)
        missing = self.confirmed - self.gone - self.maybe_gone - self.acked - set(found)
        if missing:
            raise rawamqp.Failure('confirmed and missing: %s' % sorted(missing))
        back = self.gone & set(found)
        if back:
            raise rawamqp.Failure('acknowledged and back: %s' % sorted(back))

    def history(self):
        self.start()
        self.work(16)
        self.stop()
        self.start()
        self.work(12)
        if self.fault.first % 2:
            self.kill()
        else:
            self.stop()
        self.start()
        self.stop()
        self.start(faulty=False)
        self.look()
        self.process.send_signal(signal.SIGTERM)
        self.ended(self.process.wait(START_BOUND_S), (0,))

    def tally(self):
        with open(self.tally_path, 'rb') as tally:
            return struct.unpack('=Q', tally.read(8))[0]

    def run(self):
        """Return (None or what failed, calls counted, how processes ended)."""
        failed = None
        try:
            self.history()
        except Exception as failure:            # whatever it is, it is this history's result
            failed = '%s: %s' % (type(failure).__name__, failure)
            with open(self.log_path, encoding='utf-8', errors='replace') as log:
                failed += '\n        ' + '\n        '.join(log.read().splitlines()[-8:])
        finally:
            self.drop()
            if self.process:
                self.process.kill()
                self.process.wait()
            PORTS.give_back(self.port)
        tally = self.tally()
        if not (failed and os.environ.get('LEVERET_KEEP')):
            shutil.rmtree(self.directory, ignore_errors=True)
        return failed, tally, self.ends


def run(fault):
    """Run a history; its directory and port are taken when its turn has come."""
    return Run(fault).run()


def count_calls():
    """How many calls of each kind the history makes when nothing fails."""
    totals = {}
    for kind in KINDS:
        failed, totals[kind], _ = run(Fault(kind, 0, 'EIO', 0))
        if failed:
            raise SystemExit('without a fault: ' + failed)
    return totals


def choose(arguments, totals):
    """The faults to try, in an order that the seed chooses."""
    everything = [Fault(kind, count, error, first) for kind in KINDS for count in COUNTS
                  for error in ERRORS for first in range(1, totals[kind] + 1)]
    if arguments.only:
        words = arguments.only.split(',')
        return [f for f in everything if [f.kind, str(f.count), f.error, str(f.first)][:len(words)]
                == words]
    chooser = random.Random(arguments.seed)
    if arguments.full:
        chooser.shuffle(everything)
        return everything
    groups = [[f for f in everything if f[:3] == key] for key in
              sorted({f[:3] for f in everything})]
    each = max(1, arguments.samples // len(groups))
    return [f for group in groups for f in chooser.sample(group, min(each, len(group)))]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--full', action='store_true')
    parser.add_argument('--samples', type=int, default=192)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--jobs', type=int, default=6)
    parser.add_argument('--only')
    arguments = parser.parse_args()
    totals = count_calls()
    print('calls without a fault: ' + ', '.join('%s %d' % item for item in totals.items()))
    faults = choose(arguments, totals)
    passed = failed = 0
    ends = collections.Counter()
    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        jobs = {pool.submit(run, fault): fault for fault in faults}
        for job in concurrent.futures.as_completed(jobs):
            reason, _, ended = job.result()
            ends.update(ended)
            if reason:
                failed += 1
                print('FAIL %s: %s' % (','.join(map(str, jobs[job])), reason), flush=True)
            else:
                passed += 1
    print('%d histories in %.0f s; processes ended with: %s' % (
        len(faults), time.monotonic() - begun,
        ', '.join('%d x %d' % (number, status) for status, number in sorted(ends.items()))))
    print('%d passed, %d failed' % (passed, failed))
    return 1 if failed or not passed else 0


if __name__ == '__main__':
    sys.exit(main())
