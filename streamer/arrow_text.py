"""Arrow values as text and JSON take them: times in ISO 8601, bytes as text or base64, maps as objects. Pure."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc


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


def printable(table: pa.Table) -> pa.Table:
    """`table` with what CSV cannot hold (nested values, bytes, times) as text."""
    columns = {}
    for name in table.column_names:
        column = table[name]
        if _needs_text(column.type):
            column = pa.chunked_array([_as_text(chunk) for chunk in column.chunks], pa.string())
        columns[name] = column
    return pa.table(columns)


def _needs_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_timestamp(kind))


def _as_text(column: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(column.type):
        # Without its zone, because formatting one asks for a time zone database.
        texts = column.cast(pa.int64()).cast(pa.timestamp(column.type.unit)).cast(pa.string())
        return pc.binary_join_element_wise(pc.replace_substring(texts, " ", "T"), "Z", "")
    values = (plain(value) for value in column.to_pylist())
    return pa.array([v if v is None or isinstance(v, str) else orjson.dumps(v).decode() for v in values], pa.string())
