"""One partition, from assignment to release: take over, recover, read, decode, batch, seal, write, commit.

With `pipeline.py`, the only code that knows the order of the steps. The rule it keeps is DESIGN's: the lake owns the
position. Every failure drops what is believed and reads the position back; nothing here is true because it was intended.
Two coroutines share the work: `_fill` turns chunks into the open batch, `_drain` closes it and writes it, so that one
batch is written while the next is being filled, and never more than that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from streamer.alerts import Alert
from streamer.batch.open_batch import OpenBatch
from streamer.clock import backoff_seconds
from streamer.commit.identity import check_last_record, check_topic
from streamer.commit.ownership import Ownership
from streamer.commit.position import Position
from streamer.components import Kit, Recipe
from streamer.cut import RETRIED, CutBatch, CutSteps, StartOver
from streamer.errors import Damaged, Fenced, PartitionRefused, StreamerError, Unavailable
from streamer.log_events import LogEvent
from streamer.partition_quality import PartitionQuality
from streamer.records import CutReason, RecordChunk, TopicPartition
from streamer.source.contract import Bounds
from streamer.streams import Stream

log = structlog.get_logger()

LOOK_AGAIN_SECONDS = 30.0
"""How often a refused partition looks whether somebody has decided."""

LAST_RECORD_SECONDS = 15.0
"""How long the end of a partition waits for the last committed record to be seen again. A record that is gone, with nothing
behind it, never comes and proves nothing."""


class PartitionWriter:
    """Owns one partition while it is assigned to this process. `run` is its life; the rest is called by the pipeline."""

    def __init__(self, source: TopicPartition, stream: Stream, recipe: Recipe, kit: Kit) -> None:
        self.source = source
        self.stream = stream
        self.refusal: PartitionRefused | Damaged | None = None
        self._kit = kit
        self._mine = recipe
        self._recipe = recipe
        self._log = log.bind(stream=stream.name, topic=source.topic, partition=source.partition)
        self._labels = (stream.name, source.topic, str(source.partition))
        self._ownership = Ownership(kit.store, source, writer=kit.clock.token(), host=kit.host, clock=kit.clock)
        self._history = kit.histories.of(stream, source)
        self._quality = PartitionQuality(source, stream, kit.metrics, kit.alerts, kit.budget)
        self._steps = CutSteps(source, stream, self._ownership, kit, self._pause, self._history, self._quality)
        self._open = OpenBatch(source, 0, 0)
        self._running = False
        self._expected = -1  # the offset at which the next chunk must start
        self._began_at = 0.0
        self._boundary: int | None = None  # the end of a range sealed by an earlier owner
        self._lost_below = 0  # Kafka no longer has offsets of the sealed range below this
        self._incoming: RecordChunk | None = None
        self._filling = False
        self._incoming_bytes = 0  # memory of the chunk that waits; a record costs its bytes and its objects
        self._filling_bytes = 0  # of the one being decoded
        self._due: CutReason | None = None
        self._writing: CutBatch | None = None
        self._closing: CutReason | None = None
        self._released_at: int | None = None
        self._reseek = False
        self._through_due = False
        self._wake = asyncio.Event()
        self._unknown_told: frozenset[str] = frozenset()

    # ---- what the pipeline asks and says ---------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether this process owns the partition now."""
        return self._running

    @property
    def trouble(self) -> StreamerError | None:
        """Why the partition does not move on, None while it does."""
        return self._steps.trouble

    @property
    def wants_records(self) -> bool:
        """Whether a chunk may be offered: one may wait while the one before it is decoded."""
        return self._running and self._incoming is None and self._closing is None and not self._reseek

    @property
    def recovering(self) -> bool:
        """Whether a range sealed by an earlier owner is being read: it cannot be cut shorter to save memory."""
        return self._running and self._boundary is not None

    @property
    def read_to(self) -> int | None:
        """Every record below this offset has been read, recognised and decoded; None while that is not known."""
        if not self._running or self._incoming is not None or self._filling:
            return None
        if self._kit.clock.monotonic() - self._began_at < LAST_RECORD_SECONDS:
            return min(self._expected, self._open.end)
        return self._open.end

    @property
    def kafka_offset(self) -> int | None:
        """What Kafka may be told: the position, or beyond it where nothing was there to write."""
        if not self._running:
            return None
        idle = self._open.empty and self._writing is None and self._boundary is None
        return self._open.end if idle else self._ownership.position.committed

    @property
    def open_bytes(self) -> int:
        """Memory of the open batch, as far as cutting it would free it."""
        return self._open.size_bytes if self._running and self._boundary is None and self._due is None else 0

    @property
    def writing_bytes(self) -> int:
        """Memory that batches on their way to the lake, or about to go, will free."""
        writing = self._writing.batch.size_bytes if self._writing else 0
        return writing + (self._open.size_bytes if self._due else 0)

    @property
    def released_at(self) -> int | None:
        """What Kafka may be told after `run` has ended; None where the partition was never owned."""
        return self._released_at

    @property
    def oldest_at(self) -> float | None:
        """When the oldest record not yet committed came, monotonic seconds."""
        written = self._writing.batch.first_at if self._writing else None
        return written if written is not None else self._open.first_at

    @property
    def committed(self) -> int | None:
        """The position's `committed`; None before the take-over."""
        return self._ownership.position.committed if self._running else None

    def offer(self, chunk: RecordChunk) -> None:
        """Hand over the next chunk. Call only while `wants_records`."""
        if chunk.start != self._expected or not self.wants_records:
            # Fetched before a seek of ours took effect, or wanted no longer: the source must read it again.
            self._kit.source.seek(self.source, self._expected)
            return
        self._expected = chunk.end
        self._incoming = chunk
        self._incoming_bytes = chunk.size_bytes
        self._hold()
        self._wake.set()

    def cut(self, reason: CutReason) -> None:
        """Close the open batch soon, if there is anything in it."""
        if self._running and self._boundary is None and not self._open.empty and self._due is None:
            self._due = reason
            self._wake.set()

    def look_at_clock(self) -> None:
        """While nothing is under way: move `through` on if a day has ended, and notice symbols that have fallen silent. Nothing
        else would say either."""
        if not self._idle:
            return
        if self._steps.through_due() is not None:
            self._through_due = True
            self._wake.set()
        if (end := self._kit.source.end_offset(self.source)) is not None and end <= self._open.end:
            self._quality.look_at_clock(round(self._kit.clock.now().timestamp() * 1000))

    @property
    def _idle(self) -> bool:
        """Whether this process owns the partition and holds nothing of it."""
        nothing = not self._filling and self._open.empty and self._writing is None
        return self.wants_records and nothing and self._boundary is None

    def position_lost(self) -> None:
        """Kafka does not have the offset that comes next: write what was read, then look at the bounds again."""
        self._reseek = True
        self._wake.set()

    def close(self, reason: CutReason) -> None:
        """Cut, write and commit what was read, then end `run`. What has not been decoded is left to the next owner."""
        self._closing = reason
        self._wake.set()

    # ---- the life of a partition -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Own the partition until `close`. Raises only for a bug."""
        attempt = 0
        try:
            while self._closing is None:
                try:
                    await self._own()
                    attempt = 0
                    await self._archive()
                    self._released_at = self.kafka_offset
                    if self._history is not None:
                        await self._history.release(last=self._closing is CutReason.STOP)
                except StartOver:
                    self._drop()
                except Fenced as fenced:
                    self._drop()
                    self._kit.metrics.fenced.labels(*self._labels).inc()
                    self._log.warning(LogEvent.PARTITION_FENCED, by=fenced.message)
                    await self._pause(backoff_seconds(attempt, first=1.0))
                    attempt += 1
                except (PartitionRefused, Damaged) as refusal:
                    self._drop()
                    self._refuse(refusal)
                    await self._pause(LOOK_AGAIN_SECONDS)
                except RETRIED as error:
                    self._drop()
                    self._steps.in_trouble(error)
                    await self._pause(backoff_seconds(attempt))
                    attempt += 1
        finally:
            self._drop()
            self._kit.metrics.forget_partition(*self._labels)
            if self._history is not None:
                self._history.forget_metrics()
            self._log.info(LogEvent.PARTITION_RELEASED)

    async def _own(self) -> None:
        kit, ownership, layout = self._kit, self._ownership, self._mine.layout
        found = await ownership.look()
        cluster_id = await kit.source.cluster_id()
        bounds = (await kit.source.bounds([self.source])).get(self.source)
        if bounds is None:
            raise Unavailable(
                "Kafka does not know the partition (any more)", topic=self.source.topic, partition=self.source.partition
            )
        self._recipe = self._mine
        if found is None:
            try:
                await kit.written.refuse_if_written(self.stream.name, self.source)
            except PartitionRefused:
                if await ownership.look() is None:
                    raise
                raise StartOver from None  # another owner made the position, and files, since we looked
            await kit.layouts.ensure(layout)
            start = await self._first_offset(bounds)
            position = await ownership.create(cluster_id=cluster_id, start=start, layout=layout.fingerprint)
        else:
            check_topic(found, cluster_id=cluster_id, beginning=bounds.beginning, end=bounds.end)
            if found.writing and found.layout != layout.fingerprint:
                # A sealed range is finished under the layout recorded with its seal, whatever is configured now.
                recorded = await kit.layouts.load(found.layout, topic=self.source.topic, partition=self.source.partition)
                self._recipe = Recipe(recorded, kit.make_decoder)
            position = await ownership.take_over()
        if not position.writing and bounds.beginning > position.committed:
            gap = self._steps.gap(position.committed, bounds.beginning, "retention")
            position = await ownership.skip(gap)
        history_from = position.committed
        if self._history is not None:
            history_from = await self._history.restore(position, bounds.beginning)
        self._begin(position, bounds, history_from)

    async def _first_offset(self, bounds: Bounds) -> int:
        """Where a partition starts that the lake knows nothing of: the only time that Kafka's committed offset counts."""
        if self._kit.start_from == "latest":
            return bounds.end
        if self._kit.start_from == "committed":
            committed = (await self._kit.source.committed([self.source])).get(self.source)
            if committed is not None:
                return min(max(committed, bounds.beginning), bounds.end)
        return bounds.beginning

    def _begin(self, position: Position, bounds: Bounds, history_from: int) -> None:
        """Start reading at `committed`, or at the last committed record where Kafka still has it, to recognise the topic, or
        where the feature history has to go on."""
        # Partitions are taken over together. If their first batches were of one age, all would be written at once, for ever.
        self._open = OpenBatch(self.source, position.committed, position.lineage, self._kit.clock.jitter(1.0))
        self._boundary = position.sealed if position.writing else None
        self._lost_below = min(bounds.beginning, position.sealed)
        start = max(position.committed, bounds.beginning)
        if position.last is not None and bounds.beginning <= position.last.offset < position.committed:
            start = position.last.offset
        if bounds.beginning <= history_from < position.committed:
            start = min(start, history_from)
        self._expected, self._began_at = start, self._kit.clock.monotonic()
        self._running = True
        self.refusal = None
        self._kit.source.seek(self.source, start)
        self._kit.freed.set()
        self._steps.well()
        self._log.info(LogEvent.PARTITION_TAKEN, committed=position.committed, epoch=position.epoch, lineage=position.lineage)
        if self._boundary is not None:
            self._log.info(LogEvent.RECOVERING, start=position.committed, end=self._boundary, layout=position.layout)
            if start >= self._boundary:
                # Nothing of the range is left. What Kafka lost behind it is a gap of its own, found by starting over.
                self._open.end, self._due = self._boundary, CutReason.RECOVERY
                self._reseek = start > self._boundary

    def _drop(self) -> None:
        """Forget everything in memory: what counts is in the lake and in Kafka."""
        self._running = self._reseek = self._filling = False
        self._incoming = self._writing = self._due = self._boundary = None
        self._incoming_bytes = self._filling_bytes = 0
        self._open = OpenBatch(self.source, 0, 0)
        self._kit.budget.forget(self.source)
        self._quality.drop()
        if self._history is not None:
            self._history.drop()

    def _refuse(self, refusal: PartitionRefused | Damaged) -> None:
        if self.refusal is None or str(self.refusal) != str(refusal):
            self._log.error(LogEvent.PARTITION_REFUSED, problem=refusal.message, hint=refusal.hint, **refusal.context)
            where = {"stream": self.stream.name, "topic": self.source.topic, "partition": self.source.partition}
            fields = where | {"problem": refusal.message, "hint": refusal.hint}
            self._kit.alerts.send(Alert(LogEvent.PARTITION_REFUSED, f"{self.source}/refused", fields))
        self.refusal = refusal

    # ---- filling and draining --------------------------------------------------------------------------------------------

    async def _archive(self) -> None:
        """Fill and drain until closed."""
        works = [asyncio.create_task(self._fill(), name=f"fill {self.source}")]
        if self._history is not None:
            works.append(asyncio.create_task(self._history.keep_saving(), name=f"save history {self.source}"))
        for work in works:
            work.add_done_callback(lambda _: self._wake.set())
        try:
            await self._drain(works)
        finally:
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)

    async def _fill(self) -> None:
        while True:
            while self._incoming is None:
                await self._changed()
            chunk, self._incoming, self._filling = self._incoming, None, True
            self._filling_bytes, self._incoming_bytes = self._incoming_bytes, 0
            self._kit.freed.set()
            check_last_record(self._ownership.position, chunk)
            below, rest = chunk.split(self._open.end)
            if self._history is not None and self._history.catching_up:
                await self._history.catch_up(below, self._mine.decoder)
                self._began_at = self._kit.clock.monotonic()
            while rest.end > self._open.end:
                part, rest = self._fitting(rest)
                await self._decode(part)
                # The open batch may be closed now; what is left of the chunk belongs to the next one.
                while self._due is not None:
                    await self._changed()
            self._filling, self._filling_bytes = False, 0
            self._hold()
            self._wake.set()

    def _fitting(self, chunk: RecordChunk) -> tuple[RecordChunk, RecordChunk]:
        """The part of `chunk` that belongs to the open batch, and the rest."""
        if self._boundary is not None:
            return chunk.split(self._boundary)
        room = self._open.room(self.stream.cut)
        return chunk.split(chunk.offsets[room] if room < len(chunk) else chunk.end)

    async def _decode(self, chunk: RecordChunk) -> None:
        kit, began = self._kit, self._kit.clock.monotonic()
        decoded = await kit.workers.run(self._recipe.decoder.decode, chunk)
        now = kit.clock.monotonic()
        self._open.add(chunk, decoded, now)
        self._hold()
        kit.metrics.step_seconds.labels("decode").observe(now - began)
        kit.metrics.records.labels(*self._labels).inc(len(chunk))
        kit.metrics.slow_records.labels(self.stream.name).inc(decoded.slow_records)
        kit.metrics.dropped_fields.labels(self.stream.name).inc(decoded.dropped_fields)
        if (new := frozenset(decoded.unknown_fields) - self._unknown_told) and len(self._unknown_told) < 50:
            self._unknown_told |= new
            self._log.warning(LogEvent.UNKNOWN_FIELDS, fields=sorted(new)[:20], hint=f"streamer columns {self.source.topic}")
        if self._boundary is not None:
            self._due = CutReason.RECOVERY if self._open.end >= self._boundary else None
        elif self._due is None:
            self._due = self._open.due(self.stream.cut, now)
        self._wake.set()

    async def _drain(self, works: Sequence[asyncio.Task[None]]) -> None:
        following: CutBatch | None = None
        while True:
            if following is None:
                if (reason := await self._next_cut(works)) is None:
                    return
                following = self._take(reason)
            self._writing, following = following, None
            following = await self._steps.persist(self._writing, self._take_if_due)
            self._writing = None
            self._hold()
            self._kit.freed.set()
            self._wake.set()

    async def _next_cut(self, works: Sequence[asyncio.Task[None]]) -> CutReason | None:
        """Wait until the open batch must be closed; None where there is nothing more to close."""
        while True:
            for work in works:
                if work.done():
                    work.result()
            if self._due is not None:
                return self._due
            leaving = self._closing or (CutReason.RESEEK if self._reseek else None)
            if leaving is not None and not self._filling:
                # A range that an earlier owner sealed is cut where the seal says or not at all: the next owner reads it again.
                if not self._open.empty and self._boundary is None:
                    return leaving
                if self._closing is None:
                    raise StartOver
                return None
            if self._through_due:
                self._through_due = False
                if self._idle and (through := self._steps.through_due()) is not None and (read_to := self.read_to) is not None:
                    await self._steps.advance_through(through, read_to)
                    continue
            now, due_at = self._kit.clock.monotonic(), None
            if self._boundary is None:
                if (reason := self._open.due(self.stream.cut, now)) is not None:
                    return reason
                due_at = self._open.due_at(self.stream.cut)
            await self._changed(None if due_at is None else due_at - now)

    def _take(self, reason: CutReason) -> CutBatch:
        """Close the open batch and begin the next one where it ends."""
        batch = self._open
        lost_below = self._lost_below if self._boundary is not None else 0
        cut = CutBatch(batch, reason, self._recipe, lost_below)
        self._open = OpenBatch(self.source, batch.end, batch.lineage, 1.0 if reason is CutReason.AGE else batch.age_share)
        self._boundary, self._recipe, self._due = None, self._mine, None
        self._kit.budget.hold(self.source, ("cut", batch.start), batch.size_bytes)
        self._hold()
        self._wake.set()
        return cut

    def _take_if_due(self, committing: CutBatch) -> CutBatch | None:
        """The next batch, if it is closed already, so that one PUT can commit this batch and seal that one."""
        if self._due is None or self._recipe is not committing.recipe or self._open.empty:
            return None
        return self._take(self._due)

    # ---- small things ----------------------------------------------------------------------------------------------------

    def _hold(self) -> None:
        """Tell the budget what this partition holds."""
        self._kit.budget.hold(self.source, "chunk", self._incoming_bytes + self._filling_bytes)
        self._kit.budget.hold(self.source, "open", self._open.size_bytes)

    async def _changed(self, seconds: float | None = None) -> None:
        """Wait until something about this partition changed, at most `seconds`."""
        self._wake.clear()
        if seconds is not None and seconds <= 0:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _pause(self, seconds: float) -> None:
        """Wait before another try; shorter while closing, when the pipeline's own deadline ends it."""
        ends = self._kit.clock.monotonic() + self._kit.clock.jitter(seconds)
        if self._closing is not None:
            await self._kit.clock.sleep(min(1.0, seconds))
        while self._closing is None and (left := ends - self._kit.clock.monotonic()) > 0:
            await self._changed(left)
