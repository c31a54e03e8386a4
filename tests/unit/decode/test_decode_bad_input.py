"""Every kind of bad input has its reason, and leaves its neighbours alone."""

from __future__ import annotations

import pytest
from decoding import KAFKA_TIME, check_invariants, chunk_of, feature, refusal, row, tick, wide_tick

from streamer.decode.decoder import make_decoder
from streamer.layout import Layout, Rule
from streamer.records import DeadLetterReason as Reason
from streamer.schemas import columns_of

GOOD = b'{"symbol":"BTCUSDT","price":64321.1,"quantity":0.5,"timestamp":1722470400000}'

BAD = {
    "a tombstone": (None, Reason.TOMBSTONE),
    "no bytes": (b"", Reason.EMPTY),
    "white space": (b" \t\r\n ", Reason.EMPTY),
    "a byte that is not UTF-8": (b'{"symbol":"\xff","price":1}', Reason.INVALID_UTF8),
    "an overlong sequence": (b'{"symbol":"\xc0\xaf","price":1}', Reason.INVALID_UTF8),
    "a surrogate in UTF-8": (b'{"symbol":"\xed\xa0\x80","price":1}', Reason.INVALID_UTF8),
    "bytes at random": (b"\x00\x01\x02", Reason.INVALID_JSON),
    "truncated in a string": (b'{"symbol":"BTC', Reason.INVALID_JSON),
    "truncated after a field": (b'{"symbol":"BTC",', Reason.INVALID_JSON),
    "truncated array": (b"[1,2", Reason.INVALID_JSON),
    "two objects in one value": (GOOD + GOOD, Reason.INVALID_JSON),
    "two objects on two lines": (GOOD + b"\n" + GOOD, Reason.INVALID_JSON),
    "rubbish behind the object": (GOOD + b"x", Reason.INVALID_JSON),
    "NUL behind the object": (GOOD + b"\x00", Reason.INVALID_JSON),
    "NUL and a brace behind the object": (GOOD + b"\x00}", Reason.INVALID_JSON),
    "a byte order mark": (b"\xef\xbb\xbf" + GOOD, Reason.INVALID_JSON),
    "NaN": (b'{"symbol":"BTC","price":NaN}', Reason.INVALID_JSON),
    "minus Infinity": (b'{"symbol":"BTC","price":-Infinity}', Reason.INVALID_JSON),
    "NaN in a field that no column names": (b'{"symbol":"BTC","price":1,"zz":NaN}', Reason.INVALID_JSON),
    "a lone high surrogate": (rb'{"symbol":"\ud800","price":1}', Reason.INVALID_JSON),
    "a lone low surrogate": (rb'{"symbol":"\udc00","price":1}', Reason.INVALID_JSON),
    "a lone surrogate deep in an unknown field": (rb'{"symbol":"B","price":1,"zz":[{"a":"\ud800"}]}', Reason.INVALID_JSON),
    "an unknown escape": (rb'{"symbol":"\x41","price":1}', Reason.INVALID_JSON),
    "a raw newline in a string": (b'{"symbol":"B\nC","price":1}', Reason.INVALID_JSON),
    "a trailing comma": (b'{"symbol":"BTC","price":1,}', Reason.INVALID_JSON),
    "single quotes": (b"{'symbol':'BTC','price':1}", Reason.INVALID_JSON),
    "a leading zero": (b'{"symbol":"BTC","price":01}', Reason.INVALID_JSON),
    "a number that ends in its point": (b'{"symbol":"BTC","price":1.}', Reason.INVALID_JSON),
    "hexadecimal": (b'{"symbol":"BTC","price":0x10}', Reason.INVALID_JSON),
    "nested 200 deep": (b'{"symbol":"B","price":1,"zz":' + b"[" * 200 + b"]" * 200 + b"}", Reason.INVALID_JSON),
    "nested 200,000 deep": (b'{"symbol":"B","price":1,"zz":' + b"[" * 200_000 + b"]" * 200_000 + b"}", Reason.INVALID_JSON),
    "opened 200,000 times": (b'{"a":' * 200_000, Reason.INVALID_JSON),
    "null": (b"null", Reason.NOT_AN_OBJECT),
    "an array": (b'[{"symbol":"BTC","price":1}]', Reason.NOT_AN_OBJECT),
    "a string": (b'"BTC"', Reason.NOT_AN_OBJECT),
    "a number": (b" 1e400 ", Reason.NOT_AN_OBJECT),
    "an empty object": (b"{}", Reason.MISSING_FIELD),
    "no price": (b'{"symbol":"BTC"}', Reason.MISSING_FIELD),
    "a null price": (b'{"symbol":"BTC","price":null}', Reason.MISSING_FIELD),
    "a price in words": (b'{"symbol":"BTC","price":"market"}', Reason.WRONG_TYPE),
    "an empty price": (b'{"symbol":"BTC","price":""}', Reason.WRONG_TYPE),
    "a price with blanks": (b'{"symbol":"BTC","price":" 1.5"}', Reason.WRONG_TYPE),
    "a price with underscores": (b'{"symbol":"BTC","price":"1_000"}', Reason.WRONG_TYPE),
    "a price with a comma": (b'{"symbol":"BTC","price":"1,000"}', Reason.WRONG_TYPE),
    "a hexadecimal price": (b'{"symbol":"BTC","price":"0x10"}', Reason.WRONG_TYPE),
    "a price that is the string NaN": (b'{"symbol":"BTC","price":"NaN"}', Reason.WRONG_TYPE),
    "a price that is the string inf": (b'{"symbol":"BTC","price":"-inf"}', Reason.WRONG_TYPE),
    "a price in Arabic digits": ('{"symbol":"BTC","price":"١٢"}'.encode(), Reason.WRONG_TYPE),
    "a price that is true": (b'{"symbol":"BTC","price":true}', Reason.WRONG_TYPE),
    "a price that is a list": (b'{"symbol":"BTC","price":[1]}', Reason.WRONG_TYPE),
    "a price that is an object": (b'{"symbol":"BTC","price":{"v":1}}', Reason.WRONG_TYPE),
    "a symbol that is an object": (b'{"symbol":{"a":1},"price":1}', Reason.WRONG_TYPE),
    "a symbol that is true": (b'{"symbol":true,"price":1}', Reason.WRONG_TYPE),
    "a price beyond float64": (b'{"symbol":"BTC","price":1e400}', Reason.OUT_OF_RANGE),
    "a price beyond float64 in a string": (b'{"symbol":"BTC","price":"-1e400"}', Reason.OUT_OF_RANGE),
    "a wrong last value of a field that is there twice": (b'{"symbol":"B","price":1,"price":"x"}', Reason.WRONG_TYPE),
    "a time in words": (b'{"symbol":"BTC","price":1,"timestamp":"yesterday"}', Reason.BAD_TIMESTAMP),
    "an empty time": (b'{"symbol":"BTC","price":1,"timestamp":""}', Reason.BAD_TIMESTAMP),
    "the year 1": (b'{"symbol":"BTC","price":1,"timestamp":"0001-01-01T00:00:00Z"}', Reason.BAD_TIMESTAMP),
    "the year 9999": (b'{"symbol":"BTC","price":1,"timestamp":"9999-12-31T23:59:59Z"}', Reason.BAD_TIMESTAMP),
    "a negative time": (b'{"symbol":"BTC","price":1,"timestamp":-1}', Reason.BAD_TIMESTAMP),
    "nanoseconds beyond 2262": (b'{"symbol":"BTC","price":1,"timestamp":9223372036854775808}', Reason.BAD_TIMESTAMP),
    "a time of 1e30": (b'{"symbol":"BTC","price":1,"timestamp":1e30}', Reason.BAD_TIMESTAMP),
    "a time that is a list": (b'{"symbol":"BTC","price":1,"timestamp":[2021]}', Reason.WRONG_TYPE),
}  # fmt: skip


