"""A lake of order books: messages through the real decoder and the real writer, batch by batch."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from streamer.archive.settings import ArchivedStream, ArchiveSettings
from streamer.commit.layouts import LayoutDocuments
from streamer.commit.ownership import Ownership
from streamer.commit.position import LastRecord
from streamer.decode.decoder import make_decoder
from streamer.layout import LEVELS, Format, Layout
from streamer.records import BatchRange, RecordChunk, TopicPartition, record_crcs
from streamer.schemas import columns_of
from streamer.store.contract import Create, Store
from streamer.store.directory import DirectoryStore
from streamer.testing.manual_clock import ManualClock
from streamer.write.batch_files import BatchWriter
from tests.unit.lake_reader.reader_lake import close_day, utc

DAY = date(2026, 1, 3)
START = datetime(2026, 1, 3, 10, tzinfo=UTC)
BOOKS = TopicPartition("orderbooks", 0)
SETTINGS = ArchiveSettings(streams=(ArchivedStream("orderbooks", "orderbooks", "orderbook"),))
KAFKA_TIME = 1_767_434_400_000
SYMBOLS = ("BTC/USDT", "ETHUSDT")
DECIMALS = "list<struct<price: decimal128(20,6), quantity: decimal128(38,18)>>"


def book_layout(format_: Format = "parquet", levels: str = LEVELS, path: str = "symbol={symbol}/date={date}") -> Layout:
    columns = columns_of("orderbook", types={"bids": levels, "asks": levels})
    return Layout("orderbooks", "orderbook", columns, path, format_)


def messages(count: int, every: timedelta = timedelta(minutes=20), first: int = 0) -> list[dict[str, Any]]:
    """Books with sides of any length, some empty, null or absent, in both spellings."""
    chance = random.Random(first)
    made = []
    for number in range(first, first + count):
        sides = [
            [[f"{100 + sign * (n + 1) / 8:.3f}", f"{chance.randrange(1, 10**6) / 1e4:.4f}"] for n in range(chance.randrange(6))]
            for sign in (-1, 1)
        ]
        at = (START + every * number).isoformat().replace("+00:00", "Z")
        body: dict[str, Any] = {"symbol": SYMBOLS[number % 2], "timestamp": at, "update_id": number}
        names = ("bids", "asks") if number % 3 else ("b", "a")
        body |= dict(zip(names, sides, strict=True))
        if number % 5 == 4:
            body[names[1]] = None
        if number % 11 == 10:
            body[names[0]] = [[*level, "7"] for level in sides[0]]
        made.append(body)
    return made


def expected(message: dict[str, Any]) -> tuple[Any, ...]:
    """The row that a message of `messages` becomes, worked out without streamer."""
    bids, asks = (
        [{"price": float(price), "quantity": float(quantity)} for price, quantity, *_ in side] if side is not None else None
        for side in (message.get("bids", message.get("b")), message.get("asks", message.get("a")))
    )
    at = datetime.fromisoformat(message["timestamp"])
    return message["symbol"], at, str(message["update_id"]), bids, asks


def row_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """A row that was read, to compare with `expected`."""
    sides = [
        None if row[side] is None else [{name: float(number) for name, number in level.items()} for level in row[side]]
        for side in ("bids", "asks")
    ]
    return row["symbol"], row["timestamp"], row["update_id"], *sides


class BookLake:
    """One partition of order books, written as the daemon does it: seal, write, commit."""

    def __init__(self, store: Store, layout: Layout) -> None:
        self._store = store
        self._layout = layout
        self._ownership = Ownership(store, BOOKS, writer="writer", host="test", clock=ManualClock())
        self._offset = 0

    async def batch(self, values: Sequence[dict[str, Any]]) -> None:
        if self._offset == 0:
            await LayoutDocuments(self._store).ensure(self._layout)
            await self._ownership.look()
            await self._ownership.create(cluster_id="memory-cluster", start=0, layout=self._layout.fingerprint)
        start, end = self._offset, self._offset + len(values)
        offsets = list(range(start, end))
        texts: list[bytes | None] = [json.dumps(value).encode() for value in values]
        chunk = RecordChunk(BOOKS, start, end, offsets, [KAFKA_TIME] * len(values), [None] * len(values), texts)
        decoded = make_decoder(self._layout).decode(chunk)
        assert not decoded.dead_letters, decoded.dead_letters[0].detail
        await self._ownership.seal(end, self._layout.fingerprint)
        for planned in BatchWriter(self._layout).plan(BatchRange(BOOKS, start, end), [decoded.table], []).files:
            file = planned.encode()
            await self._store.put(file.key, file.body, mode=Create(), metadata=file.metadata, content_type=file.content_type)
        last = LastRecord(end - 1, KAFKA_TIME, record_crcs([None], texts[-1:])[0])
        await self._ownership.commit(last=last, through=None)
        self._offset = end

    async def through(self, moment: datetime) -> None:
        """Say that the partition is complete up to `moment`."""
        await self._ownership.advance(moment)


async def fill(store: Store, layout: Layout, made: Sequence[dict[str, Any]]) -> BookLake:
    """Two batches of books."""
    lake = BookLake(store, layout)
    half = len(made) // 2
    await lake.batch(made[:half])
    await lake.batch(made[half:])
    return lake


def build_books(path: Path, layout: Layout, *, closed: bool = False, keep_raw: bool = True) -> list[dict[str, Any]]:
    """A lake in a directory: 120 books of two days, the first of them closed where that is wanted. Returns the messages."""
    made = messages(120)

    async def work() -> None:
        store = DirectoryStore(path, ManualClock(), create=True)
        await store.prepare()
        lake = await fill(store, layout, made)
        if closed:
            await lake.through(utc(4, 12))
            await close_day(store, DAY, SETTINGS)
        await store.close()

    asyncio.run(work())
    if not keep_raw:
        for raw in path.glob("raw/orderbooks/**/*2026-01-03*/*"):
            raw.unlink()  # as retention does: now only the archive has the day
    return made
