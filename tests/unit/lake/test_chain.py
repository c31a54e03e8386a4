"""Ranges that abut are silent; every one that is taken away, doubled or moved is heard."""

from __future__ import annotations

from datetime import date

from hypothesis import given
from hypothesis import strategies as st
from lake_builder import TICKS, tick_layout

from streamer.commit.position import Gap
from streamer.lake.chain import Complete, Extent, Hole, Link, Overlap, uncovered, walk
from streamer.lake.folder_days import FolderDays, guessed_date
from streamer.lake.inventory import Folder, Inventory, LakeFile, Lineage, ListedBatch
from streamer.records import BatchRange

LINEAGE = Lineage(TICKS, 0)
FOLDER = Folder("ticks", "date=2026-01-03", "parquet", False, date(2026, 1, 3))
CUTS = st.lists(st.integers(1, 50), min_size=1, max_size=12)


def batches(cuts: list[int], start: int = 0) -> list[ListedBatch]:
    made = []
    for length in cuts:
        range_ = BatchRange(TICKS, start, start + length)
        made.append(ListedBatch(range_, (LakeFile(FOLDER, range_, 1),)))
        start += length
    return made


def wrong(links: list[Link]) -> list[Link]:
    return [link for link in links if not isinstance(link, Complete)]


@given(CUTS, st.integers(0, 100))
def test_ranges_that_abut_from_start_to_committed_are_silent(cuts: list[int], start: int) -> None:
    made = batches(cuts, start)

    links = list(walk(LINEAGE, made, Extent(start, made[-1].range.end, made[-1].range.end, settled=True)))

    assert wrong(links) == []
    assert len(links) == len(made)


@given(CUTS, st.data())
def test_every_batch_that_is_taken_away_is_one_hole_of_exactly_its_range(cuts: list[int], data: st.DataObject) -> None:
    made = batches(cuts)
    gone = data.draw(st.integers(0, len(made) - 1))

    found = wrong(list(walk(LINEAGE, made[:gone] + made[gone + 1 :], Extent(0, sum(cuts), sum(cuts), settled=True))))

    assert [hole.range for hole in found if isinstance(hole, Hole)] == [made[gone].range]


@given(CUTS, st.data())
def test_every_batch_that_overlaps_is_heard(cuts: list[int], data: st.DataObject) -> None:
    made = batches(cuts)
    start = data.draw(st.integers(0, sum(cuts) - 1))
    end = data.draw(st.integers(start + 1, sum(cuts)))
    double = ListedBatch(BatchRange(TICKS, start, end), ())
    if double.range in [batch.range for batch in made]:
        return  # the same name: it is a sibling, and `check_siblings` hears it

    ordered = sorted([*made, double], key=lambda batch: (batch.range.start, batch.range.end))
    found = wrong(list(walk(LINEAGE, ordered, Extent(0, sum(cuts), sum(cuts), settled=True))))

    assert any(isinstance(link, Overlap) for link in found)


@given(
    st.integers(0, 100),
    st.integers(1, 100),
    st.lists(st.tuples(st.integers(0, 200), st.integers(1, 50)), max_size=6),
)
def test_what_no_gap_covers_is_found_offset_by_offset(start: int, length: int, spans: list[tuple[int, int]]) -> None:
    gaps = [Gap(first, first + size, "retention", "then") for first, size in spans]

    left = uncovered(start, start + length, gaps)

    covered = {offset for first, size in spans for offset in range(first, first + size)}
    assert {offset for first, last in left for offset in range(first, last)} == set(range(start, start + length)) - covered


def test_the_inventory_gives_back_every_key_it_was_given() -> None:
    inventory = Inventory()
    keys = [
        "raw/ticks/symbol=A/date=2026-01-03/ticks-00000-00000000000000000000-00000000000000000010.parquet",
        "raw/ticks/symbol=B/date=2026-01-03/ticks-00000-00000000000000000000-00000000000000000010.parquet",
        "raw/ticks/ticks-00011-00000000000000000000-00000000000000000010-l2.ndjson.zst",
        "dead-letters/ticks/date=2026-01-03/ticks-00000-00000000000000000000-00000000000000000010.ndjson.gz",
    ]
    for key in [*keys, "raw/ticks/readme", "dead-letters/_redriven/ticks/x.json"]:
        inventory.add(key, 5)

    assert sorted(file.key for file in inventory.all_files()) == sorted(keys)
    assert [len(batch.files) for batch in inventory.batches(LINEAGE)] == [3]
    assert (inventory.files, inventory.bytes, [item.key for item in inventory.foreign]) == (4, 20, ["raw/ticks/readme"])


def test_a_symbol_that_looks_like_a_day_is_no_day() -> None:
    days = FolderDays([tick_layout(), tick_layout("frames", path="{symbol}"), tick_layout("bars", path="date={date}")])

    assert days.day("ticks", "symbol=CALL-2026-01-03/date=2026-01-04") == date(2026, 1, 4)
    assert days.symbol("ticks", "symbol=CALL-2026-01-03/date=2026-01-04") == "CALL-2026-01-03"
    assert (days.day("frames", "PUT_2026-01-03_X"), days.symbol("frames", "PUT_2026-01-03_X")) == (None, "PUT_2026-01-03_X")
    assert days.day("bars", "date=2026-01-04") == date(2026, 1, 4)
    assert days.symbol("bars", "date=2026-01-04") is None
    assert days.day("ticks", "date=2026-01-05", dead_letters=True) == date(2026, 1, 5)
    assert days.day("ticks", "written/by/somebody/2026-01-03") is None
    assert days.day("lost", "symbol=A/date=2026-01-04") == date(2026, 1, 4)  # of a stream whose layout is lost


def test_templates_that_disagree_leave_the_day_open() -> None:
    days = FolderDays([tick_layout(path="%Y-%m-%d/{symbol}"), tick_layout(path="{symbol}/%Y-%m-%d")])

    assert days.day("ticks", "2026-01-03/2026-01-04") is None
    assert days.day("ticks", "A/2026-01-04") == date(2026, 1, 4)


def test_the_usual_spellings_of_a_day_are_read() -> None:
    day = date(2026, 1, 3)

    assert {guessed_date(p) for p in ("symbol=A/date=2026-01-03", "2026-01-03", "2026/01/03/x", "year=2026/month=1/day=3")} == {
        day
    }
    assert guessed_date("symbol=A") is None
    assert guessed_date("date=2026-13-45") is None
