"""Stores of every kind that needs no server."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from streamer.clock import SystemClock
from streamer.store.contract import Store
from streamer.store.directory import DirectoryStore
from streamer.store.memory import MemoryStore
from streamer.testing.manual_clock import ManualClock


@pytest.fixture(params=["memory", "directory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore(ManualClock())
        return
    store = DirectoryStore(tmp_path / "lake", SystemClock(), create=True)
    await store.prepare()
    yield store
    await store.close()


@pytest.fixture(autouse=True)
def _same_path() -> Iterator[None]:
    """What a test puts on `sys.path` goes with it."""
    before, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = before
    for name in set(sys.modules) - modules:
        if name.startswith("bundled_"):
            del sys.modules[name]
