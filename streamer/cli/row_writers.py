"""Arrow batches as people and tools want them: a table, CSV, JSON lines, Parquet. To standard output or to a file.

A file appears under its name when it is complete, so that a scan that was broken off leaves nothing that looks done.
"""

from __future__ import annotations

import os
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from streamer.cli.output import print_table
from streamer.errors import Invalid


class RowWriter(Protocol):
    """Takes batches of one schema."""

    def write(self, batch: pa.RecordBatch) -> None: ...

    def close(self) -> None: ...

    def abandon(self) -> None:
        """Let go of everything: the scan was broken off."""
        ...


@contextmanager
def open_writer(format_: str, schema: pa.Schema, output: Path | None) -> Iterator[RowWriter]:
    """A writer of `format_` (table, csv, json, parquet). Raises `Invalid` where the file cannot be written."""
    if output is None:
        sys.stdout.flush()
        writer = _writer(format_, schema, sys.stdout.buffer if format_ != "table" else None)
        yield from _given(writer)
        return
    part = output.with_name(f"{output.name}.part")
    try:
        with part.open("wb") as file:
            writer = _writer(format_, schema, file)
            yield from _given(writer)
        os.replace(part, output)
    except OSError as error:
        raise Invalid(f"the file cannot be written: {error.strerror}", hint="name another with -o", file=output) from error
    finally:
        part.unlink(missing_ok=True)


def _given(writer: RowWriter) -> Iterator[RowWriter]:
    try:
        yield writer
    except BaseException:
        writer.abandon()
        raise
    writer.close()


def _writer(format_: str, schema: pa.Schema, sink: BinaryIO | None) -> RowWriter:
    if format_ == "csv":
        return _Csv(schema, sink or sys.stdout.buffer)
    if format_ == "json":
        return _JsonLines(sink or sys.stdout.buffer)
    if format_ == "parquet":
        return _Parquet(schema, sink or sys.stdout.buffer)
    return _Table(schema, sink)


class _Table:
    """Everything at once, because a table's columns are as wide as their widest value."""

    def __init__(self, schema: pa.Schema, sink: BinaryIO | None) -> None:
        self._names = schema.names
        self._rows: list[list[object]] = []
        self._sink = sink

    def write(self, batch: pa.RecordBatch) -> None:
        self._rows.extend([plain(value) for value in row.values()] for row in timed(batch).to_pylist())

    def close(self) -> None:
        if self._sink is None:
            print_table(self._names, self._rows)
            return
        for row in ([*self._names], *self._rows):
            self._sink.write(("\t".join("" if cell is None else str(cell) for cell in row) + "\n").encode())

    def abandon(self) -> None:
        self._rows.clear()


class _Csv:
    def __init__(self, schema: pa.Schema, sink: BinaryIO) -> None:
        self._schema = pa.schema([pa.field(f.name, pa.string() if _needs_text(f.type) else f.type) for f in schema])
        self._writer = pa_csv.CSVWriter(sink, self._schema)

    def write(self, batch: pa.RecordBatch) -> None:
        columns = [_as_text(column) if _needs_text(column.type) else column for column in batch.columns]
        self._writer.write_batch(pa.record_batch(columns, schema=self._schema))

    def close(self) -> None:
        self._writer.close()

    def abandon(self) -> None:
        self._writer.close()


class _JsonLines:
    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink

    def write(self, batch: pa.RecordBatch) -> None:
        self._sink.write(
            b"".join(orjson.dumps(plain(row), option=orjson.OPT_APPEND_NEWLINE) for row in timed(batch).to_pylist())
        )

    def close(self) -> None:
        self._sink.flush()

    def abandon(self) -> None:
        """Lines that were written are whole."""


class _Parquet:
    def __init__(self, schema: pa.Schema, sink: BinaryIO) -> None:
        self._writer = pq.ParquetWriter(sink, schema, compression="zstd")

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)

    def close(self) -> None:
        self._writer.close()

    def abandon(self) -> None:
        self._writer.close()


def plain(value: Any) -> Any:
    """A value as JSON and people take it: bytes that are text as text, others as base64; times in ISO 8601; maps as objects."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return b64encode(value).decode("ascii")
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        if value and all(isinstance(item, tuple) and len(item) == 2 for item in value):
            return {str(name): plain(item) for name, item in value}
        return [plain(item) for item in value]
    if isinstance(value, float | int | str | bool) or value is None:
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def timed(batch: pa.RecordBatch) -> pa.RecordBatch:
    """`batch` with its times as ISO 8601 text: Python's own have no nanoseconds, and ask for a time zone database."""
    columns = [_as_text(column) if pa.types.is_timestamp(column.type) else column for column in batch.columns]
    return pa.record_batch(columns, names=batch.schema.names)


def _needs_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_timestamp(kind))


def _as_text(column: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(column.type):
        # Without its zone, because formatting one asks for a time zone database.
        texts = column.cast(pa.int64()).cast(pa.timestamp(column.type.unit)).cast(pa.string())
        return pc.binary_join_element_wise(pc.replace_substring(texts, " ", "T"), "Z", "")
    values = (plain(value) for value in column.to_pylist())
    return pa.array([v if v is None or isinstance(v, str) else orjson.dumps(v).decode() for v in values], pa.string())
