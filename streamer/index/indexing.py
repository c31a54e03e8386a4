"""From the lake's committed ranges to the items of a table: one stream, partition by partition, behind the commits.

Reads the lake and writes the table; the pipeline knows nothing of it. Everything here can be done again: an item is the same
item the second time, and the progress document moves only behind what is written.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from streamer.clock import Clock
from streamer.commit.position import Position
from streamer.errors import Damaged, NotFound
from streamer.events.rows import events_of
from streamer.features.lake_rows import LakeRows
from streamer.index.dynamodb import IndexTable
from streamer.index.item import Item, item_of
from streamer.index.progress import Progress, ProgressDocument
from streamer.index.settings import IndexedStream
from streamer.keys import POSITIONS, parse_position_key
from streamer.lake.known_layouts import KnownLayouts
from streamer.layout import TIMESTAMP, Layout
from streamer.log_events import LogEvent
from streamer.metrics import Metrics
from streamer.records import BatchRange, TopicPartition
from streamer.store.contract import ObjectInfo, Store
from streamer.workers import Workers

log = structlog.get_logger()

SAVE_SECONDS = 5.0
"""How often progress is saved while there is much to do."""
SLICE_ROWS = 5000
"""Rows that are Python objects at the same time."""
ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets of one lineage that have to be indexed, and those among them that the lake says it does not have."""

    range: BatchRange
    gaps: tuple[tuple[int, int], ...]


class StreamIndexer:
    """Brings the table of one stream up to what is committed."""

    def __init__(
        self, store: Store, table: IndexTable, stream: IndexedStream, clock: Clock, workers: Workers, metrics: Metrics
    ) -> None:
        self._store = store
        self._table = table
        self._stream = stream
        self._clock = clock
        self._workers = workers
        self._metrics = metrics
        self._layouts = KnownLayouts(store)
        self._positions: dict[TopicPartition, tuple[str, Position]] = {}
        self._done: dict[TopicPartition, Progress] = {}
        self._days: dict[TopicPartition, date] = {}

    async def catch_up(self) -> int:
        """Index all that is committed by now; how many items were written. Raises `Fenced` where another process does it too,
        what the lake raises, and what the table raises: of a partition that is damaged when the others are done."""
        items, failure = 0, None
        async for item in self._store.list(f"{POSITIONS}{self._stream.topic}/"):
            try:
                if (position := await self._changed(item)) is not None:
                    items += await self._partition(position)
            except (Damaged, NotFound) as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return items

    def forget(self) -> None:
        """What is known is out of date: another process may have gone on."""
        for source in self._positions:
            self._show(source, None)
        self._positions.clear()
        self._done.clear()

    async def _changed(self, item: ObjectInfo) -> Position | None:
        """The position at `item`, where it says more than is indexed. A GET, if it changed."""
        if (source := parse_position_key(item.key)) is None:
            return None
        etag, position = self._positions.get(source, ("", None))
        if position is None or etag != item.etag:
            try:
                stored = await self._store.get(item.key)
            except NotFound:
                return None
            position = Position.from_json(stored.body, key=item.key)
            self._positions[source] = stored.info.etag, position
        done = self._done.get(source)
        self._show(source, lag(position, done))
        is_indexed = done is not None and (done.lineage, done.offset) == (position.lineage, position.committed)
        return None if is_indexed else position

    async def _partition(self, position: Position) -> int:
        document = ProgressDocument(self._store, self._stream.table, position.source)
        done = await document.read() or _beginning(position)
        before, saved_at = done, self._clock.monotonic()
        layout = await self._layout(position)
        for span in spans(position, done):
            done = replace(done, lineage=span.range.lineage, offset=span.range.start)
            async with aclosing(self._tables(span, layout)) as tables:
                async for table, end, missing in tables:
                    done = await self._index(table, replace(done, offset=end, missing=done.missing + missing))
                    self._show(position.source, lag(position, done))
                    if self._clock.monotonic() >= saved_at + SAVE_SECONDS:
                        await document.write(done)
                        saved_at = self._clock.monotonic()
        done = replace(done, lineage=position.lineage, offset=position.committed)
        await document.write(done)
        self._done[position.source] = done
        self._show(position.source, lag(position, done))
        if done.missing > before.missing:
            log.warning(
                LogEvent.INDEX_SHORT,
                stream=self._stream.name,
                topic=position.source.topic,
                partition=position.source.partition,
                offsets=done.missing - before.missing,
            )
        return done.items - before.items

    async def _tables(self, span: Span, layout: Layout) -> AsyncGenerator[tuple[pa.Table, int, int]]:
        """The rows of a span, batch by batch, each with the offset behind it and how many offsets before that are missing.

        Only the folders of the last days are listed, and all of them where that is not enough.
        """
        source, start = span.range.source, span.range.start
        recent = self._clock.now().date() - ONE_DAY
        for since in (min(self._days.get(source, recent), recent), None):
            rows = LakeRows(self._stream.name, replace(span.range, start=start), since)
            told, oldest = 0, recent
            async with aclosing(rows.tables(self._store, layout, span.gaps, self._workers)) as tables:
                async for table, end in tables:
                    missing, told = _offsets(rows.missing, end) - told, _offsets(rows.missing, end)
                    start, oldest = end, min(oldest, _first_day(table) or oldest)
                    yield table, end, missing
            self._days[source] = oldest
            if not rows.short:
                if rest := _offsets(rows.missing, span.range.end) - told:
                    yield layout.arrow_schema.empty_table(), span.range.end, rest
                return

    async def _index(self, table: pa.Table, done: Progress) -> Progress:
        written = left_out = 0
        for at in range(0, table.num_rows, SLICE_ROWS):
            outcome = await self._table.write(await self._workers.run(items_of, table.slice(at, SLICE_ROWS)))
            written, left_out = written + outcome.items, left_out + outcome.left_out
        self._metrics.index_items.labels(self._stream.name).inc(written)
        if left_out:
            self._metrics.index_left_out.labels(self._stream.name).inc(left_out)
            log.warning(LogEvent.INDEX_LEFT_OUT, stream=self._stream.name, table=self._stream.table, items=left_out)
        return replace(done, items=done.items + written, left_out=done.left_out + left_out)

    async def _layout(self, position: Position) -> Layout:
        known: Mapping[str, Layout] = {layout.fingerprint: layout for layout in await self._layouts.read()}
        found = known.get(position.layout)
        if found is None:
            hint = "run the release that wrote it, or a newer one"
            raise NotFound(
                "the layout of a partition is not known", hint=hint, layout=position.layout, topic=self._stream.topic
            )
        return found

    def _show(self, source: TopicPartition, lag: int | None) -> None:
        labels = (self._stream.name, source.topic, str(source.partition))
        if lag is None:
            self._metrics.index_lag.remove(*labels)
        else:
            self._metrics.index_lag.labels(*labels).set(lag)


