#!/usr/bin/python3
"""run.py - a small runner for test programs

A test program is a module with functions named test_*, ended by

    if __name__ == '__main__':
        run.main()

They run in the order they are written in; each prints `ok NAME`, `skip NAME: why` or
`FAIL NAME: reason`, and the last line is `N passed, N failed`. The exit status is 1 when a test
failed or none passed. Arguments select tests: `test_frames.py frame_end` runs those whose names
contain the word. An optional setup() runs before the first test and teardown() after the last; a
failure of either is a failed test.

Tests that mostly wait (for a timeout of the broker, say) are marked @run.parallel: neighbours with
that mark run at the same time, in threads.
"""

import os
import signal
import sys
import threading
import time
import traceback


class Skip(Exception):
    """Raised by a test which cannot be asked of this broker; says why."""


def skip(why):
    """End the running test without a verdict."""
    raise Skip(why)


def parallel(test):
    """Mark a test that may run at the same time as its marked neighbours."""
    test.parallel = True
    return test


def check(condition, reason):
    """Fail with a reason unless a condition holds."""
    if not condition:
        raise AssertionError(reason)


def check_equal(got, want, what='value'):
    """Fail unless two values are equal, and show both."""
    if got != want:
        raise AssertionError('%s is %s, expected %s' % (what, _short(got), _short(want)))


def _short(value):
    text = repr(value)
    return text if len(text) <= 400 else '%s... (%d characters)' % (text[:400], len(text))


def wait_for(condition, what, timeout_s=10, pause_s=0.02):
    """Wait until condition() is true and return what it returned; fail when it never is."""
    bound = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > bound:
            raise AssertionError('%s did not happen in %g s' % (what, timeout_s))
        time.sleep(pause_s)


def each_at_once(function, cases):
    """Call function(*case) for every case, each in a thread; raise the first failure."""
    failures = []

    def call(case):
        try:
            function(*case)
        except BaseException as failure:    # handed to the caller's thread below
            failures.append((case, failure))

    threads = [threading.Thread(target=call, args=(case,), daemon=True) for case in cases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        case, failure = failures[0]
        raise AssertionError('case %s: %s: %s' % (_short(case), type(failure).__name__,
                                                  failure)) from failure


def _reason(failure):
    """One line for a failure: what it says and where the test was."""
    text = str(failure) or type(failure).__name__
    if not isinstance(failure, AssertionError):
        text = '%s: %s' % (type(failure).__name__, failure)
    here = os.path.dirname(os.path.abspath(__file__))
    frames = [frame for frame in traceback.extract_tb(failure.__traceback__)
              if os.path.dirname(os.path.abspath(frame.filename)) != here]
    if frames:
        text += ' (%s:%d)' % (os.path.basename(frames[-1].filename), frames[-1].lineno)
    return text


class _Result:
    def __init__(self, name):
        self.name = name
        self.verdict = 'FAIL'
        self.reason = 'did not end'
        self.seconds = 0.0

    def run(self, function):
        """Call a test and remember how it went."""
        began = time.monotonic()
        try:
            function()
            self.verdict, self.reason = 'ok', ''
        except Skip as why:
            self.verdict, self.reason = 'skip', str(why)
        except Exception as failure:        # any failure of a test is a verdict
            self.reason = _reason(failure)
            if os.environ.get('LEVERET_TRACE'):
                traceback.print_exc()
        self.seconds = time.monotonic() - began

    def print(self):
        """Print the line of this test."""
        line = '%s %s' % (self.verdict, self.name)
        if self.reason:
            line += ': ' + self.reason
        if self.seconds >= 1:
            line += ' [%.1f s]' % self.seconds
        print(line, flush=True)


def _groups(tests):
    """Split tests into single ones and runs of parallel neighbours."""
    group = []
    for test in tests:
        if getattr(test, 'parallel', False):
            group.append(test)
            continue
        if group:
            yield group
            group = []
        yield [test]
    if group:
        yield group


def _run_group(group):
    results = [_Result(test.__name__) for test in group]
    if len(group) == 1:
        results[0].run(group[0])
    else:
        threads = [threading.Thread(target=result.run, args=(test,), daemon=True)
                   for result, test in zip(results, group)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for result in results:
        result.print()
    return results


def _run_step(name, function):
    """Run setup or teardown: silent unless it fails, a skip skips the whole program."""
    result = _Result(name)
    result.run(function)
    if result.verdict != 'ok':
        result.print()
    return result


def main(module=None, argv=None):
    """Run a module's tests (default: the main program's) and exit with 0 or 1."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))     # so that atexit runs
    module = module or sys.modules['__main__']
    words = sys.argv[1:] if argv is None else argv
    tests = [thing for name, thing in vars(module).items()
             if name.startswith('test_') and callable(thing)
             and (not words or any(word in name for word in words))]
    results = []
    setup = getattr(module, 'setup', None)
    begun = _run_step('setup', setup) if setup and tests else None
    if begun and begun.verdict == 'FAIL':
        results.append(begun)
    if not begun or begun.verdict == 'ok':
        for group in _groups(tests):
            results += _run_group(group)
    teardown = getattr(module, 'teardown', None)
    if teardown and tests:
        ended = _run_step('teardown', teardown)
        if ended.verdict == 'FAIL':
            results.append(ended)
    passed = sum(result.verdict == 'ok' for result in results)
    failed = sum(result.verdict == 'FAIL' for result in results)
    print('%d passed, %d failed' % (passed, failed), flush=True)
    sys.exit(0 if passed and not failed else 1)
