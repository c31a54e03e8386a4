"""OHLCV bars: from the ticks of one symbol, and from finer bars. Pure; Arrow alone touches the rows.

A tick is a bar of one trade, and longer bars are made of shorter ones by the same fold, row after row. The result does not
depend on where the rows were cut into tables: not by one bit, although floats are added.
"""

from __future__ import annotations

import math

import pyarrow as pa
import pyarrow.compute as pc

from streamer.archive.interval import Interval as Interval

TIME = pa.timestamp("us", tz="UTC")
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def bar_schema(price: pa.DataType, quantity: pa.DataType) -> pa.Schema:
    """The columns of bars made of ticks with these types. `volume` adds up: a decimal gets all the digits there are."""
    return pa.schema(
        [
            pa.field("timestamp", TIME, nullable=False),  # of the open, that is the bar's beginning
            pa.field("interval", pa.string(), nullable=False),
            pa.field("open", price, nullable=False),
            pa.field("high", price, nullable=False),
            pa.field("low", price, nullable=False),
            pa.field("close", price, nullable=False),
            pa.field("volume", pa.decimal128(38, quantity.scale) if pa.types.is_decimal(quantity) else pa.float64()),
            pa.field("trades", pa.int64(), nullable=False),
            pa.field("vwap", pa.float64()),
        ]
    )


def unit_bars(ticks: pa.Table) -> pa.Table:
    """Each tick as a bar of its own: `timestamp` (the tick's, microseconds), open, high, low, close, volume, trades, notional.

    `ticks` have `timestamp`, `price` and, where there is one, `quantity`; a null quantity counts as 0. `notional` is price
    times quantity in float64.
    """
    price = ticks["price"]
    if "quantity" in ticks.column_names:
        quantity = ticks["quantity"]
        if pa.types.is_decimal(quantity.type):
            quantity = quantity.cast(pa.decimal128(38, quantity.type.scale))
        else:
            quantity = quantity.cast(pa.float64())
        quantity = pc.fill_null(quantity, pa.scalar(0, pa.int64()).cast(quantity.type))
    else:
        quantity = pa.chunked_array([pa.repeat(0.0, ticks.num_rows)])
    return pa.table(
        {
            "timestamp": ticks["timestamp"].cast(TIME, safe=False),
            "open": price,
            "high": price,
            "low": price,
            "close": price,
            "volume": quantity,
            "trades": pa.chunked_array([pa.repeat(1, ticks.num_rows)]),
            "notional": pc.multiply(price.cast(pa.float64()), quantity.cast(pa.float64())),
        }
    )


def fold(bars: pa.Table, interval: Interval) -> pa.Table:
    """`bars`, ascending in time and all of one symbol, as bars of `interval`. The columns are those of `unit_bars`.

    Times are cut down to multiples of the interval. Where a bar's parts come in two tables, fold the first, put its last bar
    before the second, and fold that.
    """
    if not bars.num_rows:
        return bars
    whole = bars.combine_chunks()
    starts = floor_to(whole["timestamp"], interval)
    ends = pc.run_end_encode(_array(starts.cast(pa.int64()))).run_ends.cast(pa.int64())
    begins = pa.concat_arrays([pa.array([0], pa.int64()), ends[:-1]])
    lasts = pc.subtract(ends, 1)
    grouped = pa.table(
        {"bar": starts, **{name: whole[name] for name in ("high", "low", "volume", "trades", "notional")}}
    ).group_by("bar", use_threads=False)
    added = grouped.aggregate([("high", "max"), ("low", "min"), ("volume", "sum"), ("trades", "sum"), ("notional", "sum")])
    added = added.sort_by("bar")  # groups come in the order of a hash table, also without threads
    return pa.table(
        {
            "timestamp": starts.take(begins),
            "open": whole["open"].take(begins),
            "high": added["high_max"],
            "low": added["low_min"],
            "close": whole["close"].take(lasts),
            "volume": added["volume_sum"],
            "trades": added["trades_sum"],
            "notional": added["notional_sum"],
        }
    )


