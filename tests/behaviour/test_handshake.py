#!/usr/bin/python3
"""test_handshake.py - from the first octet to connection.open-ok, and the way out again

Before a connection is open the broker says little: a wrong protocol gets the right header, most
other mistakes get three seconds of silence and then the end of the stream, which slows guessing
down. Such waits run at the same time. Where another broker is tested, what needs users or settings
of our own is skipped.
"""

import base64
import hashlib
import json
import os
import re
import socket
import struct
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))

import leveret                              # noqa: E402
import rawamqp                              # noqa: E402
import run                                  # noqa: E402
from rawamqp import Raw                     # noqa: E402

BROKER = None
HASTY = None                    # a broker whose handshake_timeout is a second
HANDSHAKE_S = 10
CAPABILITY_NAMES = {'publisher_confirms', 'exchange_exchange_bindings', 'basic.nack',
                    'consumer_cancel_notify', 'connection.blocked', 'consumer_priorities',
                    'authentication_failure_close', 'per_consumer_qos', 'direct_reply_to'}
REFUSED = ('ACCESS_REFUSED - Login was refused using authentication mechanism %s. '
           'For details see the broker logfile.')


def password_hash(password):
    """A SHA-256 hash as definition files hold it."""
    salt = b'\x01\x02\x03\x04'
    digest = hashlib.sha256(salt + password.encode()).digest()
    return base64.b64encode(salt + digest).decode()


def user(name, password):
    """A user of a definition file."""
    return {'name': name, 'password_hash': password_hash(password), 'tags': [],
            'hashing_algorithm': 'rabbit_password_hashing_sha256', 'limits': {}}


def permission(name, vhost):
    """All permissions of a user in a vhost, as a definition file has them."""
    return {'user': name, 'vhost': vhost, 'configure': '.*', 'write': '.*', 'read': '.*'}


def setup():
    global BROKER, HASTY, HANDSHAKE_S
    if leveret.external_port():
        BROKER = HASTY = leveret.open_broker()
        return
    BROKER = leveret.Broker()
    path = os.path.join(BROKER.directory, 'definitions.json')
    with open(path, 'w', encoding='utf-8') as out:
        json.dump({'rabbit_version': '3.10.8',
                   'users': [user('insider', 'secret'), user('outsider', 'pa:ss w\u00f6rd'),
                             user('guest', 'guest')],
                   'vhosts': [{'name': '/'}, {'name': 'v1'}, {'name': '/slash'}],
                   'permissions': [permission('insider', '/'), permission('insider', 'v1'),
                                   permission('guest', '/'), permission('guest', 'v1'),
                                   permission('outsider', 'v1')]}, out)
    BROKER.args += ['--definitions', path]
    BROKER.start()
    HASTY = leveret.open_broker({'handshake_timeout': 1000})
    HANDSHAKE_S = 1


def teardown():
    BROKER.close()
    HASTY.close()


def ours_only():
    """Skip what needs our own users and vhosts."""
    if BROKER.external:
        run.skip('needs users and vhosts of its own')


def closed_in_silence(raw, low=2.0, high=5.0):
    """The broker sends nothing and closes after its three seconds."""
    seconds = raw.eof(high + 2)
    run.check(low <= seconds <= high, 'closed after %.1f s, expected about 3 s' % seconds)


# ---- protocol header -------------------------------------------------------------------------

def test_both_forms_of_the_0_9_header_are_accepted():
    for header in (b'AMQP\0\0\x09\x01', b'AMQP\x01\x01\0\x09'):
        raw = Raw(BROKER.port).start(header)
        run.check_equal((raw.server.version_major, raw.server.version_minor), (0, 9), 'version')
        raw.drop()


def test_other_protocols_get_our_header_and_the_end_of_the_stream():
    headers = [b'AMQP\x03\x01\0\0', b'AMQP\0\x01\0\0', b'AMQP\0\0\x09\x02', b'AMQP\0\0\x0a\0',
               b'GET / HTTP/1.1\r\nHost: x\r\n\r\n', b'\x16\x03\x01\x02\0\x01\0\x01', b'garbage!',
               bytes(8), b'\xff' * 8, b'AMQX\0\0\x09\x01', b'amqp\0\0\x09\x01']
    if not BROKER.external:
        headers += [b'AMQP\x01\x01\x08\0', b'AMQP\x01\x01\x09\x01']     # 0-8, which 3.x still took
    for header in headers:
        raw = Raw(BROKER.port).send(header)
        run.check_equal(raw.read_bytes(8), rawamqp.PROTOCOL_HEADER, 'answer to %r' % header)
        run.check(raw.eof() < 1.5, 'the socket stayed open after %r' % header)


