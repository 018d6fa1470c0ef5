#!/usr/bin/python3
"""leveretd's command line and configuration: what a mistake is answered with, and what holds

A mistake ends the start with one plain sentence that says what to do. The exit status is 2 where
another start would end in the same way, which a service manager relies on, and 1 where the machine
or another process is in the way.
"""

import ctypes
import os
import pwd
import shutil
import socket
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import leveret  # noqa: E402
import rawamqp  # noqa: E402
import run  # noqa: E402

DIRECTORY = None
OTHER_USER = 'nobody'
PIDFD_GETFD = 438       # a system call that Python has no function for


def setup():
    global DIRECTORY
    DIRECTORY = tempfile.mkdtemp(prefix='leveret-cli-')
    os.chmod(DIRECTORY, 0o755)


def teardown():
    shutil.rmtree(DIRECTORY)


def path(*words):
    return os.path.join(DIRECTORY, *words)


def write(name, text):
    with open(path(name), 'w') as file:
        file.write(text)
    return path(name)


def start(*options, **popen):
    """Run leveretd until it gives up by itself; return the exit status and what it printed."""
    done = subprocess.run([leveret.find_binary(), *options], cwd=DIRECTORY, text=True, timeout=60,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, **popen)
    return done.returncode, done.stdout


def refused(status, text, *options, **popen):
    """One line, which has the text, and the status; nothing has been started."""
    got, printed = start(*options, **popen)
    run.check(text in printed, '%r is not in %r' % (text, printed))
    run.check_equal(got, status, 'exit status, with %r' % printed)
    run.check('startup complete' not in printed, 'it started: %r' % printed)
    run.check_equal(len([line for line in printed.splitlines() if '[info]' not in line]), 1,
                    'lines of %r' % printed)


def test_options_that_are_wrong_are_named():
    cases = (
        ("-p abc: a port is a number from 1 to 65535", '-p', 'abc'),
        ("-p 0: a port is a number from 1 to 65535", '-p', '0'),
        ("-p 70000: a port is a number from 1 to 65535", '--port=70000'),
        ("-p 99999999999999999999: a port is", '-p', '99999999999999999999'),
        ("-p: 'listeners.tcp.default': 'localhost' is not an IP address", '-p', 'localhost:5672'),
        ("-p is given twice; to listen at two ports, add --set listeners.tcp.second=PORT",
         '-p', '5673', '-p', '5674'),
        ("unknown option '--confg'; did you mean --config?", '--confg', 'x'),
        ("unknown option '--nonsense'; try --help", '--nonsense'),
        ("unknown option '-x' (longer ones begin with --); try --help", '-x'),
        ("unknown option '-x'", '--check-config', '-xy'),
        ("--help takes no value", '--help=yes'),
        ("a value is missing behind '--port'", '--port'),
        ("a value is missing behind '-D'", '-D'),
        ("'word' is not an option", 'word'),
        ("stands without an option; a configuration file is given as -c /", DIRECTORY),
        ("two configuration files are given, 'a' and 'b'", '-c', 'a', '-c', 'b'),
        ("--set heartbet: unknown key 'heartbet'; did you mean 'heartbeat'?",
         '--set', 'heartbet=1'),
    )
    for text, *options in cases:
        refused(2, text, *options)


def test_configuration_files_that_cannot_be_read_are_named():
    refused(2, '-c nosuch.conf: No such file or directory; give the path', '-c', 'nosuch.conf')
    refused(2, 'this is a directory', '-c', DIRECTORY)
    refused(2, 'not a text: a NUL octet is in it', '-c', write('binary.conf', 'heartbeat\0= 1'))
    refused(2, 'File too large', '-c', leveret.find_binary())


def test_a_port_that_is_listed_twice_is_told_before_it_fails():
    both = 'listeners.tcp.a and listeners.tcp.b are both port 5999 of the same address'
    conf = write('twice.conf', 'listeners.tcp.a = 5999\nlisteners.tcp.b = 127.0.0.1:5999\n')
    refused(2, both, '-c', conf)
    refused(2, 'listeners.tcp.lan and listeners.tcp.default are both port 5999', '-p', '5999',
            '-c', write('lan.conf', 'listeners.tcp.lan = 5999\n'))


def test_a_port_that_is_in_use_says_how_to_find_its_owner():
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(1, "port %d of 127.0.0.1 is in use by another process, perhaps another broker "
                   "(RabbitMQ?): 'ss -ltnp sport = :%d' names it" % (port, port),
                '-D', 'in-use', '-p', '127.0.0.1:%d' % port)
    refused(1, 'no network interface of this machine has this address',
            '-D', 'in-use', '-p', '192.0.2.1:5999')


