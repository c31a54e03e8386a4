"""Chunks and layouts for the tests of this room, and the two ways to decode them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from streamer.decode.contract import Decoded
from streamer.decode.decoder import JsonDecoder
from streamer.decode.readings import Declined
from streamer.layout import LEVELS, Layout, Rule
from streamer.records import RecordChunk, TopicPartition
from streamer.schemas import columns_of

KAFKA_TIME = 1_722_470_400_000
SOURCE = TopicPartition("market", 3)


def chunk_of(values: list[bytes | None], timestamps: list[int] | None = None, start: int = 100) -> RecordChunk:
    """The values as records with holes between their offsets, and with keys."""
    offsets = [start + 2 * at for at in range(len(values))]
    keys = [b"k%d" % at if at % 3 else None for at in range(len(values))]
    end = start + 2 * len(values)
    return RecordChunk(SOURCE, start, end, offsets, timestamps or [KAFKA_TIME] * len(values), keys, values)


def tick(**options: Any) -> Layout:
    return Layout("ticks", "tick", columns_of("tick"), "date={date}", **options)


def wide_tick(**options: Any) -> Layout:
    """A tick with a column of every type."""
    columns = columns_of(
        "tick",
        {
            "bid": "decimal128(38,18)",
            "fee": "decimal128(18,8)",
            "count": "int64",
            "level": "int32",
            "ratio": "float32",
            "is_maker": "bool",
            "day": "date32",
            "blob": "binary",
            "tags": "list<string>",
            "sizes": "list<float64>",
            "received": "timestamp[ns, UTC]",
        },
        {"price": ["p", "px"]},
        {"timestamp": options.pop("timestamp", "timestamp[us, UTC]")},
    )
    return Layout("ticks", "tick", columns, "date={date}", **options)


def feature(**options: Any) -> Layout:
    columns = columns_of("feature", {"spread": "float64", "regime": "string"}, {"spread": ["spr"]})
    return Layout("features", "feature", columns, "date={date}", **options)


def orderbook(numbers: str = "float64", **options: Any) -> Layout:
    levels = f"list<struct<price: {numbers}, quantity: {numbers}>>"
    columns = columns_of("orderbook", {"checksum": "int64"}, types={"bids": levels, "asks": levels})
    return Layout("orderbooks", "orderbook", columns, "symbol={symbol}/date={date}", **options)


def feature_with_levels(**options: Any) -> Layout:
    columns = columns_of("feature", {"bids": LEVELS})
    return Layout("features", "feature", columns, "date={date}", **options)


def signal(**options: Any) -> Layout:
    return Layout("signals", "signal", columns_of("signal", types={"regime": "int64"}), "date={date}", **options)


def drops_unknown() -> Layout:
    return tick(unknown="drop", timestamp_fallback="dead-letter", rules=(Rule("price", ">", 0.0),))


LAYOUTS = {
    "tick": tick(),
    "tick, unknown fields dropped": drops_unknown(),
    "tick, every type": wide_tick(),
    "tick, every type, nanoseconds": wide_tick(timestamp="timestamp[ns, UTC]"),
    "feature": feature(),
    "feature, unknown fields dropped": feature(unknown="drop"),
    "orderbook": orderbook(),
    "orderbook, unknown fields dropped": orderbook(unknown="drop"),
    "signal": signal(rules=(Rule("confidence", ">=", 0.0), Rule("confidence", "<=", 1.0))),
}


def slowly(layout: Layout, chunk: RecordChunk) -> Decoded:
    """Record by record: the definition."""
    return JsonDecoder(layout, columnar=False).decode(chunk)


def quickly(layout: Layout, chunk: RecordChunk) -> Decoded | None:
    """In columns and no other way; None where that way declines."""
    try:
        return JsonDecoder(layout, one_by_one=False).decode(chunk)
    except Declined:
        return None


def rows_of(table: pa.Table) -> list[str]:
    """Each row as text, in which -0.0 is not 0.0 and nanoseconds are seen."""
    for at, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            table = table.set_column(at, field.name, table.column(at).cast(pa.int64()))
    return list(map(repr, table.to_pylist()))


def same(one: Decoded, other: Decoded) -> bool:
    """Rows, dead letters and what is counted about fields agree; how they were found may differ."""
    return (
        one.table.schema.equals(other.table.schema)
        and rows_of(one.table) == rows_of(other.table)
        and one.dead_letters == other.dead_letters
        and (one.unknown_fields, one.dropped_fields) == (other.unknown_fields, other.dropped_fields)
    )


def check_invariants(layout: Layout, chunk: RecordChunk, decoded: Decoded) -> None:
    """What holds for every chunk whatever is in it."""
    table = decoded.table
    assert table.schema.equals(layout.decoded_schema)
    table.validate(full=True)
    assert table.num_rows + len(decoded.dead_letters) == len(chunk)
    assert sorted([*table["_offset"].to_pylist(), *(letter.offset for letter in decoded.dead_letters)]) == chunk.offsets
    assert table["_offset"].to_pylist() == sorted(table["_offset"].to_pylist())
    for field in table.schema:
        assert field.nullable or table[field.name].null_count == 0
        assert table[field.name].num_chunks <= 1
    for letter in decoded.dead_letters:
        at = chunk.offsets.index(letter.offset)
        assert (letter.value, letter.key, letter.timestamp) == (chunk.values[at], chunk.keys[at], chunk.timestamps[at])
        assert len(letter.detail) <= 200


def row(layout: Layout, value: bytes) -> dict[str, Any]:
    """The one row that `value` becomes."""
    decoded = slowly(layout, chunk_of([value]))
    assert not decoded.dead_letters, decoded.dead_letters[0].detail
    return decoded.table.to_pylist()[0]


def refusal(layout: Layout, value: bytes | None, timestamp: int = KAFKA_TIME) -> tuple[str, str]:
    """Reason and detail of the one dead letter that `value` becomes."""
    decoded = slowly(layout, chunk_of([value], [timestamp]))
    assert decoded.table.num_rows == 0
    (letter,) = decoded.dead_letters
    return str(letter.reason), letter.detail


def concatenated(parts: list[Decoded]) -> pa.Table:
    return pa.concat_tables([part.table for part in parts])