def test_nothing_is_sent_before_the_header():
    raw = Raw(BROKER.port)
    raw.send(b'AMQP\0\0\x09')
    try:
        raw.read_bytes(1, 0.3)
        raise AssertionError('the broker spoke first')
    except rawamqp.Timeout:
        pass
    raw.send(b'\x01')
    raw.expect(0, 'connection.start')
    raw.drop()


# ---- connection.start ------------------------------------------------------------------------

def table_types(raw_table):
    """Return [(key, type octet)] of the entries of a table, given as octets."""
    reader = rawamqp.Reader(raw_table)
    entries = []
    while not reader.empty():
        key = reader.text('>B')
        entries.append((key, chr(reader.data[reader.at])))
        reader.value()
    return entries


def test_start_says_what_clients_look_for():
    raw = Raw(BROKER.port).send(rawamqp.PROTOCOL_HEADER)
    start = raw.read_frame()
    run.check(len(start.payload) + 8 < 4096, 'connection.start is larger than 4096 octets')
    reader = rawamqp.Reader(start.payload)
    reader.take(6)
    entries = table_types(reader.take(reader.number('>I')))
    _, told = rawamqp.decode_method(start.payload)
    run.check_equal(entries, sorted(entries), 'server-properties')
    for key, octet in entries:
        run.check_equal(octet, 'F' if key == 'capabilities' else 'S', 'type of %s' % key)
    for key in ('cluster_name', 'copyright', 'information', 'platform', 'product', 'version'):
        run.check(key in told.server_properties, 'server-properties lack %s' % key)
    run.check('host' not in told.server_properties, 'server-properties have host')
    run.check_equal(told.server_properties['product'], 'RabbitMQ', 'product')
    run.check(re.fullmatch(r'\d+\.\d+\.\d+', told.server_properties['version']),
              'version is %r' % told.server_properties['version'])
    run.check_equal(told.server_properties['capabilities'],
                    {name: True for name in CAPABILITY_NAMES}, 'capabilities')
    run.check_equal(told.mechanisms.split(' '), ['PLAIN', 'AMQPLAIN'], 'mechanisms')
    run.check_equal(told.locales, 'en_US', 'locales')
    raw.drop()


def test_tune_proposes_the_defaults():
    raw = Raw(BROKER.port).start().login()
    tune = raw.expect(0, 'connection.tune')
    run.check_equal((tune.channel_max, tune.frame_max, tune.heartbeat), (2047, 131072, 60), 'tune')
    raw.drop()


# ---- login -----------------------------------------------------------------------------------

def test_plain_login():
    Raw(BROKER.port).handshake().close()


def test_amqplain_login():
    Raw(BROKER.port).handshake(mechanism='AMQPLAIN').close()


def test_amqplain_takes_any_order_and_more_keys():
    text = rawamqp.as_text_field
    response = rawamqp.table([('MORE', 1), ('PASSWORD', text('guest')), ('LOGIN', text('guest')),
                              ('NOTHING', None)])[4:]
    Raw(BROKER.port).handshake(mechanism='AMQPLAIN', response=response).close()


def test_users_of_a_definitions_file_log_in():
    ours_only()
    for mechanism in ('PLAIN', 'AMQPLAIN'):
        Raw(BROKER.port).handshake('insider', 'secret', mechanism=mechanism).close()
        Raw(BROKER.port).handshake('outsider', 'pa:ss w\u00f6rd', 'v1', mechanism=mechanism).close()


def test_locale_insist_and_odd_client_properties_are_ignored():
    for locale in ('xx_YY', 'en_GB', ''):
        Raw(BROKER.port).handshake(locale=locale).close()
    for told in ({'capabilities': 'not a table'}, {'connection_name': 17}, {'capabilities': None},
                 {'connection_name': 'named', 'deep': {'a': [1, {'b': None}]}},
                 {'capabilities': {'basic.nack': 'yes'}}):
        Raw(BROKER.port).handshake(client_properties=told).close()
    raw = Raw(BROKER.port).start().login().tune_ok()
    raw.rpc(0, 'connection.open', vhost='/', reserved_1='capabilities', reserved_2=True)
    raw.close()


