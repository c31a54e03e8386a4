"""The lake and Kafka, opened for the length of one command, with the daemon's retries and none of its other machinery."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamer.config import Settings
    from streamer.lake.lake import Lake
    from streamer.lake.verify import KafkaView
    from streamer.records import TopicPartition
    from streamer.source.settings import KafkaSettings
    from streamer.store.contract import Store

SHORT_START_SECONDS = 5.0
"""How long a command that can do without Kafka waits for it."""


@asynccontextmanager
async def opened_store(settings: Settings) -> AsyncIterator[Store]:
    """The lake of the configuration, connected. Raises `Invalid` where it does not exist, `Denied`, `Unavailable`."""
    from streamer.clock import SystemClock
    from streamer.config.clients import s3_settings
    from streamer.store.open import open_store
    from streamer.store.retry import RetryingStore

    clock = SystemClock()
    store = RetryingStore(open_store(settings.lake.url or "", s3_settings(settings), clock), clock)
    try:
        await store.prepare()
        yield store
    finally:
        await store.close()


@contextmanager
def opened_lake(settings: Settings) -> Iterator[Lake]:
    """The reader library over the lake of the configuration. Raises as `opened_store`."""
    from streamer.config.clients import s3_settings
    from streamer.config.documents import document_kinds
    from streamer.lake.lake import Lake

    with Lake.over(settings.lake.url or "", s3_settings(settings), document_kinds(settings)) as lake:
        yield lake


def kafka_of(settings: Settings, *, short: bool = False) -> KafkaSettings:
    """How Kafka is reached; `short` gives up early. Raises `Invalid`."""
    from streamer.config.clients import kafka_settings

    made = kafka_settings(settings)
    return replace(made, start_timeout_seconds=SHORT_START_SECONDS) if short else made


async def ask_kafka(settings: KafkaSettings, partitions: Collection[TopicPartition]) -> KafkaView:
    """What Kafka says of these partitions now. Raises `Unavailable`, `Denied`."""
    from streamer.clock import SystemClock
    from streamer.lake.verify import KafkaView
    from streamer.source.sample import open_cluster

    async with open_cluster(settings, SystemClock()) as cluster:
        return KafkaView(await cluster.cluster_id(), await cluster.bounds(partitions))
