"""The group's committed offsets: read them, and commit with a fence that aiokafka's own `commit` lacks.

Its commit retries for ever and with the generation of the moment, so that one begun before a rebalance may overwrite the
next owner's; after an eviction it commits without any generation, which an empty group accepts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from aiokafka import errors as kafka_errors
from aiokafka.structs import OffsetAndMetadata

from streamer.clock import Clock, backoff_seconds
from streamer.records import TopicPartition
from streamer.source.consumer import Consumer
from streamer.source.errors import translate
from streamer.source.settings import KafkaSettings

Token = tuple[int, str]

_FENCED = (
    kafka_errors.UnknownMemberIdError,
    kafka_errors.IllegalGenerationError,
    kafka_errors.RebalanceInProgressError,
)


async def commit_fenced(
    consumer: Consumer, settings: KafkaSettings, clock: Clock, token: Token, offsets: Mapping[TopicPartition, int]
) -> bool:
    """Commit as the member and generation of `token`, or not at all. False: fenced, refused, or no answer in time.

    Raises `Denied` where the group may not be written to.
    """
    request = {partition: OffsetAndMetadata(offset, "") for partition, offset in offsets.items()}
    coordinator = consumer.coordinator
    attempt = 0
    try:
        async with asyncio.timeout(settings.commit_timeout_seconds):
            while True:
                await coordinator.ensure_coordinator_known()
                if token[0] < 0 or consumer.token != token:
                    return False
                try:
                    # Builds its request, with the generation just compared, before it first suspends.
                    await coordinator._do_commit_offsets(None, request)
                except _FENCED:
                    return False
                except kafka_errors.KafkaError as error:
                    if not error.retriable:
                        raise
                else:
                    return True
                await clock.sleep(clock.jitter(backoff_seconds(attempt, first=0.1, most=1.0)))
                attempt += 1
    except TimeoutError:
        return False
    except (kafka_errors.GroupAuthorizationFailedError, kafka_errors.TopicAuthorizationFailedError) as error:
        raise translate(error, "committing offsets", group=settings.group_id) from error
    except kafka_errors.KafkaError:
        return False


async def fetch_committed(
    consumer: Consumer, settings: KafkaSettings, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, int]:
    """What the group has committed, where it has. Raises `Unavailable` within the request time-out, and `Denied`."""
    try:
        async with asyncio.timeout(settings.request_timeout_seconds):
            found = await consumer.coordinator.fetch_committed_offsets(list(partitions))
    except (kafka_errors.KafkaError, TimeoutError) as error:
        raise translate(error, "asking for committed offsets", group=settings.group_id) from error
    return {TopicPartition(*partition): stored.offset for partition, stored in found.items()}
