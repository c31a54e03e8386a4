"""The position: what the lake says about one topic-partition. Values, their JSON, and which change may follow which.

No I/O. The protocol that changes a position is `ownership.py`; the words are those of docs/guarantees.md. Every change is
checked against `violation` twice: before it is written and after a foreign version has been read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal, Self

import orjson

from streamer.documents import instant, parsed, typed
from streamer.errors import Damaged
from streamer.records import TopicPartition

VERSION = 1
_MOST = 2**63 - 1

GapReason = Literal["retention", "empty", "accepted"]


@dataclass(frozen=True, slots=True)
class LastRecord:
    """The last committed record: what shows whether the topic is still the one that was archived."""

    offset: int
    timestamp: int  # Kafka's, milliseconds
    crc: int  # records.record_crcs


@dataclass(frozen=True, slots=True)
class Gap:
    """Offsets `[start, end)` below `committed` of which some or all are not in the lake."""

    start: int
    end: int
    reason: GapReason
    at: str  # when it was recorded, ISO 8601 UTC


@dataclass(frozen=True, slots=True)
class PastLineage:
    """Where the log of an earlier lineage stood when an operator accepted the topic that replaced it: its files stay in the
    lake, and `verify` still proves them."""

    lineage: int
    cluster_id: str
    start: int | None
    committed: int
    sealed: int
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True, slots=True)
class Position:
    """The document `_streamer/positions/{topic}/{partition:05d}.json`.

    committed: every offset below it is in the lake, or named in `gaps`. sealed: while it is greater, `[committed, sealed)`
    is being written; it never shrinks. epoch: bumped by every take-over. sequence: one more with every version. writer:
    random, one per assignment. layout: fingerprint under which `[committed, sealed)` is written. through: event time up to
    which the partition is complete, None while unknown. start: where this lineage began, so that `verify` misses its first
    batch too; a first version begins where it stands. past: the lineages before this one.
    """

    cluster_id: str
    source: TopicPartition
    lineage: int
    committed: int
    sealed: int
    epoch: int
    sequence: int
    writer: str
    host: str
    layout: str
    last: LastRecord | None = None
    through: datetime | None = None
    gaps: tuple[Gap, ...] = ()
    start: int | None = None
    past: tuple[PastLineage, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.committed <= self.sealed <= _MOST:
            raise ValueError(f"{self.source}: committed={self.committed} sealed={self.sealed} is no position")
        if not all(0 <= count <= _MOST for count in (self.source.partition, self.lineage, self.epoch, self.sequence)):
            raise ValueError(f"{self.source}: lineage={self.lineage} epoch={self.epoch} sequence={self.sequence}")
        if self.start is None and self.sequence == 1:
            object.__setattr__(self, "start", self.committed)

    @property
    def writing(self) -> bool:
        """Whether a sealed range waits to be finished."""
        return self.sealed > self.committed

    def taken_by(self, writer: str, host: str) -> Self:
        """The version with which `writer` takes the partition over. Nothing of the work changes."""
        return replace(self, epoch=self.epoch + 1, sequence=self.sequence + 1, writer=writer, host=host)

    def sealing(self, end: int, layout: str) -> Self:
        """The version that puts the cut of the next batch on record, and the layout it is written under."""
        return replace(self, sealed=end, layout=layout, sequence=self.sequence + 1)

    def committing(
        self, *, last: LastRecord | None, through: datetime | None, gap: Gap | None = None, next_end: int | None = None
    ) -> Self:
        """The version that commits the sealed range and, with `next_end`, seals the next batch in the same PUT."""
        return replace(
            self,
            committed=self.sealed,
            sealed=next_end or self.sealed,
            last=last or self.last,
            through=max(filter(None, (self.through, through)), default=None),
            gaps=merged_gaps(self.gaps, gap),
            sequence=self.sequence + 1,
        )

    def advancing(self, through: datetime) -> Self:
        """The version that says that the partition is complete up to `through`. Nothing of the work changes."""
        return replace(self, through=max(filter(None, (self.through, through))), sequence=self.sequence + 1)

    def skipping(self, gap: Gap) -> Self:
        """The version that puts on record that Kafka lost `gap` before it was sealed."""
        return replace(self, committed=gap.end, sealed=gap.end, gaps=merged_gaps(self.gaps, gap), sequence=self.sequence + 1)

    def accepting(self, cluster_id: str, start: int, writer: str, host: str) -> Self:
        """The version with which an operator accepts that the topic was made anew: a new lineage from `start`."""
        return replace(
            self.taken_by(writer, host),
            cluster_id=cluster_id,
            lineage=self.lineage + 1,
            committed=start,
            sealed=start,
            last=None,
            through=None,
            gaps=(),
            start=start,
            past=(*self.past, PastLineage(self.lineage, self.cluster_id, self.start, self.committed, self.sealed, self.gaps)),
        )

    def to_json(self) -> bytes:
        """The document, byte for byte a function of the value: two equal positions have equal ETags."""
        return orjson.dumps(
            {
                "version": VERSION,
                "cluster_id": self.cluster_id,
                "topic": self.source.topic,
                "partition": self.source.partition,
                "lineage": self.lineage,
                "committed": self.committed,
                "sealed": self.sealed,
                "epoch": self.epoch,
                "sequence": self.sequence,
                "writer": self.writer,
                "host": self.host,
                "layout": self.layout,
                "last": self.last,
                "through": self.through and self.through.astimezone(UTC).isoformat(),
                "gaps": list(self.gaps),
                "start": self.start,
                "past": list(self.past),
            },
            option=orjson.OPT_INDENT_2,
        )

    @classmethod
    def from_json(cls, body: bytes, *, key: str) -> Self:
        """The position in `body`. Raises `Damaged` where it is none, or of a version this release does not know."""
        try:
            fields = parsed(body)
            if fields["version"] != VERSION:
                raise Damaged(
                    f"position of version {fields['version']}, this release reads {VERSION}",
                    hint="run the release that wrote it, or a newer one",
                    key=key,
                )
            return cls(
                cluster_id=typed(fields["cluster_id"], str),
                source=TopicPartition(typed(fields["topic"], str), typed(fields["partition"], int)),
                lineage=typed(fields["lineage"], int),
                committed=typed(fields["committed"], int),
                sealed=typed(fields["sealed"], int),
                epoch=typed(fields["epoch"], int),
                sequence=typed(fields["sequence"], int),
                writer=typed(fields["writer"], str),
                host=typed(fields["host"], str),
                layout=typed(fields["layout"], str),
                last=typed(fields.get("last"), LastRecord | None),
                through=instant(fields["through"]) if fields.get("through") is not None else None,
                gaps=typed(fields.get("gaps", ()), tuple[Gap, ...]),
                start=typed(fields.get("start"), int | None),
                past=typed(fields.get("past", ()), tuple[PastLineage, ...]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Damaged(
                f"not a position: {error!r}",
                hint="restore an older version of this object, then run `streamer verify`",
                key=key,
            ) from error


def merged_gaps(gaps: tuple[Gap, ...], gap: Gap | None) -> tuple[Gap, ...]:
    """`gaps` and `gap`; one that continues the last for the same reason makes it longer, so the list stays short."""
    if gap is None:
        return gaps
    if gaps and gaps[-1].end == gap.start and gaps[-1].reason == gap.reason:
        return (*gaps[:-1], replace(gap, start=gaps[-1].start))
    return (*gaps, gap)


def violation(old: Position | None, new: Position) -> str | None:
    """What is wrong with `new` following `old`; None where the step is one the protocol knows."""
    if old is None:
        return None if new.epoch == 1 and new.sequence == 1 and not new.writing else "a first version starts a first epoch"
    if new.source != old.source:
        return "another partition"
    if new.sequence != old.sequence + 1:
        return "sequence must grow by one"
    if not old.epoch <= new.epoch <= old.epoch + 1:
        return "epoch must stay or grow by one"
    if new.lineage != old.lineage:
        return (
            None
            if new.lineage == old.lineage + 1 and new.epoch > old.epoch and not new.writing
            else "lineage is counted by accepting"
        )
    if (new.start, new.past) != (old.start, old.past):
        return "what is past does not change"
    if new.committed < old.committed:
        return "committed moved back"
    if new.sealed < old.sealed:
        return "sealed shrank"
    if new.layout != old.layout and old.writing:
        return "layout changed in the middle of a sealed range"
    if new.epoch > old.epoch and (new.committed, new.sealed, new.layout) != (old.committed, old.sealed, old.layout):
        return "a take-over changes nothing of the work"
    if old.writing and new.committed not in (old.committed, old.sealed):
        return "a sealed range is committed whole"
    if old.through is not None and (new.through is None or new.through < old.through):
        return "through moved back"
    if old.writing and new.committed == old.committed and new.through != old.through:
        return "through moved in the middle of a sealed range"
    return None
