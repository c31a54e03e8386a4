"""The reading methods of `AsyncLake` and `Lake`: from arguments to a prepared read. What a read does is in `reader.py`."""

from __future__ import annotations

from typing import Any

from streamer.lake.bars import prepare_bars
from streamer.lake.loop_thread import LoopThread
from streamer.lake.reader import Reader, one_row
from streamer.lake.request import Columns, ReadRequest, Symbols, TimeLike
from streamer.lake.rows import AsyncRows, Rows, RowSource

TICKS = "ticks"
SIGNALS = "signals"
FEATURES = "features"


class AsyncReading:
    """Rows of streams. The options of every method:

    start, end: event times, `start` included and `end` not: datetimes, dates (their midnight) or ISO 8601 text; UTC where no
    zone is given. symbols: one or several; None: all. columns: which, in this order; None: all. where: an Arrow expression
    (`pc.field("price") > 100`) or tuples as pyarrow takes them (`[("price", ">", 100)]`). limit: the first so many rows. as_of:
    only rows that Kafka had before this moment: what a reader could have known then. only_complete: end where the first
    partition is not complete yet.

    Rows come by event time, then partition, then offset. Closed days come from the archive, open days from raw files. Raises
    `Invalid` where the lake has no such stream or column, `Damaged` where a file cannot be read, `Unavailable` and `Denied`.
    """

    _reader: Reader

    def ticks(
        self,
        symbols: Symbols = None,
        start: TimeLike | None = None,
        end: TimeLike | None = None,
        *,
        columns: Columns = None,
        where: Any = None,
        limit: int | None = None,
        as_of: TimeLike | None = None,
        only_complete: bool = False,
    ) -> AsyncRows:
        """Ticks: `symbol`, `timestamp`, `price`, `quantity` and what else the stream declares."""
        return self.scan(
            TICKS,
            start,
            end,
            symbols=symbols,
            columns=columns,
            where=where,
            limit=limit,
            as_of=as_of,
            only_complete=only_complete,
        )

    def signals(
        self,
        start: TimeLike | None = None,
        end: TimeLike | None = None,
        *,
        symbols: Symbols = None,
        columns: Columns = None,
        where: Any = None,
        limit: int | None = None,
        as_of: TimeLike | None = None,
        only_complete: bool = False,
    ) -> AsyncRows:
        """Signals: `timestamp`, `symbol`, `regime`, `regime_name`, `stress`, `velocity`, `confidence`, `anomaly_score`."""
        return self.scan(
            SIGNALS,
            start,
            end,
            symbols=symbols,
            columns=columns,
            where=where,
            limit=limit,
            as_of=as_of,
            only_complete=only_complete,
        )

    def features(
        self,
        symbols: Symbols = None,
        start: TimeLike | None = None,
        end: TimeLike | None = None,
        *,
        columns: Columns = None,
        where: Any = None,
        limit: int | None = None,
        as_of: TimeLike | None = None,
        only_complete: bool = False,
    ) -> AsyncRows:
        """Features: `symbol`, `timestamp`, and the map `features` or declared columns."""
        return self.scan(
            FEATURES,
            start,
            end,
            symbols=symbols,
            columns=columns,
            where=where,
            limit=limit,
            as_of=as_of,
            only_complete=only_complete,
        )

    def bars(
        self,
        symbols: Symbols = None,
        interval: str = "1m",
        start: TimeLike | None = None,
        end: TimeLike | None = None,
        *,
        columns: Columns = None,
        limit: int | None = None,
        as_of: TimeLike | None = None,
        only_complete: bool = False,
        stream: str = TICKS,
    ) -> AsyncRows:
        """OHLCV bars that begin in `[start, end)`, each of all its ticks: `symbol`, `timestamp` (its beginning), `interval`,
        `open`, `high`, `low`, `close`, `volume`, `trades`, `vwap`; by `timestamp`, then `symbol`.

        interval: `1m`, `15s`, `4h` or another that divides a day. A time without a trade has no bar. The newest bar may be of
        ticks that are still coming. stream: the stream of ticks that they are made of. Also raises `Invalid` for the interval.
        """
        request = ReadRequest.of(stream, start, end, symbols, columns, None, limit, as_of, only_complete)

        async def prepare() -> RowSource:
            return await prepare_bars(self._reader, request, interval)

        return AsyncRows(prepare)

    def scan(
        self,
        stream: str,
        start: TimeLike | None = None,
        end: TimeLike | None = None,
        *,
        symbols: Symbols = None,
        columns: Columns = None,
        where: Any = None,
        limit: int | None = None,
        as_of: TimeLike | None = None,
        only_complete: bool = False,
    ) -> AsyncRows:
        """Rows of any stream. See the class for the options."""
        request = ReadRequest.of(stream, start, end, symbols, columns, where, limit, as_of, only_complete)

        async def prepare() -> RowSource:
            return await self._reader.prepare(request)

        return AsyncRows(prepare)

    async def latest(self, stream: str, symbol: str | None = None) -> dict[str, Any] | None:
        """The newest row of `stream` (of `symbol`, where given) by event time; None where there is none."""
        prepared = await self._reader.prepare(ReadRequest.of(stream, symbols=symbol))
        return one_row(await prepared.last_row())


