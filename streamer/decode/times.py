"""One time as text becomes nanoseconds since 1970, or is refused: the definition that `readings.py` may only hurry."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal, InvalidOperation

NANOSECONDS_MAX = 2**63 - 1
"""2262-04-11T23:47:16.854775807Z, whatever the column's resolution: choosing `us` or `ns` refuses no record."""

EPOCH_UNITS = ((10**11, 9), (10**14, 6), (10**17, 3))
"""A number below the first is in a unit of 10^-9 times 10^second seconds; everything else is nanoseconds."""

_ISO = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[T ]([0-9]{2})(?::([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?)?(Z|z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
_EPOCH_DAY = date(1970, 1, 1).toordinal()


def epoch_exponent(magnitude: Decimal | int) -> int:
    """The power of ten that makes nanoseconds of an epoch number of this magnitude."""
    for limit, exponent in EPOCH_UNITS:
        if magnitude < limit:
            return exponent
    return 0


def parse_epoch(text: str) -> int | None:
    """Nanoseconds of a number; None where it is negative or beyond 2262. `text` is a number."""
    if len(text) < 20 and text.isascii() and text.isdigit():
        whole = int(text)
        nanoseconds = whole * 10 ** epoch_exponent(whole)
    else:
        try:
            number = Decimal(text)
        except InvalidOperation:  # an exponent beyond what Decimal can hold
            return None
        if number < 0 or number.adjusted() > 20:
            return None
        nanoseconds = _shifted(number, epoch_exponent(number))
    return nanoseconds if nanoseconds <= NANOSECONDS_MAX else None


def _shifted(number: Decimal, exponent: int) -> int:
    """`floor(number * 10**exponent)` of a number that is not negative, without a context's rounding."""
    _, digits, _ = number.as_tuple()
    if not number:
        return 0
    length = number.adjusted() + 1 + exponent
    if length <= 0:
        return 0
    whole = "".join(map(str, digits[:length]))
    return int(whole.ljust(length, "0"))


def parse_iso(text: str) -> int | None:
    """Nanoseconds of an ISO 8601 text, without zone UTC; None where it is none, negative or beyond 2262."""
    if (match := _ISO.fullmatch(text)) is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        days = date(int(year), int(month), int(day)).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    hours, minutes, seconds = int(hour or 0), int(minute or 0), int(second or 0)
    if hours > 23 or minutes > 59 or seconds > 59:
        return None
    offset = _zone_seconds(zone)
    if offset is None:
        return None
    total = days * 86400 + hours * 3600 + minutes * 60 + seconds - offset
    nanoseconds = total * 10**9 + int((fraction or "").ljust(9, "0"))
    return nanoseconds if 0 <= nanoseconds <= NANOSECONDS_MAX else None


def _zone_seconds(zone: str | None) -> int | None:
    if zone is None or zone in "Zz":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[3:].lstrip(":") or 0)
    if hours > 23 or minutes > 59:
        return None
    return (hours * 3600 + minutes * 60) * (-1 if zone[0] == "-" else 1)
