"""Unmodified Kafka clients against a node: kcat and confluent-kafka (librdkafka), and Apache Kafka's own tools (Java)."""
import itertools
import socket
import struct
import subprocess
import threading
import time

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions,
                                   NewTopic, OffsetSpec)
from node import wait_until

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
_numbers = itertools.count()


@pytest.fixture
def topic():
    """A topic's name that no other test has."""
    return f"kafka-clients-{next(_numbers)}"


@pytest.fixture
def admin(node):
    return AdminClient({"bootstrap.servers": node.kafka})


def kcat(node, *arguments, stdin=None):
    return subprocess.run(["kcat", "-b", node.kafka, *arguments], input=stdin, text=True, capture_output=True, timeout=60,
                          check=True).stdout


def java(kafka_libs, tool, *arguments, check=True):
    done = subprocess.run(["java", "-Xmx256m", "-cp", f"{kafka_libs}/*", tool, *map(str, arguments)], text=True,
                          capture_output=True, timeout=120)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def create(admin, name, partitions=1, **config):
    admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(30)


def produce(node, name, values, **config):
    """Produces `values` to the partitions by key, all acked; gives the offsets by partition."""
    acked, errors = {}, []

    def on_delivery(error, message):
        if error:
            errors.append(error)
        else:
            acked.setdefault(message.partition(), []).append(message.offset())

    producer = Producer({"bootstrap.servers": node.kafka, "linger.ms": 2, **config})
    for number, value in enumerate(values):
        while True:
            try:
                producer.produce(name, key=str(number), value=value, on_delivery=on_delivery)
                break
            except BufferError:
                producer.poll(0.05)
    assert producer.flush(60) == 0
    assert not errors, errors[0]
    return acked


def consume(node, name, partitions=1, start=OFFSET_BEGINNING, count=None):
    """Reads by assign(), without a group, to the end of each partition (or `count` messages)."""
    consumer = Consumer({"bootstrap.servers": node.kafka, "group.id": "none", "enable.auto.commit": False,
                         "enable.partition.eof": True})
    consumer.assign([TopicPartition(name, p, start) for p in range(partitions)])
    messages, ended, deadline = [], set(), time.monotonic() + 60
    while time.monotonic() < deadline and len(ended) < partitions and (count is None or len(messages) < count):
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error():
            assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
            ended.add(message.partition())
        else:
            messages.append(message)
    consumer.close()
    return messages


# ---- kcat


@pytest.mark.parametrize("codec", CODECS)
def test_kcat_produces_and_consumes_in_every_codec(node, topic, codec):
    lines = "".join(f"key{i}:{codec} value {i}\n" for i in range(2000))
    kcat(node, "-P", "-t", topic, "-K", ":", "-z", codec, stdin=lines)
    assert kcat(node, "-C", "-t", topic, "-K", ":", "-e", "-q") == lines
    assert kcat(node, "-Q", "-t", f"{topic}:0:-1").split()[-1] == "2000"
    assert kcat(node, "-C", "-t", topic, "-o", "-1", "-e", "-q").strip() == f"{codec} value 1999"


def test_kcat_lists_topics_and_keeps_headers_and_nulls(node, topic):
    kcat(node, "-P", "-t", topic, "-K", ":", "-Z", "-H", "origin=test", stdin="gone:\n")
    assert kcat(node, "-C", "-t", topic, "-e", "-q", "-f", "%k %S %h\n") == "gone -1 origin=test\n"
    listing = kcat(node, "-L", "-t", topic)
    assert f'topic "{topic}" with 1 partitions' in listing
    assert node.kafka in listing


def test_kcat_consumes_from_a_time(node, topic):
    kcat(node, "-P", "-t", topic, stdin="early\n")
    after = kcat(node, "-C", "-t", topic, "-e", "-q", "-f", "%T").strip()
    time.sleep(0.01)
    kcat(node, "-P", "-t", topic, stdin="late\n")
    assert kcat(node, "-C", "-t", topic, "-e", "-q", "-o", f"s@{int(after) + 1}") == "late\n"


# ---- confluent-kafka


@pytest.mark.parametrize("codec", CODECS)
def test_idempotent_producer_and_assigned_consumer(node, admin, topic, codec):
    create(admin, topic, 3)
    values = [f"value {i}".encode() for i in range(5000)]
    acked = produce(node, topic, values, **{"enable.idempotence": True, "compression.type": codec})
    for offsets in acked.values():
        assert offsets == list(range(len(offsets)))
    messages = consume(node, topic, 3)
    assert sorted(m.value() for m in messages) == sorted(values)
    assert {int(m.key()): m.value() for m in messages} == dict(enumerate(values))


