"""Real ticks into four partitions, the daemon killed with SIGKILL at random moments, a second replica that comes and goes:
every acknowledged offset is in the lake exactly once, by listing files, with the values that were sent."""

from __future__ import annotations

import gzip
import json
import os
import random
import threading
import time
import uuid
from collections import Counter
from pathlib import Path

import boto3
import pytest

from tests.live.conftest import S3Server
from tests.live.daemons import Daemon, Ledger, bucket_files, read_back

PARTITIONS = 4


def real_ticks(folder: Path | None) -> list[bytes]:
    """Lines of real tick files, or, without them, ticks of the same kinds of odd values."""
    if folder is not None:
        return [
            line
            for file in sorted(folder.glob("ticks_*.ndjson.gz"))
            for line in gzip.decompress(file.read_bytes()).splitlines()
        ]
    return [
        json.dumps(
            {
                "symbol": ("BTC/USDT", "ETHUSDT", "KRW-XRP")[n % 3],
                "price": str(100 + n / 8) if n % 2 else 100 + n / 8,
                "volume" if n % 5 == 0 else "quantity": f"{n}.250",
                "timestamp": 1_723_161_255_000 + n,
                "trade_id": n * 10**18,
                "src": "made here",
            }
        ).encode()
        for n in range(60_000)
    ]


@pytest.fixture
def bucket(s3_server: S3Server) -> str:
    name = f"kill-nine-{uuid.uuid4().hex[:10]}"
    client = boto3.client(
        "s3",
        endpoint_url=s3_server.endpoint,
        aws_access_key_id=s3_server.access_key,
        aws_secret_access_key=s3_server.secret_key,
        region_name="us-east-1",
    )
    client.create_bucket(Bucket=name)
    return name


def test_every_acknowledged_offset_is_in_the_lake_exactly_once_after_kill_nine_at_random_moments(
    kafka_servers: str, s3_server: S3Server, bucket: str, data_folder: Path | None, tmp_path: Path
) -> None:
    seed = int(os.environ.get("STREAMER_TEST_SEED", "0")) or random.randrange(10**6)
    print(f"STREAMER_TEST_SEED={seed}")
    chance = random.Random(seed)
    topic = f"ticks-{uuid.uuid4().hex[:10]}"
    ticks = real_ticks(data_folder)
    ledger = Ledger(kafka_servers)
    ledger.create_topic(topic, PARTITIONS)
    environment = {
        **s3_server.environment,
        "KAFKA_BOOTSTRAP_SERVERS": kafka_servers,
        "S3_BUCKET_NAME": bucket,
        "STREAMER__KAFKA__GROUP_ID": f"group-{topic}",
        "STREAMER__KAFKA__SESSION_TIMEOUT": "6s",
        "STREAMER__STREAMS__TICKS__TOPIC": topic,
        "STREAMER__STREAMS__TICKS__CUT__ROWS": "1500",
        "STREAMER__STREAMS__TICKS__CUT__AGE": "2s",
        "STREAMER__STREAMS__SIGNALS__ENABLED": "false",
        "STREAMER__STREAMS__FEATURES__ENABLED": "false",
        "STREAMER__HTTP__ENABLED": "false",
        "STREAMER__LOG__FORMAT": "json",
    }
    producing = threading.Thread(target=lambda: _produce_slowly(ledger, topic, ticks), name="producer")
    producing.start()
    kills = 0
    log = tmp_path / "daemon.log"
    while producing.is_alive() or kills < 5:
        first = Daemon.start(environment, log)
        time.sleep(chance.uniform(1.0, 4.0))
        if chance.random() < 0.5:
            second = Daemon.start(environment, log)
            time.sleep(chance.uniform(2.0, 5.0))
            if chance.random() < 0.5:
                assert second.stop() == 0, log.read_text()[-3000:]
            else:
                second.kill()
                kills += 1
        first.kill()
        kills += 1
    producing.join()
    last = Daemon.start(environment, log, "--until-caught-up")
    assert last.process.wait(180) == 0, log.read_text()[-3000:]

    filesystem, paths = bucket_files(s3_server, bucket)
    rows, letters = read_back(filesystem, paths, topic)
    found = Counter((topic, row["_partition"], row["_offset"]) for row in rows)
    found += Counter((topic, letter["partition"], letter["offset"]) for letter in letters)
    missing, double = set(ledger.acknowledged) - set(found), [key for key, count in found.items() if count > 1]
    print(f"{kills} kills, {len(ticks)} acknowledged, {len(paths)} objects, {len(letters)} dead letters")
    assert not missing, f"{len(missing)} missing, e.g. {sorted(missing)[:3]}"
    assert not double, f"{len(double)} double, e.g. {sorted(double)[:3]}"
    assert len(found) == len(ledger.acknowledged) == len(ticks)
    assert not letters, letters[:3]
    for row in rows:
        _assert_as_sent(row, ledger.acknowledged[topic, row["_partition"], row["_offset"]])  # type: ignore[index]


def _produce_slowly(ledger: Ledger, topic: str, ticks: list[bytes]) -> None:
    for start in range(0, len(ticks), 2_500):
        ledger.produce(topic, ticks[start : start + 2_500], PARTITIONS, timestamp=1_723_161_255_000)
        time.sleep(1.0)


def _assert_as_sent(row: dict[str, object], value: bytes) -> None:
    sent = json.loads(value, parse_int=str, parse_float=str)
    assert row["symbol"] == sent["symbol"]
    assert row["price"] == float(sent["price"])
    size = sent.get("quantity", sent.get("volume"))
    assert row["quantity"] == (None if size is None else float(size))
    if "trade_id" in sent:
        assert row["trade_id"] == sent["trade_id"]
    for name, text in json.loads(str(row["extra"] or "{}"), parse_int=str, parse_float=str).items():
        assert sent[name] == text