class Reading:
    """Rows of streams, for synchronous code. The options of every method:

    start, end: event times, `start` included and `end` not: datetimes, dates (their midnight) or ISO 8601 text; UTC where no
    zone is given. symbols: one or several; None: all. columns: which, in this order; None: all. where: an Arrow expression
    (`pc.field("price") > 100`) or tuples as pyarrow takes them (`[("price", ">", 100)]`). limit: the first so many rows. as_of:
    only rows that Kafka had before this moment: what a reader could have known then. only_complete: end where the first
    partition is not complete yet.

    Rows come by event time, then partition, then offset. Closed days come from the archive, open days from raw files. Raises
    `Invalid` where the lake has no such stream or column, `Damaged` where a file cannot be read, `Unavailable` and `Denied`.
    """

    _inner: AsyncReading
    _loop: LoopThread

    def ticks(
        self,
        symbols: Symbols = None,
        start: TimeLike | None = None,
        end: TimeLike | None = None,
        *,
        columns: Columns = None,
        where: Any = None,
        limit: int | None = None,
        as_of: TimeLike | None = None,
        only_complete: bool = False,
    ) -> Rows:
        """Ticks: `symbol`, `timestamp`, `price`, `quantity` and what else the stream declares."""
        return self.scan(
            TICKS,
            start,
            end,
            symbols=symbols,
            columns=columns,
            where=where,
            limit=limit,
            as_of=as_of,
            only_complete=only_complete,
        )

    def signals(
        self,
        start: TimeLike | None = None,
        end: TimeLike | None = None,
        *,
        symbols: Symbols = None,
        columns: Columns = None,
        where: Any = None,
        limit: int | None = None,
        as_of: TimeLike | None = None,
        only_complete: bool = False,
    ) -> Rows:
        """Signals: `timestamp`, `symbol`, `regime`, `regime_name`, `stress`, `velocity`, `confidence`, `anomaly_score`."""
        return self.scan(
            SIGNALS,
            start,
            end,
            symbols=symbols,
            columns=columns,
            where=where,
            limit=limit,
            as_of=as_of,
            only_complete=only_complete,
        )

    def features(
        self,
        symbols: Symbols = None,
        start: TimeLike | None = None,
        end: TimeLike | None = None,
        *,
        columns: Columns = None,
        where: Any = None,
        limit: int | None = None,
        as_of: TimeLike | None = None,
        only_complete: bool = False,
    ) -> Rows:
        """Features: `symbol`, `timestamp`, and the map `features` or declared columns."""
        return self.scan(
            FEATURES,
            start,
            end,
            symbols=symbols,
            columns=columns,
            where=where,
            limit=limit,
            as_of=as_of,
            only_complete=only_complete,
        )

    def bars(
        self,
        symbols: Symbols = None,
        interval: str = "1m",
        start: TimeLike | None = None,
        end: TimeLike | None = None,
        *,
        columns: Columns = None,
        limit: int | None = None,
        as_of: TimeLike | None = None,
        only_complete: bool = False,
        stream: str = TICKS,
    ) -> Rows:
        """OHLCV bars that begin in `[start, end)`. See `AsyncLake.bars`."""
        rows = self._inner.bars(
            symbols, interval, start, end, columns=columns, limit=limit, as_of=as_of, only_complete=only_complete, stream=stream
        )
        return Rows(self._loop.run(rows.source()), self._loop)

    def scan(
        self,
        stream: str,
        start: TimeLike | None = None,
        end: TimeLike | None = None,
        *,
        symbols: Symbols = None,
        columns: Columns = None,
        where: Any = None,
        limit: int | None = None,
        as_of: TimeLike | None = None,
        only_complete: bool = False,
    ) -> Rows:
        """Rows of any stream. See the class for the options."""
        rows = self._inner.scan(
            stream,
            start,
            end,
            symbols=symbols,
            columns=columns,
            where=where,
            limit=limit,
            as_of=as_of,
            only_complete=only_complete,
        )
        return Rows(self._loop.run(rows.source()), self._loop)

    def latest(self, stream: str, symbol: str | None = None) -> dict[str, Any] | None:
        """The newest row of `stream` (of `symbol`, where given) by event time; None where there is none."""
        return self._loop.run(self._inner.latest(stream, symbol))
