"""Columns of a stream: the built-in schema, what the user declares, and every way to get it wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from streamer.errors import Invalid
from streamer.layout import Layout, SchemaName, arrow_type
from streamer.schemas import LOW_CARDINALITY, SCHEMAS, columns_of


@pytest.mark.parametrize("schema", list(SCHEMAS))
def test_a_schema_without_additions_is_itself(schema: SchemaName) -> None:
    assert columns_of(schema) == SCHEMAS[schema]
    assert Layout("s", schema, columns_of(schema), "date={date}").arrow_schema is not None


def test_declared_columns_come_after_the_schemas_own() -> None:
    names = [column.name for column in columns_of("tick", {"bid": "float64", "is_maker": "bool"})]

    assert names == ["symbol", "price", "quantity", "side", "exchange", "trade_id", "timestamp", "bid", "is_maker"]


def test_types_of_built_in_columns_can_be_replaced() -> None:
    types = {"price": "decimal128(38,18)", "timestamp": "timestamp[ns, UTC]"}
    columns = {column.name: column for column in columns_of("tick", types=types)}

    assert columns["price"].type == "decimal128(38,18)"
    assert columns["price"].required
    assert columns["timestamp"].aliases == ("ts", "T", "time")


def test_the_users_aliases_are_tried_before_the_built_in_ones() -> None:
    columns = {column.name: column for column in columns_of("tick", extra_aliases={"quantity": ["q", "amount"]})}

    assert columns["quantity"].aliases == ("q", "amount", "volume", "size", "qty")


def test_a_built_in_alias_gives_way_to_what_the_user_says() -> None:
    columns = {c.name: c for c in columns_of("tick", {"size": "float64"}, {"side": ["s"]})}

    assert "size" not in columns["quantity"].aliases
    assert columns["symbol"].aliases == ("ticker",)
    assert columns["side"].aliases == ("s",)


@pytest.mark.parametrize(
    ("schema", "extra", "aliases", "types", "about"),
    [
        ("ticks", {}, {}, {}, "schema"),
        ("tick", {"bid": "double"}, {}, {}, "type"),
        ("tick", {"bid": "decimal128(39,2)"}, {}, {}, "type"),
        ("tick", {}, {}, {"price": "money"}, "type"),
        ("tick", {}, {}, {"bid": "float64"}, "no built-in column"),
        ("tick", {}, {}, {"timestamp": "int64"}, "timestamp"),
        ("feature", {}, {}, {"features": "string"}, "features"),
        ("tick", {"Price": "float64"}, {}, {}, "already"),
        ("tick", {"price": "float64"}, {}, {}, "already"),
        ("tick", {"e": "string", "E": "int64"}, {}, {}, "already"),
        ("tick", {"_offset": "int64"}, {}, {}, "_"),
        ("tick", {"Extra": "string"}, {}, {}, "taken"),
        ("tick", {"": "string"}, {}, {}, "name"),
        ("tick", {"a\nb": "string"}, {}, {}, "name"),
        ("tick", {}, {"price": ["side"]}, {}, "is a column"),
        ("tick", {"bid": "float64"}, {"price": ["bid"]}, {}, "is a column"),
        ("tick", {}, {"price": ["x"], "quantity": ["x"]}, {}, "belongs"),
        ("tick", {}, {"bid": ["b"]}, {}, "unknown column"),
        ("tick", {}, {"price": "px"}, {}, "one text"),
        ("raw", {"a": "string"}, {}, {}, "raw"),
    ],
)
def test_every_mistake_is_refused_with_a_hint(
    schema: SchemaName,
    extra: Mapping[str, str],
    aliases: Mapping[str, Sequence[str]],
    types: Mapping[str, str],
    about: str,
) -> None:
    with pytest.raises(Invalid, match=about) as caught:
        columns_of(schema, extra, aliases, types)

    assert caught.value.hint


def test_low_cardinality_columns_are_strings_of_the_built_in_schemas() -> None:
    types = {column.name: arrow_type(column.type) for columns in SCHEMAS.values() for column in columns}

    assert all(str(types[name]) == "string" for name in LOW_CARDINALITY)
