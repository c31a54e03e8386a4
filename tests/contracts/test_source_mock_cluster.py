"""The Kafka source under the contract of sources, against the broker inside librdkafka: offline, one member a group."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from streamer.embedded.mock_cluster import MockCluster
from tests.contracts.kafka_world import KafkaWorld
from tests.contracts.source_contract import MissingTopicContract, SourceContract


@pytest.fixture(params=["batches", "getmany"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[KafkaWorld]:
    async with MockCluster() as cluster:
        world = MockWorld(cluster, request.param)
        yield world
        await world.close()


class MockWorld(KafkaWorld):
    quiet_seconds = 0.3

    def __init__(self, cluster: MockCluster, read_mode: str) -> None:
        super().__init__(cluster.bootstrap_servers, read_mode)  # type: ignore[arg-type]
        # At every rebalance but the first the mock waits for a whole session, and at times it forgets to answer.
        self.settings = replace(self.settings, session_timeout_seconds=1.0, request_timeout_seconds=2.0)
        self.cluster = cluster

    async def create_topic(self, name: str, partitions: int = 1, configs: dict[str, str] | None = None) -> None:
        await self.cluster.create_topic(name, partitions)


class TestKafkaSourceOnTheMockCluster(SourceContract):
    pass


@pytest.mark.parametrize("world", ["batches"], indirect=True)
class TestMissingTopicsOnTheMockCluster(MissingTopicContract):
    pass
