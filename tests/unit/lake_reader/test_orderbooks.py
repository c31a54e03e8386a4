"""Order books from the message to every reader: nested levels are equal wherever they are read."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from streamer import Lake
from streamer.archive.row_hash import RowHash
from streamer.archive.settings import ArchivedStream
from streamer.cli.main import main
from streamer.lake.ddl import StreamTable, ddl
from streamer.lake.follow import AsyncFollow, follow_request
from streamer.lake.follower import Follower
from streamer.lake.reader import Reader
from streamer.lake.request import ReadRequest
from streamer.layout import LEVELS, Format, Layout
from streamer.store.memory import MemoryStore
from streamer.testing.manual_clock import ManualClock, VirtualClock, run_virtual
from streamer.testing.memory_broker import MemoryBroker
from streamer.testing.memory_tail import MemoryTail
from tests.unit.archive.archive_lake import archived, certificate
from tests.unit.lake_reader.book_lake import (
    BOOKS,
    DAY,
    DECIMALS,
    KAFKA_TIME,
    SETTINGS,
    book_layout,
    build_books,
    expected,
    fill,
    messages,
    row_of,
)
from tests.unit.lake_reader.reader_lake import close_day, rows_of, utc

FORMATS: tuple[Format, ...] = ("parquet", "ndjson.zst", "ndjson.gz")


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("levels", [LEVELS, DECIMALS], ids=["float64", "decimals"])
async def test_books_are_read_back_equal_from_every_format(format_: Format, levels: str) -> None:
    store, made = MemoryStore(ManualClock()), messages(60)
    await fill(store, book_layout(format_, levels), made)

    rows = await rows_of(store, ReadRequest("orderbooks"))

    assert list(map(row_of, rows)) == list(map(expected, made))
    with_rest = [row for row in rows if row["extra"] is not None]
    assert [row["update_id"] for row in with_rest] == [str(n) for n in range(10, 60, 11) if expected(made[n])[3]]


async def test_decimal_levels_come_back_with_every_digit() -> None:
    store = MemoryStore(ManualClock())
    made = [{"symbol": "A", "timestamp": 1767434400, "bids": [["27000.123456", "0.000000000000000001"]]}] * 2
    await fill(store, book_layout("ndjson.gz", DECIMALS), made)

    [level] = (await rows_of(store, ReadRequest("orderbooks")))[0]["bids"]  # type: ignore[misc]

    assert {name: format(number, "f") for name, number in level.items()} == {
        "price": "27000.123456",
        "quantity": "0.000000000000000001",
    }


@pytest.mark.parametrize("format_", ["parquet", "ndjson.zst"])
@pytest.mark.parametrize("keep_raw", [True, False])
def test_a_lake_with_a_closed_day_reads_the_same_by_scan_and_by_sql(tmp_path: Path, format_: Format, keep_raw: bool) -> None:
    made = build_books(tmp_path / "lake", book_layout(format_), closed=True, keep_raw=keep_raw)
    wanted = list(map(expected, made))

    with Lake.open(str(tmp_path / "lake"), cache=None) as lake:
        assert list(map(row_of, lake.scan("orderbooks").to_pylist())) == wanted
        one = lake.scan("orderbooks", "2026-01-03", "2026-01-04", symbols="BTC/USDT", columns=["timestamp", "bids"])
        assert one.schema.field("bids").type == pa.list_(pa.struct([("price", pa.float64()), ("quantity", pa.float64())]))
        assert len(one) == len([w for w in wanted if w[0] == "BTC/USDT" and w[1].date() == DAY])
        deep = lake.scan("orderbooks", where=pc.list_value_length(pc.field("bids")) == 5)
        assert list(map(row_of, deep.to_pylist())) == [w for w in wanted if len(w[3]) == 5]
        newest = lake.latest("orderbooks", "ETHUSDT")
        assert newest is not None
        assert row_of(newest) == wanted[-1]
        by_sql = lake.sql("SELECT * FROM orderbooks ORDER BY timestamp").to_pylist()
        assert list(map(row_of, by_sql)) == wanted
        query = """SELECT symbol, max(bids[1].price) AS bid, sum(list_sum([level.quantity FOR level IN asks])) AS depth
                   FROM orderbooks WHERE len(bids) > 0 AND len(asks) > 0 GROUP BY symbol ORDER BY symbol"""
        found = [(row["symbol"], row["bid"], round(row["depth"], 6)) for row in lake.sql(query).to_pylist()]
        both = [w for w in wanted if w[3] and w[4]]
        assert found == [
            (
                symbol,
                max(w[3][0]["price"] for w in both if w[0] == symbol),
                round(sum(level["quantity"] for w in both if w[0] == symbol for level in w[4]), 6),
            )
            for symbol in ("BTC/USDT", "ETHUSDT")
        ]


async def test_a_closed_day_has_a_file_a_symbol_with_the_rows_of_its_raw_files() -> None:
    store, made = MemoryStore(ManualClock()), messages(120)
    lake = await fill(store, book_layout(), made)
    await lake.through(utc(4, 12))
    await close_day(store, DAY, SETTINGS)

    part = (await certificate(store)).streams["orderbooks"]
    assert part.complete
    assert sorted(output.key for output in part.outputs) == [
        "orderbooks/BTC%2FUSDT/2026-01-03.parquet",
        "orderbooks/ETHUSDT/2026-01-03.parquet",
    ]
    table = await archived(store, "orderbooks/BTC%2FUSDT/2026-01-03.parquet")
    of_the_day = [w for w in map(expected, made) if w[1].date() == DAY]
    assert list(map(row_of, table.to_pylist())) == [w for w in of_the_day if w[0] == "BTC/USDT"]

    late = {"symbol": "BTC/USDT", "timestamp": "2026-01-03T23:59:59Z", "update_id": 999, "bids": [[1, 2]]}
    await lake.batch([late])
    await close_day(store, DAY, SETTINGS)
    assert (await certificate(store)).revision == 2
    again = await archived(store, "orderbooks/BTC%2FUSDT/2026-01-03.parquet")
    assert list(map(row_of, again.to_pylist()))[-1] == expected(late)


async def test_a_stream_of_another_name_has_its_archive_below_its_own() -> None:
    store = MemoryStore(ManualClock())
    await fill(store, replace(book_layout(), stream="depth"), messages(10))
    await close_day(store, DAY, replace(SETTINGS, streams=(ArchivedStream("depth", "orderbooks", "orderbook"),)))

    keys = sorted(output.key for output in (await certificate(store)).streams["depth"].outputs)
    assert keys[0] == "streams/depth/orderbooks/BTC%2FUSDT/2026-01-03.parquet"


def test_verify_proves_a_lake_of_books(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build_books(tmp_path / "lake", book_layout(), closed=True)
    assert main(["verify", "--lake", str(tmp_path / "lake")]) == 0

    archive = next((tmp_path / "lake").glob("orderbooks/ETHUSDT/*.parquet"))
    table = pq.read_table(archive)
    levels = table["asks"].to_pylist()
    next(side for side in levels if side)[0]["quantity"] += 1
    changed = table.set_column(table.schema.get_field_index("asks"), table.schema.field("asks"), [levels])
    pq.write_table(changed.replace_schema_metadata(pq.read_schema(archive).metadata), archive)

    assert main(["verify", "--lake", str(tmp_path / "lake")]) == 5
    assert "orderbooks/ETHUSDT" in capsys.readouterr().out


def table_of(*sides: Any) -> pa.Table:
    schema = pa.schema([("bids", pa.list_(pa.struct([("price", pa.float64()), ("quantity", pa.float64())])))])
    return pa.Table.from_pylist([{"bids": side} for side in sides], schema=schema)


def test_the_row_hash_sees_every_level_at_its_place_and_not_how_rows_were_cut() -> None:
    one, two = {"price": 1.0, "quantity": 2.0}, {"price": 2.0, "quantity": 1.0}
    sides = [[one, two], [two, one], [one], [two], [], None, [one, one], [{"price": 1.0, "quantity": None}], [None]]

    assert len({str(RowHash.of(table_of(side))) for side in sides if side != []}) == len(sides) - 1
    whole = table_of(*sides)
    assert (
        RowHash.of(whole)
        == RowHash.of(whole.slice(0, 4)) + RowHash.of(whole.slice(4))
        == RowHash.of(whole.take([*range(8, -1, -1)]))
    )


def test_other_engines_get_nested_types_and_duckdb_reads_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    duckdb = pytest.importorskip("duckdb")
    made = build_books(tmp_path / "lake", book_layout(), closed=True)
    assert main(["ddl", "--engine", "duckdb", "--lake", str(tmp_path / "lake")]) == 0
    with duckdb.connect() as connection:
        connection.execute(capsys.readouterr().out)
        rows = connection.sql("SELECT * FROM orderbooks ORDER BY timestamp").to_arrow_table().to_pylist()
    assert list(map(row_of, rows)) == list(map(expected, made))

    columns = book_layout(levels=DECIMALS).arrow_schema
    table = StreamTable(
        "orderbooks", columns, "symbol={symbol}/date={date}", "parquet", "timestamp", DAY, "by symbol", "orderbooks"
    )
    for engine, wanted in (
        ("athena", "`bids` array<struct<price:decimal(20,6),quantity:decimal(38,18)>>"),
        ("spark", "`asks` array<struct<price:decimal(20,6),quantity:decimal(38,18)>>"),
        ("trino", '"bids" array(row(price decimal(20,6), quantity decimal(38,18)))'),
    ):
        assert wanted in ddl(engine, "s3://bucket/lake", [table])


def test_the_command_line_prints_books_in_every_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = list(map(expected, build_books(tmp_path / "lake", book_layout())))
    common = ["--lake", str(tmp_path / "lake")]

    def scanned(format_: str, *others: str) -> str:
        assert main(["scan", "orderbooks", "--format", format_, *others, *common]) == 0
        return capsys.readouterr().out

    lines = sorted((json.loads(line) for line in scanned("json").splitlines()), key=itemgetter("_offset"))
    assert [(line["bids"], line["asks"]) for line in lines] == [(w[3], w[4]) for w in made]
    rows = sorted(csv.DictReader(io.StringIO(scanned("csv"))), key=lambda row: int(row["_offset"]))
    assert [json.loads(row["bids"]) for row in rows] == [w[3] for w in made]
    assert [json.loads(row["asks"] or "null") for row in rows] == [w[4] for w in made]
    scanned("parquet", "-o", str(tmp_path / "x.parquet"))
    assert [row["asks"] for row in pq.read_table(tmp_path / "x.parquet").sort_by("_offset").to_pylist()] == [w[4] for w in made]
    assert "'price': " in scanned("table", "--limit", "3")


def test_the_type_of_the_levels_is_in_the_layout_and_its_fingerprint() -> None:
    one, other = book_layout(), book_layout(levels=DECIMALS)
    assert one.fingerprint != other.fingerprint
    assert Layout.from_document(one.document()) == one


def test_a_follower_gets_books_of_the_lake_and_of_kafka_as_the_same_rows() -> None:
    """The lake has the first forty, decoded by the writer; the rest comes from the broker, decoded by the follower."""
    made, found = messages(60), []
    request = follow_request("orderbooks", None, None, None, None, "raise", until_caught_up=True)

    async def story(clock: VirtualClock) -> None:
        broker, store = MemoryBroker(clock=clock), MemoryStore(clock)
        broker.create_topic("orderbooks", 1)
        for message in made:
            broker.append(BOOKS, json.dumps(message).encode(), timestamp=KAFKA_TIME)
        await fill(store, book_layout(), made[:40])
        followed = AsyncFollow(lambda: Follower(Reader(store), request, MemoryTail(broker), clock))
        found.extend([row_of(row) async for row in followed])

    run_virtual(story)
    assert found == list(map(expected, made))
