"""The commands that stand between a lake and a real Kafka: verify, positions accept, dead-letters redrive, columns."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import tomllib
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import boto3
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from streamer.clock import SystemClock
from streamer.lake.finding import FindingKind, Report
from streamer.lake.reader import Reader
from streamer.lake.request import ReadRequest
from streamer.lake.verify import verify
from streamer.store.open import open_store
from streamer.store.s3_settings import S3Settings
from tests.live.conftest import S3Server
from tests.unit.lake.lake_builder import LakeBuilder, ticks_of

WAIT_SECONDS = 30.0


class Bench:
    """One topic, one lake in a directory, one configuration file, and the command line as a shell runs it."""

    def __init__(self, kafka: str, folder: Path) -> None:
        self.kafka = kafka
        self.topic = f"lake-commands-{uuid.uuid4().hex[:10]}"
        self.lake = folder / "lake"
        self.lake.mkdir()
        self.config = folder / "streamer.toml"
        self.admin = AdminClient({"bootstrap.servers": kafka})
        self.configure()

    def configure(self, columns: str = "") -> None:
        self.config.write_text(
            f'[kafka]\nbootstrap_servers = "{self.kafka}"\ngroup_id = "{self.topic}"\n'
            f'[lake]\nurl = "{self.lake}"\n[http]\nenabled = false\n'
            f'[streams.ticks]\ntopic = "{self.topic}"\n'
            "[streams.signals]\nenabled = false\n[streams.features]\nenabled = false\n"
            f"[streams.ticks.columns]\n{columns}\n"
        )

    def create(self, partitions: int = 1) -> None:
        self.admin.create_topics([NewTopic(self.topic, partitions, 1)])[self.topic].result()
        self.wait(lambda: self.topic in self.admin.list_topics(timeout=10).topics)

    def delete(self) -> None:
        self.admin.delete_topics([self.topic])[self.topic].result()
        self.wait(lambda: self.topic not in self.admin.list_topics(timeout=10).topics)

    def wait(self, done: Callable[[], bool]) -> None:
        until = time.monotonic() + WAIT_SECONDS
        while not done():
            assert time.monotonic() < until, "Kafka did not follow"
            time.sleep(0.1)

    def produce(self, values: Sequence[bytes], partition: int = 0) -> None:
        producer = Producer({"bootstrap.servers": self.kafka, "enable.idempotence": True})
        for number, value in enumerate(values):
            producer.produce(self.topic, value, key=b"k%d" % number, partition=partition, headers=[("origin", b"test")])
        assert producer.flush(WAIT_SECONDS) == 0

    def records(self, partition: int = 0) -> list[Any]:
        """Everything in the partition, read by a client that is not ours."""
        consumer = Consumer({"bootstrap.servers": self.kafka, "group.id": uuid.uuid4().hex, "enable.auto.commit": False})
        consumer.assign([TopicPartition(self.topic, partition, 0)])
        _, end = consumer.get_watermark_offsets(TopicPartition(self.topic, partition), timeout=10)
        found: list[Any] = []
        while len(found) < end:
            message = consumer.poll(10)
            assert message is not None
            found.append(message)
        consumer.close()
        return found

    def streamer(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        command = [sys.executable, "-m", "streamer", *arguments, "--config", str(self.config)]
        return subprocess.run(command, env=keep, capture_output=True, text=True, timeout=120, check=False)

    def run(self) -> int:
        return self.streamer("run", "--until-caught-up").returncode

    def json(self, *arguments: str) -> tuple[int, Any]:
        ended = self.streamer(*arguments, "--json")
        return ended.returncode, json.loads(ended.stdout or ended.stderr)

    def rows(self) -> list[dict[str, Any]]:
        files = sorted(self.lake.glob("raw/ticks/**/*.parquet"))
        return [row for file in files for row in pq.read_table(file, partitioning=None).to_pylist()]


@pytest.fixture
def bench(kafka_servers: str, tmp_path: Path) -> Bench:
    return Bench(kafka_servers, tmp_path)


def tick(number: int, **more: object) -> bytes:
    return json.dumps({"symbol": "BTC", "price": number / 4, "timestamp": 1_704_067_200_000 + number, **more}).encode()


def test_dead_letters_come_back_as_rows_after_the_schema_is_fixed(bench: Bench) -> None:
    bench.create()
    bench.configure('bid = "bool"')
    bench.produce([tick(n, bid=n / 2) for n in range(5)])
    assert bench.run() == 0
    assert bench.rows() == []
    _, before = bench.json("dead-letters", "list")

    bench.configure('bid = "float64"')
    sent, answer = bench.json("dead-letters", "redrive", "--stream", "ticks", "--yes")
    assert bench.run() == 0

    assert [(entry["open"], entry["done"]) for entry in before["dead_letters"]] == [(5, 0)]
    assert (sent, answer["sent"]) == (0, 5)
    assert sorted((row["bid"], row["_offset"], row["_key"]) for row in bench.rows()) == [
        (n / 2, 5 + n, b"k%d" % n) for n in range(5)
    ]
    original, again = bench.records()[0], bench.records()[5]
    assert (again.key(), again.value(), again.timestamp()) == (original.key(), original.value(), original.timestamp())
    assert again.headers() == [
        ("origin", b"test"),
        ("streamer-redriven-from", f"{bench.topic}/0/0".encode()),
        ("streamer-redrive-reason", b"wrong_type"),
    ]
    _, after = bench.json("dead-letters", "list")
    assert [(entry["open"], entry["done"]) for entry in after["dead_letters"]] == [(0, 5)]
    assert bench.json("dead-letters", "redrive", "--yes")[1]["found"] == 0
    assert len(bench.records()) == 10
    assert bench.json("verify")[0] == 0


def test_redriving_to_a_topic_that_does_not_exist_creates_none(bench: Bench) -> None:
    bench.create()
    bench.produce([b"nonsense"])
    assert bench.run() == 0

    ended = bench.streamer("dead-letters", "redrive", "--to", f"{bench.topic}-other", "--yes")

    assert ended.returncode == 2
    assert f"{bench.topic}-other" not in bench.admin.list_topics(timeout=10).topics
    assert bench.json("dead-letters", "list")[1]["dead_letters"][0]["open"] == 1


@pytest.mark.parametrize("again", [3, 10, 30], ids=["fewer records", "as many", "more"])
def test_a_topic_made_anew_is_accepted_and_goes_on_under_a_new_lineage(bench: Bench, again: int) -> None:
    bench.create()
    bench.produce([tick(n) for n in range(10)])
    assert bench.run() == 0
    bench.delete()
    bench.create()
    bench.produce([tick(1000 + n) for n in range(again)])

    refused = bench.run()
    shown, proposal = bench.json("verify")
    status, accepted = bench.json("positions", "accept", bench.topic, "0", "--yes")
    went_on = bench.run()

    assert (refused, status, went_on) == (6, 0, 0)
    assert shown == (5 if again < 10 else 0), proposal
    assert (accepted["lineage"], accepted["committed"], accepted["start"]) == (1, 0, 0)
    assert sorted(row["price"] for row in bench.rows()) == [n / 4 for n in (*range(10), *range(1000, 1000 + again))]
    names = sorted(file.name for file in bench.lake.glob("raw/ticks/**/*.parquet"))
    assert any(name.endswith("-l1.parquet") for name in names)
    sound, report = bench.json("verify")
    assert (sound, [p["lineage"] for p in report["partitions"]]) == (0, [0, 1])
    assert report["partitions"][1]["lag_records"] == 0


def test_accepting_the_topic_that_was_archived_is_refused(bench: Bench) -> None:
    bench.create()
    bench.produce([tick(n) for n in range(4)])
    assert bench.run() == 0

    ended = bench.streamer("positions", "accept", bench.topic, "0", "--yes")

    assert ended.returncode == 2
    assert "nothing to accept" in ended.stderr
    assert bench.json("positions", "show", bench.topic, "0")[1]["lineage"] == 0


def test_lag_is_told_for_each_partition(bench: Bench) -> None:
    bench.create(2)
    bench.produce([tick(n) for n in range(4)], 0)
    bench.produce([tick(n) for n in range(3)], 1)
    assert bench.run() == 0
    bench.produce([tick(n) for n in range(6)], 1)

    status, report = bench.json("verify")
    _, positions = bench.json("positions", "list", "--lag")

    assert status == 0
    assert [(p["partition"], p["lag_records"]) for p in report["partitions"]] == [(0, 0), (1, 6)]
    assert [(p["partition"], p["lag"]) for p in positions["positions"]] == [(0, 0), (1, 6)]


def test_columns_are_read_off_the_newest_records_and_leave_no_trace(bench: Bench) -> None:
    bench.create(3)
    for partition in range(3):
        bench.produce([tick(n, ask="old") for n in range(50)], partition)
        bench.produce([tick(n, bid=n + 0.5, is_maker=True, E=1_704_067_200_000) for n in range(20)], partition)

    ended = bench.streamer("columns", bench.topic, "--sample", "60")

    groups = [group.group_id for group in bench.admin.list_consumer_groups().result().valid]
    assert ended.returncode == 0
    assert tomllib.loads(ended.stdout)["streams"]["ticks"]["columns"] == {
        "bid": "float64",
        "is_maker": "bool",
        "E": "timestamp[us, UTC]",
    }
    assert bench.topic not in groups


def test_columns_of_a_topic_that_does_not_exist_creates_none(bench: Bench) -> None:
    assert bench.streamer("columns", bench.topic).returncode == 2
    assert bench.topic not in bench.admin.list_topics(timeout=10).topics


def test_a_lake_in_a_real_bucket_is_proved_and_scanned_by_ranges(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.lake.stored_file.WHOLE_BYTES", 64 << 10)
    bucket = f"lake-commands-{uuid.uuid4().hex[:10]}"
    client = boto3.client(
        "s3",
        endpoint_url=s3_server.endpoint,
        aws_access_key_id=s3_server.access_key,
        aws_secret_access_key=s3_server.secret_key,
        region_name="us-east-1",
    )
    client.create_bucket(Bucket=bucket)
    access = S3Settings(
        region="us-east-1",
        endpoint_url=s3_server.endpoint,
        access_key_id=s3_server.access_key,
        secret_access_key=s3_server.secret_key,
    )

    async def proved(*, build: bool) -> tuple[Report, int]:
        store = open_store(f"s3://{bucket}/some/prefix", access, SystemClock())
        await store.prepare()
        if build:
            lake = LakeBuilder(store)
            await lake.batch(ticks_of(range(200), bad=[7], every_seconds=600))
            await lake.batch(ticks_of(range(200, 120_200), every_seconds=0.1))  # files large enough to be read by ranges
        report = await verify(store)
        read = await Reader(store).prepare(ReadRequest("ticks", symbols=frozenset({"ETH/USDT"}), columns=("_offset",)))
        rows = [batch.num_rows async for batch in read.unsorted_batches()]
        await store.close()
        return report, sum(rows)

    sound, eth = asyncio.run(proved(build=True))
    listed = client.list_objects_v2(Bucket=bucket, Prefix="some/prefix/raw/")["Contents"]
    lost = max(listed, key=lambda item: item["Size"])
    client.delete_object(Bucket=bucket, Key=lost["Key"])
    damaged, _ = asyncio.run(proved(build=False))

    assert lost["Size"] > 64 << 10
    assert (sound.findings, sound.rows, sound.dead_letters) == ((), 120_199, 1)
    assert eth == sum(1 for offset in range(120_200) if offset % 3 == 1 and offset != 7)
    assert {(f.kind, f.start, f.end) for f in damaged.findings} == {(FindingKind.SIBLING_MISSING, 200, 120_200)}
