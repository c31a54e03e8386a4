"""Bars of any interval across closed and open days: the archive's where a day is closed, made from ticks where it is not.

Both ways go through `archive/bars.py`, so a bar of today is the bar that the archive will hold. Day by day, in bounded memory.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from streamer.archive.bars import BarFold, bar_schema, base_interval, finished, fold
from streamer.archive.interval import Interval
from streamer.errors import Invalid
from streamer.lake.closed_days import ClosedDay
from streamer.lake.parallel import in_parallel
from streamer.lake.path_filter import SYMBOL
from streamer.lake.read_plan import Piece
from streamer.lake.reader import FETCH_BUDGET_BYTES, READS_AT_ONCE, PreparedRead, Reader
from streamer.lake.request import ReadRequest

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TICK_COLUMNS = (SYMBOL, "timestamp", "price", "quantity")


@dataclass(frozen=True, slots=True)
class BarRead:
    """Bars of `interval` that begin in `[start, end)`, each made of all its ticks. `schema` is that of every batch."""

    interval: Interval
    schema: pa.Schema
    limit: int | None
    _ticks: PreparedRead = field(repr=False)
    _stored: pa.Schema = field(repr=False)

    async def batches(self) -> AsyncGenerator[pa.RecordBatch]:
        """The bars by (timestamp, symbol), day by day."""
        left = self.limit
        plan = await self._ticks.plan()
        for pieces in plan.by_day():
            day = plan.closed.by_day.get(pieces[0].day) if pieces[0].day is not None else None
            source = _source(day, self.interval) if day is not None and self._ticks.request.as_of is None else None
            if day is not None and source is not None:
                table = await self._of_archive(day, source)
            else:
                table = await self._of_ticks(pieces)
            if left is not None:
                table = table.slice(0, left)
                left -= table.num_rows
            for batch in table.to_batches():
                yield batch
            if left == 0:
                return

    async def _of_ticks(self, pieces: Sequence[Piece]) -> pa.Table:
        folds: dict[str, BarFold] = {}
        async with aclosing(self._ticks.sorted_batches(pieces)) as batches:
            async for batch in batches:
                await self._ticks.workers.run(self._fold, folds, batch)
        return await self._ticks.workers.run(self._finished, folds)

    async def _of_archive(self, day: ClosedDay, source: Interval) -> pa.Table:
        outputs = day.bars(self._ticks.request.symbols)
        columns = [*self._stored.names]
        tables = in_parallel(
            outputs,
            lambda output: self._ticks.read_output(output, day.day, columns),
            lambda output: output.bytes,
            most=READS_AT_ONCE,
            budget_bytes=FETCH_BUDGET_BYTES,
        )
        parts: dict[str, pa.Table] = {}
        async with aclosing(tables):
            async for output, table in tables:
                parts[output.symbol or ""] = await self._ticks.workers.run(self._resampled, table, source)
        return await self._ticks.workers.run(self._joined, parts)

    def _resampled(self, stored: pa.Table, source: Interval) -> pa.Table:
        """The bars of one symbol's object at our interval. Bars without a trade, which fill gaps, are no bars here."""
        bars = stored.filter(pc.and_(pc.equal(stored["interval"], str(source)), pc.greater(stored["trades"], 0)))
        for at, compare in ((self._ticks.request.start, pc.greater_equal), (self._ticks.request.end, pc.less)):
            if at is not None:
                bars = bars.filter(compare(bars["timestamp"], pa.scalar(at)))
        if source != self.interval:
            notional = pc.fill_null(pc.multiply(bars["vwap"], bars["volume"].cast(pa.float64())), 0.0)
            plain = bars.drop_columns(["interval", "vwap"]).append_column("notional", notional)
            bars = finished(fold(plain, self.interval), self.interval, self._stored)
        return bars.select(self._stored.names).cast(self._stored)

    def _fold(self, folds: dict[str, BarFold], batch: pa.RecordBatch) -> None:
        table = pa.Table.from_batches([batch])
        ticks = table.drop_columns([SYMBOL])
        symbols = pc.unique(table[SYMBOL]).to_pylist()
        for symbol in symbols:
            fold = folds.setdefault(symbol, BarFold((self.interval,)))
            fold.add(ticks if len(symbols) == 1 else ticks.filter(pc.equal(table[SYMBOL], symbol)))

    def _finished(self, folds: dict[str, BarFold]) -> pa.Table:
        return self._joined({symbol: fold.table(self._stored) for symbol, fold in folds.items()})

    def _joined(self, bars: Mapping[str, pa.Table]) -> pa.Table:
        parts = [bars[s].add_column(0, SYMBOL, pa.array([s] * bars[s].num_rows, pa.string())) for s in sorted(bars)]
        if not parts:
            return self.schema.empty_table()
        whole = pa.concat_tables(parts)
        if len(parts) > 1:
            whole = whole.take(pc.sort_indices(whole, sort_keys=[("timestamp", "ascending"), (SYMBOL, "ascending")]))
        return whole.select(self.schema.names).cast(self.schema)


async def prepare_bars(reader: Reader, request: ReadRequest, interval: str) -> BarRead:
    """Check the request, whose stream is one of ticks and whose columns are those of bars.

    Raises `Invalid` for an interval that does not divide a day, and as `Reader.prepare`.
    """
    length = Interval.parse(interval)
    step = timedelta(seconds=length.seconds)
    ticks = replace(request, start=_ceiling(request.start, step), end=_ceiling(request.end, step), columns=None, limit=None)
    if request.only_complete:
        # The bar in which the first partition is not complete yet can still change.
        until = await reader.complete_until(request.stream)
        until -= (until - _EPOCH) % step
        end = min(ticks.end, until) if ticks.end is not None else until
        start = min(ticks.start, end) if ticks.start is not None else None
        ticks = replace(ticks, start=start, end=end, only_complete=False)
    there = (await reader.prepare(ticks)).schema.names
    if missing := [name for name in TICK_COLUMNS[:3] if name not in there]:
        hint = "bars are made of a stream with symbol, timestamp and price"
        raise Invalid(f"{request.stream} has no column {', '.join(missing)}", hint=hint)
    prepared = await reader.prepare(replace(ticks, columns=tuple(name for name in TICK_COLUMNS if name in there)))
    quantity = prepared.schema.field("quantity").type if "quantity" in there else pa.float64()
    stored = bar_schema(prepared.schema.field("price").type, quantity)
    whole = pa.schema([pa.field(SYMBOL, pa.string(), nullable=False), *stored])
    names = request.columns or tuple(whole.names)
    if unknown := [name for name in names if name not in whole.names]:
        raise Invalid(f"bars have no column {', '.join(unknown)}", hint=f"they have {', '.join(whole.names)}")
    return BarRead(length, pa.schema([whole.field(name) for name in names]), request.limit, prepared, stored)


def _source(day: ClosedDay, interval: Interval) -> Interval | None:
    """The archived bars that ours can be made of: the same, else those from which the archive itself would make them."""
    base = base_interval((interval,))
    return next((stored for stored in (interval, base) if stored in day.intervals), None)


def _ceiling(at: datetime | None, step: timedelta) -> datetime | None:
    """The first moment from `at` on at which a bar begins."""
    return at + (_EPOCH - at) % step if at is not None else None
