"""Rows of a partition from the lake's own files: for a history that Kafka no longer has, for an index. Decides nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time

import pyarrow as pa
import pyarrow.compute as pc

from streamer.errors import NotFound
from streamer.keys import DEAD_LETTERS, RAW, DataKey, parse_data_key
from streamer.lake.inventory import Folder, LakeFile
from streamer.lake.path_filter import Listing, PathFilter
from streamer.lake.stored_file import Unreadable, read_facts, read_file
from streamer.layout import Layout
from streamer.records import BatchRange
from streamer.store.contract import Store
from streamer.workers import Workers

_OFFSET = "_offset"


@dataclass(slots=True)
class LakeRows:
    """The rows of `range` that the lake has, batch by batch. `missing` grows by what cannot be had, while `tables` goes on.

    since: list only folders of this day and later ones, where the stream's folders begin with the date. What is not there is
    not missing then: `short` becomes true, and `tables` ends before the first batch that is not whole.
    """

    stream: str
    range: BatchRange
    since: date | None = None
    missing: list[tuple[int, int]] = field(default_factory=list)
    short: bool = False

    async def tables(
        self, store: Store, layout: Layout, known_gaps: Collection[tuple[int, int]], workers: Workers
    ) -> AsyncGenerator[tuple[pa.Table, int]]:
        """Tables in topic order, each with the offset behind its batch. `known_gaps`: ranges that the position names as not in
        the lake. Raises `Unavailable`, `Denied`."""
        batches = await self._listed(store, layout)
        covered = [(each.start, each.end) for each in batches]
        holes = _uncovered(self.range.start, self.range.end, [*covered, *known_gaps])
        if self.since is None:
            self.missing += holes
        for batch in sorted(batches):
            if self.since is not None and (
                (holes and holes[0][0] < batch.start) or not await self._is_whole(store, batches[batch])
            ):
                self.short = True
                return
            parts = []
            for file in batches[batch]:
                if file.folder.dead_letters:
                    continue
                try:
                    stored = await read_file(store, file, None, layout.arrow_schema, workers)
                except (NotFound, Unreadable):
                    self.missing.append((batch.start, batch.end))
                    continue
                assert stored.table is not None
                parts.append(stored.table)
            if parts:
                yield await workers.run(self._in_order, parts), min(batch.end, self.range.end)
        self.short = self.since is not None and bool(holes)

    async def _listed(self, store: Store, layout: Layout) -> dict[BatchRange, list[LakeFile]]:
        """The files of every batch that overlaps the range, dead letters included."""
        batches: dict[BatchRange, list[LakeFile]] = {}
        for part in self._listings(layout):
            async for item in store.list(part.prefix, start_after=part.after):
                if (key := parse_data_key(item.key)) is not None and self._overlaps(key):
                    folder = Folder(key.stream, key.partition_path, key.suffix, key.dead_letters)
                    batches.setdefault(key.range, []).append(LakeFile(folder, key.range, item.size_bytes))
        return batches

    def _listings(self, layout: Layout) -> list[Listing]:
        letters = f"{DEAD_LETTERS}{self.stream}/"
        if self.since is None:
            return [Listing(f"{RAW}{self.stream}/"), Listing(letters)]
        start = datetime.combine(self.since, time.min, UTC)
        return [*PathFilter.of(layout, start, None, None).listings(), Listing(letters, f"{letters}date={self.since}")]

    async def _is_whole(self, store: Store, files: list[LakeFile]) -> bool:
        """Whether these are all files of their batch: each knows how many there are."""
        try:
            said = (await read_facts(store, files[0])).said.get("batch_files")
        except (NotFound, Unreadable):
            return False
        return said == str(len(files))

    def _overlaps(self, key: DataKey) -> bool:
        there, wanted = key.range, self.range
        same = (there.source, there.lineage) == (wanted.source, wanted.lineage)
        return same and there.start < wanted.end and there.end > wanted.start

    def _in_order(self, parts: list[pa.Table]) -> pa.Table:
        table = pa.concat_tables(parts, promote_options="permissive").sort_by(_OFFSET)
        offsets = table[_OFFSET]
        wanted = pc.and_(pc.greater_equal(offsets, self.range.start), pc.less(offsets, self.range.end))
        return table.filter(wanted).combine_chunks()


def _uncovered(start: int, end: int, ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The parts of `[start, end)` that no range covers."""
    holes = []
    for low, high in sorted(ranges):
        if low >= end:
            break
        if low > start:
            holes.append((start, low))
        start = max(start, high)
    if start < end:
        holes.append((start, end))
    return holes
