"""`streamer query` answers SQL in every format it offers."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from lake_on_disk import Shell, build

pytest.importorskip("duckdb")


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(build(tmp_path / "lake"), capsys)


COUNT = "select symbol, count(*) as n from ticks group by symbol order by symbol"
EXPECTED = [("BTCUSDT", 10), ("ETH/USDT", 11), ("ação", 10)]


def test_a_table_for_people(shell: Shell) -> None:
    status, out = shell.run("query", COUNT)

    assert status == 0
    assert [tuple(line.split("\t")) for line in out.splitlines()] == [("symbol", "n"), *((s, str(n)) for s, n in EXPECTED)]


def test_json_csv_and_parquet_hold_the_same_rows(shell: Shell, tmp_path: Path) -> None:
    _, lines = shell.run("query", COUNT, "--json")
    _, text = shell.run("query", COUNT, "--csv")
    shell.run("query", COUNT, "--parquet", str(tmp_path / "n.parquet"))
    shell.run("query", COUNT, "-o", str(tmp_path / "n.csv"))

    assert [tuple(json.loads(line).values()) for line in lines.splitlines()] == EXPECTED
    assert [(row["symbol"], int(row["n"])) for row in csv.DictReader(io.StringIO(text))] == EXPECTED
    assert [tuple(row.values()) for row in pq.read_table(tmp_path / "n.parquet").to_pylist()] == EXPECTED
    assert (tmp_path / "n.csv").read_text() == text


def test_bars_and_times(shell: Shell) -> None:
    status, out = shell.run(
        "query", "select timestamp, close from bars where symbol = 'BTCUSDT' order by all limit 1", "--json"
    )

    assert status == 0
    assert json.loads(out) == {"timestamp": "2026-01-03T10:00:00.000000Z", "close": 0.0}


def test_a_query_may_come_from_standard_input(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(COUNT))

    status, out = shell.run("query", "-", "--csv")

    assert (status, len(out.splitlines())) == (0, 4)


@pytest.mark.parametrize(
    "arguments",
    [("select nothing from ticks",), ("select 1", "--json", "--csv"), ("select 1", "--parquet", "a", "-o", "b")],
)
def test_mistakes_are_told_apart_from_damage(shell: Shell, arguments: tuple[str, ...]) -> None:
    assert shell.run("query", *arguments)[0] == 2
    for file in shell.lake.glob("raw/**/*.parquet"):
        file.write_bytes(b"damaged")

    assert shell.run("query", COUNT)[0] == 5


def test_no_row_is_an_answer(shell: Shell) -> None:
    assert shell.run("query", "select * from ticks where symbol = 'NONE'", "--csv")[0] == 0
    assert "no row" in shell.err
