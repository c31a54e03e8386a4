"""A day, UTC: where it begins and ends, and which days are complete. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from streamer.commit.position import Position

ONE_DAY = timedelta(days=1)


def start_of(day: date) -> datetime:
    """The day's first moment, aware."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def end_of(day: date) -> datetime:
    """The first moment after the day, aware."""
    return start_of(day) + ONE_DAY


def last_complete_day(positions: Iterable[Position]) -> date | None:
    """The newest day that every partition says is complete; None where one cannot say, or where there is none."""
    throughs = [position.through for position in positions]
    if not throughs:
        return None
    least = min(through or start_of(date.min + ONE_DAY) for through in throughs)
    return least.astimezone(UTC).date() - ONE_DAY if None not in throughs else None


def is_complete(day: date, positions: Iterable[Position]) -> bool:
    """Whether `through` of every partition has passed the day's end. A lake without positions has no complete day."""
    last = last_complete_day(positions)
    return last is not None and day <= last


def blockers(day: date, positions: Iterable[Position]) -> dict[str, str | None]:
    """The partitions that are not complete up to the day's end, each with its `through`."""
    ends = end_of(day)
    return {
        str(position.source): position.through.isoformat() if position.through else None
        for position in positions
        if position.through is None or position.through < ends
    }
