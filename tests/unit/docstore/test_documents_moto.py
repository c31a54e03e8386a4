"""Documents and the report cache on an S3 server (moto)."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamer import Lake
from streamer.store.s3 import S3Store
from streamer.store.s3_settings import S3Settings
from tests.moto_server import moto_server

BUCKET = "documents"
NASTY = ["../../etc", "/", "", "x" * 300, "é😀", "BTC/USDT", "a b+c%2F"]


def access(endpoint: str) -> dict[str, str]:
    return {"region": "us-east-1", "endpoint_url": endpoint, "access_key_id": "key", "secret_access_key": "secret"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_server() as address:
        asyncio.run(create_bucket(address))
        yield address


async def create_bucket(endpoint: str) -> None:
    store = S3Store(BUCKET, settings=S3Settings(**access(endpoint)))
    await store.create_bucket()
    await store.close()


def test_documents_of_any_name_come_back_with_their_versions_and_tags(endpoint: str) -> None:
    with Lake.open(f"s3://{BUCKET}/names", cache=None, **access(endpoint)) as lake:
        for user in NASTY:
            lake.documents.put("portfolio", user, at="2024-01-15", packing="gzip", tags=["é"], user_id=user)
        lake.documents.put("portfolio", "other", at="2024-01-15", packing="gzip", user_id="/")

        for user in NASTY:
            found = lake.documents.get("portfolio", at="2024-01-15", version=1, user_id=user)
            assert (found.data, found.tags) == (user, {"é": ""})
        assert lake.documents.latest("portfolio", user_id="/").info.version == 2
        assert len(lake.documents.list("portfolio")) == len(NASTY) + 1


def test_rows_of_a_table_come_back(endpoint: str) -> None:
    with Lake.open(f"s3://{BUCKET}/tables", cache=None, **access(endpoint)) as lake:
        lake.documents.backup_table([{"id": 1, "seal": b"\x00"}], "users")

        assert lake.documents.restore_table("users") == [{"id": 1, "seal": b"\x00"}]


def test_a_report_is_computed_once_for_two_machines_and_has_an_address(endpoint: str, tmp_path: Path) -> None:
    key, computed = ("BTC/USDT", "2026-01-03", "report.json"), []

    def compute() -> bytes:
        computed.append(1)
        return b"report"

    for machine in ("a", "a", "b"):
        with Lake.open(f"s3://{BUCKET}/reports", cache=tmp_path / machine, **access(endpoint)) as lake:
            assert lake.cache("reports", ttl="24h").get_or_compute(key, compute) == b"report"
            assert lake.list_keys() == ["cache/reports/BTC%2FUSDT/2026-01-03/report.json"]
    assert computed == [1]

    with Lake.open(f"s3://{BUCKET}/reports", cache=None, **access(endpoint)) as lake:
        info = lake.documents.put("report", b"%PDF", at="2026-01-03", ticker="BTC/USDT")
        assert info.key == "reports/BTC%2FUSDT/2026-01-03.pdf"
        with urllib.request.urlopen(lake.documents.presign(info, 60)) as answer:
            assert answer.read() == b"%PDF"


def test_a_processed_document_and_its_lineage(endpoint: str) -> None:
    with Lake.open(f"s3://{BUCKET}/lineage", cache=None, **access(endpoint)) as lake:
        trades = [lake.documents.put("trades", [n], at=f"2024-01-15T00:00:{n:02d}", symbol="BTC/USDT") for n in range(30)]
        few = lake.processed.store("percentiles", "BTC/USDT", {"p50": 1}, version="1.4.2", sources=trades[:2], at="2024-01-15")
        many = lake.processed.store("features", "BTC/USDT", {"x": 1}, version="é", sources=[*trades, few], at="2024-01-15")

        graph = lake.lineage(many.key)
        assert len(graph.nodes) == 32
        assert graph.complete
        assert not graph.problems
        assert {link.state for node in graph.nodes.values() for link in node.links} == {"unchanged"}
        assert (graph.node.computation, graph.node.version) == ("features", "é")
        assert [found.info for found in lake.processed.by_version("features", "BTC/USDT", "é")] == [many]
        assert [found.data for found in lake.processed.by_date("percentiles", "BTC/USDT", "2024-01-15")] == [{"p50": 1}]
        assert lake.processed.get_latest("percentiles", "BTC/USDT").tags["computation_version"] == "1.4.2"

        lake.documents.delete(trades[0])
        assert {link.key for link in lake.lineage(few.key).outdated} == {trades[0].key}
