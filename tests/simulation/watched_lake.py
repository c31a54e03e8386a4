"""A bucket in memory that looks at every object that changes, and knows what Kafka was given.

It holds DESIGN's rule against each single write, at the moment of the write and not only at the end: a position follows the
one before, a file belongs to the range that is sealed, nothing is overwritten or deleted, and what is committed is there.
Nothing of streamer's readers or writers is used, only its names of keys and the position's own `violation`.
"""

from __future__ import annotations

import gzip
import io
import json
from base64 import b64decode
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pyarrow.parquet as pq

from streamer.clock import Clock
from streamer.commit.position import Position, violation
from streamer.keys import DataKey, layout_key, parse_data_key, parse_position_key
from streamer.records import TopicPartition
from streamer.store.contract import StoredObject
from streamer.store.memory import MemoryStore


@dataclass
class PartitionTruth:
    """What a consumer may ever see of one partition, and what Kafka has forgotten since. `visible` is by offset."""

    visible: dict[int, bytes] = field(default_factory=dict)
    compacted: set[int] = field(default_factory=set)
    beginning: int = 0

    def forgotten(self, offset: int) -> bool:
        """Whether Kafka no longer has the record."""
        return offset < self.beginning or offset in self.compacted


class _Objects(dict[str, StoredObject]):
    """The objects of a `MemoryStore`, with somebody who is told of each change before it is made."""

    def __init__(self, changing: Callable[[str, StoredObject | None, StoredObject | None], None]) -> None:
        super().__init__()
        self._changing = changing

    def __setitem__(self, key: str, value: StoredObject) -> None:
        self._changing(key, self.get(key), value)
        super().__setitem__(key, value)

    def pop(self, key: str, *default: Any) -> Any:
        if key in self:
            self._changing(key, self[key], None)
        return super().pop(key, *default)


