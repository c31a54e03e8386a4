"""`Lake` and `AsyncLake` over a directory: the same names, the same rows, usable from threads and from a running loop."""

from __future__ import annotations

import asyncio
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from streamer import AsyncLake, Lake
from streamer.errors import Conflict, Damaged, Invalid, NotFound
from streamer.store.directory import DirectoryStore
from streamer.testing.manual_clock import ManualClock
from tests.unit.lake_reader.reader_lake import DAY, close_day, set_through, three_days, utc


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lakes") / "lake"

    async def build() -> None:
        store = DirectoryStore(path, ManualClock(), create=True)
        await store.prepare()
        await three_days(store)
        await set_through(store, utc(4, 1))
        await close_day(store, DAY)
        await store.close()

    asyncio.run(build())
    return path


@pytest.fixture
def lake(folder: Path):  # type: ignore[no-untyped-def]
    with Lake.open(str(folder), cache=None) as opened:
        yield opened


def test_rows_are_read_once_and_do_what_a_table_does(lake: Lake) -> None:
    rows = lake.ticks("BTCUSDT", "2026-01-03", "2026-01-05", columns=["timestamp", "price"])

    assert "not read yet" in repr(rows)
    assert rows.schema.names == ["timestamp", "price"]
    assert len(rows) == rows.num_rows == rows.table.num_rows > 50
    assert rows.table is rows.table
    assert pc.max(rows["price"]).as_py() == max(rows.to_pydict()["price"])
    assert pa.table(lake.ticks("BTCUSDT", "2026-01-03", "2026-01-05", columns=["timestamp", "price"])).equals(rows.table)
    assert pa.Table.from_batches(rows.batches()).equals(rows.table)
    assert rows.slice(0, 2).num_rows == 2
    with pytest.raises(AttributeError):
        rows.no_such_thing  # noqa: B018


def test_batches_come_one_by_one_and_may_be_left_early(lake: Lake) -> None:
    batches = lake.ticks().batches()

    assert next(batches).num_rows > 0
    batches.close()
    assert lake.latest("ticks") is not None


def test_closing_the_lake_ends_what_other_threads_wait_for_and_twice_is_no_error(folder: Path) -> None:
    opened = Lake.open(str(folder), cache=None)
    waits = threading.Event()

    async def forever() -> None:
        waits.set()
        await asyncio.Event().wait()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(opened._loop.run, forever())
        assert waits.wait(10)
        opened.close()
        with pytest.raises(Invalid, match="closed while"):
            waiting.result(10)
    opened.close()
    with pytest.raises(Invalid, match="lake is closed"):
        opened.ticks()


def test_pandas_and_polars_take_the_rows(lake: Lake) -> None:
    pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    rows = lake.ticks(columns=["symbol", "timestamp", "price"])

    assert list(rows.to_pandas()["symbol"].unique()) == ["BTCUSDT", "ETHUSDT"]
    assert rows.to_polars().height == len(rows)
    assert polars.DataFrame(rows).height == len(rows)


def test_a_wrong_request_is_refused_when_it_is_made(lake: Lake) -> None:
    with pytest.raises(Invalid, match="no stream"):
        lake.signals()
    with pytest.raises(Invalid, match="no column"):
        lake.ticks(columns=["prise"])
    with pytest.raises(Invalid, match="interval"):
        lake.bars("BTCUSDT", "7m")


def test_bars_and_the_newest_row(lake: Lake) -> None:
    hours = lake.bars(["BTCUSDT", "ETHUSDT"], "1h", "2026-01-03", "2026-01-05")
    newest = lake.latest("ticks", "ETHUSDT")

    assert hours.column_names[:3] == ["symbol", "timestamp", "interval"]
    assert hours.num_rows > 40
    assert newest is not None
    assert newest["timestamp"] == max(lake.ticks("ETHUSDT")["timestamp"].to_pylist())
    assert lake.latest("ticks", "NONE") is None


async def test_it_works_inside_a_running_event_loop_and_from_many_threads(lake: Lake) -> None:
    expected = lake.ticks().table

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: lake.ticks().table, range(8)))

    assert all(table.equals(expected) for table in found)


async def test_the_asynchronous_lake_has_the_same_names_and_rows(folder: Path, lake: Lake) -> None:
    async with await AsyncLake.open(str(folder), cache=None) as other:
        table = await other.ticks("BTCUSDT", "2026-01-03", "2026-01-04")
        batches = [batch async for batch in other.ticks("BTCUSDT", "2026-01-03", "2026-01-04").batches()]
        with pytest.raises(Invalid, match="no stream"):
            await other.signals()
        assert await other.latest("ticks") == lake.latest("ticks")
        assert (await other.sql("SELECT count(*) AS n FROM ticks")).equals(lake.sql("SELECT count(*) AS n FROM ticks"))
    assert table.equals(lake.ticks("BTCUSDT", "2026-01-03", "2026-01-04").table)
    assert pa.Table.from_batches(batches).equals(table)


