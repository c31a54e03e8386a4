"""Bars: held against a plain Python computation, made of bars, and cut anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import groupby, pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.archive.bars import BarFold, bar_schema, base_interval, fold, unit_bars
from streamer.archive.interval import Interval
from streamer.errors import Invalid

MIDNIGHT = datetime(2026, 1, 3, tzinfo=UTC)
# Numbers that floats add without an error, so that the answer does not depend on the order.
EXACT = st.integers(1, 10**6).map(lambda n: n / 64)
TICKS = st.lists(st.tuples(st.integers(0, 86_400 * 1000 - 1), EXACT, st.one_of(st.none(), EXACT)), min_size=1, max_size=60).map(
    lambda ticks: sorted(ticks, key=lambda tick: tick[0])
)
INTERVALS = st.lists(
    st.sampled_from(["1s", "15s", "1m", "5m", "45m", "1h", "4h", "1d"]).map(Interval.parse), min_size=1, max_size=4, unique=True
).map(tuple)
FLOAT = pa.float64()
FLOATS = bar_schema(FLOAT, FLOAT)

Tick = tuple[int, Any, Any]


def table(ticks: Sequence[Tick], price: pa.DataType = FLOAT, quantity: pa.DataType = FLOAT) -> pa.Table:
    return pa.table(
        {
            "timestamp": pa.array([MIDNIGHT + timedelta(milliseconds=t) for t, _, _ in ticks], pa.timestamp("us", tz="UTC")),
            "price": pa.array([p for _, p, _ in ticks], price),
            "quantity": pa.array([q for _, _, q in ticks], quantity),
        }
    )


def bars(ticks: pa.Table, intervals: tuple[Interval, ...], *, cuts: Sequence[int] = (), fill: bool = False) -> pa.Table:
    folding = BarFold(intervals, fill=fill)
    edges = [0, *sorted(cut % (ticks.num_rows + 1) for cut in cuts), ticks.num_rows]
    for start, end in pairwise(edges):
        folding.add(ticks.slice(start, end - start))
    return folding.table(bar_schema(ticks["price"].type, ticks["quantity"].type))


def expected(ticks: Sequence[Tick], interval: Interval) -> list[dict[str, Any]]:
    """The same by hand, in exact arithmetic."""
    found = []
    for number, group in groupby(ticks, key=lambda tick: tick[0] // (interval.seconds * 1000)):
        rows = list(group)
        prices = [price for _, price, _ in rows]
        volume = sum(Fraction(quantity or 0) for _, _, quantity in rows)
        notional = sum(Fraction(price) * Fraction(quantity or 0) for _, price, quantity in rows)
        found.append(
            {
                "timestamp": MIDNIGHT + timedelta(seconds=number * interval.seconds),
                "interval": str(interval),
                "open": prices[0],
                "high": max(prices),
                "low": min(prices),
                "close": prices[-1],
                "volume": float(volume),
                "trades": len(rows),
                "vwap": float(notional) / float(volume) if volume else None,
            }
        )
    return found


@given(TICKS, INTERVALS)
@settings(max_examples=30, deadline=None)
def test_bars_are_those_of_a_computation_by_hand(ticks: list[Tick], intervals: tuple[Interval, ...]) -> None:
    wanted = [bar for interval in intervals for bar in expected(ticks, interval)]

    assert bars(table(ticks), intervals).to_pylist() == wanted


@given(TICKS, INTERVALS)
@settings(max_examples=20, deadline=None)
def test_bars_of_bars_are_bars(ticks: list[Tick], intervals: tuple[Interval, ...]) -> None:
    fine, coarse = Interval(15), Interval(3600)
    from_ticks = fold(unit_bars(table(ticks)), coarse)

    assert fold(fold(unit_bars(table(ticks)), fine), coarse).equals(from_ticks)
    assert fold(from_ticks, coarse).equals(from_ticks)


@given(
    st.lists(
        st.tuples(st.integers(0, 86_399_999), st.floats(1e-9, 1e12), st.one_of(st.none(), st.floats(0, 1e12))), min_size=1
    ).map(lambda ticks: sorted(ticks, key=lambda tick: tick[0])),
    st.lists(st.integers(0, 100), max_size=6),
    INTERVALS,
    st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_not_one_bit_depends_on_where_the_ticks_were_cut(
    ticks: list[Tick], cuts: list[int], intervals: tuple[Interval, ...], fill: bool
) -> None:
    whole = table(ticks)

    assert bars(whole, intervals, cuts=cuts, fill=fill).equals(bars(whole, intervals, fill=fill))


@given(TICKS)
@settings(max_examples=20, deadline=None)
def test_filled_bars_have_every_minute_and_invent_no_trade(ticks: list[Tick]) -> None:
    minute = Interval(60)
    plain, full = bars(table(ticks), (minute,)).to_pylist(), bars(table(ticks), (minute,), fill=True).to_pylist()

    assert [bar for bar in full if bar["trades"]] == plain
    assert {b["timestamp"] - a["timestamp"] for a, b in pairwise(full)} <= {timedelta(minutes=1)}
    for before, bar in pairwise(full):
        if not bar["trades"]:
            prices = {bar[name] for name in ("open", "high", "low", "close")}
            assert (prices, bar["volume"], bar["vwap"]) == ({before["close"]}, 0.0, None)


@given(
    st.lists(
        st.tuples(st.integers(0, 86_399_999), st.decimals(0, 10**9, places=18), st.decimals(0, 10**9, places=18)),
        min_size=1,
        max_size=20,
    )
)
@settings(max_examples=30, deadline=None)
def test_decimals_are_added_exactly(ticks: list[Tick]) -> None:
    ticks = sorted(ticks, key=lambda tick: tick[0])
    kind = pa.decimal128(38, 18)

    [bar] = bars(table(ticks, kind, kind), (Interval(86_400),)).to_pylist()

    assert bar["volume"] == sum((quantity for _, _, quantity in ticks), Decimal(0))
    assert (bar["high"], bar["low"]) == (max(p for _, p, _ in ticks), min(p for _, p, _ in ticks))


@pytest.mark.parametrize("text", ["", "7m", "0m", "25h", "1w", "m", "1 m", "-1m", "1.5m", "2d"])
def test_an_interval_that_does_not_divide_a_day_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        Interval.parse(text)


@pytest.mark.parametrize(("text", "again"), [("60s", "1m"), ("1h", "1h"), ("24h", "1d"), ("90s", "90s"), ("15s", "15s")])
def test_an_interval_is_written_in_its_greatest_unit(text: str, again: str) -> None:
    assert str(Interval.parse(text)) == again


@given(INTERVALS)
def test_the_base_divides_every_interval_and_a_minute(intervals: tuple[Interval, ...]) -> None:
    base = base_interval(intervals).seconds

    assert all(interval.seconds % base == 0 for interval in (*intervals, Interval(60)))


def test_a_day_without_ticks_has_no_bars() -> None:
    assert bars(table([]), (Interval(60),)).equals(FLOATS.empty_table())
