#!/usr/bin/python3
"""test_recovery.py - what leveretd makes of the files of one that was killed

Files of earlier formats are taken over. Damage is imitated on the files of a killed broker: records
that the disk had taken are changed, cut off or removed. The broker must then say which file it is
and not start, for what lies behind the damage was confirmed; and it must start when nothing is lost.
"""

import glob
import os
import re
import shutil
import struct
import sys
import tarfile
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import leveret                                                              # noqa: E402
import run                                                                  # noqa: E402
from peer import Fixture, elsewhere, properties                             # noqa: E402

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'data')
PERSISTENT = properties(delivery_mode=2)
HEAD, RECORD_HEAD = 72, 32          # octets of a segment's head, of a record's (store/log.c)
LARGE, SMALL = 100, 50              # messages of 40 KB, of which many are in files; of 100 octets


def setup():
    """Another broker's files are not ours."""
    if elsewhere():
        run.skip('needs the files of leveretd')


class Killed:
    """A broker that was killed with confirmed messages in it, and its files."""

    def __init__(self, settings=None, stop=False):
        self.broker = leveret.Broker(settings={'store.write_buffer_size': '1MB',
                                               **(settings or {})})
        self.broker.start()
        self.fixture = Fixture()
        self.fixture.broker = self.broker
        with self.fixture.world() as w:
            channel = w.channel(confirm=True)
            channel.declare('q', durable=True)
            for n in range(LARGE):
                channel.put('', 'q', str(n).ljust(40000, '.'), props=PERSISTENT)
            for n in range(LARGE, LARGE + SMALL):
                channel.put('', 'q', str(n).ljust(100, '.'), props=PERSISTENT)
            if stop:
                for peer in w.peers:
                    peer.drop()
                w.peers.clear()
                self.broker.stop()
            else:
                self.broker.kill()

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.broker.close(check=False)

    @property
    def store(self):
        """The store's directory."""
        return os.path.join(self.broker.datadir, 'store')

    @property
    def segments(self):
        """Paths of the log's segments, oldest first."""
        return sorted(glob.glob(os.path.join(self.store, 'log', '*.log')))

    def numbers(self):
        """Numbers of the messages that are in the queue, after a start."""
        with self.fixture.world() as w:
            return [int(body.rstrip('.')) for body in w.channel().drain('q')]

    def refused(self, *texts):
        """The broker does not start, and says all of this; its files are as they were."""
        before = contents(self.store)
        try:
            self.broker.start()
        except leveret.BrokerError as refusal:
            for text in texts:
                run.check(text in str(refusal), '%r is not in: %s' % (text, refusal))
        else:
            raise AssertionError('it started, with %d messages' % len(self.numbers()))
        run.check_equal(contents(self.store), before, 'the files of the log')

    def complete(self):
        """The broker starts and has everything."""
        self.broker.start()
        run.check_equal(self.numbers(), list(range(LARGE + SMALL)), 'messages')


def contents(store):
    """The segments' names and octets."""
    return {path: open(path, 'rb').read()
            for path in glob.glob(os.path.join(store, 'log', '*.log'))}


def records(path):
    """Offsets of a segment's records and of their end: a walk over sizes, for there are no gaps."""
    with open(path, 'rb') as log:
        octets = log.read()
    at, number = HEAD, struct.unpack_from('<Q', octets, 24)[0]
    offsets = [at]
    while at + RECORD_HEAD <= len(octets) and struct.unpack_from('<Q', octets, at + 8)[0] == number:
        at += RECORD_HEAD + (struct.unpack_from('<Q', octets, at + 16)[0] + 7) // 8 * 8
        offsets.append(at)
        number += 1
    return offsets


def flip(path, at):
    """Change one bit."""
    with open(path, 'r+b') as log:
        log.seek(at)
        octet = log.read(1)[0]
        log.seek(at)
        log.write(bytes([octet ^ 1]))


# ---- formats --------------------------------------------------------------------------------------

def take_over(archive, expected):
    """Files of a killed broker of an earlier format: all is there, and again after a kill."""
    directory = tempfile.mkdtemp(prefix='leveret-test-')
    try:
        with tarfile.open(os.path.join(DATA, archive)) as files:
            files.extractall(directory)
        fixture = Fixture()
        for start in range(2):
            fixture.broker = leveret.Broker(datadir=os.path.join(directory, 'data'))
            fixture.broker.start()
            with fixture.world() as w:
                channel = w.channel(confirm=True)
                if start == 0:
                    channel.put('logs', 'a.new', 'new', props=PERSISTENT)
                    fixture.broker.kill()
                else:
                    run.check_equal(channel.drain('kept'), expected + ['new'], 'messages')
            fixture.broker.close()
    finally:
        shutil.rmtree(directory)


def test_data_of_format_1_is_taken_over():
    """It has no log but RocksDB's, and its server was killed: seven of ten messages, and one more."""
    take_over('format-1.tar.xz', ['message %d' % n for n in range(3, 10)] + ['last'])


def test_data_of_format_2_is_taken_over():
    """Its log's hashes have no secret: seven messages are in RocksDB's files, ten in the log only."""
    take_over('format-2.tar.xz', ['message %d' % n for n in range(3, 20)])


