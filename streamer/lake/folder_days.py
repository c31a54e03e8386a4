"""What a folder's path says of its rows: the only day, the only symbol. By its stream's templates, read backwards.

A symbol may look like a day, so a path is never searched for one; only a lake whose layouts are lost is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from functools import lru_cache

from streamer.errors import Invalid
from streamer.lake.path_filter import PathFilter
from streamer.layout import Layout

_DATE = re.compile(r"(?:^|[/=_-])(\d{4})-(\d{2})-(\d{2})(?:$|[/T_-])", re.ASCII)
_PARTS = re.compile(r"(?:^|/)year=(\d{4})/month=(\d{1,2})/day=(\d{1,2})(?:$|/)", re.ASCII)
_BARE = re.compile(r"(?:^|/)(\d{4})/(\d{2})/(\d{2})(?:$|/)", re.ASCII)


class FolderDays:
    """Folders of the streams that `layouts` are of."""

    def __init__(self, layouts: Iterable[Layout]) -> None:
        self._filters: dict[str, list[PathFilter]] = {}
        for layout in layouts:
            try:
                found = PathFilter.of(layout, None, None, None)
            except Invalid:
                continue  # a template of another release: its folders are guessed
            self._filters.setdefault(layout.stream, []).append(found)

    def day(self, stream: str, partition_path: str, *, dead_letters: bool = False) -> date | None:
        """The only day whose rows the folder can hold; None where there may be others."""
        if dead_letters:
            return as_date(partition_path.removeprefix("date="))
        filters = self._filters.get(stream)
        if filters is None:
            return guessed_date(partition_path)
        days = {each.day(partition_path) for each in filters if each.matches(partition_path)}
        return days.pop() if len(days) == 1 else None

    def symbol(self, stream: str, partition_path: str) -> str | None:
        """The only symbol whose rows the folder can hold, as the path has it where it was cut; None where there may be more."""
        filters = self._filters.get(stream, ())
        found = {each.symbol(partition_path) or each.symbol_text(partition_path) for each in filters}
        found.discard(None)
        return found.pop() if len(found) == 1 else None


def as_date(text: str) -> date | None:
    """The day that `text` is; None where it is none."""
    try:
        return date.fromisoformat(text) if len(text) == 10 else None
    except ValueError:
        return None


@lru_cache(maxsize=65536)
def guessed_date(partition_path: str) -> date | None:
    """The first part of a path that looks like a day (`date=2026-01-03`, `2026/01/03`, `year=2026/month=1/day=3`)."""
    for pattern in (_DATE, _PARTS, _BARE):
        if (match := pattern.search(partition_path)) is not None:
            try:
                return date(int(match[1]), int(match[2]), int(match[3]))
            except ValueError:
                continue
    return None
