"""A stream as pyarrow datasets: Parquet where it lies, each file with what its folder says of its rows; the rest in memory.

What a file's folder promises (symbol, day) lets DuckDB, Polars and pyarrow leave files out that a filter rules out.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pa_ds
import pyarrow.fs as pa_fs

from streamer.errors import StreamerError
from streamer.lake.arrow_files import LakeFiles
from streamer.lake.closed_days import info_of
from streamer.lake.loop_thread import LoopRunner
from streamer.lake.path_filter import SYMBOL
from streamer.lake.read_plan import Piece, day_span
from streamer.lake.reader import PreparedRead
from streamer.store.contract import ObjectInfo

DATE = "date"


@dataclass(frozen=True, slots=True)
class Via:
    """How pyarrow's reads reach the store, and where the reasons of those that fail are kept."""

    loop: LoopRunner
    failures: list[StreamerError] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class StreamData:
    """All rows of a stream. dated: files of one day each, with the column `date`; undated: the rest of them, whose rows of
    closed days count only where they are of the archive, which `dated` holds. held: what is no Parquet, in memory."""

    dated: Any
    undated: Any
    held: pa.Table


async def stream_data(read: PreparedRead, pieces: Sequence[Piece], via: Via) -> StreamData:
    """The datasets of a request without filters; `pieces` are those of it that are wanted."""
    parquet = [piece for piece in pieces if piece.suffix == "parquet"]
    async with aclosing(read.tables([piece for piece in pieces if piece.suffix != "parquet"])) as tables:
        held = pa.concat_tables([read.scan.schema.empty_table(), *[table async for table in tables]]).select(read.schema.names)
    dated, undated = [p for p in parquet if p.day is not None], [p for p in parquet if p.day is None]
    schema = read.schema
    if DATE not in schema.names:
        schema = schema.append(pa.field(DATE, pa.date32()))
    return StreamData(
        _dataset(read, dated, schema, via, [_promise(read, piece) for piece in dated]),
        _dataset(read, undated, read.schema, via, [_symbol(read, piece) for piece in undated]),
        held,
    )


def bar_data(read: PreparedRead, outputs: Sequence[tuple[Any, Any]], schema: pa.Schema, via: Via) -> Any:
    """The archive's bars, (day, output) each, with the columns `symbol` and `date` that their places give."""
    whole = pa.schema([pa.field(SYMBOL, pa.string()), *schema, pa.field(DATE, pa.date32())])
    infos = [info_of(output) for _, output in outputs]
    promises = [
        (pc.field(SYMBOL) == pa.scalar(output.symbol, pa.string())) & (pc.field(DATE) == pa.scalar(day, pa.date32()))
        for day, output in outputs
    ]
    return _of_files(read, infos, whole, via, promises)


def _dataset(read: PreparedRead, pieces: Sequence[Piece], schema: pa.Schema, via: Via, promises: list[Any]) -> Any:
    return _of_files(read, [piece.info for piece in pieces], schema, via, promises)


def _of_files(read: PreparedRead, infos: Sequence[ObjectInfo], schema: pa.Schema, via: Via, promises: list[Any]) -> Any:
    if not infos:
        return pa_ds.dataset(schema.empty_table())
    return pa_ds.FileSystemDataset.from_paths(
        [info.key for info in infos],
        schema=schema,
        format=pa_ds.ParquetFileFormat(),
        filesystem=pa_fs.PyFileSystem(LakeFiles(read.versions, via.loop, infos, via.failures)),
        partitions=promises,
    )


def _promise(read: PreparedRead, piece: Piece) -> Any:
    assert piece.day is not None
    first, behind = day_span(piece.day)
    kind = read.scan.full_schema.field(read.event_time).type
    time = pc.field(read.event_time)
    promise = (time >= pa.scalar(first, kind)) & (time < pa.scalar(behind, kind)) & _symbol(read, piece)
    return promise if DATE in read.schema.names else promise & (pc.field(DATE) == pa.scalar(piece.day, pa.date32()))


def _symbol(read: PreparedRead, piece: Piece) -> Any:
    symbol = piece.output.symbol if piece.output is not None else read.scan.symbol_of(piece.folder)
    if symbol is None or SYMBOL not in read.schema.names:
        return pc.scalar(True)
    return pc.field(SYMBOL) == pa.scalar(symbol, pa.string())
