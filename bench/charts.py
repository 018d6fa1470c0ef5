"""Bar charts of the table as SVG files, drawn by hand: bars and words are all they hold.

The axis is logarithmic: the brokers lie one to two orders of magnitude apart.
"""
import math
import os
import statistics
from xml.sax.saxutils import escape

import table
from table import RATE, values

COLOURS = {'leveret': '#1b7837', 'rabbitmq': '#e08214', 'floor': '#999999'}
BAR, GAP, LEFT, WIDTH = 14, 12, 430, 900


def svg(title, servers, groups):
    """groups: (label, {server name: value})"""
    every = [value for _, bars in groups for value in bars.values() if value > 0]
    low, high = math.floor(math.log10(min(every))), math.log10(max(every))
    high = max(math.ceil(high), low + 1)
    scale = (WIDTH - LEFT - 80) / (high - low)
    parts, y = [], 60
    for label, bars in groups:
        parts.append(f'<text x="{LEFT - 8}" y="{y + BAR}" text-anchor="end">{escape(label)}</text>')
        for server in servers:
            value = bars.get(server.name, 0)
            if value <= 0:
                continue
            length = (math.log10(value) - low) * scale
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" '
                         f'fill="{COLOURS[server.name]}"/><text x="{LEFT + length + 4:.1f}" '
                         f'y="{y + BAR - 3}">{table.number(value)}</text>')
            y += BAR
        y += GAP
    x = 10
    for server in servers:
        parts.append(f'<rect x="{x}" y="32" width="12" height="12" fill="{COLOURS[server.name]}"/>'
                     f'<text x="{x + 16}" y="43">{escape(server.label)}</text>')
        x += 110
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" '
            f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" '
            f'fill="white"/><text x="10" y="20" font-size="15">{escape(title)}</text>'
            + ''.join(parts) + '</svg>\n')


def write(directory, rows, servers, results):
    """cpu.svg, rate.svg, latency.svg and idle.svg: those of them that have a value to show."""
    charts = {
        'cpu': ('CPU of the server per message, us (less is better)', None, 'message delivery'),
        'rate': ('messages a second (more is better)', RATE, 'message delivery'),
        'latency': ('latency p99 at a fixed rate, us (less is better)', 'latency_us.p99',
                    'message'),
        'idle': ('bytes of memory each (less is better)', 'bytes_each', 'idle'),
    }
    for name, (title, key, kinds) in charts.items():
        groups = []
        for row in rows:
            if row.per not in kinds.split():
                continue
            bars = {}
            for server in servers:
                found = values(results[row.name][server.name],
                               key or f'server_cpu_us_per_{row.per}')
                if found and statistics.median(found) > 0:
                    bars[server.name] = statistics.median(found)
            if bars:
                groups.append((row.label, bars))
        if groups:
            with open(os.path.join(directory, name + '.svg'), 'w') as file:
                file.write(svg(title, servers, groups))
