#!/usr/bin/python3
"""semantics.py - what tests of queue semantics look at: headers of dead letters, outcomes, texts

RabbitMQ's queues run beside their channels, so what a queue does by itself (expire, dead-letter,
drop) is waited for, with a bound; where nothing must happen, settled() gives such queues the time
in which it would.
"""

import os
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import run                                                                  # noqa: E402
from peer import QUIET_ELSEWHERE_S, elsewhere, queue_text                   # noqa: E402
from rawamqp import Reader, decode_properties                               # noqa: E402


# ---- texts -----------------------------------------------------------------------------------

def no_queue(queue, vhost='/'):
    """The text for a queue that does not exist."""
    return 'NOT_FOUND - no ' + queue_text(queue, vhost)


def invalid(queue, name, reason):
    """The text for an argument whose value cannot be."""
    return "PRECONDITION_FAILED - invalid arg '%s' for %s: %s" % (name, queue_text(queue), reason)


def not_for_type(queue, name, kind='classic'):
    """The text for an argument that belongs to another type of queue."""
    return ("PRECONDITION_FAILED - invalid arg '%s' for %s of queue type rabbit_%s_queue"
            % (name, queue_text(queue), kind))


def inequivalent(queue, name, received, current):
    """The text for a redeclaration with another property."""
    return ("PRECONDITION_FAILED - inequivalent arg '%s' for %s: received %s but current is %s"
            % (name, queue_text(queue), received, current))


# ---- properties and headers ------------------------------------------------------------------

def props(event):
    """The properties of a message."""
    return decode_properties(event.properties)


def headers(event):
    """The headers of a message, {} when it has none."""
    return props(event).get('headers', {})


def typed_headers(event):
    """The headers of a message as {name: (type octet, value)}, so inside tables and arrays too."""
    flags, = struct.unpack_from('>H', event.properties)
    reader = Reader(event.properties)
    reader.take(2)
    for bit, kind in ((0x8000, 'ss'), (0x4000, 'ss')):
        if flags & bit:
            reader.fields([('skipped', kind)])
    return _typed_table(reader) if flags & 0x2000 else {}


def _typed_table(reader):
    inner = Reader(reader.take(reader.number('>I')))
    entries = {}
    while not inner.empty():
        name = inner.text('>B')
        entries[name] = _typed_value(inner)
    return entries


def _typed_value(inner):
    octet = chr(inner.data[inner.at])
    if octet == 'F':
        inner.take(1)
        return octet, _typed_table(inner)
    if octet == 'A':
        inner.take(1)
        elements = Reader(inner.take(inner.number('>I')))
        values = []
        while not elements.empty():
            values.append(_typed_value(elements))
        return octet, values
    return octet, inner.value()


def deaths(event):
    """x-death as [(queue, reason, count)], the newest first."""
    return [(entry['queue'], entry['reason'], entry['count'])
            for entry in headers(event).get('x-death', [])]


# ---- what happened ---------------------------------------------------------------------------

def outcomes(channel, count):
    """Wait for the confirms of the next count publishes; 'ack' or 'nack' for each, in order."""
    seen = {}
    wanted = range(channel.published + 1, channel.published + count + 1)
    low = channel.published + 1
    while any(tag not in seen for tag in wanted):
        event = channel.next()
        run.check(event.name in ('basic.ack', 'basic.nack'), 'instead of a confirm: %r' % event)
        tags = range(low, event.delivery_tag + 1) if event.multiple else [event.delivery_tag]
        for tag in tags:
            if event.multiple and tag in seen:
                continue
            run.check(tag not in seen, 'a second answer to publish %d' % tag)
            seen[tag] = event.name.split('.')[1]
    channel.published += count
    return [seen[tag] for tag in wanted]


def arrives(channel, queue, body=None, no_ack=True, timeout_s=10):
    """Wait until a message can be taken from a queue, take it and compare its body."""
    event = run.wait_for(lambda: channel.get(queue, no_ack), 'a message in ' + queue, timeout_s)
    if body is not None:
        run.check_equal(event.body.decode(), body, 'body')
    return event


def settled(channel):
    """Let everything asked for have its effect; nothing unexpected may have come."""
    channel.quiet()
    if elsewhere():
        time.sleep(QUIET_ELSEWHERE_S)


def alive(channel, queue):
    """Whether a queue exists, asked by a mandatory publish, which does not count as its use."""
    channel.publish('', queue, 'probe', mandatory=True)
    event = channel.next()
    returned = event.name == 'basic.return'
    if returned:
        event = channel.next()
    run.check_equal(event.name, 'basic.ack', repr(event))
    channel.published += 1
    return not returned


def sleep_until(moment):
    """Wait for a moment of time.monotonic(): the passing of time is what is being tested."""
    time.sleep(max(0, moment - time.monotonic()))
