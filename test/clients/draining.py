"""Reading partitions to their ends with librdkafka."""
import time

from confluent_kafka import KafkaError


def drain(consumer, partitions=1):
    """The messages of a consumer that was told to say where its partitions end (enable.partition.eof), up to there; closes it."""
    messages, ended, deadline = [], set(), time.monotonic() + 60
    while time.monotonic() < deadline:
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error():
            assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
            ended.add(message.partition())
            if len(ended) < partitions:
                continue
            consumer.close()
            return messages
        messages.append(message)
    raise AssertionError("no end of the partitions in 60 s")
