"""Kafka as the rest of streamer sees it: assignments, chunks of records, bounds, an advisory commit.

Implementations: `kafka` (the only importer of aiokafka) and `streamer.testing.memory_broker`. One suite,
`tests/contracts/source_contract.py`, examines both. A source decides nothing about where to start: it delivers no record
of a partition until somebody has called `seek` for it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from streamer.records import RecordChunk, TopicPartition


@dataclass(frozen=True, slots=True)
class Bounds:
    """What Kafka holds of a partition: `beginning` is the first offset it still has, `end` the last stable offset,
    that is where a `read_committed` consumer would stop now."""

    beginning: int
    end: int


@dataclass(frozen=True, slots=True)
class OutOfRange:
    """A position that Kafka no longer (or not yet) has; `offset` is what was asked for.

    It is reported once: after it nothing comes of the partition, neither records nor another report, before the next
    `seek`."""

    source: TopicPartition
    offset: int


@dataclass(frozen=True, slots=True)
class Polled:
    """What one `poll` brought. At most one chunk a partition."""

    chunks: tuple[RecordChunk, ...] = ()
    out_of_range: tuple[OutOfRange, ...] = ()


class AssignmentHandler(Protocol):
    """What a source tells when the group's assignment changes. Eager protocol: all partitions go, then all new ones come.

    What a method of the handler raises is raised again by the next `poll`: the group goes on, the daemon does not.
    """

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """These partitions are ours: all of them, also those that were ours before, and possibly none. Must return at
        once: the handler starts its own work and seeks when it is ready."""
        ...

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """These partitions are being taken away. The source waits for this up to its own deadline, then cancels it and
        goes on. Nothing more is delivered of them from the moment of the call; commits are still accepted during it. Not
        called where there is nothing to take away."""
        ...


class Source(Protocol):
    """A member of a consumer group. Methods may raise `Unavailable`, `Denied` (authentication, authorisation) and `Invalid`."""

    async def start(self, topics: Collection[str], handler: AssignmentHandler) -> None:
        """Connect and join. Returns once Kafka has answered, without waiting for an assignment. Topics that do not exist
        are waited for, never created (see `missing_topics`). `Unavailable` where no broker answers in time."""
        ...

    def missing_topics(self) -> frozenset[str]:
        """Topics that Kafka does not know, by the newest metadata."""
        ...

    async def partitions(self) -> frozenset[TopicPartition]:
        """Every partition of the topics it was started with, whoever reads it, as Kafka knows them now. A missing topic has
        none."""
        ...

    async def cluster_id(self) -> str:
        """The Kafka cluster's own id."""
        ...

    async def poll(self, wanted: Collection[TopicPartition], timeout_seconds: float) -> Polled:
        """Records of `wanted` partitions, as soon as there are any, else nothing after the time-out.

        Partitions not wanted are left alone, and keep what was fetched ahead for them. With nothing wanted it still
        counts as a sign of life to the group. A chunk that holds no record but moves `end` (transaction markers,
        compaction) is delivered too. May be cancelled at any time; nothing is lost by it.
        """
        ...

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """The next chunk of `partition` starts at `offset`. Before the first call nothing is delivered. Ignored for a
        partition that is not assigned (any more)."""
        ...

    async def bounds(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, Bounds]:
        """What Kafka holds now. May be called for partitions that are not assigned. Those that Kafka does not know are
        absent from the answer."""
        ...

    async def committed(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """The group's committed offsets, where there are any."""
        ...

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> bool:
        """Tell the group where we are. Advice for lag monitors: False where it was not accepted (rebalance, old
        generation, no answer in time); never retried across a rebalance, and nothing depends on it."""
        ...

    def end_offset(self, partition: TopicPartition) -> int | None:
        """The last stable offset as the newest fetch told it; free of cost; None where not known yet."""
        ...

    def health(self) -> str | None:
        """None while all is well, else one sentence: what is wrong with the connection to Kafka."""
        ...

    def prefetch_bytes(self) -> int:
        """The most that the client may hold in memory for the partitions assigned now, undelivered."""
        ...

    async def stop(self) -> None:
        """Leave the group (a static member does not) and disconnect. `revoked` is not called. Never raises."""
        ...
