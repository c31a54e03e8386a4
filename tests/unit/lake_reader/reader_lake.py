"""A small lake with closed and open days, on any store, and counts of what was asked of the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from streamer.archive.close import DayCloser
from streamer.archive.inputs import take_stock
from streamer.archive.interval import Interval
from streamer.archive.lease import Lease
from streamer.archive.settings import ArchivedStream, ArchiveSettings, Recipe
from streamer.errors import Conflict
from streamer.keys import position_key
from streamer.lake.reader import Reader
from streamer.lake.request import ReadRequest
from streamer.layout import Layout
from streamer.store.contract import ObjectInfo, Replace, Store, StoredObject
from streamer.store.directory import DirectoryStore
from streamer.store.memory import MemoryStore
from streamer.testing.manual_clock import ManualClock
from streamer.workers import InlineWorkers
from tests.unit.lake.lake_builder import START, TICKS, LakeBuilder, Tick, tick_layout

DAY = date(2026, 1, 3)
SETTINGS = ArchiveSettings(streams=(ArchivedStream("ticks", "ticks", "tick"),), recipe=Recipe((Interval(60), Interval(3600))))


class CountingStore(MemoryStore):
    """Counts requests, and the bytes that GETs bring."""

    def __init__(self) -> None:
        super().__init__(ManualClock())
        self.forget()

    def forget(self) -> None:
        """Begin to count anew."""
        self.gets: list[str] = []
        self.heads: list[str] = []
        self.lists: list[str] = []
        self.got_bytes = 0

    async def get(self, key: str) -> StoredObject:
        found = await super().get(key)
        self.gets.append(key)
        self.got_bytes += len(found.body)
        return found

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        part = await super().get_range(key, start, length)
        self.gets.append(key)
        self.got_bytes += len(part)
        return part

    async def head(self, key: str) -> ObjectInfo:
        self.heads.append(key)
        return await super().head(key)

    def list(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        self.lists.append(prefix)
        return super().list(prefix, start_after=start_after)


async def rows_of(store: Store, request: ReadRequest, **options: object) -> list[dict[str, object]]:
    """What a reader finds."""
    prepared = await Reader(store, **options).prepare(request)  # type: ignore[arg-type]
    return [row async for batch in prepared.batches() for row in batch.to_pylist()]


async def set_through(store: Store, through: datetime) -> None:
    """As if the pipeline had seen event times up to `through` in every partition."""
    from dataclasses import replace

    from streamer.lake.positions import read_positions

    for position in (await read_positions(store)).by_source.values():
        key = position_key(position.source)
        stored = await store.get(key)
        moved = replace(position, through=through, sequence=position.sequence + 1)
        try:
            await store.put(key, moved.to_json(), mode=Replace(stored.info.etag))
        except Conflict as error:  # nobody else is here
            raise AssertionError("the position moved") from error


async def close_day(store: Store, day: date, settings: ArchiveSettings = SETTINGS) -> None:
    """Close a day as the daemon does."""
    lease = Lease(store, ManualClock(), host="test", seconds=settings.lease_seconds)
    async with lease.held():
        closer = DayCloser(store, lease, settings, InlineWorkers())
        await closer.close(day, await take_stock(store, [stream.name for stream in settings.streams]))


def ticks_every(minutes: float, count: int, symbols: Sequence[str] = ("BTCUSDT",), *, first: int = 0) -> list[Tick]:
    """Ticks of the symbols in turn, from START on."""
    return [
        Tick(first + n, symbols[n % len(symbols)], START + timedelta(minutes=minutes * n), 100 + (n * 7 % 13) / 4)
        for n in range(count)
    ]


async def three_days(store: Store, symbols: Sequence[str] = ("BTCUSDT", "ETHUSDT"), layout: Layout | None = None) -> list[Tick]:
    """Ticks of 3, 4 and 5 January 2026; nothing closed. Returns them."""
    ticks = ticks_every(17, 180, symbols)
    lake = LakeBuilder(store, layout or tick_layout())
    for at in range(0, 180, 45):
        await lake.batch(ticks[at : at + 45])
    return ticks


def build_on_disk(path: Path, *, closed: bool, template: str = "symbol={symbol}/date={date}") -> list[dict[str, object]]:
    """A lake in a directory, closed days without their raw files; returns its rows in order."""

    async def work() -> list[dict[str, object]]:
        store = DirectoryStore(path, ManualClock(), create=True)
        await store.prepare()
        await three_days(store, ("BTCUSDT", "ETH/USDT", "ação", "CALL-2026-01-05"), tick_layout(path=template))
        if closed:
            await set_through(store, utc(4, 1))
            await close_day(store, DAY)
            for raw in path.glob("raw/ticks/**/*2026-01-03*/*.parquet"):
                raw.unlink()  # as retention does: now only the archive has the day
        prepared = await Reader(store).prepare(ReadRequest("ticks"))
        rows: list[dict[str, object]] = (await prepared.table()).to_pylist()
        await store.close()
        return rows

    return asyncio.run(work())


def utc(day: int, hour: int = 0, minute: int = 0) -> datetime:
    """A moment of January 2026."""
    return datetime(2026, 1, day, hour, minute, tzinfo=UTC)


__all__ = ["DAY", "TICKS", "CountingStore", "close_day", "rows_of", "set_through", "three_days", "ticks_every", "utc"]
