"""The view `bars` of a minute for SQL engines, as text: made of the view of ticks, and so of archive and raw. Pure.

It is what `lake.bars(..., "1m")` gives: a bar for each minute and symbol with a trade, by (time, partition, offset).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Dialect:
    """How an engine spells it. first, last: functions that give a value at the least and the greatest key. row: several values
    as one that has an order. create: how a view begins."""

    quote: str
    first: str
    last: str
    row: str
    double: str
    create: str = "CREATE OR REPLACE VIEW"


DUCKDB = Dialect('"', "arg_min", "arg_max", "row", "DOUBLE")
SPARK = Dialect("`", "min_by", "max_by", "struct", "DOUBLE", "CREATE OR REPLACE TEMPORARY VIEW")
PRESTO = Dialect('"', "min_by", "max_by", "ROW", "double")

_NEEDED = ("symbol", "timestamp", "price", "_partition", "_offset")


def bars_view(dialect: Dialect, ticks: str, columns: pa.Schema) -> str:
    """The statement that makes `bars` of the view `ticks` with these columns; empty where they are not those of ticks."""
    if not set(_NEEDED) <= set(columns.names):
        return ""
    has_quantity = "quantity" in columns.names
    decimal = has_quantity and pa.types.is_decimal(columns.field("quantity").type)

    def quoted(name: str) -> str:
        return f"{dialect.quote}{name}{dialect.quote}"

    def as_double(text: str) -> str:
        return f"CAST({text} AS {dialect.double})"

    symbol, at, price = quoted("symbol"), quoted("timestamp"), quoted("price")
    order = f"{dialect.row}({at}, {quoted('_partition')}, {quoted('_offset')})"
    amount = f"coalesce({quoted('quantity')}, 0)" if has_quantity else "0"
    volume = f"sum({amount})" if decimal else f"sum({as_double(amount)})"
    notional = f"sum({as_double(price)} * {as_double(amount)})"
    minute = f"date_trunc('minute', {at})"
    chosen: Sequence[tuple[str, str]] = (
        (symbol, "symbol"),
        (minute, "timestamp"),
        ("'1m'", "interval"),
        (f"{dialect.first}({price}, {order})", "open"),
        (f"max({price})", "high"),
        (f"min({price})", "low"),
        (f"{dialect.last}({price}, {order})", "close"),
        (volume, "volume"),
        ("count(*)", "trades"),
        (f"CASE WHEN {volume} > 0 THEN {notional} / {as_double(volume)} END", "vwap"),
        (f"CAST(min({at}) AS DATE)", "date"),
    )
    listed = ",\n".join(f"    {text} AS {quoted(name)}" for text, name in chosen)
    return f"{dialect.create} bars AS SELECT\n{listed}\n  FROM {ticks} GROUP BY {symbol}, {minute};\n"