# ---- damage ---------------------------------------------------------------------------------------

def test_killed_broker_has_everything():
    with Killed() as killed:
        killed.complete()


def test_changed_bit_is_told_wherever_it_is():
    """Whether RocksDB has the record in files or not: the confirmed ones behind it are not dropped."""
    for nth in (0, 1, LARGE // 2, LARGE + SMALL // 2):
        with Killed() as killed:
            path = killed.segments[-1]
            flip(path, records(path)[nth] + 92)
            killed.refused(path + ' is damaged at record', 'log.accept-loss')


def test_lost_files_are_told():
    with Killed() as killed:
        aside = killed.store + '.aside'
        newest = killed.segments[-1]
        os.rename(newest, aside)
        killed.refused(newest + ' is missing')
        os.rename(aside, newest)
        os.rename(os.path.join(killed.store, 'log'), aside)
        killed.refused(newest + ' is missing')
        os.rmdir(os.path.join(killed.store, 'log'))
        os.rename(os.path.join(killed.store, 'log.last'), aside + '.last')
        killed.refused('.log is missing, and so are all others')    # RocksDB knows of records, too
        os.rmdir(os.path.join(killed.store, 'log'))
        os.rename(aside, os.path.join(killed.store, 'log'))
        killed.complete()


def test_log_that_is_cut_at_a_record_is_told():
    """Below the applied number, and above it."""
    for nth in (1, LARGE + SMALL // 2):
        with Killed() as killed:
            path = killed.segments[-1]
            os.truncate(path, records(path)[nth])
            killed.refused(path + ' is damaged')


def test_messages_that_hold_records_are_no_damage():
    """Copies of the log's own records, of this file and of one before, behind a torn one."""
    with Killed() as killed:
        path = killed.segments[-1]
        with open(path, 'rb') as log:
            copy = log.read()[HEAD:HEAD + 900000]
        killed.broker.start()
        with killed.fixture.world() as w:
            channel = w.channel(confirm=True)
            channel.put('', 'q', '150'.ljust(100, '.'), props=PERSISTENT)
            for shift in range(8):
                channel.put('', 'q', b'x' * shift + copy, props=PERSISTENT)
            killed.broker.kill()
        path = killed.segments[-1]
        offsets = records(path)
        flip(path, offsets[-2] + 200)       # the last one
        killed.broker.start()
        with killed.fixture.world() as w:
            channel = w.channel()
            run.check_equal(sum(1 for _ in iter(lambda: channel.get('q'), None)),
                            LARGE + SMALL + 8, 'messages')


def test_nothing_is_missed_after_an_orderly_stop():
    """RocksDB has everything then: a lost log is no loss."""
    with Killed(stop=True) as killed:
        shutil.rmtree(os.path.join(killed.store, 'log'))
        killed.complete()


def test_accepted_loss_starts_with_what_can_be_read():
    with Killed() as killed:
        path = killed.segments[-1]
        offsets = records(path)
        flip(path, offsets[-11] + 40)       # ten messages from the end
        killed.refused(path + ' is damaged at record %d' % (len(offsets) - 10))
        open(os.path.join(killed.store, 'log.accept-loss'), 'wb').close()
        killed.broker.start()
        run.check('is given up' in killed.broker.log(), 'the loss is not logged')
        run.check(not os.path.exists(os.path.join(killed.store, 'log.accept-loss')), 'it stays')
        run.check_equal(killed.numbers(), list(range(LARGE + SMALL - 10)), 'messages')
        killed.broker.kill()
        killed.broker.start()
        run.check_equal(killed.broker.log().count('is given up'), 1, 'losses')


def test_accepted_loss_of_the_whole_log():
    with Killed() as killed:
        shutil.rmtree(os.path.join(killed.store, 'log'))
        open(os.path.join(killed.store, 'log.accept-loss'), 'wb').close()
        killed.broker.start()
        numbers = killed.numbers()
        run.check_equal(numbers, list(range(len(numbers))), 'messages')
        run.check(0 < len(numbers) < LARGE + SMALL, '%d messages' % len(numbers))
        killed.broker.kill()
        killed.broker.start()


def test_acceptance_that_is_not_needed_does_not_stay():
    with Killed() as killed:
        open(os.path.join(killed.store, 'log.accept-loss'), 'wb').close()
        killed.complete()
        run.check(not os.path.exists(os.path.join(killed.store, 'log.accept-loss')), 'it stays')
        run.check('log.accept-loss was not needed' in killed.broker.log(), 'it is not told')


# ---- what the log says ----------------------------------------------------------------------------

def test_recovery_is_logged():
    with Killed() as killed:
        killed.complete()
        log = killed.broker.log()
        run.check('opening the data in ' + killed.store in log, log)
        found = re.findall(r'recovered (\d+) messages? in (\d+) queues? in \d+\.\d+ s', log)
        run.check_equal(found, [('0', '0'), (str(LARGE + SMALL), '1')], 'recovered')


if __name__ == '__main__':
    run.main()
