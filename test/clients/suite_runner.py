"""Runs a suite's program (see suites/README.md) and tells each of its cases as a test."""
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent / "suites"


def cases(source, pattern):
    """The names of the cases, read where they are written."""
    found = re.findall(pattern, (HERE / source).read_text(), re.M)
    assert found, f"no case in {source}"
    return found


def python_cases(*sources):
    return [name for source in sources for name in cases(source, r"^@case\n(?:async )?def (\w+)")]


def python_suite(source):
    return lambda request: ([sys.executable, HERE / source], {})


class Results:
    """One run of a program over some cases; check() waits for one of them."""

    def __init__(self, command, target, names, scratch, seconds=600, **environment):
        self.target = target
        self.end = time.monotonic() + seconds
        self.found = {}
        self.changed = threading.Condition()
        self.stderr = scratch / "stderr.txt"
        with open(self.stderr, "wb") as stderr:
            self.process = subprocess.Popen([*map(str, command), target.kafka, *names], stdout=subprocess.PIPE, stderr=stderr, text=True,
                                            cwd=scratch, env=os.environ | environment)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                result = json.loads(line)
                with self.changed:
                    self.found[result["case"]] = result
                    self.changed.notify_all()
        self.process.wait()
        with self.changed:
            self.changed.notify_all()

    def check(self, case):
        with self.changed:
            self.changed.wait_for(lambda: case in self.found or self.process.poll() is not None, max(1, self.end - time.monotonic()))
            if case not in self.found:
                self.changed.wait(1)  # the last lines of a program that just ended
            result = self.found.get(case)
        if not result:
            raise AssertionError(f"{case}: no result; the program {self.process.poll()}; its stderr ends with\n{self.tail()}")
        assert result["ok"], f"{case} against {self.target.name}: {result['detail']}\n--- stderr of the program ends with\n{self.tail()}"

    def tail(self):
        return self.stderr.read_text(errors="replace")[-3000:]

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join(10)
        self.process.stdout.close()


def selected(request):
    """The cases of this module that pytest is about to run (so that -k saves time)."""
    module = request.node.nodeid
    return [item.callspec.params["case"] for item in request.session.items if item.nodeid.startswith(module) and "case" in item.callspec.params]
