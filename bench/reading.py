"""Reading a month of one symbol: this library, plain pyarrow.dataset, DuckDB globbing. Over one directory or bucket, same rows.

    python bench/reading.py [--days 30] [--symbols 50] [--files 8] [--rows 500] [--repeat 5] [--s3 endpoint,key,secret]

Writes days x symbols x files small Parquet files, as micro-batches are, reads one symbol of all days in event-time order, and
prints the best and the median seconds of so many runs. Opening (loading the client, asking for the bucket) is not counted;
listing is. Cold: this library's cache is empty; the others have none. Cached: from the disk, in a new process's state.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs as pa_fs

from streamer import Lake
from streamer.clock import SystemClock
from streamer.commit.layouts import LayoutDocuments
from streamer.layout import Layout
from streamer.records import BatchRange, TopicPartition
from streamer.schemas import columns_of
from streamer.store.contract import Create, Store
from streamer.store.open import create_place, open_store
from streamer.store.s3_settings import S3Settings
from streamer.write.batch_files import BatchWriter

START = datetime(2026, 1, 1, tzinfo=UTC)
LAYOUT = Layout("ticks", "tick", columns_of("tick"), "symbol={symbol}/date={date}")


def table(first: int, count: int, symbol: str, start: datetime, span: timedelta) -> pa.Table:
    """Rows as a batch of one symbol has them."""
    step = int(span.total_seconds() * 1e6) // count
    micros = int(start.timestamp() * 1e6)
    times = pa.array([micros + n * step for n in range(count)], pa.timestamp("us", "UTC"))
    known = {
        "symbol": pa.array([symbol] * count),
        "price": pa.array([100 + n * 7919 % 1000 / 8 for n in range(count)]),
        "quantity": pa.array([n % 97 / 10 for n in range(count)]),
        "timestamp": times,
        "_partition": pa.array([0] * count, pa.int32()),
        "_offset": pa.array(range(first, first + count), pa.int64()),
        "_timestamp": times.cast(pa.timestamp("ms", "UTC"), safe=False),
        "_crc": pa.array([0] * count, pa.uint32()),
    }
    schema = LAYOUT.decoded_schema
    return pa.table([known[f.name] if f.name in known else pa.nulls(count, f.type) for f in schema], schema=schema)


async def fill(store: Store, options: argparse.Namespace) -> None:
    """Write the lake."""
    await store.prepare()
    await LayoutDocuments(store).ensure(LAYOUT)
    writer, first = BatchWriter(LAYOUT), 0
    span = timedelta(days=1) / options.files
    for day in range(options.days):
        for number in range(options.files):
            start = START + timedelta(days=day) + span * number
            tables = []
            for symbol in range(options.symbols):
                tables.append(table(first, options.rows, f"S{symbol:03}", start, span))
                first += options.rows
            range_ = BatchRange(TopicPartition("ticks", 0), first - options.rows * options.symbols, first)
            plan = writer.plan(range_, tables, [])
            files = [planned.encode() for planned in plan.files]
            await asyncio.gather(*(store.put(f.key, f.body, mode=Create(), metadata=f.metadata) for f in files))
    await store.close()


def timed(name: str, read: Callable[[], Any], expected: int, repeat: int) -> None:
    """Run it, check the number of rows, print the seconds."""
    taken = []
    for _ in range(repeat):
        rows, seconds = read()
        assert rows == expected, (name, rows, expected)
        taken.append(seconds)
    print(f"| {name:<34} | {min(taken):6.3f} | {statistics.median(taken):6.3f} |")


def clocked(read: Callable[[], int]) -> tuple[int, float]:
    """What `read` returns, and its seconds."""
    began = time.perf_counter()
    return read(), time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("--days", 30), ("--symbols", 50), ("--files", 8), ("--rows", 500), ("--repeat", 5)):
        parser.add_argument(name, type=int, default=value)
    parser.add_argument("--s3", default="")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="streamer-bench-"))
    settings, keys = S3Settings(), {}
    url: str = str(folder / "lake")
    arrow: tuple[str, Any] = (f"{url}/raw/ticks", None)
    if options.s3:
        endpoint, key, secret = options.s3.split(",")
        url = f"s3://bench-{uuid.uuid4().hex[:8]}"
        keys = {"endpoint_url": endpoint, "access_key_id": key, "secret_access_key": secret, "region": "us-east-1"}
        settings = S3Settings(**keys)
        scheme, _, host = endpoint.partition("://")
        files = pa_fs.S3FileSystem(access_key=key, secret_key=secret, endpoint_override=host, scheme=scheme, region="us-east-1")
        arrow = (f"{url.removeprefix('s3://')}/raw/ticks", files)
    asyncio.run(create_place(url, settings, SystemClock()))
    asyncio.run(fill(open_store(url, settings, SystemClock()), options))
    expected = options.days * options.files * options.rows
    print(f"{url}: {options.days * options.symbols * options.files} files, {expected} rows of the symbol")

    def streamer(cache: Path | None) -> tuple[int, float]:
        with Lake.open(url, cache=cache, **keys) as lake:
            end = START + timedelta(days=options.days)
            return clocked(lambda: len(lake.ticks("S007", START, end, columns=["timestamp", "price"])))

    def emptied() -> Path:
        shutil.rmtree(folder / "cache", ignore_errors=True)
        return folder / "cache"

    def dataset() -> int:
        found = ds.dataset(arrow[0], filesystem=arrow[1], format="parquet", partitioning="hive")
        rows = found.to_table(filter=pc.field("symbol") == "S007", columns=["timestamp", "price"])
        return int(rows.sort_by("timestamp").num_rows)

    def glob() -> int:
        connection = duckdb.connect()
        query = f"SELECT timestamp, price FROM read_parquet('{url}/raw/ticks/**/*.parquet', hive_partitioning = true)"
        rows = connection.sql(f"{query} WHERE symbol = 'S007' ORDER BY timestamp").to_arrow_table().num_rows
        connection.close()
        return int(rows)

    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    print(f"| {'seconds':<34} |   best | median |\n|---|---|---|")
    if options.s3:
        timed("Lake, no cache", lambda: streamer(None), expected, options.repeat)
        timed("Lake, cold", lambda: streamer(emptied()), expected, options.repeat)
        timed("Lake, cached", lambda: streamer(folder / "cache"), expected, options.repeat)
    else:
        # A directory is as near as its cache would be: there is none.
        timed("Lake", lambda: streamer(None), expected, options.repeat)
    timed("pyarrow.dataset, sorted", lambda: clocked(dataset), expected, options.repeat)
    if not options.s3:
        # Over S3 DuckDB needs an extension, which would have to be downloaded.
        timed("DuckDB globbing, sorted", lambda: clocked(glob), expected, options.repeat)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
