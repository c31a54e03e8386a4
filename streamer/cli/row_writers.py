"""Arrow batches as people and tools want them: a table, CSV, JSON lines, Parquet. To standard output or to a file.

A file appears under its name when it is complete, so that a scan that was broken off leaves nothing that looks done.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

import orjson
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from streamer.arrow_text import plain, printable, timed
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
        self._schema = printable(schema.empty_table()).schema
        self._writer = pa_csv.CSVWriter(sink, self._schema)

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_table(printable(pa.Table.from_batches([batch])))

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