def test_a_data_directory_that_cannot_be_made_says_why():
    refused(2, 'its parent no/such does not exist; make it first: mkdir -p no/such',
            '-D', 'no/such/data', '-p', str(leveret.free_port()))
    file = write('file', '')
    refused(2, 'this is a file; give the path of a directory', '-D', file)
    refused(2, 'a part of this path is a file', '-D', os.path.join(file, 'data'))
    refused(2, 'the path is empty', '-D', '')
    refused(2, 'the path is too long', '-D', 'x/' * 3000)


def as_other_user():
    """Arguments of start() to run as an unprivileged user, to whom DIRECTORY is readable."""
    if os.geteuid():
        run.skip('only root can run a program as another user')
    user = pwd.getpwnam(OTHER_USER)
    return {'user': user.pw_uid, 'group': user.pw_gid, 'extra_groups': []}


def test_data_of_another_user_says_whose_it_is():
    popen = as_other_user()
    program = path('leveretd')
    shutil.copy(leveret.find_binary(), program)     # the tree need not be readable to others
    os.makedirs(path('first', 'store'), mode=0o750)

    def refused_to_other(text, *options):
        done = subprocess.run([program, '-p', str(leveret.free_port()), *options], cwd=DIRECTORY,
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=60, **popen)
        run.check(text in done.stdout, '%r is not in %r' % (text, done.stdout))
        run.check_equal(done.returncode, 2, 'exit status')

    refused_to_other('data directory first belongs to user root, and this process runs as user '
                     'nobody; run it as root, give the data away with: chown -R nobody first, or '
                     'take another directory with -D', '-D', 'first')
    os.chown(path('first'), popen['user'], popen['group'])
    refused_to_other('data directory first/store belongs to user root', '-D', 'first/')
    refused_to_other('user nobody may not make it in first/store', '-D', 'first/store/data')
    refused_to_other('user nobody may not make it in .;', '-D', 'data')
    os.mkdir(path('own'), mode=0o500)
    os.chown(path('own'), popen['user'], popen['group'])
    os.chmod(path('own'), 0o500)
    refused_to_other('data directory own: its mode 0500 does not let its owner, user nobody, write '
                     'in it; chmod u+rwx own', '-D', 'own')


def test_security_that_cannot_be_honoured_refuses_the_start():
    for setting, text in (
            ('listeners.ssl.default=5671', 'set listeners.ssl = none to go on without'),
            ('ssl_options.verify=verify_peer', 'set listeners.ssl = none to go on without'),
            ('auth_backends.1=ldap', "this version cannot ask 'ldap' about users"),
            ('auth_mechanisms.1=EXTERNAL', 'set auth_mechanisms.1 = PLAIN'),
            ('listeners.tcp=none', 'so no client could connect'),
    ):
        refused(2, text, '--set', setting)


def test_check_config_says_what_has_no_effect():
    conf = write('some.conf', 'heartbeat = 30\nmanagement.tcp.port = 15672\n'
                              'listeners.ssl.default = 5671\nlisteners.ssl = none\n')
    status, printed = start('-c', conf, '--check-config')
    run.check_equal(status, 0, 'exit status')
    run.check_equal(printed.splitlines(), [
        "%s:2: 'management.tcp.port' has no effect: this version has no HTTP API and no management "
        "pages" % conf,
        "%s:3: 'listeners.ssl.default' has no effect: this version has no TLS" % conf,
        'the configuration can be used; 2 of its settings have no effect',
    ], 'output')
    conf = write('good.conf', 'heartbeat = 30\n')
    status, printed = start('-c', conf, '--check-config')
    run.check_equal((status, printed),
                    (0, 'the configuration can be used; every setting in it has an effect\n'),
                    'status and output')


DEFINITIONS = """{"vhosts": [{"name": "v"}], "users": [{"name": "u", "tags": "", "password": "p"}],
"queues": [{"name": "q", "vhost": "v", "durable": true, "auto_delete": false, "arguments": {%s}}],
"policies": [{"name": "ha", "vhost": "v", "pattern": "", "definition": {"ha-mode": "all"}}]}"""


def test_check_config_checks_definitions_too():
    good = write('good.json', DEFINITIONS % '"x-odd": 1')
    status, printed = start('--check-config', '--definitions', good)
    run.check_equal(status, 0, printed)
    for text in ('no effect in this version: x-odd', 'no effect in this version: ha-mode',
                 'good.json can be imported'):
        run.check(text in printed, '%r is not in %r' % (text, printed))
    bad = write('bad.json', DEFINITIONS % '"x-queue-type": "stream"')
    status, printed = start('--check-config', '--set', 'load_definitions=' + bad)
    run.check_equal(status, 2, printed)
    run.check("there are no streams in this version (queue 'q' in vhost 'v')" in printed, printed)
    run.check('can be used' not in printed, 'a failed check says that all is well: %r' % printed)
    status, printed = start('--check-config', '--set', 'load_definitions=' + bad, '--set',
                            'definitions.skip_unsupported=true')
    run.check_equal(status, 0, printed)
    run.check('left out' in printed and 'bad.json can be imported' in printed, printed)
    run.check(not os.path.exists(path('data')), 'the check made a data directory')


