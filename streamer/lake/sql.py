"""SQL over the lake with DuckDB: a view for every stream, and `bars`. The only import of duckdb. Loads no extension.

Every row is there once: closed days from the archive, open days from raw. What a query does not need is not fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from streamer.archive.bars import bar_schema
from streamer.archive.interval import Interval
from streamer.errors import Damaged, Invalid
from streamer.lake.bars import TICK_COLUMNS
from streamer.lake.datasets import DATE, StreamData, Via, bar_data, stream_data
from streamer.lake.loop_thread import LoopRunner
from streamer.lake.path_filter import SYMBOL
from streamer.lake.read_plan import ReadPlan
from streamer.lake.reader import PreparedRead, Reader
from streamer.lake.request import ReadRequest

BARS = "bars"
BAR_SOURCE = "ticks"
_MINUTE = Interval(60)
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Sql:
    """One DuckDB connection over one lake. Not for several threads at a time."""

    def __init__(self, reader: Reader, loop: LoopRunner) -> None:
        try:
            import duckdb
        except ModuleNotFoundError as error:
            raise Invalid("DuckDB is not installed", hint="pip install 'streamer[sql]'") from error
        self._duckdb = duckdb
        self._reader = reader
        self._loop = loop
        self._via = Via(loop)
        self._connection = duckdb.connect(
            config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
        )
        self._connection.execute("SET TimeZone = 'UTC'")
        # A name in a query is a view, never a variable of whoever called.
        self._connection.execute("SET python_enable_replacements = false")
        self._views: set[str] = set()

    def query(self, text: str) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """The columns of the answer, and its rows batch by batch, in bounded memory where the query allows.

        Raises `Invalid` for SQL that DuckDB refuses, `Damaged` where a file cannot be read, `Unavailable`, `Denied`.
        """
        try:
            self._prepare(text)
            relation: Any = self._connection.sql(text)
            if relation is None:
                return pa.schema([]), iter(())
            reader = relation.to_arrow_reader(65_536)
        except self._duckdb.Error as error:
            raise self._translated(error) from error
        return reader.schema, self._batches(reader)

    def table(self, text: str) -> pa.Table:
        """The whole answer. Raises as `query`."""
        schema, batches = self.query(text)
        return pa.Table.from_batches(batches, schema=schema)

    def close(self) -> None:
        """Free the connection. Idempotent."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _batches(self, reader: Any) -> Iterator[pa.RecordBatch]:
        try:
            yield from reader
        except (self._duckdb.Error, pa.ArrowException, OSError) as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> Exception:
        text = str(error).strip()
        if self._via.failures:
            return self._via.failures[0]
        if isinstance(error, OSError | pa.ArrowException) or "reading the stream" in text:
            return Damaged(f"a file of the lake cannot be read: {text}", hint="run `streamer verify`")
        views = ", ".join(sorted(self._streams())) or "none yet"
        return Invalid(f"the query is refused: {text}", hint=f"the views are {views}")

    def _streams(self) -> set[str]:
        layouts = self._loop.run(self._reader.layouts.read())
        names = {layout.stream for layout in layouts}
        return names | ({BARS} if BAR_SOURCE in names else set())

    def _prepare(self, text: str) -> None:
        """Make the views that the query may name. One that it does not, after all, costs a listing."""
        named = {word.lower() for word in _WORD.findall(text)}
        for stream in sorted(self._streams()):
            if stream in self._views or stream not in named:
                continue
            if stream == BARS:
                self._make_bars()
            else:
                self._make_stream(stream)
            self._views.add(stream)

    def _make_stream(self, stream: str) -> None:
        read = self._loop.run(self._reader.prepare(ReadRequest(stream)))
        plan = self._loop.run(read.plan())
        data = self._loop.run(stream_data(read, plan.pieces, self._via))
        self._connection.execute(f'CREATE VIEW "{stream}" AS {self._union(stream, read, plan, data)}')

    def _union(self, name: str, read: PreparedRead, plan: ReadPlan, data: StreamData) -> str:
        """SQL for all rows of `data`, each once."""
        self._connection.register(f"__{name}_dated", data.dated)
        self._connection.register(f"__{name}_undated", data.undated)
        self._connection.register(f"__{name}_held", data.held)
        own = DATE in read.schema.names
        day = "" if own else f', CAST("{read.event_time}" AS DATE) AS "{DATE}"'
        closed = ", ".join(f"DATE '{day.isoformat()}'" for day in sorted(plan.closed.days))
        open_only = f' WHERE CAST("{read.event_time}" AS DATE) NOT IN ({closed})' if closed else ""
        columns = ", ".join(f'"{column}"' for column in read.schema.names)
        return (
            f'SELECT {columns}{"" if own else f", {DATE}"} FROM "__{name}_dated"'
            f' UNION ALL SELECT {columns}{day} FROM "__{name}_undated"{open_only}'
            f' UNION ALL SELECT {columns}{day} FROM "__{name}_held"'
        )

    def _make_bars(self) -> None:
        """Minutes: the archive's where a closed day has them, else made of the ticks."""
        whole = self._loop.run(self._reader.prepare(ReadRequest(BAR_SOURCE)))
        names = tuple(name for name in (*TICK_COLUMNS, "_partition", "_offset") if name in whole.schema.names)
        read = self._loop.run(self._reader.prepare(ReadRequest(BAR_SOURCE, columns=names)))
        plan = self._loop.run(read.plan())
        archived = {day: closed for day, closed in plan.closed.by_day.items() if _MINUTE in closed.intervals}
        pieces = [piece for piece in plan.pieces if piece.day not in archived]
        data = self._loop.run(stream_data(read, pieces, self._via))
        has_quantity = "quantity" in names
        quantity = read.schema.field("quantity").type if has_quantity else pa.float64()
        schema = bar_schema(read.schema.field("price").type, quantity)
        outputs = [(day, output) for day, closed in sorted(archived.items()) for output in closed.bars(None)]
        self._connection.register("__bars_closed", bar_data(read, outputs, schema, self._via))
        ticks = self._union("bar_ticks", read, plan, data)
        columns = ", ".join(f'"{name}"' for name in (SYMBOL, *schema.names, DATE))
        amount = "coalesce(quantity, 0)" if has_quantity else "0.0"
        order = 'row("timestamp", _partition, _offset)'
        volume = f"sum({amount})" if pa.types.is_decimal(quantity) else f"sum({amount}::DOUBLE)"
        self._connection.execute(
            f"""CREATE VIEW {BARS} AS SELECT {columns} FROM __bars_closed WHERE "interval" = '1m' AND trades > 0
            UNION ALL BY NAME SELECT symbol, date_trunc('minute', "timestamp") AS "timestamp", '1m' AS "interval",
                arg_min(price, {order}) AS "open", max(price) AS high, min(price) AS low, arg_max(price, {order}) AS "close",
                {volume} AS volume, count(*) AS trades,
                CASE WHEN {volume} > 0 THEN sum(price::DOUBLE * {amount}::DOUBLE) / ({volume})::DOUBLE END AS vwap,
                CAST(min("timestamp") AS DATE) AS "date"
            FROM ({ticks}) GROUP BY symbol, date_trunc('minute', "timestamp")"""
        )
