"""One stream's share of a day: its files read, checked, sorted, written, and what the certificate will say of them.

Work goes through in units that share no symbol, so that neither a day of one symbol nor one of ten thousand needs more memory
than its budget.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from streamer.archive.certificate import Certificate, Output, PartitionPart, StreamPart
from streamer.archive.day import is_complete
from streamer.archive.day_file import measured
from streamer.archive.day_rows import DayColumns, DayReader, FileRows, RowSource
from streamer.archive.inputs import Stock, encode_entries, input_list
from streamer.archive.placing import Placing
from streamer.archive.removed import InputEntry, read_entries
from streamer.archive.row_hash import RowHash
from streamer.archive.runs import SortedRows
from streamer.archive.settings import ArchivedStream, ArchiveSettings
from streamer.archive.summary import quality_document
from streamer.archive.symbol_files import FirstOfEach, ProducedFile, Sink, sink_of
from streamer.errors import Damaged
from streamer.keys import parse_data_key
from streamer.lake.inventory import Folder, LakeFile, Lineage
from streamer.store.big_objects import StoredContent, read_content
from streamer.store.contract import Store
from streamer.workers import Workers
from streamer.write.partition_value import encode_value

UPLOADS_AT_ONCE = 8
ROW_KINDS = ("ticks", "signals", "features", "orderbooks")

Progress = Callable[[str, int, int], None]
"""Called with a stream's name, how many of its files are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Files that can be sorted without the others; `before`: the archive's files with the rows of those that are gone."""

    files: tuple[LakeFile, ...]
    before: tuple[Output, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class OtherRows:
    """Rows of another day than the one that was closed, in a file whose folder names no day: nobody else would notice them.

    They are of `day`, in a batch of `lineage` that ends at `end`.
    """

    day: date
    stream: str
    lineage: Lineage
    end: int

    def late_for(self, certificate: Certificate) -> bool:
        """Whether the writer of the day's certificate had not looked so far."""
        source = self.lineage.source
        part = certificate.streams.get(self.stream)
        if part is None:
            return False
        named = (p for p in part.partitions if (p.topic, p.partition, p.lineage) == (*source, self.lineage.lineage))
        return self.end > next((part.read_to for part in named), -1)


@dataclass(slots=True)
class _Work:
    """What is known of one stream and day while it is being closed."""

    stream: ArchivedStream
    day: date
    listed: Certificate | None
    folder: Path
    reader: DayReader
    columns: DayColumns
    sink: Sink
    entries: list[InputEntry] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    others: dict[tuple[date, Lineage], OtherRows] = field(default_factory=dict)
    read: RowHash = field(default_factory=RowHash)
    written: RowHash = field(default_factory=RowHash)
    uploads: set[asyncio.Task[None]] = field(default_factory=set)

    def note(self, found: FileRows, stock: Stock) -> None:
        """Remember the other days of a file whose folder names none."""
        key = parse_data_key(found.entry.key)
        if (
            key is None
            or not found.other_days
            or stock.days_of(Folder(key.stream, key.partition_path, key.suffix, key.dead_letters)) is not None
        ):
            return
        lineage = Lineage(key.range.source, key.range.lineage)
        for day in found.other_days:
            known = self.others.get((day, lineage))
            if known is None or known.end < key.range.end:
                self.others[day, lineage] = OtherRows(day, self.stream.name, lineage, key.range.end)


