"""A work queue: two workers with prefetch 1, one of them killed in the middle of a job.

The workers are processes of their own, so the kill is a real one: no channel.close, no FIN from
the application. The job that the dead worker held must come back, marked as redelivered, and be
done by the other; every other job is done exactly once.
"""

import os
import signal
import subprocess
import sys

from libclient import connect, fresh_queue, say, wait_until, counts, Collector

JOBS = 'interop.pika.jobs'
DONE = 'interop.pika.jobs.done'
COUNT = 20
FATAL = 'job 3'


def worker(name):
    """Takes one job at a time and reports it; hangs for ever on the fatal job the first time."""
    connection = connect()
    channel = connection.channel()
    channel.basic_qos(prefetch_count=1)

    def work(_channel, method, _properties, body):
        job = body.decode()
        hang = job == FATAL and not method.redelivered
        report = '%s %s %s' % (name, 'holds' if hang else 'did', job)
        if method.redelivered:
            report += ' (redelivered)'
        channel.basic_publish('', DONE, report.encode())
        if not hang:
            channel.basic_ack(method.delivery_tag)

    channel.basic_consume(JOBS, work)
    channel.start_consuming()


def main():
    connection = connect()
    channel = connection.channel()
    fresh_queue(channel, JOBS, durable=True)
    fresh_queue(channel, DONE)
    reports = Collector(channel, DONE, auto_ack=True)
    workers = {}
    for name in ('a', 'b'):
        workers[name] = subprocess.Popen([sys.executable, __file__, name])
    try:
        say('workers wait:', counts(channel, JOBS, 0, 2))
        for number in range(COUNT):
            channel.basic_publish('', JOBS, b'job %d' % number)
        wait_until(lambda: len(reports.got) == COUNT, 'all but one job', connection)
        holders = [body for body in reports.bodies() if 'holds' in body]
        say('killed while it', holders[0][2:])
        victim = workers.pop(holders[0][0])
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait()
        wait_until(lambda: len(reports.got) == COUNT + 1, 'the job of the dead worker', connection)
        jobs = sorted((body[2:] for body in reports.bodies()),
                      key=lambda report: (int(report.split()[2]), report))
        for job in jobs:
            say(job)
        say('last:', reports.bodies()[-1][2:])
        say(JOBS, counts(channel, JOBS, 0, 1))
    finally:
        for process in workers.values():
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    channel.queue_delete(JOBS)
    channel.queue_delete(DONE)
    connection.close()


if __name__ == '__main__':
    worker(sys.argv[1]) if len(sys.argv) > 1 else main()
