"""Order books: sides of levels as exchanges send them, exactly or not at all, the same in both ways."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from decoding import check_invariants, chunk_of, feature_with_levels, orderbook, quickly, refusal, row, same, slowly
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from message_strategies import SCALARS, SIDES

from streamer.decode import levels
from streamer.decode.decoder import make_decoder
from streamer.decode.one_by_one import parse_object
from streamer.decode.refusal import Refused
from streamer.decode.values import elements, to_float
from streamer.errors import Invalid
from streamer.layout import LEVELS, Layout, Rule, arrow_type, is_levels
from streamer.records import DeadLetterReason as Reason
from streamer.schemas import LEVELS_PER_SIDE_MAX, columns_of

BUDGET = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
SNAPSHOT = (
    b'{"symbol":"BNBBTC","lastUpdateId":1027024,"bids":[["4.00000000","431.0"]],"asks":[["4.00000200","12.0"],["4.1","1"]]}'
)
DELTA = b'{"s":"BNBBTC","T":1672515782136,"u":160,"b":[["0.0024","10"]],"a":[]}'


def message(bids: str, **others: Any) -> bytes:
    return json.dumps({"symbol": "B", **others}).encode()[:-1] + b', "bids": ' + bids.encode() + b"}"


def sides_of(*pairs: tuple[float, float]) -> list[dict[str, float]]:
    return [{"price": price, "quantity": quantity} for price, quantity in pairs]


@pytest.mark.parametrize("value", [SNAPSHOT, DELTA])
def test_books_of_exchanges_go_in_columns(value: bytes) -> None:
    chunk = chunk_of([value] * 200)

    decoded = make_decoder(orderbook()).decode(chunk)

    assert (decoded.slow_records, decoded.dead_letters) == (0, ())
    assert same(decoded, slowly(orderbook(), chunk))


def test_a_snapshot_becomes_a_row_with_its_levels_in_order() -> None:
    found = row(orderbook(), SNAPSHOT)

    assert found["bids"] == sides_of((4.0, 431.0))
    assert found["asks"] == sides_of((4.000002, 12.0), (4.1, 1.0))
    assert (found["symbol"], found["update_id"], found["extra"]) == ("BNBBTC", "1027024", None)


def test_an_empty_side_is_empty_and_an_absent_one_is_null() -> None:
    found = row(orderbook(), b'{"symbol":"B","b":[],"a":null}')

    assert (found["bids"], found["asks"]) == ([], None)


@pytest.mark.parametrize(
    "side",
    [
        '[[1,"2"]]',
        '[["1",2]]',
        "[[1.0,2e0]]",
        '[{"price":1,"quantity":2}]',
        '[{"price":"1","size":"2"}]',
        '[{"qty":"2","price":"1"}]',
        '[{"px":1,"sz":2}]',
        '[{"p":"1","price":null,"q":"2"}]',
    ],
)
def test_a_level_may_be_an_array_or_an_object_of_numbers_or_strings(side: str) -> None:
    found = row(orderbook(), message(side))

    assert found["bids"] == sides_of((1.0, 2.0))
    assert found["extra"] is None


def test_what_levels_have_beside_two_numbers_stays_in_extra_level_by_level() -> None:
    asks = b'[{"price":5,"size":6,"orders":"1.10","qty":7},{"px":8,"sz":9}]'
    value = b'{"symbol":"B","bids":[["1","2","0", 4],[3,4]],"v":1,"asks":' + asks + b"}"

    found = row(orderbook(), value)

    assert found["bids"] == sides_of((1.0, 2.0), (3.0, 4.0))
    assert found["asks"] == sides_of((5.0, 6.0), (8.0, 9.0))
    assert found["extra"] == '{"bids":[["0",4],[]],"v":1,"asks":[{"orders":"1.10","qty":7},{}]}'


def test_what_levels_have_beside_two_numbers_is_counted_where_unknown_fields_are_dropped() -> None:
    layout = orderbook(unknown="drop")
    chunk = chunk_of([b'{"symbol":"B","bids":[["1","2","0"],["3","4","1"]],"asks":[]}'] * 150)

    quick = quickly(layout, chunk)

    assert quick is not None, "a run of levels of three parts can be read in columns, too"
    assert same(quick, slowly(layout, chunk))
    assert (quick.unknown_fields, quick.dropped_fields) == (("bids",), 150)


def test_levels_among_nested_features_leave_their_rest_there() -> None:
    value = b'{"symbol":"B","features":{"rsi":1.5,"bids":[[1,2,3]]}}'

    found = row(feature_with_levels(), value)
    dropping = feature_with_levels(unknown="drop")
    quick = quickly(dropping, chunk_of([value] * 3))

    assert (found["features"], found["bids"]) == ([("rsi", 1.5)], sides_of((1.0, 2.0)))
    assert found["extra"] == '{"features":{"bids":[[3]]}}'
    assert quick is not None
    assert same(quick, slowly(dropping, chunk_of([value] * 3)))
    assert (quick.unknown_fields, quick.dropped_fields) == (("features.bids",), 3)


@pytest.mark.parametrize(
    ("side", "reason", "detail"),
    [
        ("7", Reason.WRONG_TYPE, "bids: 7 is not an array of levels"),
        ('{"1":"2"}', Reason.WRONG_TYPE, 'bids: {"1":"2"} is not an array of levels'),
        ('[["1","2"],["3"]]', Reason.WRONG_TYPE, 'bids[1]: ["3"] is not a level: [price, quantity]'),
        ('[["1","2"],null]', Reason.WRONG_TYPE, "bids[1]: null is not a level: [price, quantity]"),
        ('[["1","2"],["1","2"],["1","2"],["x","2"]]', Reason.WRONG_TYPE, 'bids[3].price: "x" is not a number'),
        ('[["1",null]]', Reason.WRONG_TYPE, "bids[0].quantity: null is not a number"),
        ('[["1",""]]', Reason.WRONG_TYPE, 'bids[0].quantity: "" is not a number'),
        ('[["1","1_0"]]', Reason.WRONG_TYPE, 'bids[0].quantity: "1_0" is not a number'),
        ('[{"price":1}]', Reason.WRONG_TYPE, "bids[0].quantity: null is not a number"),
        ("[[1,1e400]]", Reason.OUT_OF_RANGE, "bids[0].quantity: 1e400 is more than the column can hold"),
        ('[["1e400","1"]]', Reason.OUT_OF_RANGE, 'bids[0].price: "1e400" is more than the column can hold'),
    ],
)
def test_what_is_no_level_is_refused_with_its_place(side: str, reason: Reason, detail: str) -> None:
    assert refusal(orderbook(), message(side)) == (reason, detail)


@pytest.mark.parametrize("level", ['["1","2"]', "[1,2]", '{"price":1,"size":2}'])
def test_more_levels_than_a_side_may_have_are_refused_in_both_ways(level: str) -> None:
    most, more = (message("[" + ",".join([level] * count) + "]") for count in (LEVELS_PER_SIDE_MAX, LEVELS_PER_SIDE_MAX + 1))

    assert len(row(orderbook(), most)["bids"]) == LEVELS_PER_SIDE_MAX
    assert refusal(orderbook(), more) == (Reason.OUT_OF_RANGE, "bids: 10001 levels, more than 10000")
    assert quickly(orderbook(), chunk_of([most])) is not None
    assert quickly(orderbook(), chunk_of([most, more])) is None


@pytest.mark.parametrize(
    ("plain", "odd"),
    [
        ('[["1","2"]]', '[["1","2","3"],["1"]]'),
        ('[["1","2"]]', '[["1","2"],[]]'),
        ('[["1","2"]]', '[["1",null]]'),
        ('[["1","2"]]', '[["1","2"],null]'),
        ('[["1","2"]]', '[["1","2"],null,["3","4"],["5","6","7","8"]]'),
        ('[["1","2"]]', '[["1","2","3"]]'),
        ('[["1","2"]]', '[["1","0x10"]]'),
        ('[["1","2","3"]]', '[["1","2"]]'),
        ("[[1,2]]", "[[1,2],[null,1]]"),
        ("[[1,2]]", "[[1,2],[1,2,3],[1]]"),
        ('[{"price":1,"size":2}]', '[{"price":1,"size":2},{"price":1}]'),
        ('[{"price":1,"size":2}]', '[{"price":null,"size":2}]'),
        ('[{"price":1,"size":2}]', '[{"price":1,"size":2},null]'),
        ('[{"price":1,"size":2}]', '[{"price":1,"size":2,"qty":3}]'),
    ],
)
@pytest.mark.parametrize("unknown", ["extra", "drop"])
def test_a_side_unlike_the_samples_never_gives_another_row_in_columns(plain: str, odd: str, unknown: str) -> None:
    layout = orderbook(unknown=unknown)
    for sides in ([plain, odd, plain, plain], [plain, odd], [odd, plain]):
        chunk = chunk_of([message(side) for side in sides])
        quick, slow = quickly(layout, chunk), slowly(layout, chunk)
        assert quick is None or same(quick, slow)
        assert same(make_decoder(layout).decode(chunk), slow)


def test_decimal_levels_keep_every_digit() -> None:
    layout = orderbook("decimal128(38,18)")
    chunk = chunk_of([message('[["27000.123456789012345678","0.000000000000000001"]]')] * 3)

    found = slowly(layout, chunk)

    [level] = found.table["bids"].to_pylist()[0]
    assert (str(level["price"]), format(level["quantity"], "f")) == ("27000.123456789012345678", "0.000000000000000001")
    quick = quickly(layout, chunk)
    assert quick is not None
    assert same(quick, found)


def test_price_and_quantity_may_be_of_different_types() -> None:
    kind = "list<struct<price: decimal128(20,2), quantity: float64>>"
    layout = Layout("ticks", "tick", columns_of("tick", {"book": kind}), "")
    value = b'{"symbol":"B","price":1,"book":[["1.10","0.3"]]}'

    for decoded in (slowly(layout, chunk_of([value])), quickly(layout, chunk_of([value]))):
        assert decoded is not None
        [level] = decoded.table["book"].to_pylist()[0]
        assert (str(level["price"]), level["quantity"]) == ("1.10", 0.3)


def test_the_type_is_written_in_one_way_only() -> None:
    assert is_levels(arrow_type(LEVELS))
    assert arrow_type(LEVELS) == pa.list_(pa.struct([("price", pa.float64()), ("quantity", pa.float64())]))
    for wrong in (
        "levels",
        "list<struct<price: string, quantity: float64>>",
        "list<struct<price: decimal128(39,1), quantity: float64>>",
    ):
        with pytest.raises(Invalid):
            arrow_type(wrong)


def test_a_side_holds_no_number_for_a_rule() -> None:
    columns = columns_of("orderbook")
    with pytest.raises(Invalid):
        make_decoder(Layout("o", "orderbook", columns, "", rules=(Rule("bids", ">", 0.0),)))


def test_many_levels_are_not_taken_for_deep_nesting() -> None:
    wide = message("[" + ",".join(['["1","2"]'] * 5000) + "]")
    for text in (wide, wide.replace(b'"B"', b'"]]\\"["'), wide.replace(b'"B"', b'"]"')):
        assert "bids" in parse_object(text)
    deep = b'{"a":' + b"[" * 127 + b"]" * 127 + b"}"
    assert "a" in parse_object(deep)
    hidden = b'{"a":' + b'["]",' * 128 + b"1" + b"]" * 128 + b"}"
    for text in (deep.replace(b"[]", b"[[]]"), hidden):
        with pytest.raises(Refused) as refused:
            parse_object(text)
        assert refused.value.detail == "nested deeper than 128"


_PARTS = st.one_of(SCALARS, st.sampled_from(['"1"', "1", "0.5", '"-0"', "-0", "-1e-8", '"1e-7"', "[1]", "{}"]))
_LEVELS = st.one_of(
    st.lists(_PARTS, max_size=4).map(lambda parts: "[" + ",".join(parts) + "]"),
    st.dictionaries(st.sampled_from(["price", "px", "p", "size", "qty", "q", "n"]), _PARTS, max_size=4).map(
        lambda members: "{" + ",".join(f'"{name}":{part}' for name, part in members.items()) + "}"
    ),
    SCALARS,
)
_WILD = st.lists(_LEVELS, max_size=3).map(lambda found: "[" + ",".join(found) + "]")


@BUDGET
@given(text=st.one_of(*SIDES, _WILD))
def test_the_quick_way_for_plain_levels_says_what_the_slow_one_says(text: str) -> None:
    quick = levels._quickly(text.encode())

    event("quick" if quick is not None else "left to the slow one")
    if quick is not None:
        assert repr(quick) == repr(levels._side(elements(text.encode()), to_float, to_float))


LAYOUTS = {"kept": orderbook(), "dropped": orderbook(unknown="drop"), "decimals": orderbook("decimal128(38,18)")}


@pytest.mark.parametrize("name", LAYOUTS)
@BUDGET
@given(data=st.data())
def test_both_ways_read_every_side_alike(name: str, data: st.DataObject) -> None:
    layout = LAYOUTS[name]
    form = data.draw(st.sampled_from([*SIDES, _WILD]))
    odd = data.draw(st.booleans())
    sides = data.draw(st.lists(st.one_of(form, _WILD, SCALARS) if odd else form, min_size=1, max_size=5))
    chunk = chunk_of([message(side, timestamp=1618677785116) for side in sides])

    quick = quickly(layout, chunk)

    slow = slowly(layout, chunk)
    check_invariants(layout, chunk, slow)
    event("in columns" if quick is not None else "declined")
    assert quick is None or same(quick, slow)
