#!/usr/bin/python3
"""leveret-perf against a broker: each kind of run once, what it refuses, what it writes."""

import json
import os
import re
import signal
import subprocess
import sys
import xml.dom.minidom

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import leveret  # noqa: E402
import run  # noqa: E402
from peer import Fixture  # noqa: E402

FIXTURE = Fixture()
setup, teardown, world = FIXTURE.setup, FIXTURE.teardown, FIXTURE.world


def start(w, *options):
    """Start leveret-perf against the broker of a world."""
    return subprocess.Popen([leveret.find_binary('leveret-perf'), '--port', str(w.port),
                             '--timeout', '20', *options], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process, status=0):
    """Wait for it; return what it printed on both streams."""
    out, err = process.communicate(timeout=60)
    run.check_equal(process.returncode, status, 'exit status, with %r' % err)
    return out, err


def report(w, *options):
    """Run it to its end; return the JSON object."""
    return json.loads(finish(start(w, '--json', '-', '--quiet', *options))[0])


def refused(w, status, text, *options):
    """Run it with options that fail; check the exit status and the sentence."""
    err = finish(start(w, '--quiet', *options), status)[1]
    run.check(text in err, '%r is not in %r' % (text, err))


def test_a_work_queue_with_everything():
    with world() as w:
        got = report(w, '--count', '3000', '--producers', '2', '--consumers', '2', '--queues', '2',
                     '--durable', '--persistent', '--confirm', '50', '--prefetch', '20',
                     '--ack-every', '10', '--size', '10-3000', '--priority', '0-9', '--header',
                     'a=1', '--server-pid', str(FIXTURE.broker.pid))
        for member in ('published', 'confirmed', 'consumed'):
            run.check_equal(got[member], 3000, member)
        run.check_equal(got['nacked'], 0, 'nacked')
        run.check(got['server_cpu_us_per_message'] > 0, 'no CPU was used')
        run.check(got['server_rss_kb'] > 1000, 'no memory was used')
        times = [got['confirm_us'][p] for p in ('p50', 'p75', 'p95', 'p99', 'p999', 'max')]
        run.check(times == sorted(times) and times[0] > 0, 'percentiles %s' % times)
        run.check_equal(got['options']['size'], '10-3000', 'option')


def test_one_producer_reaches_every_queue():
    with world() as w:
        for queue in range(3):
            w.channel().declare(w.q('q%d' % queue))
        report(w, '--count', '300', '--consumers', '0', '--confirm', '10', '--queues', '3',
               '--predeclared', '--queue-pattern', w.q('q') + '%d')
        counts = [w.channel().counts(w.q('q%d' % queue))[0] for queue in range(3)]
        run.check_equal(counts, [100] * 3, 'messages in the queues')


def test_exchanges_and_keys():
    with world() as w:
        cases = (
            (3, ('--fanout', '3')),
            (3, ('--exchange-type', 'fanout', '--queues', '3')),
            (3, ('--exchange', 'amq.fanout', '--queues', '3')),
            (1, ('--exchange-type', 'direct', '--queues', '3', '--routing-key', 'k%d')),
            (3, ('--exchange-type', 'direct', '--queues', '3', '--routing-key', 'k')),
            (3, ('--exchange-type', 'topic', '--queues', '3', '--routing-key', 'a.%d',
                 '--binding-key', 'a.*')),
            (3, ('--exchange-type', 'headers', '--queues', '3')),
        )
        for copies, options in cases:
            got = report(w, '--count', '600', '--consumers', '3', '--size', '16', *options)
            run.check_equal(got['consumed'], 600 * copies, 'deliveries with %s' % (options,))


