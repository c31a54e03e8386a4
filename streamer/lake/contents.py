"""What `streamer ls` shows: an inventory added up by stream, day and folder. Pure; opens nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from streamer.lake.closed_days import ClosedDay, ClosedDays
from streamer.lake.inventory import Inventory, LakeFile

Group = Literal["stream", "day", "folder"]


@dataclass(slots=True)
class Contents:
    """Files that belong together, added up. files, bytes: raw and dead letters. archive_files, archive_bytes: of closed days.
    `rows` is None where the files were not asked."""

    name: str
    files: int = 0
    bytes: int = 0
    dead_letter_files: int = 0
    archive_files: int = 0
    archive_bytes: int = 0
    rows: int | None = None
    topics: set[str] = field(default_factory=set)
    symbols: set[str] = field(default_factory=set)
    days: set[date] = field(default_factory=set)

    def add(self, file: LakeFile) -> None:
        """Take in one file."""
        self.bytes += file.size_bytes
        self.topics.add(file.range.source.topic)
        if file.folder.dead_letters:
            self.dead_letter_files += 1
            return
        self.files += 1
        if file.folder.symbol is not None:
            self.symbols.add(file.folder.symbol)
        if file.folder.day is not None:
            self.days.add(file.folder.day)

    def add_closed(self, closed: ClosedDay) -> None:
        """Take in what the archive has of a day."""
        self.days.add(closed.day)
        self.archive_files += len(closed.outputs)
        self.archive_bytes += sum(output.bytes for output in closed.outputs)
        self.symbols |= {output.symbol for output in closed.outputs if output.symbol is not None}

    def document(self) -> dict[str, object]:
        """For JSON."""
        body: dict[str, object] = {
            "name": self.name,
            "files": self.files,
            "dead_letter_files": self.dead_letter_files,
            "bytes": self.bytes,
            "archive_files": self.archive_files,
            "archive_bytes": self.archive_bytes,
            "topics": sorted(self.topics),
            "symbols": sorted(self.symbols),
            "first_day": min(self.days).isoformat() if self.days else None,
            "newest_day": max(self.days).isoformat() if self.days else None,
        }
        return body if self.rows is None else {**body, "rows": self.rows}


Closed = Mapping[str, ClosedDays]
"""The closed days by stream."""


def by_stream(inventory: Inventory, closed: Closed) -> list[Contents]:
    """One entry a stream, by name."""
    found = _grouped(inventory.all_files(), lambda file: file.folder.stream)
    for stream, days in closed.items():
        for day in days.by_day.values():
            _entry(found, stream).add_closed(day)
    return _sorted(found)


def by_day(inventory: Inventory, closed: Closed) -> list[Contents]:
    """One entry a day, ascending; files whose folders name no day come last, as `-`. Dead letters count on their own day."""
    found = _grouped(inventory.all_files(), lambda file: str(file.folder.day or "-"))
    for days in closed.values():
        for day in days.by_day.values():
            _entry(found, str(day.day)).add_closed(day)
    return _sorted(found)


def by_folder(inventory: Inventory, closed: Closed, day: date) -> list[Contents]:
    """One entry a folder of `day`; what the archive has of it is one entry a stream, `archive/{stream}`."""
    found = _grouped((file for file in inventory.all_files() if file.folder.day == day), lambda file: file.folder.prefix)
    for stream, days in closed.items():
        if (archived := days.by_day.get(day)) is not None:
            _entry(found, f"archive/{stream}").add_closed(archived)
    return _sorted(found)


def count_rows(
    entries: Iterable[Contents], inventory: Inventory, closed: Closed, counted: Mapping[str, int], by: Group
) -> None:
    """Set `rows` of each entry: those of a closed day as its certificate says, of open days the files' own. by: how the
    entries were made. Dead letters are no rows."""
    named = {entry.name: entry for entry in entries}
    for entry in named.values():
        entry.rows = 0

    def add(name: str, rows: int) -> None:
        if (entry := named.get(name)) is not None:
            entry.rows = (entry.rows or 0) + rows

    undated = {folder.stream for folder in inventory.folders if not folder.dead_letters and folder.day is None}
    for stream, days in closed.items():
        for day in days.by_day.values() if stream not in undated else ():
            add({"stream": stream, "day": str(day.day), "folder": f"archive/{stream}"}[by], day.row_count)
    for file in inventory.all_files():
        folder = file.folder
        archived = folder.stream not in undated and folder.stream in closed and folder.day in closed[folder.stream].days
        if not folder.dead_letters and not archived:
            add({"stream": folder.stream, "day": str(folder.day or "-"), "folder": folder.prefix}[by], counted.get(file.key, 0))


def files_of(inventory: Inventory, day: date | None) -> list[LakeFile]:
    """Every file by key, those of `day` alone where given."""
    found = [file for file in inventory.all_files() if day is None or file.folder.day == day]
    return sorted(found, key=lambda file: file.key)


def _grouped(files: Iterable[LakeFile], name_of: Callable[[LakeFile], str]) -> dict[str, Contents]:
    found: dict[str, Contents] = {}
    for file in files:
        _entry(found, name_of(file)).add(file)
    return found


def _entry(found: dict[str, Contents], name: str) -> Contents:
    if (contents := found.get(name)) is None:
        contents = found[name] = Contents(name)
    return contents


def _sorted(found: dict[str, Contents]) -> list[Contents]:
    return sorted(found.values(), key=lambda contents: (contents.name == "-", contents.name))
