"""Stores of every kind that needs no server."""

from __future__ import annotations

from collections.abc import AsyncIterator
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
        yield MemoryStore(ManualClock(), page=7)
        return
    store = DirectoryStore(tmp_path / "lake", SystemClock(), create=True)
    await store.prepare()
    yield store
    await store.close()


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> int:
    """Parts of 100 bytes, so that a kilobyte is a big file."""
    monkeypatch.setattr("streamer.store.big_objects.PART_BYTES", 100)
    monkeypatch.setattr("streamer.store.big_objects.RANGE_BYTES", 100)
    return 100
