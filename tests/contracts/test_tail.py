"""Tails under their contract: the memory twin, and the real one against the broker inside librdkafka."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from streamer.clock import SystemClock
from streamer.embedded.mock_cluster import MockCluster
from streamer.source.kafka_tail import KafkaTail
from streamer.source.tail import Tail
from streamer.testing.memory_tail import MemoryTail
from tests.contracts.tail_contract import StableTailContract, TailContract
from tests.contracts.test_source_memory import MemoryWorld
from tests.contracts.test_source_mock_cluster import MockWorld


class MemoryTailWorld(MemoryWorld):
    def tail(self) -> Tail:
        return MemoryTail(self.broker, chunk_records=7)


class MockTailWorld(MockWorld):
    def tail(self) -> Tail:
        return KafkaTail(self.settings, SystemClock())


class TestMemoryTail(TailContract, StableTailContract):
    @pytest.fixture
    def world(self) -> MemoryTailWorld:
        return MemoryTailWorld()


class TestKafkaTailOnTheMockCluster(TailContract):
    @pytest.fixture
    async def world(self) -> AsyncIterator[MockTailWorld]:
        async with MockCluster() as cluster:
            world = MockTailWorld(cluster, "getmany")
            yield world
            await world.close()
