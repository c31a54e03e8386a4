"""Rules about order over columns and batches against the same said one row after the other; silences; what is forgotten."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.quality.watch import Violations, Watch
from streamer.quality_rules import QualityRules, Sequence

Row = tuple[str | None, str | None, int, float | None, str | None, int | None]
SCHEMA = pa.schema(
    [
        ("symbol", pa.string()),
        ("exchange", pa.string()),
        ("timestamp", pa.timestamp("us", tz="UTC")),
        ("price", pa.float64()),
        ("trade_id", pa.string()),
        ("_timestamp", pa.timestamp("ms", tz="UTC")),
        ("_offset", pa.int64()),
    ]
)
RULES = (
    Sequence("ordered", "monotonic", "timestamp"),
    Sequence("ordered_by_both", "monotonic", "timestamp", ("symbol", "exchange")),
    Sequence("jump", "jump", "price", limit=50.0),
    Sequence("ids", "sequence", "trade_id", ("exchange", "symbol")),
)
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["A", "B", "A/B", None, ""]),
        st.sampled_from(["X", None, "B/X", ""]),
        st.integers(0, 9),
        st.none() | st.sampled_from([0.0, -1.0, 1.0, 1.5, 2.0, 2.5, 1e300]),
        st.none() | st.integers(0, 9).map(str) | st.sampled_from(["x1", "", "-1", "٣", "007", "9" * 18, "9" * 19]),
        st.none() | st.integers(0, 9),
    ),
    max_size=30,
)


def table(rows: list[Row], first: int = 0) -> pa.Table:
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], [], [], []]
    columns.append(list(range(first, first + len(rows))))
    arrays = []
    for f, values in zip(SCHEMA, columns, strict=True):
        arrays.append(pa.array(values, pa.int64()).cast(f.type) if pa.types.is_timestamp(f.type) else pa.array(values, f.type))
    return pa.table(arrays, schema=SCHEMA)


def batches(rows: list[Row], cuts: list[int]) -> list[pa.Table]:
    ends = sorted({min(cut, len(rows)) for cut in cuts} | {len(rows)})
    return [table(rows[a:b], a) for a, b in zip([0, *ends[:-1]], ends, strict=True)]


def counts(watch: Watch, tables: list[pa.Table]) -> tuple[dict[str, int], dict[str, int]]:
    """How often each rule was broken over all batches, and at which offset first."""
    found: dict[str, int] = {}
    first: dict[str, int] = {}
    for each in tables:
        seen = watch.look([each.slice(0, 2), each.slice(2)])
        for violations in seen.violations:
            found[violations.rule] = found.get(violations.rule, 0) + violations.count
            if violations.first_offset is not None:
                first.setdefault(violations.rule, violations.first_offset)
        watch.adopt(seen)
    return found, first


def naive(rule: Sequence, rows: list[Row]) -> list[int]:
    """The offsets of the rows that break the rule, one row after the other."""
    last: dict[tuple[Any, ...], Any] = {}
    bad = []
    for offset, row in enumerate(rows):
        named = dict(zip(SCHEMA.names, row, strict=False))
        value = named[rule.column]
        if rule.kind == "sequence":
            usual = value is not None and value.isascii() and value.isdigit() and len(value) <= 18
            value = int(value) if usual else None
        if value is None:
            continue
        key = tuple(named[name] for name in rule.by)
        before = last.get(key)
        last[key] = value
        if before is None:
            continue
        if rule.kind == "monotonic":
            broken = value < before
        elif rule.kind == "jump":
            broken = before != 0 and abs(value - before) > abs(before) * (rule.limit / 100)
        else:
            broken = value > before + 1
        if broken:
            bad.append(offset)
    return bad


@settings(deadline=None)
@given(rows=ROWS, cuts=st.lists(st.integers(0, 30), max_size=4))
def test_steps_over_columns_and_batches_are_the_steps_of_one_row_after_the_other(rows: list[Row], cuts: list[int]) -> None:
    found, first = counts(Watch(QualityRules((), RULES)), batches(rows, cuts))

    wanted = {rule.name: naive(rule, rows) for rule in RULES}
    assert found == {name: len(bad) for name, bad in wanted.items() if bad}
    assert first == {name: bad[0] for name, bad in wanted.items() if bad}


def heard(*rows: tuple[str, int]) -> pa.Table:
    """Rows of symbols, by Kafka's time in milliseconds."""
    return table([(symbol, None, 0, 1.0, None, time) for symbol, time in rows])


