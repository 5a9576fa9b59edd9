#!/usr/bin/env python3
"""Every test: unit tests (ctest), the house rules, then the tests that talk to a node through real clients.

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


def run(name, command, count, **environment):
    """Runs one part; `count` finds (passed, failed) in its output."""
    began = time.monotonic()
    try:
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                              env=os.environ | environment, timeout=20 * 60)
    except subprocess.TimeoutExpired as late:
        print((late.stdout or b"").decode(errors="replace"), f"\n   {name}: not done after 20 minutes", flush=True)
        return 0, 1
    passed, failed = count(done.stdout)
    if done.returncode != 0 and failed == 0:
        failed = 1  # it died, or a runner counted nothing
    if failed:
        print(done.stdout)
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
LONG = ("test_share_groups.py", "test_log_cleaning.py", "test_groups_848.py", "test_transactions.py", "test_kafka_clients.py")


def run_clients():
    """The files of test/clients, two at a time: they mostly wait, for a Java machine to start or a lease to end."""
    environment = java_environment()
    files = sorted((ROOT / "test" / "clients").glob("test_*.py"), key=lambda f: (f.name not in LONG, f.name))

    def one(file):
        return run(file.name, [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)], count_pytest, **environment)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, files))


def main():
    parts = [
        run("unit tests", ["ctest", "--test-dir", str(BUILD), "--output-on-failure", "-j2", "--timeout", "300"], count_ctest),
        run("house rules", [sys.executable, "-m", "pytest", "-q", "test/house_rules_test.py"], count_pytest),
        run("guest SDKs", [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test/sdk_test.py"], count_pytest),
        *run_clients(),
    ]
    passed, failed = map(sum, zip(*parts))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
