"""One data file or dead-letter file of the lake, opened: what it says of itself, and the rows or letters asked for.

Small objects come with one GET, large Parquet files with the ranges needed. Judges nothing: a file that cannot be read is an
`Unreadable`, and the caller decides.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from streamer.lake.fetched_ranges import fetch_parquet
from streamer.lake.inventory import LakeFile
from streamer.lake.letters import Letter, parse_letters
from streamer.lake.ndjson_rows import parse_rows
from streamer.store.contract import Store
from streamer.workers import Workers
from streamer.write.parquet import METADATA_PREFIX

WHOLE_BYTES = 256 << 10
"""Up to here a file is read with one GET, metadata included; beyond, a HEAD and ranges cost less than the bytes."""

FACTS = (
    "version",
    "stream",
    "topic",
    "partition",
    "lineage",
    "start",
    "end",
    "layout",
    "rows",
    "digest",
    "batch_rows",
    "batch_dead_letters",
    "batch_files",
)
"""What a file says of itself, in the object's metadata and, for Parquet, in the footer."""


REFUSED_BY = "refused_by"
"""What a dead-letter file may say besides: how many letters each quality rule made."""


class Unreadable(Exception):
    """The bytes are not a file of the format that its name says."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file, opened. `facts` is the object's metadata, `footer` the Parquet footer's (None where there is none).

    `rows` is the number of rows or letters really there, None where the content was not looked at.
    """

    file: LakeFile
    facts: Mapping[str, str] | None
    footer: Mapping[str, str] | None = None
    rows: int | None = None
    table: pa.Table | None = field(default=None, repr=False)
    letters: tuple[Letter, ...] | None = field(default=None, repr=False)

    @property
    def said(self) -> Mapping[str, str]:
        """The facts, from wherever they are."""
        return self.facts or self.footer or {}


async def read_facts(store: Store, file: LakeFile) -> StoredFile:
    """The file's facts with as little traffic as can be: a HEAD, and the footer where the store keeps no metadata.

    Raises `NotFound` and `Unreadable`.
    """
    facts = _facts((await store.head(file.key)).metadata)
    if facts is not None or file.folder.suffix != "parquet":
        return StoredFile(file, facts)
    parquet = await _ranged(store, file, ())
    return StoredFile(file, None, _footer(parquet), parquet.metadata.num_rows)


async def read_file(
    store: Store, file: LakeFile, columns: Collection[str] | None, schema: pa.Schema, workers: Workers
) -> StoredFile:
    """The file with `columns` of its rows (None: all), or with its dead letters.

    `schema` types the columns of NDJSON, which carries no types; Parquet brings its own. Columns that are not there are left
    out. Raises `NotFound` and `Unreadable`.
    """
    if file.folder.dead_letters or file.folder.suffix != "parquet" or file.size_bytes <= WHOLE_BYTES:
        stored = await store.get(file.key)
        facts = _facts(stored.info.metadata)
        return await workers.run(_parsed, file, facts, stored.body, columns, schema)
    head, parquet = await asyncio.gather(store.head(file.key), _ranged(store, file, columns))
    return await workers.run(_of_parquet, file, _facts(head.metadata), parquet, columns)


async def _ranged(store: Store, file: LakeFile, columns: Collection[str] | None) -> pq.ParquetFile:
    try:
        return await fetch_parquet(store, file.key, file.size_bytes, columns)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Unreadable(str(error)) from error


def _parsed(
    file: LakeFile, facts: Mapping[str, str] | None, body: bytes, columns: Collection[str] | None, schema: pa.Schema
) -> StoredFile:
    try:
        if file.folder.suffix == "parquet":
            return _of_parquet(file, facts, pq.ParquetFile(pa.BufferReader(body), pre_buffer=False), columns)
        text = decompressed(body, file.folder.suffix)
        if file.folder.dead_letters:
            letters = parse_letters(text)
            return StoredFile(file, facts, rows=len(letters), letters=letters)
        table = parse_rows(text, schema, columns)
        return StoredFile(file, facts, rows=table.num_rows, table=table)
    except (pa.ArrowException, OSError, ValueError, EOFError) as error:
        raise Unreadable(str(error)) from error


def _of_parquet(
    file: LakeFile, facts: Mapping[str, str] | None, parquet: pq.ParquetFile, columns: Collection[str] | None
) -> StoredFile:
    try:
        there = [name for name in parquet.schema_arrow.names if columns is None or name in columns]
        table = parquet.read(columns=there, use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Unreadable(str(error)) from error
    return StoredFile(file, facts, _footer(parquet), parquet.metadata.num_rows, table)


def decompressed(body: bytes, suffix: str) -> bytes:
    """The text of an `.ndjson.gz` or `.ndjson.zst`. Raises `ValueError` or `OSError` where it is none, or is cut short."""
    if not body:
        raise ValueError("there is not a byte in it")
    if suffix.endswith("zst"):
        with pa.CompressedInputStream(pa.BufferReader(body), "zstd") as stream:
            return bytes(stream.read())
    parts = []
    while body:
        stream = zlib.decompressobj(wbits=31)
        try:
            parts.append(stream.decompress(body))
        except zlib.error as error:
            raise ValueError(str(error)) from error
        if not stream.eof:
            raise ValueError("the compressed data is cut short")
        body = stream.unused_data
    return b"".join(parts)


def _facts(metadata: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Only what is ours: a store or a copy tool may have added more."""
    found = {name: metadata[name] for name in (*FACTS, REFUSED_BY) if name in metadata} if metadata else {}
    return found or None


def _footer(parquet: pq.ParquetFile) -> Mapping[str, str] | None:
    pairs = parquet.metadata.metadata or {}
    found = {}
    for name in FACTS:
        value = pairs.get(f"{METADATA_PREFIX}{name}".encode())
        if value is not None:
            found[name] = value.decode("utf-8", "replace")
    return found or None
