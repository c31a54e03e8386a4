"""The two ways agree, nothing raises, nothing is lost, and no record depends on its neighbours."""

from __future__ import annotations

import pytest
from decoding import LAYOUTS, check_invariants, chunk_of, concatenated, quickly, rows_of, same, slowly
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from message_strategies import SCALARS, TEXTS_OF_VALUES, chunks

from streamer.decode.decoder import make_decoder

BUDGET = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

every_layout = pytest.mark.parametrize("name", list(LAYOUTS))


@every_layout
@BUDGET
@given(data=st.data())
def test_both_ways_give_the_same_rows_and_dead_letters(name: str, data: st.DataObject) -> None:
    layout = LAYOUTS[name]
    chunk = data.draw(chunks(layout))

    quick = quickly(layout, chunk)

    slow = slowly(layout, chunk)
    check_invariants(layout, chunk, slow)
    event("in columns" if quick is not None else "declined")
    if quick is not None:
        check_invariants(layout, chunk, quick)
        assert same(quick, slow)


@settings(BUDGET, max_examples=100)
@given(data=st.data())
def test_both_ways_convert_every_text_for_every_type_alike(data: st.DataObject) -> None:
    layout = LAYOUTS["tick, every type, nanoseconds"]
    name = data.draw(st.sampled_from([column.name for column in layout.columns]))
    texts = data.draw(st.lists(st.one_of(SCALARS, TEXTS_OF_VALUES), min_size=1, max_size=3))
    others = {"symbol": '"A"', "price": "1", "timestamp": "1618677785116"}
    fields = [{**others, name: text} for text in texts]
    chunk = chunk_of([("{" + ",".join(f'"{field}":{text}' for field, text in each.items()) + "}").encode() for each in fields])

    quick = quickly(layout, chunk)

    event("in columns" if quick is not None else "declined")
    slow = slowly(layout, chunk)
    check_invariants(layout, chunk, slow)
    assert quick is None or same(quick, slow)


@every_layout
@settings(BUDGET, max_examples=25)
@given(data=st.data())
def test_arbitrary_bytes_never_raise_and_none_is_lost(name: str, data: st.DataObject) -> None:
    layout = LAYOUTS[name]
    chunk = chunk_of(data.draw(st.lists(st.one_of(st.none(), st.binary(max_size=60)), max_size=8)))

    check_invariants(layout, chunk, make_decoder(layout).decode(chunk))


@every_layout
@settings(BUDGET, max_examples=25)
@given(data=st.data())
def test_a_chunk_divided_anywhere_gives_the_same_rows_and_dead_letters(name: str, data: st.DataObject) -> None:
    layout = LAYOUTS[name]
    chunk = data.draw(chunks(layout))
    head, tail = chunk.split(data.draw(st.integers(chunk.start, chunk.end)))

    whole, parts = slowly(layout, chunk), [quickly(layout, part) or slowly(layout, part) for part in (head, tail)]

    assert rows_of(concatenated(parts)) == rows_of(whole.table)
    assert tuple(letter for part in parts for letter in part.dead_letters) == whole.dead_letters
    assert sum(part.dropped_fields for part in parts) == whole.dropped_fields


@every_layout
@settings(BUDGET, max_examples=15)
@given(data=st.data())
def test_a_record_comes_out_the_same_alone_as_among_hundreds(name: str, data: st.DataObject) -> None:
    layout = LAYOUTS[name]
    few = data.draw(chunks(layout, max_size=4))
    values = few.values * (600 // len(few))
    chunk = chunk_of(values, few.timestamps * (600 // len(few)))

    decoded = make_decoder(layout).decode(chunk)

    alone = slowly(layout, few)
    times = len(chunk) // len(few)
    without = {"_offset", "_key", "_crc"}
    columns = [column for column in alone.table.column_names if column not in without]
    assert rows_of(decoded.table.select(columns)) == rows_of(alone.table.select(columns)) * times
    assert [(letter.reason, letter.detail) for letter in decoded.dead_letters] == [
        (letter.reason, letter.detail) for letter in alone.dead_letters
    ] * times
    check_invariants(layout, chunk, decoded)
