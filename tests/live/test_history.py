"""Real Kafka, real S3: the daemon is killed at random moments and two replicas exchange partitions, and every feature history
that can be read meanwhile is what a deque holds that was fed with the topic up to its offsets. An engine goes on from it."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import boto3
import pytest

from streamer import Lake
from streamer.features.history import FeatureHistory
from tests.live.conftest import S3Server
from tests.live.daemons import Daemon, Ledger

PARTITIONS = 4
WINDOW = 5
START_MS = 1_723_161_255_000
EXAMPLE = Path(__file__).parents[2] / "examples" / "ml_engine.py"


@pytest.fixture
def bucket(s3_server: S3Server) -> str:
    name = f"history-{uuid.uuid4().hex[:10]}"
    client = boto3.client(
        "s3",
        endpoint_url=s3_server.endpoint,
        aws_access_key_id=s3_server.access_key,
        aws_secret_access_key=s3_server.secret_key,
        region_name="us-east-1",
    )
    client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def lake(s3_server: S3Server, bucket: str) -> Iterator[Lake]:
    with Lake.open(
        f"s3://{bucket}",
        endpoint_url=s3_server.endpoint,
        access_key_id=s3_server.access_key,
        secret_access_key=s3_server.secret_key,
        region="us-east-1",
    ) as opened:
        yield opened


def environment(kafka_servers: str, s3_server: S3Server, bucket: str, topic: str) -> dict[str, str]:
    return {
        **s3_server.environment,
        "KAFKA_BOOTSTRAP_SERVERS": kafka_servers,
        "S3_BUCKET_NAME": bucket,
        "STREAMER__KAFKA__GROUP_ID": f"group-{topic}",
        "STREAMER__KAFKA__SESSION_TIMEOUT": "6s",
        "STREAMER__STREAMS__FEATURES__TOPIC": topic,
        "STREAMER__STREAMS__FEATURES__CUT__ROWS": "400",
        "STREAMER__STREAMS__FEATURES__CUT__AGE": "1s",
        "STREAMER__STREAMS__FEATURES__HISTORY__WINDOW": str(WINDOW),
        "STREAMER__STREAMS__FEATURES__HISTORY__SNAPSHOT_EVERY": "700ms",
        "STREAMER__STREAMS__SIGNALS__ENABLED": "false",
        "STREAMER__STREAMS__TICKS__ENABLED": "false",
        "STREAMER__HTTP__ENABLED": "false",
        "STREAMER__LOG__FORMAT": "json",
    }


def feature(number: int) -> bytes:
    """Eleven symbols over four partitions, so that each lives in all of them; some records are no rows."""
    if number % 13 == 12:
        return b"{broken"
    body = {"symbol": f"S{number % 11}", "timestamp": START_MS + number, "features": {"rsi": number / 8, f"f{number % 3}": 1.5}}
    return json.dumps(body).encode()


Deques = dict[str, list[tuple[int, int, float]]]


def deques_of(ledger: Ledger, upto: Mapping[int, int]) -> Deques:
    """What deques hold that are fed with the topic below these offsets: symbol -> (partition, offset, rsi)."""
    rows = []
    for (_, partition, offset), value in list(ledger.acknowledged.items()):
        if offset < upto.get(partition, 0) and value != b"{broken":
            body = json.loads(value)
            rows.append((body["timestamp"], partition, offset, body["symbol"], body["features"]["rsi"]))
    found: dict[str, deque[tuple[int, int, float]]] = {}
    for _, partition, offset, symbol, rsi in sorted(rows):
        found.setdefault(symbol, deque(maxlen=WINDOW)).append((partition, offset, rsi))
    return {symbol: list(each) for symbol, each in found.items()}


def assert_exact(history: FeatureHistory, ledger: Ledger, topic: str) -> None:
    """`history` is what a deque holds at its own offsets."""
    upto = history.offsets.get(topic, {})
    ends = time.monotonic() + 30
    # The daemon may be quicker than the acknowledgement that the ledger waits for.
    while any((topic, partition, offset - 1) not in ledger.acknowledged for partition, offset in upto.items() if offset):
        assert time.monotonic() < ends, "the history names offsets that nobody produced"
        time.sleep(0.05)
    rows = {symbol: [(row["partition"], row["offset"], row["rsi"]) for row in history[symbol]] for symbol in history}
    assert rows == deques_of(ledger, upto)


def test_the_history_is_a_deque_over_the_topic_after_every_kill_nine(
    kafka_servers: str, s3_server: S3Server, bucket: str, lake: Lake, tmp_path: Path
) -> None:
    seed = int(os.environ.get("STREAMER_TEST_SEED", "0")) or random.randrange(10**6)
    print(f"STREAMER_TEST_SEED={seed}")
    chance = random.Random(seed)
    topic = f"features-{uuid.uuid4().hex[:10]}"
    ledger = Ledger(kafka_servers)
    ledger.create_topic(topic, PARTITIONS)
    settings = environment(kafka_servers, s3_server, bucket, topic)
    log = tmp_path / "daemon.log"
    enough = threading.Event()
    produced = [0]

    def produce() -> None:
        while not enough.is_set():
            ledger.produce(topic, [feature(produced[0] + n) for n in range(250)], PARTITIONS)
            produced[0] += 250
            enough.wait(0.25)

    producing = threading.Thread(target=produce, name="producer")
    producing.start()
    kills = looks = 0
    try:
        while kills < 8:
            first = Daemon.start(settings, log)
            time.sleep(chance.uniform(1.5, 5.0))
            if chance.random() < 0.6:
                second = Daemon.start(settings, log)
                for _ in range(3):
                    time.sleep(chance.uniform(0.5, 2.5))
                    assert_exact(lake.feature_history(), ledger, topic)
                    looks += 1
                if chance.random() < 0.5:
                    # Where the machine is busy, it may not have come so far as to listen to signals.
                    assert second.stop() in (0, -signal.SIGTERM), log.read_text()[-3000:]
                else:
                    second.kill()
                    kills += 1
            first.kill()
            kills += 1
            assert_exact(lake.feature_history(), ledger, topic)
            looks += 1
    finally:
        enough.set()
        producing.join()
    time.sleep(8)  # until the group has missed those who were killed: the last one must get all partitions
    last = Daemon.start(settings, log, "--until-caught-up")
    assert last.process.wait(180) == 0, log.read_text()[-3000:]
    history = lake.feature_history(max_age=60)
    ends = {partition: 1 + max(o for _, p, o in ledger.acknowledged if p == partition) for partition in range(PARTITIONS)}
    assert history.offsets == {topic: ends}
    assert len(history) == 11
    assert all(len(rows) == WINDOW for rows in history.values())
    assert_exact(history, ledger, topic)
    print(f"{kills} kills, {produced[0]} records, {looks} histories looked at in between, all exact")


def load_example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ml_engine", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_engine_that_goes_on_from_the_history_sees_every_later_record_once(
    kafka_servers: str, s3_server: S3Server, bucket: str, lake: Lake, tmp_path: Path
) -> None:
    topic = f"features-{uuid.uuid4().hex[:10]}"
    ledger = Ledger(kafka_servers)
    ledger.create_topic(topic, PARTITIONS)
    settings = environment(kafka_servers, s3_server, bucket, topic)
    ledger.produce(topic, [feature(number) for number in range(2000)], PARTITIONS)
    daemon = Daemon.start(settings, tmp_path / "daemon.log", "--until-caught-up")
    assert daemon.process.wait(120) == 0, (tmp_path / "daemon.log").read_text()[-3000:]
    history = lake.feature_history()
    assert sum(history.offsets[topic].values()) == 2000
    ledger.produce(topic, [feature(number) for number in range(2000, 3000)], PARTITIONS)
    later = {
        (partition, offset)
        for (_, partition, offset), value in ledger.acknowledged.items()
        if offset >= history.offsets[topic][partition] and value != b"{broken"
    }

    async def consume() -> list[tuple[int, int]]:
        seen = []
        rows = load_example().live_rows(history, kafka_servers, topic)
        async with asyncio.timeout(60):
            async for _, row in rows:
                seen.append((row["partition"], row["offset"]))
                if len(seen) >= len(later):
                    break
        await rows.aclose()
        return seen

    seen = asyncio.run(consume())
    assert sorted(seen) == sorted(later)

    shown = subprocess.run(
        [sys.executable, "-m", "streamer", "state", "show", "--json"],
        env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | settings,
        capture_output=True,
        check=True,
    )
    lags = {each["partition"]: each["lag"] for each in json.loads(shown.stdout)["partitions"]}
    assert sum(lags.values()) == 1000


def test_the_example_runs_as_it_is_shown(
    kafka_servers: str, s3_server: S3Server, bucket: str, lake: Lake, tmp_path: Path
) -> None:
    topic = f"features-{uuid.uuid4().hex[:10]}"
    ledger = Ledger(kafka_servers)
    ledger.create_topic(topic, PARTITIONS)
    settings = environment(kafka_servers, s3_server, bucket, topic)
    ledger.produce(topic, [feature(number) for number in range(200)], PARTITIONS)
    daemon = Daemon.start(settings, tmp_path / "daemon.log", "--until-caught-up")
    assert daemon.process.wait(120) == 0
    keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command = [sys.executable, "-u", str(EXAMPLE)]
    variables = keep | settings | {"FEATURES_TOPIC": topic}
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as engine:
        assert engine.stdout is not None
        warm = engine.stdout.readline()
        ledger.produce(topic, [feature(200)], 1)
        first = engine.stdout.readline()
        engine.kill()
    assert warm.startswith("warm with 11 symbols")
    assert first.split()[:3] == ["S2", "5", "rows,"]
