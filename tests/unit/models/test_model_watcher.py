"""The watcher pushes what is complete, once, and the trouble of one file is its own. Real files, real notifications."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from model_world import Died, Mortal, assert_whole, models_of, sha256, write

from streamer.clock import SystemClock
from streamer.metrics import Metrics
from streamer.models import watcher as watching
from streamer.models.watcher import ModelWatcher, WatchSettings
from streamer.store.contract import Store
from streamer.store.memory import MemoryStore
from streamer.testing.failing_store import FailingStore, Fault, FaultKind
from streamer.testing.manual_clock import ManualClock
from streamer.workers import ThreadWorkers

SETTLE = 0.05


@pytest.fixture
def lake() -> MemoryStore:
    return MemoryStore(ManualClock())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(watching, "LOOK_SECONDS", 1.0)


@asynccontextmanager
async def watched(
    store: Store, folder: Path, *, settle: float = SETTLE, poll: float | None = None, metrics: Metrics | None = None
) -> AsyncIterator[ModelWatcher]:
    clock, workers = SystemClock(), ThreadWorkers(4)
    watcher = ModelWatcher(
        models_of(store, clock),
        WatchSettings(str(folder), ("*.pkl", "*.pt"), settle, poll),
        clock=clock, workers=workers, metrics=metrics or Metrics(), who="watcher",
    )  # fmt: skip
    running = asyncio.create_task(watcher.run())
    try:
        yield watcher
    finally:
        running.cancel()
        (outcome,) = await asyncio.gather(running, return_exceptions=True)
        workers.close()
        assert isinstance(outcome, asyncio.CancelledError), outcome


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


def versions_in(lake: MemoryStore) -> set[bytes]:
    return {body for key, body in lake.bodies.items() if key.startswith("models/versions/")}


def renamed_into(folder: Path, file: str, content: bytes) -> None:
    os.replace(write(folder / f".{file}.{len(content)}", content), folder / file)


async def is_whole(lake: MemoryStore, expected: dict[str, list[bytes]]) -> None:
    """Registry and plain copy follow the object a moment later."""
    async with asyncio.timeout(20):
        while True:
            try:
                await assert_whole(lake, expected)
            except AssertionError:
                await asyncio.sleep(0.01)
            else:
                return


@pytest.mark.parametrize("poll", [None, 0.05], ids=["notified", "polling"])
async def test_what_is_there_and_what_comes_is_pushed(lake: MemoryStore, folder: Path, poll: float | None) -> None:
    write(folder / "hmm.pkl", b"was there")
    async with watched(lake, folder, poll=poll):
        await until(lambda: b"was there" in versions_in(lake))
        renamed_into(folder, "hmm.pkl", b"renamed")
        await until(lambda: b"renamed" in versions_in(lake))
        write(folder / "hmm.pkl", b"in place")
        await until(lambda: b"in place" in versions_in(lake))
        await is_whole(lake, {"hmm": [b"was there", b"renamed", b"in place"]})


async def test_a_file_renamed_into_place_does_not_wait_to_settle(lake: MemoryStore, folder: Path) -> None:
    async with watched(lake, folder, settle=3600) as watcher:
        await until(lambda: watcher._reading)
        renamed_into(folder, "hmm.pkl", b"at once")
        write(folder / "net.pt", b"perhaps not complete")
        await until(lambda: b"at once" in versions_in(lake))
        await is_whole(lake, {"hmm": [b"at once"]})


async def test_a_restart_pushes_nothing_twice(lake: MemoryStore, folder: Path) -> None:
    write(folder / "hmm.pkl", b"one")
    async with watched(lake, folder) as first:
        await first.wait_until_idle()
        await until(lambda: versions_in(lake) == {b"one"})
    before = lake.bodies
    async with watched(lake, folder) as second:
        await until(lambda: second._pushed.get("hmm.pkl") is not None)

    assert lake.bodies == before


async def test_sidecars_are_metadata_also_when_they_come_later(lake: MemoryStore, folder: Path) -> None:
    write(folder / "hmm.json", b'{"auc": 0.5}')
    renamed_into(folder, "hmm.pkl", b"one")
    async with watched(lake, folder):
        await is_whole(lake, {"hmm": [b"one"]})
        renamed_into(folder, "net.pt", b"two")
        await until(lambda: "models/net.pt" in lake.bodies)
        renamed_into(folder, "net.metrics.json", b'{"metrics": {"loss": 1}, "features": ["rsi"]}')
        models = models_of(lake)
        async with asyncio.timeout(20):
            while not (await models.resolve("net")).metrics:
                await asyncio.sleep(0.01)

    assert (await models.resolve("hmm")).metrics == {"auc": 0.5}
    net = await models.resolve("net")
    assert (net.n, net.metrics, net.features, net.pushed_by) == (1, {"loss": 1}, ("rsi",), "watcher")


async def test_the_trouble_of_one_file_is_its_own(lake: MemoryStore, folder: Path) -> None:
    metrics = Metrics()
    write(folder / "bad name.pkl", b"refused")
    write(folder / "odd.pkl", b"with a broken sidecar")
    write(folder / "odd.json", b"{")
    failing = FailingStore(lake, ManualClock(), script=[Fault(FaultKind.DENIED, "put", "models/versions/denied*", times=3)])
    write(folder / "denied.pkl", b"refused three times")
    async with watched(failing, folder, metrics=metrics) as watcher:
        renamed_into(folder, "hmm.pkl", b"good")
        await is_whole(lake, {"hmm": [b"good"], "denied": [b"refused three times"]})
        await watcher.wait_until_idle()
        renamed_into(folder, "odd.json", b'{"auc": 1}')
        await is_whole(lake, {"hmm": [b"good"], "denied": [b"refused three times"], "odd": [b"with a broken sidecar"]})

    value = metrics.registry.get_sample_value
    assert value("streamer_model_push_failures_total", {"model": "denied"}) == 3
    assert value("streamer_model_push_failures_total", {"model": "bad name"}) == 1
    assert value("streamer_models_pushed_total", {"model": "hmm"}) == 1
    assert value("streamer_model_latest_version", {"model": "hmm"}) == 1


async def test_a_file_that_is_rewritten_while_it_is_sent_is_pushed_whole(
    lake: MemoryStore, folder: Path, small_parts: int
) -> None:
    file = write(folder / "net.pt", b"a" * 1000)
    torn = asyncio.Event()

    class Meanwhile(FailingStore):
        async def put_part(self, upload, number, body):  # type: ignore[no-untyped-def]
            if not torn.is_set():
                torn.set()
                with open(file, "r+b") as open_file:
                    open_file.seek(700)
                    open_file.write(b"b" * 300)
            return await super().put_part(upload, number, body)

    async with watched(Meanwhile(lake, ManualClock()), folder):
        await until(lambda: bool(versions_in(lake)))
        await until(lambda: "models/net.pt" in lake.bodies)

    assert torn.is_set()
    assert versions_in(lake) == {b"a" * 700 + b"b" * 300}


async def test_a_crash_between_object_and_registry_is_repaired_at_start(
    lake: MemoryStore, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(Died):
        await models_of(Mortal(lake, 1, "before")).push(write(tmp_path / "hmm.pkl", b"orphan"))
    assert list(lake.bodies) == ["models/versions/hmm_v1.pkl"]

    async with watched(lake, folder) as watcher:
        await watcher.wait_until_idle()
        await is_whole(lake, {"hmm": [b"orphan"]})


async def test_a_directory_that_is_not_there_is_waited_for(lake: MemoryStore, tmp_path: Path) -> None:
    folder = tmp_path / "not mounted yet"
    async with watched(lake, folder) as watcher:
        await until(lambda: bool(watcher.problems()))
        folder.mkdir()
        renamed_into(folder, "hmm.pkl", b"one")
        await is_whole(lake, {"hmm": [b"one"]})
        assert watcher.problems() == []


async def test_a_store_that_is_away_is_waited_for(lake: MemoryStore, folder: Path) -> None:
    failing = FailingStore(lake, ManualClock(), script=[Fault(FaultKind.UNAVAILABLE, times=12)])
    write(folder / "hmm.pkl", b"one")
    async with watched(failing, folder):
        await is_whole(lake, {"hmm": [b"one"]})


async def test_two_watchers_of_one_volume_push_each_content_once(lake: MemoryStore, folder: Path) -> None:
    contents = [b"content %d" % number for number in range(5)]
    async with watched(lake, folder), watched(lake, folder):
        for content in contents:
            renamed_into(folder, "hmm.pkl", content)
            await until(lambda content=content: content in versions_in(lake))  # type: ignore[misc]
        await is_whole(lake, {"hmm": contents})

    assert sha256(lake.bodies["models/hmm.pkl"]) == sha256(contents[-1])
