"""Questions to the cluster that must not wait behind a long poll: its id, which topics exist, what partitions hold.

Has connections of its own, because a broker answers the requests of one connection in order and the consumer's are busy
waiting for records. It belongs to no group and reads no record.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from aiokafka import errors as kafka_errors
from aiokafka.protocol.offset import OffsetRequest

from streamer.clock import Clock, backoff_seconds
from streamer.errors import Denied, Invalid, StreamerError, Unavailable
from streamer.records import TopicPartition
from streamer.source.client import Client
from streamer.source.contract import Bounds
from streamer.source.errors import translate
from streamer.source.settings import KafkaSettings

_EARLIEST, _LATEST = -2, -1
_READ_COMMITTED = 1


class ClusterView:
    """What the cluster says of itself. Every call ends within the request time-out."""

    def __init__(self, settings: KafkaSettings, clock: Clock, options: Mapping[str, Any]) -> None:
        self._settings = settings
        self._clock = clock
        self._client = Client(clock, login=settings.login, **options)
        self._joint: dict[str, tuple[set[TopicPartition], asyncio.Task[dict[TopicPartition, Bounds] | None]]] = {}
        self._asking: set[asyncio.Task[dict[TopicPartition, Bounds] | None]] = set()

    async def cluster_id(self) -> str:
        """The cluster's own id. Raises `Unavailable`, and `Invalid` for a broker too old to have one."""
        if self._client.cluster_id is None:
            await self._metadata([])
        if self._client.cluster_id is None:
            raise Invalid("the brokers do not tell a cluster id", hint="use brokers of version 0.11 or later")
        return self._client.cluster_id

    async def missing(self, topics: Collection[str]) -> frozenset[str]:
        """Those of `topics` that do not exist. Raises `Denied` for a topic we may not see, `Invalid` for one that cannot
        exist, `Unavailable` where no broker answers."""
        errors = {topic: error for error, topic, *_ in (await self._metadata(topics)).topics}
        for topic in sorted(topics):
            error_type = kafka_errors.for_code(errors.get(topic, 0))
            if error_type in (kafka_errors.TopicAuthorizationFailedError, kafka_errors.InvalidTopicError):
                raise translate(error_type(topic), "asking for the topic", topic=topic)
        return frozenset(topic for topic in topics if _is_unknown(errors.get(topic, _UNKNOWN)))

    async def partitions(self, topics: Collection[str]) -> frozenset[TopicPartition]:
        """Every partition of those of `topics` that exist. Raises `Unavailable` where no broker answers."""
        return frozenset(
            TopicPartition(topic, number)
            for error, topic, _, parts in (await self._metadata(topics)).topics
            if error == 0
            for _, number, *_ in parts
        )

    async def bounds(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, Bounds]:
        """Beginning and last stable offset of those partitions that exist."""
        if not partitions:
            return {}
        wanted, attempt, reason = set(partitions), 0, "no answer in time"
        try:
            async with asyncio.timeout(self._settings.request_timeout_seconds):
                if (found := await self._bounds_together(wanted)) is not None:
                    return found
                while True:
                    try:
                        return await self._bounds_once(wanted)
                    except (kafka_errors.KafkaError, Unavailable) as error:
                        if isinstance(error, kafka_errors.KafkaError) and not (error.retriable or error.invalid_metadata):
                            raise translate(error, "asking for offsets") from error
                        reason = str(error) or type(error).__name__
                    await self._clock.sleep(self._clock.jitter(backoff_seconds(attempt, most=1.0)))
                    attempt += 1
        except TimeoutError:
            raise Unavailable(
                f"asking for offsets: {reason}",
                hint="are the leaders of these partitions up?",
                partitions=", ".join(map(str, sorted(wanted)[:5])),
            ) from None

    async def close(self) -> None:
        for asking in self._asking:
            asking.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)
        await self._client.close_quietly(self._settings.stop_timeout_seconds)

    async def _metadata(self, topics: Collection[str]) -> Any:
        try:
            async with asyncio.timeout(self._settings.request_timeout_seconds):
                metadata = await self._client.fetch_metadata(topics)
        except (kafka_errors.KafkaError, OSError, TimeoutError) as error:
            raise translate(error, "asking for metadata", bootstrap_servers=self._settings.bootstrap_servers) from error
        # `update_metadata` logs every topic that it is told is missing; we say so ourselves, once.
        told = metadata.topics
        metadata.topics = [topic for topic in told if topic[0] == 0]
        self._client.cluster.update_metadata(metadata)
        metadata.topics = told
        return metadata

    async def _bounds_once(self, wanted: set[TopicPartition]) -> dict[TopicPartition, Bounds]:
        await self._metadata(sorted({partition.topic for partition in wanted}))
        by_leader: dict[Any, list[TopicPartition]] = defaultdict(list)
        for partition in sorted(wanted):
            leader = self._client.cluster.leader_for_partition(partition)
            if leader == -1:
                raise kafka_errors.LeaderNotAvailableError(str(partition))
            if leader is not None:
                by_leader[leader].append(partition)
        questions = [(leader, when) for leader in by_leader for when in (_EARLIEST, _LATEST)]
        answers = await asyncio.gather(*(self._offsets(leader, by_leader[leader], when) for leader, when in questions))
        beginnings: dict[TopicPartition, int] = {}
        ends: dict[TopicPartition, int] = {}
        for (_, when), answer in zip(questions, answers, strict=True):
            (beginnings if when == _EARLIEST else ends).update(answer)
        return {partition: Bounds(beginnings[partition], ends[partition]) for partition in beginnings.keys() & ends.keys()}

    async def _bounds_together(self, wanted: set[TopicPartition]) -> dict[TopicPartition, Bounds] | None:
        """One question for all partitions of a topic that ask in the same moment, as those do that were assigned together. Each
        answer about a topic tells all its partitions, so one question each would cost the square of their number. None where
        that did not work out, because of whichever partition."""
        topics = {partition.topic for partition in wanted}
        if len(topics) > 1:
            return None
        (topic,) = topics
        if topic not in self._joint:
            joint: set[TopicPartition] = set()
            asking = asyncio.create_task(self._ask_together(topic, joint), name=f"bounds of {topic}")
            self._asking.add(asking)
            asking.add_done_callback(self._asking.discard)
            self._joint[topic] = joint, asking
        joint, asking = self._joint[topic]
        joint |= wanted
        found = await asyncio.shield(asking)
        return None if found is None else {partition: found[partition] for partition in wanted & found.keys()}

    async def _ask_together(self, topic: str, joint: set[TopicPartition]) -> dict[TopicPartition, Bounds] | None:
        try:
            await self._clock.sleep(0)
        finally:
            del self._joint[topic]
        try:
            async with asyncio.timeout(self._settings.request_timeout_seconds / 3):
                return await self._bounds_once(joint)
        except (kafka_errors.KafkaError, StreamerError, OSError, TimeoutError):
            return None

    async def _offsets(self, leader: Any, partitions: list[TopicPartition], when: int) -> dict[TopicPartition, int]:
        by_topic: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for partition in partitions:
            by_topic[partition.topic].append((partition.partition, when))
        answer = await self._client.send(leader, OffsetRequest(-1, _READ_COMMITTED, list(by_topic.items())))
        offsets: dict[TopicPartition, int] = {}
        for topic, parts in answer.topics:
            for number, code, _, offset in parts:
                error_type = kafka_errors.for_code(code)
                if error_type is kafka_errors.TopicAuthorizationFailedError:
                    raise Denied("not authorised to ask for offsets", hint="grant DESCRIBE on the topic", topic=topic)
                if error_type is not kafka_errors.NoError:
                    raise error_type(f"{topic}-{number}")
                offsets[TopicPartition(topic, number)] = offset
        return offsets


_UNKNOWN = kafka_errors.UnknownTopicOrPartitionError.errno


def _is_unknown(code: int) -> bool:
    return bool(code == _UNKNOWN)
