"""Reading across closed and open days: every row once, in event-time order, with as few requests and bytes as can be."""

from __future__ import annotations

from datetime import date, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.commit.layouts import LayoutDocuments
from streamer.errors import Damaged, Invalid, Unavailable
from streamer.lake.reader import Reader
from streamer.lake.request import ReadRequest
from streamer.layout import Column, Format, Layout
from streamer.records import TopicPartition
from streamer.store.contract import Overwrite
from streamer.store.memory import MemoryStore
from streamer.testing.manual_clock import ManualClock
from tests.unit.lake.lake_builder import LakeBuilder, Tick, tick_layout
from tests.unit.lake_reader.reader_lake import (
    DAY,
    CountingStore,
    close_day,
    rows_of,
    set_through,
    three_days,
    ticks_every,
    utc,
)


def request(**options: object) -> ReadRequest:
    return ReadRequest.of("ticks", **options)  # type: ignore[arg-type]


def places(rows: list[dict[str, object]]) -> list[tuple[object, object]]:
    return [(row["timestamp"], row["_offset"]) for row in rows]


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


@pytest.mark.parametrize("format_", ["parquet", "ndjson.zst"])
@pytest.mark.parametrize("path", ["symbol={symbol}/date={date}", "{symbol}", "date={date}/{hour}"])
async def test_closed_and_open_days_together_are_every_row_once(path: str, format_: Format) -> None:
    store = MemoryStore(ManualClock())
    ticks = await three_days(store, layout=tick_layout(path=path, format_=format_))
    expected = [(tick.at, tick.offset) for tick in ticks]
    whole = await rows_of(store, request())
    assert places(whole) == expected

    await set_through(store, utc(4, 1))
    await close_day(store, DAY)

    assert await rows_of(store, request()) == whole
    assert await rows_of(store, request(start="2026-01-03T20:00", end="2026-01-04T03:00", symbols="ETHUSDT")) == [
        row
        for row in whole
        if row["symbol"] == "ETHUSDT" and utc(3, 20) <= row["timestamp"] < utc(4, 3)  # type: ignore[operator]
    ]


async def test_a_closed_day_comes_from_the_archive_alone(store: CountingStore) -> None:
    await three_days(store)
    await set_through(store, utc(4, 1))
    await close_day(store, DAY)
    store.forget()

    await rows_of(store, request(symbols="BTCUSDT"))

    data = [key for key in store.gets if key.startswith(("raw/", "ticks/"))]
    assert "ticks/BTCUSDT/2026-01-03.parquet" in data
    assert not [key for key in data if key.startswith("raw/") and "2026-01-03" in key]
    assert [key for key in data if "2026-01-04" in key]


async def test_a_day_closed_by_hand_before_it_was_complete_is_still_open(store: CountingStore) -> None:
    await three_days(store)
    before = await rows_of(store, request())
    await close_day(store, DAY)
    store.forget()

    assert await rows_of(store, request()) == before
    assert not [key for key in store.gets if key.startswith("ticks/")]


async def test_one_symbols_day_of_many_costs_its_own_bytes_only(store: CountingStore) -> None:
    symbols = [f"S{number:03}USDT" for number in range(50)]
    lake = LakeBuilder(store, tick_layout())
    for day in range(6):
        start = utc(3) + timedelta(days=day)
        await lake.batch([Tick(50 * day + n, symbol, start, n) for n, symbol in enumerate(symbols)])
    reader = Reader(store)
    await reader.layouts.read()
    store.forget()

    prepared = await reader.prepare(request(symbols="S007USDT", start="2026-01-05", end="2026-01-06"))
    found = (await prepared.table()).to_pylist()

    assert [row["symbol"] for row in found] == ["S007USDT"]
    [key] = [key for key in store.gets if key.startswith("raw/")]
    assert key.startswith("raw/ticks/symbol=S007USDT/date=2026-01-05/")
    assert store.gets == [key]
    assert store.heads == []
    assert store.got_bytes == len(store.bodies[key])
    assert "raw/ticks/symbol=S007USDT/date=" in store.lists


