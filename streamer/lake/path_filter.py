"""Which folders can hold rows of some symbols and times: a path template read backwards.

Pure, and only ever careful: a folder that it cannot read is kept, and the rows decide.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from streamer.keys import RAW
from streamer.layout import Layout
from streamer.write.partition_path import PartitionPath
from streamer.write.partition_value import decode_value, encode_value, is_cut
from streamer.write.path_template import ColumnField, Literal, TimeField

SYMBOL = "symbol"
_GROUPS = {"%Y": "year", "%m": "month", "%d": "day", "%j": "day_of_year", "%H": "hour", "%M": "minute"}


@dataclass(frozen=True, slots=True)
class Listing:
    """A part of the keys: those below `prefix`, behind `after`, up to those that begin with `last` (None: to the end)."""

    prefix: str
    after: str = ""
    last: str | None = None

    def is_past(self, key: str) -> bool:
        """Whether `key`, and so every key behind it, is not asked for."""
        return self.last is not None and key[: len(self.last)] > self.last


@dataclass(frozen=True, slots=True)
class PathFilter:
    """Rows with `start <= event time < end` (None: open) and one of `symbols` (None: all) of one layout."""

    layout: Layout
    path: PartitionPath
    start: datetime | None
    end: datetime | None
    symbols: frozenset[str] | None
    _pattern: re.Pattern[str]

    @classmethod
    def of(cls, layout: Layout, start: datetime | None, end: datetime | None, symbols: Collection[str] | None) -> PathFilter:
        """Raises `Invalid` where this release cannot execute the layout's template."""
        path = PartitionPath.parse(layout.path, layout.columns)
        wanted = frozenset(symbols) if symbols is not None else None
        return cls(layout, path, start, end, wanted, _pattern(path))

    def prefixes(self) -> list[str]:
        """Where listing has to begin: one prefix a symbol where the template starts with it, else the stream's folder."""
        found = [f"{RAW}{self.layout.stream}/"]
        for piece in self.path.pieces:
            if isinstance(piece, Literal):
                found = [prefix + piece.text for prefix in found]
            elif isinstance(piece, ColumnField) and piece.column == SYMBOL and self.symbols is not None:
                texts = [encode_value(symbol, at_segment_start=piece.at_segment_start) for symbol in sorted(self.symbols)]
                found = [prefix + text for prefix in found for text in texts]
            else:
                break
        return found

    def listings(self) -> list[Listing]:
        """What has to be listed: the prefixes, and where the template goes on with the date, only the days asked for."""
        if not self._date_follows():
            return [Listing(prefix) for prefix in self.prefixes()]
        first = f"{self.start:%Y-%m-%d}" if self.start is not None else ""
        last = f"{self.end:%Y-%m-%d}" if self.end is not None else None
        return [Listing(p, p + first if first else "", p + last if last is not None else None) for p in self.prefixes()]

    def _date_follows(self) -> bool:
        """Whether `%Y-%m-%d` is what comes behind `prefixes`."""
        rest = list(self.path.pieces)
        while rest and (
            isinstance(rest[0], Literal)
            or (isinstance(rest[0], ColumnField) and rest[0].column == SYMBOL and self.symbols is not None)
        ):
            rest.pop(0)
        return rest[:5] == [TimeField("%Y"), Literal("-"), TimeField("%m"), Literal("-"), TimeField("%d")]

    def span(self, partition_path: str) -> tuple[datetime, timedelta] | None:
        """The event times that a folder can hold: the first, and for how long. None for a path that names no day of its own, or
        is not of this template."""
        match = self._pattern.fullmatch(partition_path)
        return _span(match.groupdict()) if match is not None else None

    def symbol_text(self, partition_path: str) -> str | None:
        """The symbol that a folder holds alone, as its path spells it; None where the template does not part symbols."""
        match = self._pattern.fullmatch(partition_path)
        return match.groupdict().get(SYMBOL) if match is not None else None

    def day(self, partition_path: str) -> date | None:
        """The only day whose rows the folder can hold; None where there may be others, or the path is not of this template."""
        match = self._pattern.fullmatch(partition_path)
        span = _span(match.groupdict()) if match is not None else None
        return span[0].date() if span is not None else None

    def symbol(self, partition_path: str) -> str | None:
        """The only symbol whose rows the folder can hold; None where there may be others, or its text does not spell it out."""
        match = self._pattern.fullmatch(partition_path)
        text = match.groupdict().get(SYMBOL) if match is not None else None
        if text is None or is_cut(text):
            return None
        try:
            return decode_value(text)
        except ValueError:
            return None

    def matches(self, partition_path: str) -> bool:
        """Whether the path is of this template."""
        return self._pattern.fullmatch(partition_path) is not None

    def may_hold(self, partition_path: str) -> bool:
        """Whether a folder can hold rows asked for. True for a path that is not of this template."""
        match = self._pattern.fullmatch(partition_path)
        if match is None:
            return True
        groups = match.groupdict()
        if self.symbols is not None and (text := groups.get("symbol")) is not None:
            at_start = any(isinstance(p, ColumnField) and p.column == SYMBOL and p.at_segment_start for p in self.path.pieces)
            if text not in {encode_value(symbol, at_segment_start=at_start) for symbol in self.symbols}:
                return False
        span = _span(groups)
        if span is None:
            return True
        first, length = span
        return (self.end is None or first < self.end) and (self.start is None or self.start < first + length)


def _pattern(path: PartitionPath) -> re.Pattern[str]:
    parts, named = [], set[str]()
    for piece in path.pieces:
        if isinstance(piece, Literal):
            parts.append(re.escape(piece.text))
            continue
        name = (
            (SYMBOL if piece.column == SYMBOL else "") if isinstance(piece, ColumnField) else _GROUPS.get(piece.directive, "")
        )
        body = r"[^/]+?" if isinstance(piece, ColumnField) else rf"\d{{{piece.bytes_max}}}"
        parts.append(f"(?P<{name}>{body})" if name and name not in named else f"(?:{body})")
        named.add(name)
    return re.compile("".join(parts))


def _span(groups: dict[str, str]) -> tuple[datetime, timedelta] | None:
    """The first moment that the path's digits can mean, and how long they mean it; None where they name no day."""
    try:
        if {"year", "month", "day"} <= groups.keys():
            first = datetime(int(groups["year"]), int(groups["month"]), int(groups["day"]), tzinfo=UTC)
        elif {"year", "day_of_year"} <= groups.keys():
            first = datetime(int(groups["year"]), 1, 1, tzinfo=UTC) + timedelta(days=int(groups["day_of_year"]) - 1)
        else:
            return None
        if "hour" not in groups:
            return first, timedelta(days=1)
        first += timedelta(hours=int(groups["hour"]))
        if "minute" not in groups:
            return first, timedelta(hours=1)
        return first + timedelta(minutes=int(groups["minute"])), timedelta(minutes=1)
    except (ValueError, OverflowError):
        return None
