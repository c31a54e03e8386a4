"""Reading a stream across archive and raw files: which objects are needed, and their rows in event-time order.

Closed days come from the archive, open days from raw, never both. Memory is bounded whatever the size of the answer. Writes
nothing, and knows neither notebooks nor threads.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from streamer.archive.certificate import Output
from streamer.archive.runs import SortedRows
from streamer.errors import Damaged, Invalid, NotFound, Unavailable
from streamer.lake.closed_days import Certificates, ClosedDays, info_of
from streamer.lake.known_layouts import KnownLayouts
from streamer.lake.object_reader import StoreReader, TimeGroups, VersionReader, read_table
from streamer.lake.parallel import in_order, in_parallel
from streamer.lake.positions import read_positions
from streamer.lake.read_plan import Piece, ReadPlan, plan_read
from streamer.lake.request import ReadRequest
from streamer.lake.scan import KAFKA_TIMESTAMP, Query, Scan, comparable_schema, prepare_scan
from streamer.lake.stored_file import Unreadable
from streamer.lake.where import columns_of
from streamer.store.contract import Store
from streamer.workers import InlineWorkers, Workers

READS_AT_ONCE = 16
FETCH_BUDGET_BYTES = 64 << 20
"""Bytes of objects under way together: about what their columns take again when they are decoded."""

SORT_BUDGET_BYTES = 512 << 20
"""A quarter of it waits unsorted; sorting takes the rest."""

BATCH_ROWS = 65_536
FEW_ROWS = 1000
ORDER = ("_partition", "_offset")
"""What decides between rows of one event time: the topic's own order within a partition."""