async def test_of_a_large_file_only_the_columns_and_row_groups_needed_are_fetched(store: CountingStore) -> None:
    lake = LakeBuilder(store, tick_layout())
    count = 150_000
    table = lake.table(ticks_every(0, 1))
    noise = [n * 2_654_435_761 % 2**32 / 7 for n in range(count)]
    wide = pa.table(
        {
            "symbol": pa.array(["BTCUSDT"] * count),
            "price": noise,
            "quantity": noise,
            "timestamp": pa.array([1_767_398_400_000_000 + n * 200_000 for n in range(count)], pa.timestamp("us", "UTC")),
            "extra": pa.array(noise).cast(pa.string()),
            "_partition": pa.array([0] * count, pa.int32()),
            "_offset": pa.array(range(count), pa.int64()),
            "_timestamp": pa.array([utc(3)] * count, pa.timestamp("ms", "UTC")),
            "_key": pa.array([b"k"] * count),
            "_crc": pa.array([1] * count, pa.uint32()),
        }
    ).cast(table.schema)
    lake.table = lambda ticks: wide  # type: ignore[method-assign]
    await lake.batch([Tick(0, "BTCUSDT")], end=count)
    await set_through(store, utc(5))
    await close_day(store, DAY)
    key = "ticks/BTCUSDT/2026-01-03.parquet"
    reader = Reader(store)
    await (await reader.prepare(request())).plan()
    store.forget()

    prepared = await reader.prepare(request(start=utc(3, 0), end=utc(3, 1), columns=["price"]))
    found = await prepared.table()

    assert found.num_rows == 18_000
    assert found.column_names == ["price"]
    assert set(store.gets) == {key}
    assert len(store.gets) <= 4
    assert store.got_bytes < len(store.bodies[key]) / 2


async def test_rows_of_one_moment_are_ordered_by_partition_and_offset(store: CountingStore) -> None:
    for partition in (1, 0):
        lake = LakeBuilder(store, tick_layout(), TopicPartition("ticks", partition))
        await lake.batch(ticks_every(0, 3, ("A", "B")))

    found = await rows_of(store, request(columns=["_partition", "_offset"]))

    assert [(r["_partition"], r["_offset"]) for r in found] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]


async def test_more_rows_than_memory_holds_come_in_order_too(store: CountingStore) -> None:
    ticks = await three_days(store)

    found = await rows_of(store, request(), sort_budget_bytes=1)

    assert places(found) == [(tick.at, tick.offset) for tick in ticks]


@settings(max_examples=25)
@given(limit=st.integers(0, 12), start=st.none() | st.integers(0, 60), symbol=st.none() | st.sampled_from("AB"))
async def test_a_limit_gives_the_first_rows(limit: int, start: int | None, symbol: str | None) -> None:
    store = await _cached()
    begin = utc(3, 10) + timedelta(hours=start) if start is not None else None

    everything = await rows_of(store, request(start=begin, symbols=symbol))

    assert await rows_of(store, request(start=begin, symbols=symbol, limit=limit)) == everything[:limit]


_LAKES: list[MemoryStore] = []


async def _cached() -> MemoryStore:
    if not _LAKES:
        store = MemoryStore(ManualClock())
        await LakeBuilder(store, tick_layout()).batch(ticks_every(60, 50, ("A", "B")))
        _LAKES.append(store)
    return _LAKES[0]


@pytest.mark.parametrize(
    "where",
    [
        pc.field("price") > 101.5,
        [("price", ">", 101.5)],
        ("price", ">", 101.5),
        [[("price", ">", 101.5)], [("price", ">", 1000)]],
    ],
)
async def test_a_filter_may_name_columns_that_are_not_asked_for(store: CountingStore, where: object) -> None:
    await three_days(store)

    found = await rows_of(store, request(where=where, columns=["symbol"]))

    everything = await rows_of(store, request())
    assert found == [{"symbol": row["symbol"]} for row in everything if row["price"] > 101.5]  # type: ignore[operator]


@pytest.mark.parametrize("where", [pc.field("prise") > 1, "price > 1", [("price", "about", 1)], [("symbol", ">", 1.5)]])
async def test_a_filter_that_does_not_fit_is_refused(store: CountingStore, where: object) -> None:
    await three_days(store)

    with pytest.raises(Invalid, match="filter"):
        await rows_of(store, request(where=where))


async def test_a_filter_works_beside_a_column_that_changed_its_type(store: CountingStore) -> None:
    await LakeBuilder(store, tick_layout()).batch(ticks_every(1, 4))
    other = Layout("ticks", "tick", (*tick_layout().columns[:2], Column("quantity", "bool")), tick_layout().path)
    await LayoutDocuments(store).ensure(other)

    found = await rows_of(store, request(where=("price", ">", 101), columns=["_offset", "price"]))

    assert found == [row for row in await rows_of(store, request(columns=["_offset", "price"])) if row["price"] > 101]  # type: ignore[operator]
    with pytest.raises(Invalid, match="filter"):
        await rows_of(store, request(where=("quantity", ">", 1), columns=["_offset"]))


