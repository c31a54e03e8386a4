"""Processed documents, their schema and their lineage on a real S3 server: of a closed day, a model, by the command line."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from streamer import Lake
from streamer.errors import Invalid, NotFound
from streamer.store.contract import Store
from streamer.store.s3 import S3Store
from streamer.store.s3_settings import S3Settings
from tests.live.conftest import S3Server
from tests.unit.archive.archive_lake import DAY, close, everything_complete, partition, tick

pytestmark = pytest.mark.live

DATE = DAY.isoformat()


@pytest.fixture
def lake_url(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A lake with a closed day of ticks."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    bucket = f"lineage-{uuid.uuid4().hex[:10]}"

    async def build() -> None:
        store = S3Store(bucket, "lake", S3Settings(region="us-east-1", endpoint_url=s3_server.endpoint))
        await store.create_bucket()
        await closed_day(store)
        await store.close()

    asyncio.run(build())
    return f"s3://{bucket}/lake"


async def closed_day(store: Store) -> None:
    ticks = partition(store)
    await ticks.batch([tick(n, "BTC/USDT" if n % 2 else "ETH") for n in range(20)])
    await ticks.batch([tick(n, "BTC/USDT") for n in range(20, 30)])
    await everything_complete(ticks)
    await close(store)


def test_from_a_processed_document_to_the_records_of_kafka(lake_url: str, tmp_path: Path) -> None:
    with Lake.open(lake_url, cache=None) as lake:
        day = f"ticks/BTC%2FUSDT/{DATE}.parquet"
        raw = [key for key in lake.list_keys("raw/ticks/") if "BTC%2FUSDT" in key]
        (tmp_path / "hmm.pkl").write_bytes(b"model")
        lake.models.push(tmp_path / "hmm.pkl")
        percentiles = lake.processed.store("percentiles", "BTC/USDT", {"p50": 1}, version="1.4.2", sources=[day], at=DATE)
        made = lake.processed.store(
            "features", "BTC/USDT", [{"x": 1.5}], version="2", sources=[percentiles, f"ohlcv/BTC%2FUSDT/{DATE}.parquet",
            "models/hmm.pkl", *raw], at=DATE, packing="zstd",
        )  # fmt: skip

        graph = lake.lineage(made.key)
        assert not graph.problems
        assert graph.complete
        states = {(node.key, link.key): link.state for node in graph.nodes.values() for link in node.links}
        assert states.pop(("models/hmm.pkl", "models/versions/hmm_v1.pkl")) == "unknown"
        assert set(states.values()) == {"unchanged"}
        assert {node.key for node in graph.roots} == {*raw, "models/versions/hmm_v1.pkl"}
        assert {str(each) for node in graph.roots for each in node.offsets} == {
            "ticks-0 [0,20)",
            "ticks-0 [20,30)",
            "ticks-0 [0,30)",
        }
        assert [found.info for found in lake.processed.by_version("features", "BTC/USDT", "2")] == [made]
        assert lake.processed.by_date("percentiles", "BTC/USDT", DATE)[0].derivation is not None

        lake.delete(raw[0], force=True)
        assert {link.key for link in lake.lineage(made.key).outdated} == {raw[0]}
        with pytest.raises(NotFound):
            lake.processed.store("features", "BTC/USDT", 1, version="3", sources=[raw[0]])


def test_many_sources_go_into_a_list_of_their_own_and_a_schema_refuses(lake_url: str) -> None:
    with Lake.open(lake_url, cache=None) as lake:
        trades = [lake.documents.put("trades", [{"price": n}], at=f"2026-01-03T00:00:{n:02d}", symbol="A") for n in range(40)]
        for _ in range(2):
            made = lake.documents.put(
                "analytics", {"n": 40}, at=DATE, sources=trades, computation="count", computation_version="1", report_type="x"
            )
        assert made.version == 1
        assert len(lake.list_keys("_streamer/lineage/")) == 1
        assert len(lake.lineage(made.key).nodes) == 41

        lake.documents.declare("trades", schema={"price": "float64"}, rules=["price > 0"])
        with pytest.raises(Invalid) as refused:
            lake.documents.put("trades", [{"price": 1}, {"price": "-0.5"}], symbol="A")
        assert (refused.value.context["field"], refused.value.context["row"]) == ("price", 1)


def test_the_command_line_shows_the_tree(lake_url: str, tmp_path: Path) -> None:
    def streamer(*arguments: str) -> str:
        command = [sys.executable, "-m", "streamer", *arguments, "--lake", lake_url]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    (tmp_path / "data.json").write_text('{"p50": 1}')
    key = streamer(
        "documents", "put", "processed", "data.json", "-f", "computation=percentiles", "-f", "ticker=BTC", "--at", DATE,
        "--computation-version", "1", "--source", f"archive/{DATE}.json",
    ).strip()  # fmt: skip

    tree = streamer("lineage", key)
    graph = json.loads(streamer("lineage", key, "--json"))

    assert f"└── archive/{DATE}.json  certificate, day close revision 1, ticks-0 [0,30)  [unchanged]" in tree
    assert "raw/ticks/symbol=BTC%2FUSDT/" in tree
    assert graph["complete"] is True
    assert json.loads(streamer("documents", "show", key)) == {"p50": 1}
