"""`streamer mark-cold`: only raw files whose rows a proven archive holds may go where a GET does not answer (moto)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import boto3
import pytest

from streamer.archive.cold import MarkedDay, mark_certified
from streamer.archive.day import end_of
from streamer.archive.inputs import take_stock
from streamer.cli.main import main
from streamer.config import Settings
from streamer.config.clients import s3_settings
from streamer.store.contract import Overwrite
from streamer.store.s3 import S3Store
from streamer.testing.manual_clock import ManualClock
from streamer.workers import InlineWorkers
from tests.unit.archive.archive_lake import DAY, STREAMS, close, everything_complete, partition, tick

Configured = Callable[..., Settings]
NINETY_DAYS = 90 * 86_400.0


@pytest.fixture
async def store(configured: Configured) -> AsyncIterator[S3Store]:
    """A lake with one certified day of ticks, and one that was never closed."""
    settings = configured("lake")
    made = S3Store(settings.lake.url.removeprefix("s3://").split("/")[0], "lake", s3_settings(settings))  # type: ignore[union-attr]
    await made.create_bucket()
    ticks = partition(made)
    await ticks.batch([tick(1, price=2), tick(70, price=4), tick(5, "ETH")])
    await everything_complete(ticks)
    await close(made)
    await ticks.batch([tick(86_400, price=5)])
    yield made
    await made.close()


async def mark(store: S3Store, days_later: int, **options: object) -> list[MarkedDay]:
    clock = ManualClock(start=end_of(DAY) + timedelta(days=days_later))
    stock = await take_stock(store, [stream.name for stream in STREAMS])
    return [
        marked
        async for marked in mark_certified(
            store,
            store,
            stock,
            clock,
            InlineWorkers(),
            older_seconds=NINETY_DAYS,
            **options,  # type: ignore[arg-type]
        )
    ]


def tagged(endpoint: str, bucket: str) -> set[str]:
    s3 = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="root", aws_secret_access_key="root"
    )
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    wanted = [{"Key": "streamer", "Value": "certified"}]
    return {key for key in keys if s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"] == wanted}


async def test_raw_files_of_a_certified_day_are_tagged_and_nothing_else(store: S3Store, endpoint: str, bucket: str) -> None:
    (marked,) = await mark(store, 91)
    found = await asyncio.to_thread(tagged, endpoint, bucket)

    assert (marked.day, marked.files, marked.problem) == (DAY, 2, None)
    assert len(found) == 2
    assert all(key.startswith("lake/raw/ticks/") and f"date={DAY}" in key for key in found)


async def test_a_day_that_is_not_old_enough_or_long_of_age_is_left_alone(store: S3Store, endpoint: str, bucket: str) -> None:
    assert await mark(store, 89) == []
    assert await mark(store, 120, within_seconds=7 * 86_400.0) == []
    assert [day.files for day in await mark(store, 96, within_seconds=7 * 86_400.0, dry_run=True)] == [2]
    assert await asyncio.to_thread(tagged, endpoint, bucket) == set()


async def test_where_the_archive_is_not_what_was_certified_the_raw_files_stay_within_reach(
    store: S3Store, endpoint: str, bucket: str
) -> None:
    await store.put(f"ticks/BTC/{DAY}.parquet", b"something else", mode=Overwrite())
    (marked,) = await mark(store, 91)

    assert marked.problem is not None
    assert await asyncio.to_thread(tagged, endpoint, bucket) == set()


async def test_the_command_tags_and_says_what(
    store: S3Store, endpoint: str, bucket: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {
        "ENDPOINT_URL": endpoint,
        "ACCESS_KEY_ID": "k",
        "SECRET_ACCESS_KEY": "s",
        "REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    status = await asyncio.to_thread(main, ["mark-cold", "--all", "--json", "--lake", f"s3://{bucket}/lake"])

    assert status == 0
    assert json.loads(capsys.readouterr().out)["days"][0]["files"] == 2
    assert len(await asyncio.to_thread(tagged, endpoint, bucket)) == 2
    assert await asyncio.to_thread(main, ["mark-cold", "--lake", "./somewhere"]) == 2