def start_ok_of(octets):
    """A start-ok whose payload has so many octets."""
    told = {'product': 'rawamqp', 'capabilities': rawamqp.CAPABILITIES, 'token': ''}
    values = {'mechanism': 'PLAIN', 'response': rawamqp.plain('guest', 'guest'), 'locale': 'en_US'}
    empty = rawamqp.call_frame(0, 'connection.start-ok', client_properties=told, **values)
    told['token'] = 'x' * (octets - (len(empty) - 8))
    return rawamqp.call_frame(0, 'connection.start-ok', client_properties=told, **values)


@run.parallel
def test_start_ok_larger_than_initial_frame_max_is_closed_in_silence():
    if BROKER.external:
        run.skip('RabbitMQ before 4.1 takes 4096 octets before tune-ok, later ones 8192')
    Raw(BROKER.port).start().send(start_ok_of(8192)).expect(0, 'connection.tune')
    closed_in_silence(Raw(BROKER.port).start().send(start_ok_of(8193)))
    BROKER.wait_for_log('more than initial_frame_max = 8192 octets')


def test_initial_frame_max_makes_room_for_large_tokens():
    if BROKER.external:
        run.skip('needs settings of its own')
    with leveret.Broker({'initial_frame_max': '64KB'}) as roomy:
        Raw(roomy.port).handshake(client_properties={'token': 'x' * 60000}).close()


@run.parallel
def test_malformed_responses_are_closed_in_silence():
    text = rawamqp.as_text_field
    good = rawamqp.amqplain('guest', 'guest')
    cases = [('PLAIN', response) for response in
             (b'', b'guest', b'guest\0guest\0guest', b'\0guest', b'guest\0guest',
              b'\0guest\0gu\0est', b'\0\0\0\0')]
    cases += [('AMQPLAIN', response) for response in
              (b'', rawamqp.longstr(good), good[:-1], good + b'x', b'\xff',
               rawamqp.table([('LOGIN', text('guest'))])[4:],
               rawamqp.table([('PASSWORD', text('guest'))])[4:],
               rawamqp.table([('LOGIN', 1), ('PASSWORD', text('guest'))])[4:],
               rawamqp.table([('login', text('guest')), ('PASSWORD', text('guest'))])[4:])]

    def check(mechanism, response):
        raw = Raw(BROKER.port).start().login(mechanism=mechanism, response=response)
        if BROKER.external and mechanism == 'AMQPLAIN' and len(response) in (len(good) - 1,
                                                                            len(good) + 1, 1):
            raw.eof(6)              # RabbitMQ crashes on a broken table and closes at once
        else:
            closed_in_silence(raw)

    run.each_at_once(check, cases)


@run.parallel
def test_mechanisms_not_offered_are_closed_in_silence():
    def check(mechanism):
        closed_in_silence(Raw(BROKER.port).start().login(mechanism=mechanism,
                                                         response=b'\0guest\0guest'))

    run.each_at_once(check, [('FOO',), ('EXTERNAL',), ('ANONYMOUS',), ('',), ('plain',),
                             ('PLAIN AMQPLAIN',), ('PLAI',)])


@run.parallel
def test_bad_login_is_closed_with_403_when_the_client_can_take_it():
    def check(name, password, mechanism):
        raw = Raw(BROKER.port).start().login(name, password, mechanism=mechanism)
        raw.expect_close(403, REFUSED % mechanism, answer=False)
        raw.call(0, 'connection.close-ok')
        run.check(raw.eof() < 1.5, 'the socket stayed open after close-ok')

    run.each_at_once(check, [(name, password, mechanism) for mechanism in ('PLAIN', 'AMQPLAIN')
                             for name, password in (('guest', 'wrong'), ('nobody', 'guest'),
                                                    ('guest', ''), ('', 'guest'), ('', ''),
                                                    ('guest', 'guest '), ('Guest', 'guest'))])


@run.parallel
def test_bad_login_is_closed_after_3_seconds_without_close_ok():
    raw = Raw(BROKER.port).start().login(password='wrong')
    raw.expect_close(403, REFUSED % 'PLAIN', answer=False)
    closed_in_silence(raw)


