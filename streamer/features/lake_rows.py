"""Rows of a partition from the lake's own files, for a history that Kafka no longer has. Reads, and decides nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from streamer.errors import NotFound
from streamer.keys import DEAD_LETTERS, RAW, DataKey, parse_data_key
from streamer.lake.inventory import Folder, LakeFile
from streamer.lake.stored_file import Unreadable, read_file
from streamer.layout import Layout
from streamer.records import BatchRange
from streamer.store.contract import Store
from streamer.workers import Workers

_OFFSET = "_offset"


@dataclass(slots=True)
class LakeRows:
    """The rows of `range` that the lake has, batch by batch. `missing` grows by what cannot be had, while `tables` goes on."""

    stream: str
    range: BatchRange
    missing: list[tuple[int, int]] = field(default_factory=list)

    async def tables(
        self, store: Store, layout: Layout, known_gaps: Iterable[tuple[int, int]], workers: Workers
    ) -> AsyncGenerator[tuple[pa.Table, int]]:
        """Tables in topic order, each with the offset behind its batch. `known_gaps`: ranges that the position names as not in
        the lake. Raises `Unavailable`, `Denied`."""
        batches: dict[BatchRange, list[LakeFile]] = {}
        for prefix in (f"{RAW}{self.stream}/", f"{DEAD_LETTERS}{self.stream}/"):
            async for item in store.list(prefix):
                if (key := parse_data_key(item.key)) is not None and self._overlaps(key):
                    files = batches.setdefault(key.range, [])
                    if not key.dead_letters:
                        files.append(
                            LakeFile(
                                Folder(key.stream, key.partition_path, key.suffix, dead_letters=False),
                                key.range,
                                item.size_bytes,
                            )
                        )
        covered = [(each.start, each.end) for each in batches]
        self.missing += _uncovered(self.range.start, self.range.end, [*covered, *known_gaps])
        for batch in sorted(batches):
            parts = []
            for file in batches[batch]:
                try:
                    stored = await read_file(store, file, None, layout.arrow_schema, workers)
                except (NotFound, Unreadable):
                    self.missing.append((batch.start, batch.end))
                    continue
                assert stored.table is not None
                parts.append(stored.table)
            if parts:
                yield await workers.run(self._in_order, parts), min(batch.end, self.range.end)

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
