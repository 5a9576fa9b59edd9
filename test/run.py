#!/usr/bin/env python3
"""Every test: unit tests (ctest), then pytest: the house rules, the guest SDKs, and what talks to a node through real clients.

Prints a line a part while it runs, and at the end `N passed, N failed`; the exit code is 0 when nothing failed.
"""
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "release"
TIMEOUT = int(os.environ.get("MR_TEST_TIMEOUT", "300"))  # of one program of unit tests, in seconds
FAILED = []  # named once more at the end, below what each of them printed


def run(name, command, count, **environment):
    """Runs one part; `count` finds (passed, failed) in its output."""
    began = time.monotonic()
    try:
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                              env=os.environ | environment, timeout=max(20 * 60, 2 * TIMEOUT))
    except subprocess.TimeoutExpired as late:
        print((late.stdout or b"").decode(errors="replace"), flush=True)
        FAILED.append(f"{name}: not done after {late.timeout // 60} minutes")
        return 0, 1
    passed, failed = count(done.stdout)
    if done.returncode != 0 and failed == 0:
        failed = 1  # it died, or a runner counted nothing
    if failed:
        print(done.stdout)
        FAILED.extend(re.findall(r"^(?:FAILED|ERROR) \S+|^\[  FAILED  \] \w\S*(?= \(\d)", done.stdout, re.M) or [f"{name}: exit code {done.returncode}"])
    print(f"{name}: {passed} passed, {failed} failed, {time.monotonic() - began:.0f} s", flush=True)
    return passed, failed


def count_pytest(text):
    # A client's last words may come after pytest's summary.
    summaries = re.findall(r"^=* ?((?:\d+ \w+, )*\d+ \w+) in [\d.]+s", text, re.M)
    found = lambda word: sum(map(int, re.findall(rf"(\d+) {word}", summaries[-1] if summaries else "")))
    return found("passed"), found("failed") + found("errors?")


def count_ctest(text):
    total = re.search(r"(\d+)% tests passed, (\d+) tests? failed out of (\d+)", text)
    return (int(total[3]) - int(total[2]), int(total[2])) if total else (0, 0)


def java_environment():
    """Apache Kafka's tools and the JDBC driver, by Maven, pinned in test/java/*.xml; kept in build/deps."""
    libs = ROOT / "build" / "deps" / "java"
    subprocess.run([ROOT / "test" / "java" / "setup.sh", libs], check=True)
    return {"KAFKA_LIBS": str(libs / "kafka"), "PGJDBC_JAR": str(next((libs / "pgjdbc").glob("postgresql-*.jar")))}


# Those that take longest begin first.
LONG = ("house_rules_test.py", "test_share_groups.py", "test_log_cleaning.py", "test_connectors.py", "test_transactions.py", "test_groups_848.py")


def run_pytest():
    """The house rules, the guest SDKs and the files of test/clients, three at a time: most of these mostly wait, for a Java
    machine to start or a lease to end."""
    environment = java_environment()
    files = sorted([*(ROOT / "test").glob("*_test.py"), *(ROOT / "test" / "clients").glob("test_*.py")],
                   key=lambda f: (LONG.index(f.name) if f.name in LONG else len(LONG), f.name))

    def one(file):
        return run(file.name, [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)], count_pytest, **environment)

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        return list(pool.map(one, files))


def main():
    parts = [
        run("unit tests", ["ctest", "--test-dir", str(BUILD), "--output-on-failure", "-j2", "--timeout", str(TIMEOUT)], count_ctest),
        *run_pytest(),
    ]
    passed, failed = map(sum, zip(*parts))
    for each in FAILED:
        print(each)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
