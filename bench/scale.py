"""What grows: durable efficiency, long queues, many queues, many bindings, slow readers.

Each function measures Leveret alone, on a server started for it, and returns lines: what was
measured, its figure as text, its budget as text, and whether it is inside (None: no budget).
"""
import os
import statistics
import time
from collections import namedtuple

import load
import raw
from brokers import say

Line = namedtuple('Line', 'what figure budget inside')
DURABLE = '--durable --persistent --size 100 --ack-every 100 '


def limit(what, value, most, unit=''):
    return Line(what, f'{value:,.3g}{unit}' if value < 1000 else f'{value:,.0f}{unit}',
                f'<= {most:,}{unit}', value <= most)


def least(what, value, bound, unit=''):
    return Line(what, f'{value:,.3g}{unit}' if value < 1000 else f'{value:,.0f}{unit}',
                f'>= {bound:,}{unit}', value >= bound)


def need(report):
    if 'error' in report:
        raise raw.Closed(report['error'])
    return report


def check_empty(client, queue):
    left = client.message_count(queue)
    if left:
        raise raw.Closed(f'{left} messages are left in {queue}')


def reset_peak(pid):
    with open(f'/proc/{pid}/clear_refs', 'w') as file:
        file.write('5')


def peak_mb(pid):
    with open(f'/proc/{pid}/status') as status:
        for line in status:
            if line.startswith('VmHWM'):
                return int(line.split()[1]) / 1024
    return 0.0


def rss_kb(pid):
    with open(f'/proc/{pid}/statm') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 1024


def cpu_seconds(pid):
    """Of all threads, to the nanosecond."""
    total = 0
    for thread in os.listdir(f'/proc/{pid}/task'):
        with open(f'/proc/{pid}/task/{thread}/schedstat') as file:
            total += int(file.read().split()[0])
    return total / 1e9


def wait_until_quiet(pid, bound_s=20):
    """Until the server does nothing: what is written out late is not of what comes next."""
    deadline = time.monotonic() + bound_s
    used = cpu_seconds(pid)
    while time.monotonic() < deadline:
        time.sleep(0.3)
        before, used = used, cpu_seconds(pid)
        if used - before < 0.003:
            return


def between_syncs(server, options):
    """The time of one sync, the mean of before and after the run, and the run's report."""
    before = load.measure_sync(server.data_dir)
    report = need(load.run(server, options))
    return (before + load.measure_sync(server.data_dir)) / 2e6, report


def efficiency(server, options):
    lines = []
    timed = f' --seconds {options.seconds} --warmup 0.5'
    values = {}
    for window, shape, what, budget in (
            (10, '', 'window 10', None), (100, '', 'window 100', 0.6),
            (1000, '', 'window 1000', None),
            (100, ' --consumers 0', 'window 100, nobody consumes', None),
            (100, ' --consumers 0 --queues 100', 'the same over 100 queues', 0.9)):
        sync_s, report = between_syncs(server, f'{DURABLE}--confirm {window}{shape}{timed}')
        values[what] = report['publish_rate'] * sync_s / window
        if 'over' in what:
            budget = round(budget * values['window 100, nobody consumes'], 2)
        what, value = f'durable efficiency E, {what}', values[what]
        lines.append(least(what, value, budget) if budget else
                     Line(what, f'{value:.3g}', '-', None))
    report = need(load.run(server, '--durable --persistent --size 500 --queues 100 --producers 100 '
                           '--consumers 100 --confirm 10 --ack-every 10' + timed))
    lines.append(limit('bytes written per payload byte, 100 queues, 500 B',
                       report['server_bytes_written_per_payload_byte'], 3))
    sync_s, report = between_syncs(server, DURABLE + '--producers 8 --confirm 1' + timed)
    lines.append(least('8 producers, one confirm at a time: confirms a flush of the disk',
                       report['published'] / max(report['disk_flushes'], 1), 8))
    lines.append(limit('the same: confirm p50 (budget: one sync + 150 us)',
                       report['confirm_us']['p50'], round(sync_s * 1e6 + 150), ' us'))
    return lines