@run.parallel
def test_bad_login_is_silent_when_the_client_cannot_take_a_close():
    def check(capabilities):
        closed_in_silence(Raw(BROKER.port).start().login(password='wrong',
                                                         capabilities=capabilities))

    run.each_at_once(check, [({},), ({'authentication_failure_close': False},), ('text',),
                             ({'publisher_confirms': True},)])


@run.parallel
def test_loopback_user_is_refused_from_elsewhere():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(('192.0.2.1', 9))     # sends nothing; shows our address
            address = probe.getsockname()[0]
        except OSError:
            address = '127.0.0.1'
    if address.startswith('127.'):
        run.skip('this machine has no address besides loopback')
    try:
        raw = Raw(BROKER.port, host=address)
    except OSError:
        run.skip('the broker does not listen on %s' % address)
    raw.start().login()
    raw.expect_close(403, REFUSED % 'PLAIN')
    if not BROKER.external:
        Raw(BROKER.port, host=address).handshake('insider', 'secret').close()


def test_ipv6_loopback_is_loopback():
    try:
        raw = Raw(BROKER.port, host='::1')
    except OSError:
        run.skip('no IPv6 here')
    raw.handshake().close()


# ---- what each state does with other input ---------------------------------------------------

@run.parallel
def test_before_start_ok_other_input_is_closed_in_silence():
    cases = [rawamqp.call_frame(0, 'connection.open', vhost='/'),
             rawamqp.call_frame(0, 'connection.close', reply_code=200),
             rawamqp.call_frame(0, 'connection.tune-ok'),
             rawamqp.call_frame(0, 'basic.qos'),
             rawamqp.call_frame(1, 'channel.open'),
             rawamqp.frame(rawamqp.BODY, 0, b'x'),
             struct.pack('>BHI', 1, 0, 0x7fffffff),
             rawamqp.frame(4, 0, b'abc'),
             rawamqp.frame(1, 0, b'abcd', end=0)]

    def check(octets):
        closed_in_silence(Raw(BROKER.port).start().send(octets))

    run.each_at_once(check, [(octets,) for octets in cases])


@run.parallel
def test_undecodable_start_ok_is_closed_without_a_word():
    for_response = (rawamqp.shortstr('PLAIN') + rawamqp.longstr(b'\0guest\0guest')
                    + rawamqp.shortstr('en_US'))

    def check(args):
        Raw(BROKER.port).start().method(0, 'connection.start-ok', args).eof(7)

    run.each_at_once(check, [(b'',), (rawamqp.table({}),),
                             (rawamqp.table({}) + for_response + b'x',),
                             (rawamqp.table(b'\1aZ\0') + for_response,),
                             (rawamqp.table(b'\1aS\xff\xff\xff\xff') + for_response,),
                             (b'\xff\xff\xff\xff' + for_response,)])


@run.parallel
def test_after_tune_other_input_is_closed_in_silence():
    cases = [rawamqp.call_frame(0, 'connection.open', vhost='/'),
             rawamqp.call_frame(0, 'connection.close', reply_code=200),
             rawamqp.call_frame(0, 'connection.start-ok'),
             rawamqp.call_frame(1, 'channel.open')]

    def check(octets):
        raw = Raw(BROKER.port).start().login()
        raw.expect(0, 'connection.tune')
        closed_in_silence(raw.send(octets))

    run.each_at_once(check, [(octets,) for octets in cases])


def test_after_tune_ok_only_open_is_expected():
    for method in ('connection.close', 'connection.tune-ok', 'connection.start-ok', 'basic.qos',
                   'channel.open'):
        raw = Raw(BROKER.port).start().login().tune_ok()
        raw.call(0, method)
        raw.expect_close(504, 'CHANNEL_ERROR - unexpected method in connection state opening',
                         method)


def test_after_tune_ok_channels_are_not_expected():
    raw = Raw(BROKER.port).start().login().tune_ok()
    raw.call(1, 'channel.open')
    raw.expect_close(505, 'UNEXPECTED_FRAME - type 1, all octets = <<0,20,0,10,0>>')


# ---- connection.open -------------------------------------------------------------------------

def test_vhost_that_does_not_exist():
    for vhost in ('nope', '/nope', '', 'V1', '//'):
        raw = Raw(BROKER.port).start().login().tune_ok()
        raw.call(0, 'connection.open', vhost=vhost)
        raw.expect_close(530, 'NOT_ALLOWED - vhost %s not found' % vhost, 'connection.open')


