"""One Parquet file of the archive, written row group by row group to a local disk, hashed, and ready to be sent.

Synchronous; its callers run it in threads. The bytes are a function of the rows under one version of pyarrow, however they
came.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from streamer.archive.row_hash import RowHash
from streamer.write.parquet import METADATA_PREFIX, encodings

COMPRESSION_LEVEL = 3
"""Written once, read often."""

ROWS_PER_GROUP = 128 << 10
WIDE_ROWS_PER_GROUP = 8 << 10
"""Where a row can have hundreds of features."""


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file of the archive on the local disk. `facts` are in its footer, and belong to the object's metadata."""

    path: Path
    facts: Mapping[str, str]
    size_bytes: int
    sha256: str
    hash: RowHash


class DayFile:
    """A file being written. Rows come in the order in which they stand in it."""

    def __init__(self, path: Path, schema: pa.Schema, facts: Mapping[str, str]) -> None:
        self._path = path
        self._schema = schema
        self._facts = facts
        self._rows_per_group = WIDE_ROWS_PER_GROUP if any(pa.types.is_nested(f.type) for f in schema) else ROWS_PER_GROUP
        self._writer = pq.ParquetWriter(
            path, schema, compression="zstd", compression_level=COMPRESSION_LEVEL, **encodings(schema)
        )
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0
        self._hash = RowHash()

    def add(self, table: pa.Table) -> None:
        """The next rows, with the columns of the file's schema."""
        self._hash += RowHash.of(table)
        self._waiting.append(table)
        self._waiting_rows += table.num_rows
        while self._waiting_rows >= self._rows_per_group:
            self._write(self._rows_per_group)

    def finish(self) -> WrittenFile:
        """Write the rest and the footer."""
        if self._waiting_rows:
            self._write(self._waiting_rows)
        facts = {**self._facts, "rows": str(self._hash.rows), "row_hash": str(self._hash)}
        self._writer.add_key_value_metadata({f"{METADATA_PREFIX}{name}": value for name, value in facts.items()})
        self._writer.close()
        size_bytes, sha256 = measured(self._path)
        return WrittenFile(self._path, facts, size_bytes, sha256, self._hash)

    def abandon(self) -> None:
        """Close the file, whatever is in it."""
        self._writer.close()

    def _write(self, rows: int) -> None:
        table = pa.concat_tables(self._waiting)
        # Pages end after a number of values of one chunk, so chunking would show in the bytes.
        self._writer.write_table(table.slice(0, rows).combine_chunks(), row_group_size=rows)
        rest = table.slice(rows)
        self._waiting, self._waiting_rows = ([rest], rest.num_rows) if rest.num_rows else ([], 0)


def measured(path: Path) -> tuple[int, str]:
    """Size in bytes and SHA-256 of a file."""
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
