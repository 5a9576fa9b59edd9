"""What the suites in Python share: a case is a function of a Case; main() runs the named ones, several at a time, and prints a
JSON line for each: {"case", "ok", "detail", "seconds"}."""
import concurrent.futures
import json
import os
import sys
import threading
import time
import traceback

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
CASES = {}
CASE_SECONDS = 120
TOGETHER = 8  # most of a case is waiting: for a rebalance, a heartbeat, a timeout
_print_lock = threading.Lock()


def case(function):
    CASES[function.__name__] = function
    return function


class Case:
    """One run of one case: the broker's address, and names that no other case and no earlier run has."""

    def __init__(self, bootstrap, suite, name):
        self.bootstrap = bootstrap
        self.name = f"{suite}-{name}-{os.getpid()}".replace("_", "-")
        self.topic = self.name
        self.group = f"{self.name}-group"
        self.transactional_id = f"{self.name}-tx"


def wait_until(condition, seconds=60, what="the condition"):
    """Waits until condition() is true; gives its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true in {seconds} s")
        time.sleep(0.05)


def expect(found, wanted, what=""):
    if found != wanted:
        raise AssertionError(f"{what}: found {shorten(found)}, expected {shorten(wanted)}")


def shorten(value):
    text = repr(value)
    return text if len(text) < 400 else text[:400] + "..."


def _report(name, began, error=None):
    with _print_lock:
        print(json.dumps({"case": name, "ok": error is None, "detail": error or "", "seconds": round(time.monotonic() - began, 1)}), flush=True)


def _run(function, case, name, threads):
    began = time.monotonic()
    threads[name] = (threading.get_ident(), began)
    try:
        function(case)
        error = None
    except BaseException:
        error = traceback.format_exc()
    if threads.pop(name, None):
        _report(name, began, error)


def main(suite):
    bootstrap, names = sys.argv[1], sys.argv[2:] or list(CASES)
    threads = {}
    pool = concurrent.futures.ThreadPoolExecutor(TOGETHER)
    pending = {pool.submit(_run, CASES[name], Case(bootstrap, suite, name), name, threads) for name in names}
    while pending:
        pending = concurrent.futures.wait(pending, 1, concurrent.futures.FIRST_COMPLETED).not_done
        for name, (thread, began) in list(threads.items()):
            if time.monotonic() - began > CASE_SECONDS and threads.pop(name, None):
                stack = "".join(traceback.format_stack(sys._current_frames()[thread]))
                _report(name, began, f"not done after {CASE_SECONDS} s; it is at\n{stack}")
        if pending and all(future.running() for future in pending) and not threads:
            break  # what still runs was reported as too late
    sys.stdout.flush()
    os._exit(0)
