"""A trainer writes every 50 ms, an engine in another process pulls `latest`: it never sees a torn or a wrong file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from model_processes import trainer_and_engine

from streamer.clock import SystemClock
from streamer.metrics import Metrics
from streamer.models.models import AsyncModels
from streamer.models.watcher import ModelWatcher, WatchSettings
from streamer.store.directory import DirectoryStore
from streamer.workers import ThreadWorkers

GENERATIONS = 15


@pytest.fixture
async def lake(tmp_path: Path) -> str:
    store = DirectoryStore(tmp_path / "lake", SystemClock(), create=True)
    await store.prepare()
    await store.close()
    return str(tmp_path / "lake")


async def test_an_engine_never_sees_a_torn_file_of_a_trainer_that_pushes(lake: str, tmp_path: Path) -> None:
    seen = await trainer_and_engine(lake, tmp_path, GENERATIONS, environment={})

    assert seen == sorted(set(seen))
    assert seen[-1] == GENERATIONS


async def test_an_engine_never_sees_a_torn_file_of_a_trainer_that_writes_files(lake: str, tmp_path: Path) -> None:
    (tmp_path / "trainer").mkdir()
    clock, workers = SystemClock(), ThreadWorkers(2)
    store = DirectoryStore(lake, clock)
    watcher = ModelWatcher(
        AsyncModels(store, clock, workers), WatchSettings(str(tmp_path / "trainer"), ("*.pkl",), 0.5),
        clock=clock, workers=workers, metrics=Metrics(), who="daemon",
    )  # fmt: skip
    watching = asyncio.create_task(watcher.run())
    try:
        seen = await trainer_and_engine(lake, tmp_path, GENERATIONS, environment={}, by="files")
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await store.close()
        workers.close()

    assert seen == sorted(set(seen))
    assert seen[-1] == GENERATIONS
