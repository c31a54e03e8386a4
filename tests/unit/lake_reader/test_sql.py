"""SQL sees every row once, and fetches only what a query needs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pytest

from streamer.errors import Damaged, Invalid
from streamer.lake.bars import prepare_bars
from streamer.lake.loop_thread import LoopThread
from streamer.lake.reader import Reader
from streamer.lake.request import ReadRequest
from streamer.lake.sql import Sql
from streamer.layout import Format
from streamer.store.contract import Overwrite
from tests.unit.lake.lake_builder import tick_layout
from tests.unit.lake_reader.reader_lake import DAY, CountingStore, close_day, set_through, three_days, utc

pytest.importorskip("duckdb")


@dataclass
class Desk:
    """A lake in memory, and SQL over it."""

    store: CountingStore
    loop: LoopThread
    reader: Reader

    def __call__(self, query: str) -> list[dict[str, object]]:
        sql = Sql(self.reader, self.loop)
        try:
            schema, batches = sql.query(query)
            return list(pa.Table.from_batches(batches, schema=schema).to_pylist())
        finally:
            sql.close()

    def rows(self) -> list[dict[str, object]]:
        prepared = self.loop.run(self.reader.prepare(ReadRequest("ticks")))
        return list(self.loop.run(prepared.table()).to_pylist())


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.close()


def desk(
    loop: LoopThread, *, path: str = "symbol={symbol}/date={date}", format_: Format = "parquet", closed: bool = True
) -> Desk:
    store = CountingStore()

    async def build() -> None:
        await three_days(store, layout=tick_layout(path=path, format_=format_))
        if closed:
            await set_through(store, utc(4, 1))
            await close_day(store, DAY)
        store.forget()

    loop.run(build())
    return Desk(store, loop, Reader(store))


@pytest.mark.parametrize("format_", ["parquet", "ndjson.gz"])
@pytest.mark.parametrize("path", ["symbol={symbol}/date={date}", "{symbol}"])
def test_every_row_is_there_once_with_its_day(loop: LoopThread, path: str, format_: Format) -> None:
    ask = desk(loop, path=path, format_=format_)

    found = ask("SELECT * FROM ticks ORDER BY timestamp, _partition, _offset")

    expected = ask.rows()
    assert [{**row, "date": row["timestamp"].date()} for row in expected] == found  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "condition",
    [
        "symbol = 'BTCUSDT' AND timestamp >= '2026-01-04' AND timestamp < '2026-01-05'",
        "symbol = 'BTCUSDT' AND date = '2026-01-04'",
    ],
)
def test_files_that_a_condition_rules_out_are_not_read(loop: LoopThread, condition: str) -> None:
    ask = desk(loop)

    [found] = ask(f"SELECT count(*) AS n, max(price) AS most FROM ticks WHERE {condition}")

    rows = [r for r in ask.rows() if r["symbol"] == "BTCUSDT" and utc(4) <= r["timestamp"] < utc(5)]  # type: ignore[operator]
    assert found == {"n": len(rows), "most": max(r["price"] for r in rows)}  # type: ignore[type-var]


def test_only_the_files_of_a_day_are_read(loop: LoopThread) -> None:
    ask = desk(loop)

    ask("SELECT sum(price) FROM ticks WHERE symbol = 'BTCUSDT' AND date = '2026-01-03'")

    assert [key for key in ask.store.gets if key.startswith(("raw/", "ticks/"))] == ["ticks/BTCUSDT/2026-01-03.parquet"]


@pytest.mark.parametrize("closed", [True, False])
def test_the_view_of_bars_has_the_bars_of_the_reader(loop: LoopThread, closed: bool) -> None:
    ask = desk(loop, closed=closed)

    found = ask(
        "SELECT symbol, timestamp, open, high, low, close, volume, trades, interval FROM bars ORDER BY timestamp, symbol"
    )

    async def bars() -> pa.Table:
        read = await prepare_bars(ask.reader, ReadRequest("ticks"), "1m")
        return pa.Table.from_batches([batch async for batch in read.batches()], schema=read.schema)

    columns = ["symbol", "timestamp", "open", "high", "low", "close", "volume", "trades", "interval"]
    assert found == loop.run(bars()).select(columns).to_pylist()


def test_views_can_be_joined_and_named_in_any_case(loop: LoopThread) -> None:
    ask = desk(loop)

    [found] = ask("WITH t AS (SELECT * FROM TICKS) SELECT count(*) AS n FROM t JOIN Bars b USING (symbol, date)")

    assert found["n"] > 0  # type: ignore[operator]


@pytest.mark.parametrize("query", ["SELECT nothing FROM ticks", "SELECT * FROM tocks", "SELEC 1"])
def test_sql_that_cannot_be_run_is_the_writers_mistake(loop: LoopThread, query: str) -> None:
    ask = desk(loop, closed=False)

    with pytest.raises(Invalid, match="refused"):
        ask(query)


def test_a_damaged_file_is_damage(loop: LoopThread) -> None:
    ask = desk(loop, closed=False)
    key = next(key for key in ask.store.bodies if key.startswith("raw/"))
    asyncio.run(ask.store.put(key, b"nothing", mode=Overwrite()))

    with pytest.raises(Damaged):
        ask("SELECT sum(price) FROM ticks")


def test_nothing_is_downloaded(loop: LoopThread) -> None:
    ask = desk(loop, closed=False)

    [found] = ask("SELECT current_setting('autoinstall_known_extensions') AS a, current_setting('TimeZone') AS z")

    assert found == {"a": False, "z": "UTC"}
