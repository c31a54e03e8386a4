"""The reader library over a real S3 server, and Spark over a directory."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from streamer import AsyncLake, Lake
from streamer.clock import SystemClock
from streamer.store.open import create_place, open_store
from streamer.store.s3_settings import S3Settings
from tests.live.conftest import S3Server, absent
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
import sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
for statement in sys.stdin.read().split(";\\n"):
    if lines := [line for line in statement.splitlines() if not line.startswith("--")]:
        spark.sql("\\n".join(lines))
rows = spark.sql("SELECT symbol, price, unix_micros(timestamp) AS t, extra, _partition, _offset, CAST(`date` AS STRING) AS day"
                 " FROM ticks ORDER BY timestamp, _partition, _offset").collect()
for row in rows:
    print("ROW", *row, sep="\\t")
"""


@pytest.mark.parametrize("closed", [False, True])
def test_spark_sees_every_row_once(tmp_path: Path, closed: bool) -> None:
    try:
        import pyspark  # noqa: F401
    except ModuleNotFoundError:
        absent("no pyspark: pip install pyspark")
    expected = build_on_disk(tmp_path / "lake", closed=closed)
    command = [sys.executable, "-m", "streamer", "ddl", "--engine", "spark", "--lake", str(tmp_path / "lake")]
    statements = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    done = subprocess.run([sys.executable, "-c", _SPARK], input=statements, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr[-3000:]
    found = [line.split("\t")[1:] for line in done.stdout.splitlines() if line.startswith("ROW")]
    assert found == [
        [
            str(row["symbol"]),
            str(row["price"]),
            str(round(row["timestamp"].timestamp() * 1e6)),  # type: ignore[attr-defined]
            str(row["extra"]),
            str(row["_partition"]),
            str(row["_offset"]),
            row["timestamp"].date().isoformat(),  # type: ignore[attr-defined]
        ]
        for row in expected
    ]
