"""Processed documents are found by date, version and as the latest, and name what they were made of."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer import Lake
from streamer.docstore.docstore import AsyncDocuments
from streamer.docstore.processed import AsyncProcessed
from streamer.errors import Invalid, NotFound
from streamer.store.contract import Overwrite
from streamer.store.memory import MemoryStore
from streamer.testing.manual_clock import ManualClock
from streamer.workers import InlineWorkers

AT = datetime(2026, 1, 3, 10, tzinfo=UTC)


def on(store: MemoryStore) -> tuple[AsyncDocuments, AsyncProcessed]:
    documents = AsyncDocuments(store, ManualClock(), InlineWorkers())
    return documents, AsyncProcessed(documents)


@given(st.lists(st.tuples(st.integers(0, 80), st.sampled_from(["1.4.1", "1.4.2", "2"]), st.integers(0, 3)), max_size=12))
async def test_dates_versions_and_the_latest_are_what_was_stored(stored: list[tuple[int, str, int]]) -> None:
    _, processed = on(MemoryStore(ManualClock(), page=3))
    wanted: list[tuple[int, str, int]] = []
    for hours, version, value in stored:
        await processed.store("percentiles", "BTC/USDT", value, version=version, sources=[], at=AT + timedelta(hours=hours))
        await processed.store("percentiles", "ETH/USDT", value, version=version, sources=[], at=AT + timedelta(hours=hours))
        if (hours, version, value) not in wanted:
            wanted.append((hours, version, value))
    wanted.sort(key=lambda each: each[0])

    for version in ("1.4.1", "1.4.2", "2", "3"):
        found = await processed.by_version("percentiles", "BTC/USDT", version)
        assert [(f.info.at, f.data) for f in found] == [
            (AT + timedelta(hours=hours), value) for hours, of, value in wanted if of == version
        ]
    for day in (date(2026, 1, 3), "2026-01-04", datetime(2026, 1, 6, 23, tzinfo=UTC)):
        found = await processed.by_date("percentiles", "BTC/USDT", day)
        first = datetime.fromisoformat(str(day)[:10]).replace(tzinfo=UTC)
        hours_of_day = [(h, v) for h, _, v in wanted if first <= AT + timedelta(hours=h) < first + timedelta(days=1)]
        assert [f.data for f in found] == [value for _, value in hours_of_day]
    if wanted:
        assert (await processed.get_latest("percentiles", "BTC/USDT")).data == wanted[-1][2]
    else:
        with pytest.raises(NotFound):
            await processed.get_latest("percentiles", "BTC/USDT")


async def test_a_processed_document_names_its_sources_computation_version_and_time() -> None:
    store = MemoryStore(ManualClock())
    documents, processed = on(store)
    source = await documents.put("trades", [1, 2], at=AT, symbol="BTC")

    info = await processed.store("percentiles", "BTC", {"p50": 1.5}, version="1.4.2", sources=source, at=AT, tags=["nightly"])
    found = await processed.get_latest("percentiles", "BTC")
    said = found.derivation

    assert info.key == "processed/percentiles/BTC/2026-01-03/2026-01-03T10-00-00-000000.json"
    assert found.tags == {"computation": "percentiles", "computation_version": "1.4.2", "nightly": ""}
    assert found.metadata == {}
    assert said is not None
    assert (said.computation, said.version, said.computed_at) == ("percentiles", "1.4.2", ManualClock().now())
    assert [(s.key, s.etag) for s in said.sources] == [(source.key, source.etag)]
    assert source.etag
    assert await documents.derivation(info) == said
    assert await documents.find(info.key) == info


async def test_equal_results_of_another_version_or_other_sources_are_documents_of_their_own() -> None:
    documents, processed = on(MemoryStore(ManualClock()))
    source = await documents.put("trades", 1, at=AT, symbol="BTC")

    for version, sources in (("1", []), ("1", []), ("2", []), ("2", [source]), ("2", [source.key])):
        await processed.store("features", "BTC", {"x": 1}, version=version, sources=sources, at=AT)

    found = await processed.by_date("features", "BTC", "2026-01-03")
    assert [(f.info.version, f.derivation.version if f.derivation else None) for f in found] == [(1, "1"), (2, "2"), (3, "2")]
    assert len(await processed.by_version("features", "BTC", "2")) == 2


async def test_a_source_that_is_not_there_is_an_error_and_nothing_is_kept() -> None:
    store = MemoryStore(ManualClock())
    _, processed = on(store)

    with pytest.raises(NotFound) as absent:
        await processed.store("features", "BTC", 1, version="1", sources=["raw/none.json"])
    with pytest.raises(Invalid, match="no source"):
        await processed.store("features", "BTC", 1, version="1", sources=[7])  # type: ignore[list-item]
    with pytest.raises(Invalid, match="cannot be"):
        await processed.store("anything", "BTC", 1, version="1", sources=[])

    assert absent.value.context["key"] == "raw/none.json"
    assert absent.value.hint
    assert [item.key async for item in store.list()] == []


async def test_documents_without_lineage_or_with_a_damaged_one_have_no_version() -> None:
    store = MemoryStore(ManualClock())
    documents, processed = on(store)
    plain = await documents.put("processed", 1, at=AT, computation="features", ticker="BTC")
    broken = await processed.store("features", "BTC", 2, version="1", sources=[], at=AT + timedelta(hours=1))
    good = await processed.store("features", "BTC", 3, version="1", sources=[], at=AT + timedelta(hours=2))
    await store.put(broken.key, b"2", mode=Overwrite(), metadata={"derived": "{"})

    assert (await documents.read(plain)).derivation is None
    assert [f.info for f in await processed.by_version("features", "BTC", "1")] == [good]
    assert len(await processed.by_date("features", "BTC", "2026-01-03")) == 3


async def test_sources_need_the_name_of_what_used_them() -> None:
    documents, _ = on(MemoryStore(ManualClock()))
    source = await documents.put("trades", 1, at=AT, symbol="BTC")

    with pytest.raises(Invalid, match="what computed"):
        await documents.put("analytics", 1, sources=source, report_type="x")
    for name in ("derived", "tags"):
        with pytest.raises(Invalid, match="cannot have the name"):
            await documents.put("analytics", 1, metadata={name: "x"}, report_type="x")
    with pytest.raises(Invalid, match="no kind of documents has such keys"):
        await documents.find("raw/ticks/date=2026-01-03/x.parquet")


def test_the_lake_has_a_door_to_processed_documents_and_to_lineage(tmp_path: Path) -> None:
    with Lake.open(str(tmp_path / "lake"), cache=None, create=True) as lake:
        source = lake.documents.put("trades", [1, 2, 3], at=AT, symbol="BTC")
        info = lake.processed.store("percentiles", "BTC", {"p50": 2}, version="1", sources=[source], at=AT)

        assert lake.processed.get_latest("percentiles", "BTC").info == info
        assert [f.info for f in lake.processed.by_date("percentiles", "BTC", "2026-01-03")] == [info]
        assert [f.info for f in lake.processed.by_version("percentiles", "BTC", "1")] == [info]
        graph = lake.lineage(info.key)
        assert [link.state for link in graph.node.links] == ["unchanged"]
        assert graph.roots == (graph.nodes[source.key],)
        assert lake.documents.derivation(source) is None
        assert lake.documents.find(info.key) == info
