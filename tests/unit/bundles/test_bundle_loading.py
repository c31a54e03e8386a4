"""Bundles are pushed once, fetched once per machine, whole or not at all, and what is loaded can be imported."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from pathlib import Path

import pytest
from bundle_world import Counting, bundles_of, load_in_processes, make_folder, zip_of

from streamer import Lake
from streamer.bundles.archive import BadArchive
from streamer.clock import SystemClock
from streamer.errors import Damaged, Denied, Invalid
from streamer.models.cache import ModelCache
from streamer.models.refusals import NoSuchModel, NotSigned
from streamer.models.signature import Signer
from streamer.store.contract import Overwrite, Store
from streamer.store.directory import DirectoryStore
from streamer.testing.manual_clock import ManualClock


def import_answer() -> int:
    sys.modules.pop("bundled_answer", None)
    return int(importlib.import_module("bundled_answer").ANSWER)


async def test_a_folder_is_pushed_loaded_and_imported(store: Store, tmp_path: Path) -> None:
    bundles = bundles_of(store)

    version = await bundles.push(make_folder(tmp_path / "data-science-libs"))
    loaded = await bundles.load("data-science-libs", to=tmp_path / "python-libs")

    assert (version.n, loaded.version, loaded.sha256, loaded.fetched) == (1, 1, version.sha256, True)
    assert import_answer() == 42
    assert sys.path[0] == str(loaded.path)
    assert os.access(loaded.path / "bundled_pkg/tool.sh", os.X_OK)
    keys = [item.key async for item in store.list()]
    assert keys == [
        "bundles/data-science-libs.zip", "bundles/registry/data-science-libs.json", "bundles/versions/data-science-libs_v1.zip",
    ]  # fmt: skip
    assert (await bundles.check()).document()["findings"] == []


async def test_the_same_content_is_one_version_and_another_is_the_next(store: Store, tmp_path: Path) -> None:
    bundles = bundles_of(store)

    first = await bundles.push(make_folder(tmp_path / "a"), "libs")
    again = await bundles.push(make_folder(tmp_path / "b"), "libs")
    other = await bundles.push(make_folder(tmp_path / "b", answer=43), "libs")

    assert (first.n, again.n, other.n) == (1, 1, 2)
    assert await bundles.names() == ["libs"]


async def test_models_and_bundles_of_one_name_do_not_meet(store: Store, tmp_path: Path) -> None:
    from streamer.models.models import AsyncModels
    from streamer.workers import InlineWorkers

    models, bundles = AsyncModels(store, ManualClock(), InlineWorkers()), bundles_of(store)
    (tmp_path / "libs.zip").write_bytes(b"a model's bytes")

    await models.push(tmp_path / "libs.zip")
    await bundles.push(make_folder(tmp_path / "libs"))

    assert (await models.resolve("libs")).size == len(b"a model's bytes")
    assert len(await bundles.versions("libs")) == 1
    assert (await models.check()).sound
    assert (await bundles.check()).sound


async def test_a_new_version_takes_the_place_of_the_old_one_on_the_path_and_leaves_its_files(
    store: Store, tmp_path: Path
) -> None:
    clock = ManualClock()
    bundles = bundles_of(store, clock)
    await bundles.push(make_folder(tmp_path / "a"), "libs")
    old = await bundles.load("libs", to=tmp_path / "to")
    await bundles.push(make_folder(tmp_path / "a", answer=43), "libs")

    soon = await bundles.load("libs", to=tmp_path / "to")
    await clock.advance(61)
    later = await bundles.load("libs", to=tmp_path / "to")

    assert (soon.version, later.version) == (1, 2)
    assert [str(old.path) in sys.path, str(later.path) in sys.path] == [False, True]
    assert import_answer() == 43
    assert (old.path / "bundled_answer.py").exists()
    assert (await bundles.load("libs", to=tmp_path / "to", version=1)).path == old.path


async def test_a_warm_load_asks_the_lake_nothing_and_a_warm_process_too(store: Store, tmp_path: Path) -> None:
    counting, clock = Counting(store), ManualClock()
    await bundles_of(store).push(make_folder(tmp_path / "a"), "libs")
    first = bundles_of(counting, clock)
    assert (await first.load("libs", to=tmp_path / "to")).fetched
    counting.asked.clear()

    assert not (await first.load("libs", to=tmp_path / "to")).fetched
    another_process = bundles_of(counting, clock)
    assert not (await another_process.load("libs", to=tmp_path / "to")).fetched
    assert counting.asked == {}

    await clock.advance(61)
    assert not (await another_process.load("libs", to=tmp_path / "to")).fetched
    assert counting.asked == {"bundles/registry/libs.json": 1}


async def test_what_a_process_has_loaded_needs_no_disk_either(store: Store, tmp_path: Path) -> None:
    bundles = bundles_of(store)
    await bundles.push(make_folder(tmp_path / "a"), "libs")
    loaded = await bundles.load("libs", to=tmp_path / "to", version=1)
    shutil.rmtree(tmp_path / "to")

    assert (await bundles.load("libs", to=tmp_path / "to", version=1)).path == loaded.path


async def test_files_that_a_cleaner_took_are_unpacked_again(store: Store, tmp_path: Path) -> None:
    await bundles_of(store).push(make_folder(tmp_path / "a"), "libs")
    loaded = await bundles_of(store).load("libs", to=tmp_path / "to")
    (loaded.path / "bundled_answer.py").unlink()

    again = await bundles_of(store).load("libs", to=tmp_path / "to")

    assert again.fetched
    assert import_answer() == 42


async def test_what_a_killed_process_left_goes_and_nothing_else_stays(store: Store, tmp_path: Path) -> None:
    await bundles_of(store).push(make_folder(tmp_path / "a"), "libs")
    (tmp_path / "to").mkdir(mode=0o700)
    (tmp_path / "to/.libs+dead/content").mkdir(parents=True)

    loaded = await bundles_of(store).load("libs", to=tmp_path / "to")

    left = sorted(name for name in os.listdir(tmp_path / "to") if not name.startswith(".libs@"))
    assert left == sorted([".locks", loaded.path.name])


async def test_a_folder_that_others_can_write_into_is_refused(store: Store, tmp_path: Path) -> None:
    await bundles_of(store).push(make_folder(tmp_path / "a"), "libs")
    (tmp_path / "to").mkdir()
    (tmp_path / "to").chmod(0o777)

    with pytest.raises(Denied, match="others may write"):
        await bundles_of(store).load("libs", to=tmp_path / "to")

    assert os.listdir(tmp_path / "to") == []


async def test_an_archive_that_load_would_refuse_is_never_a_version(store: Store, tmp_path: Path) -> None:
    evil = zip_of(tmp_path / "libs.zip", ("../evil.py", b""))

    with pytest.raises(BadArchive):
        await bundles_of(store).push(evil)

    assert [item.key async for item in store.list()] == []


async def test_an_evil_archive_that_got_into_the_lake_another_way_is_not_unpacked(store: Store, tmp_path: Path) -> None:
    bundles = bundles_of(store)
    evil = zip_of(tmp_path / "libs.zip", ("../evil.py", b""))
    await bundles._models.push(evil)

    with pytest.raises(BadArchive):
        await bundles.load("libs", to=tmp_path / "to")

    assert [name for name in os.listdir(tmp_path / "to") if not name.startswith(".locks")] == []
    assert not (tmp_path / "evil.py").exists()


async def test_other_bytes_than_were_pushed_are_not_unpacked(store: Store, tmp_path: Path) -> None:
    bundles = bundles_of(store)
    await bundles.push(make_folder(tmp_path / "a"), "libs")
    other = zip_of(tmp_path / "other.zip", ("bundled_answer.py", b"ANSWER = 0"))
    await store.put("bundles/versions/libs_v1.zip", other.read_bytes(), mode=Overwrite())

    with pytest.raises(Damaged, match="damaged"):
        await bundles.load("libs", to=tmp_path / "to")

    assert not any(path.is_dir() and path.name.startswith("libs-") for path in (tmp_path / "to").iterdir())


async def test_a_limit_of_size_holds_for_loading_and_pushing(store: Store, tmp_path: Path) -> None:
    bundles = bundles_of(store)
    (make_folder(tmp_path / "a") / "zeros").write_bytes(bytes(100_000))

    with pytest.raises(BadArchive, match="more than is allowed"):
        await bundles.push(tmp_path / "a", "libs", size_limit_bytes=50_000)
    await bundles.push(tmp_path / "a", "libs")
    with pytest.raises(BadArchive, match="more than is allowed"):
        await bundles.load("libs", to=tmp_path / "to", size_limit_bytes=50_000)


async def test_with_a_key_only_signed_bundles_are_loaded_whatever_others_noted(store: Store, tmp_path: Path) -> None:
    await bundles_of(store).push(make_folder(tmp_path / "a"), "libs")
    await bundles_of(store).load("libs", to=tmp_path / "to")
    strict = bundles_of(store, signer=Signer(b"key"))

    with pytest.raises(NotSigned):
        await strict.load("libs", to=tmp_path / "to")

    await strict.push(make_folder(tmp_path / "a"), "libs")
    assert not (await strict.load("libs", to=tmp_path / "to")).fetched


async def test_a_models_signature_is_none_of_a_bundle(store: Store, tmp_path: Path) -> None:
    strict = bundles_of(store, signer=Signer(b"key"))
    version = await strict.push(make_folder(tmp_path / "a"), "libs")

    assert version.signature is not None
    assert version.signature != Signer(b"key").sign("libs", version.n, version.size, version.sha256)


async def test_aliases_roll_back_and_prune_are_those_of_models(store: Store, tmp_path: Path) -> None:
    bundles = bundles_of(store)
    for answer in range(4):
        await bundles.push(make_folder(tmp_path / "a", answer=answer), "libs")
    await bundles.promote("libs", 1, "production")
    await bundles.promote("libs", 3, "production")

    assert (await bundles.rollback("libs", "production")).n == 1
    assert (await bundles.load("libs", to=tmp_path / "to", version="production")).version == 1
    pruned = await bundles.prune("libs", keep=1, dry_run=False)
    assert pruned.keys == ("bundles/versions/libs_v2.zip",)  # to version 3 `latest` would roll back


@pytest.mark.parametrize("version", ["../../x", "nobody", "", "é", "a\0b"])
async def test_an_alias_that_is_not_there_is_said_and_leaves_no_file(store: Store, tmp_path: Path, version: str) -> None:
    bundles = bundles_of(store)
    await bundles.push(make_folder(tmp_path / "a"), "libs")

    with pytest.raises(NoSuchModel) as caught:
        await bundles.load("libs", to=tmp_path / "to", version=version)

    assert "streamer bundles promote" in caught.value.hint
    assert caught.value.context["bundle"] == "libs"
    assert os.listdir(tmp_path / "to") == []


@pytest.mark.parametrize("name", ["../x", "", "a/b", ".hidden", "x" * 129])
async def test_a_name_that_cannot_be_is_refused(store: Store, tmp_path: Path, name: str) -> None:
    with pytest.raises(Invalid, match="bundle's name"):
        await bundles_of(store).load(name, to=tmp_path / "to")
    with pytest.raises(Invalid, match="bundle's name"):
        await bundles_of(store).push(make_folder(tmp_path / "a"), name)


async def test_what_is_not_there_cannot_be_pushed(store: Store, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="no such folder"):
        await bundles_of(store).push(tmp_path / "nothing.zip")


async def test_another_folder_of_this_machine_needs_no_second_download(store: Store, tmp_path: Path) -> None:
    counting, cache = Counting(store), ModelCache(tmp_path / "cache")
    await bundles_of(store).push(make_folder(tmp_path / "a"), "libs")

    await bundles_of(counting, cache=cache).load("libs", to=tmp_path / "one")
    await bundles_of(counting, cache=cache).load("libs", to=tmp_path / "two")

    assert sum(count for key, count in counting.asked.items() if "/versions/" in key) == 2  # its size, and its bytes


async def test_ten_cold_processes_fetch_and_unpack_once(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "lake", SystemClock(), create=True)
    await store.prepare()
    await bundles_of(store, SystemClock()).push(make_folder(tmp_path / "a"), "libs")
    await store.close()

    said = await load_in_processes(str(tmp_path / "lake"), tmp_path / "to", 10, {})

    assert [one["answer"] for one in said] == [42] * 10
    assert sum(one["fetched"] for one in said) == 1
    assert len({one["path"] for one in said}) == 1


def test_the_lake_has_a_door_to_bundles(tmp_path: Path) -> None:
    with Lake.open(str(tmp_path / "lake"), cache=None, create=True) as lake:
        lake.bundles.push(make_folder(tmp_path / "a"), "libs", tags=["py311"])
        loaded = lake.bundles.load("libs", to=tmp_path / "to", on_path=False)

        assert loaded.fetched
        assert str(loaded.path) not in sys.path
        assert lake.bundles.versions("libs")[0].tags == {"py311": ""}
        assert lake.bundles.check().sound
