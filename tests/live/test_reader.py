"""The reader library over a real S3 server, and other engines over a lake that the daemon wrote."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pytest

from streamer import AsyncLake, Lake
from streamer.clock import SystemClock
from streamer.store.open import create_place, open_store
from streamer.store.s3_settings import S3Settings
from tests.live.conftest import S3Server, absent
from tests.live.daemons import Daemon, Ledger
from tests.unit.lake_reader.reader_lake import DAY, build_on_disk, close_day, set_through, three_days, utc


@pytest.fixture
def bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket with three days of ticks, the first one closed."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    name = f"reader-{uuid.uuid4().hex[:10]}"
    settings = S3Settings(
        region="us-east-1",
        endpoint_url=s3_server.endpoint,
        access_key_id=s3_server.access_key,
        secret_access_key=s3_server.secret_key,
    )

    async def fill() -> None:
        await create_place(f"s3://{name}", settings, SystemClock())
        store = open_store(f"s3://{name}/some/prefix", settings, SystemClock())
        await store.prepare()
        await three_days(store)
        await set_through(store, utc(4, 1))
        await close_day(store, DAY)
        await store.close()

    asyncio.run(fill())
    yield f"s3://{name}/some/prefix"
    client = boto3.resource(
        "s3",
        endpoint_url=s3_server.endpoint,
        aws_access_key_id=s3_server.access_key,
        aws_secret_access_key=s3_server.secret_key,
        region_name="us-east-1",
    )
    client.Bucket(name).objects.delete()
    client.Bucket(name).delete()


def test_everything_is_read_from_a_bucket_and_the_second_time_from_the_cache(bucket: str, tmp_path: Path) -> None:
    with Lake.open(bucket, cache=tmp_path) as lake:
        rows = lake.ticks("BTCUSDT", "2026-01-03", "2026-01-05")
        assert len(rows) > 60
        assert rows["timestamp"].to_pylist() == sorted(rows["timestamp"].to_pylist())
        assert lake.bars("BTCUSDT", "1h", "2026-01-03", "2026-01-05").num_rows > 30
        assert lake.cache.stats().memory_hits + lake.cache.stats().disk_hits < lake.cache.stats().misses
        [counted] = lake.sql("SELECT count(*) AS n FROM ticks WHERE symbol = 'BTCUSDT' AND date < '2026-01-05'").to_pylist()
        assert counted["n"] == len(rows)
        assert set(lake.stats().by_storage_class()) <= {"STANDARD", None}
    with Lake.open(bucket, cache=tmp_path) as again:
        assert again.ticks("BTCUSDT", "2026-01-03", "2026-01-05").table.equals(rows.table)
        assert again.cache.stats().misses == 0
        assert again.cache.stats().hit_ratio == 1.0


def test_a_signed_address_can_be_read_by_anybody(bucket: str) -> None:
    with Lake.open(bucket, cache=None) as lake:
        lake.put("reports/x.txt", b"hello")

        with urllib.request.urlopen(lake.presign("reports/x.txt", 60)) as answer:
            assert answer.read() == b"hello"


async def test_the_asynchronous_lake_reads_a_bucket_too(bucket: str) -> None:
    async with await AsyncLake.open(bucket, cache=None) as lake:
        table = await lake.ticks()
        assert table.num_rows == 180
        assert (await lake.sql("SELECT count(*) AS n FROM bars"))["n"][0].as_py() > 100


def test_auto_takes_the_bucket_where_there_is_one(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Lake.from_env({"S3_BUCKET_NAME": bucket, "STORAGE_TYPE": "auto", "ENABLE_CACHE": "false"}) as lake:
        assert lake.url == bucket


_SPARK = """
import json, sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
for statement in sys.stdin.read().split(";\\n"):
    if lines := [line for line in statement.splitlines() if not line.startswith("--")]:
        spark.sql("\\n".join(lines))
for query in sys.argv[1:]:
    for row in spark.sql(query).collect():
        print("ROW", json.dumps(list(row)), sep="\\t")