class StreamCloser:
    """Closes one stream of a day after the other."""

    def __init__(self, store: Store, placing: Placing, settings: ArchiveSettings, workers: Workers) -> None:
        self._store = store
        self._placing = placing
        self._settings = settings
        self._workers = workers

    async def close(
        self,
        stream: ArchivedStream,
        day: date,
        stock: Stock,
        part: StreamPart | None,
        listed: Certificate | None,
        folder: Path,
        progress: Progress | None = None,
    ) -> tuple[StreamPart, dict[str, Any], list[OtherRows]]:
        """Everything of `stream` and `day` but the certificate: what it will say, the stream's part of the summary, and what
        was seen of other days.

        part: what the present certificate says of the stream. listed: the certificate whose objects must not be touched.
        """
        raw = await self._workers.run(stock.raw_files, stream.name, day)
        letters = await self._workers.run(stock.letter_files, stream.name, day)
        await self._workers.run(stock.check_chain, [*raw, *letters])
        gone = await self._gone(part, raw, letters)
        reader = DayReader(self._store, day, self._workers, budget_bytes=self._settings.budget_bytes)
        columns = await self._columns(reader, stream, stock, raw, gone)
        sink = sink_of(stream, day, columns, self._settings.recipe, folder)
        work = _Work(stream, day, listed, folder, reader, columns, sink)
        try:
            await self._write(
                work,
                stock,
                units(stream, stock, raw, part if any(not e.dead_letters for e in gone) else None),
                progress,
                len(raw),
            )
        finally:
            for task in work.uploads:
                task.cancel()
            await asyncio.gather(*work.uploads, return_exceptions=True)
        work.entries += await reader.letters(letters)
        self._check(work, gone)
        closed = await self._part(work, stock, part, gone)
        refused_by = (entry.refused_by for entry in (*work.entries, *gone) if entry.dead_letters)
        summary = sink.summary() | quality_document(sink.rules, sink.violations, refused_by)
        return closed, summary, sorted(work.others.values())

    async def _write(self, work: _Work, stock: Stock, parts: Iterator[Unit], progress: Progress | None, files: int) -> None:
        done = 0
        for unit in parts:
            async for found in self._unit(work, unit):
                work.note(found, stock)
                done += 1
                if progress is not None:
                    progress(work.stream.name, done, files)
        await self._send(work, await self._workers.run(work.sink.finish))
        await self._settle(work, 0)

    async def _gone(self, part: StreamPart | None, raw: Sequence[LakeFile], letters: Sequence[LakeFile]) -> list[InputEntry]:
        """The input files of the revision before that are no longer there."""
        if part is None:
            return []
        there = {file.key for file in (*raw, *letters)}
        entries = await read_entries(self._store, part.inputs)
        return [entry for entry in entries if entry.key not in there]

    async def _columns(
        self,
        reader: DayReader,
        stream: ArchivedStream,
        stock: Stock,
        raw: Sequence[LakeFile],
        gone: Sequence[InputEntry],
    ) -> DayColumns:
        there = stock.layouts.get(stream.name, ())
        if len(there) == 1:
            layouts = list(there)  # the usual case needs no request a file to find out
        else:
            layouts = await reader.layouts_of(
                [*await reader.fingerprints(raw), *(e.layout for e in gone if not e.dead_letters)]
            )
            layouts.sort(key=lambda layout: layout.fingerprint)
        parsed = [key for entry in gone if (key := parse_data_key(entry.key)) is not None]
        ranges = [file.range for file in raw] + [key.range for key in parsed]
        return DayColumns.of(layouts, (RowSource(r.source.topic, r.lineage, r.source.partition) for r in ranges))

    async def _unit(self, work: _Work, unit: Unit) -> AsyncIterator[FileRows]:
        """Sort the unit's rows and pass them to the sink; one turn a file that was read."""
        rows = SortedRows(work.folder, work.sink.keys, budget_bytes=self._settings.budget_bytes)
        async for found in work.reader.rows(unit.files, work.columns):
            if found.entry.day_rows:
                work.entries.append(found.entry)
                work.read += found.hash
                await self._workers.run(rows.add, found.table)
            yield found
        for output in unit.before:
            await self._read_before(work, output, rows)
        first = FirstOfEach(refuse=not unit.before)
        blocks = rows.blocks()
        while (block := await self._workers.run(next, blocks, None)) is not None:
            await self._send(work, await self._workers.run(_add, work.sink, first, block))

    async def _read_before(self, work: _Work, output: Output, rows: SortedRows) -> None:
        """The rows of the revision before, row group by row group."""
        path = work.folder / "before.parquet"
        with path.open("wb") as file:
            async for piece in read_content(StoredContent(self._store, output.place, output.bytes)):
                await self._workers.run(file.write, piece)
        if await self._workers.run(measured, path) != (output.bytes, output.sha256):
            raise Damaged("an archive file is not the one that was certified", hint="run `streamer verify`", key=output.place)

        def add(number: int) -> None:
            table = parquet.read_row_group(number)
            rows.add(work.columns.sortable(work.columns.widened(table)))

        with pq.ParquetFile(path) as parquet:
            for number in range(parquet.num_row_groups):
                await self._workers.run(add, number)
        path.unlink()

    async def _send(self, work: _Work, produced: Sequence[ProducedFile]) -> None:
        for each in produced:
            if each.kind in ROW_KINDS:
                work.written += each.file.hash
            await self._settle(work, UPLOADS_AT_ONCE - 1)
            work.uploads.add(asyncio.create_task(self._place(work, each), name=f"archive {each.key}"))

    async def _settle(self, work: _Work, most: int) -> None:
        """Wait until at most `most` uploads are under way."""
        while len(work.uploads) > most:
            done, work.uploads = await asyncio.wait(work.uploads, return_when=asyncio.FIRST_COMPLETED)
            for error in [error for task in done if (error := task.exception()) is not None]:
                raise error

    async def _place(self, work: _Work, produced: ProducedFile) -> None:
        file = produced.file
        output = Output(
            produced.key,
            produced.kind,
            work.stream.name,
            produced.symbol,
            file.hash.rows,
            file.size_bytes,
            file.sha256,
            str(file.hash),
        )
        work.outputs.append(await self._placing.place(output, work.listed, file.path, file.facts))
        file.path.unlink()

    def _check(self, work: _Work, gone: Sequence[InputEntry]) -> None:
        """What was written is what was read, and nothing of what was certified is lost."""
        lost = sum(entry.day_rows for entry in gone if not entry.dead_letters)
        if not lost and work.written != work.read:
            raise Damaged("the archive does not hold the rows that were read", hint="report this", stream=work.stream.name)
        if work.written.rows != work.read.rows + lost:
            raise Damaged(
                f"{work.read.rows} rows were read, {lost} are certified of files that are gone: {work.written.rows} were found",
                hint="run `streamer verify`; restore the day's archive from a backup",
                stream=work.stream.name,
            )

    async def _part(self, work: _Work, stock: Stock, before: StreamPart | None, gone: Sequence[InputEntry]) -> StreamPart:
        entries = sorted([*work.entries, *gone], key=lambda entry: entry.key)
        path = work.folder / "inputs"
        path.write_bytes(encode_entries(entries))
        size_bytes, sha256 = measured(path)
        inputs = input_list(work.day, sha256, len(entries))
        await self._placing.put_file(inputs.key, path, size_bytes, sha256)
        current = [position for source, position in stock.positions.items() if source.topic == work.stream.topic]
        return StreamPart(
            work.stream.schema,
            not current or is_complete(work.day, current),  # a topic that does not exist yet holds nobody up
            work.written.rows,
            str(work.written),
            sum(entry.day_rows for entry in entries if entry.dead_letters),
            inputs,
            tuple(partition_parts(stock, entries, work.stream)),
            tuple(sorted(work.outputs, key=lambda output: output.key)),
            before.removed if before is not None else (),
        )