async def test_as_of_leaves_out_what_kafka_did_not_have_yet(store: CountingStore) -> None:
    lake = LakeBuilder(store, tick_layout())
    table = lake.table

    def delayed(ticks: list[Tick]) -> pa.Table:
        made = table(ticks)
        times = pa.array([utc(9), *made["_timestamp"].to_pylist()[1:]], pa.timestamp("ms", "UTC"))
        return made.set_column(made.schema.get_field_index("_timestamp"), made.schema.field("_timestamp"), times)

    lake.table = delayed  # type: ignore[method-assign, assignment]
    await lake.batch(ticks_every(1, 3))

    assert [row["_offset"] for row in await rows_of(store, request(as_of="2026-01-05"))] == [1, 2]
    assert len(await rows_of(store, request(as_of="2026-01-10"))) == 3


async def test_only_complete_ends_where_the_first_partition_is_not_complete(store: CountingStore) -> None:
    await three_days(store)
    assert await rows_of(store, request(only_complete=True)) == []

    await set_through(store, utc(4, 6))

    found = await rows_of(store, request(only_complete=True, start="2026-01-04"))
    assert found
    assert all(utc(4) <= row["timestamp"] < utc(4, 6) for row in found)  # type: ignore[operator]
    assert await rows_of(store, request(only_complete=True, start="2026-01-05")) == []


async def test_the_newest_row_is_found_in_the_newest_day(store: CountingStore) -> None:
    ticks = await three_days(store)
    reader = Reader(store)
    await reader.layouts.read()
    store.forget()

    newest = await (await reader.prepare(request(symbols="BTCUSDT"))).last_row()

    assert newest["_offset"].to_pylist() == [max(t.offset for t in ticks if t.symbol == "BTCUSDT")]
    assert all("date=2026-01-05" in key for key in store.gets)
    assert (await (await reader.prepare(request(symbols="NONE"))).last_row()).num_rows == 0


@pytest.mark.parametrize(
    "options",
    [
        {"columns": ["prise"]},
        {"columns": []},
        {"limit": -1},
        {"start": "2026-01-05", "end": "2026-01-04"},
        {"start": "soon"},
        {"start": 5},
        {"symbols": [1]},
    ],
)
async def test_what_cannot_be_is_refused_before_anything_is_read(store: CountingStore, options: dict[str, object]) -> None:
    await three_days(store)

    with pytest.raises(Invalid):
        await rows_of(store, request(**options))


async def test_an_unknown_stream_is_refused(store: CountingStore) -> None:
    with pytest.raises(Invalid, match="no stream"):
        await rows_of(store, ReadRequest.of("tocks"))


async def test_a_damaged_file_is_named(store: CountingStore) -> None:
    await three_days(store)
    key = next(key for key in store.bodies if key.startswith("raw/"))
    await store.put(key, b"nothing", mode=Overwrite())

    with pytest.raises(Damaged) as caught:
        await rows_of(store, request())

    assert caught.value.context["key"] == key


async def test_a_file_that_vanishes_while_reading_is_never_passed_over(store: CountingStore) -> None:
    await three_days(store)
    prepared = await Reader(store).prepare(request())
    pieces = (await prepared.plan()).pieces
    await store.delete(pieces[-1].info.key)

    with pytest.raises(Unavailable, match="taken away"):
        [batch async for batch in prepared.sorted_batches(pieces)]


async def test_a_day_that_is_closed_while_it_is_read_asks_to_read_again(store: CountingStore) -> None:
    await three_days(store)
    prepared = await Reader(store).prepare(request())
    pieces = (await prepared.plan()).pieces
    await set_through(store, utc(4, 1))
    await close_day(store, DAY)
    for key in [key for key in store.bodies if key.startswith("raw/") and "2026-01-03" in key]:
        await store.delete(key)

    with pytest.raises(Unavailable, match="closed while it was read"):
        [batch async for batch in prepared.sorted_batches(pieces)]
    assert date(2026, 1, 3) in {row["timestamp"].date() for row in await rows_of(store, request())}  # type: ignore[attr-defined]


async def test_a_symbol_that_looks_like_a_day_is_no_day(store: CountingStore) -> None:
    ticks = ticks_every(60 * 20, 6, ("CALL-2026-01-03", "PUT_2026-01-05"))
    await LakeBuilder(store, tick_layout()).batch(ticks)
    await set_through(store, utc(4, 1))
    await close_day(store, DAY)

    assert places(await rows_of(store, request())) == [(tick.at, tick.offset) for tick in ticks]
    assert len(await rows_of(store, request(start="2026-01-04", symbols="CALL-2026-01-03"))) == 2
