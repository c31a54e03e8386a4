"""`streamer scan` writes the rows asked for in every format it offers."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lake_on_disk import Shell, build

from streamer.cli.row_writers import open_writer
from tests.unit.lake_reader.reader_lake import build_on_disk


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(build(tmp_path / "lake"), capsys)


def test_a_table_shows_twenty_rows_and_says_that_there_may_be_more(shell: Shell) -> None:
    status, out = shell.run("scan", "ticks", "--columns", "symbol,_offset")

    assert status == 0
    assert len(out.splitlines()) == 21
    assert out.splitlines()[0] == "symbol\t_offset"
    assert "--limit" in shell.err


def test_rows_are_filtered_by_symbol_and_day(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "rows.ndjson"
    day = ("--start", "2026-01-04", "--end", "2026-01-04")

    status, _ = shell.run("scan", "ticks", "--symbol", "ETH/USDT", *day, "-o", str(path))

    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert status == 0
    assert [row["_offset"] for row in rows] == [16, 19, 25, 28, 31, 34, 37]
    assert rows[0]["timestamp"] == "2026-01-04T02:00:00.000000Z"
    assert rows[0]["_key"] == "key"
    assert rows[0]["extra"] == '{"n":16.10}'


def test_csv_and_parquet_hold_the_same_rows(shell: Shell, tmp_path: Path) -> None:
    shell.run("scan", "ticks", "-o", str(tmp_path / "rows.csv"))
    shell.run("scan", "ticks", "-o", str(tmp_path / "rows.parquet"))

    with (tmp_path / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = pq.read_table(tmp_path / "rows.parquet")

    assert len(rows) == table.num_rows == 31
    assert [int(row["_offset"]) for row in rows] == table["_offset"].to_pylist()
    assert [row["symbol"] for row in rows] == table["symbol"].to_pylist()


@pytest.mark.parametrize(
    "arguments",
    [
        ("scan", "tocks"),
        ("scan", "ticks", "--columns", "no"),
        ("scan", "ticks", "--start", "soon"),
        ("scan", "ticks", "--format", "xml"),
    ],
)
def test_what_cannot_be_is_a_mistake_of_the_command_line(shell: Shell, arguments: tuple[str, ...]) -> None:
    assert shell.run(*arguments)[0] == 2


def test_no_row_is_an_answer(shell: Shell) -> None:
    status, out = shell.run("scan", "ticks", "--symbol", "NONE", "--format", "json")

    assert (status, out) == (0, "")
    assert "no row" in shell.err


def test_a_scan_that_breaks_off_leaves_no_file_that_looks_done(shell: Shell, tmp_path: Path) -> None:
    for file in sorted(shell.lake.glob("raw/**/*.parquet"))[-1:]:
        file.write_bytes(b"damaged")
    path = tmp_path / "rows.parquet"

    status, _ = shell.run("scan", "ticks", "-o", str(path))

    assert status == 5
    assert list(tmp_path.glob("rows*")) == []


def test_nested_columns_and_nanoseconds_have_a_text_in_csv_and_json(tmp_path: Path) -> None:
    schema = pa.schema(
        [
            ("m", pa.map_(pa.string(), pa.float64())),
            ("l", pa.list_(pa.float64())),
            ("t", pa.timestamp("ns", "UTC")),
            ("d", pa.decimal128(38, 18)),
            ("v", pa.binary()),
        ]
    )
    columns = [[[("a", 1.5)], None], [[1.0], []], [1, None], ["1.5", None], [b"\xff", b"x"]]
    arrays = [pa.array(v, f.type) if f.name != "d" else pa.array(v).cast(f.type) for v, f in zip(columns, schema, strict=True)]
    batch = pa.record_batch(arrays, schema=schema)

    texts = {}
    for name in ("csv", "json"):
        with open_writer(name, schema, tmp_path / name) as writer:
            writer.write(batch)
        texts[name] = (tmp_path / name).read_text()

    first = json.loads(texts["json"].splitlines()[0])
    assert first == {
        "m": {"a": 1.5},
        "l": [1.0],
        "t": "1970-01-01T00:00:00.000000001Z",
        "d": "1.500000000000000000",
        "v": "/w==",
    }
    row = next(csv.DictReader(io.StringIO(texts["csv"])))
    assert (row["m"], row["l"], row["t"], row["v"]) == ('{"a":1.5}', "[1.0]", first["t"], "/w==")


def test_a_closed_day_comes_from_the_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = build_on_disk(tmp_path / "lake", closed=True)

    Shell(tmp_path / "lake", capsys).run("scan", "ticks", "-o", str(tmp_path / "rows.parquet"))

    found = pq.read_table(tmp_path / "rows.parquet")
    assert sorted(found["_offset"].to_pylist()) == [row["_offset"] for row in expected]
    assert found.column_names == list(expected[0])
