"""The built-in schemas, and how a stream's own columns, types and aliases are laid over them.

Values only: what comes out is the `columns` of a `Layout`. How a message becomes these columns is `decode/`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import pyarrow as pa

from streamer.errors import Invalid
from streamer.layout import EXTRA, FEATURES, LEVELS, TIMESTAMP, Column, SchemaName, arrow_type

_SYMBOL_ALIASES = ("ticker", "s")
_TIMESTAMP_ALIASES = ("ts", "T", "time")
_TIMESTAMP = Column(TIMESTAMP, "timestamp[us, UTC]", aliases=_TIMESTAMP_ALIASES)

SCHEMAS: Mapping[SchemaName, tuple[Column, ...]] = MappingProxyType(
    {
        "tick": (
            Column("symbol", "string", required=True, aliases=_SYMBOL_ALIASES),
            Column("price", "float64", required=True),
            Column("quantity", "float64", aliases=("volume", "size", "qty", "amount")),
            Column("side", "string"),
            Column("exchange", "string"),
            Column("trade_id", "string"),
            _TIMESTAMP,
        ),
        "signal": (
            Column("symbol", "string", aliases=_SYMBOL_ALIASES),
            _TIMESTAMP,
            Column("regime", "string"),
            Column("regime_name", "string"),
            Column("stress", "float64"),
            Column("velocity", "float64"),
            Column("confidence", "float64"),
            Column("anomaly_score", "float64"),
        ),
        "feature": (
            Column("symbol", "string", required=True, aliases=_SYMBOL_ALIASES),
            _TIMESTAMP,
            Column(FEATURES, "map<string, float64>"),
        ),
        "orderbook": (
            Column("symbol", "string", required=True, aliases=_SYMBOL_ALIASES),
            replace(_TIMESTAMP, aliases=(*_TIMESTAMP_ALIASES, "E")),
            Column("exchange", "string"),
            Column("update_id", "string", aliases=("lastUpdateId", "updateId", "u", "sequence", "seqId", "seq")),
            Column("bids", LEVELS, aliases=("b",)),
            Column("asks", LEVELS, aliases=("a",)),
        ),
        "pulse": (
            Column("symbol", "string", required=True, aliases=_SYMBOL_ALIASES),
            _TIMESTAMP,
            Column("stress", "float64"),
            Column("regime", "string"),
            Column("velocity", "float64"),
        ),
        "raw": (Column("value", "binary", required=True),),
    }
)
"""The columns of each built-in schema, with the names that messages commonly use for them."""

RULES: Mapping[SchemaName, tuple[str, ...]] = MappingProxyType({"pulse": ("stress >= 0", "stress <= 1")})
"""The rules of a stream that names none of its own for the column."""

LOW_CARDINALITY = frozenset({"symbol", "side", "exchange", "regime", "regime_name"})
"""String columns with few different values: what Parquet's dictionary encoding is worth its time for."""

FEATURES_PER_ROW_MAX = 512

LEVELS_PER_SIDE_MAX = 10_000
"""Of an order book, in one message."""

LEVEL_FIELDS = {
    "price": ("price", "px", "p"),
    "quantity": ("quantity", "volume", "size", "qty", "amount", "sz", "q"),
}
"""What a level that is an object may call its two numbers: the first that is there counts."""

_NAME = re.compile(r"[^\x00-\x1f{}/]{1,128}")


