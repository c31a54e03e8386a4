"""What `streamer columns` proposes fits the messages it saw: the proposal, configured, leaves nothing in `extra`."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.cli.column_inference import infer, toml
from streamer.layout import LEVELS, arrow_type
from streamer.schemas import SCHEMAS, columns_of

TICK = SCHEMAS["tick"]


def inferred(*values: Any, name: str = "x") -> str | None:
    return infer([json.dumps({name: value}).encode() for value in values], ()).columns[0].type


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, -3], "int64"),
        ([1, 2.5], "float64"),
        ([1.0], "float64"),
        ([True, False], "bool"),
        (["a", "b"], "string"),
        (["a", ""], "string"),
        (["1", "2"], "int64"),
        ([1, "2"], "int64"),
        (["1.50", "2"], "float64"),
        (["0.12345678901234567890"], "decimal128(38,18)"),
        (["007"], "string"),
        ([2**60, 1.5], "decimal128(38,18)"),
        ([2**60], "int64"),
        ([2**70], "decimal128(38,18)"),
        (["2026-01-03T10:11:12Z", "2026-01-03 10:11:12.123456+02:00"], "timestamp[us, UTC]"),
        (["2026-01-03T10:11:12.123456789Z"], "timestamp[ns, UTC]"),
        (["2026-01-03T10:11:12Z", "soon"], "string"),
        (["2026-13-45T10:11:12Z"], "string"),
        ([{"a": 1, "b": 2.5}], "map<string, float64>"),
        ([[1, 2.5], []], "list<float64>"),
        ([["a"], []], "list<string>"),
        ([{"a": {"b": 1}}], None),
        ([{"a": 1}, 5], None),
        ([1, "a"], None),
        ([True, 1], None),
        ([None, None], None),
        ([None, 1], "int64"),
    ],
)
def test_the_type_is_one_that_every_value_converts_to(values: list[Any], expected: str | None) -> None:
    assert inferred(*values) == expected


def test_names_tell_times_and_identifiers_apart_from_numbers() -> None:
    assert inferred(1704276672123, name="eventTime") == "timestamp[us, UTC]"
    assert inferred(1704276672123, name="volume") == "int64"
    assert inferred(123, name="eventTime") == "int64"
    assert inferred(12, 13, name="order_id") == "string"
    assert inferred("12", "x9", name="tradeId") == "string"


def test_what_the_stream_takes_already_is_not_declared_again() -> None:
    message = {"ticker": "BTC", "price": 1.5, "qty": 2, "ts": 1704276672123, "bid": 1.4}

    found = infer([json.dumps(message).encode()], TICK)

    assert {c.field: c.covered_by for c in found.columns} == {
        "ticker": "symbol",
        "price": "price",
        "qty": "quantity",
        "ts": "timestamp",
        "bid": None,
    }
    assert tomllib.loads(toml(found, "ticks")) == {"streams": {"ticks": {"columns": {"bid": "float64"}}}}


def test_names_that_differ_by_case_alone_get_one_column_each_with_an_alias() -> None:
    found = infer([b'{"e":"trade","E":1704276672123,"m":true,"M":1,"extra":5,"_x":1}'], TICK)

    body = tomllib.loads(toml(found, "ticks"))["streams"]["ticks"]
    columns = columns_of("tick", body["columns"], body["aliases"])

    taking = {alias: column.name for column in columns for alias in (column.name, *column.aliases)}
    assert {"e", "E", "m", "M", "extra", "_x"} <= taking.keys()
    assert len({name.lower() for name in taking.values()}) == len(set(taking.values()))


def test_shares_and_what_is_no_object_are_counted() -> None:
    found = infer([b'{"a":1}', b'{"a":null}', b"{}", b"{}", b"[]", b"nonsense", None, b"\xff"], ())

    assert (found.records, found.not_objects) == (4, 4)
    assert found.columns[0].null_share == 0.75


def test_nothing_to_declare_is_no_toml() -> None:
    assert toml(infer([b'{"price":1}'], TICK), "ticks") == ""
    assert toml(infer([], ()), "ticks") == ""


def test_sides_of_a_book_are_levels_where_their_names_say_so() -> None:
    found = infer([b'{"bids":[["1","2.5"]],"asks":[],"a":[[1,2]],"corners":[[1,2],[3,4]],"b":[["1","2","0"]]}'] * 2, ())

    assert {column.field: column.type for column in found.columns} == {
        "bids": LEVELS,
        "asks": None,
        "a": LEVELS,
        "corners": None,
        "b": None,
    }
    assert infer([b'{"symbol":"A","b":[["1","2"]],"a":[]}'], SCHEMAS["orderbook"]).to_declare == ()


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def test_a_field_that_needs_another_name_does_not_take_that_of_a_later_field() -> None:
    found = infer([b'{":q": false, "q": false}'], TICK)

    body = tomllib.loads(toml(found, "ticks"))["streams"]["ticks"]
    assert columns_of("tick", body["columns"], body["aliases"])
    assert {column.field: column.name for column in found.to_declare} == {":q": "q_2", "q": "q"}


@settings(max_examples=150)
@given(st.lists(st.dictionaries(st.text(max_size=12), VALUES, max_size=6), max_size=5))
def test_whatever_the_messages_hold_the_toml_is_a_configuration(messages: list[dict[str, Any]]) -> None:
    found = infer([json.dumps(message).encode() for message in messages], TICK)

    body = tomllib.loads(toml(found, "ticks")).get("streams", {}).get("ticks", {})
    columns = columns_of("tick", body.get("columns", {}), body.get("aliases", {}))

    taking = {alias for column in columns for alias in (column.name, *column.aliases)}
    assert {column.field for column in found.to_declare} <= taking
    for column in found.to_declare:
        assert arrow_type(column.type or "") is not None
