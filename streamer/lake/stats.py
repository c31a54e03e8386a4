"""What is in a lake, counted from its listing: objects and bytes by part, stream, day and storage class. Opens nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import TypeVar

import pyarrow as pa

from streamer.keys import parse_data_key
from streamer.lake.folder_days import FolderDays, as_date, guessed_date
from streamer.lake.layouts import read_layouts
from streamer.store.contract import ObjectInfo, Store

K = TypeVar("K")

_STREAMS_OF = {"ticks": "ticks", "ohlcv": "ticks", "signals": "signals", "features": "features", "orderbooks": "orderbooks"}
_WITH_STREAM = ("raw", "dead-letters", "streams")


@dataclass(frozen=True, slots=True)
class StatsEntry:
    """Objects that belong together. part: the top folder (`raw`, `ticks`, `models`, ...). stream, day: None where there is
    none. storage_class: as the store names it; None where it has no such thing."""

    part: str
    stream: str | None
    day: date | None
    storage_class: str | None
    objects: int
    bytes: int


@dataclass(frozen=True, slots=True)
class LakeStats:
    """Everything that was listed, added up."""

    entries: tuple[StatsEntry, ...]

    @property
    def objects(self) -> int:
        """How many objects there are."""
        return sum(entry.objects for entry in self.entries)

    @property
    def bytes(self) -> int:
        """How many bytes they have."""
        return sum(entry.bytes for entry in self.entries)

    def by_stream(self) -> dict[str | None, tuple[int, int]]:
        """(objects, bytes) of each stream; None for what belongs to none."""
        return self._added(lambda entry: entry.stream)

    def by_day(self) -> dict[date | None, tuple[int, int]]:
        """(objects, bytes) of each day; None for what belongs to none."""
        return self._added(lambda entry: entry.day)

    def by_storage_class(self) -> dict[str | None, tuple[int, int]]:
        """(objects, bytes) of each storage class."""
        return self._added(lambda entry: entry.storage_class)

    def to_table(self) -> pa.Table:
        """The entries as an Arrow table."""
        kinds = {"part": pa.string(), "stream": pa.string(), "day": pa.date32(), "storage_class": pa.string()}
        columns = {name: pa.array([getattr(e, name) for e in self.entries], kind) for name, kind in kinds.items()}
        numbers = {name: pa.array([getattr(e, name) for e in self.entries], pa.int64()) for name in ("objects", "bytes")}
        return pa.table({**columns, **numbers})

    def _added(self, name_of: Callable[[StatsEntry], K]) -> dict[K, tuple[int, int]]:
        return _sums((name_of(entry), entry.objects, entry.bytes) for entry in self.entries)


async def count(store: Store, prefix: str = "") -> LakeStats:
    """List everything below `prefix`. Raises `Unavailable` and `Denied`."""
    days = FolderDays(await read_layouts(store))
    found: defaultdict[tuple[str, str | None, date | None, str | None], list[int]] = defaultdict(lambda: [0, 0])
    async for item in store.list(prefix):
        sums = found[_place(item, days)]
        sums[0] += 1
        sums[1] += item.size_bytes
    ordered = sorted(found.items(), key=lambda pair: [(value is not None, str(value)) for value in pair[0]])
    return LakeStats(tuple(StatsEntry(*place, *sums) for place, sums in ordered))


def _place(item: ObjectInfo, days: FolderDays) -> tuple[str, str | None, date | None, str | None]:
    top, _, rest = item.key.partition("/")
    stream = (rest.partition("/")[0] or None) if top in _WITH_STREAM and "/" in rest else _STREAMS_OF.get(top)
    return top, stream, _day(item.key, days), item.storage_class


def _day(key: str, days: FolderDays) -> date | None:
    if (data := parse_data_key(key)) is not None:
        return days.day(data.stream, data.partition_path, dead_letters=data.dead_letters)
    folder, _, name = key.rpartition("/")
    stem = name.partition(".")[0]
    # The archive has the day as a name of its own, and a symbol before it that may look like one.
    own = (as_date(part) for part in (stem, *reversed(folder.split("/"))))
    return next((day for day in own if day is not None), None) or guessed_date(stem) or guessed_date(folder)


def _sums(rows: Iterable[tuple[K, int, int]]) -> dict[K, tuple[int, int]]:
    found: dict[K, tuple[int, int]] = {}
    for name, objects, size in rows:
        had = found.get(name, (0, 0))
        found[name] = had[0] + objects, had[1] + size
    return found
