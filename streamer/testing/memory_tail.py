"""A `Tail` over a `MemoryBroker`: the twin of `streamer.source.kafka_tail.KafkaTail`, held to the same contract suite."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from streamer.errors import Unavailable
from streamer.records import RecordChunk, TopicPartition
from streamer.source.contract import Bounds, OutOfRange, Polled
from streamer.testing.memory_broker import MemoryBroker


class MemoryTail:
    """Reads the partitions sought. chunk_records: the most records of one chunk."""

    def __init__(self, broker: MemoryBroker, *, chunk_records: int = 500) -> None:
        self._broker = broker
        self._chunk_records = chunk_records
        self._next: dict[TopicPartition, int] = {}
        self.stopped = False

    async def start(self) -> None:
        self._demand_broker()

    async def cluster_id(self) -> str:
        await asyncio.sleep(0)
        self._demand_broker()
        return self._broker.cluster_id

    async def partitions(self, topic: str) -> frozenset[TopicPartition]:
        await asyncio.sleep(0)
        self._demand_broker()
        return frozenset(partition for partition in self._broker.partitions() if partition.topic == topic)

    async def bounds(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, Bounds]:
        await asyncio.sleep(0)
        self._demand_broker()
        logs = {partition: self._broker.log(partition) for partition in partitions}
        return {partition: log.bounds() for partition, log in logs.items() if log is not None}

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._next[partition] = offset

    async def poll(self, timeout_seconds: float) -> Polled:
        await asyncio.sleep(0)
        try:
            async with asyncio.timeout(timeout_seconds):
                while not (polled := self._fetch()).chunks and not polled.out_of_range:
                    await self._broker.changed()
        except TimeoutError:
            return Polled()
        return polled

    async def stop(self) -> None:
        self.stopped = True
        self._next.clear()

    def _fetch(self) -> Polled:
        chunks: list[RecordChunk] = []
        lost: list[OutOfRange] = []
        for partition, offset in sorted(self._next.items()) if not self._broker.down else ():
            log = self._broker.log(partition)
            if log is None:
                continue
            try:
                chunk = log.read(offset, self._chunk_records)
            except IndexError:
                lost.append(OutOfRange(partition, offset))
                del self._next[partition]
                continue
            if chunk is not None:
                chunks.append(chunk)
                self._next[partition] = chunk.end
        return Polled(tuple(chunks), tuple(lost))

    def _demand_broker(self) -> None:
        if self._broker.down:
            raise Unavailable("the broker does not answer", hint="start it")
