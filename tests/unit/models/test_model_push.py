"""A file becomes a version once, whole, under the next number; what is there already is not pushed again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from model_world import QuickClock, assert_whole, keys_of, models_of, sha256, write

from streamer.errors import Invalid, OutcomeUnknown
from streamer.models.refusals import NoSuchModel
from streamer.store.big_objects import ContentChanged
from streamer.store.contract import Create, Overwrite, Store, StoredObject
from streamer.store.retry import RetryingStore
from streamer.testing.failing_store import FailingStore, Fault, FaultKind
from streamer.testing.manual_clock import ManualClock


async def test_a_lake_holds_bytes_in_versions_and_everything_else_in_the_registry(store: Store, tmp_path: Path) -> None:
    models = models_of(store)
    file = write(tmp_path / "isolation_forest.pkl", b"one")

    first = await models.push(file, metrics={"auc": 0.9}, tags=["nightly"], features=["rsi", "macd"], parent=7)
    write(file, b"two")
    second = await models.push(file, tags={"kind": "retrained"})

    assert await keys_of(store) == [
        "models/isolation_forest.pkl",
        "models/registry/isolation_forest.json",
        "models/versions/isolation_forest_v1.pkl",
        "models/versions/isolation_forest_v2.pkl",
    ]
    assert (await store.get("models/versions/isolation_forest_v1.pkl")).body == b"one"
    assert (first.n, first.sha256, first.size, first.aliases) == (1, sha256(b"one"), 3, ("latest",))
    assert (first.metrics, first.tags, first.parent) == ({"auc": 0.9}, {"nightly": ""}, 7)
    assert (second.n, second.tags, second.aliases) == (2, {"kind": "retrained"}, ("latest",))
    await assert_whole(store, {"isolation_forest": [b"one", b"two"]})


async def test_versions_of_a_directory_are_files_and_nothing_else(store: Store, tmp_path: Path) -> None:
    await models_of(store).push(write(tmp_path / "hmm.pkl", b"one"), metrics={"auc": 1})

    if store.url.startswith("file://"):
        assert os.listdir(tmp_path / "lake/models/versions") == ["hmm_v1.pkl"]


async def test_the_same_content_is_not_pushed_again_even_after_others(store: Store, tmp_path: Path) -> None:
    models = models_of(store)
    file = write(tmp_path / "hmm.pkl", b"one")
    for content in (b"one", b"one", b"two", b"one"):
        write(file, content)
        outcome = await models.push_file(file)

    assert (outcome.created, outcome.version.n) == (False, 1)
    await assert_whole(store, {"hmm": [b"one", b"two"]})


async def test_what_a_trainer_says_later_fills_in_what_was_not_said(store: Store, tmp_path: Path) -> None:
    models = models_of(store)
    file = write(tmp_path / "hmm.pkl", b"one")
    await models.push(file)

    await models.push(file, metrics={"auc": 0.5})
    version = await models.push(file, metrics={"auc": 0.7}, features=["a"])

    assert (version.n, version.metrics, version.features) == (1, {"auc": 0.5}, ("a",))


async def test_a_file_that_takes_the_place_of_another_while_it_is_sent_is_another_file(
    store: Store, tmp_path: Path, small_parts: int
) -> None:
    models = models_of(store)
    old, new = b"a" * 1050, b"b" * 1050
    file = write(tmp_path / "net.pt", old)

    def replaced(done: int, total: int) -> None:
        os.replace(write(tmp_path / "net.pt.new", new), file) if done < 300 else None

    await models.push(file, progress=replaced)
    assert (await models.resolve("net")).sha256 == sha256(old)
    await models.push(file)
    await assert_whole(store, {"net": [old, new]}, suffix=".pt")


@pytest.mark.parametrize("change", ["rewritten", "longer", "shorter"])
async def test_a_file_that_changes_while_it_is_sent_is_no_version(
    store: Store, tmp_path: Path, small_parts: int, change: str
) -> None:
    models = models_of(store)
    file = write(tmp_path / "net.pt", b"a" * 1050)

    def written_into(done: int, total: int) -> None:
        with open(file, "r+b") as open_file:
            if change == "rewritten":
                open_file.seek(1000)
                open_file.write(b"torn")
            else:
                open_file.truncate(1200 if change == "longer" else 700)

    with pytest.raises(ContentChanged):
        await models.push(file, progress=written_into)
    assert await keys_of(store) == []
    assert [upload async for upload in store.list_uploads()] == []
    await models.push(write(file, b"whole"))
    await assert_whole(store, {"net": [b"whole"]}, suffix=".pt")


async def test_a_small_file_that_changes_between_hash_and_upload_is_no_version(store: Store, tmp_path: Path) -> None:
    file = write(tmp_path / "hmm.pkl", b"before")

    class Meanwhile(FailingStore):
        async def put(self, key: str, *arguments: object, **more: object) -> str:
            raise AssertionError(key)

        async def get(self, key: str) -> StoredObject:
            # The registry is read once more between the hash and the upload.
            if sum(call.operation == "get" for call in self.calls) == 2:
                write_through(file, b"after!")
            return await super().get(key)

    with pytest.raises(ContentChanged):
        await models_of(Meanwhile(store, ManualClock())).push(file)
    assert await keys_of(store) == []


def write_through(file: Path, content: bytes) -> None:
    """Into the same inode, as `open(path, "wb")` does."""
    with open(file, "r+b") as open_file:
        open_file.write(content)


async def test_an_object_that_an_earlier_push_left_is_taken_over(store: Store, tmp_path: Path) -> None:
    await store.put("models/versions/hmm_v1.pkl", b"mine", mode=Create())
    models = models_of(store)

    version = await models.push(write(tmp_path / "hmm.pkl", b"mine"), metrics={"auc": 1})

    assert (version.n, version.metrics, version.recovered) == (1, {"auc": 1}, False)
    await assert_whole(store, {"hmm": [b"mine"]})


async def test_a_number_taken_by_other_bytes_is_passed_over(store: Store, tmp_path: Path) -> None:
    models = models_of(store)
    await models.push(write(tmp_path / "hmm.pkl", b"one"))
    await store.put("models/versions/hmm_v2.pkl", b"not", mode=Create())

    version = await models.push(write(tmp_path / "hmm.pkl", b"two"))

    assert version.n == 3
    assert (await models.recover()).versions == [("hmm", 2)]
    await assert_whole(store, {"hmm": [b"one", b"two", b"not"]})
    assert (await models.resolve("hmm", "latest")).n == 3


async def test_a_registry_that_was_deleted_is_made_again_by_the_next_push(store: Store, tmp_path: Path) -> None:
    models = models_of(store)
    for content in (b"one", b"two"):
        await models.push(write(tmp_path / "hmm.pkl", content), metrics={"auc": 1})
    await store.delete("models/registry/hmm.json")

    await models.push(write(tmp_path / "hmm.pkl", b"three"))

    await assert_whole(store, {"hmm": [b"one", b"two", b"three"]})
    assert [version.recovered for version in await models.versions("hmm")] == [True, True, False]


async def test_a_version_that_was_deleted_by_hand_comes_back_with_the_same_file(store: Store, tmp_path: Path) -> None:
    models = models_of(store)
    file = write(tmp_path / "hmm.pkl", b"one")
    await models.push(file)
    await store.delete("models/versions/hmm_v1.pkl")

    assert not (await models.push_file(file)).created

    await assert_whole(store, {"hmm": [b"one"]})


async def test_a_plain_copy_that_was_overwritten_by_hand_is_written_again(store: Store, tmp_path: Path) -> None:
    models = models_of(store)
    await models.push(write(tmp_path / "hmm.pkl", b"one"))
    await store.put("models/hmm.pkl", b"mine", mode=Overwrite())

    assert (await models.recover()).copies == ["hmm"]

    await assert_whole(store, {"hmm": [b"one"]})


@pytest.mark.parametrize("operation", ["put", "begin_upload", "put_part", "complete_upload"])
@pytest.mark.parametrize("kind", [FaultKind.AFTER, FaultKind.TWICE, FaultKind.BEFORE, FaultKind.LATE])
async def test_an_answer_that_is_lost_is_settled_by_reading_back(
    store: Store, tmp_path: Path, small_parts: int, operation: str, kind: FaultKind
) -> None:
    content = b"x" * 950 if operation != "put" else b"x"
    clock = QuickClock()
    for skip in range(3 if operation in ("put", "put_part") else 2):
        failing = FailingStore(store, clock, script=[Fault(kind, operation, skip=skip)])
        models = models_of(RetryingStore(failing, clock), clock)
        await models.push(write(tmp_path / f"m{skip}.pkl", content + bytes([skip])))
        while failing.late:
            await failing.deliver()
        await models_of(store).recover()

    await assert_whole(
        store, {f"m{skip}": [content + bytes([skip])] for skip in range(3 if operation in ("put", "put_part") else 2)}
    )


async def test_without_the_retry_layer_a_lost_answer_doubles_nothing(store: Store, tmp_path: Path) -> None:
    for number in range(3):
        models = models_of(FailingStore(store, ManualClock(), script=[Fault(FaultKind.AFTER, "put", skip=number)]))
        await models.push(write(tmp_path / "hmm.pkl", bytes([number])))

    await assert_whole(store, {"hmm": [bytes([number]) for number in range(3)]})


async def test_a_lost_begin_of_an_upload_is_heard(store: Store, tmp_path: Path, small_parts: int) -> None:
    models = models_of(FailingStore(store, ManualClock(), script=[Fault(FaultKind.BEFORE, "put_part", times=None)]))

    with pytest.raises(OutcomeUnknown):
        await models.push(write(tmp_path / "hmm.pkl", b"x" * 500))
    assert [upload async for upload in store.list_uploads()] == []


@pytest.mark.parametrize("name", ["with space.pkl", "ключ.pkl", "a%b.pkl", "-x.pkl", ".hidden", "a" * 200 + ".pkl", "versions"])
async def test_a_name_that_is_not_safe_is_refused_with_a_hint(store: Store, tmp_path: Path, name: str) -> None:
    with pytest.raises(Invalid) as refused:
        await models_of(store).push(write(tmp_path / name, b"x"))
    assert refused.value.hint
    assert await keys_of(store) == []
    assert (await models_of(store).push(tmp_path / name, name="safe")).n == 1


async def test_what_is_no_file_is_refused(store: Store, tmp_path: Path) -> None:
    models = models_of(store)
    for path in (tmp_path / "none.pkl", tmp_path, write(tmp_path / "empty.pkl", b"")):
        with pytest.raises(Invalid):
            await models.push(path, name="m")
    os.mkfifo(tmp_path / "pipe.pkl")
    with pytest.raises(Invalid):
        await models.push(tmp_path / "pipe.pkl")


async def test_one_model_has_one_suffix(store: Store, tmp_path: Path) -> None:
    models = models_of(store)
    await models.push(write(tmp_path / "net.pt", b"x"))

    with pytest.raises(Invalid, match=r"net\.onnx"):
        await models.push(write(tmp_path / "net.onnx", b"y"))
    assert (await models.push(tmp_path / "net.onnx", name="net_onnx")).n == 1


async def test_metrics_may_be_numpy_and_must_be_json(store: Store, tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    models = models_of(store)
    file = write(tmp_path / "hmm.pkl", b"x")

    with pytest.raises(Invalid):
        await models.push(file, metrics={"model": object()})
    with pytest.raises(Invalid):
        await models.push(file, metrics={"curve": list(range(100_000))})
    version = await models.push(file, metrics={"auc": numpy.float32(0.5), "confusion": numpy.eye(2)})

    assert version.metrics == {"auc": 0.5, "confusion": [[1.0, 0.0], [0.0, 1.0]]}


async def test_a_model_that_is_not_there_is_named(store: Store) -> None:
    models = models_of(store)

    for ask in (models.versions("none"), models.resolve("none"), models.promote("none", 1, "a"), models.rollback("none", "a")):
        with pytest.raises(NoSuchModel, match="none") as refused:
            await ask
        assert refused.value.exit_code == 2