@dataclass(frozen=True, slots=True)
class PreparedRead:
    """A request, checked against the stream. `schema` is that of every batch."""

    request: ReadRequest
    schema: pa.Schema
    event_time: str
    scan: Scan
    _reader: Reader = field(repr=False)

    @property
    def workers(self) -> Workers:
        """Where its CPU work runs."""
        return self._reader.workers

    @property
    def versions(self) -> VersionReader:
        """Where its bytes come from."""
        return self._reader.versions

    async def plan(self, *, late: bool = False) -> ReadPlan:
        """The objects that hold the rows asked for, as the lake is now. late: with rows that came for a closed day since."""
        return await plan_read(self.scan, self.request, self._reader.certificates, late=late)

    async def batches(self) -> AsyncGenerator[pa.RecordBatch]:
        """The rows by (event time, partition, offset), day by day. Raises `Damaged` where an object cannot be read."""
        if self.request.limit != 0:
            plan = await self.plan()
            async with aclosing(self.sorted(plan)) as batches, aclosing(_first(batches, self.request.limit)) as wanted:
                async for batch in wanted:
                    yield batch

    async def unsorted_batches(self) -> AsyncGenerator[pa.RecordBatch]:
        """The rows as they lie: object by object in the order of keys within a day, in each as it was written. With a limit no
        more objects are read than it needs, give or take a few."""
        if self.request.limit == 0:
            return
        # With a small limit the first object mostly has enough: the others would be fetched for nothing.
        few = self.request.limit is not None and self.request.limit <= FEW_ROWS
        pieces = (await self.plan()).pieces
        tables = in_order(pieces, self._read, _size, most=1 if few else READS_AT_ONCE, budget_bytes=FETCH_BUDGET_BYTES)
        async with aclosing(tables), aclosing(_first(self._projected(tables), self.request.limit)) as wanted:
            async for batch in wanted:
                yield batch

    async def sorted(self, plan: ReadPlan) -> AsyncGenerator[pa.RecordBatch]:
        """All rows of a plan in order, whatever the limit."""
        for pieces in plan.by_day():
            async with aclosing(self.sorted_batches(pieces)) as batches:
                async for batch in batches:
                    yield batch

    async def _projected(self, tables: AsyncGenerator[pa.Table]) -> AsyncGenerator[pa.RecordBatch]:
        async for table in tables:
            for batch in table.select(self.schema.names).to_batches(max_chunksize=BATCH_ROWS):
                if batch.num_rows:
                    yield batch

    async def last_row(self) -> pa.Table:
        """The newest row by (event time, partition, offset): a table of one row, or of none."""
        newest = self.schema.empty_table()
        for pieces in reversed((await self.plan()).by_day()):
            async with aclosing(self.sorted_batches(pieces)) as batches:
                async for batch in batches:
                    if batch.num_rows:
                        newest = pa.Table.from_batches([batch.slice(batch.num_rows - 1)])
            if newest.num_rows:
                break
        return newest

    async def table(self) -> pa.Table:
        """All rows at once."""
        return pa.Table.from_batches([batch async for batch in self.batches()], schema=self.schema)

    async def sorted_batches(self, pieces: Iterable[Piece]) -> AsyncGenerator[pa.RecordBatch]:
        """The rows of `pieces`, in order."""
        workers = self.workers
        keys = (self.event_time, *(name for name in ORDER if name in self.scan.schema.names))
        with TemporaryDirectory(prefix="streamer-sort-") as folder:
            rows = SortedRows(Path(folder), keys, budget_bytes=self._reader.sort_budget_bytes)
            async with aclosing(self.tables(pieces)) as tables:
                async for table in tables:
                    await workers.run(rows.add, table)
            blocks = rows.blocks()
            while (block := await workers.run(next, blocks, None)) is not None:
                for batch in block.select(self.schema.names).to_batches(max_chunksize=BATCH_ROWS):
                    yield batch

    async def tables(self, pieces: Iterable[Piece]) -> AsyncGenerator[pa.Table]:
        """The rows of `pieces` in no order, with the columns that sorting needs."""
        results = in_parallel(pieces, self._read, _size, most=READS_AT_ONCE, budget_bytes=FETCH_BUDGET_BYTES)
        async with aclosing(results):
            async for table in results:
                if table.num_rows:
                    yield table

    async def read_output(self, output: Output, day: date, columns: Collection[str]) -> tuple[Output, pa.Table]:
        """`columns` of an object of the archive, as it is. Raises `Damaged`, `Unavailable` where it was closed again."""
        piece = Piece(info_of(output), "parquet", day, output)
        return output, await self._read_object(piece, columns, None)

    def choose(self, table: pa.Table) -> pa.Table:
        """Those of some rows, such as a decoder makes, that are asked for, with the columns of `schema`. Blocking."""
        table = self.scan.select(table, "")
        table = table.filter(self.request.where) if self.request.where is not None else table
        return table.select(self.schema.names)

    async def _read(self, piece: Piece) -> pa.Table:
        groups = TimeGroups(self.event_time, self.request.start, self.request.end)
        table = await self._read_object(piece, self.scan.needed, groups)
        return await self.workers.run(self._select, table, piece)

    async def _read_object(self, piece: Piece, columns: Collection[str], groups: TimeGroups | None) -> pa.Table:
        schema, workers = self.scan.full_schema, self.workers
        try:
            return await read_table(self._reader.versions, piece.info, piece.suffix, columns, schema, workers, groups)
        except (NotFound, Unreadable) as error:
            await self._check_changed(piece)
            if isinstance(error, NotFound):
                raise Unavailable("a file was taken away while it was read", hint="read again", key=piece.info.key) from error
            hint = "run `streamer verify`"
            raise Damaged(f"a file of the lake cannot be read: {error}", hint=hint, key=piece.info.key) from error

    async def _check_changed(self, piece: Piece) -> None:
        """Raise `Unavailable` where the piece's day was closed, or closed again, since this read was planned."""
        if piece.day is None:
            return
        certificate = await self._reader.certificates.refresh(piece.day)
        part = certificate.streams.get(self.request.stream) if certificate is not None else None
        listed = part is not None and piece.output is not None and piece.output in part.outputs
        if part is not None and not listed and (part.complete or piece.output is not None):
            raise Unavailable("the day was closed while it was read", hint="read again", day=piece.day)

    def _select(self, table: pa.Table, piece: Piece) -> pa.Table:
        table = self.scan.select(table, piece.info.key)
        if piece.closed:
            days = pc.cast(pc.floor_temporal(table[self.event_time], unit="day"), pa.date32())
            table = table.filter(pc.invert(pc.is_in(days, value_set=pa.array(sorted(piece.closed), pa.date32()))))
        if self.request.as_of is not None:
            table = table.filter(pc.less(table[KAFKA_TIMESTAMP], pa.scalar(self.request.as_of)))
        return table.filter(self.request.where) if self.request.where is not None else table


