"""Aliases move by promote, come back by rollback, and each move is on record; nobody's move is lost among many."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from model_world import Died, Mortal, QuickClock, assert_whole, crowd, models_of, push_all, write

from streamer.errors import Invalid
from streamer.models.name import ModelName
from streamer.models.refusals import NoSuchModel
from streamer.models.registry import MOVES_KEPT, Registry, Sign
from streamer.models.version import Version
from streamer.store.contract import Overwrite, PutMode, Store, StoredObject
from streamer.store.memory import MemoryStore
from streamer.store.retry import RetryingStore
from streamer.testing.failing_store import Chances, FailingStore, FaultKind
from streamer.testing.manual_clock import VirtualClock, run_virtual


async def test_promote_and_rollback_walk_and_every_step_is_history(store: Store, tmp_path: Path) -> None:
    models = models_of(store)
    await push_all(models, tmp_path, 4)

    for version in (1, "v2", "latest"):
        await models.promote("hmm", version, "production", reason=f"try {version}", who="ops")
    walked = [(await models.rollback("hmm", "production", who="ops")).n for _ in range(2)]

    assert walked == [2, 1]
    with pytest.raises(Invalid, match="no previous"):
        await models.rollback("hmm", "production")
    history = [(m.who, m.alias, m.source, m.target, m.reason) for m in (await models.registry("hmm")).history]
    assert [move for move in history if move[1] == "production"] == [
        ("ops", "production", None, 1, "try 1"),
        ("ops", "production", 1, 2, "try v2"),
        ("ops", "production", 2, 4, "try latest"),
        ("ops", "production", 4, 2, "rollback"),
        ("ops", "production", 2, 1, "rollback"),
    ]
    assert [move[2:4] for move in history if move[1] == "latest"] == [(None, 1), (1, 2), (2, 3), (3, 4)]


async def test_a_promotion_to_where_the_alias_is_changes_nothing(store: Store, tmp_path: Path) -> None:
    models = models_of(store)
    await push_all(models, tmp_path, 2)
    await models.promote("hmm", 1, "shadow")
    before = await store.get("models/registry/hmm.json")

    await models.promote("hmm", 1, "shadow")

    assert (await store.get("models/registry/hmm.json")).info.etag == before.info.etag


async def test_latest_can_be_rolled_back_and_the_plain_copy_follows_until_the_next_push(store: Store, tmp_path: Path) -> None:
    models = models_of(store)
    await push_all(models, tmp_path, 2)

    await models.rollback("hmm", "latest")
    back = (await store.get("models/hmm.pkl")).body
    await models.push(write(tmp_path / "hmm.pkl", b"content 3"))

    assert back == b"content 1"
    assert (await models.resolve("hmm")).n == 3
    await assert_whole(store, {"hmm": [b"content 1", b"content 2", b"content 3"]})


async def test_latest_is_not_promoted_and_a_number_is_no_alias(store: Store, tmp_path: Path) -> None:
    models = models_of(store)
    await push_all(models, tmp_path, 2)

    for alias in ("latest", "3", "v3", "", "Prod", "a/b", "a b", "-a"):
        with pytest.raises(Invalid):
            await models.promote("hmm", 1, alias)
    for version in (3, "shadow", 0):
        with pytest.raises(NoSuchModel):
            await models.promote("hmm", version, "production")


async def test_fields_of_a_newer_release_survive_every_change(store: Store, tmp_path: Path) -> None:
    models = models_of(store)
    await push_all(models, tmp_path, 2)
    await models.promote("hmm", 1, "production")
    document = orjson.loads((await store.get("models/registry/hmm.json")).body)
    document["owner"] = {"team": "quants"}
    document["versions"][0]["gpu"] = "A100"
    document["aliases"]["production"]["pinned"] = True
    document["history"][-1]["ticket"] = 7
    await store.put("models/registry/hmm.json", orjson.dumps(document), mode=Overwrite())

    await models.push(write(tmp_path / "hmm.pkl", b"content 3"))
    await models.promote("hmm", 2, "production")
    await models.rollback("hmm", "production")

    after = orjson.loads((await store.get("models/registry/hmm.json")).body)
    assert after["owner"] == {"team": "quants"}
    assert after["versions"][0]["gpu"] == "A100"
    assert after["aliases"]["production"]["pinned"] is True
    assert [move.get("ticket") for move in after["history"]][2] == 7


async def test_twenty_pushers_and_promoters_lose_nothing(store: Store, tmp_path: Path) -> None:
    await crowd([store], tmp_path, QuickClock())


@pytest.mark.parametrize("seed", range(4))
def test_twenty_lose_nothing_while_the_store_fails(tmp_path: Path, seed: int) -> None:
    async def main(clock: VirtualClock) -> None:
        memory = MemoryStore(clock)
        kinds = (FaultKind.BEFORE, FaultKind.AFTER, FaultKind.TWICE, FaultKind.UNAVAILABLE, FaultKind.CONFLICT_409)
        chances = Chances(seed, rate=0.1, kinds=kinds)
        stores: list[Store] = [
            RetryingStore(FailingStore(memory, clock, chances=chances), clock, attempts=12, total_seconds=300) for _ in range(4)
        ]
        await crowd(stores, tmp_path, clock)

    run_virtual(main, seed=seed)


@pytest.mark.parametrize("seed", range(3))
def test_the_plain_copy_is_the_latest_also_where_a_store_ignores_the_condition_on_it(tmp_path: Path, seed: int) -> None:
    class Careless(FailingStore):
        async def put(self, key: str, body: bytes | memoryview, *, mode: PutMode, **more: Any) -> str:
            await self._clock.sleep(self._clock.jitter(0.02))
            return await super().put(key, body, mode=Overwrite() if key == "models/hmm.pkl" else mode, **more)

    async def main(clock: VirtualClock) -> None:
        memory = MemoryStore(clock)
        await crowd([Careless(memory, clock) for _ in range(4)], tmp_path, clock)

    run_virtual(main, seed=seed)


def test_a_move_that_landed_before_its_answer_was_lost_is_not_made_again() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    registry = Registry(ModelName("hmm", ".pkl"))
    for n in (1, 2, 3):
        registry = registry.registering(Version(n, 1, f"{n:064x}", now, "me"), Sign(f"push {n}", now, "me"))
    mine, other = Sign("mine", now, "me"), Sign("other", now, "another")

    landed = registry.promoting("production", 1, mine).promoting("production", 2, other)
    back = landed.promoting("production", 3, Sign("third", now, "me")).rolling_back(
        "production", other_back := Sign("b", now, "x")
    )

    assert landed.promoting("production", 1, mine) is landed
    assert back.rolling_back("production", other_back) is back
    assert back.aliases["production"].n == 2


async def test_the_same_content_from_many_is_one_version(store: Store, tmp_path: Path) -> None:
    files = [write(tmp_path / str(number) / "hmm.pkl", b"the same") for number in range(8)]

    versions = await asyncio.gather(*(models_of(store).push(file) for file in files))

    assert len({version.n for version in versions}) == 1
    models = models_of(store)
    assert len(await models.versions("hmm")) == 1
    assert (await models.check()).findings == []


@pytest.mark.parametrize("seed", range(8))
def test_the_same_content_from_many_is_one_object_whoever_is_slow(tmp_path: Path, seed: int) -> None:
    class Slow(FailingStore):
        async def _slow(self) -> None:
            await self._clock.sleep(self._clock.jitter(0.1) - 0.05)

        async def put(self, key: str, body: bytes | memoryview, *, mode: PutMode, **more: Any) -> str:
            await self._slow()
            return await super().put(key, body, mode=mode, **more)

        async def get(self, key: str) -> StoredObject:
            await self._slow()
            return await super().get(key)

    async def main(clock: VirtualClock) -> None:
        memory = MemoryStore(clock)
        slow = Slow(memory, clock)
        files = [write(tmp_path / str(seed) / str(number) / "hmm.pkl", b"%d" % (number % 3)) for number in range(12)]
        await asyncio.gather(*(models_of(slow, clock).push(file) for file in files))
        await assert_whole(memory, {"hmm": [b"0", b"1", b"2"]})

    run_virtual(main, seed=seed)


async def test_prune_never_takes_what_an_alias_needs_and_no_number_comes_twice(store: Store, tmp_path: Path) -> None:
    models = models_of(store)
    await push_all(models, tmp_path, 8)
    for version in (2, 3):
        await models.promote("hmm", version, "production")

    shown = await models.prune("hmm", keep=2)
    assert [version.n for version in shown.versions] == [1, 4, 5, 6]
    assert len(await models.versions("hmm")) == 8
    done = await models.prune("hmm", keep=2, dry_run=False)
    again = await models.prune("hmm", keep=2, dry_run=False)
    one = await models.prune("hmm", keep=0, dry_run=False)

    assert done.keys == shown.keys == tuple(f"models/versions/hmm_v{n}.pkl" for n in (1, 4, 5, 6))
    assert (again.keys, one.versions) == ((), ())
    assert (await models.rollback("hmm", "production")).n == 2
    assert (await models.recover()).versions == []
    await models.push(write(tmp_path / "hmm.pkl", b"content 1"))
    assert [version.n for version in await models.versions("hmm")] == [2, 3, 7, 8, 9]
    assert (await models.check()).sound


async def test_a_prune_that_died_between_registry_and_objects_is_finished_by_the_next(store: Store, tmp_path: Path) -> None:
    models = models_of(store)
    await push_all(models, tmp_path, 5)
    with pytest.raises(Died):
        await models_of(Mortal(store, 2, "before")).prune("hmm", keep=1, dry_run=False)

    await models.recover()
    assert [version.n for version in await models.versions("hmm")] == [4, 5]
    await models.prune("hmm", keep=1, dry_run=False)

    await assert_whole(store, {"hmm": [b"content 4", b"content 5"]})


def test_history_does_not_grow_for_ever(tmp_path: Path) -> None:
    registry = Registry(ModelName("hmm", ".pkl"))
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for n in (1, 2):
        registry = registry.registering(Version(n, 1, f"{n:064x}", now, "me"), Sign(f"push {n}", now, "me"))
    for turn in range(MOVES_KEPT + 50):
        registry = registry.promoting("production", 1 + turn % 2, Sign(str(turn), now, "me"))

    assert sum(move.alias == "production" for move in registry.history) == MOVES_KEPT
    assert sum(move.alias == "latest" for move in registry.history) == 2
    assert registry.history[-1].id == str(MOVES_KEPT + 49)
    assert Registry.from_json(registry.to_json(), key="k") == registry
