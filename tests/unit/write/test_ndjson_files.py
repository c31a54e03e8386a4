"""NDJSON files: every row a line that any JSON reader takes, nothing rounded, the same bytes however the rows are divided."""

from __future__ import annotations

import base64
import gzip
import json
import math
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from decoded_tables import BUDGET, MIDNIGHT_US, decoded, divided, layout, row_lists
from hypothesis import given
from hypothesis import strategies as st

from streamer.layout import CRC_COLUMN, Column, Layout
from streamer.write.compression import Compression
from streamer.write.ndjson import BLOCK_ROWS, NdjsonEncoder


def _rows(rows: list[dict[str, Any]], of: Layout | None = None) -> pa.Table:
    return decoded(of or layout(), rows).drop_columns([CRC_COLUMN])


def _text(body: bytes, compression: Compression) -> str:
    plain = gzip.decompress(body) if compression == "gz" else pa.CompressedInputStream(pa.py_buffer(body), "zstd").read()
    return plain.decode()


def _lines(table: pa.Table, compression: Compression = "gz") -> list[dict[str, Any]]:
    text = _text(NdjsonEncoder(table.schema, compression).encode(table, {}), compression)
    assert not text or text.endswith("\n")
    return [json.loads(line, parse_constant=pytest.fail) for line in text.split("\n")[:-1]]


def _float(value: float | str | None) -> float | None:
    return None if value is None else float(value)


def _same(one: float | None, other: float | None) -> bool:
    return one == other or (one is not None and other is not None and math.isnan(one) and math.isnan(other))


@BUDGET
@given(row_lists(), st.sampled_from(["gz", "zst"]))
def test_every_value_is_read_back_exactly(rows: list[dict[str, Any]], compression: Compression) -> None:
    lines = _lines(_rows(rows), compression)

    assert len(rows) == len(lines)
    for row, line in zip(rows, lines, strict=True):
        assert list(line) == layout().arrow_schema.names
        for name in ("symbol", "exchange", "is_maker", "level", "tags", "_offset"):
            assert row[name] == line[name]
        assert _same(row["price"], _float(line["price"]))
        assert row["expiry"] == (line["expiry"] and date.fromisoformat(line["expiry"]))
        assert row["amount"] == (line["amount"] and Decimal(line["amount"]))
        assert row["_key"] == (None if line["_key"] is None else base64.b64decode(line["_key"]))
        assert (row["extra"] and json.loads(row["extra"])) == line["extra"]
        assert (row["features"] is None) == (line["features"] is None)
        for name, value in row["features"] or ():
            assert _same(value, _float(line["features"][name]))


@BUDGET
@given(row_lists(), st.lists(st.integers(0, 9), max_size=6), st.sampled_from(["gz", "zst"]))
def test_a_file_is_byte_for_byte_the_same_however_its_rows_are_divided(
    rows: list[dict[str, Any]], sizes: list[int], compression: Compression
) -> None:
    table = _rows(rows)
    encoder = NdjsonEncoder(table.schema, compression)

    assert encoder.encode(table, {}) == encoder.encode(pa.concat_tables(divided(table, sizes)), {})


@pytest.mark.parametrize("compression", ["gz", "zst"])
def test_a_file_of_several_blocks_holds_every_row_once_and_in_order(compression: Compression) -> None:
    table = _rows([{"symbol": f"S{n}"} for n in range(2 * BLOCK_ROWS + 5)])
    divided_table = pa.concat_tables(divided(table, [1000, 1, 3000]))

    assert list(range(2 * BLOCK_ROWS + 5)) == [line["_offset"] for line in _lines(table, compression)]
    encoder = NdjsonEncoder(table.schema, compression)
    assert encoder.encode(table, {}) == encoder.encode(divided_table, {})


@pytest.mark.parametrize(
    ("unit", "ticks", "text"),
    [
        ("us", MIDNIGHT_US + 1, "2024-01-01T00:00:00.000001Z"),
        ("ns", MIDNIGHT_US * 1000 + 1, "2024-01-01T00:00:00.000000001Z"),
        ("us", 0, "1970-01-01T00:00:00.000000Z"),
    ],
)
def test_a_time_has_all_digits_of_its_unit_and_says_that_it_is_utc(unit: str, ticks: int, text: str) -> None:
    of = Layout("s", "signal", (Column("timestamp", f"timestamp[{unit}, UTC]"),), "date={date}", "ndjson.gz")

    assert text == _lines(_rows([{"timestamp": ticks}], of))[0]["timestamp"]


@BUDGET
@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5))
def test_kafkas_time_is_a_number_where_no_calendar_has_it(timestamps: list[int | None]) -> None:
    for given_, line in zip(timestamps, _lines(_rows([{"_timestamp": t} for t in timestamps])), strict=True):
        if given_ is None or not 0 <= given_ < 253_402_300_800_000:
            assert line["_timestamp"] == given_
        else:
            assert line["_timestamp"].endswith("Z")
            seconds, millis = divmod(given_, 1000)
            moment = timedelta(seconds=seconds)
            assert f".{millis:03d}Z" == line["_timestamp"][-5:]
            assert line["_timestamp"][:10] == (date(1970, 1, 1) + moment).isoformat()


def test_numbers_of_extra_keep_every_digit_and_stay_on_their_line() -> None:
    table = _rows([{"extra": '{"id":12345678901234567890.10,\r\n "x": {"b":1, "a":"\\n"}}'}])
    text = _text(NdjsonEncoder(table.schema, "gz").encode(table, {}), "gz")

    assert text.count("\n") == 1
    assert '"extra":{"id":12345678901234567890.10,   "x": {"b":1, "a":"\\n"}}' in text


def test_decimals_are_plain_digits() -> None:
    lines = _lines(_rows([{"amount": Decimal("0.000000000000000001")}, {"amount": Decimal(-2)}]))

    assert [line["amount"] for line in lines] == ["0.000000000000000001", "-2.000000000000000000"]


def test_bytes_of_a_raw_stream_are_base64() -> None:
    of = Layout("ws", "raw", (Column("value", "binary"),), "date={date}", "ndjson.gz")
    table = pa.table(
        [pa.array([v], f.type) for v, f in zip([b"\xff\x00", 3, 0, 0, None], of.arrow_schema, strict=True)],
        schema=of.arrow_schema,
    )

    assert _lines(table)[0] == {
        "value": "/wA=",
        "_partition": 3,
        "_offset": 0,
        "_timestamp": "1970-01-01T00:00:00.000Z",
        "_key": None,
    }


def test_gzip_names_no_time_and_no_file() -> None:
    body = NdjsonEncoder(_rows([]).schema, "gz").encode(_rows([{}]), {})

    magic_deflate_no_flags, mtime = body[:4], body[4:8]
    assert magic_deflate_no_flags == b"\x1f\x8b\x08\x00"
    assert mtime == bytes(4)


@pytest.mark.parametrize("compression", ["gz", "zst"])
def test_duckdb_reads_the_lines(tmp_path: Path, compression: Compression) -> None:
    table = _rows([{"symbol": f"S{n}", "price": n / 4} for n in range(10)])
    path = tmp_path / f"f.ndjson.{compression}"
    path.write_bytes(NdjsonEncoder(table.schema, compression).encode(table, {}))

    found = duckdb.sql(
        f"SELECT symbol, price, _offset, epoch_us(timestamp) FROM read_ndjson('{path}') ORDER BY _offset"
    ).fetchall()
    assert [(f"S{n}", n / 4, n, MIDNIGHT_US) for n in range(10)] == found
