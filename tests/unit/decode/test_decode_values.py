"""What values become, in both ways: numbers, strings, times, lists, `extra`, aliases."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from decoding import chunk_of, drops_unknown, quickly, refusal, row, rows_of, same, slowly, tick, wide_tick
from hypothesis import given
from hypothesis import strategies as st

from streamer.decode.times import NANOSECONDS_MAX, parse_epoch, parse_iso
from streamer.layout import Layout
from streamer.records import DeadLetterReason as Reason


def message(**fields: str) -> bytes:
    """A tick with these fields, given as JSON text."""
    return (
        "{" + ",".join(f'"{name}":{text}' for name, text in {"symbol": '"B"', "price": "1", **fields}.items()) + "}"
    ).encode()


def in_columns(layout: Layout, value: bytes) -> None:
    """Both ways take `value`, and make the same row of it."""
    chunk = chunk_of([value])
    quick = quickly(layout, chunk)
    assert quick is not None
    assert same(quick, slowly(layout, chunk))


@pytest.mark.parametrize(
    ("column", "text", "expected"),
    [
        ("price", "64321.10", 64321.1),
        ("price", '"64321.10"', 64321.1),
        ("price", "9.2E-7", 9.2e-7),
        ("price", '"1e-05"', 1e-5),
        ("price", '"-.5"', -0.5),
        ("price", "9007199254740993", 9007199254740992.0),
        ("price", '"123456789012345678901234567890"', 1.2345678901234568e29),
        ("trade_id", '"abc"', "abc"),
        ("trade_id", "12", "12"),
        ("trade_id", "12345678901234567890123456", "12345678901234567890123456"),
        ("bid", '"64321.10"', Decimal("64321.100000000000000000")),
        ("bid", "64321.10", Decimal("64321.100000000000000000")),
        ("bid", '"12345678901234567890.123456789012345678"', Decimal("12345678901234567890.123456789012345678")),
        ("fee", '"0.00012500"', Decimal("0.00012500")),
        ("count", '"12"', 12),
        ("level", "-7", -7),
        ("ratio", "0.1", 0.10000000149011612),
        ("is_maker", "false", False),
        ("day", '"2021-04-17"', date(2021, 4, 17)),
        ("blob", '"\\u00e9"', b"\xc3\xa9"),
        ("tags", '["a",null,"b"]', ["a", None, "b"]),
        ("sizes", '["1.5","2"]', [1.5, 2.0]),
        ("sizes", "[1.5,null]", [1.5, None]),
    ],
)
def test_values_convert_in_columns_and_one_by_one(column: str, text: str, expected: object) -> None:
    value = message(**{column: text})

    assert row(wide_tick(), value)[column] == expected
    in_columns(wide_tick(), value)


@pytest.mark.parametrize(
    ("column", "text", "expected"),
    [
        ("trade_id", "1.10", "1.10"),
        ("trade_id", "-0", "-0"),
        ("trade_id", "1e3", "1e3"),
        ("trade_id", "9" * 60, "9" * 60),
        ("bid", "1e-05", Decimal("0.000010000000000000")),
        ("bid", '"1.50000000000000000000000"', Decimal("1.500000000000000000")),
        ("count", "1e3", 1000),
        ("symbol", "600519", "600519"),
        ("timestamp", "1618677785116e0", datetime(2021, 4, 17, 16, 43, 5, 116000, tzinfo=UTC)),
        ("tags", "[1.10]", ["1.10"]),
    ],
)
def test_rarer_forms_convert_too(column: str, text: str, expected: object) -> None:
    value = message(**{column: text})

    assert row(wide_tick(), value)[column] == expected
    quick = quickly(wide_tick(), chunk_of([value]))
    assert quick is None or same(quick, slowly(wide_tick(), chunk_of([value])))


@pytest.mark.parametrize(
    ("column", "text", "reason"),
    [
        ("bid", '"0.1234567890123456789"', Reason.WRONG_TYPE),
        ("bid", "123456789012345678901", Reason.OUT_OF_RANGE),
        ("bid", "123456789012345678901234567890", Reason.OUT_OF_RANGE),  # pyarrow alone makes 46509284486016680345.8 of it
        ("bid", "340282366920938463463374607431768211456", Reason.OUT_OF_RANGE),
        ("fee", "12345678901", Reason.OUT_OF_RANGE),
        ("ratio", "3.5e38", Reason.OUT_OF_RANGE),
        ("is_maker", "1", Reason.WRONG_TYPE),
        ("is_maker", '"true"', Reason.WRONG_TYPE),
        ("day", '"2021-02-30"', Reason.BAD_TIMESTAMP),
        ("day", "20210417", Reason.WRONG_TYPE),
        ("blob", "1", Reason.WRONG_TYPE),
        ("tags", '"a"', Reason.WRONG_TYPE),
        ("tags", "[[]]", Reason.WRONG_TYPE),
        ("sizes", '["x"]', Reason.WRONG_TYPE),
        ("received", '"2262-04-12"', Reason.BAD_TIMESTAMP),
    ],
)
def test_what_does_not_convert_exactly_is_refused_in_an_optional_column_too(column: str, text: str, reason: Reason) -> None:
    assert refusal(wide_tick(), message(**{column: text}))[0] == reason
    assert quickly(wide_tick(), chunk_of([message(**{column: text})])) is None


TIMES = {
    "1618678142": (1618678142 * 10**9, True),
    "1618678142.557535": (1618678142557535000, True),
    '"1618678142.557535"': (1618678142557535000, True),
    "1618677785116": (1618677785116000000, True),
    '"1618677785116"': (1618677785116000000, True),
    '"1619093543708.2642"': (1619093543708264200, True),
    "1618677785116123": (1618677785116123000, True),
    "1546383600078000128": (1546383600078000128, True),
    "1618677785116.1234569": (1618677785116123456, False),
    "0": (0, True),
    "99999999999": (None, False),  # seconds, in the year 5138
    "100000000000": (100000000000 * 10**6, True),
    '"2021-04-17T16:43:30.244075Z"': (1618677810244075000, True),
    '"2022-01-01 00:00:00.000000"': (1640995200 * 10**9, True),
    '"2021-04-17T18:43:30.244075123+02:00"': (1618677810244075123, True),
    '"2021-04-17"': (1618617600 * 10**9, True),
    '"2021-04-17T16:43"': (1618677780 * 10**9, True),
    '"2021-04-17T16:43:30z"': (1618677810 * 10**9, False),
    '"2262-04-11T23:47:16.854775807Z"': (NANOSECONDS_MAX, False),
    '"2262-04-11T23:47:16.854775808Z"': (None, False),
    '"1970-01-01T00:00:00+01:00"': (None, False),
    '"1677-09-21T00:12:43.145224193+23:59"': (None, False),
    '"2021-04-17T16:43:60Z"': (None, False),
    '"2021-04-17T24:00:00Z"': (None, False),
}


@pytest.mark.parametrize("resolution", ["us", "ns"])
@pytest.mark.parametrize("text", list(TIMES))
def test_times_in_every_unit_come_out_exact(text: str, resolution: str) -> None:
    nanoseconds, columnar = TIMES[text]
    layout = wide_tick(timestamp=f"timestamp[{resolution}, UTC]")
    value = message(timestamp=text)

    if nanoseconds is None:
        assert refusal(layout, value)[0] == Reason.BAD_TIMESTAMP
        assert quickly(layout, chunk_of([value])) is None
        return
    decoded = slowly(layout, chunk_of([value]))
    found = decoded.table["timestamp"].cast(pa.int64()).to_pylist()
    assert found == [nanoseconds // (1000 if resolution == "us" else 1)]
    if columnar:
        in_columns(layout, value)


@given(
    st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2262, 1, 1)),
    st.integers(-1439, 1439),
    st.sampled_from("T "),
)
def test_iso_texts_mean_what_python_says(moment: datetime, offset_minutes: int, separator: str) -> None:
    zone = f"{'-' if offset_minutes < 0 else '+'}{abs(offset_minutes) // 60:02d}:{abs(offset_minutes) % 60:02d}"
    utc = moment - timedelta(minutes=offset_minutes)
    microseconds = (utc - datetime(1970, 1, 1)) // timedelta(microseconds=1)

    assert parse_iso(moment.isoformat(separator) + zone) == (microseconds * 1000 if microseconds >= 0 else None)


@given(st.decimals(min_value=0, max_value=10**19, allow_nan=False, places=9), st.booleans())
def test_epoch_numbers_are_cut_off_and_never_rounded(number: Decimal, exponent: bool) -> None:
    scale = 9 if number < 10**11 else 6 if number < 10**14 else 3 if number < 10**17 else 0
    expected = (int(number.scaleb(9)) * 10**scale) // 10**9

    assert parse_epoch(f"{number:e}" if exponent else str(number)) == (expected if expected <= NANOSECONDS_MAX else None)


def test_a_number_of_a_million_digits_is_refused_in_no_time() -> None:
    for text in ("9" * 1_000_000, "1e999999999", "1e-999999999", "0." + "1" * 1_000_000):
        for column in ("timestamp", "count", "bid"):
            decoded = slowly(wide_tick(), chunk_of([message(**{column: text})]))
            assert decoded.table.num_rows + len(decoded.dead_letters) == 1


def test_unknown_fields_are_kept_with_their_exact_text_in_the_order_of_the_message() -> None:
    value = b'{"z":1.10,"symbol":"B","b":[1, 2],"price":1,"a":{"x" : 1e5},"n":null,"\\u00e9":"\\u0041"}'

    assert row(tick(), value)["extra"] == '{"z":1.10,"b":[1, 2],"a":{"x" : 1e5},"n":null,"é":"\\u0041"}'
    assert slowly(tick(), chunk_of([value])).unknown_fields == ("a", "b", "n", "z", "é")


def test_extra_is_null_without_unknown_fields() -> None:
    assert row(tick(), b'{"symbol":"B","price":1,"side":null}')["extra"] is None


def test_a_column_takes_its_own_name_before_its_aliases_and_what_loses_is_kept() -> None:
    value = b'{"s":"S","ticker":"TICKER","price":1,"size":2,"quantity":null,"volume":3,"T":5,"ts":"1618678142"}'

    found = row(tick(), value)

    assert (found["symbol"], found["quantity"], found["timestamp"]) == ("TICKER", 3.0, datetime.fromtimestamp(1618678142, UTC))
    assert found["extra"] == '{"s":"S","size":2,"T":5}'


def test_of_a_field_that_is_there_twice_the_last_counts() -> None:
    assert row(tick(), b'{"symbol":"A","price":1,"price":2,"symbol":"B"}')["price"] == 2.0
    assert row(tick(), b'{"symbol":"A","price":1,"z":1,"y":2,"z":3}')["extra"] == '{"z":3,"y":2}'


def test_dropped_fields_are_counted_alike_in_both_ways() -> None:
    layout = drops_unknown()
    chunk = chunk_of([b'{"symbol":"B","price":1,"timestamp":1618678142,"zz":1.5,"m":true,"e":"x","n":null}'] * 5)

    quick, slow = quickly(layout, chunk), slowly(layout, chunk)

    assert quick is not None
    assert same(quick, slow)
    assert (slow.dropped_fields, slow.unknown_fields) == (15, ("e", "m", "zz"))


def test_messages_over_several_lines_or_with_a_newline_behind_them_are_fine() -> None:
    values: list[bytes | None] = [
        b'{"symbol":"A","price":1}\n',
        b'\r\n{"symbol":"B","price":2} ',
        b'{"symbol":"C",\n  "price":3\n}',
    ]

    decoded = slowly(tick(), chunk_of(values))

    assert decoded.table["symbol"].to_pylist() == ["A", "B", "C"]
    quick = quickly(tick(), chunk_of(values[:2]))
    assert quick is not None
    assert rows_of(quick.table) == rows_of(decoded.table.slice(0, 2))


def test_every_row_carries_its_place_in_kafka_and_the_checksum_of_its_record() -> None:
    import zlib

    chunk = chunk_of([b'{"symbol":"A","price":1}', b"x", b'{"symbol":"B","price":2}'], [5, 6, -1])

    table = slowly(tick(timestamp_fallback="kafka"), chunk_of(chunk.values, [5, 6, 7])).table

    assert table["_partition"].to_pylist() == [3, 3]
    assert table["_offset"].to_pylist() == [100, 104]
    assert table["_key"].to_pylist() == [None, b"k2"]
    assert table["_timestamp"].cast(pa.int64()).to_pylist() == [5, 7]
    assert table["_crc"].to_pylist() == [zlib.crc32(chunk.values[0] or b""), zlib.crc32(b"k2" + (chunk.values[2] or b""))]


def test_kafka_without_a_time_leaves_the_systems_column_empty() -> None:
    value = json.dumps({"symbol": "A", "price": 1, "timestamp": 5}).encode()

    assert slowly(tick(), chunk_of([value], [-1])).table["_timestamp"].to_pylist() == [None]


def test_a_number_that_would_wrap_around_is_found_even_where_its_field_is_spelt_with_escapes() -> None:
    for name in (b"bid", rb"b\u0069d"):
        value = b'{"symbol":"B","price":1,"' + name + b'":123456789012345678901234567890}'
        assert quickly(wide_tick(), chunk_of([message(bid="1.5"), value, message(bid="1.5")])) is None
        assert refusal(wide_tick(), value)[0] == Reason.OUT_OF_RANGE


def test_exponents_and_long_ids_elsewhere_do_not_hinder_decimals() -> None:
    value = message(bid="1.5", price="1e-05", trade_id="12345678901234567890123456", timestamp="1618678142.557535")

    in_columns(wide_tick(), value)


@pytest.mark.parametrize(
    ("usual", "odd"),
    [
        ({"count": '"7"'}, {"count": '"0x10"'}),
        ({"count": '"7"'}, {"count": '"9223372036854775808"'}),
        ({"bid": '"1.5"'}, {"bid": '"1e25"'}),
        ({"bid": '"1.5"'}, {"bid": '"1298074214633706907132624082305024"'}),  # 2**110: times 10**18 it is 0 modulo 2**128
        ({"bid": "1.5"}, {"bid": "1298074214633706907132624082305024"}),
        ({"fee": '"1.5"'}, {"fee": '"12345678901.5"'}),
        ({"price": '"1.5"'}, {"price": '"nan"'}),
        ({"trade_id": "7"}, {"trade_id": "-0"}),
        ({"trade_id": "12345678901234567890"}, {"trade_id": "-0"}),
        ({"trade_id": "12345678901234567890"}, {"trade_id": "1e30"}),
        ({"timestamp": "1618677785116.5"}, {"timestamp": "1618678142.5"}),
        ({"timestamp": "1618678142.5"}, {"timestamp": "1618677785116.5"}),
        ({"timestamp": "1618678142.5"}, {"timestamp": "-1.5"}),
        ({"timestamp": "1618678142"}, {"timestamp": "1618677785116"}),
        ({"timestamp": "1618678142"}, {"timestamp": "99999999999"}),
        ({"timestamp": '"2021-04-17T16:43:30Z"'}, {"timestamp": '"1969-12-31T23:59:59Z"'}),
        ({"timestamp": '"2021-04-17T16:43:30Z"'}, {"timestamp": '"9999-12-31T23:59:59Z"'}),
        ({"timestamp": '"2021-04-17T16:43:30Z"'}, {"timestamp": '"2021-04-17T16:43:30.123456789Z"'}),
        ({"timestamp": '"2021-04-17T16:43:30.123456789Z"'}, {"timestamp": '"1960-01-01T00:00:00Z"'}),
        ({"day": '"2021-04-17"'}, {"day": '"0000-01-01"'}),
        ({"ratio": "1.5"}, {"ratio": "3.5e38"}),
        ({"sizes": '["1.5"]'}, {"sizes": '["inf"]'}),
    ],
)
def test_an_odd_value_among_usual_ones_is_read_as_if_it_were_alone(usual: dict[str, str], odd: dict[str, str]) -> None:
    layout = wide_tick(timestamp="timestamp[ns, UTC]")
    values: list[bytes | None] = [message(**usual)] * 6
    values[1] = message(**odd)  # the columnar way takes its samples elsewhere
    chunk = chunk_of(values)

    quick = quickly(layout, chunk)

    assert quick is None or same(quick, slowly(layout, chunk))
    assert quickly(layout, chunk_of([value for at, value in enumerate(values) if at != 1])) is not None


def test_two_documents_in_one_value_do_not_make_up_for_a_value_without_any() -> None:
    good = message()
    chunk = chunk_of([good, good + message(price="2"), b"  ", good, good, good])

    assert quickly(tick(), chunk) is None
    decoded = slowly(tick(), chunk)
    assert [(letter.offset, letter.reason) for letter in decoded.dead_letters] == [(102, "invalid_json"), (104, "empty")]
    assert decoded.table["_offset"].to_pylist() == [100, 106, 108, 110]
