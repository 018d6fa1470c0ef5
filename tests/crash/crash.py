#!/usr/bin/python3
"""crash.py - leveretd is killed at random moments and must have lost nothing

A client with a memory (crash_client.c) publishes with confirms to several queues, consumes from them
and acknowledges. In the midst of it leveretd is killed with SIGKILL and started again on the same
data. Then the client looks into every queue: whatever was confirmed must be there, in order, and
what was acknowledged for good (followed by a confirmed publish on the same channel) must not be.
Now and then the kill comes while leveretd starts, or while the client looks. Each start must reach
its first AMQP handshake within a bound of its own processor time: how long that takes on a machine
that is busy with something else says nothing about leveretd. In every other start, about, memory is low, so that messages
leave it and come back.

    crash.py [--rounds N] [--seed S] [--startup-bound SECONDS]

The seed chooses the moments and the load; what the kernel makes of them differs from run to run.
One round is one test: "N passed, N failed".
"""

import argparse
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
import leveret  # noqa: E402
import rawamqp  # noqa: E402

LOAD_MAX_S = 0.35
START_CUT_MAX_S = 0.08
LOOK_CUT_MAX_S = 0.01
ANSWER_BOUND_S = 60


class Client:
    """The client process; it lives through all rounds."""

    def __init__(self, seed):
        self.process = subprocess.Popen(
            [leveret.find_binary('tests/crash/crash_client'), str(seed)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, command, port):
        """Give a command."""
        self.process.stdin.write('%s %d\n' % (command, port))
        self.process.stdin.flush()

    def answer(self):
        """Return the next answer as words; raise for a failure."""
        line = self.process.stdout.readline().strip()
        if not line or line.startswith('FAILED'):
            raise rawamqp.Failure(line or 'the client has died')
        return line.split()

    def close(self):
        """End it; True when it ends well."""
        self.process.stdin.close()
        return self.process.wait(ANSWER_BOUND_S) == 0


# Memory enough, or so low that queues keep few messages in it and most are read back.
MEMORY = ({'vm_memory_high_watermark_paging_ratio': '0'},
          {'vm_memory_high_watermark.absolute': '1GB',
           'vm_memory_high_watermark_paging_ratio': '0.001'})


class Crash:
    """One run: a broker, a client, and what was measured."""

    def __init__(self, options):
        self.random = random.Random(options.seed)
        self.bound_s = options.startup_bound
        self.broker = leveret.Broker()
        self.client = Client(options.seed)
        self.startups_s = []            # processor time
        self.longest_wait_s = 0
        self.cut_starts = self.cut_looks = self.looked = 0
        self.totals = [0, 0, 0, 0]      # published, confirmed, delivered, acknowledged

    def start(self):
        """Start the broker and measure what it takes until a client has shaken hands."""
        self.broker.settings.update(self.random.choice(MEMORY))
        begun = time.monotonic()
        self.broker.start()
        raw = rawamqp.Raw(self.broker.port).handshake()
        self.longest_wait_s = max(self.longest_wait_s, time.monotonic() - begun)
        took_s = self.broker.cpu_seconds()
        raw.close()
        self.startups_s.append(took_s)
        if took_s > self.bound_s:
            raise rawamqp.Failure('the first handshake took %.2f s of processor time' % took_s)

    def cut_start(self):
        """Kill a broker that has hardly begun."""
        self.broker._spawn()
        time.sleep(self.random.uniform(0, START_CUT_MAX_S))
        self.broker.kill()
        self.cut_starts += 1

    def look(self):
        """Let the client look; in some rounds kill the broker meanwhile, then do it again."""
        cut = self.random.random() < 0.1
        self.client.tell('check', self.broker.port)
        if cut:
            time.sleep(self.random.uniform(0, LOOK_CUT_MAX_S))
            self.broker.kill()
        answer = self.client.answer()
        if answer[0] == 'cut' and cut:
            self.cut_looks += 1
        elif answer[0] != 'checked':
            raise rawamqp.Failure('the connection was lost while the client looked')
        else:
            self.looked += int(answer[1])
        if cut:
            self.start()
            self.client.tell('check', self.broker.port)
            self.client.answer()

    def load_and_kill(self):
        """Let the client work and kill the broker under it, at a random moment."""
        self.client.tell('load', self.broker.port)
        if self.client.answer() != ['loading']:
            raise rawamqp.Failure('the connection was lost before the load had begun')
        time.sleep(self.random.uniform(0, LOAD_MAX_S))      # the moment is what is random here
        self.broker.kill()
        numbers = self.client.answer()[1:]
        self.totals = [a + int(b) for a, b in zip(self.totals, numbers)]

    def round(self):
        """Start, look, load, kill."""
        while self.random.random() < 0.15 and self.broker.port:
            self.cut_start()
        self.start()
        self.look()
        self.load_and_kill()

    def finish(self):
        """A last look, a clean stop and start, and another look."""
        self.start()
        self.look()
        self.broker.stop()
        self.start()
        self.look()
        self.broker.close()
        return self.client.close()


def main():
    """Run all rounds; the first failure ends the run, for nothing after it would mean anything."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--rounds', type=int, default=200)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--startup-bound', type=float, default=1.0)
    options = parser.parse_args()
    crash = Crash(options)
    passed = 0
    try:
        while passed < options.rounds:
            crash.round()
            passed += 1
        if not crash.finish():
            raise rawamqp.Failure('the client did not end well')
        passed += 1
    except (rawamqp.Failure, leveret.BrokerError, OSError) as failure:
        print('round %d of seed %d: %s' % (passed + 1, options.seed, failure))
        print(crash.broker.log_tail())
        print('%d passed, 1 failed' % passed)
        crash.broker.close(check=False)
        crash.client.process.kill()
        return 1
    print('published %d, confirmed %d, delivered %d, acknowledged %d' % tuple(crash.totals))
    print('looked at %d; cut short: %d starts, %d looks' %
          (crash.looked, crash.cut_starts, crash.cut_looks))
    print('start-up to handshake: median %.0f ms of processor time, most %.0f ms; longest %.0f ms' %
          (1000 * sorted(crash.startups_s)[len(crash.startups_s) // 2],
           1000 * max(crash.startups_s), 1000 * crash.longest_wait_s))
    print('%d passed, 0 failed' % passed)
    return 0


if __name__ == '__main__':
    sys.exit(main())
