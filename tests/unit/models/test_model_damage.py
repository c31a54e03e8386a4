"""What hands in the bucket can do to models: everything is found, named by its key, and has a way out."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from model_world import assert_whole, models_of, write

from streamer.errors import Damaged
from streamer.models.signature import Signer
from streamer.store.contract import Create, Overwrite, Store


@pytest.fixture
async def lake(store: Store, tmp_path: Path) -> Store:
    """Two versions of hmm, of which production is the first; one of net."""
    models = models_of(store)
    for content in (b"first", b"second"):
        await models.push(write(tmp_path / "hmm.pkl", content))
    await models.promote("hmm", 1, "production")
    await models.push(write(tmp_path / "net.tar.gz", b"weights"))
    return store


async def found(store: Store, *, deep: bool = True) -> list[tuple[str, str]]:
    report = await models_of(store).check(deep=deep)
    assert all(finding.hint and finding.detail for finding in [*report.findings, *report.notes])
    return [(str(finding.kind), finding.key) for finding in report.findings]


async def test_a_whole_lake_is_sound(lake: Store) -> None:
    report = await models_of(lake).check()

    assert (report.findings, report.notes) == ([], [])
    assert (report.models, report.versions, report.bytes) == (
        2,
        3,
        len(b"first" + b"second" + b"weights") + len(b"secondweights"),
    )


async def test_a_missing_version_is_found_and_its_use_is_named(lake: Store) -> None:
    await lake.delete("models/versions/hmm_v1.pkl")

    report = await models_of(lake).check()

    assert [(finding.kind, finding.key) for finding in report.findings] == [("version_missing", "models/versions/hmm_v1.pkl")]
    assert "production" in report.findings[0].hint


@pytest.mark.parametrize(("body", "quick"), [(b"FIRST", []), (b"longer", [("version_wrong", "models/versions/hmm_v1.pkl")])])
async def test_replaced_bytes_are_found(lake: Store, body: bytes, quick: list[tuple[str, str]]) -> None:
    await lake.put("models/versions/hmm_v1.pkl", body, mode=Overwrite())

    assert await found(lake) == [("version_wrong", "models/versions/hmm_v1.pkl")]
    assert await found(lake, deep=False) == quick


async def test_the_plain_copy_is_held_against_latest(lake: Store) -> None:
    await lake.put("models/hmm.pkl", b"SECOND", mode=Overwrite())
    await lake.delete("models/net.tar.gz")

    assert await found(lake) == [("copy_wrong", "models/hmm.pkl"), ("copy_missing", "models/net.tar.gz")]
    await models_of(lake).recover()
    assert await found(lake) == []


async def test_objects_of_others_are_found(lake: Store) -> None:
    for key in (
        "models/versions/notes.txt",
        "models/versions/sub/hmm_v1.pkl",
        "models/registry/x.yaml",
        "models/versions/hmm_v9.pt",
    ):
        await lake.put(key, b"x", mode=Create())

    assert sorted(await found(lake)) == [
        ("foreign_object", "models/registry/x.yaml"),
        ("foreign_object", "models/versions/hmm_v9.pt"),
        ("foreign_object", "models/versions/notes.txt"),
        ("foreign_object", "models/versions/sub/hmm_v1.pkl"),
    ]


async def test_a_version_of_a_push_under_way_is_a_note_and_no_damage(lake: Store) -> None:
    await lake.put("models/versions/hmm_v3.pkl", b"x", mode=Create())
    await lake.put("models/versions/new_v1.pkl", b"x", mode=Create())

    report = await models_of(lake).check()

    assert report.sound
    assert [(note.kind, note.key) for note in report.notes] == [
        ("unregistered", "models/versions/hmm_v3.pkl"),
        ("unregistered", "models/versions/new_v1.pkl"),
    ]


async def test_an_alias_to_nowhere_is_found(lake: Store, tmp_path: Path) -> None:
    document = orjson.loads((await lake.get("models/registry/hmm.json")).body)
    document["aliases"]["production"]["n"] = 9
    await lake.put("models/registry/hmm.json", orjson.dumps(document), mode=Overwrite())

    assert await found(lake) == [("alias_dangling", "models/registry/hmm.json")]
    with pytest.raises(Damaged, match="version 9"):
        await models_of(lake).pull("hmm", tmp_path / "out.pkl", "production")
    await models_of(lake).promote("hmm", 1, "production")
    assert await found(lake) == []


DAMAGED = [
    b"", b"not json", b"[]", b"{}", b'{"version": 1}', b'{"version": 2}', b'{"version": 1, "name": "hmm", "suffix": ".pkl"}',
    b'{"version":1,"name":"net","suffix":".pkl","versions":[],"aliases":{},"history":[],"next":1,"sequence":1,"writer":""}',
    b'{"version":1,"name":"hmm","suffix":".pkl","versions":[{"n":1}],"aliases":{},"history":[],"next":1,"sequence":1,"writer":""}',
    b'{"version":1,"name":"hmm","suffix":".pkl","versions":[],"aliases":{"a":{"n":"1"}},"history":[],"next":1,"sequence":1,"writer":""}',
]  # fmt: skip


@pytest.mark.parametrize("body", DAMAGED)
async def test_a_damaged_registry_is_an_error_that_names_the_key_and_the_way_out(
    lake: Store, tmp_path: Path, body: bytes
) -> None:
    await lake.put("models/registry/hmm.json", body, mode=Overwrite())
    models = models_of(lake)

    for ask in (
        models.versions("hmm"),
        models.pull("hmm", tmp_path / "out.pkl"),
        models.push(write(tmp_path / "hmm.pkl", b"third")),
        models.promote("hmm", 1, "shadow"),
        models.rollback("hmm", "production"),
        models.prune("hmm", dry_run=False),
    ):
        with pytest.raises(Damaged) as damaged:
            await ask
        assert "models/registry/hmm.json" in str(damaged.value)
        assert damaged.value.hint
    assert ("registry_damaged", "models/registry/hmm.json") in await found(lake)
    assert await models.names() == ["hmm", "net"]
    assert (await models.resolve("net")).n == 1


async def test_the_way_out_of_a_damaged_registry_works(lake: Store) -> None:
    await lake.put("models/registry/hmm.json", b"damaged", mode=Overwrite())
    assert [name for name, _ in (await models_of(lake).recover()).failures] == ["hmm"]
    await lake.delete("models/registry/hmm.json")
    assert {kind for kind, _ in await found(lake)} == {"registry_missing"}

    await models_of(lake).recover("hmm")

    models = models_of(lake)
    assert [version.recovered for version in await models.versions("hmm")] == [True, True]
    await assert_whole_of_hmm(lake)


async def assert_whole_of_hmm(lake: Store) -> None:
    await lake.delete("models/registry/net.json")
    await lake.delete("models/versions/net_v1.tar.gz")
    await assert_whole(lake, {"hmm": [b"first", b"second"]})


async def test_signatures_are_held_against_the_key(lake: Store, tmp_path: Path) -> None:
    await models_of(lake, signer=Signer(b"theirs")).push(write(tmp_path / "hmm.pkl", b"forged"))

    report = await models_of(lake, signer=Signer(b"ours")).check()

    assert [(finding.kind, finding.key) for finding in report.findings] == [("signature_wrong", "models/versions/hmm_v3.pkl")]
    assert {note.kind for note in report.notes} == {"unsigned"}
