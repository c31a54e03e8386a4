"""What `streamer ls` shows: an inventory added up by stream, day and folder. Pure; opens nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date

from streamer.lake.inventory import Inventory, LakeFile, path_date
from streamer.write.partition_value import decode_value

_SYMBOL = re.compile(r"(?:^|/)symbol=([^/]+)")


@dataclass(slots=True)
class Contents:
    """Files that belong together, added up. `rows` is None where the files were not asked."""

    name: str
    files: int = 0
    bytes: int = 0
    dead_letter_files: int = 0
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
        if (symbol := path_symbol(file.folder.partition_path)) is not None:
            self.symbols.add(symbol)
        if (day := path_date(file.folder.partition_path)) is not None:
            self.days.add(day)

    def document(self) -> dict[str, object]:
        """For JSON."""
        body: dict[str, object] = {
            "name": self.name,
            "files": self.files,
            "dead_letter_files": self.dead_letter_files,
            "bytes": self.bytes,
            "topics": sorted(self.topics),
            "symbols": sorted(self.symbols),
            "first_day": min(self.days).isoformat() if self.days else None,
            "newest_day": max(self.days).isoformat() if self.days else None,
        }
        return body if self.rows is None else {**body, "rows": self.rows}


def path_symbol(partition_path: str) -> str | None:
    """The symbol that a folder names, decoded; as it stands where its text was cut; None where it names none."""
    match = _SYMBOL.search(partition_path)
    if match is None:
        return None
    try:
        return decode_value(match[1])
    except ValueError:
        return match[1]


def by_stream(inventory: Inventory) -> list[Contents]:
    """One entry a stream, by name."""
    return _grouped(inventory.all_files(), lambda file: file.folder.stream)


def by_day(inventory: Inventory) -> list[Contents]:
    """One entry a day, ascending; files whose folders name no day come last, as `-`. Dead letters count on their own day."""
    return _grouped(inventory.all_files(), lambda file: str(path_date(file.folder.partition_path) or "-"))


def by_folder(inventory: Inventory, day: date | None) -> list[Contents]:
    """One entry a folder, those of `day` alone where given."""
    files = (file for file in inventory.all_files() if day is None or path_date(file.folder.partition_path) == day)
    return _grouped(files, lambda file: file.folder.prefix)


def files_of(inventory: Inventory, day: date | None) -> list[LakeFile]:
    """Every file by key, those of `day` alone where given."""
    found = [file for file in inventory.all_files() if day is None or path_date(file.folder.partition_path) == day]
    return sorted(found, key=lambda file: file.key)


def _grouped(files: Iterable[LakeFile], name_of: Callable[[LakeFile], str]) -> list[Contents]:
    found: dict[str, Contents] = {}
    for file in files:
        name = name_of(file)
        if (contents := found.get(name)) is None:
            contents = found[name] = Contents(name)
        contents.add(file)
    return sorted(found.values(), key=lambda contents: (contents.name == "-", contents.name))
