"""Looks at Kafka without reading a record, joining the group or creating anything: what `streamer check` asks."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from aiokafka import errors as kafka_errors
from aiokafka.protocol.admin import DescribeGroupsRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.group import HeartbeatRequest

from streamer.clock import Clock, backoff_seconds
from streamer.errors import StreamerError, Unavailable
from streamer.source.client import Client, await_broker, client_options
from streamer.source.errors import translate
from streamer.source.settings import KafkaSettings

_UNKNOWN_TOPIC = kafka_errors.UnknownTopicOrPartitionError.errno
_NOT_AUTHORISED = kafka_errors.TopicAuthorizationFailedError.errno
_GROUP_COORDINATOR = 0
_READ_COMMITTED = 1
_NO_OFFSET = 2**62


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

    Proves the permissions to see and to read the topics, and to see and to be a member of the group.
    Raises `Unavailable`, `Denied` or `Invalid` where no broker can be talked to at all; what concerns one topic or the
    group is in the report.
    """
    await await_broker(settings, clock)
    client = Client(clock, login=settings.login, **client_options(settings))
    try:
        async with asyncio.timeout(settings.request_timeout_seconds):
            metadata = await client.fetch_metadata(sorted(topics))
            told = {entry[1]: _topic(entry) for entry in metadata.topics}
            leaders = _leaders(metadata)
            metadata.topics = []  # `update_metadata` would log what is missing; the report says so
            client.cluster.update_metadata(metadata)
            listed = [told.get(topic) or TopicReport(topic, 0) for topic in sorted(topics)]
            reports = tuple([await _with_reading(client, report, leaders.get(report.topic)) for report in listed])
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


def _leaders(metadata: Any) -> dict[str, tuple[int, int]]:
    """A partition of each topic that has a leader, and that leader."""
    found: dict[str, tuple[int, int]] = {}
    for _, topic, _, partitions in metadata.topics:
        for _, number, leader, *_ in partitions:
            if leader >= 0:
                found.setdefault(topic, (number, leader))
    return found


async def _with_reading(client: Client, report: TopicReport, place: tuple[int, int] | None) -> TopicReport:
    """`report`, with the problem where records may not be read: to see a topic is one permission, to read it another.

    Asks for an offset that no partition has. A broker looks at permissions first, so nothing is ever delivered.
    """
    if place is None or report.problem is not None:
        return report
    partition, leader = place
    answer = await client.send(leader, FetchRequest(0, 0, 1, _READ_COMMITTED, [(report.topic, [(partition, _NO_OFFSET, 1)])]))
    codes = [part[1] for _, parts in answer.topics for part in parts]
    if _NOT_AUTHORISED not in codes:
        return report
    error = kafka_errors.TopicAuthorizationFailedError(report.topic)
    return replace(report, problem=translate(error, "reading the topic", topic=report.topic))


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
    # To see the group is one permission, to be a member another. A heartbeat of nobody needs the second, and changes nothing.
    code = (await client.send(coordinator, HeartbeatRequest(group, -1, "streamer-check"))).error_code
    if code == kafka_errors.GroupAuthorizationFailedError.errno:
        raise kafka_errors.GroupAuthorizationFailedError(group)
    return GroupReport(group, state, len(members))
