#!/usr/bin/python3
"""Measure leveretd beside RabbitMQ, round by round, and print Markdown tables.

Both brokers are started for this run alone, with fresh data directories on the same disk and
free ports, and are stopped at its end; a broker that already runs on this machine is not touched.
Each round runs every row on every broker, in turn, the order of the brokers swapped from round to
round, so that whatever else the machine does hits all alike. A cell is the median of the rounds
with the least and the greatest. See bench/README.md for what the figures mean.
"""
import argparse
import json
import os
import resource
import shutil
import signal
import sys
import tempfile

import charts
import load
import scale
import table
from brokers import TREE, choose_servers, fail


def parse_arguments():
    names = [row.name for row in table.ROWS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     epilog='rows: ' + ', '.join(names))
    parser.add_argument('--quick', action='store_true',
                        help='one round of one second, small counts: about 3 minutes')
    parser.add_argument('--rounds', type=int, help='default 3')
    parser.add_argument('--rows', help='comma-separated names; none: no table; default: all')
    parser.add_argument('--seconds', type=float, help='of each timed run (default 3)')
    parser.add_argument('--leveret-only', action='store_true', help='leave RabbitMQ out')
    parser.add_argument('--floor', action='store_true', help='also the relay of bench/floor.c')
    parser.add_argument('--dir', default='/var/tmp', help='where data directories are made; a '
                        'disk that syncs, not a tmpfs (default /var/tmp)')
    parser.add_argument('--out', default=os.path.join(TREE, 'bench', 'out'), metavar='DIR',
                        help='charts and results.json go there (default bench/out)')
    parser.add_argument('--scale', metavar='NAMES', help='comma-separated groups, or none: '
                        + ', '.join(group.__name__ for group in scale.LINES))
    parser.add_argument('--scale-messages', type=int, metavar='N',
                        help='of the long queue (default 10,000,000)')
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = options.seconds or (1 if options.quick else 3)
    options.backlog = 100_000 if options.quick else 1_000_000
    options.scale_messages = options.scale_messages or \
        (1_000_000 if options.quick else 10_000_000)
    options.scale_queues = 10_000 if options.quick else 100_000
    options.scale_connections = 500 if options.quick else 10_000
    wanted = options.rows.split(',') if options.rows else names
    unknown = [name for name in wanted if name not in names and name != 'none']
    if unknown:
        parser.error(f'no such row: {", ".join(unknown)} (rows: {", ".join(names)})')
    if options.rounds < 1:
        parser.error('--rounds must be at least 1')
    return options, [row for row in table.ROWS if row.name in wanted]


def main():
    options, rows = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('bench: stopped'))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # the servers inherit it
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.makedirs(options.out, exist_ok=True)
    base = tempfile.mkdtemp(prefix='leveret-bench.', dir=options.dir)
    os.chmod(base, 0o755)
    servers = []
    try:
        servers = choose_servers(options, base)
        for server in servers:
            server.start()
        sync_us = load.measure_sync(base)
        results = table.measure(servers, rows, options)
        table.print_conditions(servers, options, base, sync_us)
        table.print_speed(rows, servers, results)
        table.print_budgets(rows, results)
        table.print_details(rows, servers, results, sync_us)
        table.print_idle(rows, servers, results)
        lines = scale.measure(next(s for s in servers if s.name == 'leveret'), options)
        table.print_lines(lines)
        charts.write(options.out, rows, servers, results)
        with open(os.path.join(options.out, 'results.json'), 'w') as file:
            json.dump({'sync_us': sync_us, 'results': results,
                       'scale': [line._asdict() for line in lines]}, file, indent=1)
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(base, ignore_errors=True)
    failed = scale.failures(lines)
    failed += sorted({f'{row}: {report["error"]}' for row, per in results.items()
                      for reports in per.values() for report in reports if 'error' in report})
    if failed:
        fail('failed runs: ' + '; '.join(failed))


if __name__ == '__main__':
    main()
