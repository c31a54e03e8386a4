"""Record batches of Kafka's current format (magic 2) made into columns, without an object for each record.

Arithmetic over the whole batch at once, for a worker's thread: it leaves the GIL to the event loop. Where each record ends is
guessed first and then proven: every record must fill its place to the byte. What is not that plain (headers, null values) is
declined, and aiokafka splits it. Format: https://kafka.apache.org/documentation/#recordbatch
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from aiokafka.codec import gzip_decode, lz4_decode, snappy_decode, zstd_decode

from streamer.packed import PackedBytes, Places

_HEADER = struct.Struct(">qiibIhiqqqhii")
_MAGIC_AT, _MAGIC = 16, 2
_CODEC, _APPEND_TIME = 0x07, 0x08
_DECODERS = {0: bytes, 1: gzip_decode, 2: snappy_decode, 3: lz4_decode, 4: zstd_decode}

WINDOW_BYTES = 256 << 10
"""Records are parted from each other window by window, while they are in the processor's cache."""

_BRACE = 0x7D
_VARINT_BYTES_MAX = 10

Bytes = npt.NDArray[np.uint8]


class _NotPlainError(Exception):
    """These records are for aiokafka."""


@dataclass(frozen=True, slots=True)
class OpenedRecordBatch:
    """A batch, decompressed. append_time: the broker's, for all its records; None where each has its own."""

    records: bytes
    count: int
    base_offset: int
    last_offset: int
    first_timestamp: int
    append_time: int | None


@dataclass(frozen=True, slots=True)
class Columns:
    """Records of several batches, in their order. `offsets` is a range where there are no holes."""

    offsets: Sequence[int]
    timestamps: array[int]
    keys: Sequence[bytes | None]
    values: PackedBytes


def is_current(raw: memoryview) -> bool:
    """Whether a batch is of the format that is known here."""
    return raw[_MAGIC_AT] == _MAGIC


def open_record_batch(raw: memoryview) -> OpenedRecordBatch | None:
    """The batch that `raw` is; None where it is of an older format. Its checksum has been looked at. Raises what codecs do."""
    if not is_current(raw):
        return None
    base, _, _, _, _, attributes, last_delta, first, last, _, _, _, count = _HEADER.unpack_from(raw)
    decode = _DECODERS.get(attributes & _CODEC)
    if decode is None:
        return None
    records = decode(bytes(raw[_HEADER.size :]))
    return OpenedRecordBatch(records, count, base, base + last_delta, first, last if attributes & _APPEND_TIME else None)


def begins_plainly(batch: OpenedRecordBatch) -> bool:
    """Whether its first record is plain enough, or there is none. Where the producers add headers none is, and opening the
    others would be for nothing."""
    if not batch.records:
        return not batch.count
    try:
        length, at = _varints(np.frombuffer(batch.records, np.uint8), np.zeros(1, np.int64))
        _demand((length > 0) & (length <= len(batch.records) - at))
        first = batch.records[: int(at[0] + length[0])]
        _part(bytearray(first), 0, [replace(batch, records=first, count=1)])
    except _NotPlainError:
        return False
    return True


def columns_of(batches: Sequence[OpenedRecordBatch]) -> Columns | None:
    """All records of `batches`, which have at least one; None where they are not plain enough."""
    batches = [batch for batch in batches if batch.count or batch.records]
    if not batches or not all(batch.count > 0 for batch in batches):
        return None
    buffer = bytearray().join([batch.records for batch in batches])
    parts = []
    begin = first = size = 0
    for number, batch in enumerate(batches, 1):
        size += len(batch.records)
        if size >= WINDOW_BYTES or number == len(batches):
            try:
                parts.append(_part(buffer, begin, batches[first:number]))
            except _NotPlainError:
                return None
            begin, first, size = begin + size, number, 0
    offsets, timestamps, key_starts, key_ends, starts, ends = (np.concatenate(column) for column in zip(*parts, strict=True))
    if not _proven(offsets[1:] > offsets[:-1]):
        return None
    keys = _keys(buffer, key_starts, key_ends)  # before the values are all that is left
    values = PackedBytes.blotting(buffer, starts, ends)
    return Columns(_range_or_array(offsets), array("q", timestamps.tobytes()), keys, values)