def columns_of(
    schema: SchemaName,
    extra_columns: Mapping[str, str] = MappingProxyType({}),
    extra_aliases: Mapping[str, Sequence[str]] = MappingProxyType({}),
    types: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Column, ...]:
    """The columns of a stream: the schema's, in its order, then `extra_columns` (name to Arrow type) in theirs.

    `extra_aliases` (column to other names that messages use) are tried after the column's own name and before the built-in
    aliases. What a user says wins: a built-in alias that he declares as a column, or gives to another column, is no longer
    one. `types` replaces the types of built-in columns, such as `{"price": "decimal128(38,18)"}`.

    Raises `Invalid` for an unknown schema or type, a name that is taken (ignoring case, as Athena and DuckDB do), starts
    with `_`, is `extra` or has characters that no name should have, and for an alias that is a column too, belongs to two
    columns or names an unknown one.
    """
    if (builtin := SCHEMAS.get(schema)) is None:
        raise Invalid(f"unknown schema {schema!r}", hint=f"use one of {', '.join(SCHEMAS)}")
    if schema == "raw" and (extra_columns or extra_aliases or types):
        raise Invalid("the schema raw has the one column value", hint="choose another schema to declare columns")
    columns = _retyped(builtin, types)
    _check_names(builtin, extra_columns)
    for name, type_ in extra_columns.items():
        _check_type(name, type_)
        columns[name] = Column(name, type_)
    return _aliased(columns, extra_aliases)


def _retyped(builtin: tuple[Column, ...], types: Mapping[str, str]) -> dict[str, Column]:
    columns = {column.name: column for column in builtin}
    for name, type_ in types.items():
        if name not in columns:
            raise Invalid(f"no built-in column {name!r}", hint=f"there are {', '.join(columns)}; declare others under columns")
        _check_type(name, type_)
        columns[name] = replace(columns[name], type=type_)
    return columns


def _check_type(name: str, type_: str) -> None:
    try:
        found = arrow_type(type_)
    except Invalid as error:
        raise Invalid(error.message, hint=error.hint, column=name) from error
    if name == TIMESTAMP and not pa.types.is_timestamp(found):
        raise Invalid(f"timestamp cannot be {type_}", hint="use timestamp[us, UTC] or timestamp[ns, UTC]", column=name)
    if name == FEATURES and not pa.types.is_map(found):
        raise Invalid(
            f"features cannot be {type_}", hint="use map<string, float64>, or give the column another name", column=name
        )


def _check_names(builtin: tuple[Column, ...], extra: Mapping[str, str]) -> None:
    taken = {column.name.lower(): column.name for column in builtin}
    for name in extra:
        if _NAME.fullmatch(name) is None or name != name.strip():
            raise Invalid(f"{name!r} cannot be a column name", hint="use 1 to 128 letters, digits and _")
        if name.startswith("_"):
            raise Invalid(f"column {name!r} starts with _", hint="names with _ are streamer's own; choose another one")
        if name.lower() == EXTRA:
            raise Invalid(f"column {name!r} is taken", hint="extra holds the fields that no column names; choose another one")
        if (other := taken.get(name.lower())) is not None:
            raise Invalid(
                f"column {name!r} is there already as {other!r}",
                hint="SQL engines ignore case in names: choose another name, and the message's own as its alias",
            )
        taken[name.lower()] = name


def _aliased(columns: dict[str, Column], extra: Mapping[str, Sequence[str]]) -> tuple[Column, ...]:
    owner: dict[str, str] = {}
    for name, aliases in extra.items():
        if name not in columns:
            raise Invalid(f"aliases for the unknown column {name!r}", hint=f"there are {', '.join(columns)}; declare it first")
        if isinstance(aliases, str):
            raise Invalid(f"the aliases of {name!r} are one text", hint=f'write a list: ["{aliases}"]')
        for alias in aliases:
            if alias in columns:
                raise Invalid(f"alias {alias!r} of {name!r} is a column", hint="remove the alias or the column")
            if (other := owner.setdefault(alias, name)) != name:
                raise Invalid(f"alias {alias!r} belongs to {other!r} and {name!r}", hint="remove one of them")
    merged = []
    for column in columns.values():
        kept = [a for a in column.aliases if a not in columns and owner.get(a, column.name) == column.name]
        merged.append(replace(column, aliases=tuple(dict.fromkeys([*extra.get(column.name, ()), *kept]))))
    return tuple(merged)
