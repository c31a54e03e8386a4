"""What a feature history costs: memory, feeding, snapshot, restore, the loop's worst pause, ingest with and without it.

    python bench/history.py [--big] [--lake DIR]

1,000 symbols x 20 rows x 20 features and 5,000 x 20 x 50; with --big also 5,000 x 200 x 50 (a gigabyte and more of JSON: needs
about 4 GiB of memory). The lake is a directory; the figures of one machine say nothing about another.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson
import pyarrow as pa

from streamer.clock import SystemClock
from streamer.components import assemble
from streamer.decode.decoder import make_decoder
from streamer.features.merged import MergedHistory
from streamer.features.read import read_history
from streamer.features.snapshots import Snapshots
from streamer.features.window import HistoryWindow
from streamer.keys import feature_history_key
from streamer.layout import Layout
from streamer.metrics import Metrics
from streamer.pipeline import Budgets, Pipeline
from streamer.records import RecordChunk, TopicPartition
from streamer.schemas import columns_of
from streamer.store.directory import DirectoryStore
from streamer.streams import CutLimits, HistorySpec, Stream
from streamer.testing.memory_broker import MemoryBroker
from streamer.workers import ThreadWorkers

SOURCE = TopicPartition("features", 0)
LAYOUT = Layout("features", "feature", columns_of("feature"), "date={date}")
START_MS = 1_704_067_200_000


def resident_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def values(start: int, count: int, symbols: int, features: int, chance: random.Random) -> list[bytes]:
    names = [f"feature_{number}" for number in range(features)]
    return [
        orjson.dumps(
            {
                "symbol": f"SYM{number % symbols}USDT",
                "timestamp": START_MS + number,
                "features": {name: chance.random() for name in names},
            }
        )
        for number in range(start, start + count)
    ]


def table(start: int, count: int, symbols: int, features: int, chance: random.Random) -> pa.Table:
    offsets = list(range(start, start + count))
    chunk = RecordChunk(
        SOURCE,
        start,
        start + count,
        offsets,
        [START_MS] * count,
        [None] * count,
        values(start, count, symbols, features, chance),
    )
    return make_decoder(LAYOUT).decode(chunk).table


class Pauses:
    """The longest time that the event loop did not come round."""

    def __init__(self) -> None:
        self.worst_seconds = 0.0

    async def watch(self) -> None:
        before = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            self.worst_seconds = max(self.worst_seconds, now - before - 0.001)
            before = now


async def timed(name: str, work: Callable[[], Awaitable[object]]) -> object:
    gc.collect()
    pauses = Pauses()
    watching = asyncio.create_task(pauses.watch())
    await asyncio.sleep(0.05)
    pauses.worst_seconds = 0.0
    began = time.perf_counter()
    result = await work()
    took = time.perf_counter() - began
    watching.cancel()
    print(
        f"  {name:28} {took * 1000:9.0f} ms   worst pause {pauses.worst_seconds * 1000:6.1f} ms   {resident_mib():6.0f} MiB",
        flush=True,
    )
    return result


async def snapshot_and_restore(symbols: int, window: int, features: int, folder: Path) -> None:
    print(f"{symbols} symbols x {window} rows x {features} features")
    chance = random.Random(1)
    clock, workers = SystemClock(), ThreadWorkers(2)
    store = DirectoryStore(folder, clock, create=True)
    await store.prepare()
    before = resident_mib()
    history = HistoryWindow(window, symbols)
    rows, step = symbols * window, 5_000
    fed_seconds, prepared_seconds = 0.0, 0.0
    for start in range(0, rows, step):
        made = table(start, min(step, rows - start), symbols, features, chance)
        began = time.perf_counter()
        prepared = history.prepare([made])
        middle = time.perf_counter()
        history.feed(prepared, start + made.num_rows)
        prepared_seconds += middle - began
        fed_seconds = max(fed_seconds, time.perf_counter() - middle)
        del made, prepared
    gc.collect()
    pa.default_memory_pool().release_unused()
    print(f"  memory: counted {history.size_bytes / 2**20:.0f} MiB, resident {resident_mib() - before:.0f} MiB more")
    print(f"  in a worker: {prepared_seconds / rows * 1e6:.2f} us a row that stays; in the loop: {fed_seconds * 1000:.1f} ms")
    snapshots = Snapshots(store, clock, workers)
    stream = Stream("features", "features", LAYOUT, history=HistorySpec(window=window, keep=0))
    merged = MergedHistory(store, stream, clock, workers)

    async def save() -> None:
        await snapshots.save(SOURCE, "features", history.freeze(), clock.now())

    await timed("snapshot", save)
    print(f"  {'':28} {(folder / feature_history_key(SOURCE)).stat().st_size / 2**20:9.1f} MiB of JSON")
    await timed("merged document", merged.merge)

    async def restore() -> HistoryWindow:
        new = HistoryWindow(window, symbols)
        found = await snapshots.load(SOURCE, new.names)
        assert found is not None
        await workers.run(new.restore, found.symbols)
        assert new.size_bytes == history.size_bytes
        return new

    await timed("restore in the daemon", restore)
    read = await timed("Lake.feature_history()", lambda: read_history(store, clock, workers=workers))
    assert len(read) == symbols  # type: ignore[arg-type]
    began = time.perf_counter()
    arrow = read.to_arrow()  # type: ignore[attr-defined]
    print(f"  {'to_arrow()':28} {(time.perf_counter() - began) * 1000:9.0f} ms   {arrow.nbytes / 2**20:.0f} MiB")
    workers.close()
    await store.close()


async def ingest(records: int, symbols: int, features: int, folder: Path, history: HistorySpec | None) -> float:
    """Records a second through the whole pipeline, from a broker in memory into a directory."""
    clock, workers = SystemClock(), ThreadWorkers(2)
    broker = MemoryBroker(clock=clock)
    broker.create_topic("features", 1)
    for value in values(0, records, symbols, features, random.Random(2)):
        broker.append(SOURCE, value)
    gc.collect()
    gc.freeze()  # the broker's records are no part of the daemon
    store = DirectoryStore(folder, clock, create=True)
    await store.prepare()
    kit = assemble(
        broker.source("bench", "bench", chunk_records=5000),
        store,
        clock=clock,
        workers=workers,
        metrics=Metrics(),
        make_decoder=make_decoder,
        host="bench",
        budget_bytes=1 << 30,
    )
    stream = Stream("features", "features", LAYOUT, CutLimits(rows=50_000), history=history)
    pauses = Pauses()
    watching = asyncio.create_task(pauses.watch())
    began = time.perf_counter()
    await Pipeline([stream], kit, Budgets(), until_caught_up=True).run(asyncio.Event())
    took = time.perf_counter() - began
    watching.cancel()
    name = "with a history" if history else "without"
    print(
        f"  {name:28} {records / took:9.0f} records/s   worst pause {pauses.worst_seconds * 1000:6.1f} ms",
        flush=True,
    )
    workers.close()
    await store.close()
    return records / took


async def run(options: argparse.Namespace) -> None:
    gc.set_threshold(50_000, 20, 50)  # as the daemon does
    with tempfile.TemporaryDirectory(dir=options.lake) as top:
        shapes = [(1000, 20, 20), (5000, 20, 50), *([(5000, 200, 50)] if options.big else [])]
        for number, (symbols, window, features) in enumerate(shapes):
            await snapshot_and_restore(symbols, window, features, Path(top) / str(number))
        for symbols, features in ((1000, 20), (5000, 50)):
            print(f"ingest, {options.records} records, {symbols} x 20 x {features}, a snapshot every second")
            for turn in range(2):
                spec = HistorySpec(window=20, snapshot_every_seconds=1.0)
                for history in (None, spec):
                    folder = Path(top) / f"ingest-{symbols}-{turn}-{history is not None}"
                    await ingest(options.records, symbols, features, folder, history)


def main() -> None:
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--big", action="store_true", help="also 5,000 x 200 x 50")
    arguments.add_argument("--lake", default=None, help="where the temporary lake is made")
    arguments.add_argument("--records", type=int, default=200_000, help="records of the ingest measurement (200,000)")
    asyncio.run(run(arguments.parse_args()))


if __name__ == "__main__":
    main()
