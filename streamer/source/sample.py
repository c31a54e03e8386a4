"""Reads a few records of a topic without joining any group: samples for people, one record for a check.

Commits nothing, creates nothing, disturbs nobody. Not for bulk: records come through aiokafka's public, slow call.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import errors as kafka_errors
from aiokafka.structs import TopicPartition as KafkaPartition

from streamer.clock import Clock
from streamer.errors import Invalid, Unavailable
from streamer.records import RecordChunk, TopicPartition
from streamer.source.client import Client, await_broker, client_options
from streamer.source.cluster_view import ClusterView
from streamer.source.contract import Bounds
from streamer.source.errors import translate
from streamer.source.groupless import GrouplessConsumer
from streamer.source.settings import KafkaSettings

READ_SECONDS = 30.0


@asynccontextmanager
async def open_cluster(settings: KafkaSettings, clock: Clock) -> AsyncIterator[ClusterView]:
    """Questions to Kafka, for as long as the block lasts. Raises `Unavailable` where no broker answers."""
    await await_broker(settings, clock)
    view = ClusterView(settings, clock, client_options(settings))
    try:
        yield view
    finally:
        await view.close()


async def partitions_of(settings: KafkaSettings, clock: Clock, topic: str) -> list[TopicPartition]:
    """The partitions of a topic. Raises `Invalid` where there is no such topic, `Unavailable`, `Denied`."""
    client = Client(clock, login=settings.login, **client_options(settings))
    try:
        async with asyncio.timeout(settings.request_timeout_seconds):
            metadata = await client.fetch_metadata([topic])
    except (kafka_errors.KafkaError, OSError, TimeoutError) as error:
        raise translate(error, "asking for the topic", topic=topic) from error
    finally:
        await client.close_quietly(settings.stop_timeout_seconds)
    for code, name, _, partitions in metadata.topics:
        error_type = kafka_errors.for_code(code)
        if name != topic or error_type is kafka_errors.UnknownTopicOrPartitionError:
            continue
        if error_type is not kafka_errors.NoError:
            raise translate(error_type(topic), "asking for the topic", topic=topic)
        return sorted(TopicPartition(topic, partition[1]) for partition in partitions)
    raise Invalid("the topic does not exist", hint="check its name", topic=topic)


async def newest_records(settings: KafkaSettings, clock: Clock, topic: str, count: int) -> list[RecordChunk]:
    """The newest records of a topic, about `count` in all, the same share of every partition. Empty for an empty topic.

    Raises `Invalid`, `Unavailable`, `Denied`.
    """
    async with open_cluster(settings, clock) as view:
        partitions = await partitions_of(settings, clock, topic)
        bounds = await view.bounds(partitions)
    filled = {partition: span for partition, span in sorted(bounds.items()) if span.end > span.beginning}
    share = -(-count // max(1, len(filled)))
    spans = {partition: Bounds(max(span.beginning, span.end - share), span.end) for partition, span in filled.items()}
    return await read_spans(settings, clock, spans)


async def read_spans(settings: KafkaSettings, clock: Clock, spans: dict[TopicPartition, Bounds]) -> list[RecordChunk]:
    """The records of each partition from `beginning` up to, and without, `end`; one chunk a partition that has any.

    Offsets without a record are skipped. Raises `Unavailable` where Kafka does not deliver them in time, or no longer has
    them, and `Denied`.
    """
    spans = {partition: span for partition, span in spans.items() if span.end > span.beginning}
    if not spans:
        return []
    reader = GrouplessConsumer(settings, clock)
    try:
        async with asyncio.timeout(READ_SECONDS):
            await reader.start()
            return await _read(reader, spans)
    except TimeoutError as error:
        raise Unavailable("Kafka did not deliver the records in time", hint="try again", partitions=len(spans)) from error
    except (kafka_errors.KafkaError, OSError) as error:
        raise translate(error, "reading records", topic=next(iter(spans)).topic) from error
    finally:
        await reader.stop_quietly()


async def _read(reader: GrouplessConsumer, spans: dict[TopicPartition, Bounds]) -> list[RecordChunk]:
    found: dict[TopicPartition, list[Any]] = {partition: [] for partition in spans}
    reader.assign([KafkaPartition(*partition) for partition in spans])
    for partition, span in spans.items():
        reader.seek(KafkaPartition(*partition), span.beginning)
    left = set(spans)
    while left:
        wanted = [KafkaPartition(*partition) for partition in left]
        for kafka_partition, records in (await reader.getmany(*wanted, timeout_ms=500, max_records=2000)).items():
            partition = TopicPartition(kafka_partition.topic, kafka_partition.partition)
            found[partition].extend(record for record in records if record.offset < spans[partition].end)
        for partition in list(left):
            if await reader.position(KafkaPartition(*partition)) >= spans[partition].end:
                left.discard(partition)
    return [chunk_of(partition, spans[partition], records) for partition, records in sorted(found.items()) if records]


def chunk_of(partition: TopicPartition, span: Bounds, records: list[Any]) -> RecordChunk:
    """aiokafka's records as a chunk of the offsets `span`."""
    headers = [tuple(record.headers) for record in records]
    return RecordChunk(
        partition,
        span.beginning,
        span.end,
        [record.offset for record in records],
        [record.timestamp for record in records],
        [record.key for record in records],
        [record.value for record in records],
        headers if any(headers) else None,
    )