def silent(after: float = 1.0) -> Watch:
    return Watch(QualityRules((), (Sequence("alive", "silent", "_timestamp", limit=after),)))


def one(watch: Watch, rows: pa.Table) -> Violations | None:
    seen = watch.look([rows])
    watch.adopt(seen)
    assert len(seen.violations) <= 1
    return seen.violations[0] if seen.violations else None


def test_a_symbol_of_which_nothing_comes_is_told_once_when_its_silence_begins() -> None:
    watch = silent()

    assert one(watch, heard(("A", 0), ("B", 0))) is None
    assert one(watch, heard(("B", 1000))) is None
    begun = one(watch, heard(("B", 1001)))
    assert begun is not None
    assert (begun.count, begun.groups, begun.first_offset, begun.detail) == (1, ("A",), None, "A: nothing for more than 1s")
    assert watch.silent == {"alive": 1}
    assert one(watch, heard(("B", 2000))) is None
    assert one(watch, heard(("A", 2500), ("B", 2500))) is None, "the step that ends a silence was told of when it began"
    assert watch.silent == {"alive": 0}
    again = one(watch, heard(("B", 3400), ("B", 3600)))
    assert again is not None
    assert again.groups == ("A",)


def test_a_silence_that_begins_and_ends_within_a_batch_counts_once() -> None:
    found = one(silent(), heard(("A", 0), ("B", 900), ("A", 1500)))

    assert found is not None
    assert (found.count, found.groups, found.first_offset, found.detail) == (1, ("A",), 2, "A: _timestamp 0 then 1500")


def test_a_feed_that_stops_altogether_is_noticed_by_the_clock() -> None:
    watch = silent()
    one(watch, heard(("A", 0), ("B", 500)))

    assert watch.silences(1000) == []
    [first] = watch.silences(1400)
    assert first.groups == ("A",)
    [second] = watch.silences(9000)
    assert second.groups == ("B",)
    assert watch.silences(99_000) == []
    assert one(watch, heard(("A", 100_000), ("B", 100_000))) is None


def test_what_was_not_committed_is_not_remembered() -> None:
    watch = Watch(QualityRules((), RULES))
    watch.adopt(watch.look([table([("A", None, 5, 1.0, "1", 0)])]))

    watch.look([table([("A", None, 9, 9.0, "9", 0)])])  # its batch was never committed
    again = watch.look([table([("A", None, 9, 1.0, "2", 0)])])

    assert again.violations == ()


def test_memory_is_bounded_and_those_heard_of_least_recently_are_forgotten() -> None:
    watch = Watch(QualityRules((), (RULES[0],)), groups_max=2)
    for number, symbol in enumerate(["A", "B", "A", "C"]):
        watch.adopt(watch.look([table([(symbol, None, number, 1.0, None, 0)])]))

    assert watch.size_bytes == 400
    assert watch.look([table([("B", None, 0, 1.0, None, 0)])]).violations == ()
    assert [v.count for v in watch.look([table([("A", None, 0, 1.0, None, 0)])]).violations] == [1]


@pytest.mark.parametrize("rows", [[], [(None, None, 1, None, None, None)] * 3])
def test_batches_of_nothing_to_compare_break_nothing(rows: list[Row]) -> None:
    rules = (*RULES, Sequence("alive", "silent", "_timestamp", limit=1.0))

    assert counts(Watch(QualityRules((), rules)), [table(rows), table(rows)]) == ({}, {})
