"""The reader, the cache, files and `sync` on S3 as moto speaks it, and on a directory: what holds of one holds of the other."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from streamer import AsyncLake, Lake
from streamer.clock import SystemClock
from streamer.errors import Conflict, Damaged, Invalid, NotFound
from streamer.lake.sync import carry_out, plan
from streamer.store.contract import Overwrite, Store, StoredObject
from streamer.store.memory import MemoryStore
from streamer.store.open import create_place, open_store
from streamer.store.s3_settings import S3Settings
from streamer.testing.manual_clock import ManualClock
from tests.moto_server import moto_server
from tests.unit.lake_reader.reader_lake import DAY, close_day, set_through, three_days, utc

KEYS = {"region": "us-east-1", "access_key_id": "key", "secret_access_key": "secret"}


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    with moto_server() as address:
        yield address


@dataclass
class Place:
    """Where a lake is, and how to get in."""

    url: str
    keys: dict[str, str]

    def store(self) -> Store:
        return open_store(self.url, S3Settings(**self.keys), SystemClock(), create_directory=True)  # type: ignore[arg-type]


async def made(url: str, keys: dict[str, str]) -> Place:
    await create_place(url, S3Settings(**keys), SystemClock())  # type: ignore[arg-type]
    return Place(url, keys)


def new_bucket(endpoint: str) -> Place:
    return asyncio.run(made(f"s3://reader-{uuid.uuid4().hex[:10]}/some/prefix", {**KEYS, "endpoint_url": endpoint}))


def filled(place: Place) -> Place:
    """Three days of ticks, the first one closed and without its raw files."""

    async def fill() -> None:
        store = place.store()
        await store.prepare()
        await three_days(store)
        await set_through(store, utc(4, 1))
        await close_day(store, DAY)
        async for info in store.list("raw/"):
            if "2026-01-03" in info.key:
                await store.delete(info.key)
        await store.close()

    asyncio.run(fill())
    return place


@pytest.fixture(scope="module")
def bucket(moto_endpoint: str) -> Place:
    return filled(new_bucket(moto_endpoint))


@pytest.fixture(scope="module", params=["directory", "moto"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    if request.param == "moto":
        return request.getfixturevalue("bucket")  # type: ignore[no-any-return]
    return filled(Place(f"file://{tmp_path_factory.mktemp('lake')}/lake", {}))


def test_rows_bars_sql_and_the_newest_row_are_the_same_wherever_the_lake_is(place: Place, tmp_path: Path) -> None:
    with Lake.open(place.url, cache=tmp_path, **place.keys) as lake:  # type: ignore[arg-type]
        whole = lake.ticks()
        some = lake.ticks("BTCUSDT", "2026-01-03T20:00", "2026-01-04T03:00", columns=["_offset", "timestamp"])
        [counted] = lake.sql("SELECT count(*) AS n FROM ticks WHERE date = '2026-01-03'").to_pylist()
        newest = lake.latest("ticks", "ETHUSDT")

        assert whole["_offset"].to_pylist() == list(range(180))
        wanted = [r for r in whole.to_pylist() if r["symbol"] == "BTCUSDT" and utc(3, 20) <= r["timestamp"] < utc(4, 3)]
        assert some["_offset"].to_pylist() == [row["_offset"] for row in wanted]
        assert counted["n"] == len([r for r in whole.to_pylist() if r["timestamp"].date() == DAY])
        assert newest is not None
        assert newest["_offset"] == 179
        days = Counter(row["timestamp"].date() for row in whole.to_pylist() if row["symbol"] == "BTCUSDT")
        assert lake.bars("BTCUSDT", "1d").table["trades"].to_pylist() == [days[day] for day in sorted(days)]
        assert sum(batch.num_rows for batch in lake.scan("ticks").batches()) == 180
        assert {entry.part for entry in lake.stats().entries} >= {"raw", "ticks", "ohlcv", "archive", "_streamer"}


async def test_the_asynchronous_lake_reads_it_too(place: Place) -> None:
    async with await AsyncLake.open(place.url, cache=None, **place.keys) as lake:  # type: ignore[arg-type]
        assert (await lake.ticks()).num_rows == 180
        assert [batch.num_rows async for batch in lake.ticks(limit=7).batches()] == [7]


def test_files_and_tables_go_in_and_out(place: Place, tmp_path: Path) -> None:
    with Lake.open(place.url, cache=tmp_path, **place.keys) as lake:  # type: ignore[arg-type]
        lake.put("notes/a.txt", b"one")
        with pytest.raises(Conflict):
            lake.put("notes/a.txt", b"two", overwrite=False)
        assert (lake.get("notes/a.txt"), lake.get("notes/a.txt")) == (b"one", b"one")
        for suffix in ("parquet", "csv", "json", "ndjson.gz"):
            lake.write_table(f"notes/t.{suffix}", pa.table({"a": [1, 2], "b": ["x", "y"]}))
            assert lake.read_table(f"notes/t.{suffix}").to_pylist() == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
        assert lake.list_keys("notes/a") == ["notes/a.txt"]
        lake.delete("notes/a.txt")
        assert not lake.exists("notes/a.txt")
        with pytest.raises(NotFound):
            lake.get("notes/a.txt")


def test_a_changed_object_is_never_served_stale(bucket: Place, tmp_path: Path) -> None:
    """By this process, by another with the same cache, and by somebody who has none."""
    with (
        Lake.open(bucket.url, cache=tmp_path, **bucket.keys) as one,  # type: ignore[arg-type]
        Lake.open(bucket.url, cache=tmp_path, **bucket.keys) as other,  # type: ignore[arg-type]
        Lake.open(bucket.url, cache=None, **bucket.keys) as bare,  # type: ignore[arg-type]
    ):
        for writer, body in ((one, b"1"), (other, b"2"), (bare, b"3"), (bare, b"1"), (one, b"4")):
            writer.put("notes/changing", body)
            assert [lake.get("notes/changing") for lake in (one, other, bare, one)] == [body] * 4
        bare.delete("notes/changing")
        for lake in (one, other):
            with pytest.raises(NotFound):
                lake.get("notes/changing")


def test_an_object_that_is_kept_is_asked_about_and_not_fetched_again(bucket: Place, tmp_path: Path) -> None:
    with Lake.open(bucket.url, cache=tmp_path, **bucket.keys) as lake:  # type: ignore[arg-type]
        lake.put("notes/kept", b"x" * 1000)
        lake.get("notes/kept")
        before = lake.cache.stats()
        assert lake.get("notes/kept") == b"x" * 1000
        after = lake.cache.stats()

    assert (before.misses, after.misses) == (1, 1)
    assert after.memory_hits == before.memory_hits + 1
    with Lake.open(bucket.url, cache=tmp_path, **bucket.keys) as again:  # type: ignore[arg-type]
        assert again.get("notes/kept") == b"x" * 1000
        assert (again.cache.stats().disk_hits, again.cache.stats().misses) == (1, 0)


def test_the_second_reading_needs_no_data_of_the_bucket(bucket: Place, tmp_path: Path) -> None:
    with Lake.open(bucket.url, cache=tmp_path, **bucket.keys) as lake:  # type: ignore[arg-type]
        first = lake.ticks("BTCUSDT").table
        assert lake.cache.stats().misses > 0
    with Lake.open(bucket.url, cache=tmp_path, **bucket.keys) as lake:  # type: ignore[arg-type]
        assert lake.ticks("BTCUSDT").table.equals(first)
        assert (lake.cache.stats().misses, lake.cache.stats().hit_ratio) == (0, 1.0)


def test_a_directory_that_cannot_be_presigned_says_so_and_a_bucket_can(place: Place) -> None:
    with Lake.open(place.url, cache=None, **place.keys) as lake:  # type: ignore[arg-type]
        lake.put("notes/p", b"1")
        if place.url.startswith("s3"):
            assert "Signature" in lake.presign("notes/p", 60)
        else:
            with pytest.raises(Invalid, match="no web addresses"):
                lake.presign("notes/p")


# ---- sync ------------------------------------------------------------------------------------------------------------------


async def copied(source: Store, target: Store, **options: bool) -> tuple[int, int, int]:
    report = await plan(source, target, "", delete=options.get("delete", False), deep=options.get("deep", False))
    await carry_out(source, target, report)
    return report.copied, report.deleted, report.same


async def contents(store: Store) -> dict[str, tuple[bytes, dict[str, str]]]:
    found = {}
    async for info in store.list():
        stored = await store.get(info.key)
        found[info.key] = (stored.body, dict(stored.info.metadata or {}))
    return found


async def test_a_directory_goes_to_a_bucket_and_back_with_its_metadata(moto_endpoint: str, tmp_path: Path) -> None:
    bucket = await made(f"s3://reader-{uuid.uuid4().hex[:10]}/x", {**KEYS, "endpoint_url": moto_endpoint})
    first, there, back = Place(f"file://{tmp_path}/a", {}).store(), bucket.store(), Place(f"file://{tmp_path}/b", {}).store()
    for store in (first, there, back):
        await store.prepare()
    await three_days(first)
    count = len(await contents(first))

    assert await copied(first, there) == (count, 0, 0)
    assert await copied(first, there) == (0, 0, count)
    assert await copied(there, back) == (count, 0, 0)
    assert await contents(first) == await contents(there) == await contents(back)
    for store in (first, there, back):
        await store.close()


async def test_what_differs_goes_again_and_nothing_is_deleted_unless_asked(moto_endpoint: str, tmp_path: Path) -> None:
    bucket = await made(f"s3://reader-{uuid.uuid4().hex[:10]}/x", {**KEYS, "endpoint_url": moto_endpoint})
    here, there = Place(f"file://{tmp_path}/a", {}).store(), bucket.store()
    for store in (here, there):
        await store.prepare()
    for key, body in (("a", b"1"), ("b", b"22"), ("c", b"333")):
        await here.put(key, body, mode=Overwrite())
        os.utime(tmp_path / "a" / key, (1.7e9, 1.7e9))
    await copied(here, there)
    await there.put("b", b"xx", mode=Overwrite())
    await there.put("mine", b"4", mode=Overwrite())
    await here.put("c", b"4444", mode=Overwrite())

    assert await copied(here, there) == (1, 0, 2)  # b is as long, and newer there
    assert await copied(here, there, deep=True) == (1, 0, 2)
    assert (await there.get("b")).body == b"22"
    assert await copied(here, there, delete=True) == (0, 1, 3)
    assert [info.key async for info in there.list()] == ["a", "b", "c"]
    for store in (here, there):
        await store.close()


class ThriftyStore(MemoryStore):
    """Gives and takes no object as a whole that is bigger than so many bytes."""

    most = 6 << 20

    async def get(self, key: str) -> StoredObject:
        found = await super().get(key)
        assert len(found.body) <= self.most
        return found

    async def put(self, key: str, body: bytes | memoryview, **options: Any) -> str:  # type: ignore[override]
        assert len(body) <= self.most
        return await super().put(key, body, **options)


async def test_a_big_object_goes_in_parts_and_is_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.lake.sync.BIG_BYTES", 1 << 20)
    clock = ManualClock()
    here, there = ThriftyStore(clock), ThriftyStore(clock)
    body = bytes(range(256)) * 50_000  # 12.8 MB
    here.most = 1 << 30
    await here.put("big", body, mode=Overwrite(), metadata={"sha256": "1"})
    await here.put("small", b"1", mode=Overwrite())
    here.most = ThriftyStore.most

    assert await copied(here, there) == (2, 0, 0)
    assert there.bodies["big"] == body
    assert (await there.head("big")).metadata == {"sha256": "1"}
    assert await copied(here, there, deep=True) == (0, 0, 2)
    there.most = 1 << 30
    await there.put("big", body[:-1] + b"x", mode=Overwrite())
    there.most = ThriftyStore.most
    assert await copied(here, there, deep=True) == (1, 0, 1)
    assert there.bodies["big"] == body


class LyingStore(MemoryStore):
    """Alters what it stores."""

    async def put(self, key: str, body: bytes | memoryview, **options: Any) -> str:  # type: ignore[override]
        return await super().put(key, bytes(body)[:-1] + b"?", **options)


async def test_what_did_not_arrive_as_it_was_sent_is_told() -> None:
    clock = ManualClock()
    here, there = MemoryStore(clock), LyingStore(clock)
    await here.put("a", b"123", mode=Overwrite())

    with pytest.raises(Damaged, match="not what was sent"):
        await copied(here, there)
