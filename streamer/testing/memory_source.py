"""A member of a `MemoryGroup` that reads a `MemoryBroker`: the twin of `streamer.source.kafka.KafkaSource`.

Deterministic: no thread, no clock of its own, no chance. Held to the same contract suite as the real one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from streamer.errors import Unavailable
from streamer.records import TopicPartition
from streamer.source.contract import AssignmentHandler, Bounds, OutOfRange, Polled

if TYPE_CHECKING:
    from streamer.testing.memory_broker import MemoryBroker

POLLED_NOTHING = Polled()


class MemorySource:
    """A `Source` over a `MemoryBroker`. Made by `MemoryBroker.source`.

    name: the member's own, unique in its group; a static one (`static=True`) keeps its partitions over a restart under
    the same name. chunk_records: the most records of one chunk, or what gives that number for each chunk.
    """

    def __init__(
        self,
        broker: MemoryBroker,
        group_id: str,
        name: str,
        *,
        static: bool = False,
        chunk_records: int | Callable[[], int] = 500,
        revoke_timeout_seconds: float = 60.0,
    ) -> None:
        self.name = name
        self.static = static
        self.topics: frozenset[str] = frozenset()
        self._broker = broker
        self._group = broker.group(group_id)
        self._chunk_records = chunk_records
        self._revoke_timeout_seconds = revoke_timeout_seconds
        self._handler: AssignmentHandler | None = None
        self.gone = False
        self._generation = -1
        self._positions: dict[TopicPartition, int | None] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._giving_up = False
        self._joined = False
        self._handler_error: Exception | None = None

    async def start(self, topics: Collection[str], handler: AssignmentHandler) -> None:
        self._demand_broker()
        self._handler = handler
        self.topics = frozenset(topics)
        self._broker.enter(self)
        await asyncio.sleep(0)

    def missing_topics(self) -> frozenset[str]:
        return self.topics - self._broker.topics

    async def partitions(self) -> frozenset[TopicPartition]:
        await asyncio.sleep(0)
        self._demand_broker()
        return frozenset(partition for partition in self._broker.partitions() if partition.topic in self.topics)

    async def cluster_id(self) -> str:
        self._demand_broker()
        return self._broker.cluster_id

    async def poll(self, wanted: Collection[TopicPartition], timeout_seconds: float) -> Polled:
        await asyncio.sleep(0)
        self._raise_handler_error()
        try:
            async with asyncio.timeout(timeout_seconds):
                while True:
                    polled = self._fetch(wanted)
                    if polled is not POLLED_NOTHING:
                        return polled
                    await self._broker.changed()
        except TimeoutError:
            return POLLED_NOTHING

    def seek(self, partition: TopicPartition, offset: int) -> None:
        if partition in self._positions:
            self._positions[partition] = offset
            self._broker.announce()

    async def bounds(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, Bounds]:
        await asyncio.sleep(0)
        self._demand_broker()
        logs = {partition: self._broker.log(partition) for partition in partitions}
        return {partition: log.bounds() for partition, log in logs.items() if log is not None}

    async def committed(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        await asyncio.sleep(0)
        self._demand_broker()
        return {partition: self._group.committed[partition] for partition in partitions if partition in self._group.committed}

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> bool:
        generation = self._generation
        await asyncio.sleep(0)
        return not self.gone and not self._broker.down and self._group.commit(self, generation, offsets)

    def end_offset(self, partition: TopicPartition) -> int | None:
        return self._ends.get(partition)

    def health(self) -> str | None:
        return "the broker does not answer" if self._broker.down else None

    def prefetch_bytes(self) -> int:
        return 0

    async def stop(self) -> None:
        if self.gone:
            return
        self.gone = True
        self._positions.clear()
        self._broker.exit(self)
        self._group.leave(self)
        self._broker.announce()
        await asyncio.sleep(0)

    def crash(self) -> None:
        """The process is gone without a word: the group finds out when the session runs out."""
        self.gone = True
        self._positions.clear()
        self._broker.exit(self)
        self._group.lose(self)

    # what the broker and the group call

    def join(self) -> None:
        """One of the topics has come, gone or grown."""
        if self._joined:
            self._group.rebalance()
        else:
            self._joined = True
            self._group.join(self)

    async def give_up(self) -> None:
        if self.gone or not self._positions or self._handler is None:
            return
        self._giving_up = True
        partitions = tuple(sorted(self._positions))
        try:
            async with asyncio.timeout(self._revoke_timeout_seconds):
                await self._handler.revoked(partitions)
        except TimeoutError:
            self._broker.revocations_cut_short += 1
        except Exception as error:  # noqa: BLE001 the group must not die of it: the next poll raises it
            self._handler_error = error
        finally:
            self._positions.clear()
            self._ends.clear()

    def receive(self, generation: int, partitions: Collection[TopicPartition]) -> None:
        if self.gone or self._handler is None:
            return
        self._giving_up = False
        self._generation = generation
        self._positions = dict.fromkeys(partitions)
        self._ends.clear()
        try:
            self._handler.assigned(tuple(sorted(partitions)))
        except Exception as error:  # noqa: BLE001 the group must not die of it: the next poll raises it
            self._handler_error = error
        self._broker.announce()

    # inside

    def _fetch(self, wanted: Collection[TopicPartition]) -> Polled:
        if self._broker.down or self._giving_up:
            return POLLED_NOTHING
        chunks, out_of_range = [], []
        for partition in sorted(wanted):
            position, log = self._positions.get(partition), self._broker.log(partition)
            if position is None or log is None:
                continue
            self._ends[partition] = log.bounds().end
            try:
                chunk = log.read(position, self._most_records())
            except IndexError:
                out_of_range.append(OutOfRange(partition, position))
                self._positions[partition] = None
                continue
            if chunk is not None:
                chunks.append(chunk)
                self._positions[partition] = chunk.end
        return Polled(tuple(chunks), tuple(out_of_range)) if chunks or out_of_range else POLLED_NOTHING

    def _raise_handler_error(self) -> None:
        error, self._handler_error = self._handler_error, None
        if error is not None:
            raise error

    def _most_records(self) -> int:
        return self._chunk_records() if callable(self._chunk_records) else self._chunk_records

    def _demand_broker(self) -> None:
        if self._broker.down:
            raise Unavailable("the memory broker is down", hint="set its `down` to False")
