"""Whatever documents are made of each other, a walk finds all of them, each once, and says what has become of their sources."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.clock import SystemClock
from streamer.docstore.docstore import AsyncDocuments
from streamer.docstore.document import DocumentInfo
from streamer.errors import Invalid, NotFound
from streamer.keys import LINEAGE
from streamer.lineage.graph import LineageGraph
from streamer.lineage.walk import walk
from streamer.store.contract import Create, Overwrite, Store
from streamer.store.directory import DirectoryStore
from streamer.store.memory import MemoryStore
from streamer.testing.manual_clock import ManualClock
from streamer.workers import InlineWorkers

AT = datetime(2026, 1, 3, 10, tzinfo=UTC)
CLOCK = ManualClock()


@pytest.fixture(params=["memory", "directory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore(ManualClock(), page=3)
        return
    store = DirectoryStore(tmp_path / "lake", SystemClock(), create=True)
    await store.prepare()
    yield store
    await store.close()


@pytest.fixture
def documents(store: Store) -> AsyncDocuments:
    return AsyncDocuments(store, CLOCK, InlineWorkers())


def states(graph: LineageGraph) -> dict[str, str]:
    return {link.key: link.state for node in graph.nodes.values() for link in node.links}


async def chain(documents: AsyncDocuments, length: int) -> list[DocumentInfo]:
    """Each made of the one before it."""
    found: list[DocumentInfo] = []
    for n in range(length):
        found.append(
            await documents.put("trades", n, at=AT + timedelta(seconds=n), sources=found[-1:], computation="next", symbol="BTC")
        )
    return found


@given(st.lists(st.lists(st.integers(0, 30), max_size=12), min_size=1, max_size=16))
async def test_a_walk_finds_every_ancestor_once_and_nothing_else(parents: list[list[int]]) -> None:
    store = MemoryStore(ManualClock())
    documents = AsyncDocuments(store, ManualClock(), InlineWorkers())
    made: list[DocumentInfo] = []
    ancestors: list[set[int]] = []
    for n, wanted in enumerate(parents):
        chosen = sorted({each % n for each in wanted}) if n else []
        made.append(
            await documents.put(
                "trades",
                n,
                at=AT + timedelta(seconds=n),
                sources=[made[each] for each in chosen],
                computation="c",
                computation_version=str(n),
                symbol="S" * 90,
            )
        )
        ancestors.append({n}.union(*(ancestors[each] for each in chosen)))

    for n, info in enumerate(made):
        graph = await walk(store, ManualClock(), info.key)

        assert set(graph.nodes) == {made[each].key for each in ancestors[n]}
        assert graph.complete
        assert not graph.problems
        assert set(states(graph).values()) <= {"unchanged"}
        assert graph.node.version == str(n)
        lines = list(graph.lines())
        assert len(lines) == 1 + sum(len(node.links) for node in graph.nodes.values())
        assert json.loads(json.dumps(graph.document()))["key"] == info.key


async def test_a_source_is_unchanged_changed_or_gone(documents: AsyncDocuments, store: Store) -> None:
    kept, changed, gone = [await documents.put("trades", n, at=AT, symbol=f"S{n}") for n in range(3)]
    made = await documents.put("analytics", 1, sources=[kept.key, changed, gone], computation="sum", report_type="x")
    await store.put(changed.key, b"other", mode=Overwrite())
    await store.delete(gone.key)

    graph = await walk(store, CLOCK, made.key)

    assert states(graph) == {kept.key: "unchanged", changed.key: "changed", gone.key: "gone"}
    assert {link.key for link in graph.outdated} == {changed.key, gone.key}
    assert not graph.nodes[gone.key].is_there
    assert "[gone]" in "\n".join(graph.lines())


async def test_a_source_that_was_replaced_after_it_was_read_is_recorded_as_it_was_read(
    documents: AsyncDocuments, store: Store
) -> None:
    read = await documents.read(await documents.put("trades", 1, at=AT, symbol="BTC"))
    await store.put(read.info.key, b"2", mode=Overwrite())

    made = await documents.put("analytics", 1, sources=[read], computation="sum", report_type="x")

    assert states(await walk(store, CLOCK, made.key)) == {read.info.key: "changed"}


async def test_the_same_rows_under_another_etag_are_unchanged(documents: AsyncDocuments, store: Store) -> None:
    key = "raw/ticks/date=2026-01-03/ticks-00000-00000000000000000000-00000000000000000010.parquet"
    facts = {"topic": "ticks", "partition": "0", "lineage": "0", "start": "0", "end": "10", "digest": "ab" * 16, "rows": "10"}
    await store.put(key, b"by one pyarrow", mode=Create(), metadata=facts)
    made = await documents.put("analytics", 1, sources=key, computation="sum", report_type="x")
    await store.put(key, b"by another pyarrow", mode=Overwrite(), metadata=facts)

    graph = await walk(store, CLOCK, made.key)
    (offsets,) = graph.nodes[key].offsets

    assert states(graph) == {key: "unchanged"}
    assert str(offsets) == "ticks-0 [0,10)"
    assert graph.nodes[key].kind == "data file"
    assert graph.roots == (graph.nodes[key],)

    await store.put(key, b"of other records", mode=Overwrite(), metadata={**facts, "digest": "cd" * 16})
    assert states(await walk(store, CLOCK, made.key)) == {key: "changed"}
    await store.delete(key)
    graph = await walk(store, CLOCK, made.key)
    assert states(graph) == {key: "gone"}
    assert graph.nodes[key].offsets == (offsets,)


async def test_circles_end_and_objects_that_are_met_again_are_not_shown_again(store: Store) -> None:
    def of(*keys: str) -> dict[str, str]:
        return {
            "derived": json.dumps({"v": 1, "computation": "c", "at": AT.isoformat(), "sources": [{"key": k} for k in keys]})
        }

    await store.put("a", b"", mode=Create(), metadata=of("b", "c", "a"))
    await store.put("b", b"", mode=Create(), metadata=of("d", "a"))
    await store.put("c", b"", mode=Create(), metadata=of("d"))
    await store.put("d", b"", mode=Create(), metadata=of("b"))

    graph = await walk(store, CLOCK, "a")

    assert sorted(graph.nodes) == ["a", "b", "c", "d"]
    assert set(states(graph).values()) == {"unknown"}
    lines = list(graph.lines())
    assert len(lines) == 8
    assert sum("see above" in line for line in lines) == 4


async def test_a_walk_goes_no_further_than_it_may_and_says_so(documents: AsyncDocuments, store: Store) -> None:
    infos = await chain(documents, 8)

    shallow = await walk(store, CLOCK, infos[-1].key, depth=3)
    small = await walk(store, CLOCK, infos[-1].key, objects=2)
    alone = await walk(store, CLOCK, infos[-1].key, depth=0)

    assert [len(graph.nodes) for graph in (shallow, small, alone)] == [4, 2, 1]
    assert not any(graph.complete for graph in (shallow, small, alone))
    assert states(alone) == {infos[-2].key: "unvisited"}
    assert "[unvisited]" in list(alone.lines())[-1]
    assert (await walk(store, CLOCK, infos[-1].key)).complete
    with pytest.raises(Invalid):
        await walk(store, CLOCK, infos[-1].key, depth=-1)


async def test_what_is_not_there_has_no_lineage(store: Store) -> None:
    with pytest.raises(NotFound) as error:
        await walk(store, CLOCK, "analytics/none.json")
    assert "whole key" in error.value.hint
    with pytest.raises(Invalid):
        await walk(store, CLOCK, "../x")


@pytest.mark.parametrize(
    "text",
    [
        "{", "[]", '{"v":2}', '{"v":1,"computation":7,"at":"2026-01-03T10:00:00Z","sources":[]}',
        '{"v":1,"computation":"c","at":"now","sources":[]}',
        '{"v":1,"computation":"c","at":"2026-01-03T10:00:00Z","list":"models/x","count":1}',
    ],
)  # fmt: skip
async def test_metadata_that_was_damaged_is_said_and_stops_nothing(documents: AsyncDocuments, store: Store, text: str) -> None:
    await store.put("damaged", b"", mode=Create(), metadata={"derived": text})
    made = await documents.put("analytics", 1, sources="damaged", computation="sum", report_type="x")

    graph = await walk(store, CLOCK, made.key)

    (problem,) = graph.problems
    assert problem.key == "damaged"
    assert "cannot be read" in (problem.problem or "")
    assert states(graph) == {"damaged": "unchanged"}


async def test_sources_that_can_be_no_keys_are_gone_and_never_asked_for(store: Store) -> None:
    nasty = ["../../etc/passwd", "", "a//b", "a\u0000b", "\u001b[31m"]
    said = {"v": 1, "computation": "c", "at": AT.isoformat(), "sources": [{"key": key} for key in nasty]}
    await store.put("a", b"", mode=Create(), metadata={"derived": json.dumps(said)})

    graph = await walk(store, CLOCK, "a")

    assert set(states(graph).values()) == {"gone"}
    assert len(graph.problems) == len(nasty)
    assert all(line.isprintable() for line in graph.lines())


async def test_a_long_list_of_sources_has_an_object_of_its_own_and_its_damage_is_said(
    documents: AsyncDocuments, store: Store
) -> None:
    sources = [await documents.put("trades", n, at=AT + timedelta(seconds=n), symbol="BTC") for n in range(40)]
    made = await documents.put("analytics", 1, sources=sources, computation="sum", report_type="x")
    again = await documents.put("analytics", 2, sources=sources, computation="sum", report_type="x")
    (listed,) = [item.key async for item in store.list(LINEAGE)]

    graph = await walk(store, CLOCK, made.key)
    said = (await documents.read(made)).derivation
    assert len(graph.nodes) == 41
    assert said is not None
    assert (said.listed, said.count, said.sources) == (listed, 40, ())

    for body in (b"{}", b"", b"[" * 5000):
        await store.put(listed, body, mode=Overwrite())
        graph = await walk(store, CLOCK, again.key)
        assert [node.key for node in graph.problems] == [again.key]
    await documents.put("analytics", 3, sources=sources, computation="sum", report_type="x")
    assert len((await walk(store, CLOCK, again.key)).nodes) == 41, "the next one that needs the list mends it"
    await store.delete(listed)
    assert "gone or damaged" in ((await walk(store, CLOCK, made.key)).node.problem or "")
