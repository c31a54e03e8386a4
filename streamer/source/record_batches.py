"""Record batches taken undecoded off an aiokafka fetch result, and made into columns a piece at a time.

aiokafka decodes on the event loop and builds an object of eleven fields a record. Here the loop only walks the headers of
batches (`take`); checksum, decompression and extraction (`extract`) are for a worker's thread, by `packed_batches` where a
piece is plain enough, else by aiokafka. It touches what aiokafka calls private, and proves with `self_test` at start that it
still knows it.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from operator import ge
from typing import Any, NamedTuple

from aiokafka import errors as kafka_errors
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.consumer.subscription_state import Assignment
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from streamer.records import PACKED_OVERHEAD_BYTES, RECORD_OVERHEAD_BYTES, Headers, RecordChunk, TopicPartition, payload_bytes
from streamer.source.packed_batches import Columns, OpenedRecordBatch, begins_plainly, columns_of, is_current, open_record_batch

_LENGTH_AT, _BEHIND_LENGTH = 8, 12  # of any batch of any format
_CRC = slice(17, 21)


class RecordBatch(NamedTuple):
    """A batch as aiokafka has it, and its bytes, where they are known."""

    parsed: Any
    raw: memoryview | None


@dataclass(frozen=True, slots=True)
class Taken:
    """Batches of one partition, undecoded, that cover `[start, end)`. `fault` is set where the walk stopped at `end`."""

    source: TopicPartition
    start: int
    end: int
    batches: tuple[RecordBatch, ...]
    fault: str | None = None


def take(result: FetchResult, partition: TopicPartition, raw: bytes | None = None) -> Taken | None:
    """Everything of a fetch result, on the event loop; None where the partition was sought or taken away meanwhile.

    Control batches and batches of aborted transactions are left out; their offsets are covered by `[start, end)`. `raw`: the
    bytes that the result was made of, as far as somebody knows them; it is looked at whether they are.
    """
    if not result.check_assignment(partition):
        return None
    records = result._partition_records
    start = end = records.next_fetch_offset
    batches: list[RecordBatch] = []
    fault = None
    raws = _Raws(raw if raw is not None and len(raw) == records._records.size_in_bytes() else b"")
    try:
        while records._records.has_next():
            batch = records._records.next_batch()
            own = raws.next(batch)
            if batch.is_control_batch and not batch.validate_crc():
                raise kafka_errors.CorruptRecordException("wrong checksum of a control batch")
            if records._isolation_level == READ_COMMITTED and batch.producer_id is not None:
                records._consume_aborted_up_to(batch.base_offset)
                if batch.is_control_batch and records._contains_abort_marker(batch):
                    records._aborted_producers.discard(batch.producer_id)
            aborted = batch.is_transactional and batch.producer_id in records._aborted_producers
            if not batch.is_control_batch and not aborted:
                batches.append(RecordBatch(batch, own))
            end = max(end, batch.next_offset)
    except Exception as error:  # noqa: BLE001 whatever a damaged header makes of it, the batches before it are good
        fault = reason_of(error)
    records.next_fetch_offset = end
    # Its generator, which nobody has begun, refers to it: a megabyte that only a garbage collection would find.
    records._records_iterator = None
    result._update_position()
    return Taken(partition, start, end, tuple(batches), fault)


@dataclass(frozen=True, slots=True)
class Extracted:
    """One piece of what was taken. fault: why the batch at `chunk.end` cannot be read. rest: what comes after `chunk`."""

    chunk: RecordChunk
    fault: str | None = None
    rest: Taken | None = None


def extract(taken: Taken, most_bytes: int) -> Extracted:
    """Check, decompress and split batches into columns until they take up some `most_bytes`, and at least one batch.

    For a worker's thread. How large a batch becomes cannot be known before: this is what keeps a megabyte of well
    compressed records from becoming fifty in memory at once.
    """
    return _packed(taken, most_bytes) or _one_by_one(taken, most_bytes)


def _packed(taken: Taken, most_bytes: int) -> Extracted | None:
    """The piece by arithmetic; None where it is not plain enough, or not in order."""
    opened: list[OpenedRecordBatch] = []
    size = used = 0
    for batch in taken.batches:
        if batch.raw is None or not batch.parsed.validate_crc():
            return None
        try:
            found = open_record_batch(batch.raw)
        except Exception:  # noqa: BLE001 codecs raise what they like: the other way says what is wrong
            return None
        if found is None or not (opened or begins_plainly(found)):
            return None
        opened.append(found)
        size, used = size + len(found.records) + PACKED_OVERHEAD_BYTES * found.count, used + 1
        if size >= most_bytes:
            break
    if (columns := columns_of(opened)) is None:
        return None
    if used == len(taken.batches):
        return Extracted(_packed_chunk(columns, taken.source, taken.start, taken.end), taken.fault)
    end = max(taken.start, taken.batches[used - 1].parsed.next_offset)
    rest = replace(taken, start=end, batches=taken.batches[used:])
    return Extracted(_packed_chunk(columns, taken.source, taken.start, end), None, rest)


def _packed_chunk(columns: Columns, source: TopicPartition, start: int, end: int) -> RecordChunk:
    # A fetch begins with the batch that the wanted offset is in, which may have some before it.
    chunk = RecordChunk(
        source, min(start, columns.offsets[0]), end, columns.offsets, columns.timestamps, columns.keys, columns.values
    )
    return chunk if chunk.start == start else chunk.split(start)[1]


def _one_by_one(taken: Taken, most_bytes: int) -> Extracted:
    columns = _Columns()
    start, end, fault = taken.start, taken.end, taken.fault
    rest: Taken | None = None
    for number, (batch, _) in enumerate(taken.batches, 1):
        try:
            if not batch.validate_crc():
                raise kafka_errors.CorruptRecordException("wrong checksum")
            records = list(batch)
            offsets = [record.offset for record in records]
            if any(map(ge, offsets, offsets[1:])) or (offsets and offsets[-1] >= batch.next_offset):
                raise kafka_errors.CorruptRecordException("offsets that are not those of the batch")
        except Exception as error:  # noqa: BLE001 codecs raise what they like: the batch is unreadable, whatever it is
            # Messages older than Kafka 0.11 do not tell where their batch begins.
            end = max(start, getattr(batch, "base_offset", columns.next_offset or start))
            fault = reason_of(error)
            break
        before = bisect_left(offsets, start)
        columns.add(records[before:], offsets[before:])
        if columns.size_bytes >= most_bytes and number < len(taken.batches):
            end, fault = max(start, batch.next_offset), None
            rest = replace(taken, start=end, batches=taken.batches[number:])
            break
    return Extracted(columns.chunk(taken.source, start, end), fault, rest)


class _Raws:
    """The bytes of one batch after the other, as long as they are those that aiokafka has."""

    def __init__(self, raw: bytes) -> None:
        self._left = memoryview(raw)

    def next(self, batch: Any) -> memoryview | None:
        size = _BEHIND_LENGTH + int.from_bytes(self._left[_LENGTH_AT:_BEHIND_LENGTH], "big", signed=True)
        own, self._left = self._left[:size], self._left[size:]
        same = size == len(own) and int.from_bytes(own[:_LENGTH_AT], "big") == getattr(batch, "base_offset", None)
        if same and is_current(own):
            same = int.from_bytes(own[_CRC], "big") == batch.crc
        if not same:
            self._left = self._left[:0]
        return own if same else None


class _Columns:
    """What has been extracted so far. By comprehensions over whole batches: a loop that appends each field took half as long
    again."""

    def __init__(self) -> None:
        self._offsets: list[int] = []
        self._timestamps: list[int | None] = []
        self._keys: list[bytes | None] = []
        self._values: list[bytes | None] = []
        self._headers: list[Headers] | None = None
        self._payload_bytes = 0
        self.next_offset = 0  # behind the last record

    @property
    def size_bytes(self) -> int:
        return self._payload_bytes + len(self._values) * RECORD_OVERHEAD_BYTES

    def add(self, records: list[Any], offsets: list[int]) -> None:
        """Append the records of one batch, in the order of their offsets."""
        if not records:
            return
        self._offsets += offsets
        self.next_offset = offsets[-1] + 1
        keys = [record.key for record in records]
        values = [record.value for record in records]
        headers = [record.headers for record in records]
        if self._headers is None and any(headers):
            self._headers = [()] * len(self._values)
        if self._headers is not None:
            self._headers += map(tuple, headers)
        self._timestamps += [record.timestamp for record in records]
        self._keys += keys
        self._values += values
        self._payload_bytes += payload_bytes(keys, values)

    def chunk(self, source: TopicPartition, start: int, end: int) -> RecordChunk:
        timestamps: list[Any] = self._timestamps
        if None in timestamps:
            timestamps = [-1 if stamp is None else stamp for stamp in timestamps]
        return RecordChunk(
            source, start, end, self._offsets, timestamps, self._keys, self._values, self._headers, self._payload_bytes
        )  # fmt: skip


def reason_of(error: Exception) -> str:
    """What to tell people of an exception that may have no text."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def self_test() -> str | None:
    """None where this aiokafka is the one known here, else what is different. Reads two batches made on the spot."""
    partition = TopicPartition("self-test", 0)
    try:
        assignment = Assignment([partition])
        assignment.state_value(partition).seek(1)
        raw = b""
        for base, values in ((0, [b"before", b"first"]), (2, [b"second"])):
            builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 16)
            for number, value in enumerate(values):
                builder.append(number, timestamp=1_000 + number, key=None, value=value, headers=[("h", b"1")])
            raw += _at_offset(bytes(builder.build()), base)
        records = PartitionRecords(partition, MemoryRecords(raw), [], 1, None, None, True, READ_COMMITTED)
        result = FetchResult(partition, assignment=assignment, partition_records=records, backoff=0.0)
        taken = take(result, partition)
        if taken is None or taken.fault is not None:
            return f"the batches made for the test could not be taken: {taken}"
        first = extract(taken, most_bytes=1)
        second = extract(first.rest, most_bytes=1) if first.rest is not None else first
    except Exception as error:  # noqa: BLE001 whatever is different, there is another way to read
        return reason_of(error)
    found = [(piece.chunk.offsets, piece.chunk.values, piece.chunk.end, piece.fault) for piece in (first, second)]
    position = assignment.state_value(partition).position
    if found != [([1], [b"first"], 2, None), ([2], [b"second"], 3, None)] or position != 3:
        return f"the batches made for the test were read wrongly: {found}, position {position}"
    return None


def _at_offset(batch: bytes, offset: int) -> bytes:
    """A batch with another base offset, which no checksum covers: the broker sets it."""
    return offset.to_bytes(8, "big") + batch[8:]
