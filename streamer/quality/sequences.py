"""What each sequence rule means: a comparison of a row with the one before it of the same group.

A group is what the columns of `by` have in common, such as a symbol. Rows whose column is null are passed over. The first row
that is seen of a group breaks nothing.

- `monotonic`: the time is earlier than that of the row before.
- `jump`: the number is more than `limit` percent away from the one before, where that is not 0.
- `sequence`: the id is more than one above the one before. Ids are whole numbers, or text of 1 to 18 digits; others are
  passed over. A step back or the same id again is none of this rule's business.
- `silent`: Kafka's time is more than `limit` seconds after that of the row before; or nothing has come since, see `watch.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from streamer.layout import TIMESTAMP
from streamer.quality.checks import KAFKA_TIMESTAMP, UNITS_PER_SECOND, is_number, whole
from streamer.quality_rules import Sequence, SequenceKind

Key = tuple[str | None, ...]
"""What tells a group from the others."""

_DIGITS_MAX = 18
_INT64 = pa.int64()


def problem(rule: Sequence, schema: pa.Schema) -> str | None:
    """Why `rule` cannot be applied to tables of `schema`; None where it can."""
    for name in rule.columns:
        if name not in schema.names:
            return f"there is no column {name!r}"
    kind = schema.field(rule.column).type
    if rule.kind == "jump" and not is_number(kind):
        return f"{rule.column} must hold numbers"
    if rule.kind == "sequence" and not (pa.types.is_integer(kind) or kind == pa.string()):
        return f"{rule.column} must hold whole numbers or text"
    if any(pa.types.is_nested(schema.field(name).type) for name in rule.by):
        return f"{' and '.join(rule.by)} must be plain values to group by"
    return None


def values_of(rule: Sequence, column: pa.ChunkedArray) -> pa.Array:
    """What the rule compares, one value a row; null where there is nothing to compare."""
    values = whole(column)
    if rule.kind == "jump":
        return values.cast(pa.float64(), safe=False)
    if rule.kind == "sequence":
        return _ids(values)
    return values.cast(_INT64, safe=False)


def breaks(rule: Sequence, before: pa.Array, now: pa.Array, column: pa.DataType) -> pa.Array:
    """Where `now` breaks the rule after `before`, value by value. column: the type of the rule's column."""
    match rule.kind:
        case "monotonic":
            return pc.less(now, before)
        case "jump":
            size = pc.abs(before)
            far = pc.greater(pc.abs(pc.subtract(now, before)), pc.multiply(size, rule.limit / 100))
            return pc.and_(far, pc.greater(size, 0.0))
        case "sequence":
            return pc.greater(pc.subtract(now, before), 1)
        case "silent":
            return pc.greater(pc.subtract(now, before), limit_in_units(rule, column))


def limit_in_units(rule: Sequence, column: pa.DataType) -> int:
    """The seconds of a `silent` rule in the unit of its column."""
    return round(rule.limit * UNITS_PER_SECOND[column.unit])


def told(rule: Sequence, before: Any, now: Any, group: str) -> str:
    """How a step breaks the rule, in a few words."""
    return f"{group}: {rule.column} {before} then {now}"


def default_column(kind: SequenceKind) -> str:
    """What a rule looks at that names no column."""
    columns: Mapping[SequenceKind, str] = {
        "monotonic": TIMESTAMP,
        "jump": "price",
        "sequence": "trade_id",
        "silent": KAFKA_TIMESTAMP,
    }
    return columns[kind]


class Groups:
    """The rows of a table brought together by group, in their order within each."""

    def __init__(self, table: pa.Table, by: tuple[str, ...]) -> None:
        codes, self._dictionaries = _codes([whole(table[name]) for name in by])
        self._codes = codes
        self.order = pc.array_sort_indices(codes)
        self._sorted = codes.take(self.order)

    @cached_property
    def every(self) -> Spans:
        """The groups of all rows."""
        return Spans.of(self._sorted)

    def series(self, values: pa.Array) -> tuple[Spans, pa.Array, pa.Array]:
        """`values` by group without the nulls: where each group is, the values, and their rows in the table."""
        ordered = values.take(self.order)
        if not ordered.null_count:
            return self.every, ordered, self.order
        valid = ordered.is_valid()
        return Spans.of(self._sorted.filter(valid)), ordered.filter(valid), self.order.filter(valid)

    def key(self, code: int) -> Key:
        """The group's values, in the order of `by`."""
        parts = []
        for dictionary in reversed(self._dictionaries):
            code, at = divmod(code, len(dictionary))
            parts.append(dictionary[at])
        return tuple(reversed(parts))


@dataclass(frozen=True, slots=True)
class Spans:
    """Where the groups are in rows that were brought together: the code of each, where it starts, and where it ends."""

    codes: list[int]
    starts: list[int]
    ends: list[int]
    inner: pa.Array
    """For each row but the first: whether the row before it is of the same group."""

    @classmethod
    def of(cls, codes: pa.Array) -> Spans:
        if not len(codes):
            return cls([], [], [], pa.array([], pa.bool_()))
        runs = pc.run_end_encode(codes)
        ends = runs.run_ends.to_pylist()
        return cls(runs.values.to_pylist(), [0, *ends[:-1]], ends, pc.equal(codes[1:], codes[:-1]))


def _codes(columns: list[pa.Array]) -> tuple[pa.Array, list[list[str | None]]]:
    """A number for every row, the same for rows of the same group, and what the digits of that number stand for."""
    numbers: Any = None
    dictionaries: list[list[str | None]] = []
    for column in columns:
        encoded = column.dictionary_encode(null_encoding="encode")
        texts = encoded.dictionary.to_pylist()
        dictionaries.append([None if value is None else str(value) for value in texts] or [None])
        if numbers is None:
            numbers = encoded.indices
        else:
            numbers = pc.add(pc.multiply(numbers.cast(_INT64), len(dictionaries[-1])), encoded.indices.cast(_INT64))
    return numbers, dictionaries


def name_of(key: Key) -> str:
    """A group's name, for people."""
    return "/".join("" if part is None else part for part in key)


def _ids(texts: pa.Array) -> pa.Array:
    if texts.type != pa.string():
        numbers = texts.cast(_INT64)  # beyond the bounds a difference could pass the end of int64
        bounded = pc.and_(pc.less(numbers, 10**_DIGITS_MAX), pc.greater(numbers, -(10**_DIGITS_MAX)))
        return pc.if_else(bounded, numbers, pa.scalar(None, _INT64))
    usual = pc.and_(pc.ascii_is_decimal(texts), pc.less_equal(pc.binary_length(texts), _DIGITS_MAX))
    if pc.all(usual).as_py() is not True or texts.null_count:
        texts = pc.if_else(pc.fill_null(usual, False), texts, pa.scalar(None, pa.string()))
    return texts.cast(_INT64)
