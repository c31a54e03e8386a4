"""Chosen partitions read from chosen offsets, without a group: what a reader that goes on where the lake ends is given.

Implementations: `kafka_tail` and `streamer.testing.memory_tail`; `tests/contracts/tail_contract.py` examines both. A tail joins
no group, commits nothing and creates nothing, so any number of them disturb nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from streamer.records import TopicPartition
from streamer.source.contract import Bounds, Polled


class Tail(Protocol):
    """A reader of partitions. Methods may raise `Unavailable`, `Denied` and `Invalid`."""

    async def start(self) -> None:
        """Connect. `Unavailable` where no broker answers in time."""
        ...

    async def cluster_id(self) -> str:
        """The Kafka cluster's own id."""
        ...

    async def partitions(self, topic: str) -> frozenset[TopicPartition]:
        """The partitions that the topic has now; none where there is no such topic."""
        ...

    async def bounds(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, Bounds]:
        """What Kafka holds now. Partitions that it does not know are absent from the answer."""
        ...

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read the partition from `offset` on, whether it was read before or not."""
        ...

    async def poll(self, timeout_seconds: float) -> Polled:
        """Records of what was sought, as soon as there are any, else nothing after the time-out.

        Records of committed transactions only. Each chunk starts where the one before it ended; one without a record may move
        `end`. A place that Kafka does not have is reported once, and then nothing comes of the partition before the next
        `seek`. `Unavailable` where no broker has answered for long.
        """
        ...

    async def stop(self) -> None:
        """Disconnect. Never raises."""
        ...
