"""Events, their index, and the daemon behind which an index is made: DynamoDB Local (moto without it), real Kafka, real S3."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from streamer import Lake
from streamer.clock import SystemClock
from streamer.events.event import event_given
from streamer.index.dynamodb import IndexTable, Written
from streamer.index.item import ITEM_BYTES_MAX, Item, body_of, item_of
from streamer.index.settings import TableSettings
from tests.live.conftest import S3Server
from tests.live.daemons import Daemon, Ledger
from tests.live.dynamodb_local import dynamodb_jars
from tests.live.tcp_proxy import TcpProxy
from tests.live.tls_broker import free_ports

AT = datetime(2024, 1, 15, 10, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch, s3_server: S3Server) -> None:
    """DynamoDB is asked with the AWS chain; its letters and digits alone are what DynamoDB Local takes for a key."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    monkeypatch.setenv("AWS_REGION", "us-east-1")


def event(number: int, **more: Any) -> dict[str, Any]:
    at = AT + timedelta(seconds=number)
    return {"timestamp": at, "ticker": f"T{number % 3}", "stress": 0.25, "regime": "calm", "velocity": 1.5, "n": number, **more}


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Poll processes of their own, which no clock of ours can move."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it never came true"
        time.sleep(0.1)


async def test_the_table_is_made_and_holds_whatever_an_event_can_be(dynamodb: str) -> None:
    table = IndexTable(TableSettings(f"t-{uuid.uuid4().hex}", "us-east-1", dynamodb), SystemClock())
    for _ in range(2):
        await table.create()
    strange = [
        event(1, velocity=1e-130), event(2, velocity=-9.99e125), event(3, velocity=5e-324, stress=1e-17),
        event(4, velocity=0.1 + 0.2), event(5, ticker="é😀/../ ~", text='quotes " and \\ and \u0000'),
        event(6, regime=""), event(7, velocity=-0.0),
    ]  # fmt: skip
    items = [item_of(event_given(each)) for each in [*strange, *map(event, range(10, 100))]]
    for _ in range(2):
        assert await table.write(items) == Written(len(items), 0)

    found = [item async for item in table.between(None, None)]
    assert sorted([body_of(item)["n"] for item in found]) == [*range(1, 8), *range(10, 100)]
    for given, item in zip(strange, sorted(found, key=lambda each: each["timestamp"]["S"]), strict=False):
        assert body_of(item) == event_given(given).body
        if "velocity" in item:
            assert float(item["velocity"]["N"]) == given["velocity"]
    some = [body_of(item)["n"] async for item in table.of_ticker("T1", AT + timedelta(seconds=10), AT + timedelta(seconds=20))]
    assert some == [10, 13, 16, 19]
    await table.close()


