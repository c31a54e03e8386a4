"""Which objects a read needs, as the lake is at one moment: closed days from the archive, open days from raw, never both.

From listings and certificates alone; opens no data file.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby

from streamer.archive.certificate import Output
from streamer.lake.closed_days import Certificates, ClosedDays, info_of
from streamer.lake.request import ReadRequest
from streamer.lake.scan import Scan
from streamer.records import BatchRange
from streamer.store.contract import ObjectInfo


@dataclass(frozen=True, slots=True)
class Piece:
    """One object that may hold rows asked for.

    day: the only day whose rows it can hold; None: any. closed: days whose rows do not count here, because the archive has
    them. output: what the day's certificate says of it, where it is of the archive; else `folder` is its partition path, and
    `range` its batch.
    """

    info: ObjectInfo
    suffix: str
    day: date | None
    output: Output | None = None
    folder: str = ""
    range: BatchRange | None = None
    closed: frozenset[date] = frozenset()


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """The pieces by day and key, those that can hold any day first; and the days that come from the archive."""

    pieces: tuple[Piece, ...]
    closed: ClosedDays

    def by_day(self) -> list[tuple[Piece, ...]]:
        """Groups that do not overlap in event time, ascending; one group where an object can hold any day."""
        if any(piece.day is None for piece in self.pieces):
            return [self.pieces]
        return [tuple(group) for _, group in groupby(self.pieces, key=lambda piece: piece.day)]


async def plan_read(scan: Scan, request: ReadRequest, certificates: Certificates, *, late: bool = False) -> ReadPlan:
    """The plan of `request`. late: with the raw files of closed days that their certificates do not know, because they came
    since."""
    if request.start is not None and request.start == request.end:
        return ReadPlan((), ClosedDays({}))
    closed = await certificates.closed_days(request.stream, request.start, request.end)
    while True:
        found = await _raw(scan, closed, late)
        # A day may have been closed, and its raw files removed, between the two looks: neither would have its rows.
        again = await certificates.closed_days(request.stream, request.start, request.end)
        if again == closed:
            break
        closed = again
    for closed_day in closed.by_day.values():
        outputs = closed_day.rows(request.symbols)
        found += [Piece(info_of(output), "parquet", closed_day.day, output) for output in outputs]
    return ReadPlan(tuple(sorted(found, key=lambda piece: (piece.day or date.min, piece.info.key))), closed)


async def _raw(scan: Scan, closed: ClosedDays, late: bool) -> list[Piece]:
    found: list[Piece] = []
    days: dict[str, date | None] = {}
    async for file, info in scan.listed():
        path = file.folder.partition_path
        if path not in days:
            days[path] = scan.day_of(path)
        day = days[path]
        archived = closed.having(file.range) if late else closed.days
        if day is None or day not in archived:
            rest = archived if day is None else frozenset[date]()
            found.append(Piece(info, file.folder.suffix, day, None, path, file.range, rest))
    return found


def day_span(day: date) -> tuple[datetime, datetime]:
    """The first moment of a day, and the first behind it."""
    first = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return first, first + timedelta(days=1)
