"""Documents, tables and the report cache on a real S3 server, with an address that a browser can open."""

from __future__ import annotations

import asyncio
import sqlite3
import urllib.request
import uuid
from pathlib import Path

import pytest

from streamer import Lake
from streamer.errors import NotFound
from streamer.store.s3 import S3Store
from streamer.store.s3_settings import S3Settings
from tests.live.conftest import S3Server

pytestmark = pytest.mark.live

NASTY = ["../../etc", "/", "", "x" * 300, "é😀", "BTC/USDT", "a b+c%2F"]


@pytest.fixture
def lake_url(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    bucket = f"documents-{uuid.uuid4().hex[:10]}"

    async def make_bucket() -> None:
        store = S3Store(bucket, settings=S3Settings(region="us-east-1", endpoint_url=s3_server.endpoint))
        await store.create_bucket()
        await store.close()

    asyncio.run(make_bucket())
    return f"s3://{bucket}/lake"


def test_documents_of_any_name_come_back_and_the_latest_is_found(lake_url: str) -> None:
    with Lake.open(lake_url, cache=None) as lake:
        for user in NASTY:
            for hour in (9, 10):
                lake.documents.put(
                    "portfolio", [user, hour], at=f"2024-01-15T{hour:02d}:00", packing="zstd", tags=["é"], user_id=user
                )
        for user in NASTY:
            found = lake.documents.latest("portfolio", user_id=user)
            assert (found.data, found.tags) == ([user, 10], {"é": ""})
            assert len(lake.documents.list("portfolio", "2024-01-15", "2024-01-15T10:00", user_id=user)) == 1
        lake.documents.put("portfolio", "other", at="2024-01-15T10:00", packing="zstd", user_id=NASTY[0])
        assert [info.version for info in lake.documents.versions("portfolio", at="2024-01-15T10:00", user_id=NASTY[0])] == [
            1,
            2,
        ]
        with pytest.raises(NotFound):
            lake.documents.latest("portfolio", user_id="nobody")


def test_a_table_goes_there_and_back(lake_url: str) -> None:
    source, target = sqlite3.connect(":memory:"), sqlite3.connect(":memory:")
    source.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x REAL, b BLOB)")
    source.executemany("INSERT INTO t VALUES (?, ?, ?)", [(n, n / 7, bytes([n % 256])) for n in range(1000)])
    with Lake.open(lake_url, cache=None) as lake:
        lake.documents.backup_table(source, "t")
        lake.documents.restore_table("t", target)

    assert target.execute("SELECT * FROM t").fetchall() == source.execute("SELECT * FROM t").fetchall()
    source.close()
    target.close()


def test_a_report_is_computed_once_found_by_another_machine_and_opened_in_a_browser(lake_url: str, tmp_path: Path) -> None:
    key, computed = ("BTC/USDT", "2026-01-03", "report.json"), []

    def compute() -> bytes:
        computed.append(1)
        return b"report"

    for machine in ("a", "a", "b"):
        with Lake.open(lake_url, cache=tmp_path / machine) as lake:
            assert lake.cache("reports", ttl="24h").get_or_compute(key, compute) == b"report"
            assert lake.list_keys("cache/") == ["cache/reports/BTC%2FUSDT/2026-01-03/report.json"]
    assert computed == [1]

    with Lake.open(lake_url, cache=None) as lake:
        info = lake.documents.put("report", b"%PDF", at="2026-01-03", ticker="BTC/USDT")
        with urllib.request.urlopen(lake.documents.presign(info, 60)) as answer:
            assert answer.read() == b"%PDF"
            assert answer.headers["content-type"] == "application/pdf"
