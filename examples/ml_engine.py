"""An ML engine that starts warm: it loads the feature history from the lake, and goes on in Kafka exactly where that ends.

    pip install streamer numpy
    export KAFKA_BOOTSTRAP_SERVERS=localhost:9092 S3_BUCKET_NAME=microstream-data
    python examples/ml_engine.py

The daemon keeps the history of a stream that has a section [streams.features.history] in its configuration, or the variable
STREAMER__STREAMS__FEATURES__HISTORY__WINDOW=20.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from streamer import Lake
from streamer.features.history import FeatureHistory

Row = dict[str, Any]


async def live_rows(history: FeatureHistory, servers: str, topic: str) -> AsyncIterator[tuple[str, Row]]:
    """Every row of `topic` that is not in `history`, once: (symbol, row)."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=servers,
        group_id=None,  # every engine reads every partition
        isolation_level="read_committed",  # as the daemon does, so that offsets mean the same
        auto_offset_reset="earliest",  # for partitions that the history does not know yet
    )
    await consumer.start()
    try:
        following = {TopicPartition(topic, number): offset for number, offset in history.offsets.get(topic, {}).items()}
        for partition, beginning in (await consumer.beginning_offsets(list(following))).items():
            if beginning > following[partition]:
                raise LookupError(
                    f"Kafka has nothing of {partition} before {beginning}; the history ends at {following[partition]}"
                )
            consumer.seek(partition, following[partition])
        async for record in consumer:
            if record.offset < following.get(TopicPartition(topic, record.partition), 0):
                continue  # fetched before the seek took effect
            try:
                message = json.loads(record.value or b"")
                symbol, features = str(message["symbol"]), message.get("features", message)
                values = {name: float(value) for name, value in features.items() if isinstance(value, int | float)}
            except (ValueError, KeyError, AttributeError, TypeError):
                continue  # what is no row for the daemon either: it is kept among the dead letters
            yield symbol, {"partition": record.partition, "offset": record.offset, **values}
    finally:
        await consumer.stop()


def predict(symbol: str, rows: deque[Row]) -> None:
    """The model's place. `rows` has the last ones, this one included."""
    print(f"{symbol:12} {len(rows):3} rows, newest at offset {rows[-1]['offset']}")


async def main() -> None:
    servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092")
    with Lake.open(os.environ.get("LAKE") or f"s3://{os.environ['S3_BUCKET_NAME']}") as lake:
        history = lake.feature_history(max_age=3600)
    print(f"warm with {len(history)} symbols as of {history.as_of}")
    windows = history.deques()
    async for symbol, row in live_rows(history, servers, os.environ.get("FEATURES_TOPIC", "features")):
        rows = windows.setdefault(symbol, deque(maxlen=history.window))
        rows.append(row)
        predict(symbol, rows)


if __name__ == "__main__":
    asyncio.run(main())
