"""Decoded rows for the tests of this folder: tables of `Layout.decoded_schema`, by hand or drawn by hypothesis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from streamer.layout import Column, Layout
from streamer.records import BatchRange, DeadLetter, DeadLetterReason, TopicPartition

BUDGET = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
"""For every property here: no deadline, because a busy machine is no finding."""

DAY_US = 86_400_000_000
MIDNIGHT_US = 1_704_067_200_000_000  # 2024-01-01T00:00:00Z
TICKS = TopicPartition("ticks", 3)

COLUMNS = (
    Column("symbol", "string", required=True),
    Column("price", "float64", required=True),
    Column("exchange", "string"),
    Column("is_maker", "bool"),
    Column("level", "int32"),
    Column("expiry", "date32"),
    Column("amount", "decimal128(38,18)"),
    Column("features", "map<string, float64>"),
    Column("tags", "list<string>"),
    Column("timestamp", "timestamp[us, UTC]"),
)


def layout(path: str = "symbol={symbol}/date={date}", **changes: Any) -> Layout:
    """The layout of a stream `ticks` with a column of every kind."""
    return Layout(**{"stream": "ticks", "schema": "tick", "columns": COLUMNS, "path": path, **changes})


def decoded(of: Layout, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """`rows` as the decoder would give them; what a row does not say is null, or counts up from 0."""
    filled = []
    for number, row in enumerate(rows):
        defaults = {"symbol": "BTCUSDT", "price": 1.5, "timestamp": MIDNIGHT_US, "_timestamp": MIDNIGHT_US // 1000}
        filled.append({**defaults, "_partition": TICKS.partition, "_offset": number, "_crc": number * 7919, **row})
    schema = of.decoded_schema
    return pa.table([pa.array([row.get(field.name) for row in filled], field.type) for field in schema], schema=schema)


def batch(start: int, end: int, lineage: int = 0) -> BatchRange:
    return BatchRange(TICKS, start, end, lineage)


def letter(offset: int, timestamp: int = MIDNIGHT_US // 1000, **changes: Any) -> DeadLetter:
    whole = {"key": b"k", "value": b"{", "headers": (), "reason": DeadLetterReason.INVALID_JSON, "detail": "truncated"}
    return DeadLetter(offset, timestamp, **{**whole, **changes})


def divided(table: pa.Table, sizes: Iterable[int]) -> list[pa.Table]:
    """The same rows in tables of these sizes, the rest in the last one."""
    parts, start = [], 0
    for size in sizes:
        parts.append(table.slice(start, size))
        start = min(start + size, table.num_rows)
    return [*parts, table.slice(start)]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
symbols = st.one_of(
    st.sampled_from(
        ["BTCUSDT", "BTC/USDT", "../../etc", "", ".", "..", "_x", "~null", "~empty", "%41", "a=b", "é" * 300, "😀"]
    ),
    st.sampled_from(["__HIVE_DEFAULT_PARTITION__", "x" * 300, "x" * 301, "A" * 120, "A" * 121, "\x00", "a\nb", "\\", "a b"]),
    texts,
)
_rows = st.fixed_dictionaries(
    {
        "symbol": symbols,
        "price": st.floats(),
        "exchange": st.none() | st.sampled_from(["binance", "kraken", ""]) | texts,
        "is_maker": st.none() | st.booleans(),
        "level": st.none() | st.integers(-(2**31), 2**31 - 1),
        "expiry": st.none() | st.dates(),
        "amount": st.none() | st.decimals(-(10**19), 10**19, allow_nan=False, allow_infinity=False, places=18).map(Decimal),
        "features": st.none() | st.dictionaries(texts, st.none() | st.floats(), max_size=3).map(lambda d: list(d.items())),
        "tags": st.none() | st.lists(st.none() | texts, max_size=3),
        "timestamp": st.integers(MIDNIGHT_US - 2 * DAY_US, MIDNIGHT_US + 2 * DAY_US),
        "extra": st.none() | st.sampled_from(['{"a":1.00000000000000000001}', '{"b": {\n "c": [1, null]}}']),
        "_timestamp": st.none() | st.integers(-1, 2**45),
        "_key": st.none() | st.binary(max_size=8),
        "_crc": st.integers(0, 2**32 - 1),
    }
)


@st.composite
def row_lists(draw: st.DrawFn, max_size: int = 20) -> list[dict[str, Any]]:
    """Rows with ascending offsets that may have holes."""
    rows = draw(st.lists(_rows, max_size=max_size))
    offset = -1
    for row in rows:
        offset += draw(st.integers(1, 3))
        row["_offset"] = offset
    return rows
