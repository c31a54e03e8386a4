"""A week of days closed by the real daemon over a real Kafka and S3, and bars of real ticks against another computation."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import math
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
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
        self.topic(self.name, partitions)
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

    def topic(self, name: str, partitions: int) -> None:
        """A topic that keeps records of any year."""
        self.admin.create_topics([NewTopic(name, partitions, 1, config={"retention.ms": "-1"})])[name].result()

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


def test_bars_of_real_ticks_and_bars_are_those_of_pandas(
    kafka_servers: str, s3_server: S3Server, data_folder: Path | None
) -> None:
    """Trades of many exchanges, times in s, ms, us, ns, ISO and floats, duplicates and disorder, Hangul symbols; and real bars
    as a stream of their own, each a tick of its close. pandas reads the messages themselves, nothing of the lake."""
    if data_folder is None:
        absent("no real data: set STREAMER_TEST_DATA")
        return
    bucket = Bucket(kafka_servers, s3_server, 1)
    bars_topic = f"{bucket.name}-bars"
    bucket.topic(bars_topic, 1)
    bucket.environment |= {
        "STREAMER__STREAMS__BARS__TOPIC": bars_topic,
        "STREAMER__STREAMS__BARS__SCHEMA": "tick",
        "STREAMER__STREAMS__BARS__ALIASES": '{"price": ["close"]}',
    }
    sent = {
        "ticks": _send(bucket, bucket.name, sorted(data_folder.glob("ticks_*.ndjson.gz"))),
        "bars": _send(bucket, bars_topic, sorted(data_folder.glob("bars_1m_*.ndjson.gz"))),
    }
    assert bucket.producer.flush(60) == 0
    assert bucket.run("run", "--until-caught-up").returncode == 0
    days = sorted({key.split("date=")[1][:10] for key in bucket.keys("raw/")})
    ended = bucket.run("archive", "--date", days[0], "--json")
    assert ended.returncode == 0, ended.stderr
    streams = (ArchivedStream("ticks", bucket.name, "tick"), ArchivedStream("bars", bars_topic, "tick"))
    asyncio.run(_close_all(bucket, s3_server, days, streams))

    assert bucket.keys("dead-letters/") == []
    for stream, prefix in (("ticks", ""), ("bars", "streams/bars/")):
        ticks = pd.DataFrame(sent[stream], columns=["symbol", "micros", "price", "quantity"])
        found = _bars_in_lake(bucket, prefix)
        wanted = _bars_by_pandas(ticks)
        assert len(found) == len(wanted) > 100
        exact = ["open", "high", "low", "close", "trades"]
        pd.testing.assert_frame_equal(found[exact], wanted[exact], check_dtype=False, rtol=0, atol=0)
        close = ["volume", "vwap"]
        pd.testing.assert_frame_equal(found[close], wanted[close], rtol=1e-9, atol=1e-12)
        assert sum(bucket.table(key).num_rows for key in bucket.keys(f"{prefix}ticks/")) == len(ticks)
    proved = bucket.run("verify", "--json")
    assert proved.returncode == 0, proved.stdout[:3000]


def _send(bucket: Bucket, topic: str, files: list[Path]) -> list[tuple[str, int, float, float]]:
    """Produce every line; what it says, read here alone: symbol, microseconds, price, quantity."""
    said = []
    for name in files:
        with gzip.open(name) as lines:
            for line in lines:
                while len(bucket.producer) > 50_000:
                    bucket.producer.poll(0.1)
                bucket.producer.produce(topic, line.rstrip(b"\n"), partition=0)
                bucket.producer.poll(0)
                body = json.loads(line, parse_float=Decimal)
                price = body["price"] if "price" in body else body["close"]
                quantity = next(
                    (body[n] for n in ("quantity", "volume", "size", "qty", "amount") if body.get(n) is not None), 0
                )
                said.append((str(body["symbol"]), _micros(body["timestamp"]), float(price), float(quantity)))
    return said


def _micros(stamp: str | int | Decimal) -> int:
    """Microseconds since 1970 of a time as exchanges write it; digits beyond are cut off."""
    if isinstance(stamp, str) and not stamp.replace(".", "", 1).isdigit():
        moment = datetime.fromisoformat(stamp)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    number = Decimal(stamp)
    power = next(p for most, p in ((1e11, 6), (1e14, 3), (1e17, 0), (1e30, -3)) if number < most)
    return math.floor(number.scaleb(power))


def _bars_by_pandas(ticks: pd.DataFrame) -> pd.DataFrame:
    """One-minute bars by symbol and minute."""
    ticks = ticks.reset_index(names="offset").sort_values(["micros", "offset"])
    ticks["minute"] = ticks["micros"] // 60_000_000 * 60_000_000
    ticks["value"] = ticks["price"] * ticks["quantity"]
    groups = ticks.groupby(["symbol", "minute"], sort=True)
    bars = groups["price"].agg(open="first", high="max", low="min", close="last")
    bars["volume"], bars["trades"] = groups["quantity"].sum(), groups.size()
    bars["vwap"] = groups["value"].sum() / bars["volume"].where(bars["volume"] > 0)
    return bars


def _bars_in_lake(bucket: Bucket, prefix: str) -> pd.DataFrame:
    """The archive's one-minute bars, of all days."""
    found = []
    for key in bucket.keys(f"{prefix}ohlcv/"):
        table = bucket.table(key)
        assert table.schema.remove_metadata().equals(bar_schema(pa.float64(), pa.float64()))
        [symbol] = set(bucket.table(key.replace("ohlcv/", "ticks/")).column("symbol").to_pylist())
        frame = table.filter(pc.equal(table["interval"], "1m")).to_pandas()
        frame["symbol"], frame["minute"] = symbol, table["timestamp"].cast(pa.int64()).to_pandas()[: len(frame)]
        found.append(frame)
    return pd.concat(found).set_index(["symbol", "minute"]).sort_index()


async def _close_all(bucket: Bucket, s3: S3Server, days: list[str], streams: tuple[ArchivedStream, ...]) -> None:
    """Every day in one process: fifty of them take as long as one command each takes to start."""
    access = S3Settings(
        region="us-east-1", endpoint_url=s3.endpoint, access_key_id=s3.access_key, secret_access_key=s3.secret_key
    )
    settings = ArchiveSettings(streams)
    store, workers = open_store(f"s3://{bucket.name}", access, SystemClock()), ThreadWorkers(2)
    await store.prepare()
    lease = Lease(store, SystemClock(), host="test")
    async with lease.held():
        stock = await take_stock(store, [stream.name for stream in streams])
        for day in days:
            await DayCloser(store, lease, settings, workers).close(date.fromisoformat(day), stock)
    workers.close()
    await store.close()
