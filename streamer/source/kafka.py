"""The Kafka source: a member of a consumer group that delivers what it is told to, from where it is told to.

Guards the consumer that it is made of, and replaces it when it stops working. It decides nothing about where to start,
what to keep or when to commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

import structlog
from aiokafka import errors as kafka_errors
from aiokafka.abc import ConsumerRebalanceListener

from streamer.clock import Clock, SystemClock
from streamer.errors import Invalid, StreamerError, Unavailable
from streamer.log_events import LogEvent
from streamer.records import RecordChunk, TopicPartition
from streamer.source import record_batches
from streamer.source.batch_reader import BatchReader
from streamer.source.client import await_broker, client_options
from streamer.source.cluster_view import ClusterView
from streamer.source.consumer import COPIES, Consumer
from streamer.source.contract import AssignmentHandler, Bounds, OutOfRange, Polled
from streamer.source.errors import translate
from streamer.source.getmany import GetmanyReader
from streamer.source.group_offsets import Token, commit_fenced, fetch_committed
from streamer.source.log_noise import thin_out_logs
from streamer.source.places import Places
from streamer.source.reader import Read, RecordReader
from streamer.source.settings import KafkaSettings
from streamer.source.watchdog import Watchdog
from streamer.workers import Workers

log = structlog.get_logger()

WATCH_SECONDS = 1.0
NO_TOKEN: Token = (-1, "")


class KafkaSource:
    """A `Source` over aiokafka. workers: where record batches are checked, decompressed and split."""

    def __init__(self, settings: KafkaSettings, workers: Workers, clock: Clock | None = None) -> None:
        self._settings = settings
        self._workers = workers
        self._clock = clock or SystemClock()
        self._topics: frozenset[str] = frozenset()
        self._missing: frozenset[str] = frozenset()
        self._handler: AssignmentHandler | None = None
        self._view: ClusterView | None = None
        self._consumer: Consumer | None = None
        self._reader: RecordReader | None = None
        self._watchdog: Watchdog | None = None
        self._watching: asyncio.Task[None] | None = None
        self._places = Places(self._clock)
        self._owned: tuple[TopicPartition, ...] = ()
        self._token = NO_TOKEN
        self._moving = True  # between `revoked` and the next `assigned` nothing is sought or delivered
        self._partition_fetch_bytes = settings.max_partition_fetch_bytes
        self._failure: Exception | None = None
        self._unwell_since: float | None = None
        self._restart_problem: str | None = None

    # what the pipeline calls

    async def start(self, topics: Collection[str], handler: AssignmentHandler) -> None:
        if self._handler is not None:
            raise Invalid("the source has been started already", hint="make a new one")
        self._topics, self._handler = frozenset(topics), handler
        thin_out_logs(self._clock)
        try:
            await await_broker(self._settings, self._clock)
            options = await asyncio.to_thread(client_options, self._settings)
            self._view = ClusterView(self._settings, self._clock, options)
            self._note_missing(await self._view.missing(self._topics))
            await self._open_consumer()
        except BaseException:
            await self.stop()
            raise
        self._watching = asyncio.create_task(self._watch(), name="kafka-watch")

    def missing_topics(self) -> frozenset[str]:
        return self._missing

    async def partitions(self) -> frozenset[TopicPartition]:
        return await self._demand_view().partitions(self._topics)

    async def cluster_id(self) -> str:
        return await self._demand_view().cluster_id()

    async def poll(self, wanted: Collection[TopicPartition], timeout_seconds: float) -> Polled:
        self._raise_failure()
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_seconds
        while True:
            left = max(0.0, until - loop.time())
            consumer, reader = self._consumer, self._reader
            if consumer is None or reader is None:
                await self._clock.sleep(left)
                return Polled()
            for partition, offset in self._places.due_again():
                if consumer.is_assigned(partition) and not self._moving:
                    consumer.read_from(partition, offset)
            asked = [] if self._moving else self._places.readable(wanted)
            try:
                read = await reader.read(asked, left)
            except kafka_errors.KafkaError as error:
                raise translate(error, "polling", group=self._settings.group_id) from error
            self._raise_failure()
            polled = Polled() if self._moving or reader is not self._reader else self._settle(consumer, read)
            if self._watchdog is not None:
                self._watchdog.polled(asked, [chunk.source for chunk in polled.chunks])
            if polled.chunks or polled.out_of_range or loop.time() >= until:
                return polled

    def seek(self, partition: TopicPartition, offset: int) -> None:
        if self._moving or self._consumer is None or self._reader is None or not self._consumer.is_assigned(partition):
            return
        self._consumer.read_from(partition, offset)
        self._reader.forget(partition, offset)
        self._places.sought(partition, offset)

    async def bounds(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, Bounds]:
        return await self._demand_view().bounds(partitions)

    async def committed(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        if self._consumer is None:
            raise Unavailable("asking for committed offsets: there is no consumer", hint="wait until it is connected again")
        return await fetch_committed(self._consumer, self._settings, partitions)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> bool:
        consumer = self._consumer
        if consumer is None or self._token == NO_TOKEN:
            return False
        if not offsets:
            return True
        return await commit_fenced(consumer, self._settings, self._clock, self._token, offsets)

    def end_offset(self, partition: TopicPartition) -> int | None:
        if self._consumer is None or not self._consumer.is_assigned(partition):
            return None
        return self._consumer.stable_end(partition)

    def health(self) -> str | None:
        if self._consumer is None or self._watchdog is None:
            return self._restart_problem or "the consumer is not connected"
        problem = self._watchdog.problem()
        return problem.sentence if problem else self._places.unreadable_sentence()

    def prefetch_bytes(self) -> int:
        return COPIES * len(self._owned) * self._partition_fetch_bytes + self._settings.poll_budget_bytes

    async def stop(self) -> None:
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.wait({watching})
        await self._close_consumer()
        view, self._view = self._view, None
        if view is not None:
            await view.close()

    # what aiokafka calls

    async def let_go(self) -> None:
        """The assignment is over: the handler has its time, then the places are forgotten."""
        self._moving = True
        owned, self._owned = self._owned, ()
        if self._reader is not None:
            self._reader.forget_all()
        if owned and self._handler is not None:
            try:
                async with asyncio.timeout(self._settings.revoke_timeout_seconds):
                    await self._handler.revoked(owned)
            except TimeoutError:
                log.warning(LogEvent.HANDOVER_CUT_SHORT, partitions=len(owned), seconds=self._settings.revoke_timeout_seconds)
            except Exception as error:  # noqa: BLE001 raised by the next poll: the group must not wait for it
                self._failure = error
        self._token = NO_TOKEN
        self._places.clear()

    def take_over(self, consumer: Consumer, partitions: Collection[TopicPartition]) -> None:
        """A new assignment. Nothing of it flows before it is sought: see `ParkedSubscription`."""
        if consumer is not self._consumer or self._handler is None:
            return
        self._owned = tuple(sorted(TopicPartition(*partition) for partition in partitions))
        self._token = consumer.token
        self._places.clear()
        self._partition_fetch_bytes = consumer.share_prefetch(len(self._owned))
        self._moving = False
        try:
            self._handler.assigned(self._owned)
        except Exception as error:  # noqa: BLE001 raised by the next poll: the group must not wait for it
            self._failure = error

    # inside

    def _settle(self, consumer: Consumer, read: Read) -> Polled:
        """Move the places on as far as was read, and rest those partitions that cannot be read further."""
        chunks: list[RecordChunk] = []
        for chunk in read.chunks:
            expected = self._places.next_offset(chunk.source)
            if expected == chunk.start:
                self._places.delivered(chunk.source, chunk.end)
                chunks.append(chunk)
            elif expected is not None and consumer.is_assigned(chunk.source):
                consumer.read_from(chunk.source, expected)
        lost: list[OutOfRange] = []
        for report in read.out_of_range:
            if self._places.next_offset(report.source) == report.offset and consumer.is_assigned(report.source):
                consumer.park(report.source)
                self._places.lost(report.source)
                lost.append(report)
        for fault in read.unreadable:
            offset = fault.offset if fault.offset is not None else self._places.next_offset(fault.source)
            if offset is not None and consumer.is_assigned(fault.source):
                consumer.park(fault.source)
                if self._places.unreadable(fault.source, offset, fault.reason):
                    log.error(
                        LogEvent.PARTITION_UNREADABLE,
                        topic=fault.source.topic,
                        partition=fault.source.partition,
                        offset=offset,
                        reason=fault.reason,
                    )
        return Polled(tuple(chunks), tuple(lost))

    async def _open_consumer(self) -> None:
        options = await asyncio.to_thread(client_options, self._settings)
        consumer = Consumer(self._settings, self._clock, options)
        try:
            async with asyncio.timeout(self._settings.start_timeout_seconds):
                await consumer.start()
        except BaseException as error:
            await consumer.stop_quietly()
            if isinstance(error, kafka_errors.KafkaError | OSError | TimeoutError):
                raise translate(error, "connecting", bootstrap_servers=self._settings.bootstrap_servers) from error
            raise
        self._consumer = consumer
        self._reader = self._choose_reader(consumer)
        self._watchdog = Watchdog(consumer, self._settings, self._clock)
        consumer.subscribe(sorted(self._topics), listener=_Listener(self, consumer))

    def _choose_reader(self, consumer: Consumer) -> RecordReader:
        settings = self._settings
        difference = None if settings.read_mode == "getmany" else record_batches.self_test()
        if difference is not None:
            if settings.read_mode == "batches":
                raise Invalid(f"this aiokafka is not the one known here: {difference}", hint='set read_mode to "auto"')
            log.warning(LogEvent.BATCH_READ_FALLBACK, difference=difference)
        if settings.read_mode == "getmany" or difference is not None:
            return GetmanyReader(consumer, self._clock, most_records=settings.getmany_records)
        return BatchReader(consumer, self._workers, self._clock, poll_budget_bytes=settings.poll_budget_bytes)

    async def _close_consumer(self) -> None:
        consumer, self._consumer = self._consumer, None
        reader, self._reader = self._reader, None
        self._watchdog, self._moving, self._token, self._owned = None, True, NO_TOKEN, ()
        if reader is not None:
            await reader.close()
        if consumer is not None:
            await consumer.stop_quietly()

    async def _watch(self) -> None:
        """Once a second: is the consumer well, have missing topics come; a new consumer where the old one is beyond help."""
        next_topics = next_stalls = self._clock.monotonic()
        try:
            while True:
                await self._clock.sleep(WATCH_SECONDS)
                now = self._clock.monotonic()
                if now >= next_topics:
                    await self._look_for_topics()
                    patience = self._settings
                    next_topics = now + (
                        patience.missing_topics_check_seconds if self._missing else patience.metadata_max_age_seconds
                    )
                if now >= next_stalls and self._watchdog is not None and self._view is not None:
                    await self._watchdog.look_for_stalls(self._view, self._places.next_offsets)
                    next_stalls = now + self._settings.unhealthy_after_seconds
                await self._replace_if_beyond_help()
        except Exception as error:  # noqa: BLE001 a bug: it ends the daemon by the next poll
            self._failure = error

    async def _look_for_topics(self) -> None:
        try:
            missing = await self._demand_view().missing(self._topics)
        except StreamerError:
            return  # the watchdog tells of silent brokers, and a topic taken from us shows in its fetches
        appeared = bool(self._missing - missing)
        self._note_missing(missing)
        if appeared and self._consumer is not None:
            # The group's leader notices new partitions by its metadata, which it would refresh only after a minute.
            self._consumer.client.force_metadata_update()

    def _note_missing(self, missing: frozenset[str]) -> None:
        for topic in sorted(missing - self._missing):
            log.warning(LogEvent.TOPIC_MISSING, topic=topic)
        self._missing = missing

    async def _replace_if_beyond_help(self) -> None:
        problem = self._watchdog.problem() if self._watchdog is not None else None
        well = problem is None or not problem.new_consumer_helps
        if self._consumer is not None and well:
            self._unwell_since = None
            return
        now = self._clock.monotonic()
        if self._unwell_since is None:
            self._unwell_since = now
        if now - self._unwell_since < self._settings.restart_after_seconds:
            return
        self._unwell_since = now
        log.error(LogEvent.KAFKA_RESTARTED, problem=problem.sentence if problem else self._restart_problem)
        await self.let_go()
        await self._close_consumer()
        try:
            await self._open_consumer()
        except StreamerError as error:
            self._restart_problem = error.message

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _demand_view(self) -> ClusterView:
        if self._view is None:
            raise Unavailable("the source is not connected", hint="start it, and ask before it is stopped")
        return self._view


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """aiokafka's callbacks of one consumer. One that has been replaced speaks to nobody."""

    def __init__(self, source: KafkaSource, consumer: Consumer) -> None:
        self._source = source
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self._source.let_go()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._consumer.assignor.on_generation_assignment(self._consumer.token[0])
        self._source.take_over(self._consumer, assigned)
