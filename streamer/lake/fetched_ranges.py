"""Parts of a Parquet file, fetched by range and shown to pyarrow as if the whole were there.

pyarrow reads synchronously and the store does not, so the byte ranges are worked out first, fetched together, and then
read. Anything that was not fetched is an error, never zeroes.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Collection
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from streamer.lake.ranged_file import RangedFile

Groups = Callable[[Any], Collection[int]]
"""From a file's metadata to the numbers of the row groups that are wanted."""


class RangeSource(Protocol):
    """What ranges come from: a store, or a cache in front of one."""

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """As a store's."""
        ...


TAIL_BYTES = 64 << 10
"""What pyarrow itself reads first from the end of a file; footers of our files are about 3 KiB."""

JOIN_BYTES = 128 << 10
"""Ranges closer than this are fetched as one: a request costs more than these bytes."""

MAGIC = b"PAR1"


class FetchedRanges(RangedFile):
    """A read-only file of `size` bytes of which only some ranges are here."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._starts: list[int] = []
        self._parts: list[bytes] = []

    def add(self, start: int, part: bytes) -> None:
        """Take in the bytes that start at `start`."""
        at = bisect_right(self._starts, start)
        self._starts.insert(at, start)
        self._parts.insert(at, part)

    def has(self, start: int, length: int) -> bool:
        """Whether all of these bytes are here, in one part."""
        return self._part_of(start, length) is not None

    def _part_of(self, start: int, length: int) -> tuple[int, bytes] | None:
        for at in range(bisect_right(self._starts, start) - 1, -1, -1):
            if start + length <= self._starts[at] + len(self._parts[at]):
                return self._starts[at], self._parts[at]
        return None

    def read_at(self, start: int, length: int) -> bytes:
        found = self._part_of(start, length)
        if found is None:
            raise OSError(f"bytes [{start},{start + length}) were not fetched")
        at, part = found
        return part[start - at : start - at + length]


async def fetch_parquet(
    store: RangeSource, key: str, size_bytes: int, columns: Collection[str] | None, groups: Groups | None = None
) -> pq.ParquetFile:
    """The file's footer and the chunks of `columns` (None: all) in `groups` (None: all), ready to be read without a request.

    Columns that the file does not have are left out. Raises `NotFound`, and `pa.ArrowException`, `OSError` or `ValueError`
    where it is no Parquet file: names in a damaged footer may be no UTF-8.
    """
    file = FetchedRanges(size_bytes)
    tail = await _fetch(store, key, max(0, size_bytes - TAIL_BYTES), min(size_bytes, TAIL_BYTES))
    if len(tail) < 12 or tail[-4:] != MAGIC:
        raise pa.ArrowInvalid(f"{size_bytes} bytes that do not end as a Parquet file does")
    footer_bytes = int.from_bytes(tail[-8:-4], "little") + 8
    if footer_bytes > size_bytes:
        raise pa.ArrowInvalid("its footer is said to be longer than the file")
    if footer_bytes > len(tail):
        # Read again in one piece: pyarrow asks for the footer in one piece too.
        tail = await _fetch(store, key, size_bytes - footer_bytes, footer_bytes)
    file.add(size_bytes - len(tail), tail)
    metadata = pq.read_metadata(pa.PythonFile(file, mode="r"))
    wanted = [
        part
        for part in joined(chunk_ranges(metadata, columns, groups(metadata) if groups is not None else None))
        if not file.has(*part)
    ]
    for (start, _), part in zip(wanted, await asyncio.gather(*(_fetch(store, key, *part) for part in wanted)), strict=True):
        file.add(start, part)
    return pq.ParquetFile(pa.PythonFile(file, mode="r"), metadata=metadata, pre_buffer=False)


def chunk_ranges(
    metadata: Any, columns: Collection[str] | None, groups: Collection[int] | None = None
) -> list[tuple[int, int]]:
    """(start, length) of every column chunk in `groups` (None: all) that holds one of `columns`, nested parts included."""
    found = []
    for group_number in range(metadata.num_row_groups):
        if groups is not None and group_number not in groups:
            continue
        group = metadata.row_group(group_number)
        for number in range(group.num_columns):
            chunk = group.column(number)
            path = chunk.path_in_schema
            if columns is not None and path not in columns and path.split(".")[0] not in columns:
                continue
            start = chunk.data_page_offset
            if chunk.has_dictionary_page and chunk.dictionary_page_offset:
                start = min(start, chunk.dictionary_page_offset)
            found.append((start, chunk.total_compressed_size))
    return found


def joined(ranges: list[tuple[int, int]], near: int = JOIN_BYTES) -> list[tuple[int, int]]:
    """`ranges` sorted, with those that touch or nearly touch made one."""
    result: list[tuple[int, int]] = []
    for start, length in sorted(ranges):
        if result and start <= sum(result[-1]) + near:
            first, had = result[-1]
            result[-1] = first, max(had, start + length - first)
        else:
            result.append((start, length))
    return result


async def _fetch(store: RangeSource, key: str, start: int, length: int) -> bytes:
    part = await store.get_range(key, start, length)
    if len(part) != length:
        raise pa.ArrowInvalid(f"{len(part)} bytes came of {length} at {start}: the object is shorter than listed")
    return part
