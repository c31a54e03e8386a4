"""Looks at Kafka without reading a record, joining the group or creating anything: what `streamer check` asks."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from aiokafka import errors as kafka_errors
from aiokafka.protocol.admin import DescribeGroupsRequest

from streamer.clock import Clock, backoff_seconds
from streamer.errors import StreamerError, Unavailable
from streamer.source.client import Client, await_broker, client_options
from streamer.source.errors import translate
from streamer.source.settings import KafkaSettings

_UNKNOWN_TOPIC = kafka_errors.UnknownTopicOrPartitionError.errno
_GROUP_COORDINATOR = 0


@dataclass(frozen=True, slots=True)
class TopicReport:
    """What Kafka says about one topic. `partitions` is 0 where it does not exist; `problem`: it may not be looked at."""

    topic: str
    partitions: int
    problem: StreamerError | None = None


@dataclass(frozen=True, slots=True)
class GroupReport:
    """What Kafka says about the consumer group: `Stable`, `Empty`, `Dead` (nobody was ever in it), ..., and its members."""

    group: str
    state: str
    members: int
    problem: StreamerError | None = None


@dataclass(frozen=True, slots=True)
class KafkaReport:
    """What was found."""

    cluster_id: str
    brokers: int
    topics: tuple[TopicReport, ...]
    group: GroupReport


async def probe(settings: KafkaSettings, topics: Collection[str], clock: Clock) -> KafkaReport:
    """Ask the cluster for its id, for each of `topics`, and for the group.

    Raises `Unavailable`, `Denied` or `Invalid` where no broker can be talked to at all; what concerns one topic or the
    group is in the report.
    """
    await await_broker(settings, clock)
    client = Client(clock, **client_options(settings))
    try:
        async with asyncio.timeout(settings.request_timeout_seconds):
            metadata = await client.fetch_metadata(sorted(topics))
            told = {entry[1]: _topic(entry) for entry in metadata.topics}
            reports = tuple(told.get(topic) or TopicReport(topic, 0) for topic in sorted(topics))
            metadata.topics = []  # `update_metadata` would log what is missing; the report says so
            client.cluster.update_metadata(metadata)
        group = await _group(client, settings, clock)
        return KafkaReport(client.cluster_id or "", len(metadata.brokers), reports, group)
    except (kafka_errors.KafkaError, OSError, TimeoutError) as error:
        raise translate(error, "asking for metadata", bootstrap_servers=settings.bootstrap_servers) from error
    finally:
        await client.close_quietly(settings.stop_timeout_seconds)


def _topic(entry: Any) -> TopicReport:
    code, name, _, partitions = entry
    if code == 0:
        return TopicReport(name, len(partitions))
    if code == _UNKNOWN_TOPIC:
        return TopicReport(name, 0)
    return TopicReport(name, 0, translate(kafka_errors.for_code(code)(name), "asking for the topic", topic=name))


async def _group(client: Client, settings: KafkaSettings, clock: Clock) -> GroupReport:
    attempt = 0
    try:
        async with asyncio.timeout(settings.request_timeout_seconds):
            while True:
                try:
                    return await _describe(client, settings.group_id)
                except kafka_errors.KafkaError as error:
                    # A cluster's first group makes the coordinator's own topic, which takes some seconds.
                    if not error.retriable:
                        problem = translate(error, "asking for the group", group=settings.group_id)
                        return GroupReport(settings.group_id, "", 0, problem)
                await clock.sleep(clock.jitter(backoff_seconds(attempt, most=1.0)))
                attempt += 1
    except TimeoutError:
        problem = Unavailable("no broker coordinates the group", hint="look at the brokers' logs", group=settings.group_id)
        return GroupReport(settings.group_id, "", 0, problem)


async def _describe(client: Client, group: str) -> GroupReport:
    coordinator = await client.coordinator_lookup(_GROUP_COORDINATOR, group)
    answer = await client.send(coordinator, DescribeGroupsRequest([group]))
    code, _, state, _, _, members, *_ = answer.groups[0]
    if code:
        raise kafka_errors.for_code(code)(group)
    return GroupReport(group, state, len(members))
