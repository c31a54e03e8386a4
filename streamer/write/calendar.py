"""Which instants have a date: those from 1970 up to the end of the year 9999, in any of Arrow's units."""

from __future__ import annotations

UNITS_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
YEAR_10000_SECONDS = 253_402_300_800


def calendar_end(unit: str) -> int:
    """The first instant without a date, in `unit` since 1970. Beyond what an int64 holds where the unit is `ns`."""
    return YEAR_10000_SECONDS * UNITS_PER_SECOND[unit]
