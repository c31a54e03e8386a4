"""The feature histories of one process: one for each partition of a stream that keeps one, and the merged documents."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from streamer.batch.memory_budget import MemoryBudget
from streamer.clock import Clock
from streamer.features.merged import MergedHistory
from streamer.features.partition_history import PartitionHistory
from streamer.features.snapshots import Snapshots
from streamer.features.window import HistoryWindow
from streamer.metrics import Metrics
from streamer.records import TopicPartition
from streamer.store.contract import Store
from streamer.streams import Stream
from streamer.workers import Workers


@dataclass(slots=True)
class Histories:
    """Makes them, and holds what they share."""

    store: Store
    clock: Clock
    workers: Workers
    budget: MemoryBudget
    metrics: Metrics
    snapshots: Snapshots = field(init=False)
    _merged: dict[str, MergedHistory] = field(default_factory=dict)
    _freeing: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.snapshots = Snapshots(self.store, self.clock, self.workers)

    def of(self, stream: Stream, source: TopicPartition) -> PartitionHistory | None:
        """A history for this assignment of `source`; None where the stream keeps none."""
        if stream.history is None:
            return None
        merged = self._merged.get(stream.name)
        if merged is None:
            merged = self._merged[stream.name] = MergedHistory(self.store, stream, self.clock, self.workers)
        return PartitionHistory(stream, source, self, merged)

    def free(self, window: HistoryWindow) -> None:
        """Let go of the rows of `window`, without holding up the event loop."""
        if len(window):
            task = asyncio.create_task(self.workers.run(window.clear), name="free history")
            self._freeing.add(task)
            task.add_done_callback(self._freeing.discard)

    async def close(self) -> None:
        """End what is under way in the background."""
        for task in self._freeing:
            task.cancel()
        await asyncio.gather(*(merged.close() for merged in self._merged.values()), *self._freeing, return_exceptions=True)
