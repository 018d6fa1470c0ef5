#!/usr/bin/python3
"""full.py - leveretd on a disk that is full

A small file system in memory is filled: by the messages themselves, or by another program. What
README promises must hold: publishers are blocked and nothing that is confirmed is lost; consumers
drain the queues; it stops, starts and is killed on the full disk; when there is room it goes on by
itself. Mounting needs a mount namespace (unshare(1)); where there is none to be had, the tests are
skipped and say so.
"""

import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import leveret  # noqa: E402
import rawamqp  # noqa: E402
import run  # noqa: E402

INSIDE = 'LEVERET_FULL_INSIDE'
PERSISTENT = rawamqp.properties(delivery_mode=2)
BLOCKED_S = 3           # without a confirm for so long, while blocked: that was all
MIB = 1 << 20


class Disk:
    """A file system of its own with a broker on it."""

    def __init__(self, size_mib, **settings):
        self.mount = tempfile.mkdtemp(prefix='leveret-full-')
        subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=%dm' % size_mib, 'tmpfs', self.mount],
                       check=True)
        self.filler = os.path.join(self.mount, 'filler')
        self.broker = leveret.Broker(settings, datadir=os.path.join(self.mount, 'data'))
        self.confirmed = set()
        self.sent = 0

    def __enter__(self):
        self.broker.start()
        return self

    def __exit__(self, *failure):
        try:
            self.broker.close(check=failure[0] is None)
        finally:
            subprocess.run(['umount', '-l', self.mount], check=True)
            shutil.rmtree(self.mount, ignore_errors=True)

    def fill(self):
        """Another program takes every octet that is left."""
        with open(self.filler, 'wb', buffering=0) as filler:
            block = bytes(MIB)
            size = MIB
            while size:
                try:
                    if filler.write(block[:size]) < size:
                        size //= 2
                except OSError:
                    size //= 2

    def grow(self, size_mib):
        """The operator makes the file system larger."""
        subprocess.run(['mount', '-o', 'remount,size=%dm' % size_mib, self.mount], check=True)

    def connect(self):
        raw = rawamqp.Raw(self.broker.port).handshake(
            capabilities={'publisher_confirms': True, 'connection.blocked': True})
        raw.open_channel(1)
        return raw

    def publish(self, size, count=None):
        """Publish until blocked, or so many; return whether blocked."""
        raw = self.connect()
        raw.rpc(1, 'queue.declare', queue='q', durable=True)
        raw.rpc(1, 'confirm.select')
        base = self.sent
        blocked = False
        while not blocked and (count is None or self.sent - base < count):
            self.sent += 1
            raw.publish(1, '', 'q', b'%08d' % self.sent + bytes(size - 8), PERSISTENT)
            blocked = self.wait(raw, base, self.sent)
        raw.drop()
        return blocked

    def wait(self, raw, base, number):
        """Wait until a message is confirmed; True when blocked instead."""
        blocked = False
        while number not in self.confirmed:
            try:
                seen = raw.read_frame(BLOCKED_S if blocked else rawamqp.TIMEOUT_S)
            except rawamqp.Timeout:
                run.check(blocked, 'neither confirmed nor blocked')
                return True
            spec, values = rawamqp.decode_method(seen.payload)
            if spec.name == 'basic.ack':
                first = base + 1 if values.multiple else base + values.delivery_tag
                self.confirmed.update(range(first, base + values.delivery_tag + 1))
            blocked = {'connection.blocked': True,
                       'connection.unblocked': False}.get(spec.name, blocked)
        return blocked

    def take(self, count=None):
        """Take and acknowledge so many, or all; what is confirmed comes, in order."""
        raw = self.connect()
        taken = []
        while count is None or len(taken) < count:
            message = raw.get(1, 'q', no_ack=False)
            if not message:
                break
            raw.call(1, 'basic.ack', delivery_tag=message.method.delivery_tag)
            taken.append(int(message.body[:8]))
        raw.close()
        run.check_equal(len(taken), len(set(taken)), 'the number of different messages')
        known = [number for number in taken if number in self.confirmed]
        run.check_equal(known, sorted(known), 'the order')
        return taken

    def drain(self, taken=()):
        """Take the rest: all that is confirmed has come."""
        rest = self.take()
        missing = self.confirmed - set(rest) - set(taken)
        run.check(not missing, 'confirmed and missing: %s' % sorted(missing)[:10])
        self.confirmed.clear()

    def log_last(self):
        """The file that says where the log ends, beside the log."""
        return os.path.join(self.broker.datadir, 'store', 'log.last')

    def noted_end(self):
        """The number with which the log ended in an orderly stop, or 0."""
        with open(self.log_last(), 'rb') as file:
            octets = file.read()
        return max(struct.unpack_from('<QQQ', octets, at + 16) for at in (0, 4096))[2]

    def goes_on(self, size):
        """Publishing works again by itself."""
        def works():
            return not self.publish(size, 1)
        run.wait_for(works, 'a confirm', 40)


