#!/usr/bin/python3
"""test_heartbeats.py - heartbeats both ways, timed

All of these wait for clocks, so they run at the same time. Times are checked with the slack that a
busy machine needs; what is exact is the number of frames and the absence of any other.
"""

import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))

import leveret                              # noqa: E402
import rawamqp                              # noqa: E402
import run                                  # noqa: E402
from rawamqp import HEARTBEAT               # noqa: E402

BROKER = None
HEARTBEAT_FRAME = b'\x08\0\0\0\0\0\0\xce'


def setup():
    global BROKER
    BROKER = leveret.open_broker()


def teardown():
    BROKER.close()


def silent_for(raw, seconds):
    """Read until the broker closes; return (seconds it took, frames that came)."""
    began = time.monotonic()
    seen = []
    while True:
        try:
            seen.append(raw.read_frame(seconds))
        except rawamqp.Closed:
            return time.monotonic() - began, seen


@run.parallel
def test_silent_client_is_dropped_between_2_and_3_intervals_without_a_close():
    def check(interval):
        raw = rawamqp.connect(BROKER.port, channels=0, tune=(None, None, interval))
        seconds, seen = silent_for(raw, 4 * interval + 2)
        run.check(2 * interval - 0.3 <= seconds <= 3 * interval + 1.5,
                  'heartbeat %d: dropped after %.1f s' % (interval, seconds))
        run.check(all(frame.type == HEARTBEAT for frame in seen), 'more than heartbeats came')

    run.each_at_once(check, [(1,), (2,)])


@run.parallel
def test_server_sends_a_heartbeat_every_half_interval():
    raw = rawamqp.connect(BROKER.port, channels=0, tune=(None, None, 2))
    began = time.monotonic()
    times = []
    while len(times) < 4:
        seen = raw.read_frame(5)
        run.check_equal(tuple(seen), (HEARTBEAT, 0, b''), 'frame')
        times.append(time.monotonic() - began)
        raw.send(HEARTBEAT_FRAME)
    for number, seconds in enumerate(times, 1):
        run.check(abs(seconds - number) < 0.7, 'heartbeat %d came at %.2f s' % (number, seconds))
    raw.close()


@run.parallel
def test_client_that_only_sends_heartbeats_stays():
    raw = rawamqp.connect(BROKER.port, tune=(None, None, 1))
    bound = time.monotonic() + 5
    while time.monotonic() < bound:
        raw.send(HEARTBEAT_FRAME)
        run.check_equal(raw.read_frame(3).type, HEARTBEAT, 'frame type')
    raw.sync(1)
    raw.close()


@run.parallel
def test_any_octets_count_as_a_sign_of_life():
    raw = rawamqp.connect(BROKER.port, tune=(None, None, 1))
    octets = rawamqp.call_frame(1, 'basic.qos', prefetch_count=1)
    for at in range(len(octets) - 1):       # one frame, an octet at a time, for 4 intervals
        raw.send(octets[at:at + 1])
        pause = time.monotonic() + 4.5 / len(octets)
        while time.monotonic() < pause:
            try:
                raw.read_frame(max(0.001, pause - time.monotonic()))
            except rawamqp.Timeout:
                pass
    raw.send(octets[-1:])
    raw.expect(1, 'basic.qos-ok')
    raw.close()


@run.parallel
def test_heartbeat_zero_means_none_either_way():
    raw = rawamqp.connect(BROKER.port, tune=(None, None, 0))
    try:
        seen = raw.read_frame(4)
    except rawamqp.Timeout:
        seen = None
    run.check_equal(seen, None, 'frame in 4 s')
    raw.sync(1)
    raw.close()


@run.parallel
def test_client_value_is_final_even_above_the_proposal():
    raw = rawamqp.connect(BROKER.port, tune=(None, None, 65535))
    raw.sync(1)
    raw.close()


@run.parallel
def test_heartbeats_are_accepted_during_the_handshake():
    raw = rawamqp.Raw(BROKER.port).start()
    raw.send(HEARTBEAT_FRAME)
    raw.login()
    raw.send(HEARTBEAT_FRAME)
    raw.tune_ok()
    raw.send(HEARTBEAT_FRAME)
    raw.rpc(0, 'connection.open', vhost='/')
    raw.send(HEARTBEAT_FRAME)
    raw.open_channel(1)
    raw.close()


@run.parallel
def test_heartbeats_go_on_after_the_server_has_closed():
    raw = rawamqp.connect(BROKER.port, tune=(None, None, 4))
    raw.frame(4, 0, b'')
    raw.expect_close(501, None, answer=False)
    run.check_equal(raw.read_frame(3.5).type, HEARTBEAT, 'frame type')
    seconds, seen = silent_for(raw, 12)
    run.check(seconds < 12, 'the socket stayed open')
    run.check(all(frame.type == HEARTBEAT for frame in seen), 'more than heartbeats came')


@run.parallel
def test_delivering_counts_as_sending():
    raw = rawamqp.connect(BROKER.port, tune=(None, None, 2))
    queue = raw.rpc(1, 'queue.declare', exclusive=True).queue
    raw.rpc(1, 'basic.consume', queue=queue, no_ack=True)
    bound = time.monotonic() + 4
    beats = 0
    while time.monotonic() < bound:
        raw.publish(1, '', queue, b'tick')
        while True:
            seen = raw.read_frame(2)
            if seen.type == rawamqp.BODY:
                break
            beats += seen.type == HEARTBEAT
        time.sleep(0.2)                     # the load: five messages a second
    run.check(beats <= 2, '%d heartbeats came between messages' % beats)
    raw.close()


if __name__ == '__main__':
    run.main()