class WatchedLake(MemoryStore):
    """A `MemoryStore` that keeps `problems`: one sentence for each write that the rule forbids.

    truth: what Kafka was given, by partition; kept up by whoever produces. event: told one line of each change.
    """

    def __init__(self, clock: Clock, event: Callable[[str], None]) -> None:
        super().__init__(clock)
        self._objects = _Objects(self._changing)
        self._event = event
        self.truth: dict[TopicPartition, PartitionTruth] = {}
        self.problems: list[str] = []
        self.positions: dict[TopicPartition, list[Position]] = {}
        self.offsets: dict[TopicPartition, dict[int, list[str]]] = {}
        self.ranges: dict[TopicPartition, set[tuple[int, int]]] = {}

    def wrong(self, problem: str) -> None:
        """Put a violation on record."""
        self.problems.append(problem)
        self._event(f"VIOLATION {problem}")

    def position(self, source: TopicPartition) -> Position | None:
        """The newest version written."""
        versions = self.positions.get(source)
        return versions[-1] if versions else None

    # each write

    def _changing(self, key: str, old: StoredObject | None, new: StoredObject | None) -> None:
        if key.startswith("state/"):
            self._event(f"lake: {key} {'deleted' if new is None else 'written'}")  # what it must hold is asked at the end
        elif new is None:
            self.wrong(f"{key} was deleted")
        elif (source := parse_position_key(key)) is not None:
            self._position_written(source, Position.from_json(new.body, key=key))
        elif (parsed := parse_data_key(key)) is not None:
            self._file_written(key, parsed, old, new)
        elif old is not None:
            self.wrong(f"{key} was overwritten")

    def _position_written(self, source: TopicPartition, new: Position) -> None:
        versions = self.positions.setdefault(source, [])
        old = versions[-1] if versions else None
        self._event(
            f"lake: {source} [{new.committed},{new.sealed}) epoch {new.epoch} sequence {new.sequence}"
            f" by {new.host} layout {new.layout}"
        )
        if (broken := violation(old, new)) is not None:
            self.wrong(f"{source}: {broken}")
        if layout_key(new.layout) not in self._objects:
            self.wrong(f"{source}: layout {new.layout} has no document yet")
        versions.append(new)
        truth, start = self.truth[source], new.committed if old is None else old.committed
        for gap in new.gaps if old is None else [gap for gap in new.gaps if gap not in old.gaps]:
            if not any(truth.forgotten(offset) for offset in range(gap.start, gap.end)):
                self.wrong(f"{source}: the gap [{gap.start},{gap.end}) is over nothing that Kafka forgot")
        for offset in range(start, new.committed):
            self._demand(source, new, offset)

    def _demand(self, source: TopicPartition, position: Position, offset: int) -> None:
        """The record at a committed offset is in the lake once, or Kafka has forgotten it and the position says so."""
        truth, found = self.truth[source], self.offsets.get(source, {}).get(offset, [])
        if len(found) > 1 or offset not in truth.visible:
            return  # said when the file was written
        if not found:
            if not truth.forgotten(offset):
                self.wrong(f"{source}: offset {offset} is committed and in no file")
            elif offset not in truth.compacted and not any(gap.start <= offset < gap.end for gap in position.gaps):
                self.wrong(f"{source}: offset {offset} is lost to retention and in no gap")

    def _file_written(self, key: str, parsed: DataKey, old: StoredObject | None, new: StoredObject) -> None:
        source, start, end = parsed.range.source, parsed.range.start, parsed.range.end
        records = list(_records(parsed, new.body))
        self._event(f"lake: {key} with {len(records)} records")
        if old is not None:
            self.wrong(f"{key} was overwritten")
            return
        position, truth = self.position(source), self.truth[source]
        if position is None or (start, end) != (position.committed, position.sealed):
            # A late PUT of records that retention took from the owner: there once, and named in a gap.
            if position is None or not all(truth.forgotten(offset) for offset, _ in records) or end > position.committed:
                at = position and (position.committed, position.sealed)
                self.wrong(f"{key} was written while the position said {at}")
        elif (new.info.metadata or {}).get("layout") != position.layout:
            self.wrong(f"{key} was not written under the layout of the seal")
        self.ranges.setdefault(source, set()).add((start, end))
        where = self.offsets.setdefault(source, {})
        for offset, told in records:
            if offset in where:
                self.wrong(f"{source}: offset {offset} is in {where[offset][0]} and in {key}")
            where.setdefault(offset, []).append(key)
            sent = truth.visible.get(offset)
            if sent is None:
                self.wrong(f"{key}: no consumer may see offset {offset}")
            elif not start <= offset < end or told != _told(sent):
                self.wrong(f"{key}: offset {offset} says {told!r}, sent was {sent!r}")

    # the end

    def check_history(self, document: str, window: int) -> None:
        """The feature history holds what deques hold that are fed, up to its offsets, with the rows in the lake."""
        if document not in self._objects:
            return  # nobody had the time: a stop has a budget
        body = json.loads(self._objects[document].body)
        ends = {source: body["offsets"].get(source.topic, {}).get(str(source.partition), 0) for source in self.truth}
        for source, end in ends.items():
            position = self.position(source)
            if end > (0 if position is None else position.committed):
                self.wrong(f"{document} stands at {end} of {source}, ahead of the position")
        found = {symbol: [(row["partition"], row["offset"]) for row in rows] for symbol, rows in body["features"].items()}
        # A late PUT may bring rows that are on record as lost: a history that was built before does not hold them.
        if found not in (wanted := [self._history(window, ends, lost) for lost in (False, True)]):
            self.wrong(f"{document} holds {found}, a deque {wanted[0]}")

    def _history(self, window: int, ends: Mapping[TopicPartition, int], with_lost: bool) -> dict[str, list[tuple[int, int]]]:
        rows = []
        for source, offsets in self.offsets.items():
            gaps = self.positions[source][-1].gaps
            for offset in offsets:
                lost = any(gap.start <= offset < gap.end for gap in gaps)
                told = _told(self.truth[source].visible[offset])
                if offset < ends[source] and isinstance(told, tuple) and (with_lost or not lost):
                    symbol, price = told
                    rows.append((price, source.partition, offset, symbol))  # the price is the time, in seconds
        deques: dict[str, deque[tuple[int, int]]] = {}
        for _, partition, offset, symbol in sorted(rows):
            deques.setdefault(symbol, deque(maxlen=window)).append((partition, offset))
        return {symbol: list(last) for symbol, last in deques.items()}

    def check_end(self) -> None:
        """Everything that was ever visible is committed, and the ranges of files and gaps abut from the start on."""
        for source, truth in self.truth.items():
            position = self.position(source)
            wanted = [offset for offset in truth.visible if not truth.forgotten(offset)]
            if position is None:
                if wanted:
                    self.wrong(f"{source}: {len(wanted)} records and no position")
                continue
            if wanted and position.committed <= max(wanted):
                self.wrong(f"{source}: committed is {position.committed}, the last record {max(wanted)}")
            first = self.positions[source][0].committed
            for offset in truth.visible:
                if first <= offset < position.committed:
                    self._demand(source, position, offset)
            self._demand_abutting(source, first, position)

    def _demand_abutting(self, source: TopicPartition, first: int, position: Position) -> None:
        # A gap may cover the head of a range that was written, or all of one, and gaps of one reason are merged.
        at = first
        ranges = sorted(self.ranges.get(source, set()))
        for (_, end), (start, _) in pairwise(ranges):
            if start < end:
                self.wrong(f"{source}: the range that begins at {start} overlaps the one that ends at {end}")
        for start, end in sorted(ranges + [(gap.start, gap.end) for gap in position.gaps]):
            if start > at:
                self.wrong(f"{source}: nothing is said about [{at},{start})")
            at = max(at, end)
        if at != position.committed:
            self.wrong(f"{source}: files and gaps end at {at}, committed is {position.committed}")


def _records(parsed: DataKey, body: bytes) -> list[tuple[int, object]]:
    """(offset, what the file says of the record) for each row or dead letter."""
    if parsed.suffix == "parquet":
        table = pq.ParquetFile(io.BytesIO(body)).read(["_offset", "symbol", "price"], use_threads=False)
        columns = (table[name].to_pylist() for name in ("_offset", "symbol", "price"))
        return [(offset, (symbol, price)) for offset, symbol, price in zip(*columns, strict=True)]
    lines = [json.loads(line) for line in gzip.decompress(body).splitlines()]
    if parsed.dead_letters:
        return [(line["offset"], b64decode(line["value"])) for line in lines]
    return [(line["_offset"], (line["symbol"], line["price"])) for line in lines]


def _told(value: bytes) -> object:
    """What the lake must say of a value that was sent."""
    try:
        message = json.loads(value)
    except ValueError:
        return value
    return message["symbol"], message["price"]
