"""Do the ranges of one lineage abut? Pure: ordered ranges and a position in, holes and overlaps out.

"No gap" means that each range starts where the one before it ended; offsets inside a range may have holes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from streamer.commit.position import Gap, Position
from streamer.lake.inventory import Lineage, ListedBatch
from streamer.records import BatchRange


@dataclass(frozen=True, slots=True)
class Extent:
    """What the lake's positions say of one lineage.

    `start`: where it began (None: not on record). `committed`: files up to here were complete before the listing began
    (None: not on record). `open_to`: between `committed` and this, files may have been written while the listing was made;
    beyond it nothing was ever sealed (None: unknown). `settled`: nobody moved the position while the lake was listed, so a
    file that is being written has exactly the range `[committed, open_to)`.
    """

    start: int | None
    committed: int | None
    open_to: int | None
    gaps: tuple[Gap, ...] = ()
    settled: bool = False

    @classmethod
    def of(cls, lineage: Lineage, before: Position | None, after: Position | None) -> Extent | None:
        """The extent of `lineage`, of positions read before and after the listing. None where they do not know of it.

        A lake is proved while it is written: what must be there is taken from before, what may be there from after.
        """
        if after is None:
            return None
        if lineage.lineage == after.lineage:
            if before is None or before.lineage != after.lineage:
                # It appeared during the listing: nothing has to be in it.
                return cls(after.start, after.start, after.sealed, after.gaps)
            settled = (before.committed, before.sealed) == (after.committed, after.sealed)
            return cls(after.start, before.committed, after.sealed, after.gaps, settled)
        for past in after.past:
            if past.lineage == lineage.lineage:
                return cls(past.start, past.committed, past.sealed, past.gaps, settled=True)
        return None


@dataclass(frozen=True, slots=True)
class Hole:
    """Offsets that no file and no gap speaks of, with the batches on both sides."""

    range: BatchRange
    before: ListedBatch | None
    after: ListedBatch | None

    def may_touch(self, day: date, last: date | None = None) -> bool:
        """Whether files of `day`, or of one up to `last`, may be among what is missing, as far as the neighbours' folders tell.

        Records of many days interleave only within the lateness of late data, so the neighbours' days bound it on each side.
        """
        earliest = min(self.before.dates, default=None) if self.before else None
        latest = max(self.after.dates, default=None) if self.after else None
        return (earliest is None or earliest <= (last or day)) and (latest is None or day <= latest)


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two batches that share offsets. `first` starts no later than `second`."""

    first: ListedBatch
    second: ListedBatch


@dataclass(frozen=True, slots=True)
class Beyond:
    """A batch that reaches past what was ever sealed, or across `committed`."""

    batch: ListedBatch
    limit: int


@dataclass(frozen=True, slots=True)
class Open:
    """A batch of the range that is being written: complete once it is committed."""

    batch: ListedBatch


@dataclass(frozen=True, slots=True)
class Complete:
    """A committed batch: all of its files must be there."""

    batch: ListedBatch


Link = Hole | Overlap | Beyond | Open | Complete


def walk(lineage: Lineage, batches: Iterable[ListedBatch], extent: Extent | None) -> Iterator[Link]:
    """Every batch of `lineage` in its place, and between them what is wrong. `batches` by (start, end)."""
    gaps = extent.gaps if extent else ()
    committed = extent.committed if extent else None
    reached = extent.start if extent else None
    last: ListedBatch | None = None
    for batch in batches:
        start, end = batch.range.start, batch.range.end
        if extent is not None and committed is not None and end > committed:
            yield from _beyond(batch, extent, committed)
            continue
        yield Complete(batch)
        if reached is not None and start > reached:
            yield from _holes(lineage, reached, start, gaps, last, batch)
        if last is not None and start < last.range.end:
            yield Overlap(last, batch)
        elif extent is not None and extent.start is not None and start < extent.start:
            yield Beyond(batch, extent.start)
        if last is None or end > last.range.end:
            last = batch
        reached = end if reached is None else max(reached, end)
    if committed is not None and reached is not None and reached < committed:
        yield from _holes(lineage, reached, committed, gaps, last, None)


def _beyond(batch: ListedBatch, extent: Extent, committed: int) -> Iterator[Link]:
    start, end = batch.range.start, batch.range.end
    open_to = end if extent.open_to is None else extent.open_to
    if (start, end) == (committed, open_to) if extent.settled else committed <= start and end <= open_to:
        yield Open(batch)
    else:
        yield Beyond(batch, committed if start < committed else open_to)


def _holes(
    lineage: Lineage, start: int, end: int, gaps: Sequence[Gap], before: ListedBatch | None, after: ListedBatch | None
) -> Iterator[Hole]:
    for first, last in uncovered(start, end, gaps):
        yield Hole(BatchRange(lineage.source, first, last, lineage.lineage), before, after)


def uncovered(start: int, end: int, gaps: Sequence[Gap]) -> list[tuple[int, int]]:
    """What of `[start, end)` no gap covers."""
    left = []
    for gap in sorted(gaps, key=lambda gap: gap.start):
        if gap.end <= start or gap.start >= end:
            continue
        if gap.start > start:
            left.append((start, gap.start))
        start = max(start, gap.end)
    if start < end:
        left.append((start, end))
    return left


def touched(range_: BatchRange, gaps: Sequence[Gap]) -> bool:
    """Whether a gap says that some offsets of `range_` are not in the lake."""
    return any(gap.start < range_.end and range_.start < gap.end for gap in gaps)
