"""Rows as newline-delimited JSON, one object a row, every column in every line.

Pure, and exact: what JSON has no word for becomes text (times, decimals, bytes, NaN), never something near it. The format
is a promise (docs/layout.md).
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from streamer.layout import EXTRA
from streamer.write.calendar import calendar_end
from streamer.write.compression import Compression, compress

BLOCK_ROWS = 2048
"""Rows turned into text at a time: more do not stay in the cache and cost up to twice as much. A number of rows and nothing
else, so that the bytes are a function of the rows."""

Texts = Callable[[pa.ChunkedArray], list[Any]]


class NdjsonEncoder:
    """Writes tables of one schema."""

    def __init__(self, schema: pa.Schema, compression: Compression) -> None:
        self._names = schema.names
        self._converters = [_converter(field) for field in schema]
        self._compression = compression

    def encode(self, table: pa.Table, metadata: Mapping[str, str]) -> bytes:
        """The file. `metadata` has no place in it, and goes with the object alone."""
        return compress(self._blocks(table), self._compression)

    def _blocks(self, table: pa.Table) -> Iterator[bytes]:
        names = self._names
        for start in range(0, table.num_rows, BLOCK_ROWS):
            block = table.slice(start, BLOCK_ROWS)
            values = [convert(block.column(at)) for at, convert in enumerate(self._converters)]
            yield b"".join(
                orjson.dumps(dict(zip(names, row, strict=True)), option=orjson.OPT_APPEND_NEWLINE)
                for row in zip(*values, strict=True)
            )


def _converter(field: pa.Field) -> Texts:
    kind, is_ = field.type, pa.types
    if field.name == EXTRA:
        return _fragments
    if is_.is_timestamp(kind):
        return _iso_times
    if is_.is_date(kind):
        return lambda column: column.cast(pa.string()).to_pylist()
    if is_.is_decimal(kind):
        return lambda column: [None if value is None else format(value, "f") for value in column.to_pylist()]
    if is_.is_binary(kind):
        return lambda column: [None if value is None else b64encode(value).decode() for value in column.to_pylist()]
    if is_.is_map(kind):
        return lambda column: [None if value is None else _finite(dict(value)) for value in column.to_pylist()]
    if is_.is_list(kind):
        return lambda column: [None if value is None else _finite(value) for value in column.to_pylist()]
    if is_.is_floating(kind):
        return _numbers
    return lambda column: column.to_pylist()


def _numbers(column: pa.ChunkedArray) -> list[Any]:
    values = column.to_pylist()
    finite = pc.all(pc.is_finite(column)).as_py()
    return values if finite is not False else [_finite(value) for value in values]


def _finite(value: Any) -> Any:
    """`value`, with the floats that JSON cannot write as the words that `float()` and DuckDB read, and decimals as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return format(value, "f") if isinstance(value, Decimal) else value


def _fragments(column: pa.ChunkedArray) -> list[Any]:
    """JSON text goes in as it is, digit by digit. A line break inside it can only be white space between tokens."""
    oneline = pc.replace_substring_regex(column, "[\r\n]", " ")
    return [None if text is None else orjson.Fragment(text) for text in oneline.to_pylist()]


def _iso_times(column: pa.ChunkedArray) -> list[Any]:
    """ISO 8601 with `Z`, all digits of the unit; what is outside the years 1970..9999 stays a number in that unit."""
    unit = column.type.unit
    ticks = column.cast(pa.int64())
    # Without its zone, because formatting one asks for a time zone database, which a slim image need not have.
    texts = pc.binary_join_element_wise(ticks.cast(pa.timestamp(unit)).cast(pa.string()), "Z", "")
    texts = pc.replace_substring(texts, " ", "T").to_pylist()
    span = pc.min_max(ticks).as_py()
    end = calendar_end(unit)
    if span["min"] is None or (span["min"] >= 0 and span["max"] < end):
        return list(texts)
    pairs = zip(texts, ticks.to_pylist(), strict=True)
    return [tick if tick is not None and not 0 <= tick < end else text for text, tick in pairs]
