"""What a read gives back: rows that come when they are asked for, all at once as an Arrow table or batch by batch."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from contextlib import aclosing
from typing import Any, Protocol, TypeVar

import pyarrow as pa

from streamer.errors import Invalid
from streamer.lake.loop_thread import LoopThread

T = TypeVar("T")


class RowSource(Protocol):
    """A read that was prepared."""

    @property
    def schema(self) -> pa.Schema:
        """The columns of every batch."""
        ...

    def batches(self) -> AsyncGenerator[pa.RecordBatch]:
        """All rows, in order; each call reads anew."""
        ...


class Rows:
    """Rows of the lake. Everything that a `pyarrow.Table` has works here too, for the rows are read when they are first needed.

    Arrow, Polars, pandas and DuckDB take it as it is (`pa.table(rows)`, `pl.DataFrame(rows)`): it speaks Arrow's C stream
    interface. `batches()` and that interface hold only a part in memory; everything else reads all rows once and keeps them.
    """

    def __init__(self, source: RowSource, loop: LoopThread) -> None:
        self._source = source
        self._loop = loop
        self._read: pa.Table | None = None
        self._lock = threading.Lock()

    @property
    def schema(self) -> pa.Schema:
        """The columns. Reads nothing."""
        return self._source.schema

    @property
    def table(self) -> pa.Table:
        """All rows as a `pyarrow.Table`. Raises `Damaged` where a file cannot be read, `Unavailable`, `Denied`."""
        with self._lock:
            if self._read is None:
                self._read = self._loop.run(all_rows(self._source))
            return self._read

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows as record batches, in order and in bounded memory. Raises as `table`."""
        if self._read is not None:
            yield from self._read.to_batches()
            return
        yield from self._loop.iterate(self._source.batches())

    def to_pandas(self, **options: Any) -> Any:
        """A pandas DataFrame; the options are those of `pyarrow.Table.to_pandas`. Raises `Invalid` without pandas."""
        return to_pandas(self.table, **options)

    def to_polars(self) -> Any:
        """A Polars DataFrame. Raises `Invalid` without Polars."""
        return to_polars(self.table)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        reader = pa.RecordBatchReader.from_batches(self.schema, self.batches())
        return reader.__arrow_c_stream__(requested_schema)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __getitem__(self, name: Any) -> Any:
        return self.table[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.table, name)

    def __repr__(self) -> str:
        state = f"{self._read.num_rows} rows" if self._read is not None else "not read yet"
        return f"<Rows {', '.join(self.schema.names)}: {state}>"


class AsyncRows:
    """Rows of the lake for asyncio programs: `table = await rows`, or `async for batch in rows.batches()`."""

    def __init__(self, prepare: Callable[[], Coroutine[Any, Any, RowSource]]) -> None:
        self._prepare = prepare

    async def source(self) -> RowSource:
        """The read, prepared: its columns are known and no row is read. Raises `Invalid` where it cannot be."""
        return await self._prepare()

    async def table(self) -> pa.Table:
        """All rows as a `pyarrow.Table`. Raises as `source`, `Damaged` where a file cannot be read, `Unavailable`, `Denied`."""
        return await all_rows(await self._prepare())

    def __await__(self) -> Generator[Any, None, pa.Table]:
        return self.table().__await__()

    async def batches(self) -> AsyncGenerator[pa.RecordBatch]:
        """The rows as record batches, in order and in bounded memory. Raises as `table`."""
        async with aclosing((await self._prepare()).batches()) as batches:
            async for batch in batches:
                yield batch

    async def to_pandas(self, **options: Any) -> Any:
        """A pandas DataFrame; the options are those of `pyarrow.Table.to_pandas`. Raises `Invalid` without pandas."""
        return to_pandas(await self.table(), **options)

    async def to_polars(self) -> Any:
        """A Polars DataFrame. Raises `Invalid` without Polars."""
        return to_polars(await self.table())


async def all_rows(source: RowSource) -> pa.Table:
    """Every row of a read, as one table."""
    async with aclosing(source.batches()) as batches:
        return pa.Table.from_batches([batch async for batch in batches], schema=source.schema)


def to_pandas(table: pa.Table, **options: Any) -> Any:
    """`table` as a pandas DataFrame. Raises `Invalid` without pandas."""
    try:
        return table.to_pandas(**options)
    except ModuleNotFoundError as error:
        raise Invalid("pandas is not installed", hint="pip install 'streamer[pandas]'") from error


def to_polars(table: pa.Table) -> Any:
    """`table` as a Polars DataFrame. Raises `Invalid` without Polars."""
    try:
        import polars
    except ModuleNotFoundError as error:
        raise Invalid("Polars is not installed", hint="pip install 'streamer[polars]'") from error
    return polars.from_arrow(table)
