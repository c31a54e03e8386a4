"""When `--until-caught-up` may end: what was in the topics at the start is in the lake, whoever of the group brought it there.

Looks at every partition of the topics, not only at those assigned here: a member that was killed holds its share until its
session runs out, and to end before that would leave its records to nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import structlog

from streamer.commit.position import Position
from streamer.components import Kit
from streamer.errors import Denied, NotFound, Unavailable
from streamer.keys import position_key
from streamer.log_events import LogEvent
from streamer.partition import PartitionWriter
from streamer.records import CutReason, TopicPartition

log = structlog.get_logger()

LOOK_SECONDS = 1.0
"""How often the lake is asked about partitions that somebody else writes."""

SHOWN_PARTITIONS = 10


class CatchUp:
    """The end offsets seen first, and whether they are reached."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._targets: dict[TopicPartition, int] = {}
        self._looked_at: float | None = None
        self._told: tuple[TopicPartition, ...] = ()

    async def reached(self, writers: Mapping[TopicPartition, PartitionWriter]) -> bool:
        """Whether every partition is committed up to its end as first seen. Those of `writers` that have read that far close
        their last batch. A topic that is missing counts as empty. Raises what the source does."""
        known = set(writers) if self._targets else {*writers, *await self._kit.source.partitions()}
        unseen = sorted(known - set(self._targets))
        if unseen:
            bounds = await self._kit.source.bounds(unseen)
            self._targets.update({source: bounds[source].end if source in bounds else 0 for source in unseen})
        here = [self._reached_here(writer, self._targets[source]) for source, writer in writers.items()]  # each is asked
        return all(here) and await self._reached_elsewhere(sorted(set(self._targets) - set(writers)))

    def _reached_here(self, writer: PartitionWriter, target: int) -> bool:
        if writer.refusal is not None:
            return True
        if writer.read_to is None or writer.read_to < target:
            return False
        if writer.kafka_offset is not None and writer.kafka_offset >= target:
            return True
        writer.cut(CutReason.STOP)
        return False

    async def _reached_elsewhere(self, others: Collection[TopicPartition]) -> bool:
        now = self._kit.clock.monotonic()
        if not others:
            return True
        if self._looked_at is not None and now - self._looked_at < LOOK_SECONDS:
            return False
        self._looked_at = now
        told = await self._kit.source.committed(others)
        behind = tuple([source for source in others if not await self._in_lake(source, told.get(source))])
        if behind != self._told:
            self._told = behind
            if behind:
                names = [str(source) for source in behind[:SHOWN_PARTITIONS]]
                log.info(LogEvent.CATCHING_UP_ELSEWHERE, partitions=len(behind), first=names)
        return not behind

    async def _in_lake(self, source: TopicPartition, told: int | None) -> bool:
        target = self._targets[source]
        key = position_key(source)
        try:
            found = await self._kit.store.get(key)
        except NotFound:
            bounds = (await self._kit.source.bounds([source])).get(source)
            return bounds is None or bounds.beginning >= target
        except (Unavailable, Denied):
            return False  # told where our own partitions meet the same trouble; the lake is asked again
        committed = Position.from_json(found.body, key=key).committed
        # Markers and compacted records at the end are no part of a range: of those only Kafka's copy of the offset tells.
        return committed >= target or (told is not None and told >= target)
