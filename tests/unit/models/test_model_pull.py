"""What is pulled is what was pushed, whole and under its final name at once, or the target stays as it is."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from model_world import QuickClock, models_of, sha256, write

from streamer.errors import Damaged, Unavailable
from streamer.models.cache import ModelCache, default_cache_folder
from streamer.models.refusals import NoSuchModel, NotSigned, SchemaMismatch
from streamer.models.schema import feature_schema
from streamer.models.signature import Signer
from streamer.store.contract import Overwrite, Store
from streamer.store.memory import MemoryStore
from streamer.testing.failing_store import FailingStore, Fault, FaultKind
from streamer.testing.manual_clock import ManualClock

BIG = bytes(range(256)) * 5


@pytest.fixture
async def lake(store: Store, tmp_path: Path) -> Store:
    """Versions 1 and 2 of hmm; production is 1."""
    models = models_of(store)
    await models.push(write(tmp_path / "trainer/hmm.pkl", b"first"), features=["rsi", "macd"])
    await models.push(write(tmp_path / "trainer/hmm.pkl", BIG))
    await models.promote("hmm", 1, "production")
    return store


async def test_a_version_is_pulled_by_alias_and_by_number_into_a_file_or_a_directory(lake: Store, tmp_path: Path) -> None:
    models = models_of(lake)

    latest = await models.pull("hmm", tmp_path / "engine/models/hmm.pkl")
    assert latest.path.read_bytes() == BIG
    for version in ("production", 1, "1", "v1"):
        (tmp_path / "folder").mkdir(exist_ok=True)
        pulled = await models.pull("hmm", tmp_path / "folder", version)
        assert (pulled.version.n, pulled.path.read_bytes()) == (1, b"first")
    assert os.listdir(tmp_path / "folder") == ["hmm.pkl"]
    assert os.listdir(tmp_path / "engine/models") == ["hmm.pkl"]


@pytest.mark.usefixtures("small_parts")
async def test_pieces_come_together_in_order_however_slow_some_are(tmp_path: Path) -> None:
    memory = MemoryStore(ManualClock())
    models = models_of(memory)
    await models.push(write(tmp_path / "hmm.pkl", BIG))

    class Uneven(FailingStore):
        async def get_range(self, key: str, start: int, length: int) -> bytes:
            for _ in range((start // 100) * 7 % 5):
                await asyncio.sleep(0)
            return await super().get_range(key, start, length)

    uneven = Uneven(memory, ManualClock())
    seen: list[tuple[int, int]] = []
    await models_of(uneven).pull("hmm", tmp_path / "out.pkl", progress=lambda done, total: seen.append((done, total)))

    assert (tmp_path / "out.pkl").read_bytes() == BIG
    assert seen == [(min(done, 1280), 1280) for done in range(100, 1400, 100)]


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("damage", ["flipped", "shorter", "longer", "gone"])
async def test_damaged_bytes_never_appear_under_the_final_name(lake: Store, tmp_path: Path, damage: str) -> None:
    key = "models/versions/hmm_v2.pkl"
    bodies = {"flipped": BIG[:-1] + b"\x00", "shorter": BIG[:-1], "longer": BIG + b"x"}
    if damage == "gone":
        await lake.delete(key)
    else:
        await lake.put(key, bodies[damage], mode=Overwrite())
    target = write(tmp_path / "engine/hmm.pkl", b"the old one")

    with pytest.raises(Damaged) as damaged:
        await models_of(lake).pull("hmm", target)
    assert key in str(damaged.value)
    assert "restore" in damaged.value.hint
    assert target.read_bytes() == b"the old one"
    assert os.listdir(target.parent) == ["hmm.pkl"]


@pytest.mark.usefixtures("small_parts")
async def test_an_interrupted_pull_leaves_the_target_as_it_was(lake: Store, tmp_path: Path) -> None:
    target = write(tmp_path / "engine/hmm.pkl", b"the old one")
    for skip in range(13):
        failing = FailingStore(lake, ManualClock(), script=[Fault(FaultKind.UNAVAILABLE, "get_range", skip=skip)])
        with pytest.raises(Unavailable):
            await models_of(failing).pull("hmm", target)
        assert target.read_bytes() == b"the old one"
        assert os.listdir(target.parent) == ["hmm.pkl"]


@pytest.mark.usefixtures("small_parts")
async def test_a_cancelled_pull_leaves_the_target_as_it_was(lake: Store, tmp_path: Path) -> None:
    target = write(tmp_path / "engine/hmm.pkl", b"the old one")
    for turns in range(0, 120, 7):
        pulling = asyncio.create_task(models_of(lake).pull("hmm", target))
        for _ in range(turns):
            await asyncio.sleep(0)
        pulling.cancel()
        await asyncio.gather(pulling, return_exceptions=True)
        assert target.read_bytes() in (b"the old one", BIG)
        assert os.listdir(target.parent) == ["hmm.pkl"]


async def test_a_file_that_a_killed_pull_left_goes_after_a_day(lake: Store, tmp_path: Path) -> None:
    clock = QuickClock()
    old = write(tmp_path / "engine/.hmm.pkl.abc.part", b"half")
    young = write(tmp_path / "engine/.hmm.pkl.def.part", b"half")
    os.utime(old, (clock.now().timestamp() - 90_000,) * 2)
    os.utime(young, (clock.now().timestamp() - 60,) * 2)

    await models_of(lake, clock).pull("hmm", tmp_path / "engine/hmm.pkl")

    assert sorted(os.listdir(tmp_path / "engine")) == [".hmm.pkl.def.part", "hmm.pkl"]


async def test_a_pruned_version_is_named_as_such(lake: Store, tmp_path: Path) -> None:
    models = models_of(lake)
    registry = await models.registry("hmm")
    await models.push(write(tmp_path / "hmm.pkl", b"third"))
    await models.push(write(tmp_path / "hmm.pkl", b"fourth"))
    await models.prune("hmm", keep=1, dry_run=False)

    with pytest.raises(NoSuchModel, match="no such version"):
        await models.pull("hmm", tmp_path / "out.pkl", 2)
    with pytest.raises(NoSuchModel, match="pruned"):
        await models._pulls.pull(registry, registry.resolve(2), str(tmp_path / "out.pkl"), None)


async def test_a_stream_gives_the_bytes_and_damage_at_its_end(lake: Store) -> None:
    models = models_of(lake)
    assert await (await models.open("hmm", "production")).read() == b"first"
    await lake.put("models/versions/hmm_v1.pkl", b"FIRST", mode=Overwrite())

    with pytest.raises(Damaged):
        await (await models.open("hmm", "production")).read()


# The cache.


async def test_the_second_pull_asks_the_lake_for_the_registry_only(lake: Store, tmp_path: Path) -> None:
    watched = FailingStore(lake, ManualClock())
    models = models_of(watched, cache=ModelCache(tmp_path / "cache"))
    first = await models.pull("hmm", tmp_path / "a.pkl")
    watched.calls.clear()

    second = await models.pull("hmm", tmp_path / "b.pkl")

    assert (first.from_cache, second.from_cache) == (False, True)
    assert (tmp_path / "b.pkl").read_bytes() == BIG
    assert [(call.operation, call.key) for call in watched.calls] == [("get", "models/registry/hmm.json")]


async def test_a_damaged_cache_is_a_miss_and_heals(lake: Store, tmp_path: Path) -> None:
    models = models_of(lake, cache=ModelCache(tmp_path / "cache"))
    await models.pull("hmm", tmp_path / "a.pkl")
    (entry,) = (path for path in (tmp_path / "cache").rglob("*") if path.is_file())
    entry.write_bytes(b"rotten" * 1000)

    healed = await models.pull("hmm", tmp_path / "b.pkl")
    third = await models.pull("hmm", tmp_path / "c.pkl")

    assert (healed.from_cache, third.from_cache) == (False, True)
    assert (tmp_path / "b.pkl").read_bytes() == (tmp_path / "c.pkl").read_bytes() == BIG


async def test_what_a_user_does_to_his_file_does_not_reach_the_cache(lake: Store, tmp_path: Path) -> None:
    models = models_of(lake, cache=ModelCache(tmp_path / "cache"))
    await models.pull("hmm", tmp_path / "a.pkl")
    (tmp_path / "a.pkl").write_bytes(b"mine")

    assert (await models.pull("hmm", tmp_path / "b.pkl")).from_cache
    assert (tmp_path / "b.pkl").read_bytes() == BIG


async def test_the_cache_keeps_to_its_size_and_drops_what_was_used_least_recently(store: Store, tmp_path: Path) -> None:
    pushing = models_of(store)
    for letter in b"abcd":
        await pushing.push(write(tmp_path / "m.bin", bytes([letter]) * 100))
    cache = ModelCache(tmp_path / "cache", budget_bytes=250)
    models = models_of(store, cache=cache)
    for turn, version in enumerate((1, 2, 1, 3)):
        pulled = await models.pull("m", tmp_path / "out.bin", version)
        os.utime(cache._path(pulled.version.sha256), (turn, turn))

    kept = {path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert kept == {sha256(bytes([letter]) * 100) for letter in b"ac"}
    small = models_of(store, cache=ModelCache(tmp_path / "small", budget_bytes=50))
    assert not (await small.pull("m", tmp_path / "out.bin")).from_cache
    assert not [path for path in (tmp_path / "small").rglob("*") if path.is_file()]


async def test_a_cache_that_cannot_be_written_is_no_reason_to_be_without_a_model(lake: Store, tmp_path: Path) -> None:
    models = models_of(lake, cache=ModelCache(write(tmp_path / "a file", b"x")))

    pulled = await models.pull("hmm", tmp_path / "out.pkl")

    assert (pulled.from_cache, pulled.path.read_bytes()) == (False, BIG)


def test_the_cache_is_where_the_standard_says() -> None:
    assert default_cache_folder({"XDG_CACHE_HOME": "/var/cache/me"}) == "/var/cache/me/streamer"
    home = os.path.expanduser("~/.cache/streamer")
    assert default_cache_folder({"XDG_CACHE_HOME": "relative"}) == default_cache_folder({}) == home


# Features and signatures.


async def test_a_model_of_other_features_is_refused(lake: Store, tmp_path: Path) -> None:
    models = models_of(lake)

    await models.pull("hmm", tmp_path / "out.pkl", 1, expect_schema=["rsi", "macd"])
    await models.pull("hmm", tmp_path / "out.pkl", 1, expect_schema=feature_schema(["rsi", "macd"]))
    with pytest.raises(SchemaMismatch, match="another order"):
        await models.pull("hmm", tmp_path / "out.pkl", 1, expect_schema=["macd", "rsi"])
    with pytest.raises(SchemaMismatch, match="volume"):
        await models.open("hmm", 1, expect_schema=["rsi", "macd", "volume"])
    with pytest.raises(SchemaMismatch, match="does not say"):
        await models.pull("hmm", tmp_path / "out.pkl", 2, expect_schema=["rsi", "macd"])


async def test_with_a_key_only_what_it_signed_is_pulled(lake: Store, tmp_path: Path) -> None:
    ours, theirs = Signer(b"our secret"), Signer(b"their secret")
    trainer, engine, stranger = (models_of(lake, signer=signer) for signer in (ours, ours, theirs))
    await trainer.push(write(tmp_path / "hmm.pkl", b"signed"))
    await stranger.push(write(tmp_path / "hmm.pkl", b"forged"))

    with pytest.raises(NotSigned, match="not by this key") as refused:
        await engine.pull("hmm", tmp_path / "out.pkl")
    with pytest.raises(NotSigned, match="not signed"):
        await engine.open("hmm", 1)
    await engine.pull("hmm", tmp_path / "out.pkl", 3)

    assert (tmp_path / "out.pkl").read_bytes() == b"signed"
    assert "secret" not in f"{refused.value} {refused.value.hint} {ours!r}"
    await models_of(lake).pull("hmm", tmp_path / "out.pkl")


async def test_a_signature_does_not_fit_another_name_number_or_content(lake: Store) -> None:
    signer = Signer(b"key")
    signature = signer.sign("hmm", 1, 5, "ab")

    others = [signer.sign("hmm2", 1, 5, "ab"), signer.sign("hmm", 2, 5, "ab"), signer.sign("hmm", 1, 6, "ab")]
    assert signature not in [*others, signer.sign("hmm", 1, 5, "cd"), Signer(b"other").sign("hmm", 1, 5, "ab")]


async def test_pushing_the_same_file_with_a_key_signs_it(lake: Store, tmp_path: Path) -> None:
    signed = models_of(lake, signer=Signer.from_environment({"STREAMER_MODEL_KEY": "key"}))

    await signed.push(write(tmp_path / "hmm.pkl", BIG))

    assert (await signed.pull("hmm", tmp_path / "out.pkl")).version.n == 2
    assert Signer.from_environment({}) is None


# Hot reload.


async def test_a_watch_gives_the_target_now_and_every_move(store: Store, tmp_path: Path) -> None:
    models = models_of(store)
    seen: list[int] = []

    async def engine() -> None:
        async for version in models.watch("hmm", "production"):
            seen.append(version.n)
            if len(seen) == 3:
                return

    reading = asyncio.create_task(engine())
    for number in range(1, 4):
        for _ in range(30):
            await asyncio.sleep(0)
        await models.push(write(tmp_path / "hmm.pkl", b"content %d" % number))
        await models.promote("hmm", number, "production")
        while len(seen) < number:
            await asyncio.sleep(0)
    await reading

    assert seen == [1, 2, 3]


async def test_a_watch_does_not_repeat_what_the_caller_has_and_outlives_an_outage(lake: Store, tmp_path: Path) -> None:
    failing = FailingStore(lake, ManualClock(), script=[Fault(FaultKind.UNAVAILABLE, "get", times=5)])
    moves = models_of(failing).watch("hmm", since=2)
    waiting = asyncio.create_task(anext(moves))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not waiting.done()

    await models_of(lake).push(write(tmp_path / "hmm.pkl", b"third"))

    assert (await waiting).n == 3
    await moves.aclose()  # type: ignore[attr-defined]
