"""The Celery application of the celery programs: its configuration, its tasks, its workers.

Celery's monitoring needs queues that expire (x-expires, x-message-ttl), which a broker may refuse;
work and results do not. So workers run without events, gossip, mingle and remote control, and
results do not expire. What remains is what most applications live on: a durable task queue,
acknowledgements, a prefetch window that Celery moves while it runs, reply queues, redelivery.
"""

import contextlib
import datetime
import os
import signal
import subprocess
import sys
import tempfile
import time

from celery import Celery
from kombu import Exchange, Queue

QUEUE = os.environ.get('INTEROP_CELERY_QUEUE', 'interop.celery')
SCRATCH = os.environ.get('INTEROP_SCRATCH') or tempfile.mkdtemp()
HERE = os.path.dirname(os.path.abspath(__file__))
WAIT_S = 40

app = Celery('interop')
app.conf.update(
    broker_url='amqp://guest:guest@127.0.0.1:%s//' % os.environ['AMQP_PORT'],
    result_backend=os.environ.get('INTEROP_CELERY_RESULTS', 'rpc://'),
    result_expires=None,
    task_queues=[Queue(QUEUE, Exchange(QUEUE, 'direct'), QUEUE)],
    task_default_queue=QUEUE, task_default_exchange=QUEUE, task_default_routing_key=QUEUE,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    worker_prefetch_multiplier=1,
    # A worker hands a task whose time has come to its pool at the next turn of its loop, which
    # without any other event is up to five seconds later; the heartbeat check makes it turn.
    broker_heartbeat=10, broker_heartbeat_checkrate=100,
)


@app.task
def add(x, y):
    return x + y


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def echo(value):
    return value


@app.task
def fail(text):
    raise ValueError(text)


@app.task(bind=True, max_retries=5)
def flaky(self, failures):
    """Succeeds at last; says how often it was tried."""
    if self.request.retries < failures:
        raise self.retry(countdown=0.1)
    return self.request.retries


@app.task
def when():
    return time.time()


@app.task(bind=True, acks_late=True)
def hang_once(self):
    """Never ends on its first delivery; says whether this one is a redelivery."""
    redelivered = self.request.delivery_info['redelivered']
    with open(os.path.join(SCRATCH, 'started'), 'a', encoding='ascii') as file:
        file.write('again\n' if redelivered else 'first\n')
    while not redelivered:
        time.sleep(0.1)
    return 'redelivered'


def start_worker(name, concurrency=2):
    """A worker process of its own, in a process group of its own."""
    log = open(os.path.join(SCRATCH, name + '.log'), 'wb')
    return subprocess.Popen(
        [sys.executable, '-m', 'celery', '-A', 'libtasks', 'worker', '--loglevel', 'INFO',
         '--hostname', name + '@interop', '--concurrency', str(concurrency), '--without-gossip',
         '--without-mingle', '--without-heartbeat'],
        env=dict(os.environ, PYTHONPATH=HERE), cwd=SCRATCH, stdin=subprocess.DEVNULL, stdout=log,
        stderr=subprocess.STDOUT, start_new_session=True)


def kill_worker(worker):
    """Kills the worker with all its children: nothing is closed, nothing is acknowledged."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()


@contextlib.contextmanager
def worker_running(name, concurrency=2):
    """A worker for the block; its log goes to stderr if the block fails.

    It is killed at the end: a warm shutdown that comes right after a result makes Celery's process
    pool wait for ever now and then, whatever the broker.
    """
    worker = start_worker(name, concurrency)
    try:
        yield worker
    except BaseException:
        with open(os.path.join(SCRATCH, name + '.log'), encoding='utf-8') as log:
            sys.stderr.write(log.read())
        raise
    finally:
        kill_worker(worker)


def clear():
    """Deletes the task queue, with what an earlier run may have left in it."""
    with app.connection_for_write() as connection:
        connection.default_channel.queue_delete(QUEUE)
        connection.default_channel.exchange_delete(QUEUE)


def soon():
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)
