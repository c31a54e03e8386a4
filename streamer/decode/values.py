"""One JSON value, given by its exact text, becomes one value of a column's type, or is refused.

This is the definition of every conversion. The text is known to be valid JSON, and is not `null`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from itertools import accumulate, chain
from math import isinf
from typing import Any

import msgspec
import pyarrow as pa

from streamer.decode.refusal import Refused, excerpt
from streamer.decode.times import parse_epoch, parse_iso
from streamer.records import DeadLetterReason

Convert = Callable[[bytes], Any]

NULL = b"null"
QUOTE = ord('"')
OBJECT = ord("{")
ARRAY = ord("[")
_NUMBER_STARTS = frozenset(b"-0123456789")

NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_FLOAT32_LIMIT = 3.4028235677973366e38  # from here on the nearest float32 is infinity

_text = msgspec.json.Decoder(str).decode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode


def converter(type_: pa.DataType) -> Convert:
    """The conversion to `type_`. Every type of `layout.arrow_type` has one."""
    if pa.types.is_integer(type_):
        return _to_integer(type_.bit_width)
    if pa.types.is_decimal(type_):
        return _to_decimal(type_.precision, type_.scale)
    if pa.types.is_timestamp(type_):
        return _to_timestamp(1000 if type_.unit == "us" else 1)
    if pa.types.is_list(type_):
        return _to_list(converter(type_.value_type))
    if pa.types.is_map(type_):
        return to_features
    return {
        pa.string(): to_string,
        pa.binary(): _to_binary,
        pa.bool_(): _to_bool,
        pa.float64(): to_float,
        pa.float32(): _to_float32,
        pa.date32(): _to_date,
    }[type_]


def to_array(values: Sequence[Any], type_: pa.DataType) -> pa.Array:
    """What `converter(type_)` gave for each record (None: no value), as a column."""
    if pa.types.is_timestamp(type_):
        return pa.array(values, pa.int64()).view(type_)
    if pa.types.is_map(type_):
        return map_array([row or {} for row in values], pa.array([row is None for row in values], pa.bool_()))
    if pa.types.is_float32(type_):
        return pa.array(values, pa.float64()).cast(type_, safe=False)
    return pa.array(values, type_)


def map_array(rows: Sequence[dict[str, float]], nulls: pa.Array | None = None) -> pa.Array:
    """A `map<string, float64>` column of these members, in the order of the dictionaries."""
    offsets = pa.array([0, *accumulate(map(len, rows))], pa.int32())
    keys = pa.array(list(chain.from_iterable(rows)), pa.string())
    items = pa.array(list(chain.from_iterable(row.values() for row in rows)), pa.float64())
    if nulls is None or not nulls.true_count:
        return pa.MapArray.from_arrays(offsets, keys, items)
    return pa.MapArray.from_arrays(offsets, keys, items, mask=nulls)


def json_text(text: bytes) -> str:
    """The text that a JSON string stands for."""
    return _text(text) if b"\\" in text else text[1:-1].decode()


def number_text(text: bytes) -> str | None:
    """The number that a JSON number or a numeric JSON string writes; None for anything else."""
    first = text[0]
    if first in _NUMBER_STARTS:
        return text.decode()
    if first == QUOTE and NUMBER.fullmatch(inner := json_text(text)) is not None:
        return inner
    return None


def is_number(text: bytes) -> bool:
    """Whether this is a JSON number or a numeric JSON string."""
    return text[0] in _NUMBER_STARTS or (text[0] == QUOTE and NUMBER.fullmatch(json_text(text)) is not None)


def members(text: bytes) -> dict[str, bytes]:
    """The members of a JSON object with their exact text."""
    return {name: bytes(raw) for name, raw in _members(text).items()}


def elements(text: bytes) -> list[bytes]:
    """The elements of a JSON array with their exact text."""
    return list(map(bytes, _elements(text)))


def to_string(text: bytes) -> str:
    first = text[0]
    if first == QUOTE:
        return _text(text) if b"\\" in text else text[1:-1].decode()
    if first in _NUMBER_STARTS:
        return text.decode()
    raise _wrong(text, "a string")


def to_float(text: bytes) -> float:
    if text[0] in _NUMBER_STARTS:
        number = float(text)
    elif (inner := number_text(text)) is not None:
        number = float(inner)
    else:
        raise _wrong(text, "a number")
    if isinf(number):
        raise _beyond(text)
    return number


def to_features(text: bytes) -> dict[str, float]:
    """A JSON object of numbers, its keys ascending, without its null members."""
    if text[0] != OBJECT:
        raise _wrong(text, "an object")
    found = members(text)
    return {name: to_float(found[name]) for name in sorted(found) if found[name] != NULL}


def _to_binary(text: bytes) -> bytes:
    if text[0] != QUOTE:
        raise _wrong(text, "a string")
    return json_text(text).encode()


def _to_bool(text: bytes) -> bool:
    if text == b"true":
        return True
    if text == b"false":
        return False
    raise _wrong(text, "true or false")


def _to_float32(text: bytes) -> float:
    number = to_float(text)
    if abs(number) >= _FLOAT32_LIMIT:
        raise _beyond(text)
    return number


def _to_date(text: bytes) -> date:
    if text[0] != QUOTE:
        raise _wrong(text, "a date")
    if (day := _calendar_day(json_text(text))) is None:
        raise Refused(DeadLetterReason.BAD_TIMESTAMP, f"{excerpt(text)} is not a date")
    return day


def _calendar_day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if _DATE.fullmatch(text) is not None else None
    except ValueError:
        return None


def _to_timestamp(nanoseconds_per_unit: int) -> Convert:
    def convert(text: bytes) -> int:
        number = number_text(text)
        if number is not None:
            nanoseconds = parse_epoch(number)
        elif text[0] == QUOTE:
            nanoseconds = parse_iso(json_text(text))
        else:
            raise _wrong(text, "a time")
        if nanoseconds is None:
            raise Refused(DeadLetterReason.BAD_TIMESTAMP, f"{excerpt(text)} is not a time from 1970 to 2262")
        return nanoseconds // nanoseconds_per_unit

    return convert


def _to_integer(bits: int) -> Convert:
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def convert(text: bytes) -> int:
        number = number_text(text)
        if number is None:
            raise _wrong(text, "a number")
        integer = int(number) if _INTEGER.fullmatch(number) else int(_scaled(text, number, 19, 0))
        if not least <= integer <= most:
            raise _beyond(text)
        return integer

    return convert


def _to_decimal(precision: int, scale: int) -> Convert:
    def convert(text: bytes) -> Decimal:
        number = number_text(text)
        if number is None:
            raise _wrong(text, "a number")
        return _scaled(text, number, precision - scale, scale)

    return convert


def _scaled(text: bytes, number: str, integer_digits: int, scale: int) -> Decimal:
    """`number`, exactly, with at most so many digits before the point and after it (trailing zeros do not count)."""
    try:
        exact = Decimal(number)
    except InvalidOperation:  # an exponent beyond what Decimal can hold
        raise _beyond(text) from None
    if not exact:
        return Decimal(0)
    if exact.adjusted() >= integer_digits:
        raise _beyond(text)
    sign, digits, exponent = exact.as_tuple()
    assert isinstance(exponent, int)  # the text is a number: no NaN, no infinity
    if exponent < -scale:
        surplus = -scale - exponent
        if surplus >= len(digits) or any(digits[-surplus:]):
            raise Refused(DeadLetterReason.WRONG_TYPE, f"{excerpt(text)} has more than {scale} decimals")
        digits, exponent = digits[:-surplus], -scale
    return Decimal((sign, digits, exponent))


def _to_list(convert: Convert) -> Convert:
    def convert_all(text: bytes) -> list[Any]:
        if text[0] != ARRAY:
            raise _wrong(text, "an array")
        return [None if element == NULL else convert(element) for element in elements(text)]

    return convert_all


def _wrong(text: bytes, wanted: str) -> Refused:
    return Refused(DeadLetterReason.WRONG_TYPE, f"{excerpt(text)} is not {wanted}")


def _beyond(text: bytes) -> Refused:
    return Refused(DeadLetterReason.OUT_OF_RANGE, f"{excerpt(text)} is more than the column can hold")
