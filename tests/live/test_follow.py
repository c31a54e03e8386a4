"""`lake.follow` against a real Kafka: the tail's contract, and every acknowledged record once while the daemon is killed."""

from __future__ import annotations

import asyncio
import random
import threading
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import boto3
import pytest

from streamer import Lake
from streamer.clock import SystemClock
from streamer.errors import Invalid
from streamer.lake.follow import Follow
from streamer.source.kafka_tail import KafkaTail
from streamer.source.tail import Tail
from streamer.store.open import create_place
from streamer.store.s3_settings import S3Settings
from tests.contracts.kafka_world import KafkaWorld
from tests.contracts.tail_contract import StableTailContract, TailContract
from tests.live.conftest import S3Server
from tests.live.daemons import Daemon, Ledger

CONFIG = """
[streams.ticks]
topic = "{topic}"
cut = {{ rows = 400, age = "1s" }}
[streams.signals]
enabled = false
[streams.features]
enabled = false
"""


class LiveTailWorld(KafkaWorld):
    def tail(self) -> Tail:
        return KafkaTail(self.settings, SystemClock())


class TestKafkaTailLive(TailContract, StableTailContract):
    @pytest.fixture
    async def world(self, kafka_servers: str) -> AsyncIterator[LiveTailWorld]:
        world = LiveTailWorld(kafka_servers, "getmany")
        yield world
        await world.close()


class Reading:
    """A follower in a thread of its own, as a program has it."""

    def __init__(self, followed: Follow) -> None:
        self.followed = followed
        self.rows: list[tuple[int, int, float]] = []
        self.error: BaseException | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for batch in self.followed.batches():
                columns = (batch[name].to_pylist() for name in ("_partition", "_offset", "price"))
                self.rows.extend(zip(*columns, strict=True))
        except BaseException as error:
            self.error = error
            self._ended.set()

    def take(self, rows: int, timeout_seconds: float = 90) -> list[tuple[int, int, float]]:
        """All rows, once there are so many."""
        for _ in range(int(timeout_seconds * 10)):
            if len(self.rows) >= rows or self._ended.wait(0.1):
                break
        assert self.error is None, self.error
        return self.rows


def message(number: int) -> bytes:
    """Every fiftieth is no tick."""
    return (
        b"{"
        if number % 50 == 49
        else b'{"symbol":"S%d","price":%d,"timestamp":%d}' % (number % 3, number, 1.7e12 + number * 977)
    )


@pytest.mark.parametrize("place", ["directory", "bucket"])
def test_every_acknowledged_record_comes_once_across_kill_nine_of_the_daemon(
    place: str,
    kafka_servers: str,
    s3_server: S3Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    name = f"follow-{uuid.uuid4().hex[:10]}"
    url = f"s3://{name}" if place == "bucket" else str(tmp_path / "lake")
    for key, value in s3_server.environment.items():
        monkeypatch.setenv(key, value)
    config = tmp_path / "streamer.toml"
    config.write_text(CONFIG.format(topic=name))
    environment = {
        **s3_server.environment,
        "KAFKA_BOOTSTRAP_SERVERS": kafka_servers,
        "STREAMER__KAFKA__GROUP_ID": name,
        "STREAMER__KAFKA__GROUP_INSTANCE_ID": name,
        "STREAMER__KAFKA__SESSION_TIMEOUT": "6s",
        "STREAMER__LAKE__URL": url,
        "STREAMER__HTTP__PORT": "0",
    }
    make_place(url, s3_server)
    request.addfinalizer(lambda: remove_place(url, s3_server))
    ledger = Ledger(kafka_servers)
    ledger.create_topic(name, 3)
    chance = random.Random(7)
    numbers = iter(range(1 << 30))

    def produce(count: int) -> None:
        ledger.produce(name, [message(next(numbers)) for _ in range(count)], 3)

    produce(3000)
    daemon = Daemon.start(environment, tmp_path / "daemon.log", "--config", str(config))
    readings: list[Reading] = []
    with Lake.open(url, cache=None) as lake:
        while not lake.list_keys("_streamer/positions/"):
            threading.Event().wait(0.2)
        for _ in range(3):
            readings.append(Reading(lake.follow("ticks", bootstrap_servers=kafka_servers)))
            for _ in range(4):
                produce(chance.randrange(100, 600))
                threading.Event().wait(chance.random())
            daemon.kill()
            produce(chance.randrange(50, 500))
            daemon = Daemon.start(environment, tmp_path / "daemon.log", "--config", str(config))
        produce(500)
        expected = sorted((p, o, v) for (_, p, o), v in ledger.acknowledged.items() if v != b"{")
        for reading in readings:
            reading.take(len(expected))
        threading.Event().wait(2)  # for what would come twice
        found = [sorted(reading.take(len(expected))) for reading in readings]
        assert daemon.stop() == 0
        late = sorted(
            (row["_partition"], row["_offset"])
            for row in lake.follow("ticks", bootstrap_servers=kafka_servers, until_caught_up=True)
        )
        offsets = [reading.followed.offsets for reading in readings]

    for rows in found:
        assert [(p, o) for p, o, _ in rows] == [(p, o) for p, o, _ in expected]
        assert all(
            f'"price":{int(price)},'.encode() in value for (_, _, price), (_, _, value) in zip(rows, expected, strict=True)
        )
    assert late == [(p, o) for p, o, _ in expected]
    assert {tuple(sorted(found)) for found in offsets} == {(name,)}


def make_place(url: str, server: S3Server) -> None:
    settings = S3Settings(
        region="us-east-1",
        endpoint_url=server.endpoint,
        access_key_id=server.access_key,
        secret_access_key=server.secret_key,
    )
    asyncio.run(create_place(url, settings, SystemClock()))


def remove_place(url: str, server: S3Server) -> None:
    if url.startswith("s3://"):
        keys = {"aws_access_key_id": server.access_key, "aws_secret_access_key": server.secret_key}
        bucket = boto3.resource("s3", endpoint_url=server.endpoint, region_name="us-east-1", **keys).Bucket(url[5:])
        bucket.objects.delete()
        bucket.delete()


def test_where_kafka_is_must_be_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    with Lake.open(str(tmp_path / "lake"), create=True, cache=None) as lake, pytest.raises(Invalid, match="bootstrap"):
        lake.follow("ticks")
