"""Is this still the topic that the position speaks of? Pure checks; each refusal names the command that accepts it.

A topic that was deleted and made anew starts its offsets again. Going on would lose its first records and mix two logs
under one name, so the partition is refused until an operator accepts the new topic.
"""

from __future__ import annotations

from bisect import bisect_left

from streamer.commit.position import Position
from streamer.errors import PartitionRefused
from streamer.records import RecordChunk, record_crcs


def check_topic(position: Position, *, cluster_id: str, beginning: int, end: int) -> None:
    """Compare the position with what Kafka says of the partition. Raises `PartitionRefused`.

    `beginning` is the first offset Kafka has, `end` the one behind its last.
    """
    if position.cluster_id != cluster_id:
        raise _refused(position, f"the position belongs to Kafka cluster {position.cluster_id}, this is {cluster_id}")
    reached = max(position.committed, position.sealed)
    if reached > end:
        raise _refused(position, f"the position says {reached}, beyond the partition's end {end}")


def check_last_record(position: Position, records: RecordChunk) -> None:
    """Compare the record at `last` with the one the position remembers. A record that is gone proves nothing.

    Raises `PartitionRefused` where another record stands there.
    """
    last = position.last
    if last is None or not records.start <= last.offset < records.end:
        return
    at = bisect_left(records.offsets, last.offset)
    if at == len(records.offsets) or records.offsets[at] != last.offset:
        return
    crc = record_crcs(records.keys[at : at + 1], records.values[at : at + 1])[0]
    if (records.timestamps[at], crc) != (last.timestamp, last.crc):
        raise _refused(position, f"another record stands at offset {last.offset} than the one that was archived")


def _refused(position: Position, why: str) -> PartitionRefused:
    source = position.source
    return PartitionRefused(
        f"the topic was made anew: {why}",
        hint=f"if that is so: streamer positions accept {source.topic} {source.partition}",
        topic=source.topic,
        partition=source.partition,
    )
