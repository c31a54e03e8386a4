"""The documents of the lake, damaged: what cannot be read is `Damaged` or `Invalid`, and what is accepted is safe to use.

Whoever may write to the bucket may write these; so may a bad disk, a restored backup, and another release.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.archive.certificate import Certificate, InputList, Output, PartitionPart, StreamPart
from streamer.archive.interval import Interval
from streamer.archive.lease import LeaseDocument
from streamer.archive.settings import Recipe
from streamer.commit.layouts import LayoutDocuments
from streamer.commit.position import Gap, LastRecord, PastLineage, Position
from streamer.errors import Damaged, Invalid, PartitionRefused, StreamerError
from streamer.features.document import Head, Mark, encoded, head_of, parse, parsed_rows, rows_json
from streamer.features.rows import packed
from streamer.index.progress import Progress
from streamer.keys import certificate_key, layout_key
from streamer.lake.known_layouts import KnownLayouts
from streamer.layout import Layout, Rule
from streamer.models.name import ModelName
from streamer.models.refusals import NotSigned
from streamer.models.registry import LATEST, Alias, Move, Registry, Sign
from streamer.models.sidecar import read_sidecar
from streamer.models.signature import Signer
from streamer.models.version import About, TrainedThrough, Version
from streamer.records import TopicPartition
from streamer.schemas import columns_of
from streamer.store.contract import Overwrite
from streamer.store.directory_metadata import decode_twin, encode_twin
from streamer.store.memory import MemoryStore
from streamer.testing.manual_clock import ManualClock
from tests.fuzz.mutations import damaged
from tests.fuzz.profile import examples
from tests.fuzz.typed import assert_typed

AT = datetime(2026, 1, 3, 10, tzinfo=UTC)
DAY = date(2026, 1, 3)
SOURCE = TopicPartition("ticks", 3)
GAP = Gap(10, 20, "retention", AT.isoformat())
POSITION = Position(
    "cluster", SOURCE, 1, 100, 200, 4, 9, "writer", "host", "0123456789abcdef",
    LastRecord(99, 1767434400000, 7), AT, (GAP,), 0, (PastLineage(0, "old", None, 5, 5, (GAP,)),),
)  # fmt: skip
PROGRESS = Progress(1, 100, 90, 3, 7)
HASH = "ab" * 32
VERSION = Version(
    1, 5, HASH, AT, "trainer", About({"auc": 0.9}, {"host": "a"}, "v0", ("rsi", "macd"), "schema"),
    (TrainedThrough("ticks", 0, 0, 100, AT),), "cd" * 32,
)  # fmt: skip
REGISTRY = Registry(
    ModelName("hmm", ".pkl"), (VERSION,), {LATEST: Alias(1), "production": Alias(1, (1,))},
    (Move("id", AT, "me", LATEST, None, 1, "first"),), 2, ((7, 9),), 3, "writer", {"newer": {"field": 1}},
)  # fmt: skip
OUTPUT = Output("ticks/BTC/2026-01-03.parquet", "ticks", "ticks", "BTC", 5, 100, HASH, "ab" * 16, "_streamer/archive/x.parquet")
STREAM = StreamPart(
    "tick", True, 5, "ab" * 16, 1, InputList("_streamer/archive/list", HASH, 1),
    (PartitionPart("ticks", 0, 0, 100, ((0, 50), (60, 100)), 1, 5, 1, (GAP,)),), (OUTPUT,), ("raw",),
)  # fmt: skip
CERTIFICATE = Certificate(DAY, 2, Recipe((Interval(60),), True, 60.0), {"ticks": STREAM}, OUTPUT)
LAYOUT = Layout("ticks", "tick", tuple(columns_of("tick")), "symbol={symbol}/date={date}", rules=(Rule("price", ">", 0),))
LEASE = LeaseDocument("me", "host", 2, 5, AT)
HEAD = Head("features", 20, {SOURCE: Mark(1, 123, AT), TopicPartition("features", 0): Mark(0, 5, AT)})
ROW = {"timestamp": "2026-01-03T10:00:00.000000Z", "partition": 3, "offset": 7, "rsi": 50.5, "regime": "calm", "names": ["a"]}
HISTORY = b"".join(encoded(HEAD, [("BTC", [packed(ROW, {})]), ("ETH", [packed(ROW, {})])]))


def has_a_way_out(error: StreamerError) -> None:
    assert error.message
    assert error.hint


@examples(150)
@given(damaged(POSITION.to_json()))
def test_a_position(body: bytes) -> None:
    try:
        found = Position.from_json(body, key="k")
    except Damaged as error:
        has_a_way_out(error)
        return
    assert_typed(found)
    assert Position.from_json(found.to_json(), key="k") == found
    if found.sequence < 2**62:
        assert found.advancing(AT).to_json() != found.committing(last=None, through=AT, gap=GAP).to_json()


@examples(100)
@given(damaged(PROGRESS.to_json("table", SOURCE)))
def test_how_far_an_index_is(body: bytes) -> None:
    try:
        found = Progress.from_json(body, "k")
    except Damaged as error:
        has_a_way_out(error)
        return
    assert_typed(found)
    assert Progress.from_json(found.to_json("table", SOURCE), "k") == found


@examples(150)
@given(damaged(REGISTRY.to_json()))
def test_a_registry(body: bytes) -> None:
    try:
        found = Registry.from_json(body, key="k")
    except Damaged as error:
        has_a_way_out(error)
        return
    assert_typed(found)
    assert Registry.from_json(found.to_json(), key="k") == found
    assert "/" not in found.name.file
    found.prunable(1)
    signer = Signer(b"key")
    for version in found.listed():
        with pytest.raises(NotSigned):
            signer.demand(found.name.stem, version)
    for alias in found.aliases:
        try:
            found.rolling_back(alias, Sign("id", AT, "me"))
        except Invalid:
            continue


@examples(150)
@given(damaged(CERTIFICATE.to_json()))
def test_a_certificate(body: bytes) -> None:
    try:
        found = Certificate.from_json(body, key=certificate_key(DAY))
    except Damaged as error:
        has_a_way_out(error)
        return
    assert_typed(found)
    assert Certificate.from_json(found.to_json(), key=certificate_key(DAY)) == found
    assert all(part.hash.rows == part.rows for part in found.streams.values())
    assert found.published().publishing is False


@examples(100)
@given(damaged(LEASE.to_json()))
def test_a_lease(body: bytes) -> None:
    try:
        found = LeaseDocument.from_json(body)
    except Damaged as error:
        has_a_way_out(error)
        return
    assert_typed(found)
    assert found.expires - timedelta(seconds=1) < AT or found.epoch + found.sequence < 2**70


async def _read_layout(body: bytes) -> Layout | None:
    store = MemoryStore(ManualClock())
    await store.put(layout_key(LAYOUT.fingerprint), body, mode=Overwrite())
    try:
        found = await LayoutDocuments(store).load(LAYOUT.fingerprint)
    except PartitionRefused as error:
        has_a_way_out(error)
        found = None
    known = await KnownLayouts(store).read()
    for layout in known:
        assert_typed(layout)
        assert layout.arrow_schema
        assert layout.fingerprint
    try:
        await LayoutDocuments(store).ensure(LAYOUT)
    except (Damaged, Invalid) as error:
        has_a_way_out(error)
    return found


@examples(150)
@given(damaged(orjson.dumps(LAYOUT.document())))
def test_a_layout(body: bytes) -> None:
    found = asyncio.run(_read_layout(body))

    assert found is None or found == LAYOUT


@examples(200)
@given(damaged(HISTORY), st.integers(0, 80))
def test_a_feature_history(body: bytes, length: int) -> None:
    try:
        head_of(body[:length], key="k", whole=False)
        head, lines = parse(body, key="k")
        assert_typed(head)
        assert head.as_of.tzinfo is UTC
        head.to_json()
        for _, text in lines:
            rows_json(parsed_rows(text, {}, key="k"))
    except Damaged as error:
        has_a_way_out(error)


@examples(100)
@given(damaged(orjson.dumps({"metrics": {"auc": 0.9}, "tags": {"host": "a"}, "parent": 3, "features": ["rsi"], "schema": "x"})))
def test_a_sidecar(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "hmm.json").write_bytes(body)
    try:
        found, path = read_sidecar(str(tmp_path / "hmm.pkl"))
    except Invalid as error:
        has_a_way_out(error)
        return
    assert path == str(tmp_path / "hmm.json")
    assert_typed(found)
    version = Version(1, 5, HASH, AT, "trainer", found)
    orjson.dumps(version.document())
    assert Version.from_document(orjson.loads(orjson.dumps(version.document()))).about == found


@examples(100)
@given(damaged(encode_twin({"etag": {"rows": "5"}, "other": {}})))
def test_the_hidden_twin_of_a_file(body: bytes) -> None:
    found = decode_twin(body)

    assert_typed(found, dict[str, dict[str, str]])


def test_the_documents_that_are_damaged_here_can_be_read_whole() -> None:
    assert Position.from_json(POSITION.to_json(), key="k") == POSITION
    assert Registry.from_json(REGISTRY.to_json(), key="k") == REGISTRY
    assert Certificate.from_json(CERTIFICATE.to_json(), key=certificate_key(DAY)) == CERTIFICATE
    assert LeaseDocument.from_json(LEASE.to_json()) == LEASE
    assert asyncio.run(_read_layout(orjson.dumps(LAYOUT.document()))) == LAYOUT
    head, lines = parse(HISTORY, key="k")
    assert head == HEAD
    assert [parsed_rows(text, {}, key="k") for _, text in lines] == [[packed(ROW, {})]] * 2
    assert decode_twin(encode_twin({"etag": {"rows": "5"}})) == {"etag": {"rows": "5"}}
    for value in (POSITION, REGISTRY, CERTIFICATE, LEASE, LAYOUT, HEAD):
        assert_typed(value)