"""
TICKS = (
    "SELECT symbol, price, unix_micros(timestamp), extra, _partition, _offset, CAST(`date` AS STRING) FROM ticks"
    " ORDER BY timestamp, _partition, _offset"
)
BARS = (
    "SELECT symbol, unix_micros(timestamp), open, high, low, close, volume, trades, CAST(`date` AS STRING) FROM bars"
    " ORDER BY timestamp, symbol"
)


def statements(engine: str, lake: Path) -> str:
    """What `streamer ddl` prints."""
    command = [sys.executable, "-m", "streamer", "ddl", "--engine", engine, "--lake", str(lake)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def spark(lake: Path, *queries: str) -> list[list[object]]:
    """The rows of the queries, one after the other."""
    try:
        import pyspark  # noqa: F401
    except ModuleNotFoundError:
        absent("no pyspark: pip install pyspark")
    command = [sys.executable, "-c", _SPARK, *queries]
    done = subprocess.run(command, input=statements("spark", lake), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line.split("\t", 1)[1]) for line in done.stdout.splitlines() if line.startswith("ROW")]


def micros(at: datetime) -> int:
    return round(at.timestamp() * 1e6)


def ticks_as_lists(rows: list[dict[str, Any]]) -> list[list[object]]:
    """As `TICKS` gives them."""
    names = ("extra", "_partition", "_offset")
    return [
        [row["symbol"], row["price"], micros(row["timestamp"]), *(row[n] for n in names), row["timestamp"].date().isoformat()]
        for row in rows
    ]


def bars_as_lists(rows: list[dict[str, Any]]) -> list[list[object]]:
    """As `BARS` gives them."""
    names = ("open", "high", "low", "close", "volume", "trades")
    return [
        [row["symbol"], micros(row["timestamp"]), *(row[n] for n in names), row["timestamp"].date().isoformat()] for row in rows
    ]


@pytest.mark.parametrize("closed", [False, True])
def test_spark_sees_every_row_once(tmp_path: Path, closed: bool) -> None:
    expected = build_on_disk(tmp_path / "lake", closed=closed)

    assert spark(tmp_path / "lake", TICKS) == ticks_as_lists(expected)


CONFIG = """
[streams.ticks]
topic = "{topic}"
cut = {{ rows = 300, age = "1s" }}
[streams.signals]
enabled = false
[streams.features]
enabled = false
[archive]
enabled = false
"""


def test_every_engine_sees_the_rows_of_a_lake_that_the_daemon_wrote(kafka_servers: str, tmp_path: Path) -> None:
    """Two days, the first one closed, with dead letters and odd symbols: DuckDB, Spark, SQL and `Lake` agree."""
    topic, lake, config = f"engines-{uuid.uuid4().hex[:10]}", tmp_path / "lake", tmp_path / "streamer.toml"
    config.write_text(CONFIG.format(topic=topic))
    lake.mkdir()
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka_servers,
        "STREAMER__KAFKA__GROUP_ID": topic,
        "STREAMER__LAKE__URL": str(lake),
        "STREAMER__HTTP__PORT": "0",
    }
    symbols = ("BTCUSDT", "ETH/USDT", "ação", "CALL-2024-01-02")
    start = 1_704_067_200_000  # 2024-01-01
    ledger = Ledger(kafka_servers)
    ledger.create_topic(topic, 2)
    values = [
        json.dumps(
            {"symbol": symbols[n % 4], "price": n % 97 / 8, "quantity": n % 5, "timestamp": start + n * 120_000, "venue": n}
        ).encode()
        for n in range(1440)
    ]
    values[100] = values[900] = b"not json"
    ledger.produce(topic, values, 2)
    daemon = Daemon.start(environment, tmp_path / "daemon.log", "--config", str(config), "--until-caught-up")
    assert daemon.process.wait(60) == 0
    command = [sys.executable, "-m", "streamer", "archive", "--date", "2024-01-01", "--config", str(config)]
    closing = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert closing.returncode == 0, closing.stderr

    with Lake.open(str(lake), cache=None) as opened:
        ticks, bars = opened.ticks().to_pylist(), opened.bars(interval="1m").to_pylist()
        by_sql = opened.sql("SELECT * EXCLUDE date FROM ticks ORDER BY timestamp, _partition, _offset").to_pylist()
        closed_days = [key for key in opened.list_keys("archive/") if key.endswith(".json")]
    duck = duckdb.connect()
    duck.execute(statements("duckdb", lake))
    names = ", ".join(ticks[0])
    by_ddl = duck.sql(f"SELECT {names} FROM ticks ORDER BY timestamp, _partition, _offset").to_arrow_table().to_pylist()
    bars_by_ddl = duck.sql("SELECT * FROM bars ORDER BY timestamp, symbol").to_arrow_table().to_pylist()
    duck.close()

    acknowledged = sorted((p, o) for (_, p, o), value in ledger.acknowledged.items() if value != b"not json")
    assert closed_days == ["archive/2024-01-01.json"]
    assert sorted((row["_partition"], row["_offset"]) for row in ticks) == acknowledged
    assert by_sql == by_ddl == ticks
    assert bars_as_lists(bars_by_ddl) == bars_as_lists(bars)
    assert spark(lake, TICKS, BARS) == [*ticks_as_lists(ticks), *bars_as_lists(bars)]
