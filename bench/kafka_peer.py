"""A real Apache Kafka, one node, as a peer to measure against; and Kafka's own perf tools, against any broker."""
import os
import pathlib
import re
import socket
import subprocess
import time

HEAP = ["-Xms1g", "-Xmx1g", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35"]
TOOL_HEAP = ["-Xmx512m"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def libs():
    return pathlib.Path(os.environ["KAFKA_LIBS"])


def tool(main_class, *arguments, check=True):
    return subprocess.run(["java", *TOOL_HEAP, "-Dlog4j2.level=ERROR", "-cp", f"{libs()}/*", main_class, *map(str, arguments)], check=check,
                          capture_output=True, text=True)


def create_topic(address, name, **configs):
    options = [x for k, v in configs.items() for x in ("--config", f"{k.replace('_', '.')}={v}")]
    tool("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", address, "--create", "--topic", name, "--partitions", 1,
         "--replication-factor", 1, *options)


def perf_produce(address, topic, records, size, throughput=-1, acks="all"):
    """{records_s, mb_s, p50_ms, p99_ms} as Kafka's producer perf tool measures it."""
    out = tool("org.apache.kafka.tools.ProducerPerformance", "--topic", topic, "--num-records", records, "--record-size", size,
               "--throughput", throughput, "--command-property", f"bootstrap.servers={address}", f"acks={acks}").stdout
    found = re.search(r"([\d.]+) records/sec \(([\d.]+) MB/sec\), .* (\d+) ms 50th, \d+ ms 95th, (\d+) ms 99th", out.splitlines()[-1])
    return {"records_s": float(found[1]), "mb_s": float(found[2]), "p50_ms": int(found[3]), "p99_ms": int(found[4])}


def perf_consume(address, topic, records):
    """{records_s, mb_s} as Kafka's consumer perf tool measures the fetch itself."""
    out = tool("org.apache.kafka.tools.ConsumerPerformance", "--topic", topic, "--num-records", records, "--bootstrap-server", address,
               "--timeout", 60_000).stdout
    fields = [field.strip() for field in out.strip().splitlines()[-1].split(",")]
    return {"records_s": float(fields[9]), "mb_s": float(fields[8])}


class Kafka:
    """Apache Kafka 4.3.1 in KRaft mode over the folder `data`; `more` are further lines of server.properties, with _ for a dot."""

    def __init__(self, data, **more):
        data = pathlib.Path(data)
        data.mkdir(parents=True)
        port, controller = free_port(), free_port()
        self.kafka = f"127.0.0.1:{port}"
        properties = data / "server.properties"
        properties.write_text(f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}/log
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
""" + "".join(f"{k.replace('_', '.')}={v}\n" for k, v in more.items()))
        identity = tool("kafka.tools.StorageTool", "random-uuid").stdout.split()[-1]
        tool("kafka.tools.StorageTool", "format", "-t", identity, "-c", properties)
        self.data = data
        self.start()

    def start(self):
        """Also after kill(), at the same address."""
        began = time.monotonic()
        with open(self.data / "stdout.log", "ab") as log:
            self.process = subprocess.Popen(["java", *HEAP, f"-Dkafka.logs.dir={self.data}", "-Dlog4j2.level=ERROR", "-cp", f"{libs()}/*",
                                             "kafka.Kafka", self.data / "server.properties"], stdout=log, stderr=log)
        self.pid = self.process.pid
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() - began > 90:
                raise RuntimeError(f"Kafka did not start: {self.data}/stdout.log")
            time.sleep(0.02)
        self.ready_seconds = time.monotonic() - began

    def answers(self):
        """Whether a Metadata v1 request is answered with a broker."""
        import struct
        body = struct.pack(">hhih", 3, 1, 7, 5) + b"probe" + struct.pack(">i", 0)
        host, port = self.kafka.split(":")
        try:
            with socket.create_connection((host, int(port)), 1) as s:
                s.settimeout(2)
                s.sendall(struct.pack(">i", len(body)) + body)
                data = b""
                while len(data) < 12:
                    more = s.recv(65536)
                    if not more:
                        return False
                    data += more
                return struct.unpack(">i", data[8:12])[0] >= 1
        except OSError:
            return False

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) / 1024
