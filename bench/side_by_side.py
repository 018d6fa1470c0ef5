#!/usr/bin/python3
"""Measure leveretd beside RabbitMQ, round by round, and print Markdown tables.

Both brokers are started for this run alone, with fresh data directories on the same disk and
free ports, and are stopped at its end; a broker that already runs on this machine is not touched.
Each round runs every row on every broker, in turn, the order of the brokers swapped from round to
round, so that whatever else the machine does hits all alike. A cell is the median of the rounds
with the least and the greatest. See bench/README.md for what the figures mean.
"""
import argparse
import datetime
import glob
import json
import os
import pwd
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import namedtuple

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOAD_SOURCES = ['load.c', 'flow.c', 'producer.c', 'consumer.c', 'idle.c', 'topology.c', 'usage.c',
                'wire.c']
FLOOR_SOURCES = ['floor.c', 'wire.c']

# What a row is: its label, options of the load program, what CPU time is divided by, the budget in
# microseconds, and whether it belongs to the default set, to the floor's, and how it is bounded.
Row = namedtuple('Row', 'name label options per budget_us floor bound')
TIMED = None
DURABLE = '--durable --persistent'
ROWS = [
    Row('transient-12', 'transient, 12 B, automatic ack',
        '--size 12', 'message', 0.6, True, TIMED),
    Row('transient-1k', 'transient, 1 KiB, automatic ack',
        '--size 1024', 'message', 1.5, True, TIMED),
    Row('transient-acks', 'transient, 100 B, prefetch 300, ack every 50',
        '--size 100 --prefetch 300 --ack-every 50', 'message', 1.0, True, TIMED),
    Row('durable-12', 'durable, confirmed, 12 B, window 1000, ack every 100',
        f'--size 12 {DURABLE} --confirm 1000 --ack-every 100', 'message', 2.5, True, TIMED),
    Row('durable-1k', 'durable, confirmed, 1 KiB, window 1000, ack every 100',
        f'--size 1024 {DURABLE} --confirm 1000 --ack-every 100', 'message', 5.0, True, TIMED),
    Row('one-confirm', 'durable, 8 producers, one confirm at a time, 100 B',
        f'--size 100 {DURABLE} --producers 8 --confirm 1 --ack-every 100', 'message', None, True,
        TIMED),
    Row('fanout-10', 'fan-out 1 to 10 queues, 100 B, automatic ack (per delivery)',
        '--size 100 --fanout 10 --consumers 10', 'delivery', 0.5, False, TIMED),
    Row('fifty', '50 producers, 50 queues, 50 consumers, 100 B, ack every 50',
        '--size 100 --producers 50 --queues 50 --consumers 50 --prefetch 300 --ack-every 50',
        'message', 1.0, False, '--seconds 1'),
    Row('large', '1 MiB, prefetch 10, ack each',
        '--size 1048576 --prefetch 10 --ack-every 1', 'message', 700, True, '--count 1000'),
    Row('rate-5k', '5,000 messages a second, 100 B, ack every 50',
        '--size 100 --rate 5000 --prefetch 300 --ack-every 50', 'message', None, True, TIMED),
    Row('idle-connections', 'a connection with a channel',
        '--idle-connections 1000', 'idle', None, False, ''),
    Row('idle-queues', 'a durable queue with a binding',
        '--idle-queues 1000 --durable', 'idle', None, False, ''),
    Row('backlog', '1,000,000 x 100 B durable, confirmed, nobody consumes',
        f'--size 100 {DURABLE} --confirm 1000 --consumers 0', 'message', None, False,
        '--count 1000000'),
]
NOT_BY_DEFAULT = {'backlog'}  # a minute or more a round on RabbitMQ


def say(text):
    print(text, file=sys.stderr, flush=True)


def fail(text):
    sys.exit(f'bench: {text}')


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def wait_until(ready, alive, bound_s, what):
    end = time.monotonic() + bound_s
    while not ready():
        if not alive():
            fail(f'{what} ended while starting')
        if time.monotonic() > end:
            fail(f'{what} did not start within {bound_s} s')
        time.sleep(0.05)