def _part(buffer: bytearray, begin: int, batches: Sequence[OpenedRecordBatch]) -> tuple[Places, ...]:
    """Offsets, timestamps, and where keys and values begin and end in `buffer`, of batches that lie there from `begin` on. A
    key that is null ends before it begins. Raises `_NotPlainError`."""
    counts = np.array([batch.count for batch in batches])
    lasts = np.cumsum(counts) - 1
    batch_ends = np.cumsum([len(batch.records) for batch in batches])
    bytes_ = np.frombuffer(buffer, np.uint8, batch_ends[-1], begin)
    for find in (_guessed, _walked):
        ends = find(bytes_)
        if len(ends) != lasts[-1] + 1 or not np.array_equal(ends[lasts], batch_ends):
            continue
        starts = np.empty_like(ends)
        starts[:1], starts[1:] = 0, ends[:-1]
        length, at = _varints(bytes_, starts)
        if _proven((length > 0) & (at + length == ends)):
            break
    else:
        raise _NotPlainError
    # The attributes, of which none is in use, are one byte, or a number to aiokafka: the same where they are zero.
    _demand(bytes_[at] == 0)
    delta, at = _varints(bytes_, at + 1)
    offset, at = _varints(bytes_, at)
    key_bytes, key_starts = _varints(bytes_, at)
    _demand((key_bytes >= -1) & (key_starts + key_bytes < ends))
    value_bytes, value_starts = _varints(bytes_, key_starts + np.maximum(key_bytes, 0))
    value_ends = value_starts + value_bytes
    # One byte is left, which says that there are no headers.
    _demand((value_bytes >= 0) & (value_ends == ends - 1))
    _demand(bytes_[value_ends] == 0)
    offsets = offset + np.repeat([batch.base_offset for batch in batches], counts)
    within = (offset[0] >= 0) & (offsets[lasts] <= [batch.last_offset for batch in batches])
    _demand(within)
    timestamps = delta + np.repeat([batch.first_timestamp for batch in batches], counts)
    if any(batch.append_time is not None for batch in batches):
        own = np.repeat([batch.append_time is None for batch in batches], counts)
        timestamps = np.where(own, timestamps, np.repeat([batch.append_time or 0 for batch in batches], counts))
    return offsets, timestamps, key_starts + begin, key_starts + key_bytes + begin, value_starts + begin, value_ends + begin


def _guessed(bytes_: Bytes) -> Places:
    """Where records with JSON objects may end: behind a brace and the zero that stands for no headers."""
    zeros = np.flatnonzero(bytes_ == 0)
    guessed: Places = zeros[bytes_[zeros - 1] == _BRACE] + 1
    return guessed


def _walked(bytes_: Bytes) -> Places:
    """Where records end, by the length that each begins with, as far as that leads."""
    buffer, at, end = bytes_.tobytes(), 0, len(bytes_)
    ends: list[int] = []
    while at < end:
        length = shift = 0
        while at < end:
            byte = buffer[at]
            length |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                break
        if length & 1 or not length or shift > 7 * _VARINT_BYTES_MAX:
            break  # a negative one
        at += length >> 1
        if at > end:
            break
        ends.append(at)
    return np.array(ends, np.int64)


def _varints(bytes_: Bytes, at: Places) -> tuple[Places, Places]:
    """The zigzag variable-length integers at these places, and the places behind them. Beyond the end the last byte
    is read again, which the caller's proofs find. Raises `_NotPlainError` for one that is too long to be any."""
    last = len(bytes_) - 1
    byte = bytes_[np.clip(at, 0, last)].astype(np.int64)
    number, at, shift = byte & 0x7F, at + 1, 7
    more = byte >= 0x80
    while more.any():
        if shift == 7 * _VARINT_BYTES_MAX:
            raise _NotPlainError
        byte = np.where(more, bytes_[np.clip(at, 0, last)], 0).astype(np.int64)
        number |= (byte & 0x7F) << shift
        at, shift = at + more, shift + 7
        more = byte >= 0x80
    # A logical shift: ten bytes hold all 64 bits.
    return (number.view(np.uint64) >> np.uint64(1)).view(np.int64) ^ -(number & 1), at


def _demand(claims: npt.NDArray[np.bool_]) -> None:
    if not _proven(claims):
        raise _NotPlainError


def _proven(claims: npt.NDArray[np.bool_]) -> bool:
    return bool(claims.all())


def _range_or_array(offsets: Places) -> Sequence[int]:
    first, last = int(offsets[0]), int(offsets[-1])
    return range(first, last + 1) if last - first == len(offsets) - 1 else array("q", offsets.tobytes())


def _keys(buffer: bytearray, starts: Places, ends: Places) -> Sequence[bytes | None]:
    null = ends < starts
    if not null.any():
        return PackedBytes(buffer, starts, ends).compact()
    if null.all():
        return [None] * len(starts)
    places = zip(starts.tolist(), ends.tolist(), strict=True)
    return [bytes(buffer[start:end]) if start <= end else None for start, end in places]
