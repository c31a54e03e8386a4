"""Rows as a Parquet file: one row group, encodings that every current reader knows, the batch's facts in the footer.

Pure: the same rows give the same bytes under one version of pyarrow, however they were chunked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from streamer.layout import FLAGS
from streamer.schemas import LOW_CARDINALITY

CONTENT_TYPE = "application/vnd.apache.parquet"
METADATA_PREFIX = "streamer."
"""What the names of the batch's facts begin with in the footer."""


class ParquetEncoder:
    """Writes tables of one schema."""

    def __init__(self, schema: pa.Schema) -> None:
        # pyarrow's default, a dictionary on every column, took 4.4 times as long and twice the space on ticks. Encodings change
        # bytes only, no row and no key, so they are no part of the layout.
        self._encodings = encodings(schema)

    def encode(self, table: pa.Table, metadata: Mapping[str, str]) -> bytes:
        """The file: `table`, and `metadata` under `streamer.<name>` in its footer."""
        # Pages end after a number of values of one chunk, so chunking would show in the bytes.
        whole = table.combine_chunks()
        sink = pa.BufferOutputStream()
        pq.write_table(
            whole.replace_schema_metadata({f"{METADATA_PREFIX}{name}": value for name, value in metadata.items()}),
            sink,
            row_group_size=max(1, whole.num_rows),
            compression="zstd",
            compression_level=1,
            **self._encodings,
        )
        return bytes(sink.getvalue().to_pybytes())


def encodings(schema: pa.Schema) -> dict[str, Any]:
    """How each column of `schema` is encoded, as options of pyarrow's writers."""
    # BYTE_STREAM_SPLIT would halve floats again, but Spark reads it only since 2026.
    # Parquet takes a dot for nesting: a column called `features.key_value.key` would be taken for the keys of a map.
    counted = (field.name for field in schema if _is_counted(field.type) and "." not in field.name)
    return {
        "use_dictionary": list(_dictionary_columns(schema)),
        "column_encoding": dict.fromkeys(counted, "DELTA_BINARY_PACKED"),
    }


def _dictionary_columns(schema: pa.Schema) -> Iterator[str]:
    for field in schema:
        if pa.types.is_string(field.type) and (field.name in LOW_CARDINALITY or field.name == FLAGS):
            yield field.name
        elif pa.types.is_map(field.type):
            yield f"{field.name}.key_value.key"  # the names of features, the same in every row


def _is_counted(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_timestamp(kind) or pa.types.is_date(kind))
