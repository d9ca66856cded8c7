"""Reads a public topic: each value checked by its schema, repeats dropped by ce_id, resumed where the group stopped."""
import json
import sys
from cachetools import LRUCache
from confluent_kafka import Consumer, KafkaException
from jsonschema import Draft202012Validator, ValidationError

brokers, topic, schema, group = sys.argv[1:5]
check = Draft202012Validator(json.load(open(schema, encoding="utf-8")))
conf = {"bootstrap.servers": brokers, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False}
consumer, seen = Consumer(conf), LRUCache(100_000)
consumer.subscribe([topic])
for record in iter(consumer.poll, None):
    if record.error():
        raise KafkaException(record.error())
    ce_id = dict(record.headers())["ce_id"].decode()
    if ce_id not in seen:
        try:
            value = None if record.value() is None else json.loads(record.value())  # no value: forgotten
            if value is not None:
                check.validate(value)
        except (ValueError, ValidationError) as wrong:  # said aloud, and passed over: it will not get better
            print(f"passed over {ce_id}: {getattr(wrong, 'json_path', wrong)}", file=sys.stderr, flush=True)
        else:
            print(json.dumps({"ce_id": ce_id, "value": value}), flush=True)  # your work goes here
        seen[ce_id] = True
    consumer.commit(record)  # after the work; `asynchronous=False` waits for the answer
