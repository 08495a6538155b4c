"""The two commands that every foreign client of the test suite has; see README.md."""

import json
import sys
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition

PATIENCE_S = 30


def produce(bootstrap, topic, codec, file):
    producer = Producer({
        "bootstrap.servers": bootstrap, "compression.type": codec, "linger.ms": 5, "enable.idempotence": True,
        "delivery.timeout.ms": 30_000, "queue.buffering.max.messages": 1_000_000,
    })
    failures = []

    def delivered(error, _message):
        if error is not None:
            failures.append(error)

    def send(line, timestamp, key, value):
        headers = [("client", b"python"), ("line", str(line).encode())]
        producer.produce(topic, key=key, value=value, timestamp=timestamp, headers=headers, on_delivery=delivered)
        producer.poll(0)

    with open(file, encoding="utf-8") as lines:
        texts = lines.read().splitlines()
    for line, text in enumerate(texts):
        event = json.loads(text)
        send(line, event["time"], event["network"], text)
    last = json.loads(texts[-1])["time"]
    specials = [("special-empty", ""), ("special-null", None), (None, "keyless")]
    for line, (key, value) in enumerate(specials, start=len(texts)):
        send(line, last, key, value)
    left = producer.flush(PATIENCE_S)
    if left or failures:
        sys.exit(f"{left} records not delivered; {failures[:3]}")


def consume(bootstrap, topic, count):
    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False,
        "auto.offset.reset": "error",
    })
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
    seen, deadline = 0, time.monotonic() + PATIENCE_S
    while seen < count:
        if time.monotonic() > deadline:
            sys.exit(f"only {seen} of {count} records came in time")
        for message in consumer.consume(500, timeout=0.5):
            if message.error():
                if message.error().code() == KafkaError._PARTITION_EOF:
                    continue
                sys.exit(str(message.error()))
            print(as_json(message))
            seen += 1
    # No close(): it would leave a group that was never joined.


def as_json(message):
    return json.dumps({
        "partition": message.partition(), "offset": message.offset(), "timestamp": message.timestamp()[1],
        "key": text(message.key()), "value": text(message.value()),
        "headers": [[name, text(value)] for name, value in message.headers() or []],
    })


def group(bootstrap, topic, name, count, protocol="classic"):
    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": name, "enable.auto.commit": False, "auto.offset.reset": "earliest",
        "group.protocol": protocol,
    })
    consumer.subscribe([topic])
    following, seen, deadline = {}, 0, time.monotonic() + PATIENCE_S
    while seen < count:
        if time.monotonic() > deadline:
            sys.exit(f"only {seen} of {count} records came in time")
        message = consumer.poll(0.5)
        if message is None:
            continue
        if message.error():
            sys.exit(str(message.error()))
        print(as_json(message))
        following[message.partition()] = message.offset() + 1
        seen += 1
    offsets = [TopicPartition(topic, partition, offset) for partition, offset in following.items()]
    consumer.commit(offsets=offsets, asynchronous=False)
    consumer.close()


def text(value):
    return None if value is None else value.decode()


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "produce":
        produce(*arguments)
    elif command == "group":
        group(*arguments[:3], int(arguments[3]), *arguments[4:])
    else:
        consume(arguments[0], arguments[1], int(arguments[2]))
