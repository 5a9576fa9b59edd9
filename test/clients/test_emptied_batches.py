"""Topics of whose records a transform on fetch leaves nothing, for thousands of them: consumers that we did not write go on to the end."""
import asyncio
import pathlib
import subprocess
import time

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as AioPartition
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from kafka import KafkaConsumer
from kafka import TopicPartition as PythonPartition

HERE = pathlib.Path(__file__).parent
TOPIC, LIMIT = "emptied", 60
ISOLATIONS = ["read_committed", "read_uncommitted"]
SMALL = 2000  # bytes of a fetch: many have nothing but emptied batches, one batch each


@pytest.fixture(scope="module")
def end(node):
    """Fills the topic: batches of every codec, large and of one record, and transactions, of which all records are left out; ten
    that stay; more that are left out. Gives the offset after the last."""
    host, port = node.pg.split(":")
    subprocess.run(["psql", "-q", "-v", "ON_ERROR_STOP=1", "-h", host, "-p", port, "-U", "test", "millrace", "-c", f"CREATE TOPIC {TOPIC}",
                    "-c", f"CREATE FUNCTION steps LANGUAGE wasm FROM '{HERE / 'steps.wat'}'", "-c", f"ALTER TOPIC {TOPIC} ADD TRANSFORM steps.keep ON FETCH"],
                   check=True)

    def produce(values, **config):
        producer = Producer({"bootstrap.servers": node.kafka, "linger.ms": 1000, "batch.num.messages": 250, **config})
        for value in values:
            producer.produce(TOPIC, value, partition=0)
        assert producer.flush(30) == 0

    def transaction(values, commits):
        producer = Producer({"bootstrap.servers": node.kafka, "transactional.id": "emptied"})
        producer.init_transactions(30)
        producer.begin_transaction()
        for value in values:
            producer.produce(TOPIC, value, partition=0)
        assert producer.flush(30) == 0  # an abort forgets what was not sent
        producer.commit_transaction(30) if commits else producer.abort_transaction(30)
    for codec in "none", "gzip", "snappy", "lz4", "zstd":
        produce([b"d" * 50] * 1000, **{"compression.type": codec})
    produce([b"d"] * 200, **{"batch.num.messages": 1, "enable.idempotence": True})
    transaction([b"d"] * 300, True)
    transaction([b"d"] * 300 + [b"aborted"], False)
    produce([b"a%d" % i for i in range(10)])
    transaction([b"d"], True)
    produce([b"d" * 50] * 500, **{"compression.type": "gzip"})
    produce([b"d"] * 20, **{"batch.num.messages": 1})
    consumer = Consumer({"bootstrap.servers": node.kafka, "group.id": "none"})
    high = consumer.get_watermark_offsets(TopicPartition(TOPIC, 0), 30)[1]
    consumer.close()
    return high


def wanted(isolation):
    return [b"aborted"] * (isolation == "read_uncommitted") + [b"a%d" % i for i in range(10)]


def librdkafka(node, end, isolation, size):
    consumer = Consumer({"bootstrap.servers": node.kafka, "group.id": "none", "isolation.level": isolation, "enable.partition.eof": True,
                         "max.partition.fetch.bytes": size})
    consumer.assign([TopicPartition(TOPIC, 0, OFFSET_BEGINNING)])
    values, deadline = [], time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        message = consumer.poll(1)
        if message and message.error():
            assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
            break
        if message:
            values.append(message.value())
    place = message.offset()
    consumer.close()
    return values, place


def kafka_python(node, end, isolation, size):
    consumer = KafkaConsumer(bootstrap_servers=node.kafka, isolation_level=isolation, auto_offset_reset="earliest", max_partition_fetch_bytes=size)
    partition = PythonPartition(TOPIC, 0)
    consumer.assign([partition])
    values, deadline = [], time.monotonic() + LIMIT
    while consumer.position(partition) < end and time.monotonic() < deadline:
        values += [record.value for records in consumer.poll(500).values() for record in records]
    place = consumer.position(partition)
    consumer.close()
    return values, place


def aiokafka(node, end, isolation, size):
    async def read():
        consumer = AIOKafkaConsumer(bootstrap_servers=node.kafka, isolation_level=isolation, auto_offset_reset="earliest", max_partition_fetch_bytes=size)
        partition = AioPartition(TOPIC, 0)
        consumer.assign([partition])
        await consumer.start()
        values, deadline = [], time.monotonic() + LIMIT
        while await consumer.position(partition) < end and time.monotonic() < deadline:
            values += [record.value for records in (await consumer.getmany(timeout_ms=500)).values() for record in records]
        place = await consumer.position(partition)
        await consumer.stop()
        return values, place
    return asyncio.run(read())


@pytest.mark.parametrize("isolation", ISOLATIONS)
@pytest.mark.parametrize("client", [librdkafka, kafka_python, aiokafka])
def test_a_consumer_reads_the_rest_and_reaches_the_end(node, end, client, isolation):
    for size in SMALL, 1 << 20:
        assert client(node, end, isolation, size) == (wanted(isolation), end), size


def test_the_java_consumer_reads_the_rest_and_reaches_the_end(node, end, kafka_libs, tmp_path):
    subprocess.run(["javac", "-d", tmp_path, "-cp", f"{kafka_libs}/*", HERE / "transforms" / "TransformClient.java"], check=True)
    jobs = [f"end {TOPIC} {isolation} {size}" for isolation in ISOLATIONS for size in (SMALL, 1 << 20)]
    told = subprocess.run(["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", f"{tmp_path}:{kafka_libs}/*", "TransformClient", node.kafka, *jobs],
                          stdout=subprocess.PIPE, text=True, check=True, timeout=120).stdout.splitlines()
    for job in jobs:
        values = b",".join(wanted(job.split()[2])).decode()
        assert f"{job}: {values} position {end} lag 0" in told, told
