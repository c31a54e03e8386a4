"""The rows of one stream and day, read from the files of the lake, checked, and in the archive's columns.

Reads ahead while the rows before are being sorted. A file that is not what it says of itself is `Damaged`: nothing of the day
is certified then.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from streamer.archive.bars import TIME
from streamer.archive.day import end_of, start_of
from streamer.archive.removed import InputEntry
from streamer.archive.row_hash import RowHash
from streamer.commit.layouts import LayoutDocuments
from streamer.errors import Damaged, Invalid, NotFound
from streamer.lake.batch_check import check_file, path_check
from streamer.lake.inventory import LakeFile
from streamer.lake.stored_file import REFUSED_BY, StoredFile, Unreadable, read_facts, read_file
from streamer.layout import SYSTEM_FIELDS, TIMESTAMP, Layout
from streamer.store.contract import Store
from streamer.workers import Workers

TOPIC, LINEAGE, SOURCE = "_topic", "_lineage", "_source"
_SYSTEM = tuple(field.name for field in SYSTEM_FIELDS)
_PARTITION, _OFFSET, _TIMESTAMP, _KEY = SYSTEM_FIELDS
_ROW_NAME = (
    pa.field(TOPIC, pa.string(), nullable=False),
    _PARTITION,
    pa.field(LINEAGE, pa.int32(), nullable=False),
    _OFFSET,
    _TIMESTAMP,
    _KEY,
)
SCHEMAS_OF_NOTHING = (pa.field(TIMESTAMP, TIME), pa.field("price", pa.float64()))
"""For a stream without a layout, which has no rows either."""

READ_AHEAD_FILES = 16
_TIMES_ITS_SIZE = 8
"""Memory of a file's rows, as a multiple of its bytes in the store: a cautious guess that bounds reading ahead."""


@dataclass(frozen=True, slots=True, order=True)
class RowSource:
    """One lineage of one topic-partition: with the offset, a record's name for ever."""

    topic: str
    lineage: int
    partition: int


@dataclass(frozen=True, slots=True)
class FileRows:
    """A file's rows of the day: the columns of `sortable_schema`. `hash` is that of the same rows in the archive's columns.
    `other_days`: of the rows that are not of the day."""

    entry: InputEntry
    table: pa.Table
    hash: RowHash
    other_days: frozenset[date] = frozenset()


