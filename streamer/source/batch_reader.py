"""The quick way to read: takes record batches off the fetcher and has them decoded by the workers, piece by piece.

It bounds what is decoded at a time, loses nothing when a poll is cancelled, and leaves partitions that nobody wants alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from aiokafka import errors as kafka_errors
from aiokafka.consumer.fetcher import FetchResult

from streamer.clock import Clock
from streamer.records import TopicPartition
from streamer.source.consumer import Consumer
from streamer.source.contract import OutOfRange
from streamer.source.reader import Read, Unreadable
from streamer.source.record_batches import Extracted, Taken, extract, reason_of, take
from streamer.workers import Workers

PIECES = 8
"""How many partitions are decoded at once, when many have records: each piece has this share of the poll's budget."""

PIECES_MIN = 2
"""With few partitions pieces are larger, which costs less a record. Two: one is extracted while another is decoded."""


class BatchReader:
    """A `RecordReader` that keeps the event loop free. poll_budget_bytes: of decoded keys and values, a little more by the
    last batch of each piece."""

    def __init__(self, consumer: Consumer, workers: Workers, clock: Clock, *, poll_budget_bytes: int) -> None:
        self._consumer = consumer
        self._workers = workers
        self._clock = clock
        self._poll_budget_bytes = poll_budget_bytes
        self._decoding: dict[TopicPartition, asyncio.Task[Extracted]] = {}
        self._rests: dict[TopicPartition, Taken] = {}
        self._fetched = consumer.client.keep_fetched()
        self._closed = False

    async def read(self, wanted: Collection[TopicPartition], timeout_seconds: float) -> Read:
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_seconds
        # A call that finds data would never suspend: heartbeats share this loop.
        await self._clock.sleep(0)
        with self._consumer.subscription_state.fetch_context():
            while not self._closed:
                self._consumer.coordinator.check_errors()
                read = self._collect(set(wanted))
                left = until - loop.time()
                if read or left <= 0:
                    return read
                await self._wait(wanted, left)
        return Read()

    def forget(self, partition: TopicPartition, offset: int) -> None:
        self._fetched.pop(partition, None)
        self._rests.pop(partition, None)
        task = self._decoding.pop(partition, None)
        if task is not None:
            # A thread cannot be stopped; its result, or its error, interests nobody any more.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())

    def forget_all(self) -> None:
        for partition in [*self._rests, *self._decoding, *self._fetched]:
            self.forget(partition, 0)

    async def close(self) -> None:
        self._closed = True
        self.forget_all()

    def _collect(self, wanted: set[TopicPartition]) -> Read:
        if self._consumer.subscription_state.reassignment_in_progress:
            return Read()
        # What has been fetched first: it may raise, and what is decoded must not be lost to that.
        out_of_range, unreadable = self._start(wanted)
        ready = {partition: task for partition, task in self._decoding.items() if partition in wanted and task.done()}
        decoded = {partition: task.result() for partition, task in ready.items()}
        chunks = []
        for partition, piece in decoded.items():
            del self._decoding[partition]
            if piece.chunk.end > piece.chunk.start:
                chunks.append(piece.chunk)
            if piece.fault is not None:
                unreadable.append(Unreadable(partition, piece.chunk.end, piece.fault))
            if piece.rest is not None:
                self._rests[partition] = piece.rest
            else:
                self._release(partition)
        return Read(tuple(chunks), tuple(out_of_range), tuple(unreadable))

    def _start(self, wanted: set[TopicPartition]) -> tuple[list[OutOfRange], list[Unreadable]]:
        """Hand what has been fetched to the workers; what could not be fetched is the answer."""
        out_of_range, unreadable = [], []
        fetched = self._consumer.fetcher._records
        assigned = len(self._consumer.subscription_state.assigned_partitions())
        if len(self._fetched) > assigned:  # answers that came while partitions went elsewhere
            for partition in self._fetched.keys() - self._consumer.subscription_state.assigned_partitions():
                del self._fetched[partition]
        piece_bytes = max(1, self._poll_budget_bytes // min(PIECES, max(PIECES_MIN, assigned)))
        startable = [TopicPartition(*key) for key in [*self._rests, *fetched] if key in wanted]
        for partition in startable:
            if partition in self._decoding:
                continue
            entry = fetched.get(partition)
            if partition not in self._rests and not isinstance(entry, FetchResult):
                self._release(partition)
                try:
                    entry.check_raise()
                except kafka_errors.OffsetOutOfRangeError as error:
                    out_of_range += [OutOfRange(TopicPartition(*where), offset) for where, offset in error.args[0].items()]
                except kafka_errors.RecordTooLargeError as error:
                    unreadable.append(Unreadable(partition, None, reason_of(error)))
            elif sum(other in wanted for other in self._decoding) < PIECES:
                taken = self._rests.pop(partition, None) or take(entry, partition, self._fetched.pop(partition, None))
                if taken is None:
                    self._release(partition)
                else:
                    work = self._workers.run(extract, taken, piece_bytes)
                    self._decoding[partition] = asyncio.create_task(work, name=f"extract {partition}")
        return out_of_range, unreadable

    def _release(self, partition: TopicPartition) -> None:
        """Let the fetcher ask for more of the partition: while its entry is there, it does not."""
        fetcher = self._consumer.fetcher
        if fetcher._records.pop(partition, None) is not None:
            fetcher._notify(fetcher._wait_consume_future)

    async def _wait(self, wanted: Collection[TopicPartition], seconds: float) -> None:
        """Until something has been fetched or decoded, or the assignment is there, or the time is over."""
        futures: list[asyncio.Future[Any]] = []
        if self._consumer.subscription_state.reassignment_in_progress:
            waiter = self._consumer.subscription_state.wait_for_assignment()
        elif not wanted:
            await self._clock.sleep(seconds)
            return
        else:
            waiter = self._consumer.fetcher._create_fetch_waiter()
            futures += [task for partition, task in self._decoding.items() if partition in wanted]
        try:
            await asyncio.wait([waiter, *futures], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if waiter.done() and not waiter.cancelled():
                waiter.exception()  # `check_errors` raises the same, with the next turn
            waiter.cancel()