@pytest.mark.parametrize("acks", [0, 1, "all"])
def test_every_kind_of_ack(node, admin, topic, acks):
    create(admin, topic)
    produce(node, topic, [b"x"] * 100, acks=acks)
    wait_until(lambda: len(consume(node, topic)) == 100, what="the records' arrival")


def test_consumer_hears_of_new_records_while_it_waits(node, admin, topic):
    create(admin, topic, 4)
    consumer = Consumer({"bootstrap.servers": node.kafka, "group.id": "none", "enable.auto.commit": False,
                         "fetch.wait.max.ms": 30000})
    consumer.assign([TopicPartition(topic, p, 0) for p in range(4)])
    consumer.poll(0.5)  # by now it may wait, for 30 s; if not yet, the test still holds
    got = []
    reader = threading.Thread(target=lambda: got.append(consumer.poll(20)))
    reader.start()
    while reader.is_alive():
        produce(node, topic, [b"news"] * 40)  # to every partition: one fetch may wait for some of them only
        reader.join(0.2)
    assert got[0].value() == b"news"
    consumer.close()


def test_admin_changes_topics(node, admin, topic):
    create(admin, topic, 2, **{"retention.ms": "1000000"})
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)

    def option(name):
        return admin.describe_configs([resource])[resource].result(30)[name].value

    assert option("retention.ms") == "1000000"
    resource.add_incremental_config(
        ConfigEntry("retention.ms", "2000000", incremental_operation=AlterConfigOpType.SET))
    admin.incremental_alter_configs([resource])[resource].result(30)
    assert option("retention.ms") == "2000000"

    admin.create_partitions([NewPartitions(topic, 5)])[topic].result(30)
    assert len(admin.list_topics(topic, timeout=30).topics[topic].partitions) == 5

    produce(node, topic, [b"x"] * 100)
    at = TopicPartition(topic, 0)
    latest = admin.list_offsets({at: OffsetSpec.latest()})[at].result(30).offset
    assert latest > 0
    admin.delete_records([TopicPartition(topic, 0, latest)])[at].result(30)
    assert admin.list_offsets({at: OffsetSpec.earliest()})[at].result(30).offset == latest

    admin.delete_topics([topic])[topic].result(30)
    assert topic not in admin.list_topics(timeout=30).topics


def refused(future):
    with pytest.raises(KafkaException) as refusal:
        future.result(30)
    return refusal.value.args[0]


def test_admin_is_told_what_is_wrong(node, admin, topic):
    create(admin, topic)
    assert refused(admin.create_topics([NewTopic(topic, 1, 1)])[topic]).code() == KafkaError.TOPIC_ALREADY_EXISTS
    bad = topic + "-x"
    assert refused(admin.create_topics([NewTopic(bad, 1, 3)])[bad]).code() == KafkaError.INVALID_REPLICATION_FACTOR
    wrong_option = refused(admin.create_topics([NewTopic(bad, 1, 1, config={"retention.years": "1"})])[bad])
    assert wrong_option.code() == KafkaError.INVALID_CONFIG
    assert "retention.years" in wrong_option.str()
    assert refused(admin.create_topics([NewTopic("a b", 1, 1)])["a b"]).code() == KafkaError.TOPIC_EXCEPTION
    assert refused(admin.delete_topics([bad])[bad]).code() == KafkaError.UNKNOWN_TOPIC_OR_PART
    assert bad not in admin.list_topics(timeout=30).topics


def test_too_large_a_message_is_refused_and_the_next_is_taken(node, admin, topic):
    create(admin, topic, 1, **{"max.message.bytes": "10000"})
    errors = []
    producer = Producer({"bootstrap.servers": node.kafka, "message.max.bytes": 2_000_000})
    producer.produce(topic, b"x" * 50_000, on_delivery=lambda e, m: errors.append(e))
    producer.flush(60)
    assert errors[0].code() == KafkaError.MSG_SIZE_TOO_LARGE
    produce(node, topic, [b"small"])
    assert [m.value() for m in consume(node, topic)] == [b"small"]


def test_reading_outside_the_log_is_told(node, admin, topic):
    create(admin, topic)
    produce(node, topic, [b"x"])
    consumer = Consumer({"bootstrap.servers": node.kafka, "group.id": "none", "enable.auto.commit": False,
                         "auto.offset.reset": "error"})
    consumer.assign([TopicPartition(topic, 0, 1000)])
    message = consumer.poll(30)
    assert message.error().code() == KafkaError._AUTO_OFFSET_RESET
    assert consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30) == (0, 1)
    consumer.close()


# ---- Apache Kafka's tools