@dataclass(frozen=True, slots=True)
class DayColumns:
    """The columns of a stream's archive of one day, and the row sources by number."""

    schema: pa.Schema
    sources: tuple[RowSource, ...]

    @classmethod
    def of(cls, layouts: Sequence[Layout], sources: Iterable[RowSource]) -> DayColumns:
        """The columns of all `layouts`, in their order, then the system's with topic and lineage.

        Raises `Invalid` where layouts contradict each other.
        """
        if not layouts:
            return cls(pa.schema([*SCHEMAS_OF_NOTHING, *_ROW_NAME]), ())
        schemas = [pa.schema([f for f in layout.arrow_schema if f.name not in _SYSTEM]) for layout in layouts]
        try:
            merged = pa.unify_schemas(schemas, promote_options="permissive")
        except pa.ArrowException as error:
            raise Invalid(
                f"a column changed its type within a day, so the day cannot become one table: {error}",
                hint="the day's raw files stay; read them one by one",
            ) from error
        lacking = {
            f.name for f in merged if any(f.name not in schema.names or schema.field(f.name).nullable for schema in schemas)
        }
        fields = [*(f.with_nullable(f.name in lacking) for f in merged), *_ROW_NAME]
        return cls(pa.schema(fields), tuple(sorted(set(sources))))

    @property
    def sortable_schema(self) -> pa.Schema:
        """Topic, partition and lineage as one number, whose order is that of the sources."""
        kept = [f for f in self.schema if f.name not in (TOPIC, LINEAGE, "_partition")]
        return pa.schema([*kept, pa.field(SOURCE, pa.int32(), nullable=False)])

    def aligned(self, table: pa.Table, source: RowSource) -> pa.Table:
        """Rows of a data file in the archive's columns."""
        columns = []
        for f in self.schema:
            if f.name == TOPIC:
                columns.append(pa.repeat(source.topic, table.num_rows))
            elif f.name == LINEAGE:
                columns.append(pa.repeat(pa.scalar(source.lineage, pa.int32()), table.num_rows))
            elif f.name in table.column_names:
                columns.append(table[f.name].cast(f.type))
            else:
                columns.append(pa.nulls(table.num_rows, f.type))
        return pa.table(columns, schema=self.schema)

    def sortable(self, table: pa.Table, source: RowSource | None = None) -> pa.Table:
        """The archive's columns with the three names of the source made one number. source: that of all rows, where known."""
        if table.num_rows == 0:
            return self.sortable_schema.empty_table()
        if source is not None:
            column = pa.repeat(pa.scalar(self.sources.index(source), pa.int32()), table.num_rows)
            return self._with_source(table, column)
        sources = pa.table([table[name] for name in (TOPIC, LINEAGE, "_partition")], names=["topic", "lineage", "partition"])
        known = {source: number for number, source in enumerate(self.sources)}
        numbers = [known[RowSource(**each)] for each in sources.to_pylist()]
        return self._with_source(table, pa.array(numbers, pa.int32()))

    def _with_source(self, table: pa.Table, numbers: pa.Array) -> pa.Table:
        kept = [table[f.name] for f in self.sortable_schema if f.name != SOURCE]
        return pa.table([*kept, numbers], schema=self.sortable_schema)

    def widened(self, table: pa.Table) -> pa.Table:
        """Rows of an archive file of the same day in these columns, which may be more than it had."""
        columns = [
            table[f.name].cast(f.type) if f.name in table.column_names else pa.nulls(table.num_rows, f.type)
            for f in self.schema
        ]
        return pa.table(columns, schema=self.schema)

    def archived(self, table: pa.Table) -> pa.Table:
        """The inverse of `sortable`."""
        numbers = table[SOURCE]
        of = {
            TOPIC: pa.array([source.topic for source in self.sources], pa.string()),
            LINEAGE: pa.array([source.lineage for source in self.sources], pa.int32()),
            "_partition": pa.array([source.partition for source in self.sources], pa.int32()),
        }
        columns = [of[f.name].take(numbers) if f.name in of else table[f.name] for f in self.schema]
        return pa.table(columns, schema=self.schema)


