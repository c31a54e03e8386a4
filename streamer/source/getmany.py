"""Records by aiokafka's public `getmany`: slower, and on the event loop, but known to every aiokafka.

The way to read where `record_batches` does not know the aiokafka that is installed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from aiokafka import errors as kafka_errors
from aiokafka.structs import TopicPartition as KafkaTopicPartition

from streamer.clock import Clock
from streamer.records import RecordChunk, TopicPartition
from streamer.source.consumer import Consumer
from streamer.source.contract import OutOfRange
from streamer.source.reader import Read, Unreadable

NOBODYS = KafkaTopicPartition("", -1)
"""A partition that nobody has: asking for it alone counts as a poll and leaves what is buffered for others alone."""


class GetmanyReader:
    """The `RecordReader` of the public call."""

    def __init__(self, consumer: Consumer, clock: Clock, *, most_records: int) -> None:
        self._consumer = consumer
        self._clock = clock
        self._most_records = most_records
        self._asking: asyncio.Task[dict[Any, list[Any]]] | None = None
        self._starts: dict[TopicPartition, int] = {}  # of the partitions asked for, where each stood
        self._sought: dict[TopicPartition, int] = {}  # of those, the ones sought since
        self._ready: dict[TopicPartition, RecordChunk] = {}
        self._orphaned = False  # the assignment asked under is over
        self._one_at_a_time = False
        self._last_alone = TopicPartition("", -1)
        self._closed = False

    async def read(self, wanted: Collection[TopicPartition], timeout_seconds: float) -> Read:
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_seconds
        await self._clock.sleep(0)
        while True:
            read = self._collect(wanted)
            left = until - loop.time()
            if read or left <= 0 or self._closed:
                return read
            if self._asking is None:
                self._asking = asyncio.create_task(self._ask(wanted, left), name="getmany")
            # Never cancelled: `getmany` waits beyond its time-out during a rebalance, and what it has taken would be lost.
            await asyncio.wait({self._asking}, timeout=left)

    def forget(self, partition: TopicPartition, offset: int) -> None:
        self._ready.pop(partition, None)
        if self._asking is not None and partition in self._starts:
            self._sought[partition] = offset

    def forget_all(self) -> None:
        self._ready.clear()
        self._sought.clear()
        self._orphaned = True

    async def close(self) -> None:
        self.forget_all()
        self._closed = True
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()
            await asyncio.wait({asking})

    async def _ask(self, wanted: Collection[TopicPartition], seconds: float) -> dict[Any, list[Any]]:
        asked = [partition for partition in wanted if partition not in self._ready and self._consumer.is_assigned(partition)]
        if self._one_at_a_time and asked:
            # In turn, so that one that cannot be read does not keep the others waiting.
            self._last_alone = min(asked, key=lambda partition: (partition <= self._last_alone, partition))
            asked = [self._last_alone]
        self._starts = {partition: self._position(partition) for partition in asked}
        self._sought.clear()
        self._orphaned = False
        found: dict[Any, list[Any]] = await self._consumer.getmany(
            *(KafkaTopicPartition(*partition) for partition in asked or (NOBODYS,)),
            timeout_ms=round(seconds * 1000),
            max_records=self._most_records,
        )
        return found

    def _collect(self, wanted: Collection[TopicPartition]) -> Read:
        out_of_range: list[OutOfRange] = []
        unreadable: list[Unreadable] = []
        if self._asking is not None and self._asking.done():
            asking, self._asking = self._asking, None
            try:
                found = asking.result()
            except kafka_errors.OffsetOutOfRangeError as error:
                self._go_back()
                out_of_range += [OutOfRange(TopicPartition(*where), offset) for where, offset in error.args[0].items()]
            except Exception as error:
                self._go_back()
                if not _is_fault_of_a_partition(error):
                    raise
                reason = f"{type(error).__name__}: {error}"
                unreadable += [Unreadable(partition, None, reason) for partition in self._culprits(reason)]
            else:
                self._keep(found)
        moving = self._consumer.subscription_state.reassignment_in_progress
        ready = [] if moving else [partition for partition in wanted if partition in self._ready]
        chunks = tuple(self._ready.pop(partition) for partition in ready)
        return Read(chunks, tuple(out_of_range), tuple(unreadable))

    def _keep(self, found: dict[Any, list[Any]]) -> None:
        for partition, start in self._starts.items():
            if not self._consumer.is_assigned(partition):
                continue
            end = self._position(partition)
            if partition in self._sought:
                # Whether these are from before or after the seek cannot be told.
                if found.get(partition):
                    self._consumer.read_from(partition, self._sought[partition])
            elif end > start and not self._orphaned:
                self._ready[partition] = _chunk(partition, start, end, found.get(partition, []))
        self._sought.clear()

    def _go_back(self) -> None:
        """A `getmany` that raises has taken records of other partitions, and loses them."""
        places = self._sought if self._orphaned else self._starts | self._sought
        for partition, offset in places.items():
            if self._consumer.is_assigned(partition) and self._position(partition) != offset:
                self._consumer.read_from(partition, offset)
        self._sought.clear()

    def _culprits(self, reason: str) -> list[TopicPartition]:
        """Whose fault it was. aiokafka tells at most in its text; else they are asked one at a time from now on."""
        if len(self._starts) == 1:
            return list(self._starts)
        named = [partition for partition in self._starts if repr(partition) in reason]
        self._one_at_a_time = not named
        return named

    def _position(self, partition: TopicPartition) -> int:
        return int(self._consumer.subscription_state._assigned_state(partition).position)


def _is_fault_of_a_partition(error: Exception) -> bool:
    """A damaged batch or an unknown codec, rather than the group's or the connection's trouble."""
    if isinstance(error, kafka_errors.KafkaError):
        return isinstance(
            error,
            kafka_errors.CorruptRecordException | kafka_errors.RecordTooLargeError | kafka_errors.UnsupportedCodecError,
        )
    return not isinstance(error, AssertionError)


def _chunk(partition: TopicPartition, start: int, end: int, records: list[Any]) -> RecordChunk:
    return RecordChunk(
        partition,
        start,
        end,
        [record.offset for record in records],
        [-1 if record.timestamp is None else record.timestamp for record in records],
        [record.key for record in records],
        [record.value for record in records],
        [record.headers for record in records] if any(record.headers for record in records) else None,
    )
