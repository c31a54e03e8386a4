"""The store in a directory under the contract of stores: with threads, without them, and from two handles at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streamer.clock import SystemClock
from streamer.store.contract import Store
from streamer.store.directory import DirectoryStore
from streamer.testing.manual_clock import ManualClock
from streamer.workers import InlineWorkers
from tests.contracts.store_contract import StoreContract


class TestDirectoryStore(StoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        store = DirectoryStore(tmp_path / "lake", SystemClock(), create=True)
        await store.prepare()
        yield store
        await store.close()

    @pytest.fixture
    async def other(self, tmp_path: Path, store: Store) -> AsyncIterator[Store]:
        # A second store has a lock of its own, as a second process would.
        other = DirectoryStore(tmp_path / "lake", SystemClock())
        yield other
        await other.close()


class TestDirectoryStoreInASimulation(StoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> Store:
        store = DirectoryStore(tmp_path / "lake", ManualClock(), workers=InlineWorkers(), create=True)
        await store.prepare()
        return store
