"""Times as people type them: `2026-01-03`, `2026-01-03T10:00`, `2026-01-03 10:00:00+02:00`. UTC where no zone is given."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from streamer.errors import Invalid


def parse_day(text: str) -> date:
    """A day. Raises `Invalid`."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Invalid(f"{text!r} is not a date", hint="write it as 2026-01-03") from None


def parse_instant(text: str, *, end: bool = False) -> datetime:
    """A moment, aware. A bare date means its midnight; as an `end`, which is itself not included, the midnight after it.

    Raises `Invalid`.
    """
    try:
        if len(text) <= 10 and "T" not in text:
            day = date.fromisoformat(text)
            return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1 if end else 0)
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise Invalid(f"{text!r} is not a time", hint="write it as 2026-01-03 or 2026-01-03T10:30:00 (UTC)") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
