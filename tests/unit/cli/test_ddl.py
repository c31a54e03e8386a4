"""`streamer ddl` prints statements that engines understand; DuckDB's are run here, Spark's in tests/live."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from lake_on_disk import Shell

from streamer import Lake
from streamer.errors import Invalid
from streamer.lake.ddl import StreamTable, ddl
from tests.unit.lake_reader.reader_lake import DAY, build_on_disk

COLUMNS = pa.schema(
    [
        ("symbol", pa.string()),
        ("price", pa.decimal128(38, 18)),
        ("features", pa.map_(pa.string(), pa.float64())),
        ("timestamp", pa.timestamp("us", "UTC")),
        ("_offset", pa.int64()),
    ]
)
TABLE = StreamTable("ticks", COLUMNS, "symbol={symbol}/date={date}", "parquet", "timestamp", date(2026, 1, 3))


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("template", ["symbol={symbol}/date={date}", "date={date}"])
def test_duckdb_sees_every_row_once(tmp_path: Path, capsys: pytest.CaptureFixture[str], closed: bool, template: str) -> None:
    duckdb = pytest.importorskip("duckdb")
    expected = build_on_disk(tmp_path / "lake", closed=closed, template=template)

    status, statements = Shell(tmp_path / "lake", capsys).run("ddl", "--engine", "duckdb")

    connection = duckdb.connect()
    connection.execute(statements)
    names = ", ".join(expected[0])
    found = connection.sql(f"SELECT {names} FROM ticks ORDER BY timestamp, _partition, _offset").to_arrow_table().to_pylist()
    days = connection.sql('SELECT DISTINCT "date" AS d FROM ticks ORDER BY d').fetchall()
    bars = connection.sql("SELECT * FROM bars ORDER BY timestamp, symbol").to_arrow_table().to_pylist()
    connection.close()
    assert status == 0
    with Lake.open(str(tmp_path / "lake"), cache=None) as lake:
        own = lake.bars(interval="1m").to_pylist()
    assert bars == [{**bar, "date": bar["timestamp"].date()} for bar in own]
    assert len(expected) == 180
    assert found == expected
    assert [day for (day,) in days] == [date(2026, 1, 3), date(2026, 1, 4), date(2026, 1, 5)]


def test_athena_gets_projected_partitions_and_its_own_types() -> None:
    text = ddl("athena", "s3://bucket/lake", [TABLE])

    assert "PARTITIONED BY (`symbol` string, `date` string)" in text
    assert "'projection.symbol.type' = 'injected'" in text
    assert "'projection.date.range' = '2026-01-03,NOW'" in text
    assert "'storage.location.template' = 's3://bucket/lake/raw/ticks/symbol=${symbol}/date=${date}/'" in text
    assert "`price` decimal(38,18)" in text
    assert "`features` map<string,double>" in text
    assert "`timestamp` timestamp" in text
    assert text.count("`symbol`") == 1  # a column cannot be a partition too


def test_trino_gets_its_own_spelling() -> None:
    text = ddl("trino", "s3://bucket/lake", [TABLE])

    assert "partitioned_by = ARRAY['symbol', 'date']" in text
    assert '"features" map(varchar, double)' in text
    assert "partition_projection_type = 'INJECTED'" in text


def test_what_an_engine_cannot_read_is_said() -> None:
    with pytest.raises(Invalid, match="no DDL"):
        ddl("oracle", "s3://b", [TABLE])
    with pytest.raises(Invalid, match="buckets"):
        ddl("athena", "file:///lake", [TABLE])
    assert "ndjson.gz" in ddl("spark", "s3://b", [StreamTable("x", COLUMNS, "", "ndjson.gz", "timestamp", DAY)])


def test_an_unknown_stream_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build_on_disk(tmp_path / "lake", closed=False)

    assert Shell(tmp_path / "lake", capsys).run("ddl", "tocks")[0] == 2
