#!/usr/bin/python3
"""leveret.py - a leveretd of one's own, for tests

A test program starts its broker on a free port with a data directory of its own, talks to it, and
stops it by its process id; nothing is shared between two programs, so any number of them may run at
once. What the broker prints goes to a log file which is quoted when something goes wrong.

Tests that any broker of AMQP 0-9-1 should pass are written against `open_broker()`: it gives such a
private leveretd, or, when LEVERET_INTEROP_PORT names the port of another broker, an `External` with
the same few attributes. Then the same test shows what the other broker does.

Environment:
  LEVERETD              the leveretd to test
  LEVERET_BUILD         directory that holds a built leveretd (default: the top of the tree)
  LEVERET_INTEROP_PORT  run against the broker that listens there instead
  LEVERET_KEEP          keep temporary directories, and say where they are
"""

import atexit
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

TREE = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))
START_BOUND_S = 60          # a busy machine is no failure; who measures a start does it otherwise
STOP_BOUND_S = 30
SANITIZER_MARKS = re.compile(r'ERROR: (Address|Leak|Thread|Memory)Sanitizer|runtime error: ')


class BrokerError(Exception):
    """The broker did not start, did not stop, or complained where it should not."""


def find_binary(name='leveretd'):
    """Return the path of a built program: $LEVERETD for leveretd, else from the build directory."""
    if name == 'leveretd' and os.environ.get('LEVERETD'):
        return os.path.abspath(os.environ['LEVERETD'])
    return os.path.abspath(os.path.join(os.environ.get('LEVERET_BUILD', TREE), name))


def external_port():
    """Return the port of the other broker to test, or None when leveretd is tested."""
    port = os.environ.get('LEVERET_INTEROP_PORT')
    return int(port) if port else None


def free_port():
    """Return a TCP port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def port_accepts(port, host='127.0.0.1'):
    """Say whether somebody accepts connections on a port."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


class Broker:
    """One leveretd process with its own data directory.

    settings: dict of configuration keys, each passed as --set KEY=VALUE
    args:     further command line arguments
    datadir:  keep the data there; default is a temporary directory, removed by close()
    port:     listen there; default is a free port, kept over restart()
    """

    external = False

    def __init__(self, settings=None, args=(), datadir=None, port=None):
        self.settings = {'log.console.level': 'info', **(settings or {})}
        self.args = list(args)
        self.directory = tempfile.mkdtemp(prefix='leveret-test-')
        self.datadir = datadir or os.path.join(self.directory, 'data')
        self.log_path = os.path.join(self.directory, 'leveretd.log')
        self.port = port
        self._port_is_ours = port is None
        self._process = None
        atexit.register(self._reap)

    def __enter__(self):
        if self._process is None:
            self.start()
        return self

    def __exit__(self, *failure):
        self.close(check=failure[0] is None)

    @property
    def pid(self):
        """Process id of the running broker, None when it does not run."""
        return self._process.pid if self._process else None

    @property
    def running(self):
        """True while the process exists."""
        return self._process is not None and self._process.poll() is None

    def command(self):
        """Return the command line that start() runs."""
        line = [find_binary(), '-D', self.datadir, '-p', str(self.port)]
        for key, value in self.settings.items():
            line += ['--set', '%s=%s' % (key, value)]
        return line + self.args

    def start(self):
        """Start, wait until the port accepts; raise with the log's tail if the process dies."""
        for attempt in range(5):
            if self.port is None:
                self.port = free_port()
            seen = len(self.log())
            self._spawn()
            if self._wait_until_it_accepts():
                return self
            status = self._process.wait()
            self._process = None
            if not (self._port_is_ours
                    and 'in use by another process, perhaps' in self.log()[seen:]):
                raise BrokerError('leveretd exited with %s before it listened:\n%s'
                                  % (status, self.log_tail()))
            self.port = None        # someone else was quicker to take the free port
        raise BrokerError('no free port was found')

    def _spawn(self):
        with open(self.log_path, 'ab') as log:
            self._process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL,
                                             stdout=log, stderr=log)

    def _wait_until_it_accepts(self):
        """True when the port accepts, False when the process has exited."""
        bound = time.monotonic() + START_BOUND_S
        while time.monotonic() < bound:
            if self._process.poll() is not None:
                return False
            if port_accepts(self.port):
                return self._process.poll() is None
            time.sleep(0.01)
        self.kill()
        raise BrokerError('leveretd did not listen on %d in %d s:\n%s'
                          % (self.port, START_BOUND_S, self.log_tail()))

    def stop(self):
        """Stop with SIGTERM; raise unless it exits with 0 in time and no sanitizer complained."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(STOP_BOUND_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise BrokerError('leveretd did not stop in %d s:\n%s'
                              % (STOP_BOUND_S, self.log_tail())) from None
        if status != 0:
            raise BrokerError('leveretd exited with %d:\n%s' % (status, self.log_tail()))
        if SANITIZER_MARKS.search(self.log()):
            raise BrokerError('a sanitizer complained:\n%s' % self.log_tail(100))

    def kill(self):
        """Kill with SIGKILL and wait until the process is gone."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def restart(self):
        """Stop and start on the same data directory and port."""
        self.stop()
        return self.start()

    def wait(self, timeout_s=STOP_BOUND_S):
        """Wait for the process to exit by itself; return its exit status."""
        status = self._process.wait(timeout_s)
        self._process = None
        return status

    def log(self):
        """Return everything the broker has printed, over all its starts."""
        try:
            with open(self.log_path, encoding='utf-8', errors='replace') as log:
                return log.read()
        except FileNotFoundError:
            return ''

    def log_tail(self, lines=30):
        """Return the last lines of the log."""
        return '\n'.join(self.log().splitlines()[-lines:])

    def wait_for_log(self, text, timeout_s=10):
        """Wait until the log holds a text; return the first line that does."""
        bound = time.monotonic() + timeout_s
        while True:
            for line in self.log().splitlines():
                if text in line:
                    return line
            if time.monotonic() > bound:
                raise BrokerError('the log never said %r:\n%s' % (text, self.log_tail()))
            time.sleep(0.02)

    def rss_bytes(self):
        """Return the resident memory of the process."""
        with open('/proc/%d/statm' % self.pid, encoding='ascii') as statm:
            return int(statm.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')

    def cpu_seconds(self):
        """Return the user and system time that the process has used."""
        with open('/proc/%d/stat' % self.pid, encoding='ascii') as stat:
            fields = stat.read().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def close(self, check=True):
        """Stop (or, with check false, kill) and remove the temporary directory."""
        try:
            if check:
                self.stop()
            else:
                self.kill()
        finally:
            self._reap()

    def _reap(self):
        """Leave nothing behind, whatever happened before."""
        self.kill()
        if not os.path.isdir(self.directory):
            return
        if os.environ.get('LEVERET_KEEP'):
            print('kept: %s' % self.directory, file=sys.stderr)
        else:
            shutil.rmtree(self.directory, ignore_errors=True)
        atexit.unregister(self._reap)


class External:
    """A broker that somebody else runs: only its port is known, and it is left running."""

    external = True

    def __init__(self, port):
        self.port = port

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        pass

    def start(self):
        """It runs already."""
        return self

    def stop(self):
        """It is not ours to stop."""

    def close(self, check=True):
        """It is not ours to stop."""


def open_broker(settings=None, args=()):
    """Return a started leveretd, or the broker that LEVERET_INTEROP_PORT points at."""
    port = external_port()
    if port:
        return External(port)
    broker = Broker(settings, args)
    try:
        return broker.start()
    except BaseException:
        broker.close(check=False)
        raise
