"""What the lake holds, from listings alone: per partition and lineage the ordered batches with their files.

A lake has up to millions of files, so a file here is five numbers in arrays (about 40 bytes) and its key is built again when
it is asked for. Opens no file; says nothing about right or wrong, that is `verify`.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby
from typing import NamedTuple

from streamer.keys import DEAD_LETTER_SUFFIX, DEAD_LETTERS, RAW, file_name, parse_data_key
from streamer.lake.folder_days import FolderDays
from streamer.lake.layouts import read_layouts
from streamer.layout import Format
from streamer.records import BatchRange, TopicPartition
from streamer.store.contract import Store

FOREIGN_KEPT = 1000


class Lineage(NamedTuple):
    """One life of one topic-partition: the unit whose ranges abut."""

    source: TopicPartition
    lineage: int


class Folder(NamedTuple):
    """A place for files of one kind: `raw/{stream}/{partition_path}/` or `dead-letters/{stream}/date=.../`.

    day: the only one whose rows it can hold; None where there may be others, or nobody asked. symbol: the same.
    """

    stream: str
    partition_path: str
    suffix: str
    dead_letters: bool
    day: date | None = None
    symbol: str | None = None

    @property
    def prefix(self) -> str:
        top = DEAD_LETTERS if self.dead_letters else RAW
        return f"{top}{self.stream}/{self.partition_path}/" if self.partition_path else f"{top}{self.stream}/"


@dataclass(frozen=True, slots=True)
class LakeFile:
    """One data file or dead-letter file, as its name tells."""

    folder: Folder
    range: BatchRange
    size_bytes: int

    @property
    def key(self) -> str:
        return self.folder.prefix + file_name(self.range, self.folder.suffix)


@dataclass(frozen=True, slots=True)
class ListedBatch:
    """All files whose names carry the same range."""

    range: BatchRange
    files: tuple[LakeFile, ...]

    @property
    def dates(self) -> tuple[date, ...]:
        """The days that the files' folders name, ascending; dead letters count by their own date. Empty where none does."""
        return tuple(sorted({file.folder.day for file in self.files if file.folder.day is not None}))


@dataclass(slots=True)
class PartitionFiles:
    """The files of one lineage of one partition, as columns."""

    lineage: Lineage
    starts: array[int] = field(default_factory=lambda: array("q"), repr=False)
    ends: array[int] = field(default_factory=lambda: array("q"), repr=False)
    folders: array[int] = field(default_factory=lambda: array("l"), repr=False)
    sizes: array[int] = field(default_factory=lambda: array("q"), repr=False)

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True, slots=True)
class ForeignObject:
    """An object below `raw/` or `dead-letters/` whose name is not one of ours, and whether SQL engines would read it."""

    key: str
    size_bytes: int
    visible: bool


@dataclass(slots=True)
class Inventory:
    """Everything below `raw/` and `dead-letters/`. days: what folders say of their rows."""

    days: FolderDays = field(default_factory=lambda: FolderDays(()), repr=False)
    partitions: dict[Lineage, PartitionFiles] = field(default_factory=dict)
    foreign: list[ForeignObject] = field(default_factory=list)
    foreign_count: int = 0
    files: int = 0
    bytes: int = 0
    _folders: dict[tuple[str, str, str, bool], int] = field(default_factory=dict, repr=False)
    _folder_list: list[Folder] = field(default_factory=list, repr=False)

    @property
    def folders(self) -> tuple[Folder, ...]:
        """Every folder that holds a file."""
        return tuple(self._folder_list)

    def add(self, key: str, size_bytes: int) -> None:
        """Take in one listed object."""
        parsed = parse_data_key(key)
        if parsed is None or (parsed.dead_letters and parsed.suffix != DEAD_LETTER_SUFFIX):
            self._add_foreign(key, size_bytes)
            return
        place = (parsed.stream, parsed.partition_path, parsed.suffix, parsed.dead_letters)
        number = self._folders.get(place)
        if number is None:
            number = self._folders[place] = len(self._folder_list)
            day = self.days.day(parsed.stream, parsed.partition_path, dead_letters=parsed.dead_letters)
            symbol = None if parsed.dead_letters else self.days.symbol(parsed.stream, parsed.partition_path)
            self._folder_list.append(Folder(*place, day, symbol))
        lineage = Lineage(parsed.range.source, parsed.range.lineage)
        files = self.partitions.get(lineage)
        if files is None:
            files = self.partitions[lineage] = PartitionFiles(lineage)
        files.starts.append(parsed.range.start)
        files.ends.append(parsed.range.end)
        files.folders.append(number)
        files.sizes.append(size_bytes)
        self.files += 1
        self.bytes += size_bytes

    def batches(self, lineage: Lineage) -> Iterator[ListedBatch]:
        """The batches of one lineage by (start, end), built one at a time."""
        files = self.partitions.get(lineage)
        if files is None:
            return
        order = sorted(range(len(files)), key=lambda at: (files.starts[at], files.ends[at]))
        for (start, end), siblings in groupby(order, key=lambda at: (files.starts[at], files.ends[at])):
            range_ = BatchRange(lineage.source, start, end, lineage.lineage)
            yield ListedBatch(
                range_, tuple(LakeFile(self._folder_list[files.folders[at]], range_, files.sizes[at]) for at in siblings)
            )

    def streams_of(self, lineage: Lineage) -> set[str]:
        """The streams whose folders hold files of `lineage`: one, or more where the stream was renamed."""
        files = self.partitions.get(lineage)
        return {self._folder_list[number].stream for number in set(files.folders)} if files is not None else set()

    def all_files(self) -> Iterator[LakeFile]:
        """Every file, in no promised order."""
        for lineage, files in self.partitions.items():
            for start, end, folder, size in zip(files.starts, files.ends, files.folders, files.sizes, strict=True):
                yield LakeFile(self._folder_list[folder], BatchRange(lineage.source, start, end, lineage.lineage), size)

    def _add_foreign(self, key: str, size_bytes: int) -> None:
        if is_our_mark(key):
            return
        self.foreign_count += 1
        if len(self.foreign) < FOREIGN_KEPT:
            hidden = any(part.startswith(("_", ".")) for part in key.split("/"))
            self.foreign.append(ForeignObject(key, size_bytes, not hidden))


async def take_inventory(store: Store, *, streams: Collection[str] | None = None) -> Inventory:
    """List `raw/` and `dead-letters/`, of `streams` alone where given. Raises `Unavailable` and `Denied`."""
    inventory = Inventory(FolderDays(await read_layouts(store)))
    for top in (RAW, DEAD_LETTERS):
        for prefix in [f"{top}{stream}/" for stream in sorted(streams)] if streams is not None else [top]:
            async for item in store.list(prefix):
                inventory.add(item.key, item.size_bytes)
    return inventory


def is_our_mark(key: str) -> bool:
    """Whether `key` is a note of streamer's own beside the data: what was redriven."""
    return key.startswith(f"{DEAD_LETTERS}_redriven/")


def suffix_format(suffix: str) -> Format:
    """The format of a data file with this suffix."""
    formats: dict[str, Format] = {"parquet": "parquet", "ndjson.zst": "ndjson.zst", "ndjson.gz": "ndjson.gz"}
    return formats[suffix]
