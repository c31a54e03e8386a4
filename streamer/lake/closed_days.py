"""Which days are closed, and the objects that hold their rows, as certificates say: where readers learn of the archive.

A day whose certificate is not complete, because it was closed by hand too early, is still open here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from streamer.archive.certificate import Certificate, Output, PartitionPart
from streamer.archive.interval import Interval
from streamer.errors import NotFound
from streamer.keys import CERTIFICATES, certificate_key, parse_certificate_key
from streamer.records import BatchRange
from streamer.store.contract import ObjectInfo, Store

_HASHED = "sha256-"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ClosedDay:
    """One closed day of one stream. partitions: what it was made of."""

    day: date
    intervals: tuple[Interval, ...]
    outputs: tuple[Output, ...]
    partitions: tuple[PartitionPart, ...] = ()
    row_count: int = 0

    def has(self, batch: BatchRange) -> bool:
        """Whether the day's rows of a batch are in the archive."""
        return any(
            (part.topic, part.partition, part.lineage) == (*batch.source, batch.lineage)
            and any(start <= batch.start and batch.end <= end for start, end in part.ranges)
            for part in self.partitions
        )

    def rows(self, symbols: Collection[str] | None) -> list[Output]:
        """The objects with the stream's rows that can hold one of `symbols` (None: all)."""
        return [output for output in _of(self.outputs, symbols) if output.kind != "bars"]

    def bars(self, symbols: Collection[str] | None) -> list[Output]:
        """The objects with bars of `symbols` (None: all)."""
        return [output for output in _of(self.outputs, symbols) if output.kind == "bars"]


@dataclass(frozen=True, slots=True)
class ClosedDays:
    """The closed days of one stream, by day."""

    by_day: dict[date, ClosedDay]

    @property
    def days(self) -> frozenset[date]:
        """Their dates."""
        return frozenset(self.by_day)

    def having(self, batch: BatchRange) -> frozenset[date]:
        """Those whose rows of a batch are in the archive: all, unless the batch came after they were closed."""
        return frozenset(day for day, closed in self.by_day.items() if closed.has(batch))


class Certificates:
    """The certificates of a lake for a reader that asks often: each version is read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[date, tuple[str, Certificate]] = {}
        self._day_of: dict[str, date] = {}

    async def closed_days(self, stream: str, start: datetime | None, end: datetime | None) -> ClosedDays:
        """The closed days of `stream` that overlap `[start, end)`. Raises `Damaged` for a certificate that is none."""
        after = f"{CERTIFICATES}{(start - timedelta(days=1)):%Y-%m-%d}.json" if start is not None else ""
        wanted: list[tuple[date, str]] = []
        async for item in self._store.list(CERTIFICATES, start_after=after):
            day = parse_certificate_key(item.key)
            if day is None:
                continue
            if end is not None and datetime(day.year, day.month, day.day, tzinfo=UTC) >= end:
                break
            wanted.append((day, item.etag))
        new = [(day, etag) for day, etag in wanted if self._known.get(day, ("", None))[0] != etag]
        await asyncio.gather(*(self.refresh(day) for day, _ in new))
        found = {}
        for day, _ in wanted:
            if day in self._known and (part := self._known[day][1].streams.get(stream)) is not None and part.complete:
                recipe = self._known[day][1].recipe
                found[day] = ClosedDay(day, recipe.intervals, part.outputs, part.partitions, part.rows)
        return ClosedDays(found)

    async def refresh(self, day: date) -> Certificate | None:
        """Read the certificate of `day` anew; None where there is none."""
        key = certificate_key(day)
        try:
            stored = await self._store.get(key)
        except NotFound:
            self._known.pop(day, None)
            return None
        certificate = Certificate.from_json(stored.body, key=key)
        self._known[day] = stored.info.etag, certificate
        self._day_of.update((output.place, day) for output in certificate.outputs)
        return certificate

    async def is_current(self, info: ObjectInfo) -> bool:
        """Whether what was read of `info` just now is of that version. An object of the archive is written over only after the
        certificate has another; everything else that is read by ranges never changes."""
        day = self._day_of.get(info.key)
        if day is None or not info.etag.startswith(_HASHED):
            return True
        known = self._known.get(day)
        try:
            if known is not None and (await self._store.head(certificate_key(day))).etag == known[0]:
                certificate: Certificate | None = known[1]
            else:
                certificate = await self.refresh(day)
        except NotFound:
            return False
        return certificate is not None and any(info_of(output) == info for output in certificate.outputs)


def info_of(output: Output) -> ObjectInfo:
    """An object of the archive as if it had been listed; its hash stands for its version."""
    return ObjectInfo(output.place, output.bytes, f"{_HASHED}{output.sha256}", _EPOCH)


def _of(outputs: Iterable[Output], symbols: Collection[str] | None) -> list[Output]:
    return [o for o in outputs if symbols is None or o.symbol is None or o.symbol in symbols]
