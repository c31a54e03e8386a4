"""What a kind declares is what `put` takes: types and rules as streams have them, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.config.documents import document_schema
from streamer.docstore.docstore import AsyncDocuments
from streamer.errors import Invalid
from streamer.store.memory import MemoryStore
from streamer.testing.manual_clock import ManualClock
from streamer.workers import InlineWorkers

AT = datetime(2026, 1, 3, 10, tzinfo=UTC)
BAR = {"open": "float64", "high": "float64", "low": "float64", "close": "float64", "side": "string"}
QUALITY = {
    "all_there": {"check": "required", "columns": ["open", "close"]},
    "plausible": {"check": "range", "column": "close", "min": 0.5, "max": 100},
    "known_side": {"check": "allowed", "column": "side", "values": ["buy", "sell"]},
    "high_is_high": {"check": "crossed", "columns": ["low", "high"]},
}
GOOD = {"open": 1, "high": 2.5, "low": "1.0", "close": 2, "side": "buy", "anything": {"else": [1, None]}}


@pytest.fixture
def documents() -> AsyncDocuments:
    return AsyncDocuments(MemoryStore(ManualClock()), ManualClock(), InlineWorkers())


async def kept(documents: AsyncDocuments, data: Any) -> Any:
    info = await documents.put("ohlcv", data, at=AT, symbol="BTC", timeframe="1m")
    return (await documents.read(info)).data


async def test_what_is_right_is_kept_as_it_was_given(documents: AsyncDocuments) -> None:
    documents.declare("ohlcv", schema=BAR, rules=["open > 0"], quality=QUALITY)

    assert await kept(documents, GOOD) == GOOD
    assert await kept(documents, [GOOD, {**GOOD, "side": None}]) == [GOOD, {**GOOD, "side": None}]
    assert await kept(documents, []) == []
    assert documents.kinds["ohlcv"].startswith("market-data/ohlcv/")


@pytest.mark.parametrize(
    ("changes", "field", "rule", "message"),
    [
        ({"close": None}, "close", "all_there", "all_there: close is absent"),
        ({"close": float("nan")}, "close", "all_there", "close is absent"),
        ({"close": 101}, "close", "plausible", "plausible: close is 101.0, not within 0.5..100"),
        ({"side": "Buy"}, "side", "known_side", "known_side: side is Buy, none of buy, sell"),
        ({"low": 3}, "low", "high_is_high", "high_is_high: low is 3.0 and high is 2.5: crossed"),
        ({"open": -1}, "open", "open > 0", "open > 0 is false for -1"),
        ({"high": "much"}, "high", "float64", 'high: "much" is not a number'),
        ({"high": [1]}, "high", "float64", "high: [1] is not a number"),
        ({"side": {"a": 1}}, "side", "string", "is not a string"),
    ],
)
@pytest.mark.parametrize("rows", [1, 3])
async def test_what_is_wrong_is_refused_by_field_rule_value_and_row(
    documents: AsyncDocuments, changes: Mapping[str, Any], field: str, rule: str, message: str, rows: int
) -> None:
    documents.declare("ohlcv", schema=BAR, rules=["open > 0"], quality=QUALITY)
    wrong = {**GOOD, **changes}

    with pytest.raises(Invalid) as refused:
        await kept(documents, wrong if rows == 1 else [GOOD, wrong, GOOD])

    assert message in refused.value.message
    assert (refused.value.context["field"], refused.value.context["rule"]) == (field, rule)
    assert refused.value.context.get("row") == (None if rows == 1 else 1)
    assert await documents.list("ohlcv") == []


@pytest.mark.parametrize("data", [1, "x", None, [1], [[GOOD]], [GOOD, None], True])
async def test_what_has_no_fields_is_refused(documents: AsyncDocuments, data: Any) -> None:
    documents.declare("ohlcv", schema=BAR)

    with pytest.raises(Invalid, match="neither an object nor a list of objects"):
        await kept(documents, data)


ROWS = st.lists(
    st.fixed_dictionaries(
        {"price": st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32), "n": st.integers(-5, 5)}
    ),
    max_size=20,
)


@given(ROWS)
async def test_a_document_is_kept_exactly_where_every_row_keeps_every_rule(rows: list[dict[str, Any]]) -> None:
    documents = AsyncDocuments(MemoryStore(ManualClock()), ManualClock(), InlineWorkers())
    quality = {"small": {"check": "range", "column": "n", "max": 3}, "there": {"check": "required", "columns": ["price"]}}
    documents.declare("trades", schema={"price": "float64", "n": "int64"}, rules=["price >= 0", "n != 0"], quality=quality)
    rows = [{"price": row["price"], "n": row["n"]} for row in rows]
    right = all(row["price"] is not None and row["price"] >= 0 and row["n"] <= 3 and row["n"] != 0 for row in rows)

    for data in (rows, pa.Table.from_pylist(rows, pa.schema({"price": pa.float64(), "n": pa.int64()}))):
        try:
            await documents.put("trades", data, at=AT, symbol="BTC")
        except Invalid:
            assert not right
        else:
            assert right
    assert len(await documents.list("trades")) == right, "rows and the table of them are one document"


async def test_an_arrow_table_becomes_the_list_of_its_rows(documents: AsyncDocuments) -> None:
    table = pa.table(
        {
            "at": pa.array([AT, None], pa.timestamp("ns", "UTC")),
            "price": pa.array([Decimal("1.10"), None], pa.decimal128(10, 2)),
            "features": pa.array([[("rsi", 1.5)], None], pa.map_(pa.string(), pa.float64())),
        }
    )
    info = await documents.put("trades", table, symbol="BTC")

    assert (await documents.read(info)).data == [
        {"at": "2026-01-03T10:00:00.000000000Z", "price": "1.10", "features": {"rsi": 1.5}},
        {"at": None, "price": None, "features": None},
    ]


@pytest.mark.parametrize(
    "kind",
    ["string", "binary", "bool", "int32", "int64", "float32", "float64", "date32", "timestamp[us, UTC]", "timestamp[ns, UTC]",
     "decimal128(38,18)", "map<string, float64>", "list<string>"],
)  # fmt: skip
def test_every_type_of_a_column_is_a_type_of_a_field(kind: str) -> None:
    values = {
        "string": "x", "binary": "x", "bool": True, "date32": "2026-01-03", "timestamp[us, UTC]": "2026-01-03T10:00:00Z",
        "timestamp[ns, UTC]": 1767434400, "map<string, float64>": {"a": 1}, "list<string>": ["a", None],
    }  # fmt: skip
    schema = document_schema({"field": kind}, (), {"there": {"check": "required", "columns": ["field"]}})
    assert schema is not None

    schema.judge(orjson.dumps({"field": values.get(kind, 1)}))
    with pytest.raises(Invalid):
        schema.judge(b'{"field":null}')
    with pytest.raises(Invalid):
        schema.judge(b"{}")


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"schema": {"price": "double"}}, "unknown column type"),
        ({"rules": ["price > 0"]}, "rules need fields"),
        ({"schema": {"p": "int64"}, "rules": ["price > 0"]}, "no column 'price'"),
        ({"schema": {"price": "string"}, "rules": ["price > 0"]}, "holds no numbers"),
        ({"schema": {"price": "float64"}, "rules": ["price"]}, "is not a rule"),
        ({"schema": {"p": "float64"}, "quality": {"a": {"check": "range", "column": "x", "min": 1}}}, "no column 'x'"),
        ({"schema": {"p": "string"}, "quality": {"a": {"check": "range", "column": "p", "min": 1}}}, "must hold numbers"),
        ({"schema": {"p": "float64"}, "quality": {"a": {"check": "jump", "column": "p", "percent": 1}}}, "in their order"),
        ({"schema": {"p": "float64"}, "quality": {"a": {"check": "clock-skew", "most": "1s"}}}, "Kafka's time"),
        (
            {"schema": {"p": "float64"}, "quality": {"a": {"check": "range", "column": "p", "min": 1, "on_violation": "flag"}}},
            "on_violation",
        ),
        ({"schema": {"p": "float64"}, "quality": {"A b": {"check": "range", "column": "p", "min": 1}}}, "a rule's name"),
        ({"schema": {"p": "float64"}, "quality": {"a": {"check": "rnage"}}}, "quality.a.check"),
    ],
)
def test_rules_that_cannot_be_executed_are_refused_when_they_are_declared(
    documents: AsyncDocuments, declared: dict[str, Any], message: str
) -> None:
    with pytest.raises(Invalid) as refused:
        documents.declare("trades", **declared)

    assert message in refused.value.message


def test_only_json_has_fields_and_a_new_kind_needs_a_template(documents: AsyncDocuments) -> None:
    with pytest.raises(Invalid, match="only documents in JSON"):
        documents.declare("log", schema={"a": "string"})
    with pytest.raises(Invalid, match="no kind"):
        documents.declare("mine", schema={"a": "string"})


async def test_a_kind_that_is_declared_anew_without_a_schema_takes_anything_again(documents: AsyncDocuments) -> None:
    documents.declare("ohlcv", schema=BAR)
    documents.declare("ohlcv")

    assert await kept(documents, 1) == 1