class Reader:
    """Reads streams of one lake.

    versions: where the bytes come from, a cache or the store itself. certificates: what tells `versions` of new ones.
    sort_budget_bytes: of rows in memory; more are sorted on the disk.
    """

    def __init__(
        self,
        store: Store,
        workers: Workers | None = None,
        *,
        certificates: Certificates | None = None,
        versions: VersionReader | None = None,
        sort_budget_bytes: int = SORT_BUDGET_BYTES,
    ) -> None:
        self.store = store
        self.workers = workers or InlineWorkers()
        self.sort_budget_bytes = sort_budget_bytes
        self.layouts = KnownLayouts(store)
        self.certificates = certificates or Certificates(store)
        self.versions = versions or StoreReader(store, self.certificates.is_current)

    async def prepare(self, request: ReadRequest) -> PreparedRead:
        """Check `request`. Raises `Invalid` for a stream, column or filter that the lake has not."""
        layouts = await self.layouts.read()
        whole = await prepare_scan(self.store, Query(request.stream, columns=request.columns), layouts=layouts)
        names = [*whole.schema.names]
        known = {name for layout in layouts if layout.stream == request.stream for name in layout.arrow_schema.names}
        extra = [whole.event_time, *(name for name in ORDER if name in known)]
        if request.as_of is not None:
            extra.append(KAFKA_TIMESTAMP)
        if request.where is not None:
            extra.extend(columns_of(request.where, comparable_schema([x for x in layouts if x.stream == request.stream])))
        if request.only_complete:
            request = await self._complete_part(request)
        query = Query(request.stream, request.start, request.end, request.symbols, tuple(dict.fromkeys([*names, *extra])))
        scan = await prepare_scan(self.store, query, layouts=layouts)
        schema = pa.schema([scan.schema.field(name) for name in names])
        return PreparedRead(request, schema, whole.event_time, scan, self)

    async def closed_days(self, stream: str | None = None) -> dict[str, ClosedDays]:
        """The closed days of every stream (or of `stream` alone) that has any."""
        names = {layout.stream for layout in await self.layouts.read()} if stream is None else {stream}
        found = {name: await self.certificates.closed_days(name, None, None) for name in sorted(names)}
        return {name: days for name, days in found.items() if days.by_day}

    async def _complete_part(self, request: ReadRequest) -> ReadRequest:
        """`request` with an end at the moment up to which every partition of the stream is complete."""
        until = await self.complete_until(request.stream)
        end = min(request.end, until) if request.end is not None else until
        return replace(request, start=min(request.start, end) if request.start is not None else None, end=end)

    async def complete_until(self, stream: str) -> datetime:
        """The event time up to which every partition of `stream` is complete; 1970 where one of them cannot say."""
        positions = await read_positions(self.store)
        if positions.findings:
            finding = positions.findings[0]
            raise Damaged(f"a position cannot be read: {finding.detail}", hint=finding.hint, key=finding.key)
        streams = {layout.fingerprint: layout.stream for layout in await self.layouts.read()}
        throughs = [p.through for p in positions.by_source.values() if streams.get(p.layout, stream) == stream]
        if not throughs:
            raise Invalid(f"no partition of {stream!r} has a position", hint="leave only_complete out", lake=self.store.url)
        return min(through or _NEVER for through in throughs)


_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


async def _first(batches: AsyncGenerator[pa.RecordBatch], limit: int | None) -> AsyncGenerator[pa.RecordBatch]:
    """The first `limit` rows (None: all)."""
    left = limit
    async for batch in batches:
        if left is not None and batch.num_rows >= left:
            yield batch.slice(0, left)
            return
        left = left - batch.num_rows if left is not None else None
        yield batch


def _size(piece: Piece) -> int:
    return piece.info.size_bytes


def one_row(table: pa.Table) -> dict[str, Any] | None:
    """The only row as a dictionary; None where there is none."""
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows[0] if rows else None
