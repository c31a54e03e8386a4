"""`scan` finds the rows asked for, all of them and no other, whatever the format and the folders."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lake_builder import START, SYMBOLS, LakeBuilder, small_lake, tick_layout, ticks_of

from streamer.errors import Damaged, Invalid
from streamer.lake.instant import parse_day, parse_instant
from streamer.lake.ndjson_rows import parse_rows
from streamer.lake.path_filter import PathFilter
from streamer.lake.reader import Reader
from streamer.lake.request import ReadRequest
from streamer.lake.scan import Query, prepare_scan
from streamer.lake.stored_file import decompressed
from streamer.layout import Column, Format, Layout, arrow_type
from streamer.records import TopicPartition
from streamer.store.contract import ObjectInfo, Overwrite, Store
from streamer.store.memory import MemoryStore
from streamer.testing.manual_clock import ManualClock
from streamer.write.ndjson import NdjsonEncoder
from streamer.write.partition_path import PartitionPath

FORMATS: tuple[Format, ...] = ("parquet", "ndjson.zst", "ndjson.gz")


async def rows(store: Store, request: ReadRequest) -> list[dict[str, object]]:
    prepared = await Reader(store).prepare(request)
    return [row async for batch in prepared.unsorted_batches() for row in batch.to_pylist()]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(ManualClock())


@pytest.mark.parametrize("format_", FORMATS)
async def test_every_row_comes_back_exactly_as_it_was_written(store: MemoryStore, format_: Format) -> None:
    await small_lake(store, tick_layout(format_=format_))

    found = await rows(store, ReadRequest("ticks"))

    expected = [
        t
        for t in [*ticks_of(range(20), bad=[3, 4, 12, 17], every_seconds=3600), *ticks_of(range(25, 40), every_seconds=3600)]
        if t.symbol
    ]
    assert sorted((r["_offset"], r["symbol"], r["price"], r["timestamp"], r["extra"], r["_key"]) for r in found) == [
        (t.offset, t.symbol, t.price, t.at, f'{{"n":{t.offset}.10}}', b"key") for t in expected
    ]


@pytest.mark.parametrize(
    "path", ["symbol={symbol}/date={date}", "date={date}", "%Y/%m/%d/{hour}/{symbol}", "y=%Y/d=%j/s={symbol}", ""]
)
@settings(max_examples=12)
@given(
    start=st.none() | st.integers(-5, 45),
    length=st.none() | st.integers(0, 40),
    symbols=st.none() | st.frozensets(st.sampled_from([*SYMBOLS, "BTC", "none"]), max_size=3),
)
async def test_pruning_never_changes_the_answer(
    path: str, start: int | None, length: int | None, symbols: frozenset[str] | None
) -> None:
    store = await cached_lake(path)
    begin = START + timedelta(minutes=start * 37) if start is not None else None
    end = (begin or START) + timedelta(minutes=length * 37) if length is not None else None

    found = await rows(store, ReadRequest("ticks", begin, end, symbols, ("_offset",)))

    expected = [
        t.offset
        for t in ticks_of(range(40), every_seconds=2200)
        if (begin is None or begin <= t.at) and (end is None or t.at < end) and (symbols is None or t.symbol in symbols)
    ]
    assert sorted(row["_offset"] for row in found) == expected  # type: ignore[type-var]


_LAKES: dict[str, MemoryStore] = {}


async def cached_lake(path: str) -> MemoryStore:
    if path not in _LAKES:
        store = _LAKES[path] = MemoryStore(ManualClock())
        lake = LakeBuilder(store, tick_layout(path=path))
        await lake.batch(ticks_of(range(25), every_seconds=2200))
        await lake.batch(ticks_of(range(25, 40), every_seconds=2200))
    return _LAKES[path]


class ListingStore(MemoryStore):
    """Remembers what was listed and what was read."""

    def __init__(self) -> None:
        super().__init__(ManualClock())
        self.prefixes: list[str] = []
        self.read: list[str] = []

    def list(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        self.prefixes.append(prefix)
        return super().list(prefix, start_after=start_after)

    async def get(self, key: str):  # type: ignore[no-untyped-def]
        self.read.append(key)
        return await super().get(key)


async def test_only_folders_that_can_hold_a_row_are_listed_and_read() -> None:
    store = ListingStore()
    await small_lake(store)
    store.read.clear()

    await rows(
        store, ReadRequest("ticks", datetime(2026, 1, 4, tzinfo=UTC), datetime(2026, 1, 5, tzinfo=UTC), frozenset({"ETH/USDT"}))
    )

    assert [prefix for prefix in store.prefixes if prefix.startswith("raw/")] == ["raw/ticks/symbol=ETH%2FUSDT/date="]
    assert all("symbol=ETH%2FUSDT/date=2026-01-04/" in key for key in store.read if key.startswith("raw/"))


async def test_a_limit_ends_the_work_early() -> None:
    store = ListingStore()
    await small_lake(store)
    store.read.clear()

    found = await rows(store, ReadRequest("ticks", limit=2))

    assert len(found) == 2
    assert len([key for key in store.read if key.startswith("raw/")]) == 1
    assert await rows(store, ReadRequest("ticks", limit=0)) == []


async def test_columns_come_in_the_order_asked_for_and_unknown_ones_are_refused(store: MemoryStore) -> None:
    await small_lake(store)

    found = await rows(store, ReadRequest("ticks", columns=("price", "symbol"), limit=1))

    assert list(found[0]) == ["price", "symbol"]
    with pytest.raises(Invalid, match="no column prise"):
        await prepare_scan(store, Query("ticks", columns=("prise",)))
    with pytest.raises(Invalid, match="no stream"):
        await prepare_scan(store, Query("tocks"))


@pytest.mark.parametrize("format_", FORMATS)
async def test_a_column_that_was_added_later_is_null_in_older_rows(store: MemoryStore, format_: Format) -> None:
    old = tick_layout(format_=format_)
    new = Layout("ticks", "tick", (*old.columns, Column("bid", "float64")), old.path, format_)
    await LakeBuilder(store, old).batch(ticks_of(range(3)))
    lake = LakeBuilder(store, new, writer="writer-2")
    table = lake.table
    lake.table = lambda ticks: _with_bid(table, new, ticks)  # type: ignore[method-assign]
    await lake.batch(ticks_of(range(3, 6)))

    found = await rows(store, ReadRequest("ticks", columns=("_offset", "bid")))

    assert {row["_offset"]: row["bid"] for row in found} == {0: None, 1: None, 2: None, 3: 0.5, 4: 0.5, 5: 0.5}


def _with_bid(table, layout: Layout, ticks):  # type: ignore[no-untyped-def]
    schema = layout.decoded_schema
    layout_without = tick_layout(format_=layout.format)
    plain = LakeBuilder(MemoryStore(ManualClock()), layout_without).table(ticks)
    columns = [plain[f.name] if f.name in plain.column_names else pa.array([0.5] * len(ticks), f.type) for f in schema]
    return pa.table(columns, schema=schema)


async def test_a_column_that_changed_its_type_spoils_only_itself(store: MemoryStore) -> None:
    for number, kind in enumerate(("string", "bool")):
        layout = Layout("signals", "signal", (Column("timestamp", "timestamp[us, UTC]"), Column("regime", kind)), "date={date}")
        document = layout.document()
        from orjson import dumps

        await store.put(f"_streamer/layouts/{number}.json", dumps(document), mode=Overwrite())

    with pytest.raises(Invalid, match="changed its type"):
        await prepare_scan(store, Query("signals"))
    assert (await prepare_scan(store, Query("signals", columns=("timestamp",)))).schema.names == ["timestamp"]


async def test_a_file_that_cannot_be_read_is_damage_and_names_its_key(store: MemoryStore) -> None:
    await small_lake(store)
    key = next(key for key in store.bodies if key.startswith("raw/"))
    await store.put(key, b"nothing", mode=Overwrite())

    with pytest.raises(Damaged) as caught:
        await rows(store, ReadRequest("ticks"))

    assert caught.value.context["key"] == key


async def test_a_raw_stream_is_filtered_by_kafkas_own_time(store: MemoryStore) -> None:
    layout = Layout("frames", "raw", (Column("value", "binary", required=True),), "date={date}")
    lake = LakeBuilder(store, layout, TopicPartition("frames", 0))

    def table(ticks):  # type: ignore[no-untyped-def]
        values = {
            "value": [t.value for t in ticks],
            "_partition": [0] * len(ticks),
            "_offset": [t.offset for t in ticks],
            "_timestamp": [t.at for t in ticks],
            "_key": [None] * len(ticks),
            "_crc": [0] * len(ticks),
        }
        return pa.table([pa.array(values[f.name], f.type) for f in layout.decoded_schema], schema=layout.decoded_schema)

    lake.table = table  # type: ignore[method-assign]
    await lake.batch(ticks_of(range(10), every_seconds=3600))

    found = await rows(store, ReadRequest("frames", START + timedelta(hours=2), START + timedelta(hours=5)))

    assert [row["_offset"] for row in found] == [2, 3, 4]
    with pytest.raises(Invalid, match="no column symbol"):
        await prepare_scan(store, Query("frames", symbols=frozenset({"BTC"})))


TYPES = {
    "i": ("int64", st.integers(-(2**53), 2**53)),
    "f": ("float64", st.floats(allow_nan=False)),
    "b": ("bool", st.booleans()),
    "s": ("string", st.text(st.characters(exclude_categories=["Cs"]))),
    "y": ("binary", st.binary()),
    "d": (
        "decimal128(38,18)",
        st.decimals(allow_nan=False, allow_infinity=False, places=18, min_value=-(10**15), max_value=10**15),
    ),
    "day": ("date32", st.dates()),
    "us": ("timestamp[us, UTC]", st.integers(-(10**15), 10**17)),
    "ns": ("timestamp[ns, UTC]", st.integers(0, 2**62)),
    "m": (
        "map<string, float64>",
        st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.floats(allow_nan=False)).map(
            lambda d: list(d.items())
        ),
    ),
    "l": ("list<string>", st.lists(st.text(st.characters(exclude_categories=["Cs"])))),
    "lf": ("list<float64>", st.lists(st.floats(allow_nan=False))),
    "extra": ("string", st.just('{"a":1.10,"b":"\\u20ac"}')),
}


@settings(max_examples=60)
@given(st.lists(st.fixed_dictionaries({name: st.none() | values for name, (_, values) in TYPES.items()}), max_size=5))
def test_ndjson_is_read_back_exactly(written: list[dict[str, object]]) -> None:
    schema = pa.schema([pa.field(name, arrow_type(kind)) for name, (kind, _) in TYPES.items()])
    table = pa.table([pa.array([row[f.name] for row in written], f.type) for f in schema], schema=schema)

    body = NdjsonEncoder(schema, "gz").encode(table, {})

    assert parse_rows(decompressed(body, "gz") if written else b"", schema, None).equals(table)


@pytest.mark.parametrize("line", [b"[]\n", b"{\n", b'{"a":1}', b'{"a":"x"}\n', b'{"a":{}}\n', b"\n"])
def test_a_line_that_is_no_row_is_an_error(line: bytes) -> None:
    with pytest.raises((ValueError, pa.ArrowException)):
        parse_rows(line, pa.schema([pa.field("a", pa.int64(), nullable=False)]), None)


@given(
    st.sampled_from(
        ["symbol={symbol}/date={date}", "%Y/%m/%d/%H/%M", "{symbol}/y%Y-%j", "x={symbol}/%y/{hour}", "%G/%V/%u/{symbol}"]
    ),
    st.text(max_size=8),
    st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)),
)
def test_the_folder_of_a_row_is_never_ruled_out_by_a_filter_that_the_row_passes(path: str, symbol: str, at: datetime) -> None:
    symbol = symbol.encode("utf-8", "replace").decode()
    layout = tick_layout(path=path)
    at = at.replace(tzinfo=UTC)
    table = pa.table({"symbol": pa.array([symbol]), "timestamp": pa.array([at], pa.timestamp("us", "UTC"))})
    [(folder, _)] = PartitionPath.parse(path, layout.columns).groups(table)

    asked = PathFilter.of(layout, at, at + timedelta(microseconds=1), {symbol})

    assert asked.may_hold(folder)
    assert any(f"raw/ticks/{folder}/".startswith(prefix) for prefix in asked.prefixes())


def test_times_are_read_as_people_type_them() -> None:
    day = datetime(2026, 1, 3, tzinfo=UTC)

    assert parse_instant("2026-01-03") == day
    assert parse_instant("2026-01-03", end=True) == day + timedelta(days=1)
    assert parse_instant("2026-01-03T10:30") == day + timedelta(hours=10, minutes=30)
    assert parse_instant("2026-01-03 10:30:00+02:00", end=True) == day + timedelta(hours=8, minutes=30)
    assert parse_day("2026-01-03") == day.date()
    for wrong in ("yesterday", "2026-13-01", "2026-01-03T25:00", ""):
        with pytest.raises(Invalid):
            parse_instant(wrong)
    with pytest.raises(Invalid):
        parse_day("20260103T10")


async def test_symbols_and_templates_that_contain_one_another_give_no_row_twice() -> None:
    store = MemoryStore(ManualClock())
    for number, path in enumerate(("{symbol}-%Y-%m-%d", "symbol={symbol}/date={date}", "date={date}")):
        lake = LakeBuilder(store, tick_layout(path=path), TopicPartition("ticks", number))
        ticks = ticks_of(range(30), every_seconds=7200)
        for tick in ticks:
            tick.symbol = ("A", "A-", "A-x")[tick.offset % 3]
        await lake.batch(ticks)

    for end in (None, START + timedelta(days=1)):
        query = ReadRequest("ticks", START, end, frozenset({"A", "A-", "A-x"}), ("_partition", "_offset"))
        found = await rows(store, query)
        kept = [t for t in ticks_of(range(30), every_seconds=7200) if end is None or t.at < end]
        assert sorted((r["_partition"], r["_offset"]) for r in found) == [(p, t.offset) for p in range(3) for t in kept]
