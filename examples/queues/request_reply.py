#!/usr/bin/env python3
"""Request/reply: a request names the topic for its answer and an id by which the asker knows it again.

    examples/queues/request_reply.py [ADDRESS]            pip install confluent-kafka
"""
import sys
import threading
import uuid

from confluent_kafka import OFFSET_END, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9092"
run = uuid.uuid4().hex[:8]
requests, replies = f"requests-{run}", f"replies-{run}"
stopping = threading.Event()


def serve():
    """Squares what it is asked. Any number of such servers may share the group."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": f"squarers-{run}", "auto.offset.reset": "earliest"})
    consumer.subscribe([requests])
    producer = Producer({"bootstrap.servers": address, "linger.ms": 0})
    while not stopping.is_set():
        message = consumer.poll(0.2)
        if message is None or message.error():
            continue
        headers = dict(message.headers())
        answer = int(message.value()) ** 2
        producer.produce(headers["reply_to"].decode(), value=str(answer), headers={"correlation_id": headers["correlation_id"]})
        producer.poll(0)
    producer.flush()
    consumer.close()


for created in AdminClient({"bootstrap.servers": address}).create_topics([NewTopic(requests, 1, 1), NewTopic(replies, 1, 1)]).values():
    created.result()
server = threading.Thread(target=serve)
server.start()

# The asker reads its own replies, from now on: no group, no offsets to keep.
inbox = Consumer({"bootstrap.servers": address, "group.id": "none", "enable.auto.commit": False})
inbox.assign([TopicPartition(replies, 0, OFFSET_END)])
inbox.poll(1)
producer = Producer({"bootstrap.servers": address, "linger.ms": 0})
waiting = {}
for n in (3, 7, 12):
    correlation = uuid.uuid4().hex
    waiting[correlation] = n
    producer.produce(requests, value=str(n), headers={"reply_to": replies, "correlation_id": correlation})
producer.flush()
while waiting:
    message = inbox.poll(0.2)
    if message is not None and not message.error():
        n = waiting.pop(dict(message.headers())["correlation_id"].decode(), None)
        if n is not None:
            print(f"{n} squared is {message.value().decode()}")
stopping.set()
server.join()
inbox.close()