def test_backlog_then_drain():
    with world() as w:
        backlog = report(w, '--queue', w.q(), '--durable', '--keep', '--consumers', '0',
                         '--count', '500', '--queue-arg', 'x-max-priority=5')
        run.check_equal(backlog['published'], 500, 'published')
        run.check_equal(w.channel().counts(w.q())[0], 500, 'backlog')
        drain = report(w, '--queue', w.q(), '--predeclared', '--producers', '0', '--count', '500',
                       '--prefetch', '50', '--ack-every', '10')
        run.check_equal(drain['consumed'], 500, 'consumed')
        run.check_equal(w.channel().counts(w.q())[0], 0, 'left')
        w.channel().call('queue.delete', queue=w.q())


def test_what_was_declared_is_deleted():
    with world() as w:
        report(w, '--count', '10', '--queue', w.q())
        refused(w, 1, "404 NOT_FOUND", '--count', '10', '--queue', w.q(), '--predeclared')
        report(w, '--count', '10', '--exclusive', '--queue', w.q())
        refused(w, 1, "404 NOT_FOUND", '--count', '10', '--queue', w.q(), '--predeclared')


def test_expired_messages_do_not_hold_the_run_up():
    with world() as w:
        got = report(w, '--count', '200', '--expiration', '0-1', '--prefetch', '1', '--ack-every',
                     '1', '--consumer-rate', '2000', '--confirm', '200')
        run.check_equal(got['published'], 200, 'published')
        run.check(got['consumed'] <= 200, 'more deliveries than messages')


def test_a_rate_is_kept_and_measures_latency():
    with world() as w:
        got = report(w, '--rate', '500', '--seconds', '1', '--size', '16')
        run.check(490 <= got['published'] <= 510, '%d published' % got['published'])
        run.check(0 < got['latency_us']['p50'] <= got['latency_us']['max'], 'no latency')


def test_slow_consumers_are_slow():
    with world() as w:
        got = report(w, '--count', '100', '--consumer-rate', '100', '--prefetch', '10',
                     '--ack-every', '1')
        run.check(got['wall_s'] > 0.8, 'it took only %s s' % got['wall_s'])
        run.check_equal(got['consumed'], 100, 'consumed')


def test_churn():
    with world() as w:
        for what in ('connections', 'channels', 'queues', 'bindings'):
            got = report(w, '--churn', what, '--count', '60', '--parallel', '3', '--server-pid',
                         str(FIXTURE.broker.pid))
            run.check_equal((got['churn'], got['cycles']), (what, 60), 'cycles')
            run.check(got['open_us']['p50'] <= got['cycle_us']['p50'], 'open after close')
            run.check(got['server_cpu_us_per_cycle'] > 0, 'no CPU was used')
        got = report(w, '--churn', 'channels', '--count', '50', '--churn-rate', '100')
        run.check(got['wall_s'] >= 0.45, 'it took only %s s' % got['wall_s'])


def test_idle():
    with world() as w:
        pid = str(FIXTURE.broker.pid)
        got = report(w, '--idle-queues', '300', '--server-pid', pid)
        run.check_equal(got['idle_queues'], 300, 'queues')
        got = report(w, '--idle-connections', '20', '--server-pid', pid)
        run.check_equal(got['idle_connections'], 20, 'connections')
        got = report(w, '--measure-sync', FIXTURE.broker.directory)
        run.check(got['sync_us'] > 0, 'a sync took no time')


def test_summary_live_lines_and_files():
    with world() as w:
        page = os.path.join(FIXTURE.broker.directory, 'p.html')
        figures = os.path.join(FIXTURE.broker.directory, 'p.json')
        out, err = finish(start(w, '--rate', '1000', '--seconds', '1', '--size', '20', '--confirm',
                                '10', '--interval', '0.2', '--html', page, '--json', figures))
        run.check('messages/s' in out and 'p99.9' in out, 'summary %r' % out)
        run.check(err.count('published') >= 4, 'live lines %r' % err)
        with open(figures, encoding='utf-8') as read:
            intervals = json.load(read)['intervals']
        run.check(len(intervals) >= 4, '%d intervals' % len(intervals))
        document = xml.dom.minidom.parse(page)
        curves = document.getElementsByTagName('path')
        run.check_equal(len(curves), 5, 'curves: three rates, two times')
        for curve in curves:
            run.check_equal(curve.getAttribute('d').count('H'), len(intervals), 'levels')
        text = ''.join(node.firstChild.data for node in document.getElementsByTagName('text'))
        for unit in ('time (s)', 'messages/s', 'microseconds'):
            run.check(unit in text, 'no axis says %s' % unit)


