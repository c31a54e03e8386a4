"""Reading a stream across archive and raw files: which objects are needed, and their rows in event-time order.

Closed days come from the archive, open days from raw, never both. Memory is bounded whatever the size of the answer. Writes
nothing, and knows neither notebooks nor threads.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
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
from streamer.lake.parallel import in_parallel
from streamer.lake.positions import read_positions
from streamer.lake.request import ReadRequest
from streamer.lake.scan import KAFKA_TIMESTAMP, Query, Scan, prepare_scan
from streamer.lake.stored_file import Unreadable
from streamer.lake.where import columns_of
from streamer.store.contract import ObjectInfo, Store
from streamer.workers import InlineWorkers, Workers

READS_AT_ONCE = 16
FETCH_BUDGET_BYTES = 64 << 20
"""Bytes of objects under way together: about what their columns take again when they are decoded."""

SORT_BUDGET_BYTES = 512 << 20
"""A quarter of it waits unsorted; sorting takes the rest."""

BATCH_ROWS = 65_536
ORDER = ("_partition", "_offset")
"""What decides between rows of one event time: the topic's own order within a partition."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One object that may hold rows asked for. day: the only day whose rows it can hold; None: any. output: what its day's
    certificate says of it, where it is of the archive. folder: the partition path, where it is raw."""

    info: ObjectInfo
    suffix: str
    day: date | None
    output: Output | None = None
    folder: str = ""


@dataclass(frozen=True, slots=True)
class PreparedRead:
    """A request, checked against the stream. `schema` is that of every batch."""

    request: ReadRequest
    schema: pa.Schema
    event_time: str
    scan: Scan
    closed: ClosedDays
    _reader: Reader = field(repr=False)

    @property
    def workers(self) -> Workers:
        """Where its CPU work runs."""
        return self._reader.workers

    @property
    def versions(self) -> VersionReader:
        """Where its bytes come from."""
        return self._reader.versions

    async def pieces(self) -> list[Piece]:
        """The objects that may hold rows asked for, by day and key; those that can hold any day first."""
        if self.request.start is not None and self.request.start == self.request.end:
            return []
        symbols = self.request.symbols
        found = [
            Piece(info_of(output), "parquet", closed_day.day, output)
            for closed_day in self.closed.by_day.values()
            for output in closed_day.rows(symbols)
        ]
        closed, days = self.closed.days, dict[str, date | None]()
        async for file, info in self.scan.listed():
            path = file.folder.partition_path
            if path not in days:
                days[path] = self.scan.day_of(path)
            if (day := days[path]) not in closed:
                found.append(Piece(info, file.folder.suffix, day, None, path))
        return sorted(found, key=lambda piece: (piece.day or date.min, piece.info.key))

    async def batches(self) -> AsyncGenerator[pa.RecordBatch]:
        """The rows by (event time, partition, offset), day by day. Raises `Damaged` where an object cannot be read."""
        left = self.request.limit
        if left == 0:
            return
        for pieces in by_day(await self.pieces()):
            async with aclosing(self.sorted_batches(pieces)) as batches:
                async for batch in batches:
                    if left is not None and batch.num_rows >= left:
                        yield batch.slice(0, left)
                        return
                    left = left - batch.num_rows if left is not None else None
                    yield batch

    async def last_row(self) -> pa.Table:
        """The newest row by (event time, partition, offset): a table of one row, or of none."""
        newest = self.schema.empty_table()
        for pieces in reversed(by_day(await self.pieces())):
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
        results = in_parallel(
            pieces,
            self._read,
            lambda piece: piece.info.size_bytes,
            most=READS_AT_ONCE,
            budget_bytes=FETCH_BUDGET_BYTES,
        )
        async with aclosing(results):
            async for table in results:
                if table.num_rows:
                    yield table

    async def read_output(self, output: Output, day: date, columns: Collection[str]) -> tuple[Output, pa.Table]:
        """`columns` of an object of the archive, as it is. Raises `Damaged`, `Unavailable` where it was closed again."""
        piece = Piece(info_of(output), "parquet", day, output)
        return output, await self._read_object(piece, columns, None)

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
        if piece.output is None and piece.day is None and self.closed.days:
            days = pc.cast(pc.floor_temporal(table[self.event_time], unit="day"), pa.date32())
            table = table.filter(pc.invert(pc.is_in(days, value_set=pa.array(sorted(self.closed.days), pa.date32()))))
        if self.request.as_of is not None:
            table = table.filter(pc.less(table[KAFKA_TIMESTAMP], pa.scalar(self.request.as_of)))
        return table.filter(self.request.where) if self.request.where is not None else table


class Reader:
    """Reads streams of one lake.

    versions: where the bytes come from, a cache or the store itself. sort_budget_bytes: of rows in memory; more are sorted
    on the disk.
    """

    def __init__(
        self,
        store: Store,
        workers: Workers | None = None,
        *,
        versions: VersionReader | None = None,
        sort_budget_bytes: int = SORT_BUDGET_BYTES,
    ) -> None:
        self.store = store
        self.workers = workers or InlineWorkers()
        self.versions = versions or StoreReader(store)
        self.sort_budget_bytes = sort_budget_bytes
        self.layouts = KnownLayouts(store)
        self.certificates = Certificates(store)

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
            everything = (await prepare_scan(self.store, Query(request.stream), layouts=layouts)).schema
            extra.extend(columns_of(request.where, everything))
        if request.only_complete:
            request = await self._complete_part(request)
        query = Query(request.stream, request.start, request.end, request.symbols, tuple(dict.fromkeys([*names, *extra])))
        scan = await prepare_scan(self.store, query, layouts=layouts)
        closed = await self.certificates.closed_days(request.stream, request.start, request.end)
        schema = pa.schema([scan.schema.field(name) for name in names])
        return PreparedRead(request, schema, whole.event_time, scan, closed, self)

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


def by_day(pieces: list[Piece]) -> list[list[Piece]]:
    """Groups that do not overlap in event time, ascending; one group where an object can hold any day."""
    if any(piece.day is None for piece in pieces):
        return [pieces]
    return [list(group) for _, group in groupby(pieces, key=lambda piece: piece.day)]


def day_span(day: date) -> tuple[datetime, datetime]:
    """The first moment of a day, and the first behind it."""
    first = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return first, first + timedelta(days=1)


def one_row(table: pa.Table) -> dict[str, Any] | None:
    """The only row as a dictionary; None where there is none."""
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows[0] if rows else None