def answers_amqp(port):
    """True once an AMQP header is answered with connection.start."""
    try:
        with socket.create_connection(('127.0.0.1', port), timeout=5) as probe:
            probe.sendall(b'AMQP\0\0\x09\x01')
            return probe.recv(1) == b'\x01'
    except OSError:
        return False


class Server:
    """A process of our own, its directory, and the tail of its log when it fails."""
    name = label = None
    pid = None

    def __init__(self, base):
        self.directory = os.path.join(base, self.name)
        self.port = free_port()
        self.process = None

    def spawn(self, command, ready_bound_s, **options):
        os.makedirs(self.directory, exist_ok=True)
        self.log = open(os.path.join(self.directory, 'output'), 'wb')
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=subprocess.STDOUT, **options)
        self.pid = self.process.pid
        try:
            wait_until(lambda: answers_amqp(self.port), self.alive, ready_bound_s, self.label)
        except SystemExit:
            say(open(self.log.name, errors='replace').read()[-2000:])
            raise

    def alive(self):
        return self.process.poll() is None

    def stop(self):
        if self.process and self.alive():
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Leveret(Server):
    name, label = 'leveret', 'Leveret'

    def __init__(self, base, binary):
        super().__init__(base)
        self.binary = binary

    def start(self):
        self.data_dir = os.path.join(self.directory, 'data')
        shutil.rmtree(self.data_dir, ignore_errors=True)
        os.makedirs(self.data_dir)
        self.spawn([self.binary, '-D', self.data_dir, '-p', str(self.port)], 20)

    def version(self):
        done = subprocess.run([self.binary, '--version'], capture_output=True, text=True)
        return (done.stdout or done.stderr).strip().splitlines()[0]


