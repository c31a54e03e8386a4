"""A closed batch on its way to the lake: seal, write, commit, in this order, until it is there or somebody else owns it.

Each step may be done again after any failure, by this process or by the next: sealing is on record, files are create-only
under names the range decides, and a commit is settled by reading back. A failure never changes the batch.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from streamer.alerts import Alert
from streamer.batch.open_batch import OpenBatch
from streamer.clock import backoff_seconds
from streamer.commit.ownership import Ownership
from streamer.commit.position import Gap, GapReason, LastRecord
from streamer.components import Kit, Recipe
from streamer.errors import Conflict, Denied, Invalid, NotFound, PartitionRefused, StreamerError, Unavailable
from streamer.features.last_rows import LastRows
from streamer.features.partition_history import PartitionHistory
from streamer.layout import TIMESTAMP
from streamer.log_events import LogEvent
from streamer.partition_quality import Looked, PartitionQuality
from streamer.records import CutReason, TopicPartition
from streamer.streams import Stream
from streamer.upload import Uploaded
from streamer.write.batch_files import BatchPlan

log = structlog.get_logger()

RETRIED = (Unavailable, Denied, Invalid, NotFound, Conflict)
"""What a running partition waits out: a store that is away, rotated credentials, a bucket policy under repair. At start the
same errors end the process, because then somebody is watching."""

REPEAT_LOG_SECONDS = 60.0

THROUGH_MARGIN_SECONDS = 10.0
"""How far behind the clock `through` stays where it moves without a record: what was sent before may be on its way."""


class StartOver(Exception):
    """What is in memory does not fit what the lake or Kafka says: look at both again."""


@dataclass(slots=True)
class CutBatch:
    """A closed batch. `lost_below`: Kafka lost offsets of the range below this before they were written."""

    batch: OpenBatch
    reason: CutReason
    recipe: Recipe
    lost_below: int = 0
    gap: Gap | None = None
    plan: BatchPlan | None = None
    uploaded: Uploaded | None = None
    newest_event: datetime | None = None
    history: LastRows | None = None
    quality: Looked | None = None
    seconds: dict[str, float] = field(default_factory=dict)


class CutSteps:
    """The steps of one partition's cuts, and what keeps them from going on.

    `trouble` is the newest error while steps fail, None while they work.
    """

    def __init__(
        self,
        source: TopicPartition,
        stream: Stream,
        ownership: Ownership,
        kit: Kit,
        pause: Callable[[float], Awaitable[None]],
        history: PartitionHistory | None,
        quality: PartitionQuality,
    ) -> None:
        self.trouble: StreamerError | None = None
        self._source = source
        self._stream = stream
        self._ownership = ownership
        self._kit = kit
        self._pause = pause
        self._history = history
        self._quality = quality
        self._log = log.bind(stream=stream.name, topic=source.topic, partition=source.partition)
        self._labels = (stream.name, source.topic, str(source.partition))
        self._logged: tuple[str, float] = ("", 0.0)

    async def persist(self, cut: CutBatch, take_next: Callable[[CutBatch], CutBatch | None]) -> CutBatch | None:
        """Bring `cut` into the lake, however long that takes.

        take_next: asked before the commit for the next batch, if that is closed already; it is then sealed by the same PUT
        and returned. Raises `Fenced`, `PartitionRefused`, `Damaged`, and `StartOver` where another cut of ours is on record.
        """
        following: CutBatch | None = None
        attempt, stale = 0, False
        while True:
            try:
                if stale:
                    await self._ownership.refresh()
                if self._ownership.position.committed < cut.batch.end:  # else our commit landed, though its answer was lost
                    await self._timed("seal", cut, self._seal(cut))
                    await self._timed("write", cut, self._write(cut))
                    following = following or take_next(cut)
                    await self._timed("commit", cut, self._commit(cut, following))
                break
            except RETRIED as error:
                stale = True
                self.in_trouble(error)
                await self._pause(backoff_seconds(attempt))
                attempt += 1
            except PartitionRefused:
                await self._ownership.refresh()  # a successor for whom Kafka had less than for us is no reason to refuse
                raise
        if self._history is not None:
            self._history.feed(cut.history, cut.batch.end)
        self.well()
        self._report(cut)
        if cut.quality is not None:
            self._quality.committed(cut.quality, cut.batch.start, cut.batch.end)
        return following

    async def _seal(self, cut: CutBatch) -> None:
        layout, position = cut.recipe.layout, self._ownership.position
        if not position.writing:
            await self._kit.layouts.ensure(layout)
            position = await self._ownership.seal(cut.batch.end, layout.fingerprint)
        if (position.committed, position.sealed, position.layout) != (cut.batch.start, cut.batch.end, layout.fingerprint):
            raise StartOver

    async def _write(self, cut: CutBatch) -> None:
        batch, run = cut.batch, self._kit.workers.run
        if cut.uploaded is not None or batch.empty:
            return
        if self._history is not None and cut.history is None:
            cut.history = await self._history.prepare(batch.tables)
        if cut.plan is None:
            cut.newest_event = await run(newest_event, batch.tables)
            cut.quality = await run(self._quality.look, batch.tables, batch.dead_letters, cut.recipe.layout)
            # Parting the rows by path copies them, and for that moment they are there twice.
            self._kit.budget.hold(self._source, ("cut", batch.start), 2 * batch.size_bytes)
            cut.plan = await self._timed(
                "plan", cut, run(cut.recipe.writer.plan, batch.range, batch.tables, batch.dead_letters)
            )
            batch.tables.clear()
            self._kit.budget.hold(self._source, ("cut", batch.start), batch.size_bytes)
        # Retention took the head of a range sealed before, or compaction some of it: whoever wrote it then may have had more.
        forgotten = cut.lost_below > batch.start or batch.records < batch.end - batch.start
        cut.uploaded = await self._kit.uploads.write(cut.plan, head_lost=forgotten)
        cut.plan = None
        self._kit.budget.hold(self._source, ("cut", batch.start), 0)
        batch.size_bytes = 0

    async def _commit(self, cut: CutBatch, following: CutBatch | None) -> None:
        batch, tail = cut.batch, cut.batch.tail
        if cut.gap is None:  # told and counted once, however often the commit is tried
            if batch.empty:
                cut.gap = self.gap(batch.start, batch.end, "retention" if cut.lost_below > batch.start else "empty")
            elif cut.lost_below > batch.start:
                cut.gap = self.gap(batch.start, cut.lost_below, "retention")
        await self._ownership.commit(
            last=LastRecord(tail.offset, tail.timestamp, tail.crc) if tail else None,
            through=self._through(cut),
            gap=cut.gap,
            next_end=following.batch.end if following else None,
        )

    def _through(self, cut: CutBatch) -> datetime | None:
        """Event time up to which the partition is complete: the clock where nothing waits in Kafka, else what was seen."""
        end = self._kit.source.end_offset(self._source)
        caught_up = end is not None and end <= cut.batch.end
        seen = self._kit.clock.now() if caught_up else cut.newest_event
        return seen - timedelta(seconds=self._stream.allowed_lateness_seconds) if seen else None

    def through_due(self) -> datetime | None:
        """What `through` would become if nothing waits in Kafka, where that reaches a day that it has not reached before."""
        position = self._ownership.position
        if position.writing:
            return None
        now = self._kit.clock.now() - timedelta(seconds=self._stream.allowed_lateness_seconds + THROUGH_MARGIN_SECONDS)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return now if position.through is None or position.through < midnight else None

    async def advance_through(self, through: datetime, read_to: int) -> None:
        """Move `through`, if Kafka says now that it has nothing beyond `read_to`. Failing is no trouble: it is tried again."""
        try:
            bounds = (await self._kit.source.bounds([self._source])).get(self._source)
            if bounds is not None and bounds.end <= read_to:
                await self._ownership.advance(through)
        except RETRIED as error:
            self._log.info(LogEvent.THROUGH_WAITS, problem=error.message)
            await self._ownership.refresh()

    def gap(self, start: int, end: int, reason: GapReason) -> Gap:
        """A gap for the position, and the noise that must go with it."""
        self._log.error(LogEvent.GAP, start=start, end=end, reason=reason)
        self._kit.metrics.gap_offsets.labels(*self._labels).inc(end - start)
        where = {"stream": self._stream.name, "topic": self._source.topic, "partition": self._source.partition}
        fields = where | {"start": start, "end": end, "reason": reason}
        self._kit.alerts.send(Alert(LogEvent.GAP, f"{self._source}/gap", fields))
        return Gap(start, end, reason, self._kit.clock.now().isoformat(timespec="seconds"))

    def in_trouble(self, error: StreamerError) -> None:
        """A step failed and will be tried again."""
        self.trouble = error
        self._kit.metrics.retries.labels(*self._labels).inc()
        message, now = str(error), self._kit.clock.monotonic()
        if message != self._logged[0] or now - self._logged[1] >= REPEAT_LOG_SECONDS:
            self._logged = (message, now)
            self._log.warning(LogEvent.PARTITION_RETRIES, problem=error.message, hint=error.hint, **error.context)

    def well(self) -> None:
        """The steps work."""
        if self.trouble is not None:
            self._log.info(LogEvent.PARTITION_RECOVERED, after=self.trouble.message)
        self.trouble, self._logged = None, ("", 0.0)

    async def _timed(self, step: str, cut: CutBatch, work: Awaitable[Any]) -> Any:
        began = self._kit.clock.monotonic()
        try:
            return await work
        finally:
            took = self._kit.clock.monotonic() - began
            cut.seconds[step] = cut.seconds.get(step, 0.0) + took
            self._kit.metrics.step_seconds.labels(step).observe(took)

    def _report(self, cut: CutBatch) -> None:
        batch, metrics = cut.batch, self._kit.metrics
        metrics.committed.labels(*self._labels).set(batch.end)
        if cut.uploaded is None:
            return
        rows = batch.records - len(batch.dead_letters)
        metrics.rows.labels(*self._labels).inc(rows)
        metrics.batches.labels(*self._labels, cut.reason).inc()
        metrics.files.labels(self._stream.name).inc(cut.uploaded.files)
        metrics.bytes.labels(self._stream.name).inc(cut.uploaded.size_bytes)
        reasons: dict[str, int] = {}
        for letter in batch.dead_letters:
            reasons[letter.reason] = reasons.get(letter.reason, 0) + 1
        for reason, count in reasons.items():
            metrics.dead_letters.labels(*self._labels, reason).inc(count)
        self._log.info(
            LogEvent.BATCH_COMMITTED,
            start=batch.start,
            end=batch.end,
            rows=rows,
            dead_letters=len(batch.dead_letters),
            files=cut.uploaded.files,
            bytes=cut.uploaded.size_bytes,
            reason=cut.reason,
            seconds={step: round(took, 4) for step, took in cut.seconds.items()},
        )
        if batch.dead_letters:
            first = batch.dead_letters[0]
            self._log.warning(
                LogEvent.DEAD_LETTERS,
                reasons=reasons,
                first_offset=first.offset,
                detail=first.detail,
                hint=f"streamer dead-letters show {self._source.topic} {self._source.partition} {first.offset}",
            )


def newest_event(tables: Sequence[pa.Table]) -> datetime | None:
    """The greatest event time in decoded tables, microseconds; None where they have none."""
    newest = [
        pc.max(table[TIMESTAMP]).cast(pa.timestamp("us", tz="UTC"), safe=False).as_py()
        for table in tables
        if TIMESTAMP in table.column_names and table.num_rows
    ]
    return max(newest, default=None)