def filled(bars: pa.Table, interval: Interval) -> pa.Table:
    """`bars` of `interval` with those between the first and the last that had no trade: their prices are the close before them,
    their volume and trades 0."""
    if bars.num_rows < 2:
        return bars
    first, last = bars["timestamp"][0].value, bars["timestamp"][-1].value
    step = interval.seconds * 10**6
    times = pa.array(range(first, last + 1, step), pa.int64()).cast(TIME)
    at = pc.index_in(times, value_set=_array(bars["timestamp"]))
    closes = pc.fill_null_forward(bars["close"].take(at))
    columns = {"timestamp": times}
    for name in ("open", "high", "low", "close"):
        columns[name] = pc.coalesce(bars[name].take(at), closes)
    for name in ("volume", "trades", "notional"):
        kind = bars[name].type
        columns[name] = pc.fill_null(bars[name].take(at), pa.scalar(0, pa.int64()).cast(kind))
    return pa.table(columns)


def finished(bars: pa.Table, interval: Interval, schema: pa.Schema) -> pa.Table:
    """`bars` as they are stored (`bar_schema`): with their interval's name and `vwap`, null where nothing was traded."""
    volume = bars["volume"].cast(pa.float64())
    vwap = pc.if_else(pc.greater(volume, 0), pc.divide(bars["notional"], volume), pa.scalar(None, pa.float64()))
    columns = {
        **{name: bars[name] for name in bars.column_names},
        "interval": pa.chunked_array([pa.repeat(str(interval), bars.num_rows)]),
        "vwap": vwap,
    }
    return pa.table([columns[field.name].cast(field.type) for field in schema], schema=schema)


def floor_to(times: pa.ChunkedArray, interval: Interval) -> pa.ChunkedArray:
    """Each time (microseconds, 1970 or later) cut down to a multiple of the interval since 1970."""
    ticks, step = times.cast(pa.int64()), interval.seconds * _PER_SECOND[times.type.unit]
    return pc.multiply(pc.divide(ticks, step), step).cast(times.type)


class BarFold:
    """The bars of one symbol and day at several intervals, from its ticks in order, table by table, in bounded memory."""

    def __init__(self, intervals: tuple[Interval, ...], *, fill: bool = False) -> None:
        """All intervals are made from the greatest one that divides each of them and a minute."""
        self._intervals = intervals
        self._fill = fill
        self._base = base_interval(intervals)
        self._done: list[pa.Table] = []
        self._open: pa.Table | None = None

    def add(self, ticks: pa.Table) -> None:
        """The next ticks, by (event time, partition, offset)."""
        if not ticks.num_rows:
            return
        units = unit_bars(ticks)
        bars = fold(pa.concat_tables([self._open, units]) if self._open is not None else units, self._base)
        if bars.num_rows > 1:
            self._done.append(bars.slice(0, bars.num_rows - 1))
        self._open = bars.slice(bars.num_rows - 1).combine_chunks()

    def base(self) -> pa.Table | None:
        """The bars of the base interval (columns of `unit_bars`); None where there was no tick."""
        return pa.concat_tables([*self._done, self._open]).combine_chunks() if self._open is not None else None

    def table(self, schema: pa.Schema) -> pa.Table:
        """All bars, interval by interval in the order asked for, each ascending in time."""
        base = self.base()
        if base is None:
            return schema.empty_table()
        parts = []
        for interval in self._intervals:
            bars = fold(base, interval)
            parts.append(finished(filled(bars, interval) if self._fill else bars, interval, schema))
        return pa.concat_tables(parts)


def base_interval(intervals: tuple[Interval, ...]) -> Interval:
    """The length from which all of `intervals` are made: the greatest that divides each of them and a minute."""
    return Interval(math.gcd(60, *(interval.seconds for interval in intervals)))


def _array(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole
