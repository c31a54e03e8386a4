"""Everything that streamer writes says where it came from: data files, closed days, feature histories, models and bundles."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer.bundles.bundles import AsyncBundles
from streamer.docstore.docstore import AsyncDocuments
from streamer.keys import archive_key, archived_day, certificate_key, feature_history_key, summary_key
from streamer.lineage.graph import LineageGraph, Node
from streamer.lineage.walk import walk
from streamer.models.models import AsyncModels
from streamer.records import TopicPartition
from streamer.store.contract import Create, Overwrite
from streamer.store.memory import MemoryStore
from streamer.testing.manual_clock import ManualClock
from streamer.workers import InlineWorkers
from tests.unit.archive.archive_lake import DAY, NOON, at, certificate, close, everything_complete, partition, tick

CLOCK = ManualClock()
DATE = DAY.isoformat()


async def lineage(store: MemoryStore, key: str) -> LineageGraph:
    return await walk(store, CLOCK, key)


def sources(node: Node) -> dict[str, str]:
    return {link.key: link.state for link in node.links}


async def closed_day(store: MemoryStore) -> None:
    """Two partitions of ticks of two symbols, with a dead letter, signals and features; the day is closed."""
    ticks = [partition(store, number=n) for n in range(2)]
    for number, each in enumerate(ticks):
        await each.batch([tick(n + number, "BTC" if n % 2 else "ETH/USDT") for n in range(10)])
        await each.batch([tick(n + 100, "BTC") for n in range(5)] + [None])
    signals, features = partition(store, "signal"), partition(store, "feature")
    await signals.batch([{"symbol": "BTC", "regime": "calm", "timestamp": at(1)}])
    await features.batch([{"symbol": "BTC", "features": [("rsi", 1.0)], "timestamp": at(1)}])
    await everything_complete(*ticks, signals, features)
    await close(store)


async def test_a_closed_day_leads_to_the_data_files_that_can_hold_its_rows() -> None:
    store = MemoryStore(ManualClock())
    await closed_day(store)
    listed = [item.key async for item in store.list("raw/ticks/")]

    graph = await lineage(store, f"ticks/BTC/{DATE}.parquet")
    eth = await lineage(store, archive_key("ticks", DAY, "ETH%2FUSDT"))

    assert not graph.problems
    assert (graph.node.kind, graph.node.computation, graph.node.version) == ("archive", "day close", "revision 1")
    assert sources(graph.node) == {key: "unchanged" for key in listed if "symbol=BTC/" in key}
    assert sources(eth.node) == {key: "unchanged" for key in listed if "symbol=ETH%2FUSDT/" in key}
    assert {node.kind for node in graph.roots} == {"data file"}
    assert [str(each) for each in graph.node.offsets] == ["ticks-0 [0,16)", "ticks-1 [0,16)"]
    assert sum(int(node.about["rows"]) for node in graph.roots) == int(graph.node.about["rows"]) == 20


async def test_bars_are_of_ticks_and_the_summary_and_the_certificate_of_everything() -> None:
    store = MemoryStore(ManualClock())
    await closed_day(store)
    rows = {f"ticks/BTC/{DATE}.parquet", f"ticks/ETH%2FUSDT/{DATE}.parquet", f"features/BTC/{DATE}.parquet"}
    rows |= {f"signals/{DATE}/regime_signals.parquet"}

    bars = await lineage(store, f"ohlcv/BTC/{DATE}.parquet")
    summary = await lineage(store, summary_key(DAY))
    whole = await lineage(store, certificate_key(DAY))

    assert sources(bars.node) == {f"ticks/BTC/{DATE}.parquet": "unchanged"}
    assert bars.roots == (await lineage(store, f"ticks/BTC/{DATE}.parquet")).roots
    assert set(sources(summary.node)) == rows
    assert (summary.node.kind, whole.node.kind) == ("summary", "certificate")
    assert {summary_key(DAY), f"ohlcv/BTC/{DATE}.parquet", *rows} <= set(sources(whole.node))
    assert {node.kind for node in whole.roots} == {"data file"}
    assert whole.complete
    assert not whole.problems


async def test_a_document_made_of_a_closed_day_sees_its_revision_come() -> None:
    store = MemoryStore(ManualClock())
    ticks = partition(store)
    await ticks.batch([tick(1, "BTC"), tick(2, "ETH")])
    await everything_complete(ticks)
    await close(store)
    documents = AsyncDocuments(store, CLOCK, InlineWorkers())
    keys = [f"ticks/{symbol}/{DATE}.parquet" for symbol in ("BTC", "ETH")]
    made = await documents.put("processed", 1, at=NOON, sources=keys, computation="features", ticker="BTC")
    assert set(sources((await lineage(store, made.key)).node).values()) == {"unchanged"}

    await ticks.batch([tick(3, "BTC")])
    await close(store)

    graph = await lineage(store, made.key)
    assert sources(graph.node) == {keys[0]: "changed", keys[1]: "unchanged"}
    assert graph.nodes[keys[0]].version == "revision 2"
    assert (await certificate(store)).revision == 2


async def test_raw_files_that_retention_took_are_gone_and_still_say_their_offsets() -> None:
    store = MemoryStore(ManualClock())
    await closed_day(store)
    for key in [item.key async for item in store.list("raw/ticks/")]:
        await store.delete(key)

    graph = await lineage(store, f"ticks/BTC/{DATE}.parquet")

    assert set(sources(graph.node).values()) == {"gone"}
    assert {str(each) for node in graph.roots for each in node.offsets} >= {"ticks-0 [0,10)", "ticks-1 [10,16)"}
    assert not graph.problems


async def test_damage_of_a_closed_day_is_said(tmp_path: Path) -> None:
    store = MemoryStore(ManualClock())
    await closed_day(store)
    key, listed = f"ticks/BTC/{DATE}.parquet", (await certificate(store)).streams["ticks"].inputs.key
    body = (await store.get(listed)).body

    await store.put(listed, b"damaged", mode=Overwrite())
    assert "list of inputs" in ((await lineage(store, key)).node.problem or "")
    await store.put(listed, body, mode=Overwrite())
    await store.put(key, b"other", mode=Overwrite(), metadata={"row_hash": "0"})
    assert "not those" in ((await lineage(store, key)).node.problem or "")
    await store.put(certificate_key(DAY), b"damaged", mode=Overwrite())
    assert "not a certificate" in ((await lineage(store, key)).node.problem or "")
    assert (await lineage(store, certificate_key(DAY))).node.kind == "certificate"
    await store.delete(certificate_key(DAY))
    assert (await lineage(store, key)).node.problem == "the day has no certificate"


async def test_a_data_file_whose_metadata_is_not_its_own_is_said() -> None:
    store = MemoryStore(ManualClock())
    key = "raw/ticks/date=2026-01-03/ticks-00000-00000000000000000000-00000000000000000010.parquet"
    await store.put(key, b"", mode=Create())

    assert "not that of its name" in ((await lineage(store, key)).node.problem or "")


async def test_a_model_says_what_it_was_trained_through_and_from_which_version(tmp_path: Path) -> None:
    store = MemoryStore(ManualClock())
    await closed_day(store)
    models = AsyncModels(store, CLOCK, InlineWorkers())
    file = tmp_path / "hmm.pkl"
    for n, parent in enumerate((None, 1, "v2", "somebody's")):
        file.write_bytes(bytes([n]))
        await models.push(file, parent=parent)

    graph = await lineage(store, "models/versions/hmm_v3.pkl")
    copy = await lineage(store, "models/hmm.pkl")
    foreign = await lineage(store, "models/versions/hmm_v4.pkl")

    assert list(graph.nodes) == [f"models/versions/hmm_v{n}.pkl" for n in (3, 2, 1)]
    assert (graph.node.kind, graph.node.version) == ("model", "v3")
    assert "ticks-0 [0,16)" in [str(each) for each in graph.node.offsets]
    assert sources(copy.node) == {"models/versions/hmm_v4.pkl": "unknown"}
    assert foreign.node.about["parent"] == "somebody's"
    assert not foreign.node.links
    assert (await lineage(store, "models/registry/hmm.json")).node.kind == "registry"

    await store.put("models/versions/hmm_v9.pkl", b"x", mode=Create())
    assert "no registry knows" in ((await lineage(store, "models/versions/hmm_v9.pkl")).node.problem or "")
    await store.put("models/registry/hmm.json", b"{", mode=Overwrite())
    assert "not a registry" in ((await lineage(store, "models/versions/hmm_v3.pkl")).node.problem or "")


async def test_a_bundle_is_a_root(tmp_path: Path) -> None:
    store = MemoryStore(ManualClock())
    (tmp_path / "libs").mkdir()
    (tmp_path / "libs/a.py").write_text("")
    await AsyncBundles(store, CLOCK, InlineWorkers()).push(tmp_path / "libs")

    graph = await lineage(store, "bundles/libs.zip")

    assert [(node.kind, node.version) for node in graph.nodes.values()] == [("bundle", "v1"), ("bundle", "v1")]
    assert [node.key for node in graph.roots] == ["bundles/versions/libs_v1.zip"]


async def test_a_feature_history_leads_to_those_of_its_partitions() -> None:
    store = MemoryStore(ManualClock())
    for topic_partition in (TopicPartition("features", 0), TopicPartition("features", 1)):
        await store.put(feature_history_key(topic_partition), history(topic_partition), mode=Create())
    await store.put("state/feature_history_latest.json", history(TopicPartition("features", 0)), mode=Create())
    await store.put("state/feature_history_latest.arrow", b"", mode=Create())
    await store.put("state/other.json", b"{}", mode=Create())

    graph = await lineage(store, "state/feature_history_latest.arrow")

    assert list(graph.nodes) == [
        "state/feature_history_latest.arrow", "state/feature_history_latest.json", "state/feature_history/features/00000.json",
    ]  # fmt: skip
    assert {str(each) for node in graph.roots for each in node.offsets} == {"features-0 [0,123)"}
    assert {node.kind for node in graph.nodes.values()} == {"feature history"}
    assert (await lineage(store, "state/other.json")).node.problem == "its head cannot be read"


def history(source: TopicPartition) -> bytes:
    place = f'"{source.topic}":{{"{source.partition}":'
    return (
        f'{{"version":1,"stream":"features","as_of":"2026-01-03T10:00:00.000000Z","window":20,"lineage":{{{place}0}}}},'
        f'"offsets":{{{place}123}}}},"saved":{{{place}"2026-01-03T10:00:00.000000Z"}}}},"features":{{\n}}}}\n'
    ).encode()


@pytest.mark.parametrize(
    ("key", "known"),
    [
        (f"ticks/BTC/{DATE}.parquet", True), (f"ohlcv/BTC/{DATE}.parquet", True),
        (f"streams/trades/ticks/BTC/{DATE}.parquet", True), (f"signals/{DATE}/regime_signals.parquet", True),
        (f"daily-summaries/{DATE}.json", True),
        (f"ticks/BTC/{DATE}.json", False), ("ticks/BTC/2026-02-30.parquet", False), (f"x/BTC/{DATE}.parquet", False),
        (f"ticks/a/b/{DATE}.parquet", False), (f"archive/{DATE}.json", False), ("ticks/BTC/٢٠٢٦-٠١-٠٣.parquet", False),
    ],
)  # fmt: skip
def test_the_files_of_a_day_are_known_by_their_keys(key: str, known: bool) -> None:
    assert (archived_day(key) == DAY) is known


def test_every_key_that_the_archive_makes_is_known() -> None:
    for kind in ("ticks", "bars", "signals", "features"):
        assert archived_day(archive_key(kind, DAY, "BTC%2FUSDT", stream="trades_2")) == DAY  # type: ignore[arg-type]
    assert archived_day(summary_key(DAY)) == DAY
