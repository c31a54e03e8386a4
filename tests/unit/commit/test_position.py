"""The position's document and the steps that may follow each other."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.commit.position import Gap, LastRecord, Position, merged_gaps, violation
from streamer.errors import Damaged
from streamer.records import TopicPartition

SOURCE = TopicPartition("ticks", 3)
POSITION = Position("cluster", SOURCE, 0, 100, 100, 4, 9, "w", "host", "layout-a")

offsets = st.integers(0, 2**62)
gaps = st.builds(Gap, start=offsets, end=offsets, reason=st.sampled_from(["retention", "empty"]), at=st.text(max_size=30))
positions = st.builds(
    lambda low, more, **fields: Position(committed=low, sealed=low + more, source=SOURCE, **fields),
    low=offsets,
    more=st.integers(0, 10**6),
    cluster_id=st.text(max_size=30),
    lineage=st.integers(0, 9),
    epoch=st.integers(1, 10**6),
    sequence=st.integers(1, 10**6),
    writer=st.text(max_size=32),
    host=st.text(max_size=32),
    layout=st.text(max_size=16),
    last=st.none() | st.builds(LastRecord, offset=offsets, timestamp=st.integers(-1, 2**53), crc=st.integers(0, 2**32 - 1)),
    through=st.none() | st.datetimes(datetime(1970, 1, 1), datetime(2262, 1, 1), timezones=st.just(UTC)),
    gaps=st.lists(gaps, max_size=3).map(tuple),
)


@given(positions)
def test_a_position_survives_its_document(position: Position) -> None:
    assert Position.from_json(position.to_json(), key="k") == position


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_other_bytes_are_damage_that_names_the_key(body: bytes) -> None:
    with pytest.raises(Damaged, match="key=k"):
        Position.from_json(body, key="k")


@given(positions, st.data())
def test_a_document_with_a_field_broken_is_damage_or_a_position(position: Position, data: st.DataObject) -> None:
    import orjson

    fields = orjson.loads(position.to_json())
    fields[data.draw(st.sampled_from(sorted(fields)))] = data.draw(
        st.none() | st.integers(-5, 5) | st.text(max_size=5) | st.lists(st.integers(-5, 5), max_size=2)
    )
    body = orjson.dumps(fields)
    try:
        read = Position.from_json(body, key="k")
    except Damaged:
        return
    assert Position.from_json(read.to_json(), key="k") == read


@given(positions, st.integers(1, 1000))
def test_every_step_of_a_batch_is_a_step_the_protocol_knows(position: Position, size: int) -> None:
    taken = position.taken_by("me", "here")
    assert violation(position, taken) is None
    if taken.writing:
        taken, before = taken.committing(last=None, through=None), taken
        assert violation(before, taken) is None
    sealed = taken.sealing(taken.committed + size, "layout-b")
    committed = sealed.committing(last=None, through=None, next_end=sealed.sealed + 1)

    assert violation(taken, sealed) is None
    assert violation(sealed, committed) is None
    assert (committed.committed, committed.sealed) == (sealed.sealed, sealed.sealed + 1)
    assert len({p.to_json() for p in (position, taken, sealed, committed)}) == 4


SEALED = POSITION.sealing(200, "layout-a")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (SEALED, replace(SEALED, sequence=11, sealed=150), "sealed shrank"),
        (SEALED, replace(SEALED, sequence=11, committed=150), "committed whole"),
        (SEALED, replace(SEALED, sequence=11, layout="layout-b"), "layout changed"),
        (SEALED, replace(SEALED, sequence=11, epoch=5, committed=200), "take-over changes nothing"),
        (SEALED, replace(SEALED, sequence=10), "sequence"),
        (POSITION, replace(POSITION, sequence=10, committed=90, sealed=90), "committed moved back"),
        (POSITION, replace(POSITION, sequence=10, epoch=6), "epoch"),
        (POSITION, replace(POSITION, sequence=10, lineage=1), "accepting"),
        (POSITION, replace(POSITION, sequence=10, source=TopicPartition("other", 3)), "another partition"),
        (None, POSITION, "first"),
    ],
)
def test_a_step_that_the_protocol_does_not_know_is_named(old: Position | None, new: Position, why: str) -> None:
    assert why in (violation(old, new) or "")


def test_accepting_a_new_topic_counts_the_lineage_and_continues_epoch_and_sequence() -> None:
    accepted = SEALED.accepting("new-cluster", 7, "operator", "desk")

    assert violation(SEALED, accepted) is None
    assert (accepted.lineage, accepted.committed, accepted.sealed, accepted.last) == (1, 7, 7, None)
    assert (accepted.epoch, accepted.sequence) == (SEALED.epoch + 1, SEALED.sequence + 1)


def test_through_never_moves_back() -> None:
    late, early = datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)
    once = SEALED.committing(last=None, through=late)

    assert once.through == late
    assert replace(once, sealed=300).committing(last=None, through=early).through == late


def test_gaps_that_continue_each_other_become_one() -> None:
    first, second = Gap(0, 10, "retention", "t1"), Gap(10, 20, "retention", "t2")

    assert merged_gaps((first,), second) == (Gap(0, 20, "retention", "t2"),)
    assert merged_gaps((first,), Gap(10, 20, "empty", "t2")) == (first, Gap(10, 20, "empty", "t2"))
    assert merged_gaps((first,), None) == (first,)