@pytest.mark.parametrize("codec", CODECS)
def test_java_producer_perf_test_runs_unmodified(node, admin, topic, kafka_libs, codec):
    create(admin, topic, 2)
    out = java(kafka_libs, "org.apache.kafka.tools.ProducerPerformance", "--topic", topic, "--num-records", 20000,
               "--record-size", 100, "--throughput", -1, "--command-property", f"bootstrap.servers={node.kafka}", "acks=all",
               f"compression.type={codec}")
    assert "20000 records sent" in out
    ends = admin.list_offsets({TopicPartition(topic, p): OffsetSpec.latest() for p in range(2)})
    assert sum(end.result(30).offset for end in ends.values()) == 20000


def test_java_consumer_reads_a_partition(node, topic, kafka_libs):
    produce(node, topic, [f"value {i}" for i in range(3000)])
    out = java(kafka_libs, "org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", node.kafka, "--topic", topic,
               "--partition", 0, "--offset", "earliest", "--max-messages", 3000)
    assert sorted(out.split("\n")[:-1]) == sorted(f"value {i}" for i in range(3000))


def test_java_admin_describes_and_changes_topics(node, topic, kafka_libs):
    def topics(*arguments):
        return java(kafka_libs, "org.apache.kafka.tools.TopicCommand", "--bootstrap-server", node.kafka, *arguments)

    topics("--create", "--topic", topic, "--partitions", 2, "--config", "retention.ms=1000")
    described = topics("--describe", "--topic", topic)
    assert "PartitionCount: 2" in described and "retention.ms=1000" in described
    topics("--alter", "--topic", topic, "--partitions", 3)
    assert "PartitionCount: 3" in topics("--describe", "--topic", topic)
    topics("--delete", "--topic", topic)
    assert topic not in topics("--list").split()


# ---- what is not in Kafka


def test_a_materialized_view_is_read_as_a_topic_and_refuses_writers(node, sql, topic):
    name = topic.replace("-", "_")
    sql(f"CREATE TOPIC {name} (k VARCHAR, n INTEGER)")
    sql(f"CREATE MATERIALIZED VIEW {name}_sums AS SELECT k, sum(n) AS total FROM {name} GROUP BY k")
    produce(node, name, ['{"k": "a", "n": 1}', '{"k": "a", "n": 2}'])
    wait_until(lambda: sql(f"SELECT total FROM {name}_sums WHERE k = 'a'") == [(3,)], what="the view's answer")
    wait_until(lambda: consume(node, f"{name}_sums"), what="the changelog's records")
    errors = []
    producer = Producer({"bootstrap.servers": node.kafka})
    producer.produce(f"{name}_sums", b"{}", on_delivery=lambda e, m: errors.append(e))
    producer.flush(60)
    assert errors[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


@pytest.mark.parametrize("bytes_sent", [
    b"GET / HTTP/1.1\r\n\r\n",
    struct.pack(">i", -1),
    struct.pack(">ihhih", 10, 9999, 0, 1, -1),
    struct.pack(">ihhihi", 14, 3, 1, 1, -1, 2**31 - 1),
], ids=["another protocol", "negative length", "unknown API", "impossible array"])
def test_a_malformed_frame_closes_that_connection_with_a_log_line(node, admin, bytes_sent):
    host, port = node.kafka.split(":")
    before = node.log().count("closing a Kafka connection")
    with socket.create_connection((host, int(port)), 60) as connection:
        connection.sendall(bytes_sent)
        assert connection.recv(1) == b""
    wait_until(lambda: node.log().count("closing a Kafka connection") > before, what="the log line")
    assert admin.list_topics(timeout=30).brokers


def test_acked_records_survive_a_kill(own_node):
    acked = produce(own_node, "kept", [f"{i}" for i in range(20000)], **{"enable.idempotence": True})
    assert len(acked[0]) == 20000
    own_node.kill()
    own_node.start()
    assert [m.value() for m in consume(own_node, "kept")] == [str(i).encode() for i in range(20000)]


def test_a_stop_answers_what_is_under_way(own_node):
    """A producer that sends on while the node stops and starts again loses and doubles nothing."""
    errors, count = [], 0
    producer = Producer({"bootstrap.servers": own_node.kafka, "enable.idempotence": True, "linger.ms": 1})
    restarted = threading.Event()

    def restart():
        own_node.stop()
        own_node.start()
        restarted.set()

    restarter = threading.Thread(target=restart)
    while count < 2000 or not restarted.is_set():
        producer.produce("steady", str(count), on_delivery=lambda e, m: e and errors.append(e))
        producer.poll(0.0005)
        count += 1
        if count == 1000:
            producer.flush(60)
            restarter.start()
    assert producer.flush(120) == 0
    restarter.join()
    assert not errors, errors[0]
    assert [int(m.value()) for m in consume(own_node, "steady")] == list(range(count))
