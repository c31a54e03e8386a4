"""What each check means, as one mask over a table: true where a row breaks it.

A null passes every check but `required`. Numbers are compared as float64, whatever their column's type.

- `required`: one of the columns is null.
- `range`: the number is below `least` or above `most`; both belong to the range, and either may be absent.
- `allowed`: the value is none of `values`, which are read as the column's type.
- `clock-skew`: the event time is more than `most` seconds away from Kafka's, before or after.
- `crossed`: the first column (the bid) is greater than the second (the ask). Of a side of a book the price of its first level.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from streamer.arrow_text import plain, timed
from streamer.layout import TIMESTAMP, Check, is_levels

KAFKA_TIMESTAMP = "_timestamp"
UNITS_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_FLOAT64 = pa.float64()


def broken(check: Check, table: pa.Table) -> pa.ChunkedArray:
    """Which rows break `check`: booleans without a null. The table has the check's columns, of types that `problem` accepts."""
    columns = [table[name] for name in check.columns]
    match check.kind:
        case "required":
            mask = pc.is_null(columns[0])
            for column in columns[1:]:
                mask = pc.or_(mask, pc.is_null(column))
            return mask
        case "range":
            return pc.fill_null(_outside(columns[0], check.least, check.most), False)
        case "allowed":
            unknown = pc.invert(pc.is_in(columns[0], value_set=_values(check, columns[0].type)))
            return pc.and_(unknown, pc.is_valid(columns[0]))
        case "clock-skew":
            return pc.fill_null(_skewed(columns[0], columns[1], check.most or 0.0), False)
        case "crossed":
            bid, ask = (_price(column) for column in columns)
            return pc.fill_null(pc.greater(bid, ask), False)


def problem(check: Check, schema: pa.Schema) -> str | None:
    """Why `check` cannot be applied to tables of `schema`; None where it can."""
    for name in check.columns:
        if name not in schema.names:
            return f"there is no column {name!r}"
    types = [schema.field(name).type for name in check.columns]
    if check.kind == "crossed" and all(is_number(kind) or is_levels(kind) for kind in types):
        return None
    if check.kind in ("range", "crossed") and not all(map(is_number, types)):
        return f"{' and '.join(check.columns)} must hold numbers"
    if check.kind == "allowed":
        try:
            _values(check, types[0])
        except (pa.ArrowException, ValueError):
            return f"the values are none of the column {check.columns[0]}, which is {types[0]}"
    return None


def whole(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """One array of a column's chunks."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def is_number(kind: pa.DataType) -> bool:
    """Whether columns of this type hold numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def columns_of_skew() -> tuple[str, str]:
    """What `clock-skew` compares."""
    return TIMESTAMP, KAFKA_TIMESTAMP


def shown(rows: pa.Table, check: Check) -> list[dict[str, Any]]:
    """The offsets, and what `check` looks at, as Python values; times as text."""
    names = [name for name in dict.fromkeys((*check.columns, "_offset")) if name in rows.column_names]
    found: list[dict[str, Any]] = []
    for batch in rows.select(names).to_batches():
        found += timed(batch).to_pylist()
    return found


def told(check: Check, row: dict[str, Any]) -> str:
    """How `row` breaks the check, in a few words."""
    shown = " and ".join(f"{name} is {_shown(row[name])}" for name in check.columns)
    match check.kind:
        case "required":
            return f"{', '.join(name for name in check.columns if row[name] is None)} is absent"
        case "range":
            return f"{shown}, not within {_end(check.least, '-inf')}..{_end(check.most, 'inf')}"
        case "allowed":
            return f"{shown}, none of {', '.join(check.values)}"
        case "clock-skew":
            return f"{shown}: more than {check.most:g}s apart"
        case "crossed":
            return f"{shown}: crossed"


def _shown(value: Any) -> Any:
    """Of levels the first, because thousands may follow."""
    levels = isinstance(value, list) and value and isinstance(value[0], dict)
    return f"{plain(value[0])}{', ...' if len(value) > 1 else ''}" if levels else plain(value)


def _price(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The number to compare: of a side of a book the price of its first level, null where it has none."""
    if not is_levels(column.type):
        return column.cast(_FLOAT64, safe=False)
    sides = whole(column)
    lengths = pc.fill_null(pc.list_value_length(sides), 0)
    begins = pc.subtract(pc.cumulative_sum(lengths), lengths)
    first = pc.if_else(pc.greater(lengths, 0), begins, pa.scalar(None, lengths.type))
    prices = pc.struct_field(sides.flatten(), "price").cast(_FLOAT64, safe=False)
    return pa.chunked_array([prices.take(first)])


def _outside(column: pa.ChunkedArray, least: float | None, most: float | None) -> pa.ChunkedArray:
    numbers = column if column.type == _FLOAT64 else column.cast(_FLOAT64, safe=False)
    below = pc.less(numbers, least) if least is not None else None
    above = pc.greater(numbers, most) if most is not None else None
    if below is None or above is None:
        return above if below is None else below
    return pc.or_(below, above)


def _skewed(event: pa.ChunkedArray, kafka: pa.ChunkedArray, most_seconds: float) -> pa.ChunkedArray:
    # In the unit of the event time, which is the finer one: 1970..2262 in nanoseconds just fit, and Kafka's are cut to that.
    factor = UNITS_PER_SECOND[event.type.unit] // UNITS_PER_SECOND[kafka.type.unit]
    millis = kafka.cast(pa.int64())
    bounded = pc.min_element_wise(millis, pa.scalar((2**63 - 1) // factor, pa.int64()), skip_nulls=False)
    distance = pc.abs(pc.subtract(event.cast(pa.int64()), pc.multiply(bounded, factor)))
    return pc.greater(distance, round(most_seconds * UNITS_PER_SECOND[event.type.unit]))


def _values(check: Check, kind: pa.DataType) -> pa.Array:
    texts = pa.array(check.values, pa.string())
    return texts if kind == pa.string() else texts.cast(kind)


def _end(limit: float | None, absent: str) -> str:
    return absent if limit is None else f"{limit:g}"
