"""Record batches taken undecoded off an aiokafka fetch result, and made into columns a piece at a time.

aiokafka decodes on the event loop and builds an object of eleven fields a record. Here the loop only walks the headers of
batches (`take`); checksum, decompression and extraction (`extract`) are for a worker's thread. It touches what aiokafka
calls private, and proves with `self_test` at start that it still knows it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from aiokafka import errors as kafka_errors
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.consumer.subscription_state import Assignment
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from streamer.records import Headers, RecordChunk, TopicPartition

RECORD_OVERHEAD_BYTES = 150
"""Two integers, the heads of a bytes object or two, and five list entries, as CPython 3.11 counts them."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Batches of one partition, undecoded, that cover `[start, end)`. `fault` is set where the walk stopped at `end`."""

    source: TopicPartition
    start: int
    end: int
    batches: tuple[Any, ...]
    fault: str | None = None


def take(result: FetchResult, partition: TopicPartition) -> Taken | None:
    """Everything of a fetch result, on the event loop; None where the partition was sought or taken away meanwhile.

    Control batches and batches of aborted transactions are left out; their offsets are covered by `[start, end)`.
    """
    if not result.check_assignment(partition):
        return None
    records = result._partition_records
    start = end = records.next_fetch_offset
    batches: list[Any] = []
    fault = None
    try:
        while records._records.has_next():
            batch = records._records.next_batch()
            if batch.is_control_batch and not batch.validate_crc():
                raise kafka_errors.CorruptRecordException("wrong checksum of a control batch")
            if records._isolation_level == READ_COMMITTED and batch.producer_id is not None:
                records._consume_aborted_up_to(batch.base_offset)
                if batch.is_control_batch and records._contains_abort_marker(batch):
                    records._aborted_producers.discard(batch.producer_id)
            aborted = batch.is_transactional and batch.producer_id in records._aborted_producers
            if not batch.is_control_batch and not aborted:
                batches.append(batch)
            end = max(end, batch.next_offset)
    except Exception as error:  # noqa: BLE001 whatever a damaged header makes of it, the batches before it are good
        fault = reason_of(error)
    records.next_fetch_offset = end
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
    offsets: list[int] = []
    timestamps: list[int] = []
    keys: list[bytes | None] = []
    values: list[bytes | None] = []
    headers: list[Headers] = []
    start, end, fault, size_bytes = taken.start, taken.end, taken.fault, 0
    rest: Taken | None = None
    for number, batch in enumerate(taken.batches, 1):
        rows = len(offsets)
        try:
            if not batch.validate_crc():
                raise kafka_errors.CorruptRecordException("wrong checksum")
            for record in batch:
                if record.offset >= start:
                    offsets.append(record.offset)
                    timestamps.append(record.timestamp)
                    keys.append(record.key)
                    values.append(record.value)
                    headers.append(record.headers)
        except Exception as error:  # noqa: BLE001 codecs raise what they like: the batch is unreadable, whatever it is
            for column in (offsets, timestamps, keys, values, headers):
                del column[rows:]
            # Messages older than Kafka 0.11 do not tell where their batch begins.
            end = max(start, getattr(batch, "base_offset", offsets[-1] + 1 if offsets else start))
            fault = reason_of(error)
            break
        size_bytes += sum(map(len, filter(None, values[rows:]))) + sum(map(len, filter(None, keys[rows:])))
        size_bytes += (len(offsets) - rows) * RECORD_OVERHEAD_BYTES
        if size_bytes >= most_bytes and number < len(taken.batches):
            end, fault = max(start, batch.next_offset), None
            rest = replace(taken, start=end, batches=taken.batches[number:])
            break
    chunk = RecordChunk(
        taken.source,
        start,
        end,
        offsets,
        timestamps if None not in timestamps else [-1 if stamp is None else stamp for stamp in timestamps],
        keys,
        values,
        [tuple(found) for found in headers] if any(headers) else None,
    )
    return Extracted(chunk, fault, rest)


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
