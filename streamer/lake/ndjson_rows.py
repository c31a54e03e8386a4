"""Rows read back from newline-delimited JSON: the inverse of `write/ndjson.py`, exact where that is exact.

Pure. NDJSON carries no types, so the layout's schema gives them. `extra` comes back as the JSON text it was.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa

from streamer.documents import parsed
from streamer.layout import EXTRA

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_RAW_LINE = msgspec.json.Decoder(dict[str, msgspec.Raw])


def parse_rows(text: bytes, schema: pa.Schema, columns: Collection[str] | None) -> pa.Table:
    """`columns` (None: all) of the rows in a decompressed file, typed as in `schema`.

    Raises `ValueError` with the number of the first line that is not a row of that schema.
    """
    if text and not text.endswith(b"\n"):
        raise ValueError("the last line is cut short")
    fields = [field for field in schema if columns is None or field.name in columns]
    plain = [field for field in fields if field.name != EXTRA]
    values: dict[str, list[Any]] = {field.name: [] for field in fields}
    for number, line in enumerate(text[:-1].split(b"\n") if text else (), 1):
        try:
            row = parsed(line)
            for field in plain:
                # A row of an older layout lacks what a newer one may leave empty.
                found = row.get(field.name) if field.nullable else row[field.name]
                values[field.name].append(_value(found, field.type))
            if EXTRA in values:
                raw = bytes(_RAW_LINE.decode(line).get(EXTRA, b"null"))
                values[EXTRA].append(None if raw == b"null" else raw.decode())
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            raise ValueError(f"line {number} is not a row: {error!r}") from error
    try:
        return pa.table([pa.array(values[field.name], field.type) for field in fields], schema=pa.schema(fields))
    except (OverflowError, TypeError) as error:
        raise ValueError(f"a line is not a row: {error!r}") from error


def _value(value: Any, kind: pa.DataType) -> Any:
    if value is None:
        return None
    is_ = pa.types
    if is_.is_timestamp(kind):
        return value if isinstance(value, int) else _ticks(value, _PER_SECOND[kind.unit])
    if is_.is_binary(kind):
        return b64decode(value, validate=True)
    if is_.is_decimal(kind):
        return Decimal(value)
    if is_.is_date(kind):
        return date.fromisoformat(value)
    if is_.is_floating(kind):
        return float(value)
    if is_.is_map(kind):
        return [(name, None if item is None else float(item)) for name, item in value.items()]
    if is_.is_list(kind) and isinstance(value, list):
        return [_value(item, kind.value_type) for item in value]
    if is_.is_struct(kind):
        return {field.name: _value(value[field.name], field.type) for field in kind}
    return value


def _ticks(text: str, per_second: int) -> int:
    """`2026-01-03T10:11:12.123456Z` in units since 1970, whatever the number of digits."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    seconds = (datetime.fromisoformat(whole).replace(tzinfo=UTC) - _EPOCH) // _SECOND
    digits = len(str(per_second)) - 1
    return seconds * per_second + (int(fraction.ljust(digits, "0")[:digits]) if digits and fraction else 0)
