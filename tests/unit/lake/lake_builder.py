"""A small lake, written through the public functions of the writing rooms: real files, real positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from streamer.commit.layouts import LayoutDocuments
from streamer.commit.ownership import Ownership
from streamer.commit.position import Gap, LastRecord, Position
from streamer.layout import Column, Format, Layout
from streamer.records import BatchRange, DeadLetter, DeadLetterReason, TopicPartition, record_crcs
from streamer.store.contract import Create, Store
from streamer.testing.manual_clock import ManualClock
from streamer.write.batch_files import BatchWriter

START = datetime(2026, 1, 3, 10, tzinfo=UTC)
TICKS = TopicPartition("ticks", 0)
CLUSTER = "cluster-of-the-test"
SYMBOLS = ("BTCUSDT", "ETH/USDT", "ação")


def tick_layout(stream: str = "ticks", format_: Format = "parquet", path: str = "symbol={symbol}/date={date}") -> Layout:
    columns = (
        Column("symbol", "string", required=True),
        Column("price", "float64", required=True),
        Column("quantity", "float64"),
        Column("timestamp", "timestamp[us, UTC]"),
    )
    return Layout(stream, "tick", columns, path, format_)


@dataclass
class Tick:
    """One record: a row, or a dead letter where it has no symbol."""

    offset: int
    symbol: str | None
    at: datetime = START
    price: float = 1.5

    @property
    def value(self) -> bytes:
        return f'{{"symbol":"{self.symbol}","price":{self.price}}}'.encode() if self.symbol is not None else b"not json"


@dataclass
class LakeBuilder:
    """Writes batches of one partition as the daemon would: seal, write, commit."""

    store: Store
    layout: Layout = field(default_factory=tick_layout)
    source: TopicPartition = TICKS
    start: int = 0
    writer: str = "writer-1"

    taken: bool = False

    def __post_init__(self) -> None:
        self.ownership = Ownership(self.store, self.source, writer=self.writer, host="test", clock=ManualClock())

    async def take(self) -> Position:
        if await self.ownership.look() is None:
            return await self.ownership.create(cluster_id=CLUSTER, start=self.start, layout=self.layout.fingerprint)
        return await self.ownership.take_over()

    async def batch(
        self, ticks: Sequence[Tick], end: int | None = None, *, commit: bool = True, gap: Gap | None = None
    ) -> None:
        await LayoutDocuments(self.store).ensure(self.layout)
        if not self.taken:
            self.taken = bool(await self.take())
        position = await self.ownership.seal(end or ticks[-1].offset + 1, self.layout.fingerprint)
        await self.write(BatchRange(self.source, position.committed, position.sealed, position.lineage), ticks)
        if commit:
            last = ticks[-1]
            crc = record_crcs([None], [last.value])[0]
            record = LastRecord(last.offset, milliseconds(last.at), crc)
            await self.ownership.commit(last=record, through=None, gap=gap)

    async def write(self, range_: BatchRange, ticks: Sequence[Tick]) -> None:
        letters = [
            DeadLetter(t.offset, milliseconds(t.at), b"key", t.value, (("h", b"1"),), DeadLetterReason.INVALID_JSON, "no")
            for t in ticks
            if t.symbol is None
        ]
        plan = BatchWriter(self.layout).plan(range_, [self.table([t for t in ticks if t.symbol is not None])], letters)
        for planned in plan.files:
            file = planned.encode()
            await self.store.put(file.key, file.body, mode=Create(), metadata=file.metadata, content_type=file.content_type)

    def table(self, ticks: Sequence[Tick]) -> pa.Table:
        columns = {
            "symbol": [t.symbol for t in ticks],
            "price": [t.price for t in ticks],
            "quantity": [None] * len(ticks),
            "timestamp": [t.at for t in ticks],
            "extra": [f'{{"n":{t.offset}.10}}' for t in ticks],
            "_partition": [self.source.partition] * len(ticks),
            "_offset": [t.offset for t in ticks],
            "_timestamp": [t.at for t in ticks],
            "_key": [b"key"] * len(ticks),
            "_crc": record_crcs([b"key"] * len(ticks), [t.value for t in ticks]),
        }
        schema = self.layout.decoded_schema
        return pa.table([pa.array(columns[f.name], f.type) for f in schema], schema=schema)


def milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def ticks_of(offsets: range, *, bad: Sequence[int] = (), every_seconds: float = 1.0, start: datetime = START) -> list[Tick]:
    """Ticks of three symbols in turn; those at `bad` become dead letters."""
    return [
        Tick(
            offset,
            None if offset in bad else SYMBOLS[offset % 3],
            start + timedelta(seconds=every_seconds * offset),
            offset / 8,
        )
        for offset in offsets
    ]


async def small_lake(store: Store, layout: Layout | None = None) -> LakeBuilder:
    """Three batches over two days and three symbols, with dead letters: siblings of every kind."""
    lake = LakeBuilder(store, layout or tick_layout())
    hour = 3600
    await lake.batch(ticks_of(range(10), bad=[3, 4], every_seconds=hour))
    await lake.batch(ticks_of(range(10, 20), bad=[12, 17], every_seconds=hour), end=25)
    await lake.batch(ticks_of(range(25, 40), every_seconds=hour))
    return lake
