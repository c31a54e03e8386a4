"""A Kafka in memory, for tests of streamer and of those who build on it: no server, no thread, no waiting.

It has what makes Kafka difficult: holes, transactions, retention, topics made anew, groups whose members are slow, cut
off or dead. What `tests/contracts/source_contract.py` says of the real source holds of this one too.

    broker = MemoryBroker()
    broker.create_topic("ticks", partitions=2)
    broker.append(TopicPartition("ticks", 0), b'{"symbol": "BTC", "price": 1}')
    source = broker.source("streamer", "member-1")
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from streamer.clock import Clock
from streamer.records import Headers, TopicPartition
from streamer.source.contract import Bounds
from streamer.testing.memory_group import MemoryGroup
from streamer.testing.memory_log import PartitionLog, Transaction
from streamer.testing.memory_source import MemorySource

__all__ = ["MemoryBroker", "MemoryGroup", "MemorySource", "Transaction"]

FIRST_TIMESTAMP = 1_767_441_600_000  # 2026-01-03T12:00:00Z, where `ManualClock` starts too


class MemoryBroker:
    """Topics, their partitions and the groups that read them.

    clock: gives records without a timestamp theirs; without a clock each gets one more millisecond than the one before
    it in its partition. `down = True` stops every answer until it is False again. `revocations_cut_short` counts the
    times a handler's `revoked` ran into its source's deadline.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        cluster_id: str = "memory-cluster",
        session_timeout_seconds: float = 45.0,
        rebalance_timeout_seconds: float = 120.0,
    ) -> None:
        self.cluster_id = cluster_id
        self.revocations_cut_short = 0
        self._clock = clock
        self._session_timeout_seconds = session_timeout_seconds
        self._rebalance_timeout_seconds = rebalance_timeout_seconds
        self._down = False
        self._topics: dict[str, list[PartitionLog]] = {}
        self._groups: dict[str, MemoryGroup] = {}
        self._sources: dict[MemorySource, str] = {}
        self._waiters: list[asyncio.Future[None]] = []

    # topics

    @property
    def topics(self) -> frozenset[str]:
        return frozenset(self._topics)

    def partitions(self) -> list[TopicPartition]:
        """All partitions of all topics, sorted."""
        return sorted(log.partition for logs in self._topics.values() for log in logs)

    def create_topic(self, name: str, partitions: int = 1) -> None:
        """Members that wait for the topic get its partitions by a rebalance."""
        if name in self._topics:
            raise ValueError(f"topic {name} exists")
        self._topics[name] = [PartitionLog(TopicPartition(name, number)) for number in range(partitions)]
        self._topics_changed(name)

    def delete_topic(self, name: str) -> None:
        """Create it again and it starts from offset 0, like any other."""
        del self._topics[name]
        self._topics_changed(name)

    def add_partitions(self, name: str, partitions: int) -> None:
        """Bring the topic up to `partitions`."""
        logs = self._topics[name]
        logs += [PartitionLog(TopicPartition(name, number)) for number in range(len(logs), partitions)]
        self._topics_changed(name)

    # records

    def append(
        self,
        partition: TopicPartition,
        value: bytes | None,
        *,
        key: bytes | None = None,
        timestamp: int | None = None,
        headers: Headers = (),
        transaction: Transaction | None = None,
    ) -> int:
        """Write one record; its offset. timestamp: milliseconds since the epoch."""
        log = self._existing(partition)
        if timestamp is None:
            timestamp = int(self._clock.now().timestamp() * 1000) if self._clock else FIRST_TIMESTAMP + log.end
        offset = log.append(timestamp, key, value, headers, transaction)
        self.announce()
        return offset

    def extend(
        self, partition: TopicPartition, values: Iterable[bytes | None], *, transaction: Transaction | None = None
    ) -> range:
        """Write one record a value; their offsets."""
        log = self._existing(partition)
        start = log.end
        for value in values:
            self.append(partition, value, transaction=transaction)
        return range(start, log.end)

    def begin(self) -> Transaction:
        """A transaction, for `append` and `extend`. Call `announce` after its `commit` or `abort` to wake readers that
        wait for it."""
        return Transaction()

    def skip(self, partition: TopicPartition, offsets: int = 1) -> None:
        """Let offsets pass without a record, as transaction markers and compaction do."""
        self._existing(partition).skip(offsets)
        self.announce()

    def compact(self, partition: TopicPartition, offsets: Iterable[int]) -> None:
        """Remove the records at these offsets; the offsets of the others stay."""
        self._existing(partition).remove(set(offsets))

    def truncate(self, partition: TopicPartition, beginning: int) -> None:
        """What retention does: nothing below `beginning` is there any more. Raises ValueError beyond the end."""
        self._existing(partition).truncate(beginning)
        self.announce()

    def bounds(self, partition: TopicPartition) -> Bounds:
        """The beginning and the last stable offset."""
        return self._existing(partition).bounds()

    # readers

    def group(self, group_id: str) -> MemoryGroup:
        """The group of this name; it comes into being when first asked for."""
        if group_id not in self._groups:
            self._groups[group_id] = MemoryGroup(self, self._session_timeout_seconds, self._rebalance_timeout_seconds)
        return self._groups[group_id]

    def delete_group(self, group_id: str) -> None:
        """Forget a group and what it committed. Raises ValueError where it has members."""
        if self._groups[group_id].owners:
            raise ValueError(f"group {group_id} has members")
        del self._groups[group_id]

    def source(
        self,
        group_id: str,
        name: str,
        *,
        static: bool = False,
        chunk_records: int | Callable[[], int] = 500,
        revoke_timeout_seconds: float = 60.0,
    ) -> MemorySource:
        """A new member, not started yet. See `MemorySource`."""
        return MemorySource(
            self,
            group_id,
            name,
            static=static,
            chunk_records=chunk_records,
            revoke_timeout_seconds=revoke_timeout_seconds,
        )

    @property
    def down(self) -> bool:
        return self._down

    @down.setter
    def down(self, down: bool) -> None:
        self._down = down
        self.announce()

    # what its parts call

    def announce(self) -> None:
        """Wake every reader that waits: something may have changed for it."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def changed(self) -> None:
        """Returns after the next `announce`."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def log(self, partition: TopicPartition) -> PartitionLog | None:
        logs = self._topics.get(partition.topic, [])
        return logs[partition.partition] if partition.partition < len(logs) else None

    def enter(self, source: MemorySource) -> None:
        """A source has started: it joins its group, whether or not its topics exist yet."""
        self._sources[source] = source.name
        source.join()

    def exit(self, source: MemorySource) -> None:
        self._sources.pop(source, None)

    def _topics_changed(self, name: str) -> None:
        for source in self._sources:
            if name in source.topics:
                source.join()
        self.announce()

    def _existing(self, partition: TopicPartition) -> PartitionLog:
        log = self.log(partition)
        if log is None:
            raise ValueError(f"{partition} does not exist")
        return log
