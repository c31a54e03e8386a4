"""The proof that a lake is whole: every range abuts, no offset is there twice, every file is what its name says.

Reads, and changes nothing. A lake that is being written is proved too: what must be there is what the positions said
before the listing, what may be there is what they say after it. Memory: the inventory (40 bytes a file) and the offsets
of `concurrency` batches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date

import pyarrow as pa

from streamer.archive.certificates import certified_days, read_certificate
from streamer.archive.inputs import Stock
from streamer.archive.proof import DayProof
from streamer.archive.removed import RemovedBatches
from streamer.commit.layouts import LayoutDocuments
from streamer.commit.position import Position
from streamer.errors import Damaged, NotFound, PartitionRefused
from streamer.keys import certificate_key
from streamer.lake.batch_check import PathCheck, check_file, check_siblings, path_check
from streamer.lake.chain import Beyond, Complete, Extent, Hole, Open, Overlap, touched, walk
from streamer.lake.finding import Finding, FindingKind, FindingList, NoteKind, PartitionReport, Report
from streamer.lake.foreign_check import check_foreign
from streamer.lake.inventory import Inventory, LakeFile, Lineage, ListedBatch, take_inventory
from streamer.lake.layouts import read_layouts
from streamer.lake.positions import Positions, read_positions
from streamer.lake.stored_file import StoredFile, Unreadable, read_facts, read_file
from streamer.layout import Layout
from streamer.records import TopicPartition
from streamer.source.contract import Bounds
from streamer.store.contract import Store
from streamer.workers import InlineWorkers, Workers

_RESTORE = "restore what was removed from a backup or older versions of the objects; the offsets may still be in Kafka"
_ALWAYS = frozenset({"_offset", "_partition"})


@dataclass(frozen=True, slots=True)
class KafkaView:
    """What Kafka says of the partitions asked for; those it does not know are left out."""

    cluster_id: str
    bounds: Mapping[TopicPartition, Bounds]


AskKafka = Callable[[Collection[TopicPartition]], Awaitable[KafkaView | None]]
Progress = Callable[[int, int], None]


@dataclass(slots=True)
class _Tally:
    """What was added up for one lineage."""

    streams: set[str] = field(default_factory=set)
    first: int | None = None
    last: int | None = None
    batches: int = 0
    files: int = 0
    rows: int = 0
    dead_letters: int = 0
    open_files: int = 0


async def verify(
    store: Store,
    *,
    day: date | None = None,
    last_day: date | None = None,
    streams: Collection[str] | None = None,
    ask_kafka: AskKafka | None = None,
    deep: bool = True,
    workers: Workers | None = None,
    concurrency: int = 8,
    progress: Progress | None = None,
) -> Report:
    """Prove the lake, or the batches that have files on `day` (or on any day from it to `last_day`), or those of `streams`; and
    the archive of those days.

    ask_kafka: called last, with every partition; None, or an answer of None: Kafka is left out. deep: read the offsets of
    every row; without it names, positions and what files say of themselves are held against each other. concurrency:
    batches looked at at once, with four files each. progress: called with (files checked, files to check at most).
    Raises `Unavailable` and `Denied`: then nothing is proved.
    """
    before = await read_positions(store)
    inventory = await take_inventory(store)
    after = await read_positions(store)
    removed = await RemovedBatches.read(store, inventory)
    days = None if day is None else (day, last_day or day)
    proof = _Proof(store, inventory, removed, before, after, days, streams, deep, workers or InlineWorkers(), progress)
    await proof.run(concurrency)
    await proof.check_archive()
    kafka = await ask_kafka(list(after.by_source)) if ask_kafka is not None else None
    return proof.report(kafka)


class _Proof:
    """One run of `verify`."""

    def __init__(
        self,
        store: Store,
        inventory: Inventory,
        removed: RemovedBatches,
        before: Positions,
        after: Positions,
        days: tuple[date, date] | None,
        streams: Collection[str] | None,
        deep: bool,
        workers: Workers,
        progress: Progress | None,
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._removed = removed
        self._before = before.by_source
        self._after = after.by_source
        self._days = days
        self._streams = frozenset(streams) if streams is not None else None
        self._deep = deep
        self._workers = workers
        self._progress = progress
        self._found = FindingList()
        self._found.extend(after.findings)
        self._layouts = LayoutDocuments(store)
        self._checks: dict[str, asyncio.Task[PathCheck | None]] = {}
        self._tallies: dict[Lineage, _Tally] = {}
        self._bytes = 0
        self._requests = asyncio.Semaphore(1)

    async def run(self, concurrency: int) -> None:
        """Walk all lineages; open the files of complete batches, `concurrency` batches at a time."""
        self._requests = asyncio.Semaphore(concurrency * 4)
        waiting = self._walk_all(await self._lineages())
        carriers = [asyncio.create_task(self._carry(waiting), name="verify") for _ in range(max(1, concurrency))]
        try:
            await asyncio.gather(*carriers)
        finally:
            for carrier in carriers:
                carrier.cancel()
            await asyncio.gather(*carriers, return_exceptions=True)
        for finding in await check_foreign(self._store, self._inventory, self._streams):
            self._found.add(finding)

    async def _carry(self, waiting: Iterator[tuple[ListedBatch, bool]]) -> None:
        for batch, lost_some in waiting:
            await self._check_batch(batch, lost_some)

    async def _lineages(self) -> list[Lineage]:
        """Every lineage that has files or a position, as far as the streams asked for go."""
        positioned = {Lineage(source, position.lineage) for source, position in self._after.items()}
        everything = sorted({*self._inventory.partitions, *positioned})
        if self._streams is None:
            return everything
        return [lineage for lineage in everything if self._streams & await self._streams_of(lineage)]

    async def _streams_of(self, lineage: Lineage) -> set[str]:
        streams = self._inventory.streams_of(lineage)
        position = self._after.get(lineage.source)
        if streams or position is None:
            return streams
        try:
            return {(await self._layouts.load(position.layout)).stream}
        except PartitionRefused:
            return set(self._streams or ())  # nobody can tell: better one partition too many than one unproved

    def _walk_all(self, lineages: list[Lineage]) -> Iterator[tuple[ListedBatch, bool]]:
        """The batches to be opened; everything that the listing alone tells is found on the way."""
        for lineage in lineages:
            tally = self._tallies[lineage] = _Tally(streams=self._inventory.streams_of(lineage))
            after = self._after.get(lineage.source)
            extent = Extent.of(lineage, self._before.get(lineage.source), after)
            self._check_position(lineage, after, extent)
            known = extent and replace(extent, gaps=(*extent.gaps, *self._removed.as_gaps(lineage)))
            for link in walk(lineage, self._inventory.batches(lineage), known):
                match link:
                    case Complete(batch):
                        tally.first = batch.range.start if tally.first is None else tally.first
                        tally.last = max(batch.range.end, tally.last or 0)
                        if self._wanted(batch):
                            yield batch, touched(batch.range, extent.gaps) if extent else False
                    case Open(batch):
                        tally.open_files += len(batch.files)
                    case Beyond(batch, limit):
                        self._found.add(_beyond(batch, limit))
                    case Hole(range_):
                        if self._days is None or link.may_touch(*self._days):
                            detail = f"{range_.end - range_.start} offsets are in no file, and no gap is on record"
                            self._found.add(Finding.of_range(FindingKind.MISSING_RANGE, range_, detail, _RESTORE))
                    case Overlap(first, second):
                        if self._wanted(first) or self._wanted(second):
                            self._found.add(_overlap(first, second))
            self._note_open(lineage, tally, after)

    def _wanted(self, batch: ListedBatch) -> bool:
        if self._streams is not None and not any(file.folder.stream in self._streams for file in batch.files):
            return False
        days = self._days
        return days is None or not batch.dates or any(days[0] <= day <= days[1] for day in batch.dates)

    async def check_archive(self) -> None:
        """Prove what the certificates of these days say."""
        layouts: dict[str, list[Layout]] = {}
        for layout in await read_layouts(self._store):
            layouts.setdefault(layout.stream, []).append(layout)
        stock = Stock(self._after, self._inventory, {name: tuple(found) for name, found in layouts.items()}, self._removed)
        proof = DayProof(self._store, stock, self._workers)
        async for day in certified_days(self._store):
            if self._days is not None and not self._days[0] <= day <= self._days[1]:
                continue
            try:
                stored = await read_certificate(self._store, day)
                if stored is not None:
                    async for finding in proof.findings(stored.certificate, deep=self._deep, streams=self._streams):
                        self._found.add(finding)
            except Damaged as error:
                key = str(error.context.get("key") or certificate_key(day))
                self._found.add(Finding(FindingKind.CERTIFICATE_DAMAGED, error.message, error.hint, key))

    def _check_position(self, lineage: Lineage, after: Position | None, extent: Extent | None) -> None:
        source = lineage.source
        if extent is None:
            unknown = (
                "no position" if after is None else f"a position of lineage {after.lineage}, which knows of no such lineage"
            )
            detail = f"{len(self._inventory.partitions[lineage])} files, and {unknown}"
            hint = "restore the position from a backup or an older version of the object"
            self._add(FindingKind.POSITION_MISSING, lineage, detail, hint)
            return
        if extent.start is None:
            self._add(NoteKind.START_UNKNOWN, lineage, "nothing says where it began: a lost first batch would not be missed")
        for gap in extent.gaps:
            detail = f"not in the lake: {gap.reason}, on record since {gap.at}"
            note = Finding(NoteKind.GAP, detail, "", None, source.topic, source.partition, lineage.lineage, gap.start, gap.end)
            self._found.add(note)

    def _note_open(self, lineage: Lineage, tally: _Tally, after: Position | None) -> None:
        if not tally.open_files:
            return
        if after is not None and lineage.lineage == after.lineage:
            self._add(NoteKind.IN_PROGRESS, lineage, f"{tally.open_files} files of a range that is being written")
        else:
            detail = f"{tally.open_files} files of a range that was never finished: the topic was made anew"
            self._add(NoteKind.UNFINISHED_LINEAGE, lineage, detail)

    def _add(self, kind: FindingKind | NoteKind, lineage: Lineage, detail: str, hint: str = "") -> None:
        source = lineage.source
        self._found.add(Finding(kind, detail, hint, None, source.topic, source.partition, lineage.lineage))

    async def _check_batch(self, batch: ListedBatch, lost_some: bool) -> None:
        opened = await asyncio.gather(*(self._check_file(file) for file in batch.files))
        there = [stored for stored in opened if stored is not None]
        gone = self._removed.of(Lineage(batch.range.source, batch.range.lineage), batch.range.start, batch.range.end)
        removed = (gone.files, gone.rows, gone.dead_letters)
        self._found.extend(
            await self._workers.run(lambda: list(check_siblings(batch, there, lost_some=lost_some, removed=removed)))
        )
        tally = self._tallies[Lineage(batch.range.source, batch.range.lineage)]
        tally.batches += 1
        for stored in there:
            rows = stored.rows if stored.rows is not None else int(stored.said.get("rows", 0) or 0)
            tally.files += 1
            if stored.file.folder.dead_letters:
                tally.dead_letters += rows
            else:
                tally.rows += rows
            self._bytes += stored.file.size_bytes
        if self._progress is not None:
            self._progress(sum(tally.files for tally in self._tallies.values()), self._inventory.files)

    async def _check_file(self, file: LakeFile) -> StoredFile | None:
        async with self._requests:
            try:
                stored, check = await self._open(file)
            except NotFound:
                detail, kind = "it was listed, and is not there any more", FindingKind.FILE_VANISHED
                self._found.add(Finding.of_range(kind, file.range, detail, "run verify again; find out who deletes", file.key))
                return None
            except Unreadable as error:
                detail, hint = f"it cannot be read: {error}", "restore the file from a backup or an older version of the object"
                self._found.add(Finding.of_range(FindingKind.UNREADABLE, file.range, detail, hint, file.key))
                return None
        self._found.extend(await self._workers.run(lambda: list(check_file(stored, check))))
        table = stored.table
        # The siblings are compared by offset alone; the other columns of a batch of thousands of files need not wait for it.
        return (
            stored
            if table is None
            else replace(stored, table=table.select([n for n in ("_offset",) if n in table.column_names]))
        )

    async def _open(self, file: LakeFile) -> tuple[StoredFile, PathCheck | None]:
        if not self._deep:
            facts = await read_facts(self._store, file)
            return facts, await self._path_check(facts)
        if file.folder.suffix == "parquet" or file.folder.dead_letters:
            # One request for most files: the columns of a guess, which is right unless the layout just changed.
            guess = self._guessed_columns()
            stored = await read_file(self._store, file, guess, pa.schema([]), self._workers)
            check = await self._path_check(stored)
            if check is not None and stored.table is not None and not (_ALWAYS | check.columns) <= guess:
                stored = await read_file(self._store, file, _ALWAYS | check.columns, pa.schema([]), self._workers)
            return stored, check
        check = await self._path_check(await read_facts(self._store, file))
        columns = _ALWAYS | check.columns if check is not None else _ALWAYS
        schema = check.layout.arrow_schema if check is not None else pa.schema([("_offset", "int64"), ("_partition", "int32")])
        return await read_file(self._store, file, columns, schema, self._workers), check

    def _guessed_columns(self) -> frozenset[str]:
        done = [task.result() for task in self._checks.values() if task.done() and task.exception() is None]
        return _ALWAYS.union({"symbol", "timestamp"}, *(check.columns for check in done if check is not None))

    async def _path_check(self, stored: StoredFile) -> PathCheck | None:
        """The layout that the file names, each loaded once; a finding where there is none, for the first file that needs it."""
        fingerprint = stored.said.get("layout")
        if fingerprint is None:
            return None
        task = self._checks.get(fingerprint)
        if task is None:
            task = self._checks[fingerprint] = asyncio.create_task(self._load(fingerprint, stored.file), name="load layout")
        return await asyncio.shield(task)

    async def _load(self, fingerprint: str, file: LakeFile) -> PathCheck | None:
        try:
            layout = await self._layouts.load(fingerprint)
        except PartitionRefused as error:
            detail = f"its layout {fingerprint}: {error.message}"
            self._found.add(Finding.of_range(FindingKind.LAYOUT_MISSING, file.range, detail, error.hint, file.key))
            return None
        if (check := path_check(layout)) is None:
            detail = f"this release cannot execute the path template of its layout {fingerprint}"
            self._found.add(
                Finding.of_range(FindingKind.LAYOUT_WRONG, file.range, detail, "use the release that wrote it", file.key)
            )
        return check

    def report(self, kafka: KafkaView | None) -> Report:
        """Everything found and added up."""
        partitions = []
        for lineage, tally in sorted(self._tallies.items()):
            position = self._after.get(lineage.source)
            current = position if position is not None and position.lineage == lineage.lineage else None
            end = self._check_kafka(current, kafka) if current is not None and kafka is not None else None
            partitions.append(
                PartitionReport(
                    lineage.source, lineage.lineage, tuple(sorted(tally.streams)), tally.first, tally.last,
                    current.committed if current else None, current.sealed if current else None,
                    tally.batches, tally.files, tally.rows, tally.dead_letters, current.gaps if current else (),
                    end, max(0, end - current.committed) if end is not None and current is not None else None,
                )
            )  # fmt: skip
        total = self._tallies.values()
        return Report(
            findings=tuple(sorted(self._found.found, key=lambda finding: finding.place)),
            finding_count=self._found.count,
            notes=tuple(self._found.notes),
            partitions=tuple(partitions),
            batches=sum(tally.batches for tally in total),
            files=sum(tally.files for tally in total),
            rows=sum(tally.rows for tally in total),
            dead_letters=sum(tally.dead_letters for tally in total),
            bytes=self._bytes,
            deep=self._deep,
            kafka=kafka is not None,
        )

    def _check_kafka(self, position: Position, kafka: KafkaView) -> int | None:
        """Kafka's end of the partition, where it is the Kafka of this position."""
        source, lineage = position.source, Lineage(position.source, position.lineage)
        if kafka.cluster_id != position.cluster_id:
            detail = f"its Kafka cluster is {position.cluster_id}, the one that answered {kafka.cluster_id}"
            self._add(NoteKind.OTHER_CLUSTER, lineage, detail, f"check kafka.bootstrap_servers, or {_accept(source)}")
            return None
        bounds = kafka.bounds.get(source)
        if bounds is None:
            return None
        if position.sealed > bounds.end:
            detail = f"the position says {position.sealed}, Kafka's end is {bounds.end}: the topic was made anew"
            self._add(FindingKind.BEYOND_KAFKA, lineage, detail, f"if that is so: {_accept(source)}")
        elif bounds.beginning > position.committed:
            detail = f"Kafka no longer has [{position.committed},{bounds.beginning}), and neither has the lake"
            self._add(
                NoteKind.LOST_SOON, lineage, detail, "the daemon puts it on record as a gap; give Kafka a longer retention"
            )
        return bounds.end


def _accept(source: TopicPartition) -> str:
    return f"streamer positions accept {source.topic} {source.partition}"


def _beyond(batch: ListedBatch, limit: int) -> Finding:
    files = f"{len(batch.files)} files, {batch.files[0].key} the first" if len(batch.files) > 1 else "one file"
    detail = f"{files}, of offsets that the position does not vouch for (its limit is {limit})"
    hint = "find out who wrote or copied it, or whether an old position was restored"
    return Finding.of_range(FindingKind.BEYOND_POSITION, batch.range, detail, hint, batch.files[0].key)


def _overlap(first: ListedBatch, second: ListedBatch) -> Finding:
    detail = f"{first.range} and {second.range} share offsets: {first.files[0].key} and {second.files[0].key}"
    hint = "find out which file is a copy, and remove it; streamer never writes two batches that overlap"
    return Finding.of_range(FindingKind.OVERLAP, second.range, detail, hint, second.files[0].key)
