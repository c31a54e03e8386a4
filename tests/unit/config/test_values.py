"""Sizes, durations, lists, rules and addresses as people write them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.config.values import (
    DURATION_SECONDS_MAX,
    SIZE_BYTES_MAX,
    format_duration,
    format_size,
    parse_duration,
    parse_list,
    parse_rule,
    parse_servers,
    parse_size,
)


@pytest.mark.parametrize(
    ("written", "size_bytes"),
    [
        ("64MiB", 64 << 20),
        ("1.5GiB", 3 << 29),
        ("500 kB", 500_000),
        ("512", 512),
        (7, 7),
        ("1b", 1),
        (" 2KiB ", 2048),
        (8.0, 8),
    ],
)
def test_a_size_is_read_as_written(written: object, size_bytes: int) -> None:
    assert size_bytes == parse_size(written)


@pytest.mark.parametrize(
    "written", ["", "MiB", "64M", "64 MiBs", "-1", -1, 0, "0", True, None, [], 0.5, "0.5B", "1e3", 10**400, float("nan"), "٣MB"]
)
def test_what_is_no_size_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(written)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("60s", 60),
        ("250ms", 0.25),
        ("5m", 300),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        (2, 2),
        (0.5, 0.5),
        ("45", 45),
        ("0s", 0),
        ("1d", 86400),
    ],
)
def test_a_duration_is_read_as_written(written: object, seconds: float) -> None:
    assert seconds == parse_duration(written)


@pytest.mark.parametrize(
    "written", ["", "s", "5 minutes", "-5s", -5, True, None, {}, "1y", "400d", 10**400, float("inf"), float("nan")]
)
def test_what_is_no_duration_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(written)


@given(st.integers(1, SIZE_BYTES_MAX))
def test_a_size_that_is_shown_is_read_back_the_same(size_bytes: int) -> None:
    assert size_bytes == parse_size(format_size(size_bytes))


@given(st.integers(0, int(DURATION_SECONDS_MAX) * 1000))
def test_a_duration_that_is_shown_is_read_back_the_same(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)


@given(st.one_of(st.text(), st.integers(), st.floats(), st.binary(), st.none(), st.lists(st.text())))
def test_nothing_but_a_value_error_comes_of_anything(written: object) -> None:
    for parse in (parse_size, parse_duration, parse_servers, parse_list):
        with contextlib.suppress(ValueError):
            parse(written)


def test_a_list_may_be_written_as_json_with_commas_or_as_one_word() -> None:
    assert ["p", "px"] == parse_list('["p", "px"]') == parse_list("p, px") == parse_list("p,px,")
    assert parse_list("p") == ["p"]
    assert parse_list([1]) == [1]


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        ("price > 0", ("price", ">", 0.0)),
        ("price>=-1.5e3", ("price", ">=", -1500.0)),
        ("a!=.5", ("a", "!=", 0.5)),
        (" q <= 10 ", ("q", "<=", 10.0)),
        ("x==1", ("x", "==", 1.0)),
    ],
)
def test_a_rule_is_read_as_written(written: str, rule: tuple[str, str, float]) -> None:
    assert rule == parse_rule(written)


@pytest.mark.parametrize(
    "written", ["", "price", "price > x", "price > 1 2", "> 0", "price => 0", "price > nan", "price > 1e999", "a > 1e"]
)
def test_what_is_no_rule_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="is not a rule"):
        parse_rule(written)


def test_servers_may_be_a_list_or_a_text() -> None:
    assert "a:9092,[::1]:9093" == parse_servers(["a:9092", "[::1]:9093"]) == parse_servers("a:9092, [::1]:9093")


@pytest.mark.parametrize("written", ["", "a", "a:", "a:0", "a:70000", "http://a:9092", [1], ["a"], 5, None])
def test_servers_without_host_and_port_are_refused(written: object) -> None:
    with pytest.raises(ValueError, match="host:port"):
        parse_servers(written)


def test_credentials_in_a_server_are_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="credentials") as refused:
        parse_servers("user:hunter2@broker:9092")

    assert "hunter2" not in str(refused.value)
