"""Celery chords: many tasks, then one with all their results; the results are kept in files.

Without a database Celery polls for the end of the chord with a task that re-sends itself, which
makes the broker carry many short delayed messages.
"""

import os
import tempfile

RESULTS = tempfile.mkdtemp(dir=os.environ.get('INTEROP_SCRATCH'))
os.environ['INTEROP_CELERY_QUEUE'] = 'interop.celery.chord'
os.environ['INTEROP_CELERY_RESULTS'] = 'file://' + RESULTS

from celery import chord  # noqa: E402
from libtasks import WAIT_S, add, clear, total, worker_running  # noqa: E402


def main():
    clear()
    with worker_running('chord'):
        print('chord:', chord([add.s(n, n) for n in range(10)], total.s())().get(timeout=WAIT_S))
        nested = chord([chord([add.s(1, 1), add.s(2, 2)], total.s()), add.s(4, 4)], total.s())
        print('chord of a chord:', nested().get(timeout=WAIT_S))
    clear()


if __name__ == '__main__':
    main()
