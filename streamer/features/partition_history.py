"""The feature history of one partition while this process owns it: restored, brought up to `committed`, fed at commit, saved.

Its owner is the partition's writer, who tells it what has been committed. It never decides about the archive: what it reads
again is below `committed` and goes nowhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import pyarrow as pa
import structlog

from streamer.batch.memory_budget import MemoryBudget
from streamer.clock import Clock
from streamer.commit.position import Position
from streamer.decode.contract import Decoder
from streamer.errors import Damaged, StreamerError
from streamer.features.lake_rows import LakeRows
from streamer.features.last_rows import LastRows
from streamer.features.merged import MergedHistory
from streamer.features.snapshots import Snapshot, Snapshots
from streamer.features.window import HistoryWindow
from streamer.keys import feature_history_key
from streamer.log_events import LogEvent
from streamer.metrics import Metrics
from streamer.records import BatchRange, RecordChunk, TopicPartition
from streamer.store.contract import Store
from streamer.streams import Stream
from streamer.workers import Workers

log = structlog.get_logger()

MEMORY_SHARE = 0.5
"""The most of the memory budget that histories may keep; beyond it their symbols leave, and that is told."""

REBUILD_OFFSETS_MAX = 5_000_000
"""How far back a history without a usable snapshot is built anew. Nothing new is archived meanwhile, so it must end."""

CONFIRM_EVERY = 10
"""A history that has not changed is saved all the same at every tenth time, so that its age tells a stand-still."""


class Shared(Protocol):
    """What the histories of one process have in common."""

    @property
    def store(self) -> Store: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def workers(self) -> Workers: ...
    @property
    def budget(self) -> MemoryBudget: ...
    @property
    def metrics(self) -> Metrics: ...
    @property
    def snapshots(self) -> Snapshots: ...
    def free(self, window: HistoryWindow) -> None: ...


class PartitionHistory:
    """Created with the partition's writer, and used by it alone.

    `restore` and `catch_up` raise `Unavailable` and `Denied`; saving never raises for the store.
    """

    def __init__(self, stream: Stream, source: TopicPartition, shared: Shared, merged: MergedHistory) -> None:
        assert stream.history is not None
        self._stream = stream
        self._spec = stream.history
        self._source = source
        self._shared = shared
        self._merged = merged
        self._labels = (stream.name, source.topic, str(source.partition))
        self._log = log.bind(stream=stream.name, topic=source.topic, partition=source.partition)
        self._window = self._empty(0, 0)
        self._target = 0
        self._position: Position | None = None  # as it was restored for
        self._complete = asyncio.Event()
        self._saved: tuple[tuple[int, int], float] | None = None  # what was saved last, and when (monotonic)
        self._told_at: float | None = None

    @property
    def window(self) -> HistoryWindow:
        """The rows."""
        return self._window

    @property
    def catching_up(self) -> bool:
        """Whether records below the position's `committed` are still to come."""
        return not self._complete.is_set()

    # ---- up to `committed` -----------------------------------------------------------------------------------------------

    async def restore(self, position: Position, beginning: int) -> int:
        """Read back what is saved and what Kafka no longer has; from which offset on Kafka must be read again, at most
        `position.committed`. `beginning`: the first offset that Kafka has."""
        self.drop()
        window = self._empty(position.lineage, 0)
        found = await self._usable(position, window)
        floor = max(position.start or 0, position.committed - REBUILD_OFFSETS_MAX)
        if found is not None and found.mark.offset >= floor:
            await self._shared.workers.run(window.restore, found.symbols)
            window.offset = found.mark.offset
        else:
            window.offset = min(floor, position.committed)
            if floor > (position.start or 0):
                self._log.warning(
                    LogEvent.HISTORY_SHORT, start=position.start or 0, end=floor, problem="too far back to read again"
                )
        started = window.offset
        if beginning > window.offset:
            await self._from_lake(window, position, min(beginning, position.committed))
        self._window, self._target, self._position = window, position.committed, position
        self._held()
        self._log.info(
            LogEvent.HISTORY_RESTORED, start=started, offset=window.offset, committed=position.committed, symbols=len(window)
        )
        self._arrive()
        return window.offset

    async def _usable(self, position: Position, window: HistoryWindow) -> Snapshot | None:
        """The saved history, where there is one that this position can go on from."""
        try:
            found = await self._shared.snapshots.load(self._source, window.names)
        except Damaged as error:
            self._log.warning(LogEvent.HISTORY_IGNORED, problem=error.message, key=feature_history_key(self._source))
            return None
        if found is None:
            return None
        if found.mark.place > (position.lineage, position.committed):
            self._log.error(
                LogEvent.HISTORY_IGNORED,
                problem="it is ahead of the position: positions were restored from a backup",
                saved=found.mark.place,
                committed=position.committed,
                lineage=position.lineage,
            )
            return None
        return found if found.mark.lineage == position.lineage else None

    async def _from_lake(self, window: HistoryWindow, position: Position, upto: int) -> None:
        """Bring `window` up to `upto` with rows from the lake's own files."""
        if window.offset >= upto:
            return
        wanted = LakeRows(self._stream.name, BatchRange(self._source, window.offset, upto, position.lineage))
        gaps = [(gap.start, gap.end) for gap in position.gaps]
        async for table, end in wanted.tables(self._shared.store, self._stream.layout, gaps, self._shared.workers):
            window.feed(await self._shared.workers.run(window.prepare, [table]), end)
        for start, end in wanted.missing:
            problem = "neither Kafka nor the lake has these offsets"
            self._log.warning(LogEvent.HISTORY_SHORT, start=start, end=end, problem=problem)
        window.feed(None, upto)

    async def catch_up(self, chunk: RecordChunk, decoder: Decoder) -> None:
        """Take in records below `committed`. Nothing of them is archived again."""
        _, rest = chunk.split(self._window.offset)
        rest, _ = rest.split(self._target)
        if rest.end <= self._window.offset or self._complete.is_set():
            return
        if len(rest) < rest.end - self._window.offset:
            # A transaction's marker, or rows that compaction has taken since they were archived: the lake knows which.
            assert self._position is not None
            await self._from_lake(self._window, self._position, self._target)
            self._held()
            self._arrive()
            return
        rows = None
        if len(rest):
            decoded = await self._shared.workers.run(decoder.decode, rest)
            rows = await self._shared.workers.run(self._window.prepare, [decoded.table])
        self.feed(rows, rest.end)
        self._arrive()

    def _arrive(self) -> None:
        if not self._complete.is_set() and self._window.offset >= self._target:
            self._complete.set()
            self._log.info(LogEvent.HISTORY_COMPLETE, offset=self._window.offset, symbols=len(self._window))

    # ---- at commit -------------------------------------------------------------------------------------------------------

    async def prepare(self, tables: Sequence[pa.Table]) -> LastRows:
        """What the batch of `tables` will change, once it is committed."""
        rows = await self._shared.workers.run(self._window.prepare, tables)
        self._shared.budget.hold(self._source, "history", rows.size_bytes)
        return rows

    def feed(self, rows: LastRows | None, upto: int) -> None:
        """The batch that ends at `upto` is committed. Call it in the same breath in which that is known."""
        evicted = self._window.evictions
        self._window.feed(rows, upto)
        self._shared.budget.hold(self._source, "history", 0)
        self._held()
        if self._window.evictions > evicted:
            self._shared.metrics.history_evictions.labels(*self._labels).inc(self._window.evictions - evicted)

    def _held(self) -> None:
        """Tell the budget, and keep within the share of it that histories have."""
        budget, metrics, window = self._shared.budget, self._shared.metrics, self._window
        budget.keep(self._source, window.size_bytes)
        if (excess := int(budget.kept_bytes - budget.budget_bytes * MEMORY_SHARE)) > 0:
            # A tenth more than must go, or every batch would have to let somebody go.
            gone = window.shrink(min(window.size_bytes, excess + window.size_bytes // 10))
            budget.keep(self._source, window.size_bytes)
            now = self._shared.clock.monotonic()
            if self._told_at is None or now - self._told_at >= 60.0:
                self._told_at = now
                self._log.error(LogEvent.HISTORY_TOO_BIG, symbols_gone=gone, budget_bytes=budget.budget_bytes)
        metrics.history_symbols.labels(*self._labels).set(len(window))
        metrics.history_bytes.labels(*self._labels).set(window.size_bytes)

    # ---- saving ----------------------------------------------------------------------------------------------------------

    async def keep_saving(self) -> None:
        """Save as soon as the history is complete, and then at every interval. Ends only when cancelled."""
        await self._complete.wait()
        while True:
            if await self._save():
                await self._merged.merge()
            await self._shared.clock.sleep(self._spec.snapshot_every_seconds)

    async def release(self, *, last: bool) -> None:
        """Save at the end of the assignment. `last`: the process ends too, and waits for the merged document; a hand-over does
        not, for the next owner writes it."""
        await self._save()
        if last:  # even without news of its own: what was saved before may still wait to be merged
            await self._merged.merge()

    def drop(self) -> None:
        """Forget the rows: what is saved counts."""
        self._shared.free(self._window)
        self._window = self._empty(0, 0)
        self._complete.clear()
        self._saved = None
        self._shared.budget.keep(self._source, 0)

    def forget_metrics(self) -> None:
        """The partition went to another process."""
        metrics = self._shared.metrics
        for gauge in (metrics.history_symbols, metrics.history_bytes, metrics.history_saved):
            gauge.remove(*self._labels)

    async def _save(self) -> bool:
        """Save the history, if there is any news. Whether there may be something new to merge."""
        clock = self._shared.clock
        # A history on its way to `committed` is older than the one that it was restored from claims to be.
        if not self._complete.is_set():
            return False
        place, now = (self._window.lineage, self._window.offset), clock.monotonic()
        confirmed_seconds = CONFIRM_EVERY * self._spec.snapshot_every_seconds
        if self._saved is not None and self._saved[0] == place and now - self._saved[1] < confirmed_seconds:
            return False
        frozen, moment = self._window.freeze(), clock.now()
        counted = self._shared.metrics.history_saves
        try:
            saved = await self._shared.snapshots.save(self._source, self._stream.name, frozen, moment)
        except StreamerError as error:
            counted.labels(*self._labels, "failed").inc()
            self._log.warning(LogEvent.HISTORY_SAVE_FAILED, problem=error.message, hint=error.hint, **error.context)
            return False
        self._saved = (place, now)
        counted.labels(*self._labels, "saved" if saved else "superseded").inc()
        if saved:
            self._shared.metrics.history_saved.labels(*self._labels).set(_seconds(moment))
        return saved

    def _empty(self, lineage: int, offset: int) -> HistoryWindow:
        return HistoryWindow(self._spec.window, self._spec.max_symbols, lineage=lineage, offset=offset)


def _seconds(moment: datetime) -> float:
    return moment.timestamp()
