"""aiokafka: suite_aiokafka.py BOOTSTRAP [CASE...]"""
import asyncio
import functools
import time

import harness
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import CommitFailedError, KafkaError, MessageSizeTooLargeError, ProducerFenced
from harness import CODECS, expect, main

WAIT = 40
BASE = int(time.time()) * 1000 - 3_600_000  # retention spares it


def case(function):
    @functools.wraps(function)
    def run(t):
        asyncio.run(function(t))

    return harness.case(run)


async def wait_until(condition, seconds=WAIT, what="the condition"):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < end, f"{what} did not come true in {seconds} s"
        await asyncio.sleep(0.05)


class Admin(AIOKafkaAdminClient):
    def __init__(self, t):
        super().__init__(bootstrap_servers=t.bootstrap)

    async def __aenter__(self):
        await self.start()
        return self

    async def __aexit__(self, *error):
        await self.close()


async def create(t, partitions=1, name=None, **configs):
    async with Admin(t) as admin:
        topic = NewTopic(name or t.topic, partitions, 1, topic_configs={k.replace("_", "."): v for k, v in configs.items()})
        answer = await admin.create_topics([topic])
        expect(answer.topic_errors[0][1], 0, "error of the creation")


def producer_of(t, **config):
    return AIOKafkaProducer(bootstrap_servers=t.bootstrap, linger_ms=5, **config)


async def produce(t, records, topic=None, **config):
    async with producer_of(t, **config) as producer:
        futures = []
        for partition, key, value, *more in records:
            futures.append(await producer.send(topic or t.topic, value, key, partition, headers=more[0] if more else None,
                                               timestamp_ms=more[1] if len(more) > 1 else None))
        return await asyncio.gather(*futures)


def numbers(first, last, partitions=1):
    return [(i % partitions, None, b"%d" % i) for i in range(first, last)]


def consumer_of(t, **config):
    return AIOKafkaConsumer(**{"bootstrap_servers": t.bootstrap, "group_id": t.group, "auto_offset_reset": "earliest", "enable_auto_commit": False,
                               "session_timeout_ms": 6000, "heartbeat_interval_ms": 300, **config})


async def poll(consumer, timeout_ms=200):
    return [record for records in (await consumer.getmany(timeout_ms=timeout_ms)).values() for record in records]


async def take(consumer, count):
    records, end = [], time.monotonic() + WAIT
    while len(records) < count:
        records += await poll(consumer)
        assert time.monotonic() < end, f"{len(records)} of {count} records came"
    return records


async def read_all(t, partitions=1, topic=None, **config):
    async with consumer_of(t, **{"group_id": None, **config}) as consumer:
        at = [TopicPartition(topic or t.topic, p) for p in range(partitions)]
        consumer.assign(at)
        await consumer.seek_to_beginning(*at)
        ends, records, end = await consumer.end_offsets(at), [], time.monotonic() + WAIT
        while any([await consumer.position(p) < ends[p] for p in at]):
            records += await poll(consumer)
            assert time.monotonic() < end, f"the ends {ends} were not reached; read {len(records)}"
        return records


def values(records):
    return [r.value for r in records]


async def refused(error, action):
    try:
        await action
    except error as refusal:
        return refusal
    raise AssertionError(f"not refused with {error}")


# ---- produce and consume


@case
async def order_and_counts(t):
    await create(t, 4)
    await produce(t, numbers(0, 4000, 4))
    records = await read_all(t, 4)
    expect(len(records), 4000, "records")
    for partition in range(4):
        mine = [r for r in records if r.partition == partition]
        expect([r.offset for r in mine], list(range(1000)), "offsets")
        expect([int(r.value) for r in mine], list(range(partition, 4000, 4)), "order")


@case
async def codecs(t):
    await create(t)
    wanted = []
    for codec in CODECS:
        some = [b"%s %d " % (codec.encode(), i) * 20 for i in range(300)]
        await produce(t, [(0, None, v) for v in some], compression_type=None if codec == "none" else codec)
        wanted += some
    expect(values(await read_all(t)), wanted, "values")


@case
async def headers(t):
    await create(t)
    wanted = [("a", b"1"), ("a", b"2"), ("empty", b""), ("null", None), ("bytes", bytes(range(256)))]
    await produce(t, [(0, b"k", b"v", wanted), (0, b"k", b"none")])
    expect([list(r.headers) for r in await read_all(t)], [wanted, []], "headers")