def spans(position: Position, done: Progress) -> list[Span]:
    """What is committed and not indexed, in the order of lineages."""
    found = []
    for past in (each for each in position.past if each.lineage >= done.lineage):
        start = done.offset if past.lineage == done.lineage else (past.start or 0)
        if start < past.committed:
            gaps = tuple((gap.start, gap.end) for gap in past.gaps)
            found.append(Span(BatchRange(position.source, start, past.committed, past.lineage), gaps))
    start = done.offset if done.lineage == position.lineage else (position.start or 0)
    if start < position.committed:
        gaps = tuple((gap.start, gap.end) for gap in position.gaps)
        found.append(Span(BatchRange(position.source, start, position.committed, position.lineage), gaps))
    return found


def items_of(table: pa.Table) -> list[Item]:
    """The items of some rows. Blocking."""
    return [item_of(event) for batch in table.to_batches() for event in events_of(batch)]


def _beginning(position: Position) -> Progress:
    """Where indexing begins: with the first record that the lake has, of the oldest lineage."""
    first = position.past[0] if position.past else position
    return Progress(first.lineage, first.start or 0)


def lag(position: Position, done: Progress | None) -> int:
    """How many offsets are committed and not indexed."""
    done = done or _beginning(position)
    return sum(span.range.end - span.range.start for span in spans(position, done))


def _offsets(ranges: list[tuple[int, int]], below: int) -> int:
    """How many offsets these ranges have below one."""
    return sum(min(end, below) - start for start, end in ranges if start < below)


def _first_day(table: pa.Table) -> date | None:
    first = pc.min(table[TIMESTAMP]).as_py() if table.num_rows else None
    found: date | None = first.date() if first is not None else None
    return found
