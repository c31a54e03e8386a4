"""Which files a day is made of: the committed data files and dead-letter files that can hold something of it.

From listings and positions alone; opens no file. What is wrong with the chain of batches around the day is `Damaged`, because a
day with a hole in it must not be certified.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

import orjson

from streamer.archive.certificate import Certificate, InputList
from streamer.archive.day import ONE_DAY, end_of, start_of
from streamer.archive.removed import InputEntry, RemovedBatches
from streamer.commit.position import Gap, Position
from streamer.errors import Damaged
from streamer.keys import archive_part_key
from streamer.lake.chain import Extent, Hole, Overlap, uncovered, walk
from streamer.lake.inventory import Folder, Inventory, LakeFile, Lineage, take_inventory
from streamer.lake.layouts import read_layouts
from streamer.lake.path_filter import PathFilter
from streamer.lake.positions import read_positions
from streamer.layout import Layout
from streamer.records import TopicPartition
from streamer.store.contract import Store
from streamer.write import compression


@dataclass(frozen=True, slots=True)
class Stock:
    """What the lake holds of some streams, as one listing found it. Files that are not committed yet are not in it."""

    positions: Mapping[TopicPartition, Position]
    inventory: Inventory
    layouts: Mapping[str, tuple[Layout, ...]]
    removed: RemovedBatches
    _filters: dict[tuple[str, date], tuple[PathFilter, ...]] = field(default_factory=dict, repr=False)

    def raw_files(self, stream: str, day: date) -> list[LakeFile]:
        """The committed data files that can hold rows of the day, by key. Those in folders that name no day are among them."""
        filters = self.filters(stream, day)
        wanted = {
            folder
            for folder in self.inventory.folders
            if folder.stream == stream
            and not folder.dead_letters
            and any(each.may_hold(folder.partition_path) for each in filters)
        }
        return self._files_in(wanted)

    def letter_files(self, stream: str, day: date) -> list[LakeFile]:
        """The committed dead-letter files of the day, by key."""
        path = f"date={day.isoformat()}"
        return self._files_in(
            {f for f in self.inventory.folders if f.stream == stream and f.dead_letters and f.partition_path == path}
        )

    def days_of(self, folder: Folder) -> frozenset[date] | None:
        """The days whose rows the folder can hold; None where it names none."""
        if folder.dead_letters:
            return _letter_day(folder)
        found: set[date] = set()
        for layout in self.layouts.get(folder.stream, ()):
            span = PathFilter.of(layout, None, None, None).span(folder.partition_path)
            if span is not None:
                found |= {span[0].date(), (span[0] + span[1] - _MOMENT).date()}
        return frozenset(found) or None

    def days(self) -> tuple[set[date], bool]:
        """Every day that a folder names, and whether all of them name one."""
        named = [self.days_of(folder) for folder in self.inventory.folders]
        return set().union(*(days for days in named if days is not None)), None not in named

    def late_days(self, certified: Mapping[date, Certificate]) -> set[date]:
        """Certified days of which there are committed files that the certificate's writer cannot have seen.

        Only where folders name the day: of the others opening every file would have to tell.
        """
        folder_days = {folder: (self.days_of(folder) or frozenset()) & certified.keys() for folder in self.inventory.folders}
        read_to = {
            (day, name, part.topic, part.partition, part.lineage): part.read_to
            for day, certificate in certified.items()
            for name, stream in certificate.streams.items()
            for part in stream.partitions
        }
        late: set[date] = set()
        for file in self.inventory.all_files():
            source, lineage = file.range.source, file.range.lineage
            for day in folder_days[file.folder] - late:
                if file.folder.stream not in certified[day].streams:
                    continue
                seen = read_to.get((day, file.folder.stream, source.topic, source.partition, lineage), -1)
                if seen < file.range.end <= self.committed(Lineage(source, lineage)):
                    late.add(day)
        return late

    def filters(self, stream: str, day: date) -> tuple[PathFilter, ...]:
        """How the stream's layouts, now and earlier, place rows of the day."""
        key = (stream, day)
        if key not in self._filters:
            found = (PathFilter.of(layout, start_of(day), end_of(day), None) for layout in self.layouts.get(stream, ()))
            self._filters[key] = tuple(found)
        return self._filters[key]

    def committed(self, lineage: Lineage) -> int:
        """Every offset below is in the lake. Raises `Damaged` where no position knows of the lineage."""
        position = self.positions.get(lineage.source)
        if position is not None and position.lineage == lineage.lineage:
            return position.committed
        for past in position.past if position is not None else ():
            if past.lineage == lineage.lineage:
                return past.committed
        raise Damaged(
            f"{lineage.source} has files of lineage {lineage.lineage}, and no position that knows of it",
            hint="run `streamer verify`; restore the position from a backup",
        )

    def gaps(self, lineage: Lineage) -> tuple[Gap, ...]:
        """What is on record as missing."""
        position = self.positions.get(lineage.source)
        if position is None:
            return ()
        if position.lineage == lineage.lineage:
            return position.gaps
        return next((past.gaps for past in position.past if past.lineage == lineage.lineage), ())

    def check_chain(self, files: Collection[LakeFile]) -> None:
        """Raises `Damaged` where offsets between the first and the last of these files are missing or there twice."""
        spans: dict[Lineage, tuple[int, int]] = {}
        for file in files:
            lineage = Lineage(file.range.source, file.range.lineage)
            first, last = spans.get(lineage, (file.range.start, file.range.end))
            spans[lineage] = min(first, file.range.start), max(last, file.range.end)
        for lineage, (first, last) in sorted(spans.items()):
            position = self.positions.get(lineage.source)
            for link in walk(lineage, self.inventory.batches(lineage), Extent.of(lineage, position, position)):
                match link:
                    case Hole(range_) if range_.start < last and first < range_.end:
                        for start, end in uncovered(range_.start, range_.end, self.removed.as_gaps(lineage)):
                            raise Damaged(
                                f"offsets [{start},{end}) of {lineage.source} are in no file and no gap",
                                hint="run `streamer verify`: it says what is missing",
                            )
                    case Overlap(one, other) if other.range.start < last and first < one.range.end:
                        raise Damaged(
                            f"{one.range} and {other.range} share offsets",
                            hint="run `streamer verify`: it names the files; remove the copy",
                            key=other.files[0].key,
                        )

    def _files_in(self, folders: Collection[Folder]) -> list[LakeFile]:
        if not folders:
            return []
        found = [
            file
            for file in self.inventory.all_files()
            if file.folder in folders and file.range.end <= self.committed(Lineage(file.range.source, file.range.lineage))
        ]
        return sorted(found, key=lambda file: file.key)


