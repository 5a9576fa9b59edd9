"""A Millrace node as a process, for tests and benchmarks."""
import json
import os
import pathlib
import signal
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = pathlib.Path(os.environ.get("MILLRACE", ROOT / "build" / "millrace"))


class Node:
    """Starts `millrace serve` over the folder `data` on free ports, and waits until it is ready. start() after kill() or stop()
    takes the same ports again. `under`: a command that starts it, as `nice`."""

    def __init__(self, data, *flags, cwd=ROOT, under=(), binary=BINARY):
        self.data = pathlib.Path(data)
        self.binary = binary
        self.flags = flags
        self.under = under
        self.cwd = cwd
        self.kafka = self.pg = self.http = "127.0.0.1:0"
        self.start()

    def start(self):
        self.data.mkdir(parents=True, exist_ok=True)
        (self.data / "node.json").unlink(missing_ok=True)
        self.log_path = self.data.with_name(self.data.name + ".log")
        began = time.monotonic()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*self.under, self.binary, "serve", "--data", self.data, "--kafka", self.kafka, "--pg", self.pg, "--http", self.http, *self.flags],
                stdout=log, stderr=log, cwd=self.cwd)
        while not (self.data / "node.json").exists():
            if self.process.poll() is not None:
                raise RuntimeError(f"the node ended with {self.process.returncode}:\n{self.log()}")
            if time.monotonic() - began > 120:
                raise RuntimeError(f"the node is not ready after 120 s:\n{self.log()}")
            time.sleep(0.002)
        self.ready_seconds = time.monotonic() - began
        addresses = json.loads((self.data / "node.json").read_text())
        self.pid, self.kafka, self.pg, self.http = (addresses[k] for k in ("pid", "kafka", "pg", "http"))

    def log(self):
        return self.log_path.read_text(errors="replace")

    def kill(self):
        """As a power cut of the process: kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """SIGTERM; it must end by itself, with 0."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise RuntimeError(f"the node did not stop in 60 s:\n{self.log()}") from None
        if self.process.returncode not in (0, -signal.SIGKILL):
            raise RuntimeError(f"the node ended with {self.process.returncode}:\n{self.log()}")

    def cli(self, *arguments, check=True, **more):
        """Runs a client command of the binary against this node; gives the finished process, output as text."""
        return subprocess.run([BINARY, *arguments, "--data", str(self.data)], check=check, text=True, capture_output=True, cwd=self.cwd, **more)

    def memory_kb(self):
        """{VmRSS, RssAnon, VmHWM} of the process."""
        lines = pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {k: int(v.split()[0]) for k, v in (line.split(":", 1) for line in lines) if k in ("VmRSS", "RssAnon", "VmHWM")}

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class HardLimit:
    """A control group that gives what is started under() it `mib` MiB of memory, the files that it maps included: what takes
    more is killed. `path` is None where this process may make none."""

    def __init__(self, name, mib):
        limit = str(mib << 20)
        for root, settings in (("/sys/fs/cgroup/memory", {"memory.limit_in_bytes": limit}), ("/sys/fs/cgroup", {"memory.max": limit})):
            self.path = pathlib.Path(root) / f"millrace-{name}-{os.getpid()}"
            try:
                self.path.mkdir()
                for setting, value in settings.items():
                    (self.path / setting).write_text(value)
                return
            except OSError:
                self.remove()
        self.path = None

    def under(self):
        return ["sh", "-c", f'echo $$ > {self.path}/cgroup.procs && exec "$@"', "sh"] if self.path else []

    def remove(self):
        """When nothing runs under it any more."""
        if self.path and self.path.exists():
            self.path.rmdir()


def wait_until(condition, seconds=60, what="the condition"):
    """Waits until condition() is true; gives its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true in {seconds} s")
        time.sleep(0.02)
