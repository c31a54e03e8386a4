"""Rows of one listed object, with few requests: one GET of a small object, ranges of a large Parquet file.

The version that was listed is the version that is read or the read fails; a cache in front may answer for it. Judges nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from streamer.cache.versions import IsCurrent
from streamer.errors import NotFound
from streamer.lake.fetched_ranges import fetch_parquet
from streamer.lake.ndjson_rows import parse_rows
from streamer.lake.stored_file import WHOLE_BYTES, Unreadable, decompressed
from streamer.store.contract import ObjectInfo, Store
from streamer.workers import Workers


class VersionReader(Protocol):
    """Reads bytes of a version of an object that was listed."""

    async def read(self, info: ObjectInfo) -> bytes:
        """All of it. Raises `NotFound`."""
        ...

    async def read_range(self, info: ObjectInfo, start: int, length: int) -> bytes:
        """Some of it. Raises `NotFound`, also where another version is there by now."""
        ...


class StoreReader:
    """Reads from the store, each time."""

    def __init__(self, store: Store, is_current: IsCurrent) -> None:
        self._store = store
        self._is_current = is_current

    async def read(self, info: ObjectInfo) -> bytes:
        return (await self._store.get(info.key)).body

    async def read_range(self, info: ObjectInfo, start: int, length: int) -> bytes:
        part = await self._store.get_range(info.key, start, length)
        if not await self._is_current(info):
            raise NotFound("another version of the object is there by now", key=info.key)
        return part


class _Pinned:
    """The ranges of one listed version."""

    def __init__(self, versions: VersionReader, info: ObjectInfo) -> None:
        self._versions = versions
        self._info = info

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        return await self._versions.read_range(self._info, start, length)


class TimeGroups:
    """The row groups that can hold rows with `start <= column < end`, by their statistics."""

    def __init__(self, column: str, start: datetime | None, end: datetime | None) -> None:
        self._column = column
        self._start = start
        self._end = end

    def __call__(self, metadata: Any) -> list[int]:
        names = [metadata.schema.column(number).path for number in range(metadata.num_columns)]
        if self._column not in names or metadata.num_row_groups < 2:
            return list(range(metadata.num_row_groups))
        at = names.index(self._column)
        return [n for n in range(metadata.num_row_groups) if self._may_hold(metadata.row_group(n).column(at).statistics)]

    def _may_hold(self, statistics: Any) -> bool:
        if statistics is None or not statistics.has_min_max or statistics.null_count:
            return True
        least, most = statistics.min, statistics.max
        if not isinstance(least, datetime) or not isinstance(most, datetime) or least.tzinfo is None:
            return True
        return (self._end is None or least < self._end) and (self._start is None or most >= self._start)


async def read_table(
    versions: VersionReader,
    info: ObjectInfo,
    suffix: str,
    columns: Collection[str],
    schema: pa.Schema,
    workers: Workers,
    groups: TimeGroups | None = None,
) -> pa.Table:
    """`columns` of the rows in an object of this suffix; those it has not are left out.

    `schema` types NDJSON, which carries no types. `groups`: which row groups of Parquet are wanted; others may come too. Raises
    `NotFound` and `Unreadable`.
    """
    if suffix != "parquet":
        body = await versions.read(info)
        return await workers.run(_of_text, body, suffix, columns, schema)
    if info.size_bytes <= WHOLE_BYTES:
        body = await versions.read(info)
        return await workers.run(_of_bytes, body, columns)
    try:
        parquet = await fetch_parquet(_Pinned(versions, info), info.key, info.size_bytes, columns, groups)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Unreadable(str(error)) from error
    return await workers.run(_of_parquet, parquet, columns, groups)


def _of_text(body: bytes, suffix: str, columns: Collection[str], schema: pa.Schema) -> pa.Table:
    try:
        return parse_rows(decompressed(body, suffix), schema, columns)
    except (pa.ArrowException, OSError, ValueError, EOFError) as error:
        raise Unreadable(str(error)) from error


def _of_bytes(body: bytes, columns: Collection[str]) -> pa.Table:
    try:
        parquet = pq.ParquetFile(pa.BufferReader(body), pre_buffer=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Unreadable(str(error)) from error
    return _of_parquet(parquet, columns, None)


def _of_parquet(parquet: pq.ParquetFile, columns: Collection[str], groups: TimeGroups | None) -> pa.Table:
    try:
        there = [name for name in parquet.schema_arrow.names if name in columns]
        if groups is None:
            return parquet.read(columns=there, use_threads=False)
        return parquet.read_row_groups(groups(parquet.metadata), columns=there, use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Unreadable(str(error)) from error
