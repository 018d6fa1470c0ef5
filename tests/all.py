#!/usr/bin/python3
"""Builds, and runs every test; ends with 'N passed, N failed'. Called by script/test.

    script/test [STEP...]      the steps below whose names contain one of the words; all by default

Two builds: build/ as users get it (with warnings as errors), and build-sanitize/ with address and
undefined-behaviour sanitizers, which also looks for leaks. Each step's full output is in
build/test-logs/STEP.log.
"""
import os
import re
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(TOP, "build")
SANITIZE = os.path.join(TOP, "build-sanitize")
LOGS = os.path.join(BUILD, "test-logs")
PYTHON = "/usr/bin/python3"

CHECK_LINE = re.compile(r"^\d+%: Checks: (\d+), Failures: (\d+), Errors: (\d+)", re.M)
PLAIN_LINE = re.compile(r"^(\d+) passed, (\d+) failed", re.M)
NO_UNIT_TESTS = ("unit", TOP, ["sh", "-c", "echo Check is not installed: no unit test was built; false"])
BAD_TEXT = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:")


def step_list():
    unit = [("unit " + os.path.basename(p), SANITIZE, [p])
            for p in programs(SANITIZE, "tests/unit")] or [NO_UNIT_TESTS]
    steps = unit + [
        ("layers", TOP, ["sh", "tests/layers.sh"]),
        ("fuzz corpus", SANITIZE, ["sh", os.path.join(TOP, "tests/fuzz_corpus.sh"), SANITIZE]),
        ("sim", SANITIZE, ["tests/sim/sim", "--seeds", "2000", "--operations", "500"]),
    ]
    for path in sorted(os.listdir(os.path.join(TOP, "tests/behaviour"))):
        if path.startswith("test_") and path.endswith(".py"):
            steps.append(("behaviour " + path[5:-3], SANITIZE,
                          [PYTHON, os.path.join(TOP, "tests/behaviour", path)]))
    steps += [
        ("install", BUILD, ["sh", os.path.join(TOP, "tests/install.sh")]),
        ("interop", BUILD, [PYTHON, os.path.join(TOP, "interop/run")]),
        ("crash", BUILD, [PYTHON, os.path.join(TOP, "tests/crash/crash.py")]),
        ("faults", BUILD, [PYTHON, os.path.join(TOP, "tests/faults/faults.py")]),
        ("faults full disk", BUILD, [PYTHON, os.path.join(TOP, "tests/faults/full.py")]),
        ("gate", BUILD, [PYTHON, os.path.join(TOP, "bench/gate.py")]),
    ]
    return steps


def programs(build, folder):
    directory = os.path.join(build, folder)
    if not os.path.isdir(directory):
        return []
    return sorted(os.path.join(directory, name) for name in os.listdir(directory)
                  if name.startswith("test_") and os.access(os.path.join(directory, name), os.X_OK)
                  and os.path.isfile(os.path.join(directory, name)) and "." not in name)


def build(directory, *options):
    subprocess.run([os.path.join(TOP, "script/build"), directory, "--enable-werror", *options],
                   check=True, cwd=TOP)
    subprocess.run(["make", f"-j{os.cpu_count()}", "--no-print-directory", "check", "TESTS="],
                   check=True, cwd=directory, stdout=subprocess.DEVNULL)


def count(text):
    """Passed and failed, from Check's summary or the plain line; the last plain line counts."""
    checks = CHECK_LINE.findall(text)
    if checks:
        total = sum(int(c) for c, _, _ in checks)
        bad = sum(int(f) + int(e) for _, f, e in checks)
        return total - bad, bad
    plain = PLAIN_LINE.findall(text)
    return (int(plain[-1][0]), int(plain[-1][1])) if plain else (0, 0)


def run(name, build_directory, command):
    environment = dict(os.environ, LEVERET_BUILD=build_directory, CK_VERBOSITY="normal",
                       ASAN_OPTIONS="detect_leaks=1:abort_on_error=0", srcdir=TOP)
    log = os.path.join(LOGS, name.replace(" ", "-").replace("/", "-") + ".log")
    begun = time.monotonic()
    with open(log, "w", encoding="utf-8") as out:
        status = subprocess.run(command, cwd=build_directory, env=environment, stdout=out,
                                stderr=subprocess.STDOUT, check=False).returncode
    with open(log, encoding="utf-8", errors="replace") as read:
        text = read.read()
    passed, failed = count(text)
    if failed == 0 and (status != 0 or passed == 0 or any(bad in text for bad in BAD_TEXT)):
        failed = 1
    print(f"{'ok  ' if not failed else 'FAIL'} {name}: {passed} passed, {failed} failed "
          f"({time.monotonic() - begun:.1f} s)", flush=True)
    if failed:
        print("".join("    " + line + "\n" for line in text.splitlines()[-40:]), flush=True)
    return passed, failed


def main():
    words = sys.argv[1:]
    build(BUILD)
    build(SANITIZE, "--enable-sanitize", "CFLAGS=-O1 -g")
    os.makedirs(LOGS, exist_ok=True)
    passed = failed = 0
    for name, directory, command in step_list():
        if words and not any(word in name for word in words):
            continue
        result = run(name, directory, command)
        passed += result[0]
        failed += result[1]
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
