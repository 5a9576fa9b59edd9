"""Reading a partition to its end with librdkafka."""
import time

from confluent_kafka import KafkaError


def drain(consumer):
    """The messages of a consumer that was told to say where its partition ends (enable.partition.eof), up to there; closes it."""
    messages, deadline = [], time.monotonic() + 60
    while time.monotonic() < deadline:
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error():
            assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
            consumer.close()
            return messages
        messages.append(message)
    raise AssertionError("no end of the partition in 60 s")
