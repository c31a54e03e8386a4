"""A lake of ticks, signals and features for the tests of the archive, written through the writing rooms, batch by batch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from streamer.archive.certificate import Certificate
from streamer.archive.certificates import read_certificate
from streamer.archive.close import Closed, DayCloser
from streamer.archive.day import end_of
from streamer.archive.inputs import take_stock
from streamer.archive.lease import Lease
from streamer.archive.settings import ArchivedStream, ArchiveSettings
from streamer.commit.layouts import LayoutDocuments
from streamer.commit.ownership import Ownership
from streamer.commit.position import LastRecord
from streamer.errors import Unavailable
from streamer.layout import Layout, SchemaName
from streamer.records import BatchRange, DeadLetter, DeadLetterReason, TopicPartition, record_crcs
from streamer.schemas import columns_of
from streamer.store.contract import Create, Store
from streamer.store.memory import MemoryStore
from streamer.testing.manual_clock import ManualClock
from streamer.workers import InlineWorkers
from streamer.write.batch_files import BatchWriter

DAY = date(2026, 1, 3)
NOON = datetime(2026, 1, 3, 12, tzinfo=UTC)
PATHS: Mapping[SchemaName, str] = {"tick": "symbol={symbol}/date={date}", "signal": "date={date}", "feature": "date={date}"}
STREAMS = (
    ArchivedStream("ticks", "ticks", "tick"),
    ArchivedStream("signals", "signals", "signal"),
    ArchivedStream("features", "features", "feature"),
)
SETTINGS = ArchiveSettings(STREAMS, budget_bytes=16 << 20)

Row = Mapping[str, Any]


class Dying:
    """A store as a process sees it that dies at change `at`: before it, or right after. Nothing gets through then."""

    def __init__(self, inner: Store, at: int, *, after: bool) -> None:
        self._inner = inner
        self._left = at
        self._after = after
        self.dead = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in ("get", "get_range", "head", "put", "delete"):
            return found

        async def call(*arguments: Any, **named: Any) -> Any:
            if self.dead:
                raise Unavailable("this process is dead")
            if name in ("put", "delete") and self._left == 0:
                self.dead = True
                if self._after:
                    await found(*arguments, **named)
                raise Unavailable("this process dies")
            self._left -= name in ("put", "delete")
            return await found(*arguments, **named)

        return call


def layout_of(schema: SchemaName, stream: str = "", path: str | None = None, **changes: Any) -> Layout:
    """A layout of a built-in schema; `types` and `columns` as the configuration has them."""
    columns = columns_of(schema, changes.pop("columns", {}), {}, changes.pop("types", {}))
    return Layout(stream or f"{schema}s", schema, columns, PATHS[schema] if path is None else path, **changes)


def at(seconds: float, day: date = DAY) -> datetime:
    """So many seconds after midnight."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=seconds)


def tick(seconds: float, symbol: str = "BTC", price: float = 1.0, quantity: float | None = 1.0, day: date = DAY) -> Row:
    return {"symbol": symbol, "price": price, "quantity": quantity, "timestamp": at(seconds, day)}


@dataclass
class Partition:
    """One topic-partition, written as the daemon would: seal, write, commit. A row of None is a dead letter."""

    store: Store
    layout: Layout
    source: TopicPartition
    ownership: Ownership = field(init=False)
    taken: bool = False

    def __post_init__(self) -> None:
        self.ownership = Ownership(self.store, self.source, writer=f"writer of {self.source}", host="test", clock=ManualClock())

    async def take(self) -> None:
        if self.taken:
            return
        self.taken = True
        await LayoutDocuments(self.store).ensure(self.layout)
        if await self.ownership.look() is None:
            await self.ownership.create(cluster_id="test", start=0, layout=self.layout.fingerprint)
        else:
            await self.ownership.take_over()

    async def batch(self, rows: Sequence[Row | None], *, commit: bool = True, letters_on: datetime = NOON) -> None:
        """The next batch."""
        await self.take()
        start = self.ownership.position.committed
        position = await self.ownership.seal(start + len(rows), self.layout.fingerprint)
        offsets = [start + number for number, row in enumerate(rows) if row is not None]
        letters = [
            DeadLetter(start + n, _ms(letters_on), None, b"no", (), DeadLetterReason.INVALID_JSON, "no")
            for n, row in enumerate(rows)
            if row is None
        ]
        range_ = BatchRange(self.source, start, position.sealed, position.lineage)
        table = self.table(offsets, [row for row in rows if row is not None])
        for planned in BatchWriter(self.layout).plan(range_, [table], letters).files:
            file = planned.encode()
            await self.store.put(file.key, file.body, mode=Create(), metadata=file.metadata, content_type=file.content_type)
        if commit:
            await self.ownership.commit(last=LastRecord(position.sealed - 1, 0, 0), through=None)

    async def through(self, moment: datetime) -> None:
        """Say that the partition is complete up to `moment`."""
        await self.take()
        await self.ownership.advance(moment)

    def table(self, offsets: Sequence[int], rows: Sequence[Row]) -> pa.Table:
        columns: dict[str, Any] = {name: [row.get(name) for row in rows] for name in self.layout.decoded_schema.names}
        columns |= {
            "_partition": [self.source.partition] * len(rows),
            "_offset": offsets,
            "_timestamp": [row["timestamp"] for row in rows],
            "_crc": record_crcs([None] * len(rows), [repr(sorted(row.items())).encode() for row in rows]),
        }
        schema = self.layout.decoded_schema
        return pa.table([pa.array(columns[f.name], f.type) for f in schema], schema=schema)


def partition(
    store: Store, schema: SchemaName = "tick", number: int = 0, topic: str = "", layout: Layout | None = None
) -> Partition:
    return Partition(store, layout or layout_of(schema), TopicPartition(topic or f"{schema}s", number))


async def close(
    store: Store,
    day: date = DAY,
    settings: ArchiveSettings = SETTINGS,
    *,
    streams: Sequence[str] | None = None,
    clock: Any = None,
    host: str = "closer",
) -> Closed:
    """Close a day, as `streamer archive` does."""
    lease = Lease(store, clock or ManualClock(), host=host)
    async with lease.held():
        stock = await take_stock(store, [stream.name for stream in settings.streams])
        return await DayCloser(store, lease, settings, InlineWorkers()).close(day, stock, streams)


async def copy_of(store: MemoryStore) -> MemoryStore:
    """Another lake that holds the same."""
    other = MemoryStore(ManualClock())
    for key, body in store.bodies.items():
        await other.put(key, body, mode=Create(), metadata=(await store.head(key)).metadata or {})
    return other


async def certificate(store: Store, day: date = DAY) -> Certificate:
    stored = await read_certificate(store, day)
    assert stored is not None
    return stored.certificate


async def archived(store: Store, key: str, day: date = DAY) -> pa.Table:
    """An object of the archive as a reader of certificates gets it: found by the certificate, its hash proved."""
    output = (await certificate(store, day)).output(key)
    assert output is not None, f"the certificate does not list {key}"
    body = (await store.get(output.place)).body
    assert (len(body), hashlib.sha256(body).hexdigest()) == (output.bytes, output.sha256)
    return pq.read_table(pa.BufferReader(body))


async def everything_complete(*partitions: Partition, day: date = DAY) -> None:
    for each in partitions:
        await each.through(end_of(day))


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
