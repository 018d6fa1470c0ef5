"""A Celery worker is killed in the middle of a task that is acknowledged late: another does it.
"""

import os
import time

os.environ['INTEROP_CELERY_QUEUE'] = 'interop.celery.killed'

from libtasks import (SCRATCH, WAIT_S, add, clear, hang_once, kill_worker,  # noqa: E402
                      worker_running)


def started():
    """What the task wrote so far: one word a delivery."""
    try:
        with open(os.path.join(SCRATCH, 'started'), encoding='ascii') as file:
            return file.read().split()
    except FileNotFoundError:
        return []


def main():
    clear()
    with worker_running('first', 1) as first:
        result = hang_once.delay()
        behind = [add.delay(n, n) for n in range(3)]
        deadline = time.monotonic() + WAIT_S
        while not started():
            if time.monotonic() > deadline:
                raise SystemExit('the task was never started')
            time.sleep(0.05)
        kill_worker(first)
    with worker_running('second', 1):
        print('result:', result.get(timeout=WAIT_S))
        print('those behind it:', [one.get(timeout=WAIT_S) for one in behind])
        print('started:', started())
    clear()


if __name__ == '__main__':
    main()
