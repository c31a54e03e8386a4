"""What an able developer writes by hand in an afternoon: getmany, orjson, `Table.from_pylist`, Parquet, put, commit.

    python -m bench.throughput.contestants.baseline TOPIC PARTITIONS RECORDS symbol|date

It is fast enough to be used and promises nothing: a crash between put and commit doubles rows, one bad record stops it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from collections import defaultdict
from datetime import datetime
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from aiobotocore.session import get_session
from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.throughput.processes import BEGIN, END, say

ROWS_MAX = 500_000


def row_of(record: Any) -> dict[str, Any]:
    """The columns that streamer's built-in schema has, the record's own place included."""
    row: dict[str, Any] = orjson.loads(record.value)
    row["price"], row["quantity"] = float(row["price"]), float(row["quantity"])
    row["timestamp"] = datetime.fromisoformat(row["timestamp"])
    row["_partition"], row["_offset"], row["_timestamp"] = record.partition, record.offset, record.timestamp
    return row


def encode(rows: list[dict[str, Any]]) -> bytes:
    """One Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink, compression="zstd")
    return bytes(sink.getvalue())


async def main(topic: str, partitions: int, records: int, placing: str) -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        group_id=uuid.uuid4().hex,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    consumer.assign([TopicPartition(topic, number) for number in range(partitions)])
    bucket, _, prefix = os.environ["LAKE"].removeprefix("s3://").partition("/")
    async with get_session().create_client("s3") as s3:
        files = done = 0
        say(BEGIN)
        while done < records:
            rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
            held = 0
            while held < ROWS_MAX and done + held < records:
                for chunk in (await consumer.getmany(timeout_ms=1000, max_records=20_000)).values():
                    held += len(chunk)
                    for record in chunk:
                        row = row_of(record)
                        date = row["timestamp"].date().isoformat()
                        path = f"symbol={row['symbol']}/date={date}" if placing == "symbol" else f"date={date}"
                        rows[path].append(row)
            for path, found in rows.items():
                body = await asyncio.to_thread(encode, found)
                await s3.put_object(Bucket=bucket, Key=f"{prefix}/{path}/{uuid.uuid4().hex}.parquet", Body=body)
            await consumer.commit()
            done += held
            files += len(rows)
        say(END, records=done, files=files)
    await consumer.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
