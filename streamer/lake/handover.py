"""Where the lake ends and Kafka begins: a plan and positions of one moment, so that together they are every record once.

What the plan holds is what lies below the positions, late rows of closed days included; the rest is Kafka's. Reads listings,
positions and certificates; opens no data file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from streamer.commit.position import Position
from streamer.errors import Damaged, PartitionRefused
from streamer.lake.positions import read_positions
from streamer.lake.read_plan import ReadPlan
from streamer.lake.reader import PreparedRead, Reader
from streamer.records import BatchRange, TopicPartition


@dataclass(frozen=True, slots=True)
class Handover:
    """plan: what to read from the lake. positions: of the stream's partitions; Kafka begins at `committed` of each."""

    plan: ReadPlan
    positions: Mapping[TopicPartition, Position]


async def take_handover(reader: Reader, read: PreparedRead) -> Handover:
    """The two halves of `read`. Raises `PartitionRefused` for data files of a partition that has no position, `Damaged`."""
    while True:
        # The positions first: what is below them is in the listing that follows.
        positions = await stream_positions(reader, read.request.stream)
        plan = await read.plan(late=True)
        if not _is_ahead(plan, positions):
            break
    pieces = tuple(piece for piece in plan.pieces if piece.range is None or is_below(piece.range, positions))
    return Handover(replace(plan, pieces=pieces), positions)


async def stream_positions(reader: Reader, stream: str) -> dict[TopicPartition, Position]:
    """The positions of the partitions that `stream` is made of. Raises `Damaged` where one cannot be read."""
    found = await read_positions(reader.store)
    if found.findings:
        finding = found.findings[0]
        raise Damaged(f"a position cannot be read: {finding.detail}", hint=finding.hint, key=finding.key)
    streams = {layout.fingerprint: layout.stream for layout in await reader.layouts.read()}
    return {source: position for source, position in found.by_source.items() if streams.get(position.layout) == stream}


def is_below(batch: BatchRange, positions: Mapping[TopicPartition, Position]) -> bool:
    """Whether a batch is committed. Raises `PartitionRefused` where no position knows of its partition."""
    position = positions.get(batch.source)
    if position is None:
        raise PartitionRefused(
            "the lake has data files of a partition, and no position: where Kafka begins is not known",
            hint="restore the position from a backup; `streamer verify` names what is missing",
            topic=batch.source.topic,
            partition=batch.source.partition,
        )
    return batch.lineage < position.lineage or (batch.lineage == position.lineage and batch.end <= position.committed)


def _is_ahead(plan: ReadPlan, positions: Mapping[TopicPartition, Position]) -> bool:
    """Whether a day was closed with records that were not committed yet when the positions were read."""
    batches = (
        BatchRange(TopicPartition(part.topic, part.partition), start, end, part.lineage)
        for day in plan.closed.by_day.values()
        for part in day.partitions
        for start, end in part.ranges
    )
    return any(not is_below(batch, positions) for batch in batches)