@pytest.mark.parametrize("kind", list(BAD))
def test_bad_input_becomes_a_dead_letter_with_its_reason_and_is_kept_whole(kind: str) -> None:
    value, reason = BAD[kind]
    chunk = chunk_of([GOOD, value, GOOD])

    decoded = make_decoder(tick()).decode(chunk)

    check_invariants(tick(), chunk, decoded)
    assert [(letter.offset, letter.value, letter.reason) for letter in decoded.dead_letters] == [(102, value, reason)]
    assert decoded.table["price"].to_pylist() == [64321.1, 64321.1]


@pytest.mark.parametrize("kind", list(BAD))
def test_one_bad_record_costs_few_of_its_thousands_of_neighbours_the_fast_way(kind: str) -> None:
    value, reason = BAD[kind]
    values: list[bytes | None] = [GOOD] * 4096
    values[1234] = value
    decoded = make_decoder(tick()).decode(chunk_of(values))

    assert [letter.reason for letter in decoded.dead_letters] == [reason]
    assert decoded.table.num_rows == 4095
    assert decoded.slow_records <= 128


@pytest.mark.parametrize("symbol", ["../../etc", "BTC/USDT", "", "x" * 300, "🚀🌕", "a\x00b", "..", "a=b", "ТОК", " "])
def test_odd_symbols_are_values_and_are_not_altered(symbol: str) -> None:
    import json

    assert row(tick(), json.dumps({"symbol": symbol, "price": 1}).encode())["symbol"] == symbol