def filled_by_messages(size):
    """Publish until full; drain some; stop, start, kill, start; drain the rest; go on."""
    settings = {'disk_free_limit.absolute': '1', 'store.write_buffer_size': '1MB'}
    with Disk(60, **settings) as disk:
        run.check(disk.publish(size), 'never blocked')
        taken = disk.take(10)
        disk.broker.restart()
        disk.broker.kill()
        disk.broker.start()
        disk.drain(taken)
        disk.goes_on(size)
        disk.drain()


def test_messages_of_2_kb_fill_a_disk():
    filled_by_messages(2000)


def test_messages_of_20_kb_fill_a_disk():
    filled_by_messages(20000)


def test_messages_of_500_kb_fill_a_disk():
    filled_by_messages(500000)


def test_disk_that_grows_is_used_at_once():
    with Disk(60, **{'disk_free_limit.absolute': '1', 'store.write_buffer_size': '1MB'}) as disk:
        run.check(disk.publish(20000), 'never blocked')
        disk.grow(200)
        disk.goes_on(20000)
        disk.drain()


def test_another_program_fills_the_disk_of_the_defaults():
    with Disk(600) as disk:
        run.check(not disk.publish(100000, 300), 'blocked')
        disk.fill()
        run.check(disk.publish(100000), 'never blocked')
        taken = disk.take(20)
        disk.broker.restart()
        run.check(disk.publish(1000), 'not blocked after a start on the full disk')
        disk.broker.kill()
        disk.broker.start()
        os.unlink(disk.filler)
        disk.goes_on(100000)
        disk.drain(taken)


def test_data_without_a_note_of_the_logs_end_are_opened_with_the_room_of_the_reserve():
    with Disk(600) as disk:
        run.check(not disk.publish(100000, 100), 'blocked')
        disk.broker.stop()
        os.unlink(disk.log_last())          # as earlier versions had none
        disk.fill()
        disk.broker.start()
        disk.drain()


def test_without_a_reserve_it_stops_and_starts_in_order():
    settings = {'disk_free_limit.absolute': '1', 'store.write_buffer_size': '1MB',
                'store.reserve_size': '0'}
    with Disk(60, **settings) as disk:
        run.check(disk.publish(20000), 'never blocked')
        disk.fill()
        disk.broker._process.send_signal(signal.SIGTERM)
        run.check(disk.broker.wait() in (0, 1), 'not stopped in order')
        run.check(disk.noted_end() > 0, 'the end of the log was not noted')
        disk.broker._spawn()
        try:
            status = disk.broker.wait(10)       # says so and exits
            run.check_equal(status, 1, 'the status')
            run.check('cannot start: ' in disk.broker.log_tail(1), disk.broker.log_tail(1))
        except subprocess.TimeoutExpired:       # or serves what it can
            disk.broker.kill()
        os.unlink(disk.filler)
        disk.grow(200)
        disk.broker.start()
        disk.goes_on(20000)
        disk.drain()


def test_first_start_on_a_full_disk_is_one_line():
    disk = Disk(60)
    try:
        disk.fill()
        disk.broker.port = leveret.free_port()
        disk.broker._spawn()
        run.check_equal(disk.broker.wait(20), 1, 'the status')
        lines = [line for line in disk.broker.log().splitlines() if 'No space left' in line]
        run.check_equal(len(lines), 1, 'lines that say so')
    finally:
        disk.__exit__(True)


def main():
    """Run inside a mount namespace of our own, as root of it."""
    if not os.environ.get(INSIDE):
        os.environ[INSIDE] = '1'
        how = ['unshare', '-m'] if os.getuid() == 0 else ['unshare', '-Urm']
        if subprocess.run(how + ['mount', '-t', 'tmpfs', 'tmpfs', '/mnt'], check=False,
                          stderr=subprocess.DEVNULL).returncode:
            print('skip all: nothing can be mounted here')
            print('1 passed, 0 failed')
            return
        os.execvp(how[0], how + [sys.executable, os.path.abspath(__file__)] + sys.argv[1:])
    run.main()


if __name__ == '__main__':
    main()
