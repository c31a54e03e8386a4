"""A reader sees one version of an object, whatever happens to it meanwhile, and a cache never keeps another under its name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pytest

from streamer.cache.memory import MemoryTier
from streamer.cache.tiers import TieredCache
from streamer.cache.versions import CachedVersions
from streamer.errors import NotFound, Unavailable
from streamer.keys import certificate_key
from streamer.lake.closed_days import Certificates, info_of
from streamer.lake.object_reader import StoreReader
from streamer.lake.reader import Reader
from streamer.lake.request import ReadRequest
from streamer.lake.stored_file import WHOLE_BYTES
from streamer.store.contract import Overwrite
from streamer.store.memory import MemoryStore
from streamer.testing.manual_clock import ManualClock
from tests.unit.lake.lake_builder import LakeBuilder, Tick, tick_layout
from tests.unit.lake_reader.reader_lake import DAY, close_day, rows_of, set_through, utc

COUNT = 40_000
KEY = "ticks/BTCUSDT/2026-01-03.parquet"


class MovingStore(MemoryStore):
    """Something happens in the middle of reading the object `KEY`."""

    def __init__(self) -> None:
        super().__init__(ManualClock())
        self.after_range: Callable[[], Awaitable[None]] | None = None

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        part = await super().get_range(key, start, length)
        if key == KEY and (happens := self.after_range) is not None:
            self.after_range = None
            await happens()
        return part


def noisy(lake: LakeBuilder, first: int, count: int) -> pa.Table:
    """Ticks of one day that do not compress."""
    noise = [n * 2_654_435_761 % 2**32 / 7 for n in range(first, first + count)]
    start = int(utc(3).timestamp() * 1e6)
    times = pa.array([start + n * 1_000_000 for n in range(first, first + count)], pa.timestamp("us", "UTC"))
    known = {
        "symbol": pa.array(["BTCUSDT"] * count),
        "price": pa.array(noise),
        "quantity": pa.array(noise),
        "timestamp": times,
        "_partition": pa.array([0] * count, pa.int32()),
        "_offset": pa.array(range(first, first + count), pa.int64()),
        "_timestamp": times.cast(pa.timestamp("ms", "UTC")),
        "_crc": pa.array([1] * count, pa.uint32()),
    }
    schema = lake.layout.decoded_schema
    return pa.table([known[f.name] if f.name in known else pa.nulls(count, f.type) for f in schema], schema=schema)


async def closed_day(store: MovingStore) -> LakeBuilder:
    lake = LakeBuilder(store, tick_layout())
    lake.table = lambda ticks: noisy(lake, ticks[0].offset, ticks[-1].offset - ticks[0].offset + 1)  # type: ignore[method-assign]
    await lake.batch([Tick(0, "BTCUSDT", utc(3)), Tick(COUNT - 1, "BTCUSDT", utc(3) + timedelta(seconds=COUNT - 1))])
    await set_through(store, utc(5))
    await close_day(store, DAY)
    return lake


@pytest.mark.parametrize("cached", [False, True])
async def test_a_day_that_is_closed_again_between_two_ranges_is_never_mixed(cached: bool) -> None:
    store = MovingStore()
    lake = await closed_day(store)
    assert len((await store.get(KEY)).body) > WHOLE_BYTES
    certificates = Certificates(store)
    tiers = TieredCache(MemoryTier(64 << 20), None, ManualClock())
    versions = CachedVersions(store, tiers, certificates.is_current) if cached else None
    reader = Reader(store, certificates=certificates, versions=versions)

    async def closes_again() -> None:
        late = LakeBuilder(store, tick_layout(), writer="writer-2")
        late.table = lambda ticks: noisy(lake, COUNT, 20)  # type: ignore[method-assign]
        await late.batch([Tick(COUNT, "BTCUSDT"), Tick(COUNT + 19, "BTCUSDT")])
        await set_through(store, utc(6))
        await close_day(store, DAY)

    prepared = await reader.prepare(ReadRequest("ticks"))
    store.after_range = closes_again
    with pytest.raises(Unavailable, match="closed"):
        await prepared.table()

    again = await (await reader.prepare(ReadRequest("ticks"))).table()
    assert again["_offset"].to_pylist() == list(range(COUNT + 20))
    assert (await (await reader.prepare(ReadRequest("ticks"))).table()).equals(again)
    assert len(await rows_of(store, ReadRequest("ticks"))) == COUNT + 20


async def test_a_closed_day_that_is_kept_needs_no_question_about_its_objects() -> None:
    store = MovingStore()
    await closed_day(store)
    certificates = Certificates(store)
    tiers = TieredCache(MemoryTier(64 << 20), None, ManualClock())
    reader = Reader(store, certificates=certificates, versions=CachedVersions(store, tiers, certificates.is_current))
    first = await (await reader.prepare(ReadRequest("ticks"))).table()
    await store.delete(KEY)  # to see whether anybody asks for it

    assert (await (await reader.prepare(ReadRequest("ticks"))).table()).equals(first)


async def test_a_part_of_another_version_is_neither_given_out_nor_kept() -> None:
    """It may well decode: pages of the next revision can lie where those of this one were."""
    store = MovingStore()
    await closed_day(store)
    certificates = Certificates(store)
    tiers = TieredCache(MemoryTier(64 << 20), None, ManualClock())
    cached = CachedVersions(store, tiers, certificates.is_current)
    [output] = (await certificates.closed_days("ticks", None, None)).by_day[DAY].rows(None)
    info = info_of(output)
    whole = (await store.get(KEY)).body
    assert await cached.read_range(info, 0, 100) == whole[:100]

    certificate = await certificates.refresh(DAY)
    assert certificate is not None
    other = replace(output, sha256="0" * 64)
    part = replace(certificate.streams["ticks"], outputs=(other,))
    body = replace(certificate, revision=2, streams={"ticks": part}).to_json()
    await store.put(certificate_key(DAY), body, mode=Overwrite())
    await store.put(KEY, bytes(len(whole)), mode=Overwrite())

    for reader in (cached, StoreReader(store, certificates.is_current)):
        with pytest.raises(NotFound, match="another version"):
            await reader.read_range(info, 100, 100)
    assert await cached.read_range(info, 0, 100) == whole[:100]
    assert tiers.memory_bytes == 100
