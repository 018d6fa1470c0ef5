"""Celery end to end: a worker process runs tasks, results come back over a reply queue (rpc://).

Also failures, retries, tasks for later (ETA: Celery widens its prefetch window for those while they
wait), tasks that have expired, groups and chains.
"""

import os
import time

os.environ['INTEROP_CELERY_QUEUE'] = 'interop.celery.tasks'

from celery import chain, group  # noqa: E402
from libtasks import (WAIT_S, add, clear, echo, fail, flaky, soon, when,  # noqa: E402
                      worker_running)


def get(result):
    return result.get(timeout=WAIT_S)


def tasks():
    print('add:', get(add.delay(2, 3)))
    print('echo:', get(echo.delay({'text': 'zając', 'none': None, 'list': [1, 2.5, True]})))
    print('large:', len(get(echo.delay('x' * 300000))))
    failed = fail.delay('no hare today')
    try:
        get(failed)
    except ValueError as error:
        print('fail:', type(error).__name__, error, failed.state)
    print('flaky: succeeded at retry', get(flaky.delay(3)))
    print('twenty:', [get(result) for result in [add.delay(n, n) for n in range(20)]])


def later():
    asked = time.time()
    delayed = [when.apply_async(eta=soon()) for _ in range(4)]
    print('meanwhile:', get(add.delay(1, 1)))
    print('not before their time:', all(get(result) - asked > 0.9 for result in delayed))
    expired = add.apply_async((1, 1), expires=-1)
    try:
        get(expired)
    except Exception as error:
        print('expired:', type(error).__name__, expired.state)


def canvas():
    print('group:', get(group(add.s(n, 1) for n in range(6))()))
    print('chain:', get(chain(add.s(1, 2), add.s(10), add.s(100))()))


def main():
    clear()
    with worker_running('tasks'):
        tasks()
        later()
        canvas()
    clear()


if __name__ == '__main__':
    main()
