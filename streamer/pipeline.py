"""The heart: partitions come and go, records flow to their writers, memory stays within its budget.

With `partition.py`, the only code that knows the order of the steps. One loop polls for those partitions that can take
records; everything else (decoding, writing, committing) happens in the partitions' own tasks, so that no slow store ever
holds up the consumer's heartbeat.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import structlog

from streamer.catch_up import CatchUp
from streamer.clock import backoff_seconds
from streamer.components import Kit, Recipe
from streamer.errors import StreamerError, Unavailable
from streamer.log_events import LogEvent
from streamer.partition import PartitionWriter
from streamer.records import CutReason, TopicPartition
from streamer.source.contract import Polled
from streamer.streams import Stream

log = structlog.get_logger()

POLL_SECONDS = 0.25
"""The longest poll: how late the loop notices what nobody tells it."""

HOUSEKEEPING_SECONDS = 2.0

POLLED_NOTHING = Polled()


@dataclass(frozen=True, slots=True)
class Budgets:
    """How long a stop and a hand-over may take. Both are safe to overrun: what is not committed is read again."""

    stop_seconds: float = 25.0
    handover_seconds: float = 60.0  # below the consumer's rebalance timeout (120 s): past that the group moves on without us


class Pipeline:
    """Everything between the source and the lake, for the partitions that the group assigns to this process."""

    def __init__(self, streams: Collection[Stream], kit: Kit, budgets: Budgets, *, until_caught_up: bool = False) -> None:
        self._streams: Mapping[str, Stream] = {stream.topic: stream for stream in streams}
        self._recipes = {topic: Recipe(stream.layout, kit.make_decoder) for topic, stream in self._streams.items()}
        self._kit = kit
        self._budgets = budgets
        self._catch_up = CatchUp(kit) if until_caught_up else None
        self._writers: dict[TopicPartition, PartitionWriter] = {}
        self._tasks: dict[TopicPartition, asyncio.Task[None]] = {}
        self._leaving: dict[TopicPartition, asyncio.Task[None]] = {}  # being written to the end, no longer fed
        self._told: dict[TopicPartition, int] = {}
        self.unfinished: tuple[TopicPartition, ...] = ()  # at the stop: cut short by the budget, or refused
        self.refused_at_stop: Mapping[TopicPartition, StreamerError] = {}
        self._assigned_once = False
        self._kafka_problem: str | None = None
        self._failure: BaseException | None = None
        self._memory_full = False
        self._stopping = False

    # ---- what the daemon asks --------------------------------------------------------------------------------------------

    @property
    def refused(self) -> Mapping[TopicPartition, StreamerError]:
        """Partitions that wait for somebody's decision."""
        return {source: writer.refusal for source, writer in self._writers.items() if writer.refusal is not None}

    def problems(self) -> list[str]:
        """Why this process is not ready, one sentence each; empty when it is."""
        found = []
        if self._kafka_problem:
            found.append(self._kafka_problem)
        if not self._assigned_once:
            found.append("no assignment from the consumer group yet")
        found += [f"topic {topic} does not exist" for topic in sorted(self._kit.source.missing_topics())]
        for source, writer in sorted(self._writers.items()):
            if writer.refusal is not None:
                found.append(f"{source} is refused: {writer.refusal.message}; {writer.refusal.hint}")
            elif writer.trouble is not None:
                found.append(f"{source} waits: {writer.trouble}")
            elif not writer.running:
                found.append(f"{source} is being taken over")
        return found

    async def run(self, stop: asyncio.Event) -> None:
        """Archive until `stop` is set or, with `until_caught_up`, until the end offsets seen at the start are committed.

        Raises what the source cannot go on from, and any bug of a partition's task.
        """
        try:
            await self._kit.source.start(list(self._streams), self)
            chores = asyncio.create_task(self._keep_house(), name="housekeeping")
            chores.add_done_callback(self._watch)
            try:
                await self._poll_until(stop)
            finally:
                chores.cancel()
                await asyncio.gather(chores, return_exceptions=True)
            log.info(LogEvent.STOPPING, partitions=len(self._writers), budget_seconds=self._budgets.stop_seconds)
            self.refused_at_stop = dict(self.refused)
            self._stopping = True
            await self._close(list(self._writers), CutReason.STOP, self._budgets.stop_seconds)
        finally:
            self._stopping = True
            rest = [*self._tasks.values(), *self._leaving.values()]
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)
            await self._kit.histories.close()
            await self._kit.source.stop()
        if self._failure is not None:
            raise self._failure

    # ---- what the source says --------------------------------------------------------------------------------------------

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """Start a writer for each partition; it seeks by itself once it has taken over."""
        self._assigned_once = True
        if self._stopping:
            return  # a new writer would fence the one that is just bringing the last batch home
        for source in partitions:
            if source in self._tasks:
                self._tasks.pop(source).cancel()
            writer = PartitionWriter(source, self._streams[source.topic], self._recipes[source.topic], self._kit)
            self._writers[source] = writer
            task = asyncio.create_task(writer.run(), name=f"write {source}")
            task.add_done_callback(self._watch)
            self._tasks[source] = task
        self._kit.budget.reserve(self._kit.source.prefetch_bytes())

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Write and commit what was read, as far as the time allows, and forget the rest."""
        await self._close(partitions, CutReason.REVOKED, self._budgets.handover_seconds)

    # ---- the loop --------------------------------------------------------------------------------------------------------

    async def _poll_until(self, stop: asyncio.Event) -> None:
        failures = 0
        while not stop.is_set() and self._failure is None:
            try:
                if self._catch_up is not None and await self._caught_up(self._catch_up):
                    log.info(LogEvent.CAUGHT_UP)
                    return
                polled = await self._poll()
            except Unavailable as error:
                self._kafka_problem = str(error)
                await self._kit.clock.sleep(self._kit.clock.jitter(backoff_seconds(failures)))
                failures += 1
                continue
            failures = 0
            for chunk in polled.chunks:
                if (writer := self._writers.get(chunk.source)) is not None:
                    writer.offer(chunk)
            for lost in polled.out_of_range:
                if (writer := self._writers.get(lost.source)) is not None:
                    writer.position_lost()

    async def _poll(self) -> Polled:
        """Records of the partitions that want some now; nothing as soon as others want some, too, or after a while."""
        freed = self._kit.freed
        freed.clear()
        polling = asyncio.create_task(self._kit.source.poll(self._wanted(), POLL_SECONDS), name="poll")
        waiting = asyncio.create_task(freed.wait(), name="poll anew")
        try:
            await asyncio.wait({polling, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (polling, waiting):
                task.cancel()
            await asyncio.wait({polling, waiting})
        return POLLED_NOTHING if polling.cancelled() else polling.result()

    def _wanted(self) -> list[TopicPartition]:
        """Partitions to ask for, after open batches have been cut as the memory budget demands."""
        budget, writers = self._kit.budget, self._writers
        if budget.pressed:
            open_batches = [(source, writer.open_bytes) for source, writer in writers.items()]
            for source in budget.victims(open_batches, sum(writer.writing_bytes for writer in writers.values())):
                writers[source].cut(CutReason.MEMORY)
        wanting = [source for source, writer in writers.items() if writer.wants_records]
        if budget.full != self._memory_full:
            self._memory_full = budget.full
            if budget.full:
                log.info(LogEvent.MEMORY_FULL, used_bytes=budget.used_bytes, budget_bytes=budget.budget_bytes)
        if not budget.full:
            return wanting
        # A sealed range can only be freed by reading it to its end: one at a time, so that many of them cannot wait for
        # each other's memory for ever.
        return sorted(source for source in writers if writers[source].recovering and source in wanting)[:1]

    async def _caught_up(self, catch_up: CatchUp) -> bool:
        """Whether what was in the topics at the start is in the lake. A topic that is missing counts as empty."""
        if not self._assigned_once:
            return self._kit.source.missing_topics() >= set(self._streams)
        return await catch_up.reached(self._writers)

    async def _close(self, partitions: Collection[TopicPartition], reason: CutReason, seconds: float) -> None:
        """End the writers of `partitions`, all within one deadline, and tell Kafka where they got to.

        A stop in the middle of a hand-over waits for what is leaving already, and a hand-over in the middle of a stop too.
        """
        tasks = {source: self._tasks.pop(source) for source in partitions if source in self._tasks}
        writers = {source: self._writers.pop(source) for source in tasks}
        for writer in writers.values():
            writer.close(reason)
        self._leaving |= tasks
        if self._leaving:
            try:
                await asyncio.wait(list(self._leaving.values()), timeout=seconds)
            finally:
                # Overdue, or the source has cut the hand-over short: nobody would look after them any more.
                for task in tasks.values():
                    task.cancel()
                await asyncio.gather(*tasks.values(), return_exceptions=True)
                for source, task in tasks.items():
                    if self._leaving.get(source) is task:
                        del self._leaving[source]
        offsets = {source: offset for source, writer in writers.items() if (offset := writer.released_at) is not None}
        await self._tell_kafka(offsets)
        self.unfinished = tuple(sorted(set(writers) - set(offsets)))
        for source in writers:
            self._told.pop(source, None)

    async def _keep_house(self) -> None:
        """What has to be done now and then: Kafka's copy of the position, and the gauges."""
        while True:
            await self._kit.clock.sleep(HOUSEKEEPING_SECONDS)
            offsets = {source: writer.kafka_offset for source, writer in self._writers.items()}
            await self._tell_kafka({source: offset for source, offset in offsets.items() if offset is not None})
            self._measure()
            for writer in self._writers.values():
                writer.look_at_clock()
            problem = self._kit.source.health()
            if problem != self._kafka_problem:
                event = LogEvent.KAFKA_UNHEALTHY if problem else LogEvent.KAFKA_HEALTHY
                (log.error if problem else log.info)(event, problem=problem)
                self._kafka_problem = problem

    async def _tell_kafka(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Advice for lag monitors; nothing depends on it."""
        news = {source: offset for source, offset in offsets.items() if self._told.get(source) != offset}
        if not news:
            return
        try:
            accepted = await self._kit.source.commit(news)
        except StreamerError:
            accepted = False
        if accepted:
            self._told.update(news)
        else:
            log.debug(LogEvent.KAFKA_COMMIT_REFUSED, partitions=len(news))

    def _measure(self) -> None:
        metrics, budget, now = self._kit.metrics, self._kit.budget, self._kit.clock.monotonic()
        metrics.budget_bytes.set(budget.budget_bytes)
        metrics.buffered_bytes.set(budget.used_bytes)
        metrics.owned.set(sum(writer.running for writer in self._writers.values()))
        metrics.refused.set(len(self.refused))
        oldest = [writer.oldest_at for writer in self._writers.values()]
        metrics.oldest_seconds.set(max((now - at for at in oldest if at is not None), default=0.0))
        for source, writer in self._writers.items():
            end = self._kit.source.end_offset(source)
            if end is not None and writer.committed is not None:
                labels = (writer.stream.name, source.topic, str(source.partition))
                metrics.lag.labels(*labels).set(max(0, end - (writer.kafka_offset or writer.committed)))

    def _watch(self, task: asyncio.Task[None]) -> None:
        """A task that dies of a bug ends the process: better restarted than limping."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error(LogEvent.TASK_DIED, task=task.get_name(), error=repr(error))
            self._failure = self._failure or error
