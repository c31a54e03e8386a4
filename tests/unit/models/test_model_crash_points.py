"""Every write of a push is a point at which the process may die; the start of the next one, or its next push, repairs it."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from model_world import Died, Moment, Mortal, QuickClock, assert_whole, models_of, write

from streamer.store.memory import MemoryStore
from streamer.testing.manual_clock import ManualClock

BEFORE = b"the version before"
SMALL = b"small"
BIG = bytes(range(256)) * 2


async def a_lake() -> MemoryStore:
    store = MemoryStore(ManualClock())
    with tempfile.TemporaryDirectory() as folder:
        await models_of(store).push(write(Path(folder, "hmm.pkl"), BEFORE))
    return store


async def push(store: object, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        await models_of(store).push(write(Path(folder, "hmm.pkl"), content), metrics={"auc": 1})  # type: ignore[arg-type]


def writes_of_a_push(content: bytes) -> list[tuple[str, str]]:
    async def main() -> list[tuple[str, str]]:
        counted = Mortal(await a_lake(), -1, "before")
        await push(counted, content)
        return counted.writes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streamer.store.big_objects.PART_BYTES", 100)
        return asyncio.run(main())


POINTS = [(content, at) for content in (SMALL, BIG) for at in range(len(writes_of_a_push(content)))]
IDS = [f"{'small' if content == SMALL else 'big'} {' '.join(writes_of_a_push(content)[at])}" for content, at in POINTS]


def test_the_points_cover_every_step_of_a_push() -> None:
    assert [key for _, key in writes_of_a_push(SMALL)] == [
        "models/versions/hmm_v2.pkl",
        "models/registry/hmm.json",
        "models/hmm.pkl",
    ]
    assert {operation for operation, _ in writes_of_a_push(BIG)} == {"begin_upload", "put_part", "complete_upload", "put"}


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(("content", "at"), POINTS, ids=IDS)
@pytest.mark.usefixtures("small_parts")
async def test_the_next_push_of_the_file_repairs_it(content: bytes, at: int, moment: Moment) -> None:
    store = await a_lake()
    with pytest.raises(Died):
        await push(Mortal(store, at, moment), content)

    await push(store, content)

    await assert_whole(store, {"hmm": [BEFORE, content]})
    assert (await models_of(store).resolve("hmm", 2)).metrics == {"auc": 1}


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(("content", "at"), POINTS, ids=IDS)
@pytest.mark.usefixtures("small_parts")
async def test_the_next_start_repairs_it_where_the_file_is_gone(content: bytes, at: int, moment: Moment) -> None:
    store = await a_lake()
    with pytest.raises(Died):
        await push(Mortal(store, at, moment), content)
    clock = QuickClock()
    await clock.sleep(2 * 24 * 3600)

    await models_of(store, clock).recover()

    whole = any(key.endswith("hmm_v2.pkl") for key in store.bodies)
    await assert_whole(store, {"hmm": [BEFORE, content] if whole else [BEFORE]})
    assert [upload async for upload in store.list_uploads()] == []


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(("content", "at"), POINTS, ids=IDS)
@pytest.mark.usefixtures("small_parts")
async def test_the_next_push_of_another_file_repairs_it(content: bytes, at: int, moment: Moment) -> None:
    store = await a_lake()
    with pytest.raises(Died):
        await push(Mortal(store, at, moment), content)

    await push(store, b"another one")
    await models_of(store).recover()

    whole = any(store.bodies[key] == content for key in store.bodies if key.startswith("models/versions/"))
    await assert_whole(store, {"hmm": [BEFORE, b"another one", *([content] if whole else [])]})


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("at", range(3))
async def test_a_recovery_that_dies_is_recovered_from(at: int, moment: Moment) -> None:
    store = await a_lake()
    with pytest.raises(Died):
        await push(Mortal(store, 0, "after"), SMALL)
    try:
        await models_of(Mortal(store, at, moment)).recover()
    except Died:
        await models_of(store).recover()

    await assert_whole(store, {"hmm": [BEFORE, SMALL]})
