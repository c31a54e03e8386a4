"""An operator's word that a topic was made anew: the only way to a new lineage.

Nothing is deleted: the files of the lineage before stay, and so does the position, which goes on counting. The daemon then
writes under keys that end in `-l{lineage}`.
"""

from __future__ import annotations

from dataclasses import dataclass

from streamer.clock import Clock
from streamer.commit.identity import check_last_record, check_topic
from streamer.commit.ownership import Ownership
from streamer.commit.position import Position
from streamer.errors import Fenced, Invalid, NotFound, PartitionRefused, Unavailable
from streamer.keys import position_key
from streamer.records import RecordChunk, TopicPartition
from streamer.store.contract import Store


@dataclass(frozen=True, slots=True)
class Proposal:
    """What accepting would do. `reason` is why the daemon refuses the partition; None where it does not."""

    position: Position
    cluster_id: str
    start: int
    reason: str | None


async def propose(
    store: Store,
    source: TopicPartition,
    *,
    cluster_id: str,
    beginning: int,
    end: int,
    start: int | None = None,
    last_record: RecordChunk | None = None,
) -> Proposal:
    """Hold the position against what Kafka has, `[beginning, end)`, and change nothing.

    start: the first offset of the new lineage; None: the first that Kafka has. last_record: what Kafka has at the offset of the
    position's last record, for the case that only the content tells. Raises `Invalid` where there is no position, and
    for a start that Kafka does not have, `Damaged`.
    """
    key = position_key(source)
    try:
        position = Position.from_json((await store.get(key)).body, key=key)
    except NotFound:
        raise Invalid(
            "the partition has no position: there is nothing to accept",
            hint="start the daemon; it begins where kafka.start_from says",
            key=key,
        ) from None
    if start is not None and not beginning <= start <= end:
        raise Invalid(f"Kafka has [{beginning},{end}), not {start}", hint="choose an offset that it has, or earliest")
    reason = None
    try:
        check_topic(position, cluster_id=cluster_id, beginning=beginning, end=end)
        if last_record is not None:
            check_last_record(position, last_record)
    except PartitionRefused as error:
        reason = error.message
    return Proposal(position, cluster_id, beginning if start is None else start, reason)


async def accept(store: Store, proposal: Proposal, *, writer: str, host: str, clock: Clock, force: bool = False) -> Position:
    """Write the position with which the new lineage starts, over exactly the version proposed on; returns it.

    writer: random, new for this call. Raises `Invalid` where the topic is the one that was archived (unless `force`: every
    record that Kafka still has would then be written a second time), `Unavailable` where somebody changed the position
    meanwhile.
    """
    if proposal.reason is None and not force:
        raise Invalid(
            "this is the topic that was archived: there is nothing to accept",
            hint="with --force its records are written again, under a new lineage; readers then see them twice",
            topic=proposal.position.source.topic,
            partition=proposal.position.source.partition,
        )
    ownership = Ownership(store, proposal.position.source, writer=writer, host=host, clock=clock)
    try:
        return await ownership.accept(proposal.position, cluster_id=proposal.cluster_id, start=proposal.start)
    except Fenced as error:
        raise Unavailable(
            "the position was changed while this was decided: nothing was accepted",
            hint="look at it again; where a daemon is still writing, the topic is the one it knows",
            key=position_key(proposal.position.source),
        ) from error
