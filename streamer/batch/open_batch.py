"""What waits: the open batch of one partition. Pure; nothing here reads a clock or knows who writes.

A batch starts at the position's `committed` and grows by decoded chunks until a limit or an event closes it. Its start
never moves, even where the chunks that came held no record: the position stays behind until there is something to write.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from streamer.records import BatchRange, CutReason, DeadLetter, RecordChunk, TopicPartition, record_crcs
from streamer.streams import CutLimits


class Rows(Protocol):
    """What decoding made of a chunk (`decode.contract.Decoded`): an Arrow table and dead letters."""

    @property
    def table(self) -> Any: ...
    @property
    def dead_letters(self) -> tuple[DeadLetter, ...]: ...
    @property
    def size_bytes(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Tail:
    """The last record of a batch, as the position remembers it."""

    offset: int
    timestamp: int
    crc: int


@dataclass(slots=True)
class OpenBatch:
    """Decoded chunks of one partition, in order, and what the cut policy must know of them. age_share: at which share of the
    age in the limits it is cut."""

    source: TopicPartition
    start: int
    lineage: int
    age_share: float = 1.0
    end: int = -1
    records: int = 0
    payload_bytes: int = 0
    size_bytes: int = 0
    first_at: float | None = None
    newest_at: float | None = None
    tail: Tail | None = None
    tables: list[Any] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.end = max(self.end, self.start)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write; offsets may have passed all the same."""
        return self.records == 0

    @property
    def range(self) -> BatchRange:
        """The batch as it would be cut now."""
        return BatchRange(self.source, self.start, self.end, self.lineage)

    def add(self, chunk: RecordChunk, rows: Rows, now: float) -> None:
        """Append what a chunk became. `now` is monotonic seconds: ages decide where to cut and enter nothing else."""
        if chunk.start < self.end:
            raise ValueError(f"{self.source}: chunk [{chunk.start},{chunk.end}) after {self.end}")
        self.end = max(self.end, chunk.end)
        if not chunk.offsets:
            return
        self.records += len(chunk)
        self.payload_bytes += chunk.payload_bytes
        self.size_bytes += rows.size_bytes
        self.first_at = now if self.first_at is None else self.first_at
        self.newest_at = now
        self.tail = Tail(chunk.offsets[-1], chunk.timestamps[-1], record_crcs(chunk.keys[-1:], chunk.values[-1:])[0])
        self.tables.append(rows.table)
        self.dead_letters.extend(rows.dead_letters)

    def room(self, limits: CutLimits) -> int:
        """How many more records fit before `limits.rows`."""
        return max(0, limits.rows - self.records)

    def due(self, limits: CutLimits, now: float) -> CutReason | None:
        """Which limit closes the batch now, if any."""
        if self.empty:
            return None
        if self.records >= limits.rows:
            return CutReason.ROWS
        if self.payload_bytes >= limits.bytes:
            return CutReason.BYTES
        if (at := self.due_at(limits)) is not None and now >= at:
            return CutReason.AGE if now >= self._aged_at(limits) else CutReason.IDLE
        return None

    def due_at(self, limits: CutLimits) -> float | None:
        """When age or idleness will close the batch, monotonic seconds; None while it is empty."""
        if self.newest_at is None:
            return None
        aged = self._aged_at(limits)
        return aged if limits.idle_seconds is None else min(aged, self.newest_at + limits.idle_seconds)

    def _aged_at(self, limits: CutLimits) -> float:
        return (self.first_at or 0.0) + limits.age_seconds * self.age_share
