"""A batch is closed by whichever limit comes first, and never moves its start."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from streamer.batch.open_batch import OpenBatch
from streamer.records import BatchRange, CutReason, DeadLetter, RecordChunk, TopicPartition
from streamer.streams import CutLimits

SOURCE = TopicPartition("ticks", 0)


@dataclass(frozen=True)
class Rows:
    table: object = None
    dead_letters: tuple[DeadLetter, ...] = ()
    size_bytes: int = 1000


def chunk(start: int, end: int, *, holes: bool = False) -> RecordChunk:
    offsets = [] if holes else list(range(start, end))
    return RecordChunk(SOURCE, start, end, offsets, [7] * len(offsets), [None] * len(offsets), [b"12345"] * len(offsets))


def filled(*chunks: RecordChunk, at: float = 0.0) -> OpenBatch:
    batch = OpenBatch(SOURCE, 100, 0)
    for part in chunks:
        batch.add(part, Rows(), at)
    return batch


def test_a_batch_starts_at_committed_even_where_the_first_offsets_hold_no_record() -> None:
    batch = filled(chunk(100, 110, holes=True), chunk(110, 112))

    assert batch.range == BatchRange(SOURCE, 100, 112)
    assert batch.records == 2
    assert batch.tail is not None
    assert batch.tail.offset == 111


@pytest.mark.parametrize(
    ("limits", "now", "reason"),
    [
        (CutLimits(rows=2), 0.0, CutReason.ROWS),
        (CutLimits(rows=3, bytes=10), 0.0, CutReason.BYTES),
        (CutLimits(age_seconds=60), 59.9, None),
        (CutLimits(age_seconds=60), 60.0, CutReason.AGE),
        (CutLimits(age_seconds=60, idle_seconds=5), 5.0, CutReason.IDLE),
        (CutLimits(age_seconds=60, idle_seconds=None), 5.0, None),
    ],
)
def test_whichever_limit_comes_first_closes_the_batch(limits: CutLimits, now: float, reason: CutReason | None) -> None:
    assert filled(chunk(100, 102)).due(limits, now) is reason


def test_a_batch_without_records_is_never_due() -> None:
    batch = filled(chunk(100, 5000, holes=True))

    assert batch.due(CutLimits(rows=0, bytes=0, age_seconds=0), 1e9) is None
    assert batch.due_at(CutLimits()) is None


def test_age_counts_from_the_first_record_and_idleness_from_the_newest() -> None:
    batch = filled(chunk(100, 101), at=10.0)
    batch.add(chunk(101, 102), Rows(), 30.0)

    assert batch.due_at(CutLimits(age_seconds=60)) == 70.0
    assert batch.due_at(CutLimits(age_seconds=60, idle_seconds=5)) == 35.0


def test_a_chunk_that_overlaps_what_is_there_is_a_bug() -> None:
    with pytest.raises(ValueError, match="after 102"):
        filled(chunk(100, 102), chunk(101, 103))