def test_vhost_names_are_literal():
    ours_only()
    Raw(BROKER.port).handshake(vhost='v1').close()
    raw = Raw(BROKER.port).start().login().tune_ok()
    raw.call(0, 'connection.open', vhost='/v1')
    raw.expect_close(530, 'NOT_ALLOWED - vhost /v1 not found', 'connection.open')


def test_vhost_without_permission():
    ours_only()
    for name, password, vhost in (('outsider', 'pa:ss w\u00f6rd', '/'),
                                  ('insider', 'secret', '/slash')):
        raw = Raw(BROKER.port).start().login(name, password).tune_ok()
        raw.call(0, 'connection.open', vhost=vhost)
        raw.expect_close(530, "NOT_ALLOWED - access to vhost '%s' refused for user '%s'"
                         % (vhost, name), 'connection.open')


# ---- pace ------------------------------------------------------------------------------------

def handshake_octets():
    """Everything a client says until channel 1 is open, and a goodbye."""
    return (rawamqp.PROTOCOL_HEADER
            + rawamqp.call_frame(0, 'connection.start-ok', mechanism='PLAIN',
                                 response=rawamqp.plain('guest', 'guest'), locale='en_US')
            + rawamqp.call_frame(0, 'connection.tune-ok', channel_max=10, frame_max=4096)
            + rawamqp.call_frame(0, 'connection.open', vhost='/')
            + rawamqp.call_frame(1, 'channel.open')
            + rawamqp.call_frame(0, 'connection.close', reply_code=200))


def expect_whole_handshake(raw):
    """The answers to handshake_octets(), in order."""
    for channel, method in ((0, 'connection.start'), (0, 'connection.tune'),
                            (0, 'connection.open-ok'), (1, 'channel.open-ok'),
                            (0, 'connection.close-ok')):
        raw.expect(channel, method)


def test_handshake_written_in_one_go():
    raw = Raw(BROKER.port).send(handshake_octets())
    expect_whole_handshake(raw)
    raw.drop()


def test_handshake_an_octet_at_a_time():
    raw = Raw(BROKER.port).send_slowly(handshake_octets())
    expect_whole_handshake(raw)
    raw.drop()


@run.parallel
def test_handshake_timeout_closes_in_silence_at_every_stage():
    began = rawamqp.PROTOCOL_HEADER

    def check(stage):
        raw = Raw(HASTY.port)
        since = time.monotonic()
        if stage == 'part of the header':
            raw.send(began[:3])
        if stage in ('header', 'login', 'tune-ok', 'part of a frame'):
            raw.start()
        if stage in ('login', 'tune-ok'):
            raw.login()
        if stage == 'login':
            raw.expect(0, 'connection.tune')
        if stage == 'tune-ok':
            raw.tune_ok()
        if stage == 'part of a frame':
            raw.send(b'\1\0\0\0\0')
        raw.eof(HANDSHAKE_S + 5)
        seconds = time.monotonic() - since
        run.check(HANDSHAKE_S - 0.2 <= seconds <= HANDSHAKE_S + 2,
                  '%s: closed after %.1f s' % (stage, seconds))

    run.each_at_once(check, [(stage,) for stage in
                             ('nothing', 'part of the header', 'header', 'part of a frame', 'login',
                              'tune-ok')])


@run.parallel
def test_dripping_octets_does_not_put_the_handshake_timeout_off():
    raw = Raw(HASTY.port)
    octets = handshake_octets()
    since = time.monotonic()
    for at in range(len(octets)):
        try:
            raw.send(octets[at:at + 1])
            raw.read_bytes(1 << 20, HANDSHAKE_S / 20)
        except rawamqp.Timeout:
            continue
        except (rawamqp.Closed, OSError):
            break
    seconds = time.monotonic() - since
    run.check(HANDSHAKE_S - 0.2 <= seconds <= HANDSHAKE_S + 2, 'closed after %.1f s' % seconds)


@run.parallel
def test_open_connection_is_not_bound_by_the_handshake_timeout():
    raw = rawamqp.connect(HASTY.port)
    try:
        raw.read_frame(HANDSHAKE_S + 0.7)
        raise AssertionError('something came')
    except rawamqp.Timeout:
        pass
    raw.sync(1)
    raw.close()


