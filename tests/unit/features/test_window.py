"""The window is a `deque(maxlen=window)` per symbol, however the rows are cut into tables and batches."""

from __future__ import annotations

from collections import OrderedDict, deque
from datetime import timedelta
from itertools import pairwise

import pyarrow as pa
import pytest
from feature_tables import decoded, layout, message
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.features.kept import superfluous
from streamer.features.rows import unpacked
from streamer.features.window import HistoryWindow
from streamer.testing.manual_clock import EPOCH


def contents(window: HistoryWindow) -> list[tuple[str, list[int]]]:
    return [(symbol, [row[2] for row in window[symbol]]) for symbol in window]


@settings(max_examples=60, deadline=None)
@given(
    symbols=st.lists(st.sampled_from("ABCDEFG"), max_size=60),
    window=st.integers(1, 5),
    max_symbols=st.integers(1, 8),
    tables=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    batches=st.integers(1, 5),
    saved_after=st.integers(0, 8),
)
def test_it_holds_what_deques_hold_and_the_least_recently_updated_symbols_leave_first(
    symbols: list[str], window: int, max_symbols: int, tables: list[int], batches: int, saved_after: int
) -> None:
    plain: OrderedDict[str, deque[int]] = OrderedDict()
    evictions = 0
    for offset, symbol in enumerate(symbols):
        plain.setdefault(symbol, deque(maxlen=window)).append(offset)
        plain.move_to_end(symbol)
        if len(plain) > max_symbols:
            plain.popitem(last=False)
            evictions += 1

    history = HistoryWindow(window, max_symbols)
    at, waiting, carried = 0, [], 0
    sizes = iter(tables * (len(symbols) + 1))
    while at < len(symbols):
        part = symbols[at : at + next(sizes)]
        waiting.append(decoded([message(symbol, at + n) for n, symbol in enumerate(part)], at))
        at += len(part)
        if len(waiting) == batches or at == len(symbols):
            history.feed(history.prepare(waiting), at)
            waiting = []
            if at > saved_after and not carried:  # as if the process had ended here and another one had gone on
                carried = 1
                saved = history.freeze()
                gone = history.evictions
                history = HistoryWindow(window, max_symbols, offset=saved.offset)
                history.restore(sorted(saved.symbols))
                history.evictions = gone

    assert contents(history) == [(symbol, list(rows)) for symbol, rows in plain.items()]
    assert history.evictions == evictions
    assert history.offset == len(symbols)


def test_rows_are_flat_and_have_declared_columns_and_features_but_not_what_is_null() -> None:
    made_by = layout(bid="float64", venue="string", count="int64", price="decimal128(38,18)")
    sent = {**message("A", 7, z=2), "bid": 1.25, "venue": "X", "count": 3, "price": "0.10"}
    table = decoded([sent, message("A", 8)], 41, made_by)
    history = HistoryWindow(5, 5)
    history.feed(history.prepare([table]), 43)

    first, second = map(unpacked, history["A"])
    assert first == {
        "timestamp": "2024-01-01T00:00:00.007000Z",
        "partition": 0,
        "offset": 41,
        "bid": 1.25,
        "rsi": 7.5,
        "z": 2.0,
        "venue": "X",
        "count": 3,
        "price": "0.100000000000000000",
    }
    assert second == {"timestamp": "2024-01-01T00:00:00.008000Z", "partition": 0, "offset": 42, "rsi": 8.5}


def test_levels_of_a_book_have_no_place_in_a_flat_row() -> None:
    made_by = layout(bids="list<struct<price: decimal128(20,2), quantity: float64>>")
    table = decoded([{**message("A", 7), "bids": [["1.50", 2]]}], 41, made_by)
    history = HistoryWindow(5, 5)
    history.feed(history.prepare([table]), 42)

    assert table["bids"][0].is_valid
    assert list(unpacked(history["A"][0])) == ["timestamp", "partition", "offset", "rsi"]


def test_a_feature_with_the_name_of_something_else_gets_a_prefix() -> None:
    table = decoded([{"symbol": "A", "features": {"offset": 1.5, "features.offset": 2.5}}])
    history = HistoryWindow(5, 5)
    history.feed(history.prepare([table]), 1)

    row = unpacked(history["A"][0])
    assert row["offset"] == 0
    assert {name: value for name, value in row.items() if isinstance(value, float)} == {
        "features.offset": 2.5,
        "features.features.offset": 1.5,
    } or {name: value for name, value in row.items() if isinstance(value, float)} == {
        "features.offset": 1.5,
        "features.features.offset": 2.5,
    }


def test_rows_of_a_map_that_was_cut_out_of_a_longer_one_keep_their_own_values() -> None:
    table = decoded([message("A", n, **{f"f{n}": n}) for n in range(6)]).slice(3, 2)
    history = HistoryWindow(5, 5)
    history.feed(history.prepare([table]), 6)
    assert [(unpacked(row)["rsi"], unpacked(row)[f"f{row[2]}"]) for row in history["A"]] == [(3.5, 3.0), (4.5, 4.0)]


def test_null_features_of_a_file_are_left_out() -> None:
    kind = pa.map_(pa.string(), pa.float64())
    table = decoded([message("A", 1), message("A", 2)])
    odd = pa.array([[("a", None), ("b", 1.0)], None], kind)
    table = table.set_column(table.column_names.index("features"), pa.field("features", kind), odd)
    history = HistoryWindow(5, 5)
    history.feed(history.prepare([table]), 2)
    assert [set(unpacked(row)) - {"timestamp", "partition", "offset"} for row in history["A"]] == [{"b"}, set()]


def test_a_history_never_goes_back() -> None:
    history = HistoryWindow(5, 5, offset=10)
    with pytest.raises(ValueError, match="beyond"):
        history.feed(None, 9)


def test_memory_is_counted_as_rows_come_and_symbols_go() -> None:
    history = HistoryWindow(3, 100)
    history.feed(history.prepare([decoded([message(f"S{n % 10}", n) for n in range(30)])]), 30)
    full = history.size_bytes
    history.feed(history.prepare([decoded([message(f"S{n % 10}", n) for n in range(30)], 30)]), 60)
    assert history.size_bytes == full
    assert history.shrink(full // 2) == 5
    assert list(history) == [f"S{n}" for n in range(5, 10)]
    assert history.size_bytes == full // 2
    history.shrink(full)
    assert history.size_bytes == 0


@given(count=st.integers(1, 60), keep=st.integers(0, 30))
def test_so_many_versions_stay_and_the_newest_is_among_them(count: int, keep: int) -> None:
    times = [EPOCH + timedelta(seconds=30 * n) for n in range(count)]
    stay = sorted(set(times) - set(superfluous(times, keep)))
    assert len(stay) == min(count, keep)
    if keep:
        assert stay[-1] == times[-1]
    if keep >= 3:
        assert stay[0] == times[0]


def test_versions_that_stay_are_further_apart_the_older_they_are() -> None:
    stay: list[int] = []
    for n in range(1500):
        stay.append(n)
        gone = {int((time - EPOCH).total_seconds()) for time in superfluous([EPOCH + timedelta(seconds=s) for s in stay], 24)}
        stay = [second for second in stay if second not in gone]
    gaps = [later - earlier for earlier, later in pairwise(stay)]
    assert len(stay) == 24
    assert max(gaps[-5:]) <= 4
    assert min(gaps[:5]) > 30
