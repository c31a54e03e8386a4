"""Bundles on a real S3 server: pushed in parts, loaded by ten cold processes at once, fetched by one."""

from __future__ import annotations

import asyncio
import random
import sys
import uuid
from pathlib import Path

import pytest

from streamer import Lake
from streamer.store.s3 import S3Store
from streamer.store.s3_settings import S3Settings
from tests.live.conftest import S3Server

sys.path.insert(0, str(Path(__file__).parents[1] / "unit/bundles"))

from bundle_world import load_in_processes, make_folder

pytestmark = pytest.mark.live


def test_ten_cold_processes_load_a_bundle_of_many_parts_once(s3_server: S3Server, tmp_path: Path) -> None:
    bucket = f"bundles-{uuid.uuid4().hex[:10]}"
    access = {
        "region": "us-east-1", "endpoint_url": s3_server.endpoint, "access_key_id": s3_server.access_key,
        "secret_access_key": s3_server.secret_key,
    }  # fmt: skip

    async def make_bucket() -> None:
        store = S3Store(bucket, settings=S3Settings(**access))
        await store.create_bucket()
        await store.close()

    asyncio.run(make_bucket())
    (make_folder(tmp_path / "a") / "weights.bin").write_bytes(random.Random(1).randbytes(12 << 20))
    with Lake.open(f"s3://{bucket}/lake", cache=None, **access) as lake:
        pushed = lake.bundles.push(tmp_path / "a", "libs")
        assert lake.bundles.push(tmp_path / "a", "libs") == pushed

        said = asyncio.run(load_in_processes(lake.url, tmp_path / "to", 10, s3_server.environment))

        assert [one["answer"] for one in said] == [42] * 10
        assert sum(one["fetched"] for one in said) == 1
        assert Path(said[0]["path"], "weights.bin").read_bytes() == (tmp_path / "a/weights.bin").read_bytes()
        assert lake.bundles.check().sound
