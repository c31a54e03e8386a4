"""The memory twin under the contract of sources."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence

import pytest

from streamer.records import Headers, TopicPartition
from streamer.source.contract import Source
from streamer.testing.memory_broker import MemoryBroker, MemorySource
from tests.contracts.source_contract import (
    GroupContract,
    MissingTopicContract,
    RetentionContract,
    SourceContract,
    TransactionContract,
)


class MemoryWorld:
    quiet_seconds = 0.02

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.sources: list[MemorySource] = []
        self._numbers = itertools.count()

    def name(self) -> str:
        return f"name-{next(self._numbers)}"

    async def create_topic(self, name: str, partitions: int = 1) -> None:
        self.broker.create_topic(name, partitions)

    async def write(
        self,
        partition: TopicPartition,
        values: Sequence[bytes | None],
        *,
        key: bytes | None = None,
        headers: Headers = (),
        timestamp: int | None = None,
    ) -> list[int]:
        append = self.broker.append
        return [append(partition, value, key=key, headers=headers, timestamp=timestamp) for value in values]

    async def write_transaction(self, partition: TopicPartition, values: Sequence[bytes | None], *, commit: bool) -> list[int]:
        transaction = self.broker.begin()
        written = self.broker.extend(partition, values, transaction=transaction)
        if commit:
            transaction.commit()
        else:
            transaction.abort()
        self.broker.announce()
        return list(written)

    async def truncate(self, partition: TopicPartition, beginning: int) -> None:
        self.broker.truncate(partition, beginning)

    async def source(self, group: str, member: str) -> Source:
        source = self.broker.source(group, member, chunk_records=7)
        self.sources.append(source)
        return source


@pytest.fixture
async def world() -> AsyncIterator[MemoryWorld]:
    world = MemoryWorld()
    yield world
    for source in world.sources:
        await source.stop()


class TestMemorySource(SourceContract, MissingTopicContract, TransactionContract, RetentionContract, GroupContract):
    pass