def _add(sink: Sink, first: FirstOfEach, block: pa.Table) -> list[ProducedFile]:
    return sink.add(first.of(block))


def units(stream: ArchivedStream, stock: Stock, raw: Sequence[LakeFile], before: StreamPart | None) -> Iterator[Unit]:
    """The files parted by symbol where their folders do that; else all of them as one unit. By symbol, so that sums do not
    depend on the order of work. before: where rows must be taken from the revision before."""
    outputs = tuple(output for output in before.outputs if output.kind in ROW_KINDS) if before is not None else ()
    layouts = stock.layouts.get(stream.name, ())
    by_symbol: dict[str, list[LakeFile]] = {}
    if stream.schema != "signal" and len({layout.path for layout in layouts}) == 1:
        [path, *_] = stock.filters(stream.name, date.min.replace(year=2000))
        for file in raw:
            by_symbol.setdefault(path.symbol_text(file.folder.partition_path) or "", []).append(file)
    if not by_symbol or "" in by_symbol:
        if raw or outputs:
            yield Unit(tuple(raw), outputs)
        return
    old = {encode_value(output.symbol): output for output in outputs}
    for text in sorted({*by_symbol, *old}):
        yield Unit(tuple(by_symbol.get(text, ())), (old[text],) if text in old else ())


def partition_parts(stock: Stock, entries: Sequence[InputEntry], stream: ArchivedStream) -> Iterator[PartitionPart]:
    """What the certificate says of each lineage that has something of the day, or whose partition belongs to the stream now."""
    found: dict[Lineage, list[tuple[int, int, InputEntry]]] = {
        Lineage(source, position.lineage): [] for source, position in stock.positions.items() if source.topic == stream.topic
    }
    for entry in entries:
        if (parsed := parse_data_key(entry.key)) is not None:
            lineage = Lineage(parsed.range.source, parsed.range.lineage)
            found.setdefault(lineage, []).append((parsed.range.start, parsed.range.end, entry))
    for lineage, files in sorted(found.items(), key=lambda item: item[0]):
        ranges = joined([(start, end) for start, end, _ in files])
        gaps = stock.gaps(lineage)
        yield PartitionPart(
            lineage.source.topic,
            lineage.source.partition,
            lineage.lineage,
            stock.committed(lineage),
            tuple(ranges),
            len(files),
            sum(entry.day_rows for _, _, entry in files if not entry.dead_letters),
            sum(entry.day_rows for _, _, entry in files if entry.dead_letters),
            tuple(g for g in gaps if ranges and g.start < ranges[-1][1] and ranges[0][0] < g.end),
        )


def joined(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges in order, those that abut or are the same made one."""
    result: list[tuple[int, int]] = []
    for start, end in sorted(set(ranges)):
        if result and start <= result[-1][1]:
            result[-1] = result[-1][0], max(end, result[-1][1])
        else:
            result.append((start, end))
    return result
