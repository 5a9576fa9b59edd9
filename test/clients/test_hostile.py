"""Clients that are not of good will, against a live node: it keeps answering others, and its memory stays bounded."""
import random
import resource
import socket
import struct
import time

import confluent_kafka
import pytest

from node import ROOT, Node

MEMORY = 256  # MiB, of the node; an eighth of it is for what is on its way


@pytest.fixture(scope="module")
def small_node(tmp_path_factory):
    started = Node(tmp_path_factory.mktemp("node") / "data", "--memory", f"{MEMORY}MiB")
    yield started
    started.stop()


def connect(node):
    host, port = node.kafka.split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def frame(key, version, body=b"", correlation=1, client=b"hostile"):
    head = struct.pack(">hhih", key, version, correlation, len(client)) + client
    return struct.pack(">i", len(head) + len(body)) + head + body


def fetch_request(topic, bytes_max, partitions=1, wait_ms=0, offset=0):
    """Fetch, version 11: the last before compact fields."""
    parts = b"".join(struct.pack(">iiqqi", p, -1, offset, -1, bytes_max) for p in range(partitions))
    name = topic.encode()
    body = struct.pack(">iiiibii", -1, wait_ms, 1, bytes_max, 0, 0, -1) + struct.pack(">i", 1)
    body += struct.pack(">h", len(name)) + name + struct.pack(">i", partitions) + parts + struct.pack(">i", 0)
    return frame(1, 11, body + struct.pack(">h", 0))


def produce(node, topic, count, size, **settings):
    failed = []
    producer = confluent_kafka.Producer({"bootstrap.servers": node.kafka, "linger.ms": 5, **settings})
    for i in range(count):
        producer.produce(topic, b"x" * size, on_delivery=lambda e, m: failed.append(e) if e else None)
        producer.poll(0)
        if i % 500 == 0:
            producer.flush(60)
    assert producer.flush(120) == 0
    assert not failed, failed[0]


def answers_others(node, topic="witness"):
    """A client of good will is served."""
    produce(node, topic, 10, 100)
    with connect(node) as client:
        client.sendall(frame(18, 0))
        length, correlation = struct.unpack(">ii", client.recv(8, socket.MSG_WAITALL))
        assert correlation == 1
        assert len(client.recv(length - 4, socket.MSG_WAITALL)) == length - 4


def resident_mb(node):
    return node.memory_kb()["VmRSS"] / 1024


def test_a_frame_that_never_comes_whole(small_node):
    answers_others(small_node)
    before = resident_mb(small_node)
    with connect(small_node) as client:
        client.sendall(struct.pack(">i", 100 << 20) + b"\0" * 1000)
        answers_others(small_node)
        assert resident_mb(small_node) < before + 20
    # Many of them, with much more in them than the node may hold: it stops reading, and puts the stalled ones out.
    clients = [connect(small_node) for _ in range(40)]
    chunk = b"\0" * (1 << 20)
    for client in clients:
        client.setblocking(False)
        try:
            client.send(struct.pack(">i", 100 << 20))
            for _ in range(20):
                client.send(chunk)
        except (BlockingIOError, ConnectionError):
            pass
    for _ in range(5):
        answers_others(small_node)
    assert resident_mb(small_node) < before + MEMORY
    for client in clients:
        client.close()


def test_a_client_that_sends_and_does_not_read(small_node):
    produce(small_node, "large", 2000, 20_000)
    before = resident_mb(small_node)
    clients = [connect(small_node) for _ in range(30)]
    for client in clients:
        client.setblocking(False)
        try:
            for _ in range(200):
                client.send(fetch_request("large", 50 << 20))
        except (BlockingIOError, ConnectionError):
            pass
    for _ in range(5):
        answers_others(small_node)
    assert resident_mb(small_node) < before + MEMORY / 2
    for client in clients:
        client.close()


def test_a_thousand_connections(small_node):
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    produce(small_node, "idle", 10, 100)
    before = resident_mb(small_node)
    clients = [connect(small_node) for _ in range(1000)]
    for client in clients:
        client.sendall(frame(18, 0))
    for client in clients:
        length, = struct.unpack(">i", client.recv(4, socket.MSG_WAITALL))
        client.recv(length, socket.MSG_WAITALL)
    for client in clients:  # and each waits for what comes
        client.sendall(fetch_request("idle", 1 << 20, wait_ms=60_000, offset=10))
    answers_others(small_node)
    time.sleep(1)
    grown = resident_mb(small_node) - before
    print(f"1,000 connections with a fetch waiting: {grown:.1f} MB")
    assert grown < 40
    produce(small_node, "idle", 1, 100)
    for client in clients:
        length, = struct.unpack(">i", client.recv(4, socket.MSG_WAITALL))
        assert length > 100
        client.close()


@pytest.mark.parametrize("seed", range(4))
def test_mutated_requests(small_node, seed):
    """Requests of real clients, with errors in them."""
    chance = random.Random(seed)
    requests = real_requests()
    assert len(requests) > 10
    end = time.monotonic() + 10
    sent = 0
    before = resident_mb(small_node)
    while time.monotonic() < end:
        with connect(small_node) as client:
            client.settimeout(5)
            try:
                for _ in range(20):
                    client.sendall(mutate(chance, chance.choice(requests)))
                    sent += 1
            except OSError:
                pass
    print(f"{sent} mutated requests")
    assert sent > 100
    answers_others(small_node)
    assert resident_mb(small_node) < before + MEMORY


def mutate(chance, request):
    """The same request with bytes changed, left out, doubled, or cut off; its length is made right most of the time."""
    body = bytearray(request[4:])
    for _ in range(chance.choice((1, 1, 2, 8))):
        if len(body) < 5:
            break
        at = chance.randrange(min(2, len(body) - 1), len(body))
        kind = chance.randrange(5)
        if kind == 0:
            body[at] = chance.randrange(256)
        elif kind == 1:
            body[at:at + 4] = chance.choice((b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x80\0\0\0"))
        elif kind == 2:
            del body[at:at + chance.randrange(1, 9)]
        elif kind == 3:
            body[at:at] = body[at:at + chance.randrange(1, 100)]
        else:
            body[3] = chance.randrange(20)  # another version
    length = len(body) if chance.random() < 0.95 else chance.randrange(-2, 1 << 31)
    return struct.pack(">i", min(length, (1 << 31) - 1)) + bytes(body)


def real_requests():
    """Requests of real clients, as the codecs' tests have them, and some of older versions."""
    frames = [bytes.fromhex(path.read_text()) for path in sorted((ROOT / "src/kafka/testdata").glob("*-request.*"))]
    return [struct.pack(">i", len(f)) + f for f in frames] + [
        fetch_request("mutated", 1 << 20), frame(18, 0), frame(3, 1, struct.pack(">i", -1)),
        frame(2, 1, struct.pack(">iih7siiq", -1, 1, 7, b"mutated", 1, 0, -1)),
        frame(10, 0, struct.pack(">h7s", 7, b"mutated")), frame(22, 0, struct.pack(">hi", -1, 1000))]


def test_the_node_still_runs(small_node):
    answers_others(small_node)
    assert small_node.process.poll() is None
