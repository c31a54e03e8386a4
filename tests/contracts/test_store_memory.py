"""The store in memory, and the layers over it, under the contract of stores."""

from __future__ import annotations

import pytest

from streamer.metrics import Metrics
from streamer.store.contract import Store
from streamer.store.memory import MemoryStore
from streamer.store.observed import ObservedStore
from streamer.store.retry import RetryingStore
from streamer.testing.failing_store import FailingStore
from streamer.testing.manual_clock import ManualClock
from tests.contracts.store_contract import StoreContract


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        # A small page, so that listings have many.
        return MemoryStore(ManualClock(), page=7)


class TestRetryingStore(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        clock = ManualClock()
        return RetryingStore(MemoryStore(clock), clock)


class TestObservedStore(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        clock = ManualClock()
        return ObservedStore(MemoryStore(clock), Metrics(), clock)


class TestFailingStoreWithoutFaults(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        clock = ManualClock()
        return FailingStore(MemoryStore(clock), clock)
