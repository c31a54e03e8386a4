"""Bundles on an S3 server (moto): ten cold processes fetch once, as the server sees it."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from bundle_world import load_in_processes, make_folder

from streamer import Lake
from streamer.store.s3 import S3Store
from streamer.store.s3_settings import S3Settings
from tests.moto_server import moto_server

BUCKET = "bundles"
_REQUEST = re.compile(r"(GET|HEAD|PUT|POST|DELETE) (/[^ ?]*)")


class Requests(logging.Handler):
    """The lines of the server's log, counted by method and key."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[tuple[str, str]] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        if (request := _REQUEST.search(record.getMessage())) is not None:  # it may be coloured
            self.seen[request[1], request[2]] += 1


@pytest.fixture
def requests() -> Iterator[Requests]:
    handler, log = Requests(), logging.getLogger("werkzeug")
    level, propagate = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    yield handler
    log.removeHandler(handler)
    log.setLevel(level)
    log.propagate = propagate


@pytest.fixture
def endpoint(requests: Requests) -> Iterator[str]:
    with moto_server(verbose=True) as address:
        asyncio.run(create_bucket(address))
        yield address


def access(endpoint: str) -> dict[str, str]:
    return {"region": "us-east-1", "endpoint_url": endpoint, "access_key_id": "key", "secret_access_key": "secret"}


async def create_bucket(endpoint: str) -> None:
    store = S3Store(BUCKET, settings=S3Settings(**access(endpoint)))
    await store.create_bucket()
    await store.close()


@pytest.mark.thorough
def test_ten_cold_processes_download_once_and_a_warm_one_not_at_all(endpoint: str, requests: Requests, tmp_path: Path) -> None:
    environment = {
        "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"
    }  # fmt: skip
    with Lake.open(f"s3://{BUCKET}/lake", cache=None, **access(endpoint)) as lake:
        lake.bundles.push(make_folder(tmp_path / "a"), "libs")
    version = ("GET", f"/{BUCKET}/lake/bundles/versions/libs_v1.zip")
    requests.seen.clear()

    said = asyncio.run(load_in_processes(f"s3://{BUCKET}/lake", tmp_path / "to", 10, environment))
    assert [one["answer"] for one in said] == [42] * 10
    assert sum(one["fetched"] for one in said) == 1
    assert requests.seen[version] == 1

    requests.seen.clear()
    (warm,) = asyncio.run(load_in_processes(f"s3://{BUCKET}/lake", tmp_path / "to", 1, environment))
    assert (warm["fetched"], warm["answer"]) == (False, 42)
    assert [key for method, key in requests.seen if "bundles/" in key] == []
