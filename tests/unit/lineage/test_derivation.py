"""What a document says of its sources comes back whole, has room in any metadata, and is believed only field by field."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.errors import Damaged, Invalid, StreamerError
from streamer.keys import parse_lineage_key
from streamer.lineage.derivation import (
    METADATA,
    SOURCES_MAX,
    Derivation,
    Source,
    derivation,
    list_body,
    listed_sources,
)
from streamer.store.limits import METADATA_BYTES, check_metadata
from tests.fuzz.mutations import damaged

AT = datetime(2026, 1, 3, 10, tzinfo=UTC)
NAMES = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=40)
SOURCES = st.builds(Source, NAMES, st.none() | NAMES, st.none() | st.text("0123456789abcdef", min_size=1, max_size=32))
TIMES = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
DERIVATIONS = st.builds(derivation, NAMES, st.none() | NAMES, TIMES, st.lists(SOURCES, max_size=40).map(tuple))


@given(
    DERIVATIONS,
    st.dictionaries(st.text("abc_", min_size=1).filter(lambda n: n[0] != "_"), st.text("xyz", min_size=1), max_size=9),
)
def test_it_comes_back_beside_whatever_metadata_there_is_and_never_takes_more_than_there_is_room(
    made: Derivation, metadata: dict[str, str]
) -> None:
    said, listed = made.fitting(metadata)
    text = said.to_metadata()
    found = Derivation.from_metadata(text, key="k")

    check_metadata({**metadata, METADATA: text})
    assert found == said
    assert (found.count, found.computation, found.version) == (len(made.sources), made.computation, made.version)
    sources = found.sources if listed is None else listed_sources(listed, key=said.listed or "")
    assert sources == made.sources
    assert (listed is None) == (said.listed is None)


def test_the_longest_names_leave_room_for_a_list() -> None:
    made = derivation("é" * 200, "é" * 50, AT, (Source("x" * 900),))

    said, listed = made.fitting({})

    assert listed is not None
    assert parse_lineage_key(said.listed or "") is not None
    assert len(METADATA) + len(said.to_metadata()) <= METADATA_BYTES


@given(DERIVATIONS, DERIVATIONS)
def test_the_same_work_is_the_same_at_any_time_and_other_work_is_not(one: Derivation, other: Derivation) -> None:
    again = derivation(one.computation, one.version, AT, one.sources)

    assert one.same_work(again)
    same = (one.computation, one.version, one.sources) == (other.computation, other.version, other.sources)
    assert one.same_work(other) is same
    assert not one.same_work(None)


@given(damaged(derivation("percentiles", "1.4.2", AT, (Source("a/b", '"etag"', "ab"), Source("c"))).to_metadata().encode()))
def test_what_somebody_changed_is_damage_or_what_its_types_say(body: bytes) -> None:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return
    try:
        found = Derivation.from_metadata(text, key="k")
    except Damaged:
        return
    assert isinstance(found.computation, str)
    assert all(isinstance(source.key, str) for source in found.sources)
    assert found.computed_at.tzinfo is not None
    assert found.listed is None or parse_lineage_key(found.listed)


@given(damaged(list_body([Source("a", "b"), Source("c")])))
def test_a_list_is_the_one_that_its_name_says_or_damage(body: bytes) -> None:
    said, whole = derivation("x" * 150, None, AT, tuple(Source("k" * 900 + str(n)) for n in range(3))).fitting({})
    assert whole is not None
    assert said.listed is not None
    assert len(listed_sources(whole, key=said.listed)) == 3
    with pytest.raises(Damaged):
        listed_sources(body, key=said.listed)


@pytest.mark.parametrize(
    ("computation", "version"), [("", None), ("x\n", None), ("x" * 201, None), ("x", ""), ("x", "\x00"), (7, "1")]
)
def test_names_that_nobody_could_read_are_refused(computation: str, version: str | None) -> None:
    with pytest.raises(Invalid):
        derivation(computation, version, AT, ())


def test_more_sources_than_anybody_walks_are_refused_with_the_way_out() -> None:
    with pytest.raises(StreamerError) as refused:
        derivation("x", "1", AT, (Source("a"),) * (SOURCES_MAX + 1))

    assert "archive/DATE.json" in refused.value.hint


def test_a_data_file_says_its_offsets_by_its_name() -> None:
    source = Source("raw/ticks/date=2026-01-03/ticks-00003-00000000000000000005-00000000000000000010-l2.parquet")

    assert source.batch is not None
    assert (source.batch.source.partition, source.batch.start, source.batch.end, source.batch.lineage) == (3, 5, 10, 2)
    assert Source("analytics/x.json").batch is None
