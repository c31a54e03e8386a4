"""`follow`: what the lake has of a stream, then what Kafka brings, every record once. Below the faces in `follow.py`.

History comes from a hand-over, records from a `Tail`, by the decoder that the daemon uses. Writes nothing, joins no group.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import structlog

from streamer.clock import Clock
from streamer.commit.identity import check_last_record, check_topic
from streamer.commit.position import Position
from streamer.decode.contract import Decoder
from streamer.decode.decoder import make_decoder
from streamer.errors import Invalid, PartitionRefused, Unavailable
from streamer.features.lake_rows import LakeRows
from streamer.judged import judged
from streamer.lake.handover import stream_positions, take_handover
from streamer.lake.reader import PreparedRead, Reader
from streamer.lake.request import ReadRequest
from streamer.layout import Layout
from streamer.log_events import LogEvent
from streamer.records import BatchRange, RecordChunk, TopicPartition
from streamer.source.contract import Bounds
from streamer.source.tail import Tail

log = structlog.get_logger()

POLL_SECONDS = 1.0
LOOK_SECONDS = 10.0
"""How often new partitions, and topics that are not there yet, are looked for."""

Offsets = Mapping[str, Mapping[int, int]]
OnGap = Literal["raise", "skip"]


@dataclass(frozen=True, slots=True)
class FollowRequest:
    """read: the rows wanted; its `start` is where history begins. offsets: go on from there instead, in Kafka, or from the lake
    where Kafka no longer has them. on_gap: what to do where neither has them. until_caught_up: end where the topics ended when
    history had been read."""

    read: ReadRequest
    offsets: Offsets | None = None
    on_gap: OnGap = "raise"
    until_caught_up: bool = False


@dataclass(slots=True)
class _Place:
    """Where one partition is read. `recognise`: its position, until the last record that the lake has was seen again."""

    next: int
    lineage: int
    decoder: Decoder
    layout: Layout
    recognise: Position | None = None


class Follower:
    """One pass over history and then the live records."""

    def __init__(self, reader: Reader, request: FollowRequest, tail: Tail, clock: Clock) -> None:
        self._reader = reader
        self._request = request
        self._tail = tail
        self._clock = clock
        self._log = log.bind(stream=request.read.stream)
        self._places: dict[TopicPartition, _Place] = {}
        self._topics: set[str] = set()
        self._missing: set[str] = set()
        self._layouts: dict[str, Layout] = {}
        self._decoders: dict[str, Decoder] = {}
        self._look_at = 0.0
        self.dead_letters = 0

    def offsets(self) -> dict[str, dict[int, int]]:
        """topic -> partition -> the offset to go on from; empty while history is read."""
        found: dict[str, dict[int, int]] = {}
        for source, place in sorted(self._places.items()):
            found.setdefault(source.topic, {})[source.partition] = place.next
        return found

    async def batches(self) -> AsyncGenerator[pa.RecordBatch]:
        """History in event-time order, then live rows as Kafka has them, partition by partition. Ends only if told to."""
        await self._tail.start()
        try:
            read = await self._reader.prepare(self._request.read)
            parts = (self._history(read), self._live(read))
            for part in parts:
                async with aclosing(part):
                    async for batch in part:
                        if batch.num_rows:
                            yield batch
        finally:
            await self._tail.stop()

    # ---- history ---------------------------------------------------------------------------------------------------------

    async def _history(self, read: PreparedRead) -> AsyncGenerator[pa.RecordBatch]:
        self._layouts = {layout.fingerprint: layout for layout in await self._reader.layouts.read()}
        if self._request.offsets is not None:
            positions = await stream_positions(self._reader, read.request.stream)
            await self._check_topics(positions)
        else:
            handover = await take_handover(self._reader, read)
            positions = dict(handover.positions)
            await self._check_topics(positions)
            async with aclosing(read.sorted(handover.plan)) as batches:
                async for batch in batches:
                    yield batch
        if not positions:
            raise Invalid(
                f"no partition of {read.request.stream!r} has a position: its topic is not known",
                hint="start the daemon first",
                lake=self._reader.store.url,
            )
        for source, position in positions.items():
            self._begin(source, position)

    async def _check_topics(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Before anything is given out: is Kafka the one that the lake speaks of?"""
        cluster_id = await self._tail.cluster_id()
        bounds = await self._tail.bounds(positions.keys())
        for source, span in bounds.items():
            check_topic(positions[source], cluster_id=cluster_id, beginning=span.beginning, end=span.end)
        self._topics = {source.topic for source in positions}

    def _begin(self, source: TopicPartition, position: Position) -> None:
        place = self._place(position.committed, position.lineage, position.layout)
        wanted = (self._request.offsets or {}).get(source.topic, {}).get(source.partition)
        if self._request.offsets is not None:
            place.next = wanted if wanted is not None else (position.start or 0)
        last = position.last
        if last is not None and place.next <= position.committed:
            place.recognise = position
        self._places[source] = place

    def _place(self, offset: int, lineage: int, fingerprint: str) -> _Place:
        layout = self._layouts[fingerprint]
        if fingerprint not in self._decoders:
            self._decoders[fingerprint] = judged(make_decoder, layout)
        return _Place(offset, lineage, self._decoders[fingerprint], layout)

    # ---- live ------------------------------------------------------------------------------------------------------------

    async def _live(self, read: PreparedRead) -> AsyncGenerator[pa.RecordBatch]:
        bounds = await self._tail.bounds(self._places.keys())
        for source, place in self._places.items():
            self._seek(source, place, bounds.get(source))
        await self._look_for_partitions()
        ends = {source: span.end for source, span in (await self._tail.bounds(self._places.keys())).items()}
        self._log.info(LogEvent.FOLLOW_LIVE, offsets=self.offsets())
        while not self._request.until_caught_up or any(self._places[source].next < end for source, end in ends.items()):
            if self._clock.monotonic() >= self._look_at:
                await self._look_for_partitions()
            polled = await self._tail.poll(POLL_SECONDS)
            for chunk in polled.chunks:
                for batch in await self._rows(read, chunk):
                    yield batch
            for lost in polled.out_of_range:
                async with aclosing(self._catch_up(read, lost.source)) as batches:
                    async for batch in batches:
                        yield batch

    def _seek(self, source: TopicPartition, place: _Place, bounds: Bounds | None) -> None:
        """Read the partition from its place, or from the last record that the lake has, to recognise the topic."""
        offset = place.next
        if place.recognise is not None and place.recognise.last is not None and bounds is not None:
            last = place.recognise.last.offset
            offset = min(offset, last) if bounds.beginning <= last else offset
        self._tail.seek(source, offset)

    async def _rows(self, read: PreparedRead, chunk: RecordChunk) -> list[pa.RecordBatch]:
        place = self._places[chunk.source]
        if place.recognise is not None:
            check_last_record(place.recognise, chunk)
            if chunk.end >= place.recognise.committed:
                place.recognise = None
        _, new = chunk.split(place.next)
        batches: list[pa.RecordBatch] = []
        if len(new):
            decoded = await self._reader.workers.run(place.decoder.decode, new)
            self.dead_letters += len(decoded.dead_letters)
            batches = (await self._reader.workers.run(read.choose, decoded.table)).combine_chunks().to_batches()
        place.next = max(place.next, new.end)
        return batches

    async def _look_for_partitions(self) -> None:
        """Partitions that were added, and those of topics that were not there: from where the lake begins, else from the first
        record."""
        self._look_at = self._clock.monotonic() + LOOK_SECONDS
        new: set[TopicPartition] = set()
        for topic in sorted(self._topics):
            there = await self._tail.partitions(topic)
            if not there and topic not in self._missing:
                self._missing.add(topic)
                self._log.warning(LogEvent.TOPIC_MISSING, topic=topic)
            new |= there - self._places.keys()
        if not new:
            return
        positions = await stream_positions(self._reader, self._request.read.stream)
        self._layouts = {layout.fingerprint: layout for layout in await self._reader.layouts.read()}
        neighbour = next(reversed(self._places.values())).layout.fingerprint
        for source, span in (await self._tail.bounds(new)).items():
            known = positions.get(source)
            named = (self._request.offsets or {}).get(source.topic, {}).get(source.partition)
            start = named if named is not None else (known.start or 0) if known is not None else span.beginning
            lineage, layout = (known.lineage, known.layout) if known is not None else (0, neighbour)
            self._places[source] = place = self._place(start, lineage, layout)
            self._seek(source, place, span)

    # ---- what Kafka no longer has ----------------------------------------------------------------------------------------

    async def _catch_up(self, read: PreparedRead, source: TopicPartition) -> AsyncGenerator[pa.RecordBatch]:
        """Kafka does not have the next offset: take what the lake has of it, or say that nobody has."""
        place = self._places[source]
        bounds = (await self._tail.bounds([source])).get(source)
        if bounds is None:
            raise Unavailable("Kafka does not know the partition (any more)", topic=source.topic, partition=source.partition)
        position = (await stream_positions(self._reader, read.request.stream)).get(source)
        if position is not None and position.lineage > place.lineage:
            place.next, place.lineage = position.start or 0, position.lineage
            self._log.warning(LogEvent.FOLLOW_ANEW, topic=source.topic, partition=source.partition, offset=place.next)
        if position is not None:
            cluster_id = await self._tail.cluster_id()
            check_topic(position, cluster_id=cluster_id, beginning=bounds.beginning, end=bounds.end)
        if place.next > bounds.end:
            raise PartitionRefused(
                f"the topic was made anew: the next offset is {place.next}, beyond the partition's end {bounds.end}",
                hint=f"if that is so: streamer positions accept {source.topic} {source.partition}, and follow again",
                topic=source.topic,
                partition=source.partition,
            )
        if place.next < bounds.beginning and position is not None and position.committed > place.next:
            async with aclosing(self._of_lake(read, source, place, position)) as batches:
                async for batch in batches:
                    yield batch
        if place.next < bounds.beginning:
            self._gap(source, place.next, bounds.beginning)
            place.next = bounds.beginning
        self._tail.seek(source, place.next)

    async def _of_lake(
        self, read: PreparedRead, source: TopicPartition, place: _Place, position: Position
    ) -> AsyncGenerator[pa.RecordBatch]:
        """The rows from `place.next` up to what is committed, batch by batch as Kafka had them."""
        rows = LakeRows(read.request.stream, BatchRange(source, place.next, position.committed, position.lineage))
        empty = [(gap.start, gap.end) for gap in position.gaps if gap.reason == "empty"]
        layout = self._layouts.get(position.layout, place.layout)
        async with aclosing(rows.tables(self._reader.store, layout, empty, self._reader.workers)) as tables:
            async for table, _ in tables:
                self._gaps(source, rows, upto=int(table["_offset"][0].as_py()) if table.num_rows else place.next)
                for batch in (await self._reader.workers.run(read.choose, table)).combine_chunks().to_batches():
                    yield batch
        self._gaps(source, rows, upto=position.committed)
        self._log.warning(
            LogEvent.FOLLOW_CAUGHT_UP,
            topic=source.topic,
            partition=source.partition,
            start=place.next,
            end=position.committed,
        )
        place.next = position.committed

    def _gaps(self, source: TopicPartition, rows: LakeRows, *, upto: int) -> None:
        """Say what is missing below `upto`, before anything behind it is given out."""
        for start, end in [gap for gap in rows.missing if gap[0] < upto]:
            rows.missing.remove((start, end))
            self._gap(source, start, end)

    def _gap(self, source: TopicPartition, start: int, end: int) -> None:
        if self._request.on_gap == "raise":
            raise Unavailable(
                f"neither Kafka nor the lake's raw files have offsets [{start},{end})",
                hint='go on behind them with on_gap="skip"; what was closed is in the archive: follow from a time',
                topic=source.topic,
                partition=source.partition,
            )
        self._log.error(LogEvent.FOLLOW_GAP, topic=source.topic, partition=source.partition, start=start, end=end)


TailFactory = Callable[[], Tail]
