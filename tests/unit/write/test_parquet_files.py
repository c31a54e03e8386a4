"""Parquet files: pyarrow and DuckDB read the rows back, chunking does not show, encodings are the promised ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from decoded_tables import BUDGET, COLUMNS, DAY_US, MIDNIGHT_US, decoded, divided, layout, row_lists
from hypothesis import given
from hypothesis import strategies as st

from streamer.layout import CRC_COLUMN, Column, Layout
from streamer.write.parquet import ParquetEncoder

FACTS = {"version": "1", "topic": "ticks"}


def _rows(rows: list[dict[str, Any]], of: Layout | None = None) -> pa.Table:
    return decoded(of or layout(), rows).drop_columns([CRC_COLUMN])


def _file(table: pa.Table) -> pq.ParquetFile:
    return pq.ParquetFile(pa.BufferReader(ParquetEncoder(table.schema).encode(table, FACTS)))


@BUDGET
@given(row_lists(), st.lists(st.integers(0, 9), max_size=6))
def test_a_file_is_byte_for_byte_the_same_however_its_rows_are_divided(rows: list[dict[str, Any]], sizes: list[int]) -> None:
    table = _rows(rows)
    encoder = ParquetEncoder(table.schema)

    assert encoder.encode(table, FACTS) == encoder.encode(pa.concat_tables(divided(table, sizes)), FACTS)


def test_a_file_of_many_pages_is_the_same_however_its_rows_are_divided() -> None:
    table = _rows([{"symbol": f"S{n % 97}", "exchange": f"{n * 7919 % 100_003}" * 9, "price": n / 3} for n in range(30_000)])
    encoder = ParquetEncoder(table.schema)

    whole = encoder.encode(table, FACTS)
    assert whole == encoder.encode(pa.concat_tables(divided(table, [777] * 30)), FACTS)
    assert whole == encoder.encode(pa.concat_tables([table.slice(0, 3), table]).slice(3), FACTS)


@BUDGET
@given(row_lists())
def test_pyarrow_reads_the_rows_back_in_one_row_group(rows: list[dict[str, Any]]) -> None:
    table = _rows(rows)
    file = _file(table)

    assert file.metadata.num_row_groups == (1 if rows else file.metadata.num_row_groups)
    back = file.read()
    assert back.schema.equals(table.schema)
    assert str(table.to_pylist()) == str(back.to_pylist())  # as text, because a NaN equals nothing


def test_duckdb_reads_the_rows_back(tmp_path: Path) -> None:
    rows = [
        {"symbol": f"S{n}", "exchange": None if n % 3 else "x", "timestamp": MIDNIGHT_US + n * DAY_US, "level": n}
        for n in range(50)
    ]
    table = _rows(rows)
    path = tmp_path / "f.parquet"
    path.write_bytes(ParquetEncoder(table.schema).encode(table, FACTS))

    columns = "symbol, exchange, level, epoch_us(timestamp) AS t, _offset"
    found = duckdb.sql(f"SELECT {columns} FROM '{path}' ORDER BY _offset").fetchall()
    assert [(row["symbol"], row["exchange"], row["level"], row["timestamp"], n) for n, row in enumerate(rows)] == found


def test_encodings_are_those_that_every_reader_knows() -> None:
    columns = (*COLUMNS, Column("side", "string"), Column("trade_id", "string"), Column("n", "int64"))
    file = _file(
        _rows(
            [{"features": [("a", 1.0)], "side": "buy", "trade_id": str(n), "n": n} for n in range(100)], layout(columns=columns)
        )
    )

    chunks = [file.metadata.row_group(0).column(at) for at in range(file.metadata.num_columns)]
    encodings = {chunk.path_in_schema: set(chunk.encodings) - {"RLE"} for chunk in chunks}
    dictionary = {name for name, used in encodings.items() if "RLE_DICTIONARY" in used}
    delta = {name for name, used in encodings.items() if used == {"DELTA_BINARY_PACKED"}}
    assert dictionary == {"symbol", "exchange", "side", "features.key_value.key"}
    assert delta == {"level", "expiry", "n", "timestamp", "_partition", "_offset", "_timestamp"}
    assert all(used == {"PLAIN"} for name, used in encodings.items() if name not in dictionary | delta)
    assert {"ZSTD"} == {chunk.compression for chunk in chunks}


def test_an_integer_regime_needs_no_dictionary() -> None:
    of = Layout("signals", "signal", (Column("regime", "int64"), Column("timestamp", "timestamp[ns, UTC]")), "date={date}")
    table = _rows([{"regime": 3, "timestamp": 1}], of)

    assert _file(table).read()["regime"].to_pylist() == [3]


def test_the_footer_names_the_batchs_facts_and_nothing_of_the_machine() -> None:
    footer = _file(_rows([{}])).metadata

    assert {name: value for name, value in footer.metadata.items() if name != b"ARROW:schema"} == {
        b"streamer.version": b"1",
        b"streamer.topic": b"ticks",
    }
    assert footer.created_by.startswith("parquet-cpp-arrow")


def test_a_column_may_have_any_name_that_a_layout_allows() -> None:
    names = ("a.b", "x y", "é", "features.key_value.key", "features.key_value.value", "'\"")
    columns = (*COLUMNS, *(Column(name, "int64") for name in names))
    table = _rows([dict.fromkeys(names, 7) | {"features": [("f", 1.0)]}], layout(columns=columns))

    assert _file(table).read().to_pylist() == table.to_pylist()
