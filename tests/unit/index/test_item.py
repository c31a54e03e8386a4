"""An event becomes an item and comes back, whatever is in it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import orjson
import pandas as pd  # type: ignore[import-untyped,unused-ignore]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.errors import Invalid
from streamer.events.event import Event, event_found, event_given, event_of_row, stamp
from streamer.index.item import ITEM_BYTES_MAX, body_of, item_of

AT = datetime(2024, 1, 15, 10, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
GIVEN = st.fixed_dictionaries(
    {
        "timestamp": st.datetimes(datetime(1970, 1, 2), datetime(2262, 1, 1), timezones=st.just(UTC)),
        "ticker": TEXT.filter(bool),
    },
    optional={
        "stress": st.floats(0, 1) | st.integers(0, 1),
        "velocity": st.floats(),
        "regime": TEXT,
        "extra": VALUES,
        "note": VALUES,
    },
)


@given(GIVEN)
def test_an_event_comes_back_from_its_item_and_from_its_own_document(given_: dict[str, Any]) -> None:
    event = event_given(given_)
    item = item_of(event)

    assert body_of(item.attributes) == event.body
    assert item.key == (stamp(event.at), event.ticker)
    assert event_given(event.body) == event
    assert event_found(event.body, event.at).content == event.content


@given(st.floats())
def test_a_number_is_in_the_item_or_left_out_and_never_another_one(velocity: float) -> None:
    item = item_of(event_given({"timestamp": AT, "ticker": "BTC", "velocity": velocity}))

    typed = item.attributes.get("velocity")
    if typed is None:
        assert velocity != velocity or abs(velocity) > 9.99e125 or abs(velocity) < 1e-130
    else:
        assert float(typed["N"]) == velocity


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)), st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)))
def test_timestamps_sort_as_text_as_they_do_in_time(one: datetime, other: datetime) -> None:
    first, second = (event_given({"timestamp": at, "ticker": "x"}).at for at in (one, other))

    assert (first < second) == (stamp(first) < stamp(second))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"timestamp": None}, "timestamp is missing"),
        ({"timestamp": "soon"}, "timestamp is 'soon'"),
        ({"timestamp": 1705312800}, "timestamp is a int"),
        ({"timestamp": "0001-01-01T00:00:00+05:00"}, "timestamp"),
        ({"ticker": None}, "ticker is missing"),
        ({"ticker": ""}, "ticker"),
        ({"ticker": 7}, "ticker"),
        ({"symbol": "ETH"}, "symbol 'ETH'"),
        ({"stress": 1.01}, "stress is 1.01"),
        ({"stress": -0.1}, "stress"),
        ({"stress": float("nan")}, "stress"),
        ({"stress": "0.5"}, "stress"),
        ({"stress": True}, "stress"),
        ({"velocity": [1]}, "velocity"),
        ({"regime": 1.5}, "regime"),
        ({"regime": "\ud800"}, "JSON"),
        ({"velocity": 10**400}, "velocity"),
        ({"velocity": Decimal("sNaN")}, "velocity"),
        ({"timestamp": pd.NaT}, "timestamp"),
        ({"more": object()}, "JSON"),
        ({"more": "\ud800"}, "JSON"),
        ({1: 2}, "JSON"),
    ],
)
def test_what_is_wrong_with_an_event_is_named_with_its_number(change: dict[Any, Any], word: str) -> None:
    with pytest.raises(Invalid) as error:
        event_given({"timestamp": "2024-01-15T10:00:00Z", "ticker": "BTC", **change}, 3)

    assert "event 3" in error.value.message
    assert word in error.value.message
    assert error.value.hint


def test_what_pandas_numpy_and_dynamodb_make_of_an_event_is_taken() -> None:
    theirs = {
        "timestamp": pd.Timestamp("2024-01-15T10:00:00.123456789Z"),
        "ticker": "BTC",
        "stress": Decimal("0.25"),
        "regime": np.int64(2),
        "velocity": np.float32(1.5),
        "n": np.int64(7),
    }

    assert dict(event_given(theirs).body) == {
        "timestamp": "2024-01-15T10:00:00.123456Z", "ticker": "BTC", "stress": 0.25, "regime": "2", "velocity": 1.5, "n": 7,
    }  # fmt: skip


def test_a_row_and_an_event_of_the_same_content_are_the_same() -> None:
    row = {
        "symbol": "BTC", "timestamp": AT, "stress": 0.5, "regime": None, "velocity": 2.0, "extra": '{"n":1,"m":{"a":[1.5]}}',
        "_partition": 0, "_offset": 7, "_timestamp": AT, "_key": b"k",
    }  # fmt: skip
    given_ = {
        "n": 1,
        "m": {"a": [1.5]},
        "velocity": 2,
        "stress": 0.5,
        "symbol": "BTC",
        "timestamp": "2024-01-15T11:00:00+01:00",
    }

    assert event_of_row(row).content == event_given(given_).content


@pytest.mark.parametrize("depth", [50, 120, 300, 1000])
def test_a_record_nested_as_deep_as_a_reader_takes_it_is_an_item_all_the_same(depth: int) -> None:
    extra = '{"deep":' + "[" * depth + "]" * depth + "}"

    item = item_of(event_of_row({"symbol": "BTC", "timestamp": AT, "extra": extra}))

    body = body_of(item.attributes)
    assert body["extra"] == extra if depth > 100 else "deep" in body
    with pytest.raises(Invalid, match="JSON"):
        event_given({"timestamp": AT, "ticker": "BTC", "deep": orjson.loads("[" * 120 + "]" * 120)})


def test_an_event_without_a_ticker_and_one_too_large_are_told() -> None:
    nameless = item_of(Event(AT, None, {"timestamp": stamp(AT)}))
    large = item_of(event_given({"timestamp": AT, "ticker": "BTC", "text": "é" * (ITEM_BYTES_MAX // 2)}))
    long_name = item_of(event_given({"timestamp": AT, "ticker": "B" * 1025}))

    assert nameless.key[1]
    assert nameless.fits
    assert not large.fits
    assert not long_name.fits


def test_an_item_that_somebody_else_wrote_is_read_by_its_attributes() -> None:
    theirs = {
        "timestamp": {"S": "2024-01-15T10:00:00"},
        "ticker": {"S": "BTC"},
        "stress": {"N": "0.5"},
        "data": {"S": "no json"},
    }

    assert body_of(theirs) == {"timestamp": "2024-01-15T10:00:00", "ticker": "BTC", "stress": 0.5}