@case
async def timestamps(t):
    await create(t)
    await produce(t, [(0, None, b"%d" % i, None, BASE + i * 1000) for i in range(10)])
    expect([(r.timestamp_type, r.timestamp) for r in await read_all(t)], [(0, BASE + i * 1000) for i in range(10)], "CreateTime")
    at = TopicPartition(t.topic, 0)
    async with consumer_of(t) as consumer:
        expect((await consumer.offsets_for_times({at: BASE + 4500}))[at].offset, 5, "offset for a time between")
        expect((await consumer.offsets_for_times({at: BASE + 100_000}))[at], None, "offset for a time after all")


@case
async def null_and_empty(t):
    await create(t)
    pairs = [(b"", b""), (b"k", None), (None, b"v"), (None, b"")]
    await produce(t, [(0, k, v) for k, v in pairs])
    expect([(r.key, r.value) for r in await read_all(t)], pairs, "pairs")


@case
async def large_records(t):
    await create(t)
    some = [bytes([i]) * 900_000 for i in range(5)]
    await produce(t, [(0, None, v) for v in some])
    assert values(await read_all(t)) == some
    await create(t, 1, t.topic + "-small", max_message_bytes="10000")
    await refused(MessageSizeTooLargeError, produce(t, [(0, None, b"x" * 50_000)], t.topic + "-small"))


