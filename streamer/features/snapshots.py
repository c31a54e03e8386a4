"""The saved history of single partitions: `state/feature_history/{topic}/{partition:05d}.json`, changed by compare-and-swap.

Nothing older, by (lineage, offset), ever replaces anything newer; a request without an answer is settled by reading back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from streamer.clock import Clock, backoff_seconds
from streamer.errors import Conflict, NotFound, OutcomeUnknown
from streamer.features.document import Head, Line, Mark, encoded, parsed_rows
from streamer.features.rows import Names, Row
from streamer.features.stored_document import Changed, DocumentReader, in_worker, read_standing, write_pieces
from streamer.features.window import Frozen
from streamer.keys import feature_history_key
from streamer.records import TopicPartition
from streamer.store.contract import Create, PutMode, Replace, Store
from streamer.workers import Workers


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The saved history of one partition."""

    window: int
    mark: Mark
    symbols: list[tuple[str, Sequence[Row]]] = field(repr=False)


class Snapshots:
    """Reads and writes them, for one process."""

    def __init__(self, store: Store, clock: Clock, workers: Workers) -> None:
        self._store = store
        self._clock = clock
        self._workers = workers
        self._written: dict[TopicPartition, tuple[str, Mark]] = {}  # by this process: saves looking before the next write

    async def load(self, source: TopicPartition, names: Names) -> Snapshot | None:
        """What is saved of `source`; None where nothing is. Raises `Damaged`, `Unavailable`, `Denied`."""
        key = feature_history_key(source)

        def packed(lines: list[Line]) -> list[tuple[str, Sequence[Row]]]:
            return [(symbol, parsed_rows(text, names, key=key)) for symbol, text in lines]

        while True:
            reader = DocumentReader(self._store, key, self._workers)
            try:
                symbols = [symbol async for found in reader.lines(packed) for symbol in found]
            except NotFound:
                return None
            except Changed:
                continue
            mark = reader.head.marks.get(source)
            return Snapshot(reader.head.window, mark, symbols) if mark is not None else None

    async def save(self, source: TopicPartition, stream: str, frozen: Frozen, saved: datetime) -> bool:
        """Save `frozen`, which was complete at `saved`. False where a newer one is there. Raises `Unavailable`, `Denied`."""
        key = feature_history_key(source)
        mark = Mark(frozen.lineage, frozen.offset, saved)
        head = Head(stream, frozen.window, {source: mark})
        written = self._written.pop(source, None)
        mode: PutMode | None = Replace(written[0]) if written is not None and written[1] <= mark else None
        attempt = 0
        while True:
            if mode is None:
                there = await read_standing(self._store, key)
                found = there.head.marks.get(source) if there is not None and there.head is not None else None
                if found is not None and found > mark:
                    return False
                if there is not None and found == mark and there.head == head:
                    self._written[source] = there.etag, mark
                    return True
                mode = Create() if there is None else Replace(there.etag)
            try:
                pieces = in_worker(self._workers, encoded(head, frozen.symbols))
                etag = await write_pieces(self._store, key, pieces, self._workers, mode=mode)
            except (Conflict, OutcomeUnknown):
                mode = None
                await self._clock.sleep(self._clock.jitter(backoff_seconds(attempt)))
                attempt += 1
            else:
                self._written[source] = etag, mark
                return True
