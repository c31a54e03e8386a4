"""The digest of a file: which raw records are in it, whatever bytes an encoder made of them.

It is what tells a file that an earlier attempt wrote from a stranger's. It must not depend on pyarrow's version, on
chunking, or on anything but offsets, Kafka timestamps and the CRC of key and value.
"""

from __future__ import annotations

import hashlib
import sys
from array import array
from collections.abc import Iterator, Sequence

import pyarrow as pa

from streamer.layout import CRC_COLUMN
from streamer.records import DeadLetter, record_crcs

_DIGITS = 32
_NO_TIMESTAMP = -1


def rows_digest(table: pa.Table) -> str:
    """The first 32 hexadecimal digits of a SHA-256 over three arrays of the rows, in their order, little-endian: `_offset` as
    int64, `_timestamp` as int64 milliseconds (-1 for null), `_crc` as uint32."""
    timestamps = table["_timestamp"].cast(pa.int64()).fill_null(_NO_TIMESTAMP)
    return _digest(buffer for column in (table["_offset"], timestamps, table[CRC_COLUMN]) for buffer in _buffers(column))


def letters_digest(letters: Sequence[DeadLetter]) -> str:
    """The same of dead letters: what `rows_digest` says of the same records had they become rows."""
    arrays = (
        array("q", [letter.offset for letter in letters]),
        array("q", [letter.timestamp for letter in letters]),
        array("I", record_crcs([letter.key for letter in letters], [letter.value for letter in letters])),
    )
    return _digest(memoryview(numbers) for numbers in arrays)


def _digest(buffers: Iterator[pa.Buffer | memoryview]) -> str:
    assert sys.byteorder == "little"
    digest = hashlib.sha256()
    for buffer in buffers:
        digest.update(buffer)
    return digest.hexdigest()[:_DIGITS]


def _buffers(column: pa.ChunkedArray) -> Iterator[pa.Buffer]:
    width = column.type.bit_width // 8
    for chunk in column.chunks:
        assert chunk.null_count == 0
        if len(chunk):
            yield chunk.buffers()[1].slice(chunk.offset * width, len(chunk) * width)
