"""Bars: of any interval, the same whether a day is closed or open."""

from __future__ import annotations

from datetime import datetime, timedelta

import pyarrow as pa
import pytest

from streamer.errors import Invalid
from streamer.lake.bars import prepare_bars
from streamer.lake.reader import Reader
from streamer.lake.request import ReadRequest
from tests.unit.lake.lake_builder import LakeBuilder, Tick, tick_layout
from tests.unit.lake_reader.reader_lake import DAY, CountingStore, close_day, set_through, three_days, ticks_every, utc


async def bars(store: CountingStore, interval: str, **options: object) -> pa.Table:
    request = ReadRequest.of("ticks", **options)  # type: ignore[arg-type]
    read = await prepare_bars(Reader(store), request, interval)
    return pa.Table.from_batches([batch async for batch in read.batches()], schema=read.schema)


def plain_bars(ticks: list[Tick], step: timedelta) -> list[tuple[datetime, str, float, float, float, float, int]]:
    """Written down a second time, as simply as can be."""
    found: dict[tuple[datetime, str], list[float]] = {}
    for tick in sorted(ticks, key=lambda t: (t.at, t.offset)):
        begin = tick.at - (tick.at - utc(1)) % step
        found.setdefault((begin, tick.symbol or ""), []).append(tick.price)
    return [(at, s, p[0], max(p), min(p), p[-1], len(p)) for (at, s), p in sorted(found.items())]


COLUMNS = ("timestamp", "symbol", "open", "high", "low", "close", "trades")


def as_tuples(table: pa.Table) -> list[tuple[object, ...]]:
    return list(zip(*(table[name].to_pylist() for name in COLUMNS), strict=True))


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


@pytest.mark.parametrize(("interval", "minutes"), [("1m", 1), ("5m", 5), ("1h", 60), ("4h", 240), ("1d", 1440)])
async def test_bars_of_closed_and_open_days_are_those_of_the_ticks(store: CountingStore, interval: str, minutes: int) -> None:
    ticks = await three_days(store)
    open_bars = await bars(store, interval)
    await set_through(store, utc(4, 1))
    await close_day(store, DAY)

    assert as_tuples(open_bars) == plain_bars(ticks, timedelta(minutes=minutes))
    assert as_tuples(await bars(store, interval)) == as_tuples(open_bars)
    assert (await bars(store, interval)).schema == open_bars.schema


async def test_bars_of_a_closed_day_do_not_read_its_ticks(store: CountingStore) -> None:
    await three_days(store)
    await set_through(store, utc(4, 1))
    await close_day(store, DAY)
    store.forget()

    found = await bars(store, "15m", symbols="BTCUSDT", start="2026-01-03", end="2026-01-04")

    assert found.num_rows > 20
    assert [key for key in store.gets if not key.startswith(("_streamer", "archive/"))] == ["ohlcv/BTCUSDT/2026-01-03.parquet"]


async def test_an_interval_that_the_archive_cannot_give_is_made_from_its_ticks(store: CountingStore) -> None:
    ticks = await three_days(store)
    await set_through(store, utc(4, 1))
    await close_day(store, DAY)

    found = await bars(store, "15s", symbols="BTCUSDT", end="2026-01-04")

    kept = [t for t in ticks if t.symbol == "BTCUSDT" and t.at < utc(4)]
    assert as_tuples(found) == plain_bars(kept, timedelta(seconds=15))


async def test_a_bar_has_all_its_ticks_also_those_behind_the_end(store: CountingStore) -> None:
    await LakeBuilder(store, tick_layout()).batch(ticks_every(1, 30))

    found = await bars(store, "10m", start="2026-01-03T10:05", end="2026-01-03T10:15")

    assert found["timestamp"].to_pylist() == [utc(3, 10, 10)]
    assert found["trades"].to_pylist() == [10]


async def test_volume_and_vwap_survive_resampling(store: CountingStore) -> None:
    lake = LakeBuilder(store, tick_layout())
    table = lake.table

    def traded(ticks: list[Tick]) -> pa.Table:
        made = table(ticks)
        amounts = pa.array([float(t.offset % 5) for t in ticks])
        return made.set_column(made.schema.get_field_index("quantity"), made.schema.field("quantity"), amounts)

    lake.table = traded  # type: ignore[method-assign, assignment]
    ticks = ticks_every(1, 200)
    await lake.batch(ticks)
    await set_through(store, utc(5))
    await close_day(store, DAY)

    found = (await bars(store, "1h", columns=["volume", "vwap"])).to_pylist()
    fine = (await bars(store, "30m", columns=["volume", "vwap"])).to_pylist()

    first = ticks[:60]
    volume = sum(t.offset % 5 for t in first)
    assert found[0]["volume"] == volume == fine[0]["volume"] + fine[1]["volume"]
    assert found[0]["vwap"] == pytest.approx(sum(t.price * (t.offset % 5) for t in first) / volume)
    half = sum(t.price * (t.offset % 5) for t in first[:30]) / fine[0]["volume"]
    assert fine[0]["vwap"] == pytest.approx(half)


@pytest.mark.parametrize("interval", ["7m", "1w", "", "5", "0m"])
async def test_an_interval_that_does_not_divide_a_day_is_refused(store: CountingStore, interval: str) -> None:
    await three_days(store)

    with pytest.raises(Invalid, match="interval"):
        await bars(store, interval)


async def test_a_limit_and_columns_apply_to_bars(store: CountingStore) -> None:
    await three_days(store)

    found = await bars(store, "1h", columns=["close", "symbol"], limit=3)

    assert found.column_names == ["close", "symbol"]
    assert found.num_rows == 3
    with pytest.raises(Invalid, match="no column price"):
        await bars(store, "1h", columns=["price"])


async def test_only_complete_leaves_out_the_bar_that_can_still_change(store: CountingStore) -> None:
    ticks = await three_days(store)
    await set_through(store, utc(4, 6, 50))

    found = as_tuples(await bars(store, "4h", only_complete=True))
    later = as_tuples(await bars(store, "4h", only_complete=True, start="2026-01-04T06:00"))

    assert found == [bar for bar in plain_bars(ticks, timedelta(hours=4)) if bar[0] < utc(4, 4)]
    assert later == []