class DayReader:
    """Reads the files of one stream and day."""

    def __init__(self, store: Store, day: date, workers: Workers, *, budget_bytes: int) -> None:
        self._store = store
        self._day = day
        self._workers = workers
        self._ahead_bytes = max(1, budget_bytes // 4 // _TIMES_ITS_SIZE)
        self._layouts = LayoutDocuments(store)

    async def layouts_of(self, fingerprints: Collection[str]) -> list[Layout]:
        """The layouts, in the order given."""
        return [await self._layouts.load(fingerprint) for fingerprint in dict.fromkeys(fingerprints)]

    async def rows(self, files: Sequence[LakeFile], columns: DayColumns) -> AsyncIterator[FileRows]:
        """The rows of the day of each file, in the order of `files`. Raises `Damaged`, naming the file and what is wrong with
        it."""
        async for stored in self._opened(files):
            layout = await self._layout(stored)
            yield await self._workers.run(self._rows, stored, layout, columns)

    async def letters(self, files: Sequence[LakeFile]) -> list[InputEntry]:
        """The dead-letter files, as they say of themselves."""
        slots = asyncio.Semaphore(READ_AHEAD_FILES)

        async def look(file: LakeFile) -> InputEntry:
            async with slots:
                return _entry(await _or_damaged(read_facts(self._store, file), file), None)

        return list(await asyncio.gather(*(look(file) for file in files)))

    async def fingerprints(self, files: Sequence[LakeFile]) -> list[str]:
        """The layouts under which the files were written, in the order of the files. One request a file."""
        slots = asyncio.Semaphore(READ_AHEAD_FILES)

        async def look(file: LakeFile) -> str:
            async with slots:
                return (await _or_damaged(read_facts(self._store, file), file)).said.get("layout", "")

        return list(dict.fromkeys(await asyncio.gather(*(look(file) for file in files))))

    async def _layout(self, stored: StoredFile) -> Layout:
        return await self._layouts.load(stored.said.get("layout", ""), key=stored.file.key)

    async def _opened(self, files: Sequence[LakeFile]) -> AsyncIterator[StoredFile]:
        waiting: deque[tuple[asyncio.Task[StoredFile], int]] = deque()
        coming, ahead_bytes = iter(files), 0
        try:
            while True:
                while len(waiting) < READ_AHEAD_FILES and (not waiting or ahead_bytes < self._ahead_bytes):
                    if (file := next(coming, None)) is None:
                        break
                    waiting.append((asyncio.create_task(self._open(file), name="read for archive"), file.size_bytes))
                    ahead_bytes += file.size_bytes
                if not waiting:
                    return
                task, size_bytes = waiting.popleft()
                stored = await task
                del task
                yield stored
                del stored
                ahead_bytes -= size_bytes
        finally:
            for task, _ in waiting:
                task.cancel()
            await asyncio.gather(*(task for task, _ in waiting), return_exceptions=True)

    async def _open(self, file: LakeFile) -> StoredFile:
        schema = pa.schema([])
        if file.folder.suffix != "parquet":
            schema = (await self._layout(await _or_damaged(read_facts(self._store, file), file))).arrow_schema
        return await _or_damaged(read_file(self._store, file, None, schema, self._workers), file)

    def _rows(self, stored: StoredFile, layout: Layout, columns: DayColumns) -> FileRows:
        for finding in check_file(stored, path_check(layout)):
            raise Damaged(f"{finding.kind}: {finding.detail}", hint=finding.hint, key=stored.file.key)
        assert stored.table is not None
        times = stored.table[TIMESTAMP]
        inside = pc.and_(pc.greater_equal(times, pa.scalar(start_of(self._day))), pc.less(times, pa.scalar(end_of(self._day))))
        table, other_days = stored.table, frozenset[date]()
        if not pc.all(inside).as_py():
            table = stored.table.filter(inside)
            other_days = frozenset(pc.unique(times.filter(pc.invert(inside)).cast(pa.date32())).to_pylist())
        range_ = stored.file.range
        source = RowSource(range_.source.topic, range_.lineage, range_.source.partition)
        aligned = columns.aligned(table, source)
        return FileRows(_entry(stored, aligned.num_rows), columns.sortable(aligned, source), RowHash.of(aligned), other_days)


async def _or_damaged(reading: Awaitable[StoredFile], file: LakeFile) -> StoredFile:
    try:
        return await reading
    except (Unreadable, NotFound) as error:
        raise Damaged(f"a data file cannot be read: {error}", hint="run `streamer verify`", key=file.key) from error


def _entry(stored: StoredFile, day_rows: int | None) -> InputEntry:
    said = stored.said
    rows = stored.rows if stored.rows is not None else int(said.get("rows", "0") or 0)
    return InputEntry(
        stored.file.key,
        rows,
        rows if day_rows is None else day_rows,
        said.get("digest", ""),
        said.get("layout", ""),
        _counts(said.get(REFUSED_BY, "")),
    )


def _counts(text: str) -> dict[str, int]:
    """`name:count`, parted by commas; what is not that is left out."""
    pairs = (part.partition(":") for part in text.split(",") if part)
    return {name: int(count) for name, _, count in pairs if count.isdecimal()}
