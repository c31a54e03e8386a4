"""A path template: what it refuses, and that what it accepts tells different rows apart."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from decoded_tables import BUDGET, COLUMNS, DAY_US, MIDNIGHT_US, decoded, divided, layout, row_lists, symbols
from hypothesis import given
from hypothesis import strategies as st

from streamer.errors import Invalid
from streamer.layout import Column, Layout
from streamer.write.partition_path import PartitionPath, date_of
from streamer.write.path_template import PATH_BYTES_MAX, SEGMENT_BYTES_MAX

RAW = Layout("ws", "raw", (Column("value", "binary"),), "date={date}")


def parsed(template: str) -> PartitionPath:
    return PartitionPath.parse(template, COLUMNS)


def paths(template: str, *rows: dict[str, Any]) -> list[str]:
    return [path for path, _ in parsed(template).groups(decoded(layout(template), rows))]


@pytest.mark.parametrize(
    "template",
    [
        "/{symbol}",
        "{symbol}/",
        "{symbol}//{date}",
        "/",
        ".",
        "..",
        "../{symbol}",
        "a/./{symbol}",
        "_hidden/{symbol}",
        "{symbol}/.x",
        "a\\{symbol}",
        "a\n{symbol}",
        "a\x00",
        "a b",
        "é={symbol}",
        "a~{symbol}",
        "{",
        "}",
        "{}",
        "{symbol",
        "{{symbol}}",
        "{nope}",
        "{Symbol}",
        "{symbol!r}",
        "{_offset}",
        "{extra}",
        "{price}",
        "{features}",
        "{tags}",
        "{amount}",
        "{timestamp}",
        "%",
        "%S",
        "%f",
        "%B",
        "%-d",
        "{%Q}",
        "{symbol}{exchange}",
        "{symbol}-{exchange}",
        "{symbol}.{level}",
        "{symbol}_%Y_{level}",
        "{symbol}={exchange}={level}",
        "{symbol}/{exchange}/{level}/{expiry}/{is_maker}",
    ],
)
def test_a_template_that_could_mix_hide_or_misplace_rows_is_refused_with_an_example(template: str) -> None:
    with pytest.raises(Invalid) as refused:
        parsed(template)

    assert "for example path = 'symbol={symbol}/date={date}'" in refused.value.hint
    parsed("symbol={symbol}/date={date}")


ACCEPTED = [
    "",
    "all",
    "symbol={symbol}/date={date}",
    "date={date}",
    "{symbol}/{date}/{hour}",
    "{symbol}/{%Y/%m}/day-%d",
    "{symbol}-{date}T{hour}%M",
    "%Y%j/{symbol}.x",
    "{exchange}/{symbol}",
    "x={exchange}+{symbol}/{is_maker}",
    "{level}/{expiry}={level}",
    "week=%G-W%V.%u/%y",
]


def _value(template: str, row: dict[str, Any]) -> tuple[Any, ...]:
    """What `template` is told of `row`, worked out without any of the code under test."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=row["timestamp"])
    columns = [name for name in ("symbol", "exchange", "level", "is_maker", "expiry") if f"{{{name}}}" in template]
    times = [f for f in ("%Y", "%m", "%d", "%j", "%M", "%G", "%V", "%u", "%y") if f in template]
    times += ["%Y-%m-%d"] * ("{date}" in template) + ["%H"] * ("{hour}" in template)
    return (*(row[name] for name in columns), *(moment.strftime(f) for f in times))


@BUDGET
@given(st.sampled_from(ACCEPTED), row_lists())
def test_rows_share_a_path_exactly_when_they_share_the_values_of_the_template(
    template: str, rows: list[dict[str, Any]]
) -> None:
    groups = parsed(template).groups(decoded(layout(template), rows))

    together = defaultdict(list)
    for row in rows:
        together[_value(template, row)].append(row["_offset"])
    assert sorted(together.values()) == sorted(group["_offset"].to_pylist() for _, group in groups)
    assert [path for path, _ in groups] == sorted({path for path, _ in groups})


@BUDGET
@given(st.sampled_from(ACCEPTED), row_lists(), st.lists(st.integers(0, 9), max_size=6))
def test_groups_do_not_depend_on_how_the_rows_were_divided(template: str, rows: list[dict[str, Any]], sizes: list[int]) -> None:
    table = decoded(layout(template), rows)
    chunked = pa.concat_tables(divided(table, sizes))

    # As text, because a NaN equals nothing, itself included.
    expected = [(path, str(group.to_pylist())) for path, group in parsed(template).groups(table)]
    assert expected == [(path, str(group.to_pylist())) for path, group in parsed(template).groups(chunked)]


