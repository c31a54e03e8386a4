"""What a query of one stream means: its columns, the folders that can hold its rows, and which rows of a file are asked for.

Lists keys and judges rows; opens no data file: that is `reader.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from streamer.errors import Invalid
from streamer.keys import parse_data_key
from streamer.lake.inventory import Folder, LakeFile
from streamer.lake.layouts import read_layouts
from streamer.lake.path_filter import SYMBOL, Listing, PathFilter
from streamer.layout import TIMESTAMP, Layout
from streamer.store.contract import ObjectInfo, Store

KAFKA_TIMESTAMP = "_timestamp"


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for: rows with `start <= event time < end` (aware; None: open) of `symbols` (None: all).

    `columns`: which, in this order; None: all.
    """

    stream: str
    start: datetime | None = None
    end: datetime | None = None
    symbols: frozenset[str] | None = None
    columns: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """A query, prepared. schema: of the rows asked for. full_schema: with the columns by which they are chosen, as files have
    them."""

    query: Query
    schema: pa.Schema
    event_time: str
    _store: Store = field(repr=False)
    _filters: tuple[PathFilter, ...] = field(repr=False)
    full_schema: pa.Schema = field(repr=False)

    async def listed(self) -> AsyncIterator[tuple[LakeFile, ObjectInfo]]:
        """The files that may hold rows asked for, by key, each as it was listed."""
        for part in self._listings():
            async for item in self._store.list(part.prefix, start_after=part.after):
                if part.is_past(item.key):
                    break
                key = parse_data_key(item.key)
                if key is not None and any(each.may_hold(key.partition_path) for each in self._filters):
                    folder = Folder(key.stream, key.partition_path, key.suffix, dead_letters=False)
                    yield LakeFile(folder, key.range, item.size_bytes), item

    def day_of(self, partition_path: str) -> date | None:
        """The only day whose rows the folder can hold, by every template that it fits; None where there may be others."""
        days = {each.day(partition_path) for each in self._filters if each.matches(partition_path)}
        return days.pop() if len(days) == 1 else None

    def symbol_of(self, partition_path: str) -> str | None:
        """The only symbol whose rows the folder can hold, by every template that it fits; None where there may be others."""
        symbols = {each.symbol(partition_path) for each in self._filters if each.matches(partition_path)}
        return symbols.pop() if len(symbols) == 1 else None

    def _listings(self) -> list[Listing]:
        """What to list, no key twice: with days left out where no prefix lies within another, else by whole prefixes."""
        bounded = sorted({part for each in self._filters for part in each.listings()}, key=lambda part: part.prefix)
        if not any(after.prefix.startswith(before.prefix) for before, after in pairwise(bounded)):
            return bounded
        whole: list[Listing] = []
        for part in bounded:
            if not whole or not part.prefix.startswith(whole[-1].prefix):
                whole.append(Listing(part.prefix))
        return whole

    @property
    def needed(self) -> frozenset[str]:
        """The columns that are asked for or filtered by."""
        times = {self.event_time} if self.query.start is not None or self.query.end is not None else set()
        return frozenset({*self.schema.names, *times, *({SYMBOL} if self.query.symbols is not None else set())})

    def select(self, table: pa.Table, key: str) -> pa.Table:
        """The rows of the object `key` that are asked for, as `schema` has them. Raises `Invalid` where a type does not fit."""
        query = self.query
        if query.start is not None or query.end is not None:
            times = table[self.event_time]
            if query.start is not None:
                table = table.filter(pc.greater_equal(times, pa.scalar(query.start)))
            if query.end is not None:
                table = table.filter(pc.less(table[self.event_time], pa.scalar(query.end)))
        if query.symbols is not None:
            table = table.filter(pc.is_in(table[SYMBOL], value_set=pa.array(sorted(query.symbols), pa.string())))
        try:
            return _aligned(table, self.schema)
        except pa.ArrowException as error:
            hint = "the column's type changed; ask for other columns with --columns"
            raise Invalid(f"a column does not fit the others of its stream: {error}", hint=hint, key=key) from error


async def prepare_scan(store: Store, query: Query, *, layouts: Collection[Layout] | None = None) -> Scan:
    """Find out which columns the stream has, and check the query against them. `layouts`: those of the lake, where they are
    known already.

    Raises `Invalid` for a stream that the lake does not have, a column or filter that it has not, or columns whose types
    contradict each other between its layouts.
    """
    layouts = [layout for layout in layouts or await read_layouts(store) if layout.stream == query.stream]
    if not layouts:
        raise Invalid(f"the lake has no stream {query.stream!r}", hint="`streamer ls` shows those it has", lake=store.url)
    known = sorted(dict.fromkeys(name for layout in layouts for name in layout.arrow_schema.names), key=lambda n: n[:1] == "_")
    names = known if query.columns is None else list(query.columns)
    if unknown := [name for name in names if name not in known]:
        raise Invalid(f"{query.stream} has no column {', '.join(unknown)}", hint=f"it has {', '.join(known)}")
    if query.symbols is not None and SYMBOL not in known:
        raise Invalid(f"{query.stream} has no column {SYMBOL}", hint="leave --symbol out")
    event_time = TIMESTAMP if TIMESTAMP in known else KAFKA_TIMESTAMP
    full = _union(layouts, {*names, event_time} | ({SYMBOL} if query.symbols is not None else set()))
    filters = tuple(PathFilter.of(layout, query.start, query.end, query.symbols) for layout in layouts)
    schema = pa.schema([full.field(name) for name in names])
    return Scan(query, schema, event_time, store, filters, full)


def comparable_schema(layouts: Collection[Layout]) -> pa.Schema:
    """All columns of the layouts, those left out that changed their type beyond compare."""
    fields = []
    for name in dict.fromkeys(name for layout in layouts for name in layout.arrow_schema.names):
        try:
            fields += list(_union(layouts, {name}))
        except Invalid:
            continue  # a filter that names it is refused
    return pa.schema(fields)


def _union(layouts: Collection[Layout], names: Collection[str]) -> pa.Schema:
    """The columns `names` of all layouts, all nullable: what one layout lacks is null in its rows."""
    schemas = [pa.schema([field for field in layout.arrow_schema if field.name in names]) for layout in layouts]
    try:
        merged = pa.unify_schemas(schemas, promote_options="permissive")
    except pa.ArrowException as error:
        raise Invalid(f"a column changed its type: {error}", hint="ask for the other columns with --columns") from error
    return pa.schema([field.with_nullable(True) for field in merged])


def _aligned(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        table[field.name].cast(field.type) if field.name in table.column_names else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)
