"""Quality rules of a real daemon that is killed and comes back: rows, flags and dead letters exactly once, and alerts in a
topic that is not there at first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from confluent_kafka import Consumer

from tests.live.conftest import S3Server
from tests.live.daemons import Daemon, Ledger, bucket_files, read_back

RECORDS = 6000
WAIT_SECONDS = 90.0
CONFIG = """
[streams.signals]
enabled = false
[streams.features]
enabled = false
[streams.ticks]
cut = { rows = 500, age = "1s" }
[streams.ticks.quality.price]
check = "range"
column = "price"
min = 0
on_violation = "dead-letter"
[streams.ticks.quality.side]
check = "allowed"
column = "side"
values = ["buy", "sell"]
on_violation = "flag"
[streams.ticks.quality.big]
check = "range"
column = "quantity"
max = 1000
on_violation = "flag"
[streams.ticks.quality.ordered]
check = "monotonic"
[streams.ticks.quality.jump]
check = "jump"
percent = 10
[streams.ticks.quality.ids]
check = "sequence"
[streams.ticks.quality.alive]
check = "silent"
after = "5s"
"""


def tick(number: int) -> bytes:
    body: dict[str, Any] = {
        "symbol": "AB"[number // 2 % 2],
        "price": -1 if number % 100 == 50 else 100,
        "quantity": 5000 if number % 60 == 0 else 1,
        "side": "?" if number % 40 == 0 else "buy",
        "trade_id": str(number // 4),
        "timestamp": 1_767_398_400_000 + number,
    }
    return json.dumps(body).encode()


def wanted_flags(number: int) -> str | None:
    names = [name for name, broken in (("side", number % 40 == 0), ("big", number % 60 == 0)) if broken]
    return ",".join(names) or None


def wait(done: Callable[[], object], about: str) -> None:
    until = time.monotonic() + WAIT_SECONDS
    while not done():
        assert time.monotonic() < until, about
        time.sleep(0.3)


def test_rules_act_exactly_once_through_kill_nine_and_alerts_reach_their_topic_once_it_is_there(
    kafka_servers: str, s3_server: S3Server, tmp_path: Path
) -> None:
    topic = f"quality-{uuid.uuid4().hex[:10]}"
    alert_topic, config, log = f"{topic}-alerts", tmp_path / "streamer.toml", tmp_path / "log"
    config.write_text(CONFIG)
    client = boto3.client(
        "s3",
        endpoint_url=s3_server.endpoint,
        aws_access_key_id=s3_server.access_key,
        aws_secret_access_key=s3_server.secret_key,
        region_name="us-east-1",
    )
    client.create_bucket(Bucket=topic)
    ledger = Ledger(kafka_servers)
    ledger.create_topic(topic, 2)
    environment = s3_server.environment | {
        "KAFKA_BOOTSTRAP_SERVERS": kafka_servers,
        "S3_BUCKET_NAME": topic,
        "STREAMER__KAFKA__GROUP_ID": topic,
        "STREAMER__KAFKA__SESSION_TIMEOUT": "6s",
        "STREAMER__STREAMS__TICKS__TOPIC": topic,
        "STREAMER__ALERTS__TOPIC": alert_topic,
        "STREAMER__HTTP__ENABLED": "false",
    }
    start = ("--config", str(config))

    def rows() -> int:
        filesystem, paths = bucket_files(s3_server, topic)
        return sum(map(len, read_back(filesystem, paths, topic)))

    daemon = Daemon.start(environment, log, *start)
    ledger.produce(topic, map(tick, range(RECORDS // 2)), 2)
    wait(lambda: rows() >= 1000, "nothing is written while the alerts' topic is missing")
    daemon.kill()
    daemon = Daemon.start(environment, log, *start)
    ledger.produce(topic, map(tick, range(RECORDS // 2, RECORDS)), 2)
    wait(lambda: rows() == RECORDS, "not every record is in the lake")
    assert daemon.events("alerts_wait"), "the daemon says that the topic is missing"
    ledger.create_topic(alert_topic, 1)
    wait(lambda: daemon.events("alerts_sent_again"), "the topic is there, and no alert comes")
    ledger.produce(topic, [json.dumps(json.loads(tick(0)) | {"price": 500}).encode()], 1)
    wait(lambda: rows() == RECORDS + 1, "the last record is not in the lake")
    wait(lambda: any("B" in e["symbols"] for e in daemon.events("quality_violations") if e["rule"] == "alive"), "B is silent")
    assert daemon.stop() == 0

    filesystem, paths = bucket_files(s3_server, topic)
    found, letters = read_back(filesystem, paths, topic)
    numbers = {
        place[1:]: json.loads(value)["timestamp"] - 1_767_398_400_000
        for place, value in ledger.acknowledged.items()
        if place[0] == topic
    }
    everything = [
        (row["_partition"], row["_offset"])
        for row in (*found, *({f"_{k}": v for k, v in letter.items()} for letter in letters))
    ]
    assert sorted(everything) == sorted(numbers)
    assert {numbers[letter["partition"], letter["offset"]] for letter in letters} == set(range(50, RECORDS, 100))
    assert all(letter["reason"] == "rule" and str(letter["detail"]).startswith("price: ") for letter in letters)
    assert all(row["_flags"] == wanted_flags(numbers[row["_partition"], row["_offset"]]) for row in found)  # type: ignore[index]

    alerts = consumed(kafka_servers, alert_topic)
    assert {alert["event"] for alert in alerts} == {"quality_violations"}
    by_rule = {
        rule: [a for a in alerts if a["rule"] == rule] for rule in ("price", "side", "big", "jump", "ids", "alive", "ordered")
    }
    assert all(a["on_violation"] == "dead-letter" for a in by_rule["price"])
    # Told by this process: of every batch since the kill, once; a batch may have been told by the one that was killed, too.
    told = [(a["partition"], a["start"], a["rule"]) for a in alerts if a["start"] is not None]
    assert len(told) == len(set(told))
    assert sum(a["violations"] for a in by_rule["side"]) >= RECORDS // 2 // 40
    assert [a["violations"] for a in by_rule["jump"]] == [1]
    assert by_rule["alive"]
    assert by_rule["ordered"], "tick 0 again is older than the rest"
    proved = subprocess.run(
        [sys.executable, "-m", "streamer", "verify", "--config", str(config)],
        env=daemon_environment(environment),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert proved.returncode == 0, proved.stdout + proved.stderr


def daemon_environment(environment: dict[str, str]) -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ} | environment


def consumed(servers: str, topic: str) -> list[dict[str, Any]]:
    """Every message of the topic, in order."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    found: list[dict[str, Any]] = []
    idle_since = time.monotonic()
    while time.monotonic() - idle_since < (5 if found else 30):
        message = consumer.poll(0.5)
        if message is not None and message.error() is None:
            found.append(json.loads(message.value() or b"{}"))
            idle_since = time.monotonic()
    consumer.close()
    return found