@BUDGET
@given(st.sampled_from(ACCEPTED), row_lists())
def test_a_path_stays_in_its_folder_and_within_what_stores_take(template: str, rows: list[dict[str, Any]]) -> None:
    for path, _ in parsed(template).groups(decoded(layout(template), rows)):
        assert len(path) <= PATH_BYTES_MAX
        assert path.isascii()
        assert path.isprintable()
        for segment in path.split("/") if template else []:
            assert 0 < len(segment) <= SEGMENT_BYTES_MAX
            assert segment[0] not in "._"


def test_names_of_times_and_directives_follow_the_event_time_in_utc() -> None:
    late = MIDNIGHT_US + DAY_US - 1  # 2024-01-01T23:59:59.999999Z

    assert paths("{date}/{hour}", {"timestamp": late}) == ["2024-01-01/23"]
    assert paths("y={%Y/%m}/%d/%H-%M", {"timestamp": late}) == ["y=2024/01/01/23-59"]
    assert paths("%G-W%V.%u/%y/{%j}", {"timestamp": late}) == ["2024-W01.1/24/001"]


def test_days_that_share_a_folder_make_one_file() -> None:
    rows = [{"timestamp": MIDNIGHT_US + day * DAY_US} for day in (0, 40, 1)]

    assert paths("%Y-%m", *rows) == ["2024-01", "2024-02"]


def test_a_time_that_no_calendar_has_counts_as_the_first_day_of_1970() -> None:
    table = pa.table(
        {
            "value": pa.array([b""] * 5, pa.binary()),
            "_timestamp": pa.array([-1, None, 2**62, -(2**62), 0], pa.timestamp("ms", "UTC")),
        }
    )

    assert [path for path, _ in PartitionPath.parse(RAW.path, RAW.columns).groups(table)] == ["date=1970-01-01"]


def test_a_stream_of_raw_bytes_is_parted_by_kafkas_time() -> None:
    table = pa.table(
        {
            "value": [b"a", b"b"],
            "_timestamp": pa.array([MIDNIGHT_US // 1000 - 1, MIDNIGHT_US // 1000], pa.timestamp("ms", "UTC")),
        }
    )

    groups = PartitionPath.parse(RAW.path, RAW.columns).groups(table)
    assert [(path, rows["value"].to_pylist()) for path, rows in groups] == [
        ("date=2023-12-31", [b"a"]),
        ("date=2024-01-01", [b"b"]),
    ]


def test_nanoseconds_are_parted_like_microseconds() -> None:
    columns = (Column("timestamp", "timestamp[ns, UTC]"),)
    table = pa.table({"timestamp": pa.array([MIDNIGHT_US * 1000 - 1, MIDNIGHT_US * 1000], pa.timestamp("ns", "UTC"))})

    assert [p for p, _ in PartitionPath.parse("{date}T{hour}", columns).groups(table)] == ["2023-12-31T23", "2024-01-01T00"]


def test_rows_of_many_values_keep_their_order_inside_each_group() -> None:
    rows = [{"symbol": f"S{number * 7 % 13}", "level": number * 5 % 11, "_offset": number} for number in range(5000)]

    groups = parsed("{symbol}/{level}").groups(decoded(layout("{symbol}/{level}"), rows))
    assert len(groups) == 13 * 11
    for _, group in groups:
        offsets = group["_offset"].to_pylist()
        assert offsets == sorted(offsets)


def test_a_timestamp_column_of_another_type_is_refused() -> None:
    with pytest.raises(Invalid, match="not a timestamp"):
        PartitionPath.parse("date={date}", (Column("timestamp", "int64"),))


@BUDGET
@given(st.integers(-(2**63), 2**63 - 1))
def test_a_dead_letters_date_is_a_date_of_the_calendar(timestamp_ms: int) -> None:
    date = datetime.strptime(date_of(timestamp_ms), "%Y-%m-%d")

    assert date.year >= 1970
    if not 0 <= timestamp_ms < 253_402_300_800_000:
        assert date_of(timestamp_ms) == "1970-01-01"


@BUDGET
@given(symbols, symbols)
def test_a_separator_keeps_two_values_apart(one: str, other: str) -> None:
    template = "{symbol}={exchange}"
    found = paths(template, {"symbol": one, "exchange": other}, {"symbol": other, "exchange": one, "_offset": 1})

    assert len(found) == (1 if one == other else 2)
