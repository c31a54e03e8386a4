"""The byte strings of many records, left where they are: one buffer, and where each of them begins and ends.

What is as long as the topic (values, keys) is looked at here by the column; a `bytes` object is made only for who asks for
one. Values only: nothing here knows Kafka, JSON or the lake.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from isal.isal_zlib import crc32

Places = npt.NDArray[np.int64]

_SPACE, _NEWLINE = 0x20, 0x0A
_OFFSET_MAX = 2**31 - 1  # Arrow's of binary
_AT_A_TIME = 2_048


class PackedBytes(Sequence[bytes]):
    """Byte strings that lie one behind the other in `buffer`, in this order: the i-th is `buffer[starts[i]:ends[i]]`. Equal to
    any other sequence of the same byte strings."""

    __slots__ = ("_buffer", "_ends", "_is_lines", "_starts")

    def __init__(self, buffer: bytes | bytearray, starts: Places, ends: Places, *, is_lines: bool = False) -> None:
        """is_lines: `buffer` is nothing but these byte strings, blanks, and a newline between two of them."""
        self._buffer = buffer
        self._starts = starts
        self._ends = ends
        self._is_lines = is_lines

    @classmethod
    def blotting(cls, buffer: bytearray, starts: Places, ends: Places) -> Self:
        """The byte strings at these places, with a byte or more between two of them. All else in `buffer` becomes blank."""
        begins = np.concatenate(([0], ends))
        gaps = np.concatenate((starts, [len(buffer)])) - begins
        bytes_ = np.frombuffer(buffer, np.uint8)
        for first in range(0, len(gaps), _AT_A_TIME):  # a place takes eight times the byte that is there
            part = slice(first, first + _AT_A_TIME)
            # The places of all other bytes: for each gap its first place, repeated, and one more with each repetition.
            behind = np.cumsum(gaps[part])
            bytes_[np.repeat(begins[part] - behind + gaps[part], gaps[part]) + np.arange(behind[-1])] = _SPACE
        bytes_[ends[:-1]] = _NEWLINE
        return cls(buffer, starts, ends, is_lines=True)

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> PackedBytes: ...
    def __getitem__(self, at: int | slice) -> bytes | PackedBytes:
        if isinstance(at, slice):
            return PackedBytes(self._buffer, self._starts[at], self._ends[at])
        return bytes(self._buffer[self._starts[at] : self._ends[at]])

    def __iter__(self) -> Iterator[bytes]:
        view = memoryview(self._buffer)
        return (bytes(view[start:end]) for start, end in zip(self._starts.tolist(), self._ends.tolist(), strict=True))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"PackedBytes({len(self)}, {self.size_bytes} bytes)"

    @property
    def size_bytes(self) -> int:
        """Of all byte strings together."""
        return int((self._ends - self._starts).sum())

    def all_filled(self) -> bool:
        """Whether none of them is empty."""
        return bool((self._ends > self._starts).all())

    def all_within(self, first: int, last: int) -> bool:
        """Whether each begins with the byte `first` and ends with the byte `last`."""
        if not self.all_filled():
            return False
        bytes_ = np.frombuffer(self._buffer, np.uint8)
        return bool((bytes_[self._starts] == first).all() and (bytes_[self._ends - 1] == last).all())

    def picked(self, indexes: Sequence[int]) -> PackedBytes:
        """Those at `indexes`, which ascend."""
        at = np.asarray(indexes, np.intp)
        return PackedBytes(self._buffer, self._starts[at], self._ends[at])

    def lines(self) -> bytes | bytearray:
        """All of them, with a newline and any number of spaces between two. Not to be written to."""
        return self._buffer if self._is_lines else b"\n".join(self)

    def compact(self) -> PackedBytes:
        """The same without any byte between them, in a buffer of their own."""
        array = self.arrow()
        _, offsets, buffer = array.buffers()
        places = np.frombuffer(offsets, np.int32, len(self) + 1).astype(np.int64)
        return PackedBytes(bytes(buffer) if buffer is not None else b"", places[:-1], places[1:])

    def arrow(self) -> pa.Array:
        """A `binary` array of them, without the bytes between."""
        if len(self._buffer) > _OFFSET_MAX:
            return pa.array(list(self), pa.binary())
        # Every second value of an array that has what lies between as values, too.
        places = np.zeros(2 * len(self) + 1, np.int32)
        places[1::2], places[2::2] = self._starts, self._ends
        buffers = [None, pa.py_buffer(places), pa.py_buffer(self._buffer)]
        both = pa.Array.from_buffers(pa.binary(), 2 * len(self), buffers)
        return both.take(pa.array(np.arange(1, 2 * len(self), 2)))

    def crcs(self, heads: Sequence[int] | None = None) -> list[int]:
        """CRC-32 (as in zlib) of each; `heads`: of what comes before each of them."""
        view = memoryview(self._buffer)
        places = zip(self._starts.tolist(), self._ends.tolist(), strict=True)
        if heads is None:
            return [crc32(view[start:end]) for start, end in places]
        return [crc32(view[start:end], head) for (start, end), head in zip(places, heads, strict=True)]


def picked(column: Sequence[Any], indexes: Sequence[int]) -> Sequence[Any]:
    """The elements of a column of records at `indexes`, which ascend."""
    if isinstance(column, PackedBytes):
        return column.picked(indexes)
    return [column[at] for at in indexes]