def test_both_lakes_have_the_same_methods_with_the_same_arguments() -> None:
    def public(kind: type) -> dict[str, list[str]]:
        names = [name for name in dir(kind) if not name.startswith("_") and callable(getattr(kind, name))]
        return {name: list(inspect.signature(getattr(kind, name)).parameters) for name in names}

    assert public(Lake) == public(AsyncLake)


@pytest.fixture
def empty(tmp_path: Path):  # type: ignore[no-untyped-def]
    with Lake.open(str(tmp_path / "new"), cache=None, create=True) as opened:
        yield opened


def test_objects_are_put_got_listed_and_removed(empty: Lake) -> None:
    empty.put("reports/a.txt", b"one")
    empty.put("reports/a.txt", b"two")
    with pytest.raises(Conflict):
        empty.put("reports/a.txt", b"three", overwrite=False)

    assert empty.get("reports/a.txt") == b"two"
    assert empty.exists("reports/a.txt")
    assert empty.list_keys("reports/") == ["reports/a.txt"]
    empty.delete("reports/a.txt")
    empty.delete("reports/a.txt")
    assert not empty.exists("reports/a.txt")
    with pytest.raises(NotFound):
        empty.get("reports/a.txt")


@pytest.mark.parametrize("key", ["raw/ticks/x", "dead-letters/x", "_streamer/positions/x", "archive/2026-01-03.json"])
def test_what_the_daemon_alone_writes_is_not_changed_by_mistake(empty: Lake, key: str) -> None:
    with pytest.raises(Invalid, match="streamer's own"):
        empty.put(key, b"")
    with pytest.raises(Invalid, match="streamer's own"):
        empty.delete(key)
    empty.put(key, b"x", force=True)
    empty.delete(key, force=True)


@pytest.mark.parametrize("suffix", ["parquet", "csv", "json", "ndjson", "csv.gz", "json.gz"])
def test_tables_go_out_and_in_by_their_suffix(empty: Lake, suffix: str) -> None:
    rows = pa.table({"name": ["a", "ü"], "value": [1.5, None], "count": [1, 2]})

    empty.write_table(f"reports/x.{suffix}", rows)

    assert empty.read_table(f"reports/x.{suffix}").to_pydict() == rows.to_pydict()


def test_rows_of_the_lake_and_of_other_libraries_can_be_written(lake: Lake, empty: Lake) -> None:
    pandas = pytest.importorskip("pandas")
    empty.write_table("x.parquet", lake.ticks(columns=["price"]))
    empty.write_table("y.csv", lake.ticks(columns=["timestamp"], limit=1))
    empty.write_table("p.parquet", pandas.DataFrame({"a": [1]}))
    empty.write_table("l.json", [{"a": 1}])

    assert empty.read_table("x.parquet").num_rows == len(lake.ticks())
    assert empty.get("y.csv").splitlines()[1] == b'"2026-01-03T10:00:00.000000Z"'
    assert empty.read_table("p.parquet").to_pydict() == empty.read_table("l.json").to_pydict() == {"a": [1]}
    with pytest.raises(Invalid, match="which kind"):
        empty.write_table("x.xlsx", [{"a": 1}])
    with pytest.raises(Invalid, match="no table"):
        empty.write_table("x.csv", 5)
    empty.put("bad.parquet", b"nothing")
    with pytest.raises(Damaged):
        empty.read_table("bad.parquet")


def test_stats_add_up_to_what_is_there(lake: Lake, folder: Path) -> None:
    stats = lake.stats()

    files = [
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    ]
    assert stats.objects == len(lake.list_keys())
    assert stats.bytes == sum(path.stat().st_size for path in files)
    assert set(stats.by_stream()) == {"ticks", None}
    assert {utc(3).date(), utc(4).date(), utc(5).date(), None} <= set(stats.by_day())
    assert stats.to_table().num_rows == len(stats.entries)
    assert sum(objects for objects, _ in stats.by_storage_class().values()) == stats.objects


def test_a_directory_has_no_web_addresses(lake: Lake) -> None:
    with pytest.raises(Invalid, match="web address"):
        lake.presign("archive/2026-01-03.json")
    with pytest.raises(Invalid, match="seconds"):
        lake.presign("archive/2026-01-03.json", 0)
