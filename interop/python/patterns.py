"""The four patterns of examples/, run as a newcomer would run them, and through two deaths.

The scripts are processes of their own, so that a SIGKILL is a real one. First a worker dies in the
middle of a job, then the broker: every job must be done once or lie in the dead-letter queue, and
after the redrive every one is done. The broker is killed only if it is ours to kill, a second
leveretd; another broker gets the same work without that, and has to show the same result.
"""

import os
import re
import subprocess
import sys

from libclient import PORT, WAIT_S, connect, counts, get_all, say, wait_until

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EXAMPLES = os.path.join(TREE, 'examples')
SCRATCH = os.environ['INTEROP_SCRATCH']
JOBS = 'interop.patterns.jobs'
DEAD = JOBS + '.dead'
SQUARES = 'interop.patterns.squares'
FANOUT, TOPIC = 'interop.patterns.fanout', 'interop.patterns.topic'
COUNT = 10
IDLE_S = '3'

sys.path.insert(0, os.path.join(TREE, 'tests', 'lib'))


class Script:
    """One of the examples, running; what it prints goes to a file, so nothing blocks."""

    running = []

    def __init__(self, port, name, *arguments):
        self.path = os.path.join(SCRATCH, '%d.out' % len(Script.running))
        with open(self.path, 'wb') as out:
            self.process = subprocess.Popen(
                ['/usr/bin/python3', os.path.join(EXAMPLES, name), '--uri',
                 'amqp://guest:guest@127.0.0.1:%d/%%2F' % port, *arguments], stdout=out)
        Script.running.append(self)

    def lines(self):
        with open(self.path, encoding='utf-8') as out:
            return out.read().splitlines()

    def wait_for(self, start):
        """The first line that begins so, once it is there."""
        wait_until(lambda: any(line.startswith(start) for line in self.lines()), repr(start))
        return next(line for line in self.lines() if line.startswith(start))

    def finish(self):
        """Everything it printed, after it has ended by itself, and well."""
        status = self.process.wait(WAIT_S)
        if status:
            sys.exit('%s exited with %d' % (' '.join(self.process.args[1:]), status))
        return self.lines()

    def kill(self):
        """End it by SIGKILL: no channel.close, no word from the application."""
        self.process.kill()
        self.process.wait()


def run(port, name, *arguments):
    return Script(port, name, *arguments).finish()


def worker(port, *arguments):
    return Script(port, 'work_queue.py', 'work', '--queue', JOBS, '--seconds', '0.05',
                  '--idle', IDLE_S, *arguments)


def numbers(lines, word):
    """The numbers of the jobs that were published, done or replayed, sorted, repetitions too."""
    return sorted(int(match.group(1)) for match in
                  (re.match(word + r' job (\d+)', line) for line in lines) if match)


def attempts(lines, word, job):
    return sorted(int(match.group(1)) for match in
                  (re.match(r'%s job %d, attempt (\d+)' % (word, job), line) for line in lines)
                  if match)


def clear(channel):
    for queue in (JOBS, DEAD, SQUARES):
        channel.queue_delete(queue)
    for exchange in (FANOUT, TOPIC):
        channel.exchange_delete(exchange)


def killed_worker(channel):
    """Three workers, one of them killed with a job in its hands; then the dead ones replayed."""
    say('published:', numbers(run(PORT, 'work_queue.py', 'publish', '--queue', JOBS), 'published'))
    victim = worker(PORT, '--seconds', '600')
    held = victim.wait_for('started')
    workers = [worker(PORT), worker(PORT)]
    for one in workers:
        one.wait_for('started')
    victim.kill()
    say('killed a worker that had', held)
    lines = [line for one in workers for line in one.finish()]
    say('done:', numbers(lines, 'done'))
    say('the job of the dead worker was done in attempt', *attempts(lines, 'done', 1))
    for job in (5, 10):
        say('job %d failed in attempts' % job, *attempts(lines, 'failed', job))
    say(JOBS, counts(channel, JOBS, 0))
    say(DEAD, counts(channel, DEAD, 2))
    redrive(channel, PORT)


def redrive(channel, port):
    """Replay the dead letters, and do them."""
    lines = run(port, 'redrive.py', '--queue', JOBS)
    for line in sorted(lines[:-1]) + lines[-1:]:
        say(line)
    say(DEAD, counts(channel, DEAD, 0))
    lines = worker(port, '--repaired').finish()
    say('done after the redrive:', numbers(lines, 'done'))
    for job in (5, 10):
        say('job %d was done in attempt' % job, *attempts(lines, 'done', job))
    say(JOBS, counts(channel, JOBS, 0))
    say(DEAD, counts(channel, DEAD, 0))


def killed_broker(broker):
    """A confirmed job is never missing, whatever happens to the broker. A job that was held, or
    whose acknowledgement the broker did not get to write, comes again; so none is acknowledged
    before the kill, and each must be done exactly once."""
    run(broker.port, 'work_queue.py', 'publish', '--queue', JOBS)
    victim = worker(broker.port, '--seconds', '600')
    victim.wait_for('started')
    if not broker.external:
        broker.kill()
    victim.kill()
    broker.start()
    lines = [line for one in [worker(broker.port), worker(broker.port)] for line in one.finish()]
    say('done:', numbers(lines, 'done'))
    connection = connect(port=broker.port)
    channel = connection.channel()
    say(JOBS, counts(channel, JOBS, 0))
    say(DEAD, counts(channel, DEAD, 2))
    say('dead:', sorted(get_all(channel, DEAD)))
    connection.close()


def other_patterns():
    for line in run(PORT, 'publish_subscribe.py', '--fanout', FANOUT, '--topic', TOPIC):
        say(line)
    for line in run(PORT, 'request_reply.py', '--queue', SQUARES):
        say(line)


def main():
    import leveret
    connection = connect()
    channel = connection.channel()
    clear(channel)
    try:
        say('- work queue, redrive')
        killed_worker(channel)
        say('- the broker killed')
        with (leveret.External(PORT) if leveret.external_port() else leveret.Broker()) as broker:
            killed_broker(broker)
        say('- publish/subscribe, request/reply')
        other_patterns()
        clear(channel)
    finally:
        for script in Script.running:
            script.kill()
    connection.close()


if __name__ == '__main__':
    main()
