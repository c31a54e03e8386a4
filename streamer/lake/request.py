"""What a reader of the lake asks for, as a value, and how the forms that people write become one.

Times are half-open `[start, end)`; a text or a datetime without zone means UTC. Nothing is read here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from streamer.errors import Invalid
from streamer.lake.instant import parse_instant

TimeLike = datetime | date | str
"""A moment: a datetime (pandas' Timestamp is one), a date (its midnight), or ISO 8601 text. UTC where no zone is given."""

Symbols = str | Iterable[str] | None
Columns = Iterable[str] | None


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """Rows of a stream with `start <= event time < end` (None: open) of `symbols` (None: all).

    columns: which, in this order; None: all. where: an Arrow expression, or None. limit: the first so many rows. as_of: only
    rows that Kafka had before this moment. only_complete: only up to the moment for which every partition is complete.
    """

    stream: str
    start: datetime | None = None
    end: datetime | None = None
    symbols: frozenset[str] | None = None
    columns: tuple[str, ...] | None = None
    where: Any = field(default=None, compare=False)
    limit: int | None = None
    as_of: datetime | None = None
    only_complete: bool = False

    @classmethod
    def of(
        cls,
        stream: str,
        start: TimeLike | None = None,
        end: TimeLike | None = None,
        symbols: Symbols = None,
        columns: Columns = None,
        where: Any = None,
        limit: int | None = None,
        as_of: TimeLike | None = None,
        only_complete: bool = False,
    ) -> ReadRequest:
        """From what the methods of `Lake` take. Raises `Invalid`."""
        from streamer.lake.where import as_expression

        if limit is not None and limit < 0:
            raise Invalid(f"a limit of {limit} rows", hint="leave it out for all rows")
        begin, until = moment(start, "start"), moment(end, "end")
        if begin is not None and until is not None and until < begin:
            raise Invalid(f"the end {until.isoformat()} is before the start {begin.isoformat()}", hint="exchange them")
        return cls(
            stream,
            begin,
            until,
            symbol_set(symbols),
            column_names(columns),
            as_expression(where),
            limit,
            moment(as_of, "as_of"),
            only_complete,
        )


def moment(value: Any, name: str) -> datetime | None:
    """A `TimeLike` as an aware datetime in UTC. Raises `Invalid`, naming the argument."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo is not None else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(value, str):
        hint = "write a datetime, a date or text such as '2026-01-03T10:30'"
        raise Invalid(f"{name} cannot be a {type(value).__name__}", hint=hint)
    return parse_instant(value.strip()).astimezone(UTC)


def symbol_set(symbols: Symbols) -> frozenset[str] | None:
    """One symbol or several as a set; None for all. Raises `Invalid`."""
    if symbols is None:
        return None
    found = frozenset([symbols] if isinstance(symbols, str) else symbols)
    if wrong := [symbol for symbol in found if not isinstance(symbol, str)]:
        raise Invalid(f"{wrong[0]!r} is not a symbol", hint="symbols are text")
    return found


def column_names(columns: Columns) -> tuple[str, ...] | None:
    """Column names, each once; None for all. Raises `Invalid`."""
    if columns is None:
        return None
    names = (columns,) if isinstance(columns, str) else tuple(columns)
    if not names:
        raise Invalid("no column is asked for", hint="leave `columns` out for all of them")
    return tuple(dict.fromkeys(names))
