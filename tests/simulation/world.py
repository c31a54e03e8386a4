"""A world for the real pipeline: a broker, a bucket and replicas, all in memory, on virtual time.

A replica that crashes stops in the middle of whatever it awaits; its requests under way may still land. What the lake
holds is read back with plain pyarrow, never through streamer's own reader.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import itertools
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field

import pyarrow.parquet as pq

from streamer.commit.position import Position
from streamer.components import assemble
from streamer.decode.decoder import make_decoder
from streamer.errors import Unavailable
from streamer.keys import DataKey, parse_data_key, position_key
from streamer.layout import Column, Layout
from streamer.metrics import Metrics
from streamer.pipeline import Budgets, Pipeline
from streamer.quality_rules import NO_RULES, QualityRules
from streamer.records import TopicPartition
from streamer.store.contract import NO_METADATA, ObjectInfo, PutMode, Store, StoredObject
from streamer.store.memory import MemoryStore
from streamer.store.retry import RetryingStore
from streamer.streams import CutLimits, HistorySpec, Stream
from streamer.testing.manual_clock import VirtualClock
from streamer.testing.memory_broker import MemoryBroker
from streamer.workers import InlineWorkers, Workers

TICKS = TopicPartition("ticks", 0)
SMALL_CUTS = CutLimits(rows=10, age_seconds=5.0)
START_MS = 1_704_067_200_000  # 2024-01-01T00:00:00Z


def layout(path: str = "symbol={symbol}/date={date}", **changes: object) -> Layout:
    """A small tick layout; `changes` make it another one."""
    columns = (Column("symbol", "string", True), Column("price", "float64", True), Column("timestamp", "timestamp[us, UTC]"))
    return Layout(**{"stream": "ticks", "schema": "tick", "columns": columns, "path": path, **changes})  # type: ignore[arg-type]


def tick(number: int, symbol: str | None = None) -> bytes:
    """The value of record `number`; every seventh is not JSON and becomes a dead letter."""
    if number % 7 == 6:
        return b"{broken " + str(number).encode()
    return json.dumps(
        {"symbol": symbol or "AB"[number % 2], "price": float(number), "timestamp": START_MS + number * 1000}
    ).encode()


class MortalStore:
    """The store as one process sees it. After `die` no request leaves it any more: the process is gone."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner
        self.dead = False
        self.url = inner.url
        self.conditional_writes = inner.conditional_writes

    def _alive(self) -> Store:
        if self.dead:
            raise Unavailable("this process was killed")
        return self._inner

    async def get(self, key: str) -> StoredObject:
        return await self._alive().get(key)

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        return await self._alive().get_range(key, start, length)

    async def head(self, key: str) -> ObjectInfo:
        return await self._alive().head(key)

    async def put(
        self,
        key: str,
        body: bytes | memoryview,
        *,
        mode: PutMode,
        metadata: Mapping[str, str] = NO_METADATA,
        content_type: str = "application/octet-stream",
    ) -> str:
        return await self._alive().put(key, body, mode=mode, metadata=metadata, content_type=content_type)

    async def delete(self, key: str) -> None:
        await self._alive().delete(key)

    async def list(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        async for info in self._alive().list(prefix, start_after=start_after):
            yield info

    async def prepare(self) -> None:
        await self._alive().prepare()

    async def close(self) -> None:
        """Nothing to close."""


@dataclass
class Replica:
    """One process."""

    name: str
    pipeline: Pipeline
    store: MortalStore
    crash_source: Callable[[], None]
    metrics: Metrics
    stop_event: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def start(self) -> Replica:
        self.task = asyncio.create_task(self.pipeline.run(self.stop_event), name=self.name)
        return self

    async def stop(self) -> None:
        """SIGTERM, and wait for the end."""
        assert self.task is not None
        self.stop_event.set()
        await self.task

    async def crash(self) -> None:
        """SIGKILL: not one more request, no hand-over, no good-bye."""
        assert self.task is not None
        self.store.dead = True
        self.crash_source()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


class World:
    """A broker with one topic, an empty lake, and as many replicas as a test wants."""

    def __init__(self, clock: VirtualClock, *, partitions: int = 1) -> None:
        self.clock = clock
        self.broker = MemoryBroker(clock=clock, session_timeout_seconds=10.0)
        self.broker.create_topic("ticks", partitions)
        self.lake = MemoryStore(clock)
        self.sent: dict[TopicPartition, list[bytes]] = {}
        self._replicas = 0

    def produce(self, count: int, partition: int = 0) -> None:
        """Append `count` more ticks, numbered from 0 within the partition."""
        source = TopicPartition("ticks", partition)
        values = self.sent.setdefault(source, [])
        for _ in range(count):
            value = tick(len(values))
            self.broker.append(source, value)
            values.append(value)

    def replica(
        self,
        *,
        store: Store | None = None,
        cut: CutLimits = SMALL_CUTS,
        layout_: Layout | None = None,
        until_caught_up: bool = False,
        chunk_records: int | Callable[[], int] = 4,
        budget_bytes: int = 64 << 20,
        group: str = "streamer",
        workers: Workers | None = None,
        budgets: Budgets | None = None,
        history: HistorySpec | None = None,
        quality: QualityRules = NO_RULES,
        **kit: object,
    ) -> Replica:
        """A process, not started yet."""
        self._replicas += 1
        name = f"replica-{self._replicas}"
        source = self.broker.source(group, name, chunk_records=chunk_records)
        mortal = MortalStore(store or self.lake)
        metrics = Metrics()
        parts = assemble(
            source,
            RetryingStore(mortal, self.clock, attempts=2),
            clock=self.clock,
            workers=workers or InlineWorkers(),
            metrics=metrics,
            make_decoder=make_decoder,
            host=name,
            budget_bytes=budget_bytes,
            **kit,  # type: ignore[arg-type]
        )
        stream = Stream("ticks", "ticks", layout_ or layout(), cut, history=history, quality=quality)
        pipeline = Pipeline([stream], parts, budgets or Budgets(), until_caught_up=until_caught_up)
        return Replica(name, pipeline, mortal, source.crash, metrics)

    async def catch_up(self, **options: object) -> Replica:
        """One more replica, from start to the end of the topic, as `streamer run --until-caught-up`."""
        replica = self.replica(until_caught_up=True, **options).start()  # type: ignore[arg-type]
        assert replica.task is not None
        await replica.task
        return replica

    async def wait(self, condition: Callable[[], object], *, seconds: float = 600.0) -> None:
        """Until `condition()` holds."""
        ends = self.clock.monotonic() + seconds
        while not condition():
            assert self.clock.monotonic() < ends, "the condition never came true"
            await self.clock.sleep(0.05)

    # what anybody can see

    def position(self, source: TopicPartition = TICKS) -> Position | None:
        body = self.lake.bodies.get(position_key(source))
        return None if body is None else Position.from_json(body, key=position_key(source))

    def committed(self, source: TopicPartition = TICKS) -> int:
        position = self.position(source)
        return -1 if position is None else position.committed

    def files(self) -> dict[str, DataKey]:
        return {key: parsed for key in self.lake.bodies if (parsed := parse_data_key(key)) is not None}

    def offsets_in_files(self) -> dict[tuple[TopicPartition, int], list[int]]:
        """(partition, lineage) -> every offset that any file lists, rows and dead letters, sorted, doubles included."""
        found: dict[tuple[TopicPartition, int], list[int]] = {}
        for key, parsed in self.files().items():
            body = self.lake.bodies[key]
            if parsed.dead_letters:
                offsets = [json.loads(line)["offset"] for line in gzip.decompress(body).splitlines()]
            else:
                offsets = pq.read_table(io.BytesIO(body))["_offset"].to_pylist()
            found.setdefault((parsed.range.source, parsed.range.lineage), []).extend(offsets)
        return {source: sorted(offsets) for source, offsets in found.items()}

    def prices(self) -> list[float]:
        """Every price in the lake, sorted: the rows themselves and not only their offsets."""
        tables = [
            pq.read_table(io.BytesIO(self.lake.bodies[key])) for key, parsed in self.files().items() if not parsed.dead_letters
        ]
        return sorted(price for table in tables for price in table["price"].to_pylist())

    def assert_exactly_once(self, *, lineage: int = 0) -> None:
        """Every record produced is in the lake once: as a row with its value, or as a dead letter. Ranges abut."""
        found = self.offsets_in_files()
        for source, values in self.sent.items():
            assert found.get((source, lineage), []) == list(range(len(values))), f"{source}: missing or double"
        rows = [float(n) for values in self.sent.values() for n in range(len(values)) if n % 7 != 6]
        assert self.prices() == sorted(rows)
        self.assert_ranges_abut()

    def assert_ranges_abut(self) -> None:
        ranges = sorted({parsed.range for parsed in self.files().values()})
        for one, other in itertools.pairwise(ranges):
            if (one.source, one.lineage) == (other.source, other.lineage):
                assert one.end == other.start, f"{one} then {other}"
