"""The table: its rows, their budgets, the rounds that measure them, and their Markdown."""
import datetime
import os
import statistics
import subprocess
from collections import namedtuple

import load
from brokers import say

CPU, RATE = 'server_cpu_us_per_message', 'publish_rate'
AT_LEAST = {RATE}  # every other budget is a most
NAMES = {CPU: 'us CPU', RATE: '/s', 'server_cpu_us_per_delivery': 'us CPU',
         'latency_us.p50': 'latency p50, us', 'latency_us.p99': 'latency p99, us',
         'bytes_each': 'bytes each', 'server_rss_peak_kb': 'peak RSS, KiB'}

# A row: its name and label, options of the load program, what CPU time is divided by, its budgets
# (a key of the report: the limit), whether the floor can run it, how it is bounded,
# and whether its memory wants a server that has done nothing before.
Row = namedtuple('Row', 'name label options per budgets floor bound fresh',
                 defaults=[False])
TIMED = None
DURABLE = '--durable --persistent'
ROWS = [
    Row('transient-12', 'transient, 12 B, automatic ack',
        '--size 12', 'message',
        {CPU: 0.6, RATE: 1e6}, True, TIMED),
    Row('transient-1k', 'transient, 1 KiB, automatic ack',
        '--size 1024', 'message',
        {CPU: 1.5}, True, TIMED),
    Row('transient-acks', 'transient, 100 B, prefetch 300, ack every 50',
        '--size 100 --prefetch 300 --ack-every 50', 'message',
        {CPU: 1.0}, True, TIMED),
    Row('durable-12', 'durable, confirmed, 12 B, window 1000, ack every 100',
        f'--size 12 {DURABLE} --confirm 1000 --ack-every 100', 'message',
        {CPU: 2.5, RATE: 250e3}, True, TIMED),
    Row('durable-1k', 'durable, confirmed, 1 KiB, window 1000, ack every 100',
        f'--size 1024 {DURABLE} --confirm 1000 --ack-every 100', 'message',
        {CPU: 5.0, RATE: 120e3}, True, TIMED),
    Row('one-confirm', 'durable, 8 producers, one confirm at a time, 100 B',
        f'--size 100 {DURABLE} --producers 8 --confirm 1 --ack-every 100', 'message',
        {}, True, TIMED),
    Row('fanout-10', 'fan-out 1 to 10 queues, 100 B, automatic ack (per delivery)',
        '--size 100 --fanout 10 --consumers 10', 'delivery',
        {'server_cpu_us_per_delivery': 0.5}, False, TIMED),
    Row('fifty', '50 producers, 50 queues, 50 consumers, 100 B, ack every 50',
        '--size 100 --producers 50 --queues 50 --consumers 50 --prefetch 300 --ack-every 50',
        'message',
        {CPU: 1.0}, False, '--seconds 1'),
    Row('large', '1 MiB, prefetch 10, ack each',
        '--size 1048576 --prefetch 10 --ack-every 1', 'message',
        {CPU: 700}, True, '--count 1000'),
    Row('rate-5k', '5,000 messages a second, 100 B, ack every 50',
        '--size 100 --rate 5000 --prefetch 300 --ack-every 50', 'message',
        {'latency_us.p50': 120, 'latency_us.p99': 1000}, True, TIMED),
    Row('idle-connections', 'a connection with a channel',
        '--idle-connections 1000', 'idle',
        {'bytes_each': 8192}, False, '', True),
    Row('idle-queues', 'a durable queue with a binding',
        '--idle-queues 1000 --durable', 'idle',
        {'bytes_each': 1024}, False, '', True),
    Row('backlog', 'backlog of durable 100 B, confirmed, nobody consumes',
        f'--size 100 {DURABLE} --confirm 1000 --consumers 0', 'message',
        {RATE: 300e3, 'server_rss_peak_kb': 60 * 1024}, False, '--count {backlog}', True),
]


def run_row(server, row, options):
    if row.bound is TIMED:
        bound = f'--seconds {options.seconds} --warmup {min(0.5, options.seconds)}'
    else:
        bound = row.bound.format(backlog=options.backlog)
    return load.run(server, f'{row.options} {bound}')


def measure(servers, rows, options):
    """results[row name][server name] = list of the rounds' reports"""
    results = {row.name: {server.name: [] for server in servers} for row in rows}
    for turn in range(options.rounds):
        order = servers if turn % 2 == 0 else servers[::-1]
        for row in rows:
            for server in order:
                if server.name == 'floor':
                    if not row.floor:
                        continue
                    server.choose('--durable' in row.options)
                elif row.fresh:
                    server.stop()
                    server.start()
                report = run_row(server, row, options)
                results[row.name][server.name].append(report)
                note = report.get('error') or ', '.join(
                    f'{key} {report[key]:.6g}' for key in (CPU, RATE, 'bytes_each')
                    if key in report)
                say(f'round {turn + 1} {row.name} {server.label}: {note}')
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


def inside(row, reports):
    """The budgets that Leveret's median keeps: 'yes', or each that it does not."""
    if not row.budgets:
        return '-'
    if any('error' in report for report in reports):
        return 'failed'
    missed = []
    for key, limit in row.budgets.items():
        found = values(reports, key)
        if not found:
            missed.append(f'{key} not measured')
            continue
        got = statistics.median(found)
        if got < limit if key in AT_LEAST else got > limit:
            missed.append(f'{NAMES[key]} {number(got)} ({number(limit)})')
    return 'no: ' + ', '.join(missed) if missed else 'yes'


def print_budgets(rows, results):
    lines = []
    for row in rows:
        if row.budgets:
            limits = ', '.join(f'{NAMES[key]} {number(limit)}'
                               for key, limit in row.budgets.items())
            lines.append([row.label, limits, inside(row, results[row.name]['leveret'])])
    if lines:
        print_table(['workload', 'budget', 'inside?'], lines)


def print_speed(rows, servers, results):
    names = [server.name for server in servers]
    pair = 'rabbitmq' in names
    head = ['workload'] + [f'{s.label}, us CPU' for s in servers] + (['ratio'] if pair else []) + \
        [f'{s.label}, /s' for s in servers] + (['ratio'] if pair else []) + ['inside?']
    lines = []
    for row in rows:
        if row.per == 'idle':
            continue
        got = results[row.name]
        cpu = f'server_cpu_us_per_{row.per}'
        rate = 'consume_rate' if row.per == 'delivery' else RATE
        line = [row.label] + [cell(got[name], cpu) for name in names]
        if pair:
            line.append(ratio(got['rabbitmq'], got['leveret'], cpu))
        line += [cell(got[name], rate) for name in names]
        if pair:
            line.append(ratio(got['leveret'], got['rabbitmq'], rate))
        lines.append(line + [inside(row, got['leveret'])])
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
            for server in measured:
                reports = got[server.name]
                lines.append([row.label, server.label, cell(reports, 'bytes_each'),
                              cell(reports, 'rate'),
                              inside(row, reports) if server.name == 'leveret' else '-'])
    if lines:
        print_table(['idle', 'broker', 'bytes each', 'made a second', 'inside?'], lines)


def print_lines(lines):
    if lines:
        print_table(['scale and cost', 'Leveret', 'budget', 'inside?'],
                    [[line.what, line.figure, line.budget,
                      '-' if line.inside is None else 'yes' if line.inside else 'no']
                     for line in lines])


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
