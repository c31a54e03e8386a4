"""Which partitions have data files already. Asked only for a partition without a position.

A partition whose position is missing while its files exist must not start again: every record would be doubled. The
listing is made once per stream and shared by all partitions that ask at the same time.
"""

from __future__ import annotations

import asyncio

from streamer.errors import PartitionRefused
from streamer.keys import DEAD_LETTERS, RAW, parse_data_key, position_key
from streamer.records import TopicPartition
from streamer.store.contract import Store


class WrittenPartitions:
    """What listing `raw/{stream}/` and `dead-letters/{stream}/` says."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listings: dict[str, asyncio.Task[frozenset[TopicPartition]]] = {}

    async def refuse_if_written(self, stream: str, source: TopicPartition) -> None:
        """Raise `PartitionRefused` where files of `source` exist."""
        task = self._listings.get(stream)
        if task is None:
            task = self._listings[stream] = asyncio.create_task(self._list(stream), name=f"list {stream}")
            task.add_done_callback(lambda done: self._listed(stream, done))
        if source in await asyncio.shield(task):
            raise PartitionRefused(
                "the lake has files of this partition but no position",
                hint=f"restore {position_key(source)} from a backup or an older version; "
                "it can be rebuilt from the files: `streamer verify` shows the last range",
                topic=source.topic,
                partition=source.partition,
            )

    def _listed(self, stream: str, done: asyncio.Task[frozenset[TopicPartition]]) -> None:
        self._listings.pop(stream, None)
        if not done.cancelled():
            done.exception()  # for those who still wait; where all have gone, the loop must not complain that nobody looked

    async def _list(self, stream: str) -> frozenset[TopicPartition]:
        found: set[TopicPartition] = set()
        for prefix in (f"{RAW}{stream}/", f"{DEAD_LETTERS}{stream}/"):
            async for item in self._store.list(prefix):
                if (key := parse_data_key(item.key)) is not None:
                    found.add(key.range.source)
        return frozenset(found)
