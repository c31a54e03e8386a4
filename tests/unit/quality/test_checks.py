"""Checks over columns against the same said one row at a time, and what becomes of rows that break them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.decode.decoder import make_decoder
from streamer.judged import judged
from streamer.layout import FLAGS, Action, Check, Layout
from streamer.quality.checks import broken, problem
from streamer.quality.verdicts import Checks
from streamer.quality.watch import of_flags, of_letters
from streamer.records import DeadLetterReason, RecordChunk, TopicPartition
from streamer.schemas import columns_of

Row = dict[str, Any]
COLUMNS = columns_of("tick", {"bid": "float64", "ask": "decimal128(38,18)", "level": "int64", "maker": "bool"})
NUMBERS = st.none() | st.integers(-3, 3) | st.sampled_from([0.5, -0.25, 1e300, 5e-324])
MOMENT_US = 1_704_067_200_000_000
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "symbol": st.sampled_from(["A", "삼성", ""]),
            "price": NUMBERS.filter(lambda value: value is not None),
            "quantity": NUMBERS,
            "side": st.sampled_from([None, "buy", "sell", "BUY", ""]),
            "bid": NUMBERS,
            "ask": st.none() | st.integers(-3, 3),
            "level": st.none() | st.integers(-(2**63), 2**63 - 1),
            "maker": st.sampled_from([None, True, False]),
            "timestamp": st.integers(-3_000_000, 3_000_000).map(lambda step: MOMENT_US + step),
            "_timestamp": st.none() | st.integers(-2000, 2000).map(lambda step: MOMENT_US // 1000 + step),
        }
    ),
    max_size=12,
)


def layout(*checks: Check) -> Layout:
    return Layout("ticks", "tick", COLUMNS, "date={date}", checks=checks)


def table_of(rows: list[Row], layout_: Layout) -> pa.Table:
    defaults = {"_partition": [0] * len(rows), "_offset": list(range(0, 2 * len(rows), 2)), "_crc": [1] * len(rows)}
    columns: list[pa.Array] = []
    for f in layout_.decoded_schema:
        values: list[Any] = defaults.get(f.name) or [row.get(f.name) for row in rows]  # type: ignore[assignment]
        if pa.types.is_timestamp(f.type) or pa.types.is_decimal(f.type):
            columns.append(pa.array(values, pa.int64()).cast(f.type))
        else:
            columns.append(pa.array(values, f.type))
    return pa.table(columns, schema=layout_.decoded_schema)


def number(value: Any) -> float | None:
    return None if value is None else float(value)


def outside(column: str, least: float | None, most: float | None) -> Callable[[Row], bool]:
    def naive(row: Row) -> bool:
        value = number(row[column])
        return value is not None and ((least is not None and value < least) or (most is not None and value > most))

    return naive


def skewed(row: Row) -> bool:
    return row["_timestamp"] is not None and abs(row["timestamp"] - row["_timestamp"] * 1000) > 1_500_000


NAIVE: dict[str, tuple[Check, Callable[[Row], bool]]] = {
    "whole": (Check("whole", "required", "count", ("quantity", "side")), lambda r: r["quantity"] is None or r["side"] is None),
    "least": (Check("least", "range", "count", ("quantity",), 0.5), outside("quantity", 0.5, None)),
    "most": (Check("most", "range", "count", ("bid",), None, 1.0), outside("bid", None, 1.0)),
    "within": (Check("within", "range", "count", ("level",), -2.0, 2.0), outside("level", -2.0, 2.0)),
    "decimal": (Check("decimal", "range", "count", ("ask",), -1.0, 1.0), outside("ask", -1.0, 1.0)),
    "side": (Check("side", "allowed", "count", ("side",), values=("buy", "sell")), lambda r: r["side"] in ("BUY", "")),
    "number": (Check("number", "allowed", "count", ("level",), values=("1", "2")), lambda r: r["level"] not in (None, 1, 2)),
    "maker": (Check("maker", "allowed", "count", ("maker",), values=("true",)), lambda r: r["maker"] is False),
    "skew": (Check("skew", "clock-skew", "count", ("timestamp", "_timestamp"), most=1.5), skewed),
    "crossed": (
        Check("crossed", "crossed", "count", ("bid", "ask")),
        lambda r: r["bid"] is not None and r["ask"] is not None and r["bid"] > r["ask"],
    ),
}


@settings(deadline=None)
@given(rows=ROWS, cut=st.integers(0, 12))
def test_checks_over_columns_are_the_same_checks_row_by_row(rows: list[Row], cut: int) -> None:
    table = table_of(rows, layout())
    divided = pa.concat_tables([table.slice(0, cut), table.slice(cut)])

    for check, naive in NAIVE.values():
        assert problem(check, table.schema) is None
        assert broken(check, divided).to_pylist() == [naive(row) for row in rows], check.name


def acting(name: str, action: Action) -> Check:
    check, _ = NAIVE[name]
    return Check(name, check.kind, action, check.columns, check.least, check.most, check.values)


@settings(deadline=None)
@given(
    rows=ROWS,
    chosen=st.lists(
        st.tuples(st.sampled_from(sorted(NAIVE)), st.sampled_from(["dead-letter", "flag"])), unique_by=lambda c: c[0]
    ),
)
def test_rows_stay_flagged_or_go_by_the_first_rule_they_break(rows: list[Row], chosen: list[tuple[str, Action]]) -> None:
    checks = tuple(acting(name, action) for name, action in chosen)
    layout_ = layout(*checks)
    table = table_of(rows, layout_)
    wanted: list[tuple[int, str | None]] = []
    refused: dict[int, str] = {}
    for at, row in enumerate(rows):
        gone = [c.name for c in checks if c.on_violation == "dead-letter" and NAIVE[c.name][1](row)]
        flags = [c.name for c in checks if c.on_violation == "flag" and NAIVE[c.name][1](row)]
        if gone:
            refused[2 * at] = gone[0]
        else:
            wanted.append((2 * at, ",".join(flags) or None))

    verdicts = Checks(layout_).of(table)

    flagged = verdicts.table[FLAGS].to_pylist() if FLAGS in verdicts.table.column_names else [None] * verdicts.table.num_rows
    assert list(zip(verdicts.table["_offset"].to_pylist(), flagged, strict=True)) == wanted
    assert {each.offset: each.rule for each in verdicts.refusals} == refused
    assert verdicts.table.schema.equals(layout_.decoded_schema)
    assert all(each.detail.startswith(f"{each.rule}: ") and len(each.detail) <= 200 for each in verdicts.refusals)
    counted = {each.rule: each.count for each in of_flags(checks, [verdicts.table.slice(0, 3), verdicts.table.slice(3)])}
    names = [name for _, text in wanted if text for name in text.split(",")]
    assert counted == {name: names.count(name) for name in set(names)}


LETTER_LAYOUT = layout(
    Check("price", "range", "dead-letter", ("price",), 0.0), Check("size", "range", "flag", ("quantity",), None, 5.0)
)


def chunk(values: list[bytes | None], start: int = 0) -> RecordChunk:
    offsets = list(range(start, start + len(values)))
    return RecordChunk(
        TopicPartition("ticks", 0),
        start,
        start + len(values),
        offsets,
        [MOMENT_US // 1000] * len(values),
        [b"k"] * len(values),
        values,
    )


def tick(price: float, quantity: float = 1.0) -> bytes:
    return b'{"symbol":"A","price":%f,"quantity":%f,"timestamp":1704067200}' % (price, quantity)


@settings(deadline=None)
@given(
    values=st.lists(st.sampled_from([tick(1), tick(-1), tick(2, 9), tick(-2, 9), b"no", None]), min_size=1, max_size=40),
    cut=st.integers(0, 40),
)
def test_however_a_range_is_divided_the_rows_flags_and_dead_letters_are_the_same(values: list[bytes | None], cut: int) -> None:
    decoder = judged(make_decoder, LETTER_LAYOUT)

    whole = decoder.decode(chunk(values))
    parts = [decoder.decode(part) for part in chunk(values).split(cut)]

    assert pa.concat_tables([part.table for part in parts]).equals(whole.table)
    assert sum((part.dead_letters for part in parts), ()) == whole.dead_letters
    offsets = [*whole.table["_offset"].to_pylist(), *(letter.offset for letter in whole.dead_letters)]
    assert sorted(offsets) == list(range(len(values)))


def test_a_dead_letter_is_the_record_whole_with_the_rule_and_what_broke_it() -> None:
    found = judged(make_decoder, LETTER_LAYOUT).decode(chunk([tick(3), tick(-1)], start=7))

    [letter] = found.dead_letters
    assert (letter.offset, letter.key, letter.value, letter.reason) == (8, b"k", tick(-1), DeadLetterReason.RULE)
    assert (letter.rule, letter.detail) == ("price", "price: price is -1.0, not within 0..inf")
    [violations] = of_letters(LETTER_LAYOUT.checks, found.dead_letters)
    assert (violations.rule, violations.action, violations.count, violations.first_offset) == ("price", "dead-letter", 1, 8)


def test_times_in_nanoseconds_are_told_exactly() -> None:
    columns = columns_of("tick", {}, {}, {"timestamp": "timestamp[ns, UTC]"})
    check = Check("skew", "clock-skew", "dead-letter", ("timestamp", "_timestamp"), most=1.0)
    layout_ = Layout("ticks", "tick", columns, "date={date}", checks=(check,))
    value = b'{"symbol":"A","price":1,"timestamp":"2024-01-01T00:00:01.000000001Z"}'

    [letter] = judged(make_decoder, layout_).decode(chunk([value])).dead_letters

    assert "2024-01-01T00:00:01.000000001Z" in letter.detail


SIDE = st.none() | st.lists(st.tuples(st.integers(-3, 3), st.just(1)), max_size=3)


@given(books=st.lists(st.tuples(SIDE, SIDE), max_size=8), cut=st.integers(0, 8))
def test_books_are_crossed_by_their_first_levels(books: list[tuple[Any, Any]], cut: int) -> None:
    columns = columns_of("orderbook", {}, {}, {"asks": "list<struct<price: decimal128(20,6), quantity: float64>>"})
    check = Check("crossed", "crossed", "flag", ("bids", "asks"))
    schema = Layout("o", "orderbook", columns, "").arrow_schema
    fields = [schema.field("bids"), schema.field("asks")]
    rows = [[None if side is None else [{"price": p, "quantity": q} for p, q in side] for side in book] for book in books]
    whole = pa.table(
        [pa.array([row[at] for row in rows], field.type) for at, field in enumerate(fields)], schema=pa.schema(fields)
    )

    assert problem(check, schema) is None
    found = broken(check, pa.concat_tables([whole.slice(0, cut), whole.slice(cut)])).to_pylist()

    assert found == [bool(bids and asks and bids[0][0] > asks[0][0]) for bids, asks in books]


def test_a_crossed_book_is_told_by_its_first_levels() -> None:
    check = Check("crossed", "crossed", "dead-letter", ("bids", "asks"))
    layout_ = Layout("o", "orderbook", columns_of("orderbook"), "", checks=(check,))
    value = b'{"symbol":"A","bids":[[2,1],[1,1]],"asks":[[1.5,3]]}'

    [letter] = judged(make_decoder, layout_).decode(chunk([value])).dead_letters

    assert letter.detail == (
        "crossed: bids is {'price': 2.0, 'quantity': 1.0}, ... and asks is {'price': 1.5, 'quantity': 3.0}: crossed"
    )
    assert problem(Check("r", "range", "flag", ("bids",), 0.0), layout_.arrow_schema) == "bids must hold numbers"