def long_queue(server, options):
    count, body = options.scale_messages // 500 * 500, b'x' * 100
    client = raw.Client(server.port, 600)
    client.send(raw.declare('long'))
    client.expect(50, 11)
    client.select_confirms()
    batch = raw.publish('', 'long', body) * 500
    reset_peak(server.pid)
    start = time.monotonic()
    for _ in range(count // 500):
        client.publish_confirmed(batch, 500, 2000)
    client.wait_confirms()
    fill = count / (time.monotonic() - start)
    what = f'{count:,} durable 100 B messages in one queue'
    lines = [limit(what + ': peak RSS filling', peak_mb(server.pid), 150, ' MB'),
             Line(what + ': filled a second', f'{fill:,.0f}', '-', None)]
    reset_peak(server.pid)
    client.send(raw.declare('long'))
    client.expect(50, 11)
    lines.append(limit(what + ': RSS standing', peak_mb(server.pid), 150, ' MB'))
    reset_peak(server.pid)
    start = time.monotonic()
    client.consume('long', 0)
    client.drain(count, 1000)
    rate = count / (time.monotonic() - start)
    check_empty(client, 'long')
    client.close()
    return lines + [limit(what + ': peak RSS draining', peak_mb(server.pid), 150, ' MB'),
                    least(what + ': drained a second', rate, 300_000)]


def transient_cpu(server, options):
    return need(load.run(server, '--size 12 --count 2000000'))['server_cpu_us_per_message']


def many_queues(server, options):
    """Declared and bound, filled, idle connections on top, and started again after SIGKILL."""
    queues, connections = options.scale_queues, options.scale_connections
    alone = transient_cpu(server, options)
    client = raw.Client(server.port)
    before_kb = rss_kb(server.pid)
    names = [f'idle-{number}' for number in range(queues)]
    start = time.monotonic()
    for first in range(0, queues, 250):
        some = names[first:first + 250]
        client.send(b''.join(raw.declare(name) + raw.bind(name, 'amq.direct', name)
                             for name in some))
        client.expect(50, 21, len(some))
    lines = [least('durable queues declared and bound a second',
                   queues / (time.monotonic() - start), 20_000),
             limit(f'memory of a durable queue with a binding, of {queues:,}',
                   (rss_kb(server.pid) - before_kb) * 1024 / queues, 1024, ' B')]
    client.select_confirms()
    for first in range(0, queues, 100):
        some = names[first:first + 100]
        batch = b''.join(raw.publish('', name, b'x' * 100) * 10 for name in some)
        client.publish_confirmed(batch, 10 * len(some), 2000)
    client.wait_confirms()
    client.close()
    for how, stop in (('SIGKILL', server.kill), ('SIGTERM', server.stop)):
        stop()
        start = time.monotonic()
        server.start(keep=True)
        lines.append(limit(f'start with {queues:,} durable queues and {10 * queues:,} messages '
                           f'after {how}', time.monotonic() - start, 2, ' s'))
    idle = [raw.Client(server.port) for _ in range(connections)]
    wait_until_quiet(server.pid)
    ratio = transient_cpu(server, options) / alone
    lines.append(limit(f'CPU per transient message with {queues:,} queues and {connections:,} '
                       'connections there, against none', ratio, 1.10))
    for client in idle:
        client.close()
    return lines


def topic_bindings(server, options):
    """CPU per message of a stream of ever other keys, each of which matches one binding."""
    many = options.scale_queues
    narrow = ('a.{}.c', 'b.*.{}', 'c.{}.#')
    wide = ['a.*.c', 'b.*.*', 'c.*.#'] + [f'other.{number}' for number in range(7)]
    bindings = {10: wide, many: [narrow[number % 3].format(number) for number in range(many)]}
    keys = ('a.{}.c', 'b.x.{}', 'c.{}.d.e')
    numbers = [number * 7919 % many for number in range(20_000)]
    cost = {}
    for count, binding_keys in bindings.items():
        exchange, queue = f'topic-{count}', f'routed-{count}'
        client = raw.Client(server.port)
        client.send(raw.declare_exchange(exchange, 'topic')
                    + raw.declare(queue, {'x-max-length': 1}))
        client.expect(50, 11)
        client.pipeline([raw.bind(queue, exchange, key) for key in binding_keys], 50, 21)
        client.select_confirms()
        batches = [b''.join(raw.publish(exchange, keys[number % 3].format(number), b'x', False)
                            for number in numbers[first:first + 400])
                   for first in range(0, len(numbers), 400)]
        wait_until_quiet(server.pid)
        before = cpu_seconds(server.pid)
        for _ in range(10):
            for batch in batches:
                client.publish_confirmed(batch, 400, 4000)
        client.wait_confirms()
        cost[count] = (cpu_seconds(server.pid) - before) / (10 * len(numbers)) * 1e6
        client.close()
    return [limit(f'routing over {many:,} topic bindings against ten '
                  f'({cost[many]:.2f} us, {cost[10]:.2f} us)', cost[many] / cost[10], 2)]


def wide_fanout(server, options):
    """Memory each of 1,000 queues takes for each message, bodies of 1 KiB being held once."""
    client = raw.Client(server.port)
    client.send(raw.declare_exchange('wide', 'fanout'))
    client.expect(40, 11)
    names = [f'wide-{number}' for number in range(1000)]
    client.pipeline([raw.declare(name, durable=False) for name in names], 50, 11)
    client.pipeline([raw.bind(name, 'wide', '') for name in names], 50, 21)
    client.select_confirms()
    before = rss_kb(server.pid)
    for _ in range(20):
        client.publish_confirmed(raw.publish('wide', '', b'x' * 1024, False) * 100, 100, 0)
    grown = (rss_kb(server.pid) - before) * 1024
    client.close()
    return [limit('1,000 queues on a fan-out, 2,000 messages: bytes a queue and message',
                  grown / (1000 * 2000), 40)]


def beside_a_slow_consumer(server, options):
    """Publishers at ten times the rate of their consumer, and an independent pair beside them."""
    reset_peak(server.pid)
    slow = load.start(server, '--size 1000 --rate 20000 --consumer-rate 2000 --prefetch 100 '
                      '--ack-every 10 --seconds 3 --timeout 120')
    pair = load.run(server, '--size 100 --rate 1000 --seconds 2.5 --warmup 0.5')
    need(load.finish(slow))
    return [limit("publishers ten times faster than their consumer: another pair's latency p99",
                  need(pair)['latency_us']['p99'], 5000, ' us'),
            Line('the same: peak RSS', f'{peak_mb(server.pid):,.0f} MB', '-', None)]


def beside_a_stalled_reader(server, options):
    """A consumer that reads nothing while its queue is filled: who else notices?"""
    stalled, filler = raw.Client(server.port), raw.Client(server.port)
    stalled.send(raw.declare('stalled'))
    stalled.expect(50, 11)
    stalled.consume('stalled', 0)
    filler.select_confirms()
    reset_peak(server.pid)
    pair = load.start(server, '--size 100 --rate 1000 --seconds 3 --warmup 0.5')
    batch = raw.publish('', 'stalled', b'x' * 1000) * 100
    while pair.poll() is None:
        filler.publish_confirmed(batch, 100, 1000)
    report = need(load.finish(pair))
    sent = filler.sent
    peak = peak_mb(server.pid)
    stalled.close()
    filler.close()
    return [limit("a connection that stops reading: another pair's latency p99",
                  report['latency_us']['p99'], 5000, ' us'),
            Line(f'the same: peak RSS, {sent / 1000:,.0f} MB published', f'{peak:,.0f} MB', '-',
                 None)]


def pass_through(server, name, arguments, count):
    """CPU microseconds a transient message takes into a queue with these arguments and out."""
    client = raw.Client(server.port)
    client.send(raw.declare(name, arguments, durable=False))
    client.expect(50, 11)
    client.select_confirms()
    batch = raw.publish('', name, b'x' * 100, False) * 500
    before = cpu_seconds(server.pid)
    for _ in range(count // 500):
        client.publish_confirmed(batch, 500, 2000)
    client.wait_confirms()
    client.consume(name, 0)
    client.drain(count, 100)
    check_empty(client, name)
    used = cpu_seconds(server.pid) - before
    client.close()
    return used / count * 1e6


def queue_arguments(server, options):
    """What arguments that never come to act cost, each alternated with a plain queue."""
    count = 50_000 if options.quick else 200_000
    lines = []
    for what, arguments in (('a TTL', {'x-message-ttl': 3_600_000}),
                            ('a length limit', {'x-max-length': 10_000_000}),
                            ('a dead-letter exchange', {'x-dead-letter-exchange': 'amq.fanout'})):
        name = what.replace(' ', '-')
        pass_through(server, 'plain', {}, count)
        ratios = []
        for turn in range(8):  # each is first as often as the other
            cost = {}
            for queue in (name, 'plain') if turn % 2 else ('plain', name):
                cost[queue] = pass_through(server, queue, arguments if queue == name else {}, count)
            ratios.append(cost[name] / cost['plain'])
        lines.append(limit(f'CPU per message, a queue with {what} against a plain one',
                           statistics.median(ratios), 1.10))
    return lines


LINES = [efficiency, long_queue, many_queues, topic_bindings, wide_fanout, beside_a_slow_consumer,
         beside_a_stalled_reader, queue_arguments]


def measure(server, options):
    """Every line, each group on a fresh server; one that failed is a line that says why."""
    lines = []
    for group in LINES:
        if options.scale and group.__name__ not in options.scale.split(','):
            continue
        server.stop()
        server.start()
        try:
            got = group(server, options)
        except (raw.Closed, OSError, KeyError, SystemExit) as error:
            got = [Line(group.__name__.replace('_', ' '), f'failed: {error}', '-', False)]
        for line in got:
            say(f'{line.what}: {line.figure} ({line.budget})')
        lines += got
    return lines


def failures(lines):
    return [f'{line.what}: {line.figure}' for line in lines if line.figure.startswith('failed')]
