"""How records come off aiokafka's consumer: the contract of the two ways, `record_batches` and `getmany`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from streamer.records import RecordChunk, TopicPartition
from streamer.source.contract import OutOfRange


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A place in a partition that cannot be read: a batch with a wrong checksum, an unknown compression, ...

    offset: where the batch begins; None where only this is known: it is the next one."""

    source: TopicPartition
    offset: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Read:
    """What one `read` brought."""

    chunks: tuple[RecordChunk, ...] = ()
    out_of_range: tuple[OutOfRange, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.chunks or self.out_of_range or self.unreadable)


class RecordReader(Protocol):
    """Takes records that aiokafka has fetched for partitions that are assigned and sought."""

    async def read(self, wanted: Collection[TopicPartition], timeout_seconds: float) -> Read:
        """As soon as there is anything of `wanted`, else nothing after the time-out, also during a rebalance. What is
        taken but not ready when the time is over, or when the call is cancelled, comes with a later call. Counts as a
        poll. Raises what aiokafka raises for the whole group."""
        ...

    def forget(self, partition: TopicPartition, offset: int) -> None:
        """Drop what was taken of the partition: it has just been sought anew, to `offset`."""
        ...

    def forget_all(self) -> None:
        """Drop everything that was taken: the assignment is over."""
        ...

    async def close(self) -> None:
        """End what runs in the background."""
        ...
