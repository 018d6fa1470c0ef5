"""The servers that are measured: each a process of this run, with a fresh directory and port.

Their one interface is start, stop, alive, version, and the members port, pid and data_dir. A broker
that already runs on this machine is never touched.
"""
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FLOOR_SOURCES = ['bench/floor.c', 'src/perf/wire.c']


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

    def start(self, keep=False, options=()):
        self.data_dir = os.path.join(self.directory, 'data')
        if not keep:
            shutil.rmtree(self.data_dir, ignore_errors=True)
        os.makedirs(self.data_dir, exist_ok=True)
        self.spawn([self.binary, '-D', self.data_dir, '-p', str(self.port), *options], 60)

    def kill(self):
        self.process.kill()
        self.process.wait()

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
    command = [os.environ.get('CC', 'cc'), '-std=gnu11', '-O2', '-D_GNU_SOURCE',
               '-I', os.path.join(TREE, 'src/perf'), '-o', output]
    command += [os.path.join(TREE, source) for source in sources]
    if subprocess.run(command).returncode:
        fail(f'cannot compile {name}')
    return output


def find_program(name, variable):
    candidates = [os.environ.get(variable),
                  os.path.join(os.environ.get('LEVERET_BUILD', TREE), name),
                  shutil.which(name)]
    for path in candidates:
        if path and os.access(path, os.X_OK):
            return path
    return fail(f'no {name}: build it, or set {variable} or LEVERET_BUILD')


def choose_servers(options, base):
    servers = [Leveret(base, find_program('leveretd', 'LEVERETD'))]
    if not options.leveret_only:
        if not os.path.exists(Rabbit.PROGRAM):
            fail('RabbitMQ is not here: apt-get install rabbitmq-server, or use --leveret-only')
        if os.geteuid() != 0:
            fail('RabbitMQ runs as its own user, which takes root; or use --leveret-only')
        servers.insert(0, Rabbit(base))
    if options.floor:
        servers.append(Floor(base, compile_tool(base, 'floor.bin', FLOOR_SOURCES)))
    return servers
