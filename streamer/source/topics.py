"""Creates topics, when somebody asks for it by hand. The daemon never does, and does not import this."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from aiokafka import errors as kafka_errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streamer.clock import Clock
from streamer.source.client import await_broker, client_options, milliseconds
from streamer.source.errors import translate
from streamer.source.settings import KafkaSettings

_EXISTS = kafka_errors.TopicAlreadyExistsError.errno


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """A topic that is wanted. replication: -1 leaves it to the brokers. retention_seconds: None, too."""

    topic: str
    partitions: int
    replication: int = -1
    retention_seconds: float | None = None


async def create_topics(settings: KafkaSettings, plans: Collection[TopicPlan], clock: Clock) -> None:
    """Create `plans`. One that is there by now is left as it is. Raises `Denied`, `Invalid` and `Unavailable`."""
    if not plans:
        return
    await await_broker(settings, clock)
    admin = AIOKafkaAdminClient(**client_options(settings))
    try:
        async with asyncio.timeout(settings.start_timeout_seconds + settings.request_timeout_seconds):
            await admin.start()
            answer = await admin.create_topics([_new(plan) for plan in plans])
    except (kafka_errors.KafkaError, OSError, TimeoutError) as error:
        raise translate(error, "creating topics", bootstrap_servers=settings.bootstrap_servers) from error
    finally:
        await _close(admin, settings.stop_timeout_seconds)
    for topic, code, *reason in answer.topic_errors:
        if code not in (0, _EXISTS):
            raise translate(kafka_errors.for_code(code)(*reason), "creating the topic", topic=topic)


def _new(plan: TopicPlan) -> Any:
    configs = {}
    if plan.retention_seconds is not None:
        configs["retention.ms"] = str(milliseconds(plan.retention_seconds))
    # Without a number of copies an empty assignment: else the class refuses what brokers take since 2.4.
    assignment: dict[int, list[int]] | None = {} if plan.replication < 0 else None
    return NewTopic(plan.topic, plan.partitions, plan.replication, assignment, configs)


async def _close(admin: Any, timeout_seconds: float) -> None:
    try:
        async with asyncio.timeout(timeout_seconds):
            await admin.close()
    except (kafka_errors.KafkaError, OSError, TimeoutError):
        return  # nothing is left to be done about a socket that will not close