class Rabbit(Server):
    name, label = 'rabbitmq', 'RabbitMQ'
    PROGRAM = '/usr/lib/rabbitmq/bin/rabbitmq-server'

    def __init__(self, base):
        super().__init__(base)
        self.node = f'bench{os.getpid()}@localhost'
        self.epmd_port = free_port()

    def start(self):
        self.data_dir = os.path.join(self.directory, 'mnesia')
        shutil.rmtree(self.directory, ignore_errors=True)
        os.makedirs(self.directory)
        for name, text in (('rabbitmq.conf', f'listeners.tcp.1 = 127.0.0.1:{self.port}\n'),
                           ('plugins', '[].\n')):
            with open(os.path.join(self.directory, name), 'w') as file:
                file.write(text)
        owner = pwd.getpwnam('rabbitmq')
        for path in [self.directory] + glob.glob(self.directory + '/*'):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        environment = {
            'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'HOME': self.directory,
            'LANG': 'C.UTF-8',
            'RABBITMQ_NODENAME': self.node, 'RABBITMQ_MNESIA_BASE': self.data_dir,
            'RABBITMQ_NODE_PORT': str(self.port), 'RABBITMQ_DIST_PORT': str(free_port()),
            'RABBITMQ_LOG_BASE': os.path.join(self.directory, 'log'),
            'RABBITMQ_ENABLED_PLUGINS_FILE': os.path.join(self.directory, 'plugins'),
            'RABBITMQ_CONFIG_FILE': os.path.join(self.directory, 'rabbitmq'),
            'ERL_EPMD_PORT': str(self.epmd_port), 'ERL_EPMD_ADDRESS': '127.0.0.1',
        }
        self.spawn([self.PROGRAM], 90, env=environment, user=owner.pw_uid, group=owner.pw_gid,
                   extra_groups=[], cwd=self.directory)
        self.pid = self.find_beam()

    def find_beam(self):
        """The Erlang machine is a child or the process itself, by how the script started it."""
        mark = b'RABBITMQ_NODENAME=%s' % self.node.encode()
        for status in glob.glob('/proc/[0-9]*/comm'):
            pid = int(status.split('/')[2])
            try:
                with open(status) as comm, open(f'/proc/{pid}/environ', 'rb') as environ:
                    if comm.read().startswith('beam') and mark in environ.read().split(b'\0'):
                        return pid
            except OSError:
                continue  # it ended while we looked
        return fail('RabbitMQ answers, but its Erlang process was not found')

    def stop(self):
        if self.pid and self.alive():
            os.kill(self.pid, signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                os.kill(self.pid, signal.SIGKILL)
        super().stop()
        if self.process:  # its port mapper, on a port of our own, outlives it
            subprocess.run(['epmd', '-port', str(self.epmd_port), '-kill'],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def version(self):
        found = glob.glob('/usr/lib/rabbitmq/lib/rabbitmq_server-*')
        erlang = subprocess.run(['dpkg-query', '-W', '-f', '${Version}', 'erlang-base'],
                                capture_output=True, text=True).stdout
        version = found[0].rsplit('-', 1)[1] if found else 'of unknown version'
        return f'RabbitMQ {version} (Erlang {erlang or "unknown"})'


class Floor(Server):
    name, label = 'floor', 'floor'

    def __init__(self, base, binary):
        super().__init__(base)
        self.binary = binary
        self.durable = False

    def start(self):
        self.data_dir = self.directory
        command = [self.binary, '--port', str(self.port)]
        if self.durable:
            command += ['--sync', os.path.join(self.directory, 'journal')]
        self.spawn(command, 5)

    def choose(self, durable):
        """The relay syncs all that it relays or nothing: a process for each."""
        if durable != self.durable:
            self.durable = durable
            self.stop()
            self.start()


def compile_tool(base, name, sources):
    """From source, with the same options everywhere, however the tree was configured."""
    output = os.path.join(base, name)
    command = [os.environ.get('CC', 'cc'), '-std=gnu11', '-O2', '-D_GNU_SOURCE', '-o', output]
    command += [os.path.join(TREE, 'bench', source) for source in sources]
    if subprocess.run(command).returncode:
        fail(f'cannot compile {name}')
    return output


def find_leveretd():
    candidates = [os.environ.get('LEVERETD'),
                  os.path.join(os.environ.get('LEVERET_BUILD', TREE), 'leveretd'),
                  shutil.which('leveretd')]
    for path in candidates:
        if path and os.access(path, os.X_OK):
            return path
    return fail('no leveretd: build it, or set LEVERETD or LEVERET_BUILD')


def run_load(load, server, row, seconds):
    command = [load, '--port', str(server.port), '--server-pid', str(server.pid),
               '--data-dir', server.data_dir] + row.options.split()
    if row.bound is TIMED:
        command += ['--seconds', str(seconds), '--warmup', '0.5']
    else:
        command += row.bound.split()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {'error': done.stderr.strip().splitlines()[0] if done.stderr else 'no message'}
    return json.loads(done.stdout)


def measure(servers, rows, load, options):
    """results[row name][server name] = list of the rounds' reports"""
    results = {row.name: {server.name: [] for server in servers} for row in rows}
    for number in range(options.rounds):
        order = servers if number % 2 == 0 else servers[::-1]
        for row in rows:
            for server in order:
                if server.name == 'floor':
                    if not row.floor:
                        continue
                    server.choose('--durable' in row.options)
                report = run_load(load, server, row, options.seconds)
                results[row.name][server.name].append(report)
                note = report.get('error') or ', '.join(
                    f'{key} {report[key]:.6g}' for key in
                    ('server_cpu_us_per_message', 'publish_rate', 'bytes_each') if key in report)
                say(f'round {number + 1} {row.name} {server.label}: {note}')
                if not server.alive():
                    say(f'{server.label} died; starting it anew')
                    server.start()
    return results


def number(value):
    if value >= 1000:
        return f'{value:,.0f}'
    return f'{value:.0f}' if value >= 100 else f'{value:.3g}'


def values(reports, key):
    """The rounds' values of a key; 'a.b' looks inside."""
    found = []
    for report in reports:
        value = report
        for part in key.split('.'):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            found.append(value)
    return found


def cell(reports, key, scale=1.0):
    if any('error' in report for report in reports):
        return 'failed'
    found = [value * scale for value in values(reports, key)]
    if not found:
        return '-'
    if len(found) == 1:
        return number(found[0])
    return f'{number(statistics.median(found))} ({number(min(found))}-{number(max(found))})'


def ratio(upper, lower, key):
    above, below = values(upper, key), values(lower, key)
    if not above or not below or not statistics.median(below):
        return '-'
    return f'{statistics.median(above) / statistics.median(below):.3g}'


def print_table(head, lines):
    print('| ' + ' | '.join(head) + ' |')
    print('|' + '|'.join(['---'] + ['--:'] * (len(head) - 1)) + '|')
    for line in lines:
        print('| ' + ' | '.join(line) + ' |')
    print()


def print_speed(rows, servers, results):
    names = [server.name for server in servers]
    pair = 'rabbitmq' in names
    head = ['workload'] + [f'{s.label}, us CPU' for s in servers] + (['ratio'] if pair else []) + \
        ['budget, us'] + [f'{s.label}, /s' for s in servers] + (['ratio'] if pair else [])
    lines = []
    for row in rows:
        if row.per == 'idle':
            continue
        got = results[row.name]
        cpu = f'server_cpu_us_per_{row.per}'
        rate = 'consume_rate' if row.per == 'delivery' else 'publish_rate'
        line = [row.label] + [cell(got[name], cpu) for name in names]
        if pair:
            line.append(ratio(got['rabbitmq'], got['leveret'], cpu))
        line.append(number(row.budget_us) if row.budget_us else '-')
        line += [cell(got[name], rate) for name in names]
        if pair:
            line.append(ratio(got['leveret'], got['rabbitmq'], rate))
        lines.append(line)
    if lines:
        print_table(head, lines)


def efficiency(row, reports, sync_us):
    """Confirmed rate x time of one sync / publishes under way: travels between disks."""
    words = row.options.split()
    if '--durable' not in words or '--confirm' not in words or not values(reports, 'publish_rate'):
        return '-'
    producers = int(words[words.index('--producers') + 1]) if '--producers' in words else 1
    window = int(words[words.index('--confirm') + 1]) * producers
    rate = statistics.median(values(reports, 'publish_rate'))
    return f'{rate * sync_us / 1e6 / window:.2f}'


def print_details(rows, servers, results, sync_us):
    head = ['workload', 'broker', 'confirm p50, us', 'confirm p99, us', 'latency p50, us',
            'latency p99, us', 'peak RSS, MB', 'bytes written / payload byte', 'flushes', 'E',
            'client, us CPU']
    lines = []
    for row in rows:
        for server in servers:
            got = results[row.name][server.name]
            if row.per == 'idle' or not got:
                continue
            lines.append([row.label, server.label] +
                         [cell(got, key) for key in ('confirm_us.p50', 'confirm_us.p99',
                                                     'latency_us.p50', 'latency_us.p99')] +
                         [cell(got, 'server_rss_peak_kb', 1 / 1024),
                          cell(got, 'server_bytes_written_per_payload_byte')
                          if '--durable' in row.options else '-',
                          cell(got, 'disk_flushes') if '--durable' in row.options else '-',
                          efficiency(row, got, sync_us),
                          cell(got, 'client_cpu_us_per_message')])
    if lines:
        print_table(head, lines)


def print_idle(rows, servers, results):
    lines = []
    for row in rows:
        if row.per == 'idle':
            got = results[row.name]
            measured = [server for server in servers if got[server.name]]
            lines += [[row.label, server.label, cell(got[server.name], 'bytes_each'),
                       cell(got[server.name], 'rate')] for server in measured]
    if lines:
        print_table(['idle', 'broker', 'bytes each', 'made a second'], lines)


def cpu_model():
    with open('/proc/cpuinfo') as info:
        for line in info:
            if line.startswith('model name'):
                return line.split(':', 1)[1].strip()
    return 'unknown processor'


def filesystem(path):
    done = subprocess.run(['stat', '-f', '-c', '%T', path], capture_output=True, text=True)
    return done.stdout.strip() or 'unknown'


def print_conditions(servers, options, base, sync_us):
    versions = ', '.join(server.version() for server in servers if server.name != 'floor')
    memory = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30
    rounds = 'One round' if options.rounds == 1 else \
        f'Median of {options.rounds} rounds (least-greatest)'
    print(f'{datetime.date.today()}; {versions}; Linux {os.uname().release}; {cpu_model()}, '
          f'{os.cpu_count()} cores, {memory:.0f} GiB; data on {filesystem(base)}, one fdatasync '
          f'after a 4 KiB append takes {sync_us:.0f} us. {rounds}, '
          f'{options.seconds:g} s each; client and broker share the machine.\n')


def parse_arguments():
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     epilog='rows: ' + ', '.join(names))
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--rows', help='comma-separated names; default: all but backlog')
    parser.add_argument('--seconds', type=float, default=3, help='of each timed run (default 3)')
    parser.add_argument('--leveret-only', action='store_true', help='leave RabbitMQ out')
    parser.add_argument('--floor', action='store_true', help='also the relay of bench/floor.c')
    parser.add_argument('--dir', default='/var/tmp', help='where data directories are made; a '
                        'disk that syncs, not a tmpfs (default /var/tmp)')
    parser.add_argument('--json', metavar='FILE', help='also write every report there')
    options = parser.parse_args()
    wanted = options.rows.split(',') if options.rows else \
        [name for name in names if name not in NOT_BY_DEFAULT]
    unknown = [name for name in wanted if name not in names]
    if unknown:
        parser.error(f'no such row: {", ".join(unknown)} (rows: {", ".join(names)})')
    if options.rounds < 1:
        parser.error('--rounds must be at least 1')
    return options, [row for row in ROWS if row.name in wanted]


def choose_servers(options, base):
    servers = [Leveret(base, find_leveretd())]
    if not options.leveret_only:
        if not os.path.exists(Rabbit.PROGRAM):
            fail('RabbitMQ is not here: apt-get install rabbitmq-server, or use --leveret-only')
        if os.geteuid() != 0:
            fail('RabbitMQ runs as its own user, which takes root; or use --leveret-only')
        servers.insert(0, Rabbit(base))
    if options.floor:
        servers.append(Floor(base, compile_tool(base, 'floor.bin', FLOOR_SOURCES)))
    return servers


def main():
    options, rows = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('bench: stopped'))
    base = tempfile.mkdtemp(prefix='leveret-bench.', dir=options.dir)
    os.chmod(base, 0o755)
    servers = []
    try:
        load = compile_tool(base, 'load.bin', LOAD_SOURCES)
        servers = choose_servers(options, base)
        for server in servers:
            server.start()
        sync_us = json.loads(subprocess.run(
            [load, '--measure-sync', base, '--size', '4096'], check=True, capture_output=True,
            text=True).stdout)['sync_us']
        results = measure(servers, rows, load, options)
        print_conditions(servers, options, base, sync_us)
        print_speed(rows, servers, results)
        print_details(rows, servers, results, sync_us)
        print_idle(rows, servers, results)
        if options.json:
            with open(options.json, 'w') as file:
                json.dump({'sync_us': sync_us, 'results': results}, file, indent=1)
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(base, ignore_errors=True)
    failed = sorted({f'{row}: {report["error"]}' for row, per in results.items()
                     for reports in per.values() for report in reports if 'error' in report})
    if failed:
        fail('failed runs: ' + '; '.join(failed))


if __name__ == '__main__':
    main()
