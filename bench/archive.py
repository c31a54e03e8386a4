"""How fast a day of ticks is closed and proved, and how much memory that takes.

    python bench/archive.py [--rows 5_000_000] [--symbols 20] [--batch 100_000] [--budget 128MiB] [--path date={date}]

The lake is a temporary directory. The day is written by one process, closed by another and proved by a third, so that each has
a peak memory of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from streamer.archive.close import DayCloser
from streamer.archive.inputs import take_stock
from streamer.archive.interval import Interval
from streamer.archive.lease import Lease
from streamer.archive.settings import ArchivedStream, ArchiveSettings, Recipe
from streamer.clock import SystemClock
from streamer.commit.layouts import LayoutDocuments
from streamer.commit.ownership import Ownership
from streamer.config.values import parse_size
from streamer.lake.verify import verify
from streamer.layout import Layout
from streamer.records import BatchRange, TopicPartition
from streamer.schemas import columns_of
from streamer.store.contract import Create
from streamer.store.directory import DirectoryStore
from streamer.workers import ThreadWorkers
from streamer.write.batch_files import BatchWriter

DAY = date(2026, 1, 3)
MIDNIGHT_US = int(datetime(2026, 1, 3, tzinfo=UTC).timestamp() * 10**6)
TICKS = TopicPartition("ticks", 0)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Ticks:
    """Ticks of a day, a little out of order, spread over the symbols. Chance is drawn once for a batch: symbols and sizes come
    again in the next one, at other times and prices."""

    def __init__(self, layout: Layout, rows: int, symbols: int) -> None:
        chance = random.Random(1)
        self._layout = layout
        self._symbols = pa.array([f"SYM{chance.randrange(symbols):04d}" for _ in range(rows)])
        self._prices = pa.array([round(100 + chance.gauss(0, 5), 2) for _ in range(rows)])
        self._quantities = pa.array([round(chance.expovariate(2), 4) for _ in range(rows)])
        self._sides = pa.array([chance.choice(("buy", "sell")) for _ in range(rows)])
        self._delays = pa.array([int(chance.gauss(0, 2e5)) for _ in range(rows)])

    def batch(self, start: int, rows: int, total: int) -> pa.Table:
        numbers = pa.array(range(start, start + rows))
        steps = pc.multiply(numbers.cast(pa.float64()), 86_400 * 10**6 / total).cast(pa.int64(), safe=False)
        into = pc.min_element_wise(pc.max_element_wise(pc.add(steps, self._delays[:rows]), 0), 86_400 * 10**6 - 1)
        times = pc.add(into, MIDNIGHT_US)
        prices = pc.round(pc.add(self._prices[:rows], start // 1000 % 97 / 100), 2)
        columns = {
            "symbol": self._symbols[:rows],
            "price": prices,
            "quantity": self._quantities[:rows],
            "side": self._sides[:rows],
            "exchange": pa.repeat("BENCH", rows),
            "trade_id": numbers.cast(pa.string()),
            "timestamp": times.cast(pa.timestamp("us", tz="UTC")),
            "extra": pa.nulls(rows, pa.string()),
            "_partition": pa.repeat(pa.scalar(0, pa.int32()), rows),
            "_offset": numbers,
            "_timestamp": pc.divide(times, 1000).cast(pa.timestamp("ms", tz="UTC")),
            "_key": pa.nulls(rows, pa.binary()),
            "_crc": pa.repeat(pa.scalar(7, pa.uint32()), rows),
        }
        schema = self._layout.decoded_schema
        return pa.table([columns[f.name] for f in schema], schema=schema)


async def write(folder: Path, options: argparse.Namespace) -> None:
    store = DirectoryStore(folder, SystemClock(), create=True)
    await store.prepare()
    layout = Layout("ticks", "tick", columns_of("tick"), options.path)
    await LayoutDocuments(store).ensure(layout)
    ownership = Ownership(store, TICKS, writer="bench", host="bench", clock=SystemClock())
    await ownership.look()
    await ownership.create(cluster_id="bench", start=0, layout=layout.fingerprint)
    ticks = Ticks(layout, options.batch, options.symbols)
    writer, began, bytes_ = BatchWriter(layout), time.monotonic(), 0
    for start in range(0, options.rows, options.batch):
        rows = min(options.batch, options.rows - start)
        await ownership.seal(start + rows, layout.fingerprint)
        table = ticks.batch(start, rows, options.rows)
        for planned in writer.plan(BatchRange(TICKS, start, start + rows), [table], ()).files:
            file = planned.encode()
            bytes_ += len(file.body)
            await store.put(file.key, file.body, mode=Create(), metadata=file.metadata)
        await ownership.commit(last=None, through=datetime(2026, 1, 4, tzinfo=UTC))
    print(f"wrote   {options.rows:,} ticks, {bytes_ / 2**20:,.0f} MiB in {time.monotonic() - began:.1f} s", flush=True)


async def close(folder: Path, options: argparse.Namespace) -> None:
    store, workers = DirectoryStore(folder, SystemClock()), ThreadWorkers(1)
    await store.prepare()
    intervals = tuple(map(Interval.parse, ("1m", "5m", "1h")))
    settings = ArchiveSettings(
        (ArchivedStream("ticks", "ticks", "tick"),), Recipe(intervals), budget_bytes=parse_size(options.budget)
    )
    before, began = peak_mib(), time.monotonic()
    lease = Lease(store, SystemClock(), host="bench")
    async with lease.held():
        closed = await DayCloser(store, lease, settings, workers).close(DAY, await take_stock(store, ["ticks"]))
    took, cpu, outputs = time.monotonic() - began, time.process_time(), list(closed.certificate.outputs)
    assert closed.certificate.streams["ticks"].rows == options.rows
    print(
        f"closed  {options.rows:,} ticks in {took:.1f} s ({cpu:.1f} s of CPU): {options.rows / took:,.0f} rows/s, "
        f"{len(outputs)} files, {sum(o.bytes for o in outputs) / 2**20:,.0f} MiB; "
        f"peak RSS {peak_mib():,.0f} MiB ({before:,.0f} MiB of it before the first row), budget {options.budget}",
        flush=True,
    )
    workers.close()


async def prove(folder: Path, options: argparse.Namespace) -> None:
    store, workers = DirectoryStore(folder, SystemClock()), ThreadWorkers(1)
    await store.prepare()
    began = time.monotonic()
    report = await verify(store, workers=workers)
    took = time.monotonic() - began
    assert report.sound, report.findings
    print(
        f"proved  in {took:.1f} s ({time.process_time():.1f} s of CPU): {options.rows / took:,.0f} rows/s; "
        f"peak RSS {peak_mib():,.0f} MiB",
        flush=True,
    )
    workers.close()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", type=int, default=5_000_000)
    arguments.add_argument("--symbols", type=int, default=20)
    arguments.add_argument("--batch", type=int, default=100_000)
    arguments.add_argument("--budget", default="128MiB")
    arguments.add_argument("--path", default="symbol={symbol}/date={date}")
    arguments.add_argument("--step", choices=("write", "close", "prove"), help=argparse.SUPPRESS)
    arguments.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.step:
        asyncio.run({"write": write, "close": close, "prove": prove}[options.step](options.folder, options))
        return
    with tempfile.TemporaryDirectory() as folder:
        for step in ("write", "close", "prove"):
            subprocess.run([sys.executable, __file__, *sys.argv[1:], "--step", step, "--folder", folder], check=True)


if __name__ == "__main__":
    main()
