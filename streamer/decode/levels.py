"""One side of an order book, given by its exact text, becomes prices and quantities, or is refused.

The definition, as `values.py` is for single values. Every level of a row has both numbers; what else it has is the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from math import isfinite
from typing import Any

import msgspec
import pyarrow as pa

from streamer.decode.fields import object_text
from streamer.decode.refusal import Refused, excerpt
from streamer.decode.values import ARRAY, NULL, OBJECT, Convert, converter, elements, members, to_array
from streamer.records import DeadLetterReason
from streamer.schemas import LEVEL_FIELDS, LEVELS_PER_SIDE_MAX

PRICE, QUANTITY = LEVEL_FIELDS
_KNOWN = frozenset(chain.from_iterable(LEVEL_FIELDS.values()))
_FLOAT64 = pa.float64()

# What `float` takes of these characters is what a JSON string may write as a number.
_NUMBER_CHARACTERS = b"0123456789+-.eE"
_texts = msgspec.json.Decoder(list[tuple[str, str]]).decode
_floats = msgspec.json.Decoder(list[tuple[float, float]]).decode


@dataclass(frozen=True, slots=True)
class Side:
    """The levels in the order of the message. `rest`: what else they have, as JSON text; None where that is nothing."""

    prices: Sequence[Any]
    quantities: Sequence[Any]
    rest: bytes | None = None


@dataclass(frozen=True, slots=True)
class LevelText:
    """The parts of one level. `rest` is `[]` or `{}` where it has no more than two numbers."""

    price: bytes
    quantity: bytes
    rest: bytes

    @property
    def is_plain(self) -> bool:
        return len(self.rest) == 2


def to_side(type_: pa.DataType) -> Callable[[bytes], Side]:
    """The conversion to a type of which `is_levels` holds. Raises `Refused` with the place of what is wrong."""
    kinds = [field.type for field in type_.value_type]
    price, quantity = map(converter, kinds)
    in_floats = kinds == [_FLOAT64, _FLOAT64]

    def convert(text: bytes) -> Side:
        if text[0] != ARRAY:
            raise Refused(DeadLetterReason.WRONG_TYPE, f"{excerpt(text)} is not an array of levels")
        quick = _quickly(text) if in_floats else None
        return quick if quick is not None else _side(elements(text), price, quantity)

    return convert


def sides_array(sides: Sequence[Side | None], type_: pa.DataType) -> pa.Array:
    """What `to_side(type_)` gave for each record (None: no value), as a column."""
    there = [side for side in sides if side is not None]
    lengths = (0 if side is None else len(side.prices) for side in sides)
    price, quantity = type_.value_type
    columns = [
        to_array(list(chain.from_iterable(side.prices for side in there)), price.type),
        to_array(list(chain.from_iterable(side.quantities for side in there)), quantity.type),
    ]
    nulls = pa.array([side is None for side in sides], pa.bool_()) if len(there) < len(sides) else None
    return joined_sides(pa.array([0, *accumulate(lengths)], pa.int32()), columns, nulls, type_)


def joined_sides(offsets: pa.Array, columns: Sequence[pa.Array], nulls: pa.Array | None, type_: pa.DataType) -> pa.Array:
    """A column of levels from all prices and quantities one after the other."""
    levels = pa.StructArray.from_arrays(columns, fields=list(type_.value_type))
    return pa.ListArray.from_arrays(offsets, levels, type=type_, mask=nulls)


def level_text(text: bytes) -> LevelText | None:
    """The parts of `[price, quantity, ...]` or of `{"price": ..., "quantity": ..., ...}`, under any of their names; None where
    it is neither. What is not there is `null`."""
    if text[0] == ARRAY:
        parts = elements(text)
        if len(parts) < 2:
            return None
        return LevelText(parts[0], parts[1], b"[" + b",".join(parts[2:]) + b"]")
    if text[0] != OBJECT:
        return None
    found = members(text)
    taken = [level_field(found, column) for column in LEVEL_FIELDS]
    price, quantity = (NULL if name is None else found.pop(name) for name in taken)
    rest = {name: other for name, other in found.items() if other != NULL or name not in _KNOWN}
    return LevelText(price, quantity, object_text(rest).encode())


def level_field(found: dict[str, bytes], column: str) -> str | None:
    """Which member of a level is its `price` or `quantity`."""
    return next((name for name in LEVEL_FIELDS[column] if found.get(name, NULL) != NULL), None)


def _side(levels: Sequence[bytes], price: Convert, quantity: Convert) -> Side:
    if len(levels) > LEVELS_PER_SIDE_MAX:
        raise Refused(DeadLetterReason.OUT_OF_RANGE, f"{len(levels)} levels, more than {LEVELS_PER_SIDE_MAX}")
    prices, quantities, rest = [], [], []
    is_plain = True
    for at, text in enumerate(levels):
        if (level := level_text(text)) is None:
            raise Refused(DeadLetterReason.WRONG_TYPE, f"{excerpt(text)} is not a level: [price, quantity]", f"[{at}]")
        prices.append(_number(level.price, price, at, PRICE))
        quantities.append(_number(level.quantity, quantity, at, QUANTITY))
        rest.append(level.rest)
        is_plain = is_plain and level.is_plain
    return Side(prices, quantities, None if is_plain else b"[" + b",".join(rest) + b"]")


def _number(text: bytes, convert: Convert, at: int, column: str) -> Any:
    try:
        return convert(text)
    except Refused as refused:
        raise Refused(refused.reason, refused.detail, f"[{at}].{column}") from None


def _quickly(text: bytes) -> Side | None:
    """The same for levels of two strings, or of two numbers, at a tenth of the time; None where it is anything else."""
    try:
        if b'"' in text:
            levels: Sequence[tuple[Any, Any]] = _texts(text)
            if "".join(chain.from_iterable(levels)).encode().translate(None, _NUMBER_CHARACTERS):
                return None
        elif b"-" in text:
            return None  # msgspec makes 0.0 of -0
        else:
            levels = _floats(text)
        if len(levels) > LEVELS_PER_SIDE_MAX:
            return None
        side = Side([float(price) for price, _ in levels], [float(quantity) for _, quantity in levels])
    except (msgspec.DecodeError, ValueError):
        return None
    return side if all(map(isfinite, side.prices)) and all(map(isfinite, side.quantities)) else None
