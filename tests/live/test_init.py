"""`streamer init` on a real Kafka and a real S3 server, which has not everything that Amazon's has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from streamer.clock import SystemClock
from streamer.source.probe import probe
from streamer.source.settings import KafkaSettings
from tests.live.conftest import S3Server


def streamer(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("STREAMER", "AWS_", "S3_", "KAFKA_"))}
    return subprocess.run(
        [sys.executable, "-m", "streamer", *arguments],
        cwd=cwd, env=clean | environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


async def test_bucket_and_topics_are_made_once_and_what_the_server_lacks_is_said(
    tmp_path: Path, kafka_servers: str, s3_server: S3Server
) -> None:
    token = SystemClock().token()[:12].lower()
    environment = {
        **s3_server.environment,
        "KAFKA_BOOTSTRAP_SERVERS": kafka_servers,
        "S3_BUCKET_NAME": f"init-{token}",
        "STREAMER__TOPICS__PARTITIONS": "3",
        "STREAMER__TOPICS__RETENTION": "2h",
        "STREAMER__STREAMS__TICKS__TOPIC": f"init-{token}-ticks",
        "STREAMER__STREAMS__SIGNALS__ENABLED": "false",
        "STREAMER__STREAMS__FEATURES__ENABLED": "false",
    }
    told = [
        streamer("init", "--topics", *flags, "--json", cwd=tmp_path, **environment)
        for flags in (["--dry-run"], ["--yes"], ["--yes"])
    ]

    assert [ended.returncode for ended in told] == [0, 0, 0], told
    dry, first, second = ({step["about"]: step for step in json.loads(ended.stdout)["steps"]} for ended in told)
    topic = f"topic init-{token}-ticks"
    assert dry["bucket"]["action"] == first["bucket"]["action"] == dry[topic]["action"] == "create"
    assert first[topic]["wanted"] == ["3 partitions", "copies as the brokers choose", "records kept for 2h"]
    assert second["bucket"]["action"] == second["versioning"]["action"] == second[topic]["action"] == "keep"
    assert all(step["action"] == "keep" or step["remark"] for step in second.values())
    report = await probe(KafkaSettings(kafka_servers), [f"init-{token}-ticks"], SystemClock())
    assert report.topics[0].partitions == 3


async def test_a_plan_is_measured_on_the_records_of_a_real_topic(tmp_path: Path, kafka_servers: str) -> None:
    topic = f"plan-{SystemClock().token()[:12].lower()}"
    admin = AdminClient({"bootstrap.servers": kafka_servers})
    admin.create_topics([NewTopic(topic, 2, 1)])[topic].result(30)
    producer, start = Producer({"bootstrap.servers": kafka_servers}), 1_790_000_000_000
    for number in range(1000):
        body = {"symbol": f"S{number % 5}", "price": 100 + number / 8, "quantity": 1.5}
        producer.produce(topic, json.dumps(body).encode(), partition=number % 2, timestamp=start + number * 10)
    assert producer.flush(30) == 0
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka_servers,
        "STREAMER__STREAMS__TICKS__TOPIC": topic,
        "STREAMER__STREAMS__SIGNALS__ENABLED": "false",
        "STREAMER__STREAMS__FEATURES__ENABLED": "false",
    }
    ended = streamer("plan", "--from-topic", "--json", cwd=tmp_path, **environment)

    assert ended.returncode == 0, ended
    (ticks,) = json.loads(ended.stdout)["streams"]
    assert ticks["rate_origin"] == "measured on the topic"
    assert 95 < ticks["records_per_second"] < 105
    assert 60 < ticks["batch_seconds"] < 61
    # Both partitions have rows of all five symbols, and a batch of each is cut every minute.
    assert 1.9 < ticks["files"] / (86_400 / ticks["batch_seconds"]) / 5 < 2.1
