"""Models on an S3 server (moto): many at once, parts, and two processes."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from model_processes import trainer_and_engine
from model_world import assert_whole, crowd, models_of, write

from streamer.clock import SystemClock
from streamer.store.contract import Store
from streamer.store.retry import RetryingStore
from streamer.store.s3 import S3Store
from streamer.store.s3_settings import S3Settings
from tests.moto_server import moto_server

BUCKET = "models"
_numbers = itertools.count()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_server() as address:
        asyncio.run(create_bucket(address))
        yield address


async def create_bucket(endpoint: str) -> None:
    store = S3Store(BUCKET, settings=access(endpoint))
    await store.create_bucket()
    await store.close()


def access(endpoint: str) -> S3Settings:
    return S3Settings(region="us-east-1", endpoint_url=endpoint, access_key_id="key", secret_access_key="secret")


@pytest.fixture
async def store(endpoint: str) -> AsyncIterator[Store]:
    clock = SystemClock()
    store = RetryingStore(S3Store(BUCKET, f"lake-{next(_numbers)}", access(endpoint)), clock)
    await store.prepare()
    yield store
    await store.close()


@pytest.mark.thorough
async def test_twenty_pushers_and_promoters_lose_nothing(store: Store, tmp_path: Path) -> None:
    await crowd([store], tmp_path, SystemClock(), turns=1, walk=(1, 2))


async def test_a_big_file_goes_in_parts_and_comes_back(store: Store, tmp_path: Path) -> None:
    content = random.Random(5).randbytes((11 << 20) + 7)
    models = models_of(store, SystemClock())

    await models.push(write(tmp_path / "net.pt", content))
    pulled = await models.pull("net", tmp_path / "out.pt")

    assert pulled.path.read_bytes() == content
    assert (await store.head("models/versions/net_v1.pt")).etag.endswith('-3"')  # three parts
    await assert_whole(store, {"net": [content]}, suffix=".pt")
    assert [upload async for upload in store.list_uploads()] == []


@pytest.mark.thorough
async def test_an_engine_never_sees_a_torn_file(store: Store, endpoint: str, tmp_path: Path) -> None:
    environment = {
        "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"
    }  # fmt: skip

    seen = await trainer_and_engine(store.url, tmp_path, 8, environment=environment)

    assert seen == sorted(set(seen))
    assert seen[-1] == 8
