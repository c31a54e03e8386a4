"""The `Tail` over aiokafka: its public, slower call, which is enough for one reader."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace

from aiokafka import errors as kafka_errors
from aiokafka.structs import TopicPartition as KafkaPartition

from streamer.clock import Clock
from streamer.errors import Invalid, Unavailable
from streamer.records import RecordChunk, TopicPartition
from streamer.source.client import await_broker, client_options
from streamer.source.cluster_view import ClusterView
from streamer.source.contract import Bounds, OutOfRange, Polled
from streamer.source.errors import translate
from streamer.source.groupless import GrouplessConsumer
from streamer.source.log_noise import thin_out_logs
from streamer.source.sample import chunk_of, partitions_of
from streamer.source.settings import KafkaSettings

SILENCE_SECONDS = 120.0
"""So long a reader waits for brokers that do not answer: a rolling restart is over by then."""


class KafkaTail:
    """See `Tail`. silence_seconds: after so long without an answer of any broker, `poll` raises `Unavailable`."""

    def __init__(self, settings: KafkaSettings, clock: Clock, *, silence_seconds: float = SILENCE_SECONDS) -> None:
        self._settings = replace(settings, fetch_min_bytes=1)
        self._clock = clock
        self._silence_seconds = silence_seconds
        self._next: dict[TopicPartition, int] = {}
        self._assigned = False  # whether the consumer reads what `_next` says
        self._consumer: GrouplessConsumer | None = None
        self._view: ClusterView | None = None

    async def start(self) -> None:
        thin_out_logs(self._clock)
        await await_broker(self._settings, self._clock)
        options = await asyncio.to_thread(client_options, self._settings)
        self._view = ClusterView(self._settings, self._clock, options)
        consumer = GrouplessConsumer(self._settings, self._clock)
        try:
            async with asyncio.timeout(self._settings.start_timeout_seconds):
                await consumer.start()
        except BaseException as error:
            await consumer.stop_quietly()
            await self.stop()
            if isinstance(error, kafka_errors.KafkaError | OSError | TimeoutError):
                raise translate(error, "connecting", bootstrap_servers=self._settings.bootstrap_servers) from error
            raise
        self._consumer = consumer

    async def cluster_id(self) -> str:
        return await self._demand_view().cluster_id()

    async def partitions(self, topic: str) -> frozenset[TopicPartition]:
        if topic in await self._demand_view().missing([topic]):
            return frozenset()
        return frozenset(await partitions_of(self._settings, self._clock, topic))

    async def bounds(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, Bounds]:
        return await self._demand_view().bounds(partitions)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._next[partition] = offset
        self._assigned = False

    async def poll(self, timeout_seconds: float) -> Polled:
        consumer = self._demand_consumer()
        if not self._next:
            await self._clock.sleep(timeout_seconds)
            return Polled()
        if not self._assigned:
            self._assign(consumer)
        try:
            found = await consumer.getmany(timeout_ms=round(timeout_seconds * 1000), max_records=self._settings.getmany_records)
        except kafka_errors.OffsetOutOfRangeError as error:
            asked = {TopicPartition(*where): offset for where, offset in error.args[0].items()}
            lost = tuple(OutOfRange(where, offset) for where, offset in asked.items() if self._next.get(where) == offset)
            for report in lost:
                del self._next[report.source]
            self._assigned = False
            return Polled(out_of_range=lost)
        except (kafka_errors.KafkaError, OSError) as error:
            self._assigned = False
            raise translate(error, "reading records", bootstrap_servers=self._settings.bootstrap_servers) from error
        records = {TopicPartition(*where): got for where, got in found.items()}
        chunks: list[RecordChunk] = []
        for partition, start in self._next.items():
            end = await consumer.position(KafkaPartition(*partition))
            if end > start:
                chunks.append(chunk_of(partition, Bounds(start, end), records.get(partition, [])))
        self._next.update((chunk.source, chunk.end) for chunk in chunks)
        if not chunks:
            self._check_alive(consumer)
        return Polled(tuple(chunks))

    async def stop(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop_quietly()
        view, self._view = self._view, None
        if view is not None:
            await view.close()

    def _assign(self, consumer: GrouplessConsumer) -> None:
        consumer.assign([KafkaPartition(*partition) for partition in self._next])
        for partition, offset in self._next.items():
            consumer.seek(KafkaPartition(*partition), offset)
        self._assigned = True

    def _check_alive(self, consumer: GrouplessConsumer) -> None:
        silent_seconds = self._clock.monotonic() - consumer.answered_at
        if silent_seconds > self._silence_seconds:
            raise Unavailable(
                f"no Kafka broker has answered for {silent_seconds:.0f} seconds",
                hint="look at the brokers; then go on from where you were",
                bootstrap_servers=self._settings.bootstrap_servers,
            )

    def _demand_consumer(self) -> GrouplessConsumer:
        if self._consumer is None:
            raise Invalid("the tail is not started, or is stopped", hint="call `start` first")
        return self._consumer

    def _demand_view(self) -> ClusterView:
        if self._view is None:
            raise Invalid("the tail is not started, or is stopped", hint="call `start` first")
        return self._view
