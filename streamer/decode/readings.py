"""How pyarrow's JSON reader is told to read one field, and which casts then give exactly what `values.py` would.

A reading is chosen from the text that a sample record has there. Whatever is not surely the same is declined.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from streamer.decode.levels import joined_sides, level_field, level_text
from streamer.decode.times import EPOCH_UNITS, epoch_exponent, parse_epoch, parse_iso
from streamer.decode.values import ARRAY, NULL, NUMBER, OBJECT, QUOTE, elements, json_text, members, number_text
from streamer.layout import is_levels
from streamer.schemas import LEVEL_FIELDS, LEVELS_PER_SIDE_MAX

Cast = Callable[[pa.Array], pa.Array]

INT64, FLOAT64, STRING = pa.int64(), pa.float64(), pa.string()
_NANOSECONDS = pa.timestamp("ns", tz="UTC")
_MICROSECONDS = pa.timestamp("us", tz="UTC")
_NEAR_2262 = 9_223_000_000_000_000_000  # within some days of what int64 nanoseconds can hold: left to the definition
_YEAR_1 = -719_162  # days
_DIGITS = b"0123456789"
_DECIMAL_DIGITS_MAX = 38
_WIDE_DIGITS_MAX = 76


class Declined(Exception):
    """These records are better decoded one by one. `hopeless`: any part of them too, so that dividing them does not help."""

    def __init__(self, why: str, *, hopeless: bool = False) -> None:
        super().__init__(why)
        self.hopeless = hopeless


@dataclass(frozen=True, slots=True)
class Reading:
    """Read the field as `json_type`, then `cast`. `digits_max`: the cast is exact only where the field's
    numbers have no more digits before their point, and no exponent (pyarrow's decimals wrap around silently); None: always.
    `drops`: the field has more in it than the column takes."""

    json_type: pa.DataType
    cast: Cast
    digits_max: int | None = None
    drops: bool = False


def reading_of(text: bytes, type_: pa.DataType) -> Reading | None:
    """How to read a field of a column of `type_` whose sample is `text` (valid JSON, not null); None: no such way."""
    quoted = text[0] == QUOTE
    number = text[0] in b"-0123456789"
    if pa.types.is_boolean(type_):
        return Reading(type_, _as_it_is) if text in (b"true", b"false") else None
    if is_levels(type_):
        return _levels_reading(text, type_)
    if pa.types.is_list(type_):
        return _list_reading(text, type_)
    if not quoted and not number:
        return None
    if pa.types.is_string(type_):
        return Reading(STRING, _as_it_is) if quoted else _identifier_reading(text)
    if pa.types.is_binary(type_):
        return Reading(STRING, lambda a: a.cast(type_)) if quoted else None
    if pa.types.is_date32(type_):
        return Reading(STRING, _dates) if quoted else None
    if pa.types.is_floating(type_):
        if number_text(text) is None:
            return None
        return (
            Reading(STRING, lambda a: _floats(_checked(a, b"+-.eE"), type_))
            if quoted
            else Reading(FLOAT64, lambda a: _floats(a, type_))
        )
    if pa.types.is_integer(type_):
        return Reading(STRING, lambda a: _checked(a, b"-").cast(type_)) if quoted else Reading(INT64, lambda a: a.cast(type_))
    if pa.types.is_decimal(type_):
        return _decimal_reading(quoted, type_)
    if pa.types.is_timestamp(type_):
        return _timestamp_reading(text, quoted, type_)
    return None


def default_reading(type_: pa.DataType) -> Reading | None:
    """How to read a field that is null in every sample."""
    samples = {pa.string(): b'""', pa.binary(): b'""', pa.bool_(): b"true", pa.date32(): b'""'}
    return reading_of(b"[]" if pa.types.is_list(type_) else samples.get(type_, b"0"), type_)


def wider(one: Reading, other: Reading) -> Reading | None:
    """A reading that does for both samples; None where there is none."""
    if one.json_type == other.json_type:
        return one if one.drops == other.drops else None
    decimals = [r for r in (one, other) if pa.types.is_decimal(r.json_type)]
    integers = [r for r in (one, other) if r.json_type == INT64]
    return decimals[0] if len(decimals) == len(integers) == 1 else None


def _as_it_is(array: pa.Array) -> pa.Array:
    return array


def _checked(array: pa.Array, others: bytes) -> pa.Array:
    """The array of strings, if all of them have digits and these characters only: casts accept more than the definition."""
    _, offsets, data = array.buffers()
    if data is not None and len(array):
        ends = memoryview(offsets).cast("i")
        used = memoryview(data)[ends[array.offset] : ends[array.offset + len(array)]]
        if used.tobytes().translate(None, _DIGITS + others):
            raise Declined("a string that is no plain number")
    return array


def _longest(array: pa.Array) -> int:
    return pc.max(pc.binary_length(array)).as_py() or 0


def _floats(array: pa.Array, type_: pa.DataType) -> pa.Array:
    doubles = array if array.type == FLOAT64 else array.cast(FLOAT64)
    floats = doubles if type_ == FLOAT64 else doubles.cast(type_, safe=False)
    if pc.all(pc.is_finite(floats)).as_py() is False:
        raise Declined("NaN, or beyond what a float can hold")
    return floats


def _identifier_reading(text: bytes) -> Reading | None:
    """A JSON number for a string: integers only, because no other number keeps its text through a parser."""
    digits = text.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > _DECIMAL_DIGITS_MAX:
        return None
    if len(digits) <= 18:
        return Reading(INT64, _integer_texts)
    return Reading(pa.decimal128(_DECIMAL_DIGITS_MAX, 0), _integer_texts, _DECIMAL_DIGITS_MAX)


def _integer_texts(array: pa.Array) -> pa.Array:
    if pc.any(pc.equal(array, 0 if array.type == INT64 else pa.scalar(0).cast(array.type))).as_py():
        raise Declined("0 may have been -0")
    return array.cast(STRING)


def _dates(array: pa.Array) -> pa.Array:
    if pc.any(pc.not_equal(pc.binary_length(array), 10)).as_py():
        raise Declined("not YYYY-MM-DD")
    dates = _checked(array, b"-").cast(pa.date32())
    least = pc.min(dates.cast(pa.int32())).as_py()
    if least is not None and least < _YEAR_1:
        raise Declined("before the year 1")
    return dates


def _list_reading(text: bytes, type_: pa.DataType) -> Reading | None:
    if text[0] != ARRAY:
        return None
    first = next((e for e in elements(text) if e != NULL), None)
    inner = default_reading(type_.value_type) if first is None else reading_of(first, type_.value_type)
    if inner is None or inner.json_type not in (STRING, FLOAT64):
        return None
    if inner.json_type == type_.value_type == STRING:
        return Reading(type_, _as_it_is)

    def cast(array: pa.Array) -> pa.Array:
        inner.cast(array.flatten())  # what it declines, the list declines
        return array.cast(type_)

    return Reading(pa.list_(inner.json_type), cast)


def _levels_reading(text: bytes, type_: pa.DataType) -> Reading | None:
    """As the first level is. Its two numbers are read alike where it is an array, and both are strings or both are doubles."""
    if text[0] != ARRAY:
        return None
    first = next(iter(elements(text)), b'["0","0"]')
    if (level := level_text(first)) is None:
        return None
    kinds = [field.type for field in type_.value_type]
    inner = [reading_of(part, kind) for part, kind in zip((level.price, level.quantity), kinds, strict=True)]
    readings = [reading for reading in inner if reading is not None and reading.json_type in (STRING, FLOAT64)]
    if len(readings) < len(kinds):
        return None
    if first[0] == OBJECT:
        return _objects_reading(first, readings, type_) if level.is_plain else None
    width, json_type = len(elements(first)), readings[0].json_type
    if readings[1].json_type != json_type or any((part[0] == QUOTE) != (json_type == STRING) for part in elements(first)):
        return None

    def cast(array: pa.Array) -> pa.Array:
        levels = array.flatten()
        numbers = levels.flatten()
        if levels.null_count or numbers.null_count or len(numbers) != len(levels) * width:
            raise Declined("levels of several forms")
        if pc.any(pc.not_equal(pc.list_value_length(levels), width)).as_py():
            raise Declined("levels of several lengths")
        return _sides(array, [r.cast(numbers.filter(_every(width, at, len(levels)))) for at, r in enumerate(readings)], type_)

    return Reading(pa.list_(pa.list_(json_type)), cast, drops=width > len(kinds))


def _objects_reading(first: bytes, readings: Sequence[Reading], type_: pa.DataType) -> Reading:
    found = members(first)
    names = [level_field(found, column) for column in LEVEL_FIELDS]

    def cast(array: pa.Array) -> pa.Array:
        columns = [r.cast(column) for r, column in zip(readings, array.flatten().flatten(), strict=True)]
        if any(column.null_count for column in columns):
            raise Declined("levels of several forms")
        return _sides(array, columns, type_)

    json_type = pa.struct([(name, reading.json_type) for name, reading in zip(names, readings, strict=True)])
    return Reading(pa.list_(json_type), cast)


def _every(width: int, at: int, count: int) -> pa.Array:
    """True for the value at `at` of each `width` values, and false for the others."""
    pattern = bytes(number == at for number in range(width)) * count
    return pa.Array.from_buffers(pa.uint8(), len(pattern), [None, pa.py_buffer(pattern)]).cast(pa.bool_())


def _sides(array: pa.Array, columns: Sequence[pa.Array], type_: pa.DataType) -> pa.Array:
    """The column of levels whose numbers, without the lists of `array` around them, are `columns`."""
    lengths = pc.list_value_length(array)
    if (pc.max(lengths).as_py() or 0) > LEVELS_PER_SIDE_MAX:
        raise Declined("too many levels")
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(pc.fill_null(lengths, 0))])
    return joined_sides(offsets, columns, array.is_null() if array.null_count else None, type_)


def _decimal_reading(quoted: bool, type_: pa.DataType) -> Reading:
    scale = type_.scale
    integer_digits = _DECIMAL_DIGITS_MAX - scale
    direct = pa.decimal128(_DECIMAL_DIGITS_MAX, scale)
    if not quoted:
        return Reading(direct, lambda a: a.cast(type_), integer_digits)

    def cast(array: pa.Array) -> pa.Array:
        longest = _longest(_checked(array, b"+-."))
        if longest <= integer_digits:
            return array.cast(direct).cast(type_)
        if longest <= _WIDE_DIGITS_MAX - scale:
            return array.cast(pa.decimal256(_WIDE_DIGITS_MAX, scale)).cast(type_)
        raise Declined("a long decimal")

    return Reading(STRING, cast)


def _timestamp_reading(text: bytes, quoted: bool, type_: pa.DataType) -> Reading | None:
    inner = json_text(text) if quoted else text.decode()
    if not quoted or NUMBER.fullmatch(inner):
        return _epoch_reading(inner, quoted, type_)
    if parse_iso(inner) is None:
        return None
    fraction = inner.partition(".")[2].rstrip("Zz").partition("+")[0].partition("-")[0]
    if len(fraction) <= 6:
        return Reading(_MICROSECONDS, lambda a: _resolved(_iso(a, _NEAR_2262 // 1000), 1000, type_))
    return Reading(_NANOSECONDS, lambda a: _resolved(_iso(a, _NEAR_2262), 1, type_))


def _epoch_reading(number: str, quoted: bool, type_: pa.DataType) -> Reading | None:
    if (nanoseconds := parse_epoch(number)) is None:
        return None
    if number.isdigit():
        if quoted:
            return Reading(STRING, lambda a: _resolved(_epochs(_checked(a, b"").cast(INT64)), 1, type_))
        return Reading(INT64, lambda a: _resolved(_epochs(a), 1, type_))
    whole = number.partition(".")[0]
    if not whole.isdigit():
        return None
    assert nanoseconds >= 0
    exponent = epoch_exponent(int(whole))
    read_as = pa.decimal128(_DECIMAL_DIGITS_MAX, exponent)
    digits_max = _DECIMAL_DIGITS_MAX - exponent

    def cast(array: pa.Array) -> pa.Array:
        if quoted:
            if _longest(_checked(array, b".")) > digits_max:
                raise Declined("a long time")
            array = array.cast(read_as)
        return _resolved(_shifted(array, exponent), 1, type_)

    return Reading(STRING, cast) if quoted else Reading(read_as, cast, digits_max)


def _shifted(decimals: pa.Array, exponent: int) -> pa.Array:
    """Nanoseconds of decimals of the scale `exponent`, all of them in the unit that it stands for."""
    unscaled = pa.Array.from_buffers(
        pa.decimal128(_DECIMAL_DIGITS_MAX, 0), len(decimals), decimals.buffers(), decimals.null_count, decimals.offset
    )
    nanoseconds = unscaled.cast(INT64)
    bounds = pc.min_max(nanoseconds).as_py()
    if bounds["min"] is None:
        return nanoseconds
    upper = next((limit * 10**power for limit, power in EPOCH_UNITS if power == exponent), _NEAR_2262)
    lower = next((limit * 10 ** (exponent) for limit, power in EPOCH_UNITS if power == exponent + 3), 0)
    if not lower <= bounds["min"] <= bounds["max"] < min(upper, _NEAR_2262):
        raise Declined("times in several units, or out of range")
    return nanoseconds


def _epochs(numbers: pa.Array) -> pa.Array:
    """Nanoseconds of epoch numbers, each in its own unit."""
    bounds = pc.min_max(numbers).as_py()
    if bounds["min"] is None:
        return numbers
    if bounds["min"] < 0:
        raise Declined("a negative time")
    exponents = {epoch_exponent(bounds["min"]), epoch_exponent(bounds["max"])}
    factor: Any = pa.scalar(10 ** exponents.pop(), INT64)
    if exponents:
        factor = pa.scalar(1, INT64)
        for limit, power in reversed(EPOCH_UNITS):
            factor = pc.if_else(pc.less(numbers, limit), pa.scalar(10**power, INT64), factor)
    return pc.multiply_checked(numbers, factor)


def _iso(times: pa.Array, limit: int) -> pa.Array:
    units = times.view(INT64)
    bounds = pc.min_max(units).as_py()
    if bounds["min"] is not None and not 0 <= bounds["min"] <= bounds["max"] < limit:
        raise Declined("a time outside 1970..2262")
    return units


def _resolved(units: pa.Array, nanoseconds_per_unit: int, type_: pa.DataType) -> pa.Array:
    """Units, which are not negative, as a timestamp of the column's resolution; further digits are cut off."""
    wanted = 1000 if type_.unit == "us" else 1
    if wanted > nanoseconds_per_unit:
        units = pc.divide(units, wanted // nanoseconds_per_unit)
    elif wanted < nanoseconds_per_unit:
        units = pc.multiply_checked(units, nanoseconds_per_unit // wanted)
    return units.view(type_)