# ---- the way out -----------------------------------------------------------------------------

def test_close_is_answered_whatever_its_code():
    for code, text in ((200, 'Goodbye'), (320, 'CONNECTION_FORCED - by me'), (0, ''), (65535, 'x')):
        raw = rawamqp.connect(BROKER.port)
        raw.rpc(0, 'connection.close', reply_code=code, reply_text=text, class_id=1, method_id=2)
        raw.drop()


@run.parallel
def test_socket_is_closed_after_close_ok_even_if_the_client_does_not():
    raw = rawamqp.connect(BROKER.port, tune=(None, None, 1))
    raw.rpc(0, 'connection.close')
    run.check(raw.eof() <= 4, 'the socket stayed open')


@run.parallel
def test_closing_timeout_when_close_is_not_answered():
    raw = rawamqp.connect(BROKER.port, tune=(None, None, 2))
    raw.frame(4, 0, b'')
    raw.expect_close(501, None, answer=False)
    seconds = raw.eof()
    run.check(1 <= seconds <= 5, 'closed after %.1f s, expected about 2 s' % seconds)


def test_everything_but_close_is_ignored_after_the_server_has_closed():
    raw = rawamqp.connect(BROKER.port)
    raw.frame(4, 0, b'')
    raw.expect_close(501, None, answer=False)
    raw.call(1, 'queue.declare', exclusive=True)
    raw.call(2, 'channel.open')
    raw.call(0, 'connection.open')
    raw.call(0, 'connection.close')
    raw.expect(0, 'connection.close-ok')
    raw.call(0, 'connection.close-ok')
    run.check(raw.eof() < 1.5, 'the socket stayed open after close-ok')


def test_exclusive_queues_are_gone_before_close_ok():
    for hard_error in (False, True):
        name = 'handshake.exclusive.%d' % os.getpid()
        raw = rawamqp.connect(BROKER.port)
        raw.rpc(1, 'queue.declare', queue=name, exclusive=True)
        if hard_error:
            raw.frame(4, 0, b'')
            raw.expect_close(501, None, answer=False)
        else:
            raw.rpc(0, 'connection.close')
        other = rawamqp.connect(BROKER.port)
        other.call(1, 'queue.declare', queue=name, passive=True)
        other.expect_channel_close(1, 404, "NOT_FOUND - no queue '%s' in vhost '/'" % name,
                                   'queue.declare')
        other.close()
        raw.drop()


def test_exclusive_queues_go_with_a_dropped_connection():
    name = 'handshake.dropped.%d' % os.getpid()
    raw = rawamqp.connect(BROKER.port)
    raw.rpc(1, 'queue.declare', queue=name, exclusive=True)
    other = rawamqp.connect(BROKER.port)
    raw.drop()

    def gone():
        other.call(1, 'queue.declare', queue=name, passive=True)
        closed = other.expect(1, 'channel.close')
        other.call(1, 'channel.close-ok')
        other.open_channel(1)
        return closed.reply_code == 404     # 405 as long as the queue is there

    run.wait_for(gone, 'deletion of the queue')
    other.close()


def test_update_secret_is_answered():
    raw = rawamqp.connect(BROKER.port)
    raw.rpc(0, 'connection.update-secret', new_secret='anything', reason='renewal')
    raw.sync(1)
    raw.close()


def test_connections_that_vanish_during_the_handshake_do_no_harm():
    octets = handshake_octets()
    for at in range(0, len(octets), 7):
        raw = Raw(BROKER.port).send(octets[:at])
        if at % 2:
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        raw.drop()
    rawamqp.connect(BROKER.port).close()


def test_stopping_the_broker_tells_its_clients():
    if BROKER.external:
        run.skip('not ours to stop')
    with leveret.open_broker() as broker:
        running = rawamqp.connect(broker.port)
        silent = rawamqp.connect(broker.port)
        starting = Raw(broker.port).start()
        os.kill(broker.pid, 15)
        for raw in (running, silent):
            raw.expect_close(320, "CONNECTION_FORCED - broker forced connection closure with "
                             "reason 'shutdown'", answer=raw is running)
        silent.eof(15)
        starting.eof(15)
        run.check_equal(broker.wait(), 0, 'exit status')


if __name__ == '__main__':
    run.main()
