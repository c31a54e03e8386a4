"""The nouns that travel from Kafka to the lake: partitions, chunks of records, dead letters, batches.

Values only. Nothing here reads a clock, opens a file or knows a client library, so every room may import it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import repeat
from typing import NamedTuple

from isal.isal_zlib import crc32

from streamer.packed import PackedBytes

RECORD_OVERHEAD_BYTES = 150
"""An integer or two, the heads of a bytes object or two, and four list entries, as CPython 3.11 counts them."""

PACKED_OVERHEAD_BYTES = 64
"""Of a record in packed columns: what frames it, a timestamp, and where key and value begin and end."""

Headers = tuple[tuple[str, bytes | None], ...]


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


def record_crcs(keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> list[int]:
    """CRC-32 (as in zlib) of each record's key bytes followed by its value bytes; a null counts as empty.

    It is what tells two records with the same offset apart: the position keeps it for the last committed record,
    and the digest of a data file is made from it.
    """
    heads: Sequence[int] | None = None
    if isinstance(keys, PackedBytes):
        heads = keys.crcs()
    elif any(keys):
        heads = [crc32(key or b"") for key in keys]
    if isinstance(values, PackedBytes):
        return values.crcs(heads)
    return list(map(crc32, (value or b"" for value in values), heads or repeat(0)))


def payload_bytes(keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> int:
    """Bytes of these keys and values; a null counts nothing."""
    return sum(_size_bytes(column) for column in (keys, values))


def _size_bytes(column: Sequence[bytes | None]) -> int:
    if isinstance(column, PackedBytes):
        return column.size_bytes
    return sum(map(len, filter(None, column))) if any(column) else 0


@dataclass(frozen=True, slots=True)
class RecordChunk:
    """Consecutive records of one partition, column by column, as one fetch brought them.

    `offsets` ascend strictly and may have holes (compaction, transaction markers). Every offset in `[start, end)` that
    is not listed holds no record a consumer may see. `timestamps` are Kafka's, in milliseconds since the epoch
    (-1 where the broker had none). `headers` is None where no record of the chunk has any. `payload_bytes`: of all keys and
    values, what a user counts as the size of the data; counted here unless given. Columns may be of any kind of sequence that
    can be sliced: `PackedBytes`, `range` and `array` are the ones that cost no object a record.
    """

    source: TopicPartition
    start: int
    end: int
    offsets: Sequence[int]
    timestamps: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Sequence[Headers] | None = None
    payload_bytes: int = field(default=-1, compare=False)

    def __post_init__(self) -> None:
        if self.payload_bytes < 0:
            object.__setattr__(self, "payload_bytes", payload_bytes(self.keys, self.values))
        if self.offsets and not self.start <= self.offsets[0] <= self.offsets[-1] < self.end:
            raise ValueError(f"{self.source}: offsets {self.offsets[0]}..{self.offsets[-1]} outside [{self.start},{self.end})")

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def size_bytes(self) -> int:
        """Memory that it takes, about."""
        if not isinstance(self.values, PackedBytes):
            return self.payload_bytes + RECORD_OVERHEAD_BYTES * len(self)
        size_bytes = self.payload_bytes + PACKED_OVERHEAD_BYTES * len(self)
        if isinstance(self.keys, PackedBytes):
            return size_bytes + self.keys.size_bytes  # they are in the values' buffer, too
        return size_bytes + RECORD_OVERHEAD_BYTES * len(self) if any(self.keys) else size_bytes

    def split(self, offset: int) -> tuple[RecordChunk, RecordChunk]:
        """Cut at `offset`: everything below it, and the rest. Either side may be without records."""
        offset = min(max(offset, self.start), self.end)
        at = bisect_left(self.offsets, offset)
        head, tail = slice(None, at), slice(at, None)
        return self._part(self.start, offset, head), self._part(offset, self.end, tail)

    def _part(self, start: int, end: int, rows: slice) -> RecordChunk:
        if rows in (slice(None, len(self)), slice(0, None)):  # all of them, which need no copy
            columns = (self.offsets, self.timestamps, self.keys, self.values, self.headers, self.payload_bytes)
            return RecordChunk(self.source, start, end, *columns)
        headers = self.headers[rows] if self.headers is not None else None
        return RecordChunk(
            self.source, start, end, self.offsets[rows], self.timestamps[rows], self.keys[rows], self.values[rows], headers
        )


class DeadLetterReason(StrEnum):
    """Why a record is in no table. The words are part of the lake's format and never change their meaning."""

    TOMBSTONE = "tombstone"  # the value is null
    EMPTY = "empty"  # the value has no bytes, or white space only
    INVALID_UTF8 = "invalid_utf8"
    INVALID_JSON = "invalid_json"  # truncated, two documents in one value, NaN, a lone surrogate, ...
    NOT_AN_OBJECT = "not_an_object"
    MISSING_FIELD = "missing_field"  # a required column is absent or null
    WRONG_TYPE = "wrong_type"  # a value that does not convert exactly to its column's type
    OUT_OF_RANGE = "out_of_range"  # the right kind of value, beyond what the column can hold
    BAD_TIMESTAMP = "bad_timestamp"  # not a time, or outside 1970..2262
    TOO_MANY_FEATURES = "too_many_features"
    RULE = "rule"  # a validation rule of the stream refused it


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record that could not become a row, whole: nothing of what Kafka held is lost."""

    offset: int
    timestamp: int  # Kafka's, milliseconds
    key: bytes | None
    value: bytes | None
    headers: Headers
    reason: DeadLetterReason
    detail: str  # which field and what about it; never longer than 200 characters
    rule: str = ""  # the quality rule that refused it, if one did; its name begins the detail

    @property
    def size_bytes(self) -> int:
        return 200 + len(self.key or b"") + len(self.value or b"") + len(self.detail)


@dataclass(frozen=True, slots=True, order=True)
class BatchRange:
    """A batch: the half-open offset range `[start, end)` of one partition, the unit of commit.

    `lineage` counts how often an operator accepted that the topic was made anew.
    """

    source: TopicPartition
    start: int
    end: int
    lineage: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise ValueError(f"{self.source}: [{self.start},{self.end}) is not a range")

    def __str__(self) -> str:
        return f"{self.source}[{self.start},{self.end})"


class CutReason(StrEnum):
    """Why a batch was closed: the label of the metric and of the log line."""

    ROWS = "rows"
    BYTES = "bytes"
    AGE = "age"
    IDLE = "idle"
    MEMORY = "memory"
    REVOKED = "revoked"
    STOP = "stop"
    RECOVERY = "recovery"  # the range was sealed by an earlier owner
    RESEEK = "reseek"  # Kafka lost the offsets that come next; what was read before is written first
