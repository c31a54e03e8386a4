"""Models on a real S3 server: many at once, parts, conditional completion, two processes."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from streamer import Lake
from streamer.clock import SystemClock
from streamer.errors import Conflict, NotFound
from streamer.store.contract import Create, Store
from streamer.store.retry import RetryingStore
from streamer.store.s3 import S3Store
from streamer.store.s3_settings import S3Settings
from streamer.workers import InlineWorkers
from tests.live.conftest import S3Server
from tests.live.daemons import Daemon, Ledger

sys.path.insert(0, str(Path(__file__).parents[1] / "unit/models"))

from model_processes import trainer_and_engine
from model_world import assert_whole, crowd, models_of, sha256, write

pytestmark = pytest.mark.live

BUCKET = f"models-{uuid.uuid4().hex[:10]}"


@pytest.fixture
async def store(s3_server: S3Server) -> AsyncIterator[Store]:
    access = S3Settings(
        region="us-east-1",
        endpoint_url=s3_server.endpoint,
        access_key_id=s3_server.access_key,
        secret_access_key=s3_server.secret_key,
    )
    inner = S3Store(BUCKET, uuid.uuid4().hex[:8], access)
    await inner.create_bucket()
    store = RetryingStore(inner, SystemClock())
    await store.prepare()
    yield store
    await store.close()


async def test_twenty_pushers_and_promoters_lose_nothing(store: Store, tmp_path: Path) -> None:
    await crowd([store], tmp_path, SystemClock())


async def test_a_big_file_goes_in_parts_and_many_pushers_of_them_lose_nothing(store: Store, tmp_path: Path) -> None:
    contents = [random.Random(number).randbytes((17 << 20) + number) for number in range(4)]
    files = [write(tmp_path / str(number) / "net.pt", content) for number, content in enumerate(contents)]

    await asyncio.gather(*(models_of(store, SystemClock()).push(file) for file in files))

    await assert_whole(store, {"net": contents}, suffix=".pt")
    pulled = await models_of(store, SystemClock()).pull("net", tmp_path / "out.pt")
    assert sha256(pulled.path.read_bytes()) == pulled.version.sha256
    assert (await store.head("models/versions/net_v1.pt")).etag.endswith('-4"')
    assert [upload async for upload in store.list_uploads()] == []


async def test_parts_do_not_replace_what_is_there(store: Store, tmp_path: Path) -> None:
    from streamer.models.local_file import LocalFile
    from streamer.store.big_objects import put_content

    content = bytes(9 << 20)
    await store.put("models/versions/net_v1.pt", b"first", mode=Create())
    workers = InlineWorkers()
    async with await LocalFile.open(write(tmp_path / "net.pt", content), workers) as file:
        with pytest.raises(Conflict):
            await put_content(store, "models/versions/net_v1.pt", file, sha256=sha256(content), mode=Create(), workers=workers)

    assert (await store.get("models/versions/net_v1.pt")).body == b"first"
    assert [upload async for upload in store.list_uploads()] == []


async def test_an_engine_never_sees_a_torn_file(store: Store, s3_server: S3Server, tmp_path: Path) -> None:
    seen = await trainer_and_engine(store.url, tmp_path, 30, environment=s3_server.environment)

    assert seen == sorted(set(seen))
    assert seen[-1] == 30


def test_the_daemon_pushes_what_a_trainer_writes_and_a_kill_repeats_nothing(
    kafka_servers: str, s3_server: S3Server, tmp_path: Path
) -> None:
    bucket = f"daemon-models-{uuid.uuid4().hex[:8]}"
    asyncio.run(make_bucket(s3_server, bucket))
    (tmp_path / "volume").mkdir()
    environment = {
        **s3_server.environment,
        "KAFKA_BOOTSTRAP_SERVERS": kafka_servers,
        "S3_BUCKET_NAME": bucket,
        "STREAMER__KAFKA__GROUP_ID": bucket,
        "STREAMER__STREAMS__TICKS__TOPIC": f"{bucket}-ticks",
        "STREAMER__STREAMS__SIGNALS__ENABLED": "false",
        "STREAMER__STREAMS__FEATURES__ENABLED": "false",
        "STREAMER__HTTP__PORT": "0",
        "STREAMER__LOG__FORMAT": "json",
        "STREAMER__MODELS__WATCH": str(tmp_path / "volume"),
        "STREAMER__MODELS__SETTLE": "200ms",
    }
    ledger = Ledger(kafka_servers)
    ledger.create_topic(f"{bucket}-ticks", 2)
    tick = b'{"symbol": "BTC", "price": 1, "timestamp": 1704067200000}'
    ledger.produce(f"{bucket}-ticks", [tick] * 10, 2)
    log = tmp_path / "daemon.log"

    assert Daemon.start(environment, log, "--until-caught-up").process.wait(60) == 0
    write(tmp_path / "volume/hmm.json", b'{"auc": 0.5}')
    daemon = Daemon.start(environment, log)
    with Lake.open(f"s3://{bucket}", cache=None, **lake_access(s3_server)) as lake:
        for number in range(3):
            os.replace(write(tmp_path / f"{number}.pkl", b"generation %d" % number), tmp_path / "volume/hmm.pkl")
            until(lambda number=number: latest(lake) == b"generation %d" % number)  # type: ignore[misc]
            daemon.kill()
            daemon = Daemon.start(environment, log)
        until(lambda: len(daemon.events("models_watched")) == 5)
        assert daemon.stop() == 0
        versions = lake.models.versions("hmm")
        assert lake.models.check().document()["findings"] == []

    assert [version.sha256 for version in versions] == [sha256(b"generation %d" % number) for number in range(3)]
    assert versions[0].metrics == {"auc": 0.5}
    assert sum(at.offset for at in versions[-1].trained_through) == 10
    assert {at.topic for at in versions[-1].trained_through} == {f"{bucket}-ticks"}


def latest(lake: Lake) -> bytes:
    try:
        return lake.models.open("hmm").read()
    except NotFound:
        return b""


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def lake_access(server: S3Server) -> dict[str, str]:
    return {
        "region": "us-east-1", "endpoint_url": server.endpoint, "access_key_id": server.access_key,
        "secret_access_key": server.secret_key,
    }  # fmt: skip


async def make_bucket(server: S3Server, bucket: str) -> None:
    store = S3Store(bucket, settings=S3Settings(**lake_access(server)))
    await store.create_bucket()
    await store.close()