def page_of(w, *options):
    """Run it with --html; return the page, parsed, and its JSON."""
    page = os.path.join(FIXTURE.broker.directory, 'page.html')
    got = report(w, '--html', page, *options)
    return xml.dom.minidom.parse(page), got


def texts(node, tag):
    return [''.join(part.data for part in item.childNodes if part.nodeType == part.TEXT_NODE)
            for item in node.getElementsByTagName(tag)]


def test_a_run_of_one_interval_has_curves():
    with world() as w:
        document, got = page_of(w, '--count', '200', '--size', '16', '--interval', '60')
        run.check_equal(len(got['intervals']), 1, 'intervals')
        for curve in document.getElementsByTagName('path'):
            level = re.fullmatch(r'M([0-9.]+) [0-9.]+H([0-9.]+) ', curve.getAttribute('d'))
            run.check(level and float(level[2]) > float(level[1]), 'a curve without length')


def test_a_warm_up_is_shaded_and_has_no_latency():
    with world() as w:
        document, got = page_of(w, '--rate', '1000', '--size', '16', '--warmup', '0.5',
                                '--seconds', '0.5', '--interval', '0.1')
        run.check('warm-up' in texts(document, 'text'), 'the warm-up is not named')
        silent = sum(1 for interval in got['intervals'] if interval['p50_us'] == 0)
        run.check(silent >= 3, 'latency in the warm-up')
        latency = document.getElementsByTagName('svg')[1]
        for curve in latency.getElementsByTagName('path'):
            run.check_equal(curve.getAttribute('d').count('H'), len(got['intervals']) - silent,
                            'levels')


def test_the_page_says_where_it_comes_from():
    with world() as w:
        document, got = page_of(w, '--count', '2k', '--size', '1k', '--password', 'guest',
                                '--header', 'a=b c')
        command = texts(document, 'code')[0]
        run.check_equal(command, got['command'], 'command line')
        run.check("--header 'a=b c'" in command and '--count 2k' in command, command)
        run.check('guest' not in command, 'the password is shown')
        cells = texts(document, 'td')
        run.check(any(re.match(r'RabbitMQ 3.10.8 \(Leveret \d\S*\) at 127.0.0.1:%d$' % w.port, cell) for cell in cells),
                  'no broker in %s' % cells)
        run.check_equal(got['begun'][4:5] + got['begun'][10:11], '-T', 'time of day')
        run.check(any('2,000 messages' in cell for cell in cells), 'no commas in %s' % cells)
        run.check_equal(got['published'], 2000, 'published')


def test_latency_is_measured_without_a_rate():
    with world() as w:
        for options in (('--size', '16'), ('--size', '20-70000', '--queues', '2', '--consumers',
                        '2', '--producers', '2', '--confirm', '10'),
                        ('--size', '100', '--fanout', '2', '--consumers', '2')):
            got = report(w, '--seconds', '0.3', *options)
            run.check(0 < got['latency_us']['p50'] <= got['latency_us']['max'] < 20e6,
                      'latency %s with %s' % (got.get('latency_us'), options))
        got = report(w, '--count', '100', '--size', '15')
        run.check('latency_us' not in got, 'latency of bodies that hold no time')