async def test_an_item_that_we_say_fits_fits(dynamodb: str) -> None:
    table = IndexTable(TableSettings(f"t-{uuid.uuid4().hex}", "us-east-1", dynamodb), SystemClock())
    await table.create()
    rest = ITEM_BYTES_MAX - item_of(event_given(event(1, text=""))).size_bytes
    fitting, beyond = (item_of(event_given(event(1, text="x" * size))) for size in (rest, rest + 1))
    wide: Item = item_of(event_given(event(2, text="é" * (rest // 2))))

    assert (fitting.size_bytes, fitting.fits, beyond.fits, wide.fits) == (ITEM_BYTES_MAX, True, False, True)
    # moto counts a little more than DynamoDB does.
    assert await table.write([fitting, wide]) == (Written(2, 0) if dynamodb_jars() else Written(0, 2))
    assert await table.write([beyond]) == Written(0, 1)
    await table.close()


def test_events_in_a_bucket_are_found_with_and_without_the_index(s3_server: S3Server, dynamodb: str) -> None:
    bucket, table = f"events-{uuid.uuid4().hex[:10]}", f"t-{uuid.uuid4().hex}"
    make_bucket(s3_server, bucket)
    opened = Lake.open(
        f"s3://{bucket}",
        region="us-east-1",
        endpoint_url=s3_server.endpoint,
        access_key_id=s3_server.access_key,
        secret_access_key=s3_server.secret_key,
        cache=None,
    )
    with opened as lake:
        streamer(s3_server, bucket, dynamodb, table, "init", "--yes")
        events = lake.events.indexed_by(table, region="us-east-1", endpoint_url=dynamodb)
        stored = [event(number) for number in range(60)] + [event(0, ticker=f"same-{n}") for n in range(30)]

        assert events.store_batch(stored) == 90
        assert events.store_batch(stored) == 90
        spans = [(None, None, None), (AT, AT + timedelta(seconds=1), None), (AT, None, "T2"), (AT, "2024-01-16", "same-3")]
        for start, end, ticker in spans:
            from_lake = events.get(start, end, ticker, index=False)
            assert events.get(start, end, ticker) == from_lake
            assert from_lake
        assert len(lake.list_keys(prefix="pulse-events/")) == 90


def test_the_daemon_archives_while_the_table_is_away_and_indexes_all_when_it_is_there(
    kafka_servers: str, s3_server: S3Server, dynamodb: str, tmp_path: Path
) -> None:
    name, table = f"pulse-{uuid.uuid4().hex[:10]}", f"t-{uuid.uuid4().hex}"
    make_bucket(s3_server, name)
    ledger = Ledger(kafka_servers)
    ledger.create_topic(name, 2)
    host, _, port = dynamodb.partition("://")[2].partition(":")
    proxy, (health,) = TcpProxy(host, int(port)), free_ports(1)
    environment = environment_of(s3_server, name, f"http://{proxy.address}", table) | {
        "KAFKA_BOOTSTRAP_SERVERS": kafka_servers,
        "STREAMER__KAFKA__GROUP_ID": name,
        "STREAMER__KAFKA__SESSION_TIMEOUT": "6s",
        "STREAMER__HTTP__PORT": str(health),
        "STREAMER__STREAMS__PULSE__TOPIC": name,
        "STREAMER__STREAMS__PULSE__CUT__AGE": "500ms",
        "STREAMER__STREAMS__PULSE__INDEX__CHECK_EVERY": "500ms",
        **{f"STREAMER__STREAMS__{other}__ENABLED": "false" for other in ("TICKS", "SIGNALS", "FEATURES")},
        "STREAMER__LOG__FORMAT": "json",
    }

    def metric(line: str) -> float:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{health}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except (OSError, urllib.error.HTTPError):
            return 0.0
        return sum(float(each.rpartition(" ")[2]) for each in text.splitlines() if each.startswith(line))

    daemon = Daemon.start(environment, tmp_path / "daemon.log")
    try:
        # No table yet: it is archived all the same.
        ledger.produce(name, map(message, range(500)), 2)
        until(lambda: metric("streamer_committed_offset") == 500)
        until(lambda: metric("streamer_index_failures_total") >= 1)
        streamer(s3_server, name, dynamodb, table, "init", "--yes")
        until(lambda: indexed(dynamodb, table) == set(range(500)))
        # The line is cut, and a record that is too large comes meanwhile.
        until(lambda: daemon.events("index_recovered"))
        failures = metric("streamer_index_failures_total")
        proxy.set("cut")
        ledger.produce(name, [message(number) for number in range(500, 900)] + [message(900, text="x" * 500_000)], 2)
        until(lambda: metric("streamer_committed_offset") == 901)
        until(lambda: metric("streamer_index_failures_total") > failures)
        proxy.set("pass")
        until(lambda: indexed(dynamodb, table) == set(range(900)))
        until(lambda: len(daemon.events("index_recovered")) == 2)
        assert metric("streamer_index_lag_records") == 0
        assert metric("streamer_index_left_out_total") == 1
        # What comes while nobody is there is indexed before the next run ends.
        assert daemon.stop() == 0
        ledger.produce(name, map(message, range(901, 1200)), 2)
        caught_up = Daemon.start(environment, tmp_path / "daemon.log", "--until-caught-up")
        assert caught_up.process.wait(90) == 0
    finally:
        daemon.kill()
        proxy.close()

    shown = json.loads(streamer(s3_server, name, dynamodb, table, "index", "show", "--json", topic=name))["partitions"]
    assert [each["lag"] for each in shown] == [0, 0]
    assert sum(each["items"] for each in shown) == 1199
    assert indexed(dynamodb, table) == set(range(1200)) - {900}
    assert len(daemon.events("index_failed")) == 2, "said once for each outage"
    counted = json.loads(streamer(s3_server, name, dynamodb, table, "index", "rebuild", "pulse", "--json", topic=name))
    assert (counted["events"], counted["items"], counted["left_out"]) == (1200, 1199, 1)


def message(number: int, **more: Any) -> bytes:
    at = int(AT.timestamp() * 1000) + number
    return json.dumps(
        {"ticker": f"T{number % 5}", "timestamp": at, "stress": (number % 100) / 100, "n": number, **more}
    ).encode()


def environment_of(s3: S3Server, bucket: str, dynamodb: str, table: str) -> dict[str, str]:
    return {
        **s3.environment,
        "S3_BUCKET_NAME": bucket,
        "AWS_DYNAMODB_PULSE_TABLE": table,
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb,
        "STREAMER__STREAMS__PULSE__SCHEMA": "pulse",
    }


def streamer(s3: S3Server, bucket: str, dynamodb: str, table: str, *arguments: str, topic: str = "pulse") -> str:
    """What a command says."""
    environment = environment_of(s3, bucket, dynamodb, table) | {"STREAMER__STREAMS__PULSE__TOPIC": topic}
    done = subprocess.run([sys.executable, "-m", "streamer", *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def indexed(dynamodb: str, table: str) -> set[int]:
    """The numbers of the events that are in the table, asked by Amazon's own client."""
    client = boto3.client("dynamodb", endpoint_url=dynamodb, region_name="us-east-1")
    pages = client.get_paginator("scan").paginate(TableName=table)
    found = [json.loads(item["data"]["S"])["n"] for page in pages for item in page["Items"]]
    assert len(set(found)) == len(found)
    return set(found)


def make_bucket(s3: S3Server, name: str) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=s3.endpoint,
        aws_access_key_id=s3.access_key,
        aws_secret_access_key=s3.secret_key,
        region_name="us-east-1",
    )
    client.create_bucket(Bucket=name)