async def take_stock(store: Store, streams: Collection[str]) -> Stock:
    """Read the positions, then list the streams' files. Raises `Unavailable`, `Denied`, `Damaged`."""
    positions = await read_positions(store)
    if positions.findings:
        found = positions.findings[0]
        raise Damaged(found.detail, hint=found.hint, key=found.key)
    inventory = await take_inventory(store, streams=streams)
    layouts: dict[str, list[Layout]] = {}
    for layout in await read_layouts(store):
        layouts.setdefault(layout.stream, []).append(layout)
    removed = await RemovedBatches.read(store, inventory)
    return Stock(positions.by_source, inventory, {name: tuple(found) for name, found in layouts.items()}, removed)


def encode_entries(entries: Iterable[InputEntry]) -> bytes:
    """The list of inputs as an object's bytes: NDJSON, by key, gzip."""
    return compression.compress(
        (orjson.dumps(entry.document()) + b"\n" for entry in sorted(entries, key=lambda entry: entry.key)), "gz"
    )


def input_list(day: date, sha256: str, files: int) -> InputList:
    """What the certificate says of the list of inputs."""
    return InputList(archive_part_key(day, sha256, "inputs.ndjson.gz"), sha256, files)


def _letter_day(folder: Folder) -> frozenset[date] | None:
    try:
        return frozenset({date.fromisoformat(folder.partition_path.removeprefix("date="))})
    except ValueError:
        return None


_MOMENT = ONE_DAY / 86_400