def test_rates_are_also_of_bytes():
    with world() as w:
        got = report(w, '--count', '2000', '--size', '10-30', '--fanout', '2', '--consumers', '2')
        run.check(0.03 < got['publish_mb_rate'] * got['wall_s'] < 0.05, 'published MB')
        run.check(abs(got['consume_mb_rate'] - 2 * got['publish_mb_rate'])
                  <= 0.02 * got['consume_mb_rate'], 'delivered MB')


def test_an_output_that_cannot_be_written_stops_it_at_once():
    with world() as w:
        for option in ('--html', '--json'):
            refused(w, 2, 'cannot be written: No such file', option, '/nonexistent/x')
            refused(w, 2, 'cannot be written: Is a directory', option, '/tmp')


def test_an_interrupt_ends_with_the_summary():
    with world() as w:
        for options in (('--rate', '100', '--size', '16'), ('--churn', 'channels')):
            process = start(w, '--seconds', '60', '--interval', '0.1', *options)
            run.check('/s' in process.stderr.readline(), 'no live line')
            process.send_signal(signal.SIGINT)
            run.check('by a signal' in finish(process)[0], 'no summary')


def test_doubtful_figures_are_not_printed():
    with world() as w:
        for body, text in ((b'a stranger', 'a body of 10 bytes'), (b'x' * 12, 'was altered'),
                           (bytes(7) + b'\1' + bytes(4), 'lost, doubled or overtaken')):
            channel = w.channel()
            channel.declare(w.q())
            channel.publish('', w.q(), body)
            run.wait_for(lambda: channel.counts(w.q())[0] == 1, 'the message to arrive')
            process = start(w, '--quiet', '--queue', w.q(), '--count', '100')
            out, err = finish(process, 1)
            run.check(text in err and not out, 'printed %r and %r' % (out, err))


def test_help_and_version():
    with world() as w:
        run.check(finish(start(w, '--help'))[0].startswith('Usage:'), 'no usage')
        run.check(finish(start(w, '--version'))[0].startswith('leveret-perf '), 'no version')


def test_options_that_contradict():
    with world() as w:
        cases = (
            ('exclude each other', '--count', '1', '--seconds', '1'),
            ('fewer consumers', '--queues', '2', '--consumers', '1'),
            ('come to a halt', '--prefetch', '1', '--ack-every', '2'),
            ('--size of 16', '--rate', '10'),
            ('--prefetch N', '--consumer-rate', '10'),
            ('no %d', '--queue-pattern', 'x', '--queues', '2', '--consumers', '2'),
            ('nothing to do', '--producers', '0', '--consumers', '0'),
            ('declares nothing', '--predeclared', '--queue', 'x', '--durable'),
            ('add --exchange', '--binding-key', 'x'),
            ('--server-pid', '--idle-queues', '3'),
            ('belong to --churn', '--parallel', '3'),
            ('none of connections', '--churn', 'things'),
            ('neither N nor MIN-MAX', '--size', '5-1'),
            ('not NAME=VALUE', '--header', 'x'),
            ('not amqp://', '--uri', 'http://localhost'),
            ('not a number', '--port', '0'),
            ('from 1 to 1048576', '--confirm', '2M'),
            ('unrecognized option', '--nonsense'),
            ('not an option', 'word'),
        )
        for case in cases:
            refused(w, 2, *case)


def test_the_brokers_refusals_are_printed():
    with world() as w:
        refused(w, 1, '530 NOT_ALLOWED', '--vhost', 'nosuch')
        refused(w, 1, '403 ACCESS_REFUSED', '--password', 'wrong')
        refused(w, 1, '406 PRECONDITION_FAILED', '--queue-arg', 'x-message-ttl=-1')
        refused(w, 1, 'no queue takes it', '--mandatory', '--exchange-type', 'topic',
                '--routing-key', 'a', '--binding-key', 'b', '--count', '1')
        refused(w, 1, 'cannot connect', '--uri', 'amqp://127.0.0.1:1/')


if __name__ == '__main__':
    run.main()