def test_a_new_data_directory_always_has_a_user():
    for text in ('{}', '', '{"vhosts": [{"name": "/"}]}'):
        with leveret.Broker(args=['--definitions', write('no-user.json', text)]) as broker:
            rawamqp.Raw(broker.port).start().login().expect(0, 'connection.tune')
    text = '{"vhosts": [{"name": "shop"}]}'
    with leveret.Broker(args=['--definitions', write('no-user.json', text)]) as broker:
        rawamqp.Raw(broker.port).handshake(vhost='shop').drop()


def test_default_user_on_a_used_directory_is_reported():
    with leveret.Broker() as broker:
        broker.settings['default_user'] = 'bob'
        broker.restart()
        run.check("user 'bob' is not in it" in broker.log(), broker.log())


def test_the_log_says_what_has_started():
    with leveret.Broker() as broker:
        broker.wait_for_log('Ready for clients')
        for text in ('Leveret ', 'pid %d' % broker.pid, 'data directory /'):
            run.check(text in broker.log(), '%r is not in the log' % text)


def test_only_listed_mechanisms_log_in():
    with leveret.Broker(settings={'auth_mechanisms.1': 'AMQPLAIN',
                                  'auth_mechanisms.2': 'EXTERNAL'}) as broker:
        raw = rawamqp.Raw(broker.port).send(rawamqp.PROTOCOL_HEADER)
        run.check_equal(raw.expect(0, 'connection.start').mechanisms, 'AMQPLAIN', 'mechanisms')
        raw.drop()
        rawamqp.Raw(broker.port).start().login(mechanism='AMQPLAIN').expect(0, 'connection.tune')
        raw = rawamqp.Raw(broker.port).start().login(mechanism='PLAIN')
        run.check(raw.eof() < 20, 'a mechanism that is not offered is answered')
        run.check('EXTERNAL is not part of this version and is not offered' in broker.log(),
                  'the log says nothing about EXTERNAL')


def test_parts_of_the_memory_are_of_what_is_configured():
    with leveret.Broker(settings={'total_memory_available_override_value': '1GB',
                                  'vm_memory_high_watermark.relative': '0.5',
                                  'handshake_timeout': 'infinity'}) as broker:
        run.check('Memory high watermark set to 476 MiB' in broker.log(), broker.log())
        rawamqp.connect(broker.port).drop()     # an infinite timeout is no timeout of 0


def sockets_of(pid):
    """Return copies of the TCP sockets of a process that this test started."""
    system = ctypes.CDLL(None, use_errno=True)
    process = os.pidfd_open(pid)
    found = []
    for name in os.listdir('/proc/%d/fd' % pid):
        if not os.readlink('/proc/%d/fd/%s' % (pid, name)).startswith('socket:'):
            continue
        copy = system.syscall(PIDFD_GETFD, process, int(name), 0)
        if copy < 0:
            run.skip('no copy of a descriptor: %s' % os.strerror(ctypes.get_errno()))
        one = socket.socket(fileno=copy)
        if one.family in (socket.AF_INET, socket.AF_INET6):
            found.append(one)
        else:
            one.close()
    os.close(process)
    return found


def test_options_of_sockets_reach_them():
    settings = {'tcp_listen_options.backlog': '7', 'tcp_listen_options.nodelay': 'false',
                'tcp_listen_options.keepalive': 'true', 'tcp_listen_options.sndbuf': '20000',
                'tcp_listen_options.recbuf': '30000'}
    for given, want in ((settings, (7, 0, 1, 40000, 60000)), ({}, (None, 1, 0, None, None))):
        with leveret.Broker(settings=given) as broker:
            raw = rawamqp.Raw(broker.port).handshake(tune=(None, None, 60))
            found = sockets_of(broker.pid)
            run.check_equal(len(found), 2, 'sockets')
            for one in found:
                with one:
                    listening = one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                    info = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
                    got = (struct.unpack('I', info[28:])[0] if listening else want[0],
                           one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
                           one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                           one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),
                           one.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))
                    for i in [0] if listening else range(1, 5):     # the kernel doubles sizes
                        run.check(want[i] in (None, got[i]), '%s is not %s' % (got, want))
            raw.drop()


if __name__ == '__main__':
    run.main()
