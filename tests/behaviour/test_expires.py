#!/usr/bin/python3
"""test_expires.py - queues that go when nobody uses them (x-expires)

Whether a queue is there is asked by mandatory publishes, which are no use of a queue; what renews
its time is what these tests are about.
"""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import run                                                                  # noqa: E402
from peer import Fixture, elsewhere                                         # noqa: E402
from semantics import alive, settled, sleep_until                           # noqa: E402

FIXTURE = Fixture()
setup, teardown, world = FIXTURE.setup, FIXTURE.teardown, FIXTURE.world

PERIOD_S = 0.9
EXPIRES = {'x-expires': int(PERIOD_S * 1000)}


def ends(channel, queue, began):
    """Wait for the end of a queue that was last used after began: not early, and soon enough."""
    run.wait_for(lambda: not alive(channel, queue), 'the end of ' + queue)
    lived = time.monotonic() - began
    run.check(lived >= PERIOD_S, 'it went after %.3f s' % lived)
    run.check(lived < PERIOD_S + 2, 'it went after %.3f s only' % lived)


def check_use(use, renews):
    """Do something to a queue every third of its period, three periods long: it stays, or goes."""
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x())
        began = time.monotonic()
        channel.declare(w.q(), EXPIRES)
        for step in range(1, 10):
            used = time.monotonic()
            use(w, channel)
            if not renews and used > began + PERIOD_S * 0.6:
                break
            sleep_until(began + step * PERIOD_S / 3)
            run.check(not renews or alive(channel, w.q()), 'it went while it was used')
        ends(channel, w.q(), used if renews else began)
        run.check(renews or time.monotonic() < used + PERIOD_S - 0.05, 'the use renewed it')


@run.parallel
def test_an_unused_queue_goes_with_its_messages_and_bindings():
    with world() as w:
        channel = w.channel(confirm=True)
        channel.exchange(w.x())
        channel.declare(w.q('dead'))
        began = time.monotonic()
        channel.declare(w.q(), {**EXPIRES, 'x-dead-letter-exchange': '',
                                'x-dead-letter-routing-key': w.q('dead')})
        channel.bind(w.q(), w.x(), 'k')
        channel.put('', w.q(), 'a', 'b')
        ends(channel, w.q(), began)
        channel.publish(w.x(), 'k', 'c', mandatory=True)
        channel.expect('basic.return', reply_code=312)
        channel.reply('basic.ack')
        settled(channel)
        run.check_equal(channel.counts(w.q('dead'))[0], 0, 'its messages were dead-lettered')
        channel.declare(w.q())                  # the name is free for another kind of queue
        run.check_equal(channel.drain(w.q()), [], 'messages')


@run.parallel
def test_durable_queues_go_too():
    with world() as w:
        channel = w.channel(confirm=True)
        began = time.monotonic()
        channel.declare(w.q(), EXPIRES, durable=True)
        ends(channel, w.q(), began)


@run.parallel
def test_declaring_it_again_is_use():
    check_use(lambda w, channel: channel.declare(w.q(), EXPIRES), True)


@run.parallel
def test_a_passive_declare_is_use():
    check_use(lambda w, channel: channel.declare(w.q(), passive=True), True)


@run.parallel
def test_an_empty_get_is_use():
    check_use(lambda w, channel: channel.drain(w.q()), True)


@run.parallel
def test_publishing_is_no_use():
    check_use(lambda w, channel: channel.put('', w.q(), 'a'), False)


@run.parallel
def test_binding_and_unbinding_are_no_use():
    def use(w, channel):
        channel.bind(w.q(), w.x(), 'k')
        channel.unbind(w.q(), w.x(), 'k')
    check_use(use, False)


@run.parallel
def test_a_message_that_is_out_is_no_use():
    with world() as w:
        channel, other = w.channel(confirm=True), w.channel()
        channel.declare(w.q(), EXPIRES)
        channel.put('', w.q(), 'a')
        began = time.monotonic()
        event = other.take(w.q(), 'a')
        ends(channel, w.q(), began)
        other.reject(event.delivery_tag)        # of a queue that is gone: no error, once
        other.quiet()
        run.check(not alive(channel, w.q()), 'it came back')


@run.parallel
def test_a_consumer_keeps_it_and_its_end_starts_the_period():
    with world() as w:
        channel, consumer = w.channel(confirm=True), w.channel()
        channel.declare(w.q(), EXPIRES)
        tags = [consumer.consume(w.q()) for _ in range(2)]
        time.sleep(PERIOD_S * 1.5)
        run.check(alive(channel, w.q()), 'it went in spite of two consumers')
        consumer.cancel(tags[0])
        time.sleep(PERIOD_S * 1.5)
        run.check(alive(channel, w.q()), 'it went in spite of a consumer')
        began = time.monotonic()
        consumer.cancel(tags[1])
        ends(channel, w.q(), began)


@run.parallel
def test_the_end_of_the_consumers_connection_starts_the_period():
    with world() as w:
        channel, consumer = w.channel(confirm=True), w.channel()
        channel.declare(w.q(), EXPIRES)
        consumer.consume(w.q())
        time.sleep(PERIOD_S * 1.5)
        run.check(alive(channel, w.q()), 'it went in spite of a consumer')
        began = time.monotonic()
        consumer.peer.close()
        ends(channel, w.q(), began)


@run.parallel
def test_exclusive_and_auto_delete_queues_expire_as_well():
    with world() as w:
        channel = w.channel(confirm=True)
        for name, flags in (('exclusive', {'exclusive': True}),
                            ('auto', {'auto_delete': True})):
            began = time.monotonic()
            channel.declare(w.q(name), EXPIRES, **flags)
            ends(channel, w.q(name), began)


def test_the_period_begins_anew_with_a_restart():
    if elsewhere():
        run.skip('restarts leveretd')
    with world() as w:
        channel = w.channel(confirm=True)
        channel.declare(w.q(), {'x-expires': 1500}, durable=True)
        channel.declare(w.q('long'), {'x-expires': 60000}, durable=True)
        channel.put('', w.q(), 'a', delivery_mode=2)
        time.sleep(0.7)
        FIXTURE.broker.kill()
        FIXTURE.broker.start()
        began = time.monotonic()
        time.sleep(1)                           # 1.7 s without use, 1 s of them since the start
        channel = w.channel(confirm=True)
        run.check(alive(channel, w.q()), 'the time before the restart counted')
        run.wait_for(lambda: not alive(channel, w.q()), 'its end')
        run.check(time.monotonic() < began + 3.5, 'it went too late')
        run.check(alive(channel, w.q('long')), 'the wrong queue went')


if __name__ == '__main__':
    run.main()
