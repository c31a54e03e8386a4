"""A week of days closed by the real daemon over a real Kafka and S3, and bars of real ticks against another computation."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from streamer.archive.bars import bar_schema
from streamer.archive.close import DayCloser
from streamer.archive.inputs import take_stock
from streamer.archive.lease import Lease
from streamer.archive.settings import ArchivedStream, ArchiveSettings
from streamer.clock import SystemClock
from streamer.store.open import open_store
from streamer.store.s3_settings import S3Settings
from streamer.workers import ThreadWorkers
from tests.live.conftest import S3Server, absent

WAIT_SECONDS = 120.0
FIRST = date(2024, 3, 4)


class Bucket:
    """One topic, one bucket, and the command line as a shell runs it."""

    def __init__(self, kafka: str, s3: S3Server, partitions: int) -> None:
        self.name = f"archive-{uuid.uuid4().hex[:10]}"
        self.client = boto3.client(
            "s3",
            endpoint_url=s3.endpoint,
            aws_access_key_id=s3.access_key,
            aws_secret_access_key=s3.secret_key,
            region_name="us-east-1",
        )
        self.client.create_bucket(Bucket=self.name)
        self.admin = AdminClient({"bootstrap.servers": kafka})
        self.admin.create_topics([NewTopic(self.name, partitions, 1)])[self.name].result()
        self.producer = Producer({"bootstrap.servers": kafka, "enable.idempotence": True})
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.environment = keep | s3.environment | {
            "KAFKA_BOOTSTRAP_SERVERS": kafka,
            "S3_BUCKET_NAME": self.name,
            "STREAMER__KAFKA__GROUP_ID": self.name,
            "STREAMER__STREAMS__TICKS__TOPIC": self.name,
            "STREAMER__STREAMS__SIGNALS__ENABLED": "false",
            "STREAMER__STREAMS__FEATURES__ENABLED": "false",
            "STREAMER__STREAMS__TICKS__CUT__AGE": "1s",
            "STREAMER__ARCHIVE__CHECK_EVERY": "2s",
            "STREAMER__ARCHIVE__REOPEN_EVERY": "5s",
            "STREAMER__ARCHIVE__LEASE": "6s",
            "STREAMER__ARCHIVE__INTERVALS": "1m,5m,1h",
            "STREAMER__HTTP__ENABLED": "false",
        }  # fmt: skip

    def produce(self, value: bytes, partition: int = 0) -> None:
        self.producer.produce(self.name, value, partition=partition)
        self.producer.poll(0)

    def start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "streamer", "run"], env=self.environment, stderr=subprocess.DEVNULL)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "streamer", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=300, check=False)

    def keys(self, prefix: str) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]

    def body(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.name, Key=key)["Body"].read())

    def table(self, key: str) -> pa.Table:
        return pq.read_table(io.BytesIO(self.body(key)))

    def certificate(self, day: date) -> dict[str, Any] | None:
        key = f"archive/{day}.json"
        return json.loads(self.body(key)) if key in self.keys("archive/") else None

    def wait(self, done: Callable[[], object]) -> None:
        until = time.monotonic() + WAIT_SECONDS
        while not done():
            assert time.monotonic() < until, "it never came true"
            time.sleep(0.5)


def tick(day: date, number: int) -> bytes:
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=37 * number % 86_400)
    symbol = ("BTC", "ETH/USDT", "삼성")[number % 3]
    body = {"symbol": symbol, "price": 100 + number % 50, "quantity": number % 7, "timestamp": moment.isoformat()}
    return json.dumps(body).encode()


def test_two_replicas_certify_a_week_day_by_day_one_is_killed_and_late_data_reopens_one_day(
    kafka_servers: str, s3_server: S3Server
) -> None:
    bucket = Bucket(kafka_servers, s3_server, 2)
    days = [FIRST + timedelta(days=n) for n in range(7)]
    for number, day in enumerate(days):
        for n in range(300):
            bucket.produce(tick(day, n), (n + number) % 2)
    bucket.produce(b"no json")
    assert bucket.producer.flush(30) == 0
    replicas = [bucket.start(), bucket.start()]
    try:
        bucket.wait(lambda: len(bucket.keys("archive/")) >= 3)
        replicas[0].send_signal(signal.SIGKILL)
        bucket.wait(lambda: all((c := bucket.certificate(day)) and c["complete"] for day in days))
        first = [bucket.certificate(day) for day in days]

        bucket.produce(tick(days[2], 1000))
        assert bucket.producer.flush(30) == 0
        bucket.wait(lambda: (bucket.certificate(days[2]) or {})["revision"] == 2)
        bucket.wait(lambda: not any(o["staged"] for o in (bucket.certificate(days[2]) or {})["streams"]["ticks"]["outputs"]))
    finally:
        for replica in replicas:
            replica.terminate()
        for replica in replicas:
            replica.wait(60)

    assert [c and (c["revision"], c["streams"]["ticks"]["rows"]) for c in first] == [(1, 300)] * 7
    assert [(bucket.certificate(day) or {})["revision"] for day in days] == [1, 1, 2, 1, 1, 1, 1]
    rows = sum(bucket.table(key).num_rows for key in bucket.keys("ticks/"))
    assert rows == 2101
    proved = bucket.run("verify", "--from", str(days[0]), "--to", str(days[-1]), "--json")
    assert proved.returncode == 0, proved.stdout + proved.stderr


def test_bars_of_real_ticks_are_those_of_duckdb(kafka_servers: str, s3_server: S3Server, data_folder: Path | None) -> None:
    """Trades of many exchanges, times in s, ms, us, ns, ISO and floats, duplicates and disorder, Hangul symbols."""
    if data_folder is None:
        absent("no real data: set STREAMER_TEST_DATA")
        return
    bucket = Bucket(kafka_servers, s3_server, 1)
    sent = 0
    for name in sorted(data_folder.glob("ticks_*.ndjson.gz")):
        with gzip.open(name) as lines:
            for line in lines:
                while len(bucket.producer) > 50_000:
                    bucket.producer.poll(0.1)
                bucket.produce(line.rstrip(b"\n"))
                sent += 1
    assert bucket.producer.flush(60) == 0
    assert bucket.run("run", "--until-caught-up").returncode == 0
    raw = [key for key in bucket.keys("raw/") if key.endswith(".parquet")]
    days = sorted({key.split("date=")[1][:10] for key in raw})

    ended = bucket.run("archive", "--date", days[0], "--json")
    assert ended.returncode == 0, ended.stderr
    asyncio.run(_close_all(bucket, s3_server, days))

    ticks = pa.concat_tables([bucket.table(key).select(_COLUMNS) for key in raw])
    with duckdb.connect() as sql:
        sql.register("ticks", ticks)
        wanted = sql.execute(_BARS).fetchall()
    found: list[tuple[Any, ...]] = []
    for key in bucket.keys("ohlcv/"):
        [symbol] = set(bucket.table(key.replace("ohlcv/", "ticks/")).column("symbol").to_pylist())
        table = bucket.table(key)
        assert table.schema.remove_metadata().equals(bar_schema(pa.float64(), pa.float64()))
        found += [(symbol, *row.values()) for row in table.to_pylist() if row["interval"] == "1m"]
    found.sort(key=lambda bar: (bar[0], bar[1]))
    assert len(found) == len(wanted) > 0
    for mine, other in zip(found, wanted, strict=True):
        assert (mine[0], mine[1].timestamp() * 10**6, *mine[3:7], mine[8]) == (*other[:6], other[7])
        assert mine[7] == pytest.approx(other[6], rel=1e-9, abs=1e-12)
        assert mine[9] == (None if other[8] is None else pytest.approx(other[8], rel=1e-9))
    proved = bucket.run("verify", "--json")
    assert proved.returncode == 0, proved.stdout[:3000]
    assert ticks.num_rows <= sent


async def _close_all(bucket: Bucket, s3: S3Server, days: list[str]) -> None:
    """Every day in one process: fifty of them take as long as one command each takes to start."""
    access = S3Settings(
        region="us-east-1", endpoint_url=s3.endpoint, access_key_id=s3.access_key, secret_access_key=s3.secret_key
    )
    settings = ArchiveSettings((ArchivedStream("ticks", bucket.name, "tick"),))
    store, workers = open_store(f"s3://{bucket.name}", access, SystemClock()), ThreadWorkers(2)
    await store.prepare()
    lease = Lease(store, SystemClock(), host="test")
    async with lease.held():
        stock = await take_stock(store, ["ticks"])
        for day in days:
            await DayCloser(store, lease, settings, workers).close(date.fromisoformat(day), stock)
    workers.close()
    await store.close()


_COLUMNS = ["symbol", "timestamp", "price", "quantity", "_partition", "_offset"]
_BARS = """
SELECT symbol, epoch_us(timestamp) // 60000000 * 60000000 AS bar,
       first(price ORDER BY timestamp, _partition, _offset), max(price), min(price),
       last(price ORDER BY timestamp, _partition, _offset),
       sum(coalesce(quantity, 0)), count(*),
       CASE WHEN sum(coalesce(quantity, 0)) > 0 THEN sum(price * coalesce(quantity, 0)) / sum(coalesce(quantity, 0)) END
FROM ticks GROUP BY symbol, bar ORDER BY symbol, bar
"""