def test_the_detail_names_the_field_and_what_it_held() -> None:
    assert refusal(tick(), b'{"s":"BTC","price":"market"}') == ("wrong_type", 'price: "market" is not a number')
    assert refusal(tick(), b'{"s":"BTC"}')[1].startswith("price")
    assert refusal(tick(), b'{"s":[],"price":1}')[1].startswith("s: ")


def test_a_detail_has_an_end() -> None:
    _, detail = refusal(tick(), b'{"symbol":"BTC","price":"' + b"x" * 100_000 + b'"}')

    assert len(detail) <= 200


def test_the_headers_of_a_dead_letter_are_kept() -> None:
    chunk = chunk_of([b"x", GOOD])
    headers = [(("trace", b"1"), ("empty", None)), ()]
    with_headers = type(chunk)(
        chunk.source, chunk.start, chunk.end, chunk.offsets, chunk.timestamps, chunk.keys, chunk.values, headers
    )

    (letter,) = make_decoder(tick()).decode(with_headers).dead_letters

    assert letter.headers == (("trace", b"1"), ("empty", None))


def test_in_a_raw_stream_only_a_tombstone_is_a_dead_letter() -> None:
    layout = Layout("raw", "raw", columns_of("raw"), "date={date}")
    values = [b"\xff\x00", b"", None, b"{}", b" "]
    chunk = chunk_of(values)

    decoded = make_decoder(layout).decode(chunk)

    check_invariants(layout, chunk, decoded)
    assert decoded.table["value"].to_pylist() == [b"\xff\x00", b"", b"{}", b" "]
    assert [(letter.offset, letter.reason) for letter in decoded.dead_letters] == [(104, Reason.TOMBSTONE)]


def test_without_a_time_of_its_own_a_message_takes_kafkas_or_is_a_dead_letter_as_configured() -> None:
    value = b'{"symbol":"BTC","price":1}'

    assert row(tick(), value)["timestamp"].timestamp() * 1000 == KAFKA_TIME
    assert refusal(tick(timestamp_fallback="dead-letter"), value)[0] == Reason.MISSING_FIELD
    assert refusal(tick(), value, timestamp=-1)[0] == Reason.MISSING_FIELD
    assert refusal(tick(), value, timestamp=2**62)[0] == Reason.BAD_TIMESTAMP


def test_integers_are_exact_or_refused() -> None:
    def with_count(text: str) -> bytes:
        return f'{{"symbol":"B","price":1,"count":{text}}}'.encode()

    for text in ("7", '"7"', "7.0", "0.7e1", '"007"', '"+7"', "70e-1"):
        assert row(wide_tick(), with_count(text))["count"] == 7
    assert row(wide_tick(), with_count("-9223372036854775808"))["count"] == -(2**63)
    for text in ("9223372036854775808", "1e30", '"99999999999999999999"', "1e999999999999999999999", "9" * 5000):
        assert refusal(wide_tick(), with_count(text))[0] == Reason.OUT_OF_RANGE
    for text in ("1.5", '"1.5"', "1e-1", "true", '"x"', '"1e"', "1e-999999999999"):
        assert refusal(wide_tick(), with_count(text))[0] == Reason.WRONG_TYPE
    assert refusal(wide_tick(), b'{"symbol":"B","price":1,"level":2147483648}')[0] == Reason.OUT_OF_RANGE


def test_more_than_512_features_are_refused() -> None:
    def message(count: int) -> bytes:
        return ('{"symbol":"B",' + ",".join(f'"f{at}":{at}' for at in range(count)) + "}").encode()

    assert len(row(feature(), message(512))["features"]) == 512
    assert refusal(feature(), message(513))[0] == Reason.TOO_MANY_FEATURES
    chunk = chunk_of([message(513)] * 200)
    assert len(make_decoder(feature()).decode(chunk).dead_letters) == 200


def test_a_rule_refuses_rows_and_names_itself() -> None:
    layout = tick(rules=(Rule("price", ">", 0.0), Rule("quantity", "<=", 100.0)))
    values: list[bytes | None] = [
        b'{"symbol":"A","price":1,"quantity":100}',
        b'{"symbol":"A","price":0,"quantity":101}',
        b'{"symbol":"A","price":-2.5}',
        b'{"symbol":"A","price":2}',
        b'{"symbol":"A","price":3,"quantity":1e9}',
    ]

    decoded = make_decoder(layout).decode(chunk_of(values))

    assert decoded.table["price"].to_pylist() == [1.0, 2.0]
    assert [(letter.offset, letter.reason, letter.detail) for letter in decoded.dead_letters] == [
        (102, Reason.RULE, "price > 0 is false for 0.0"),
        (104, Reason.RULE, "price > 0 is false for -2.5"),
        (108, Reason.RULE, "quantity <= 100 is false for 1000000000.0"),
    ]
