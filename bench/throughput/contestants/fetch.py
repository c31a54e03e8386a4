"""The limit: aiokafka's fetcher, undecoded record batches, four columns extracted in a thread, and dropped.

    python -m bench.throughput.contestants.fetch TOPIC PARTITIONS [getmany]

No group, no state, none of streamer's code. `getmany` measures aiokafka's public call instead.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import FetchResult

from bench.throughput.processes import BEGIN, END, say


def take(result: FetchResult) -> list[Any]:
    """All batches of a fetch result; its position moves behind them."""
    records = result._partition_records
    batches = []
    while records._records.has_next():
        batch = records._records.next_batch()
        records.next_fetch_offset = batch.next_offset
        if not batch.is_control_batch:
            batches.append(batch)
    result._update_position()
    return batches


def extract(batches: list[Any]) -> tuple[int, int]:
    """Offsets, timestamps, keys and values as lists; how many, and how many bytes of values."""
    offsets, timestamps, keys, values = [], [], [], []
    for batch in batches:
        if not batch.validate_crc():
            raise ValueError("wrong checksum")
        for record in batch:
            offsets.append(record.offset)
            timestamps.append(record.timestamp)
            keys.append(record.key)
            values.append(record.value)
    return len(offsets), sum(map(len, values))


async def main(topic: str, partitions: int, way: str) -> None:
    gc.set_threshold(50_000, 20, 50)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        check_crcs=True,
        fetch_max_bytes=16 << 20,
        max_partition_fetch_bytes=1 << 20,
    )
    await consumer.start()
    places = [TopicPartition(topic, number) for number in range(partitions)]
    wanted = sum((await consumer.end_offsets(places)).values())
    say(BEGIN)
    consumer.assign(places)
    await consumer.seek_to_beginning()
    records = size = 0
    fetcher = consumer._fetcher
    while records < wanted:
        if way == "getmany":
            found = await consumer.getmany(timeout_ms=1000, max_records=20_000)
            for chunk in found.values():
                records += len(chunk)
                size += sum(len(record.value) for record in chunk)
            continue
        ready = [place for place, result in fetcher._records.items() if isinstance(result, FetchResult)]
        taken = [take(fetcher._records.pop(place)) for place in ready]
        fetcher._notify(fetcher._wait_consume_future)
        if not taken:
            await asyncio.wait([fetcher._create_fetch_waiter()], timeout=1)
        for count, length in await asyncio.gather(*(asyncio.to_thread(extract, batches) for batches in taken)):
            records, size = records + count, size + length
    say(END, records=records, bytes=size)
    await consumer.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "batches"))
