#!/usr/bin/env python3
"""Publish/subscribe: each group gets every message; the members of one group share them.

    examples/queues/publish_subscribe.py [ADDRESS]        pip install confluent-kafka
"""
import sys
import uuid

from confluent_kafka import Consumer, Producer

address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9092"
topic = f"orders-{uuid.uuid4().hex[:8]}"


def subscriber(group):
    consumer = Consumer({"bootstrap.servers": address, "group.id": f"{group}-{topic}", "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    return consumer


producer = Producer({"bootstrap.servers": address, "enable.idempotence": True})
for n in range(10):
    producer.produce(topic, key=f"customer-{n % 3}", value=f"order {n}")
producer.flush()

subscribers = {group: subscriber(group) for group in ("billing", "shipping")}
got = {group: [] for group in subscribers}
while any(len(messages) < 10 for messages in got.values()):
    for group, consumer in subscribers.items():
        message = consumer.poll(0.2)
        if message is not None and not message.error():
            got[group].append(message.value().decode())
for group, consumer in subscribers.items():
    consumer.commit(asynchronous=False)
    consumer.close()
    print(f"{group} got {len(got[group])} orders: {', '.join(got[group])}")