@case
async def idempotent_producer(t):
    await create(t, 3)
    acked = await produce(t, numbers(0, 6000, 3), enable_idempotence=True)
    expect([m.offset for m in acked], [i // 3 for i in range(6000)], "offsets")
    expect(sorted(int(v) for v in values(await read_all(t, 3))), list(range(6000)), "values")


@case
async def every_kind_of_ack(t):
    await create(t)
    for acks in (1, "all"):
        await produce(t, numbers(0, 100), acks=acks)
    async with producer_of(t, acks=0) as producer:
        for i in range(100):
            await producer.send(t.topic, b"%d" % i, partition=0)
        await producer.flush()

    async def arrived():
        return len(await read_all(t)) == 300

    await wait_until(arrived, what="the records' arrival")


# ---- groups


class Member(ConsumerRebalanceListener):
    """Polls in a task of its own until left(); commits what it saw when it is revoked, now and then, and when it leaves."""

    def __init__(self, t, **config):
        self.consumer, self.records, self.assigned, self.leaving = consumer_of(t, **config), [], set(), False
        self.consumer.subscribe([t.topic], listener=self)
        self.task = asyncio.create_task(self.run())

    async def on_partitions_revoked(self, revoked):
        if revoked:
            await self.commit()
        self.assigned = set()

    async def on_partitions_assigned(self, assigned):
        self.assigned = set(assigned)

    async def commit(self):
        try:
            await self.consumer.commit()
        except CommitFailedError:
            pass  # a rebalance is under way: then the next one reads those records once more

    async def run(self):
        async with self.consumer:
            since = time.monotonic()
            while not self.leaving:
                self.records += await poll(self.consumer, 100)
                if time.monotonic() - since > 0.5:
                    await self.commit()
                    since = time.monotonic()
            await self.commit()

    async def left(self):
        self.leaving = True
        await asyncio.wait_for(self.task, WAIT)


def shares(members, sizes):
    for member in members:
        if member.task.done() and not member.leaving:
            member.task.result()
    owned = [p for m in members for p in m.assigned]
    return sorted(len(m.assigned) for m in members) == sorted(sizes) and len(owned) == len(set(owned))


async def rebalance_while_producing(t, assignors):
    await create(t, 6)
    produced, stop = [0], [False]

    async def pump():
        futures = []
        async with producer_of(t, enable_idempotence=True) as producer:
            while not stop[0]:
                for _ in range(20):
                    futures.append(await producer.send(t.topic, b"%d" % produced[0], partition=produced[0] % 6))
                    produced[0] += 1
                await asyncio.sleep(0.05)
            await asyncio.gather(*futures)

    pumping = asyncio.create_task(pump())
    config = {"partition_assignment_strategy": assignors}
    members = [Member(t, **config)]
    try:
        await wait_until(lambda: shares(members, [6]), what="the first assignment")
        members.append(Member(t, **config))
        await wait_until(lambda: shares(members, [3, 3]), what="the assignment of two")
        await members[0].left()
        await wait_until(lambda: shares(members[1:], [6]), what="the assignment of the one that stays")
    finally:
        stop[0] = True
        await pumping
    await wait_until(lambda: {int(r.value) for m in members for r in m.records} == set(range(produced[0])), what="all records")
    await members[1].left()
    async with consumer_of(t) as consumer:
        committed = [await consumer.committed(TopicPartition(t.topic, p)) for p in range(6)]
        expect(sum(committed), produced[0], "committed offsets")


@case
async def rebalance_while_producing_roundrobin(t):
    await rebalance_while_producing(t, [RoundRobinPartitionAssignor, RangePartitionAssignor])


@case
async def rebalance_while_producing_sticky(t):
    await rebalance_while_producing(t, [StickyPartitionAssignor])


@case
async def static_members(t):
    await create(t, 4)
    config = {"session_timeout_ms": 20000}
    one, two = Member(t, group_instance_id="one", **config), Member(t, group_instance_id="two", **config)
    await wait_until(lambda: shares([one, two], [2, 2]), what="the assignment")
    had, others = one.assigned, two.assigned
    await one.left()
    again = Member(t, group_instance_id="one", **config)
    await wait_until(lambda: again.assigned, what="the assignment of the one that came back")
    expect((again.assigned, two.assigned), (had, others), "assignments")
    await again.left()
    await two.left()


@case
async def commit_and_resume(t):
    await create(t, 2)
    await produce(t, numbers(0, 200, 2))
    async with consumer_of(t, max_poll_records=10) as first:
        first.subscribe([t.topic])
        seen = await take(first, 100)
        await first.commit()
    async with consumer_of(t) as second:
        second.subscribe([t.topic])
        seen += await take(second, 200 - len(seen))
        expect(sorted(int(v) for v in values(seen)), list(range(200)), "each once")
        at = TopicPartition(t.topic, 0)
        await second.commit({at: (42, "where I was")})
        expect(await second.committed(at), 42, "committed")
        expect(await second.committed(TopicPartition(t.topic + "-none", 0)), None, "committed nowhere")


@case
async def seek_and_pause(t):
    await create(t, 2)
    await produce(t, numbers(0, 100, 2))
    zero = TopicPartition(t.topic, 0)
    async with consumer_of(t) as consumer:
        consumer.subscribe([t.topic])
        await take(consumer, 100)
        consumer.seek(zero, 48)
        expect([r.offset for r in await take(consumer, 2)], [48, 49], "after the seek")
        consumer.pause(zero)
        await produce(t, [(0, None, b"paused"), (1, None, b"goes on")])
        expect(values(await take(consumer, 1)), [b"goes on"], "while the other is paused")
        expect(await poll(consumer, 500), [], "from a paused partition")
        consumer.resume(zero)
        expect(values(await take(consumer, 1)), [b"paused"], "after resume")


# ---- transactions


async def read_committed(t, count, partitions=1, topic=None):
    """What is committed, once it is `count` records: the broker ends a transaction by and by after it has said so."""
    async def enough():
        return len(await read_all(t, partitions, topic, isolation_level="read_committed")) >= count

    await wait_until(enough, what=f"{count} committed records")
    return values(await read_all(t, partitions, topic, isolation_level="read_committed"))


@case
async def transaction_commit_and_abort(t):
    await create(t, 2)
    async with producer_of(t, transactional_id=t.transactional_id) as producer:
        for number in range(4):
            await producer.begin_transaction()
            for i in range(10):
                await producer.send_and_wait(t.topic, b"%d.%d" % (number, i), partition=i % 2)
            await (producer.abort_transaction() if number % 2 else producer.commit_transaction())
    wanted = sorted(b"%d.%d" % (n, i) for n in (0, 2) for i in range(10))
    expect(sorted(await read_committed(t, 20, 2)), wanted, "read_committed")
    expect(len(await read_all(t, 2)), 40, "read_uncommitted")


@case
async def open_transaction_holds_readers_back(t):
    await create(t)
    async with producer_of(t, transactional_id=t.transactional_id) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(t.topic, b"open", partition=0)
        await produce(t, [(0, None, b"after")])
        expect(values(await read_all(t, isolation_level="read_committed")), [], "read_committed while it is open")
        expect(values(await read_all(t)), [b"open", b"after"], "read_uncommitted")
        await producer.commit_transaction()
        expect(await read_committed(t, 2), [b"open", b"after"], "read_committed after")


@case
async def second_producer_fences_the_first(t):
    await create(t)
    zombie = producer_of(t, transactional_id=t.transactional_id)
    await zombie.start()
    await zombie.begin_transaction()
    await zombie.send_and_wait(t.topic, b"zombie", partition=0)
    async with producer_of(t, transactional_id=t.transactional_id) as heir:

        async def again():
            await zombie.send_and_wait(t.topic, b"zombie again", partition=0)
            await zombie.commit_transaction()

        await refused((ProducerFenced, KafkaError), again())
        await heir.begin_transaction()
        await heir.send_and_wait(t.topic, b"heir", partition=0)
        await heir.commit_transaction()
    await zombie.stop()
    expect(await read_committed(t, 1), [b"heir"], "read_committed")


@case
async def consume_transform_produce(t):
    await create(t, 2)
    await create(t, 2, t.topic + "-out")
    await produce(t, numbers(0, 200, 2))
    done, attempt = 0, 0
    while done < 200:
        attempt += 1
        async with (consumer_of(t, isolation_level="read_committed", max_poll_records=20) as consumer,
                    producer_of(t, transactional_id=t.transactional_id) as producer):
            consumer.subscribe([t.topic])
            for number in range(1000):
                batch = await take(consumer, 1)
                await producer.begin_transaction()
                for r in batch:
                    await producer.send(t.topic + "-out", b"done " + r.value, partition=r.partition)
                offsets = {TopicPartition(r.topic, r.partition): r.offset + 1 for r in batch}
                await producer.send_offsets_to_transaction(offsets, t.group)
                if number == 2 and attempt < 3:  # the third round of the first attempts is lost, with its consumer
                    await producer.abort_transaction()
                    break
                await producer.commit_transaction()
                done += len(batch)
                if done == 200:
                    break
    expect(sorted(await read_committed(t, 200, 2, t.topic + "-out")), sorted(b"done %d" % i for i in range(200)), "output")


# ---- admin


@case
async def admin_topics_and_configs(t):
    await create(t, 2, retention_ms="1000000")
    async with Admin(t) as admin:
        assert t.topic in await admin.list_topics()
        again = await admin.create_topics([NewTopic(t.topic, 1, 1)])
        expect(again.topic_errors[0][1], 36, "error of a second creation")
        resource = ConfigResource(ConfigResourceType.TOPIC, t.topic)

        async def option(name):
            answer = (await admin.describe_configs([resource]))[0]
            return {entry[0]: entry[1] for entry in answer.resources[0][4]}[name]

        expect(await option("retention.ms"), "1000000", "retention.ms")
        answer = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, t.topic, {"retention.ms": "2000000"})])
        expect(answer[0].resources[0][0], 0, "error of the change")

        async def changed():
            return await option("retention.ms") == "2000000"

        await wait_until(changed, what="the new value")
        answer = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, t.topic, {"retention.ms": "a week"})])
        expect(answer[0].resources[0][0], 40, "error of a bad value")
        await admin.create_partitions({t.topic: NewPartitions(3)})

        async def three():
            return len((await admin.describe_topics([t.topic]))[0]["partitions"]) == 3

        await wait_until(three, what="the partitions")
        await produce(t, numbers(0, 100))
        at = TopicPartition(t.topic, 0)
        expect(await admin.delete_records({at: RecordsToDelete(60)}), {at: 60}, "low watermark")
        expect(len(await read_all(t)), 40, "what is left")
        answer = await admin.delete_topics([t.topic])
        expect(answer.topic_error_codes[0][1], 0, "error of the deletion")


@case
async def admin_groups(t):
    await create(t, 2)
    await produce(t, numbers(0, 100, 2))
    member = Member(t)
    await wait_until(lambda: len(member.records) == 100 and shares([member], [2]), what="the records")
    async with Admin(t) as admin:
        group = (await admin.describe_consumer_groups([t.group]))[0].groups[0]
        expect((group[0], group[1], group[2], len(group[5])), (0, t.group, "Stable", 1), "group")
        assert t.group in {g[0] for g in await admin.list_consumer_groups()}
        await member.left()
        found = await admin.list_consumer_group_offsets(t.group)
        expect({p.partition: o.offset for p, o in found.items()}, {0: 50, 1: 50}, "offsets")


if __name__ == "__main__":
    main("aiokafka")
