"""Alerts to a Kafka topic, through a producer of their own. Creates no topic: one that does not exist is waited for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from streamer.alerts import Sender
from streamer.clock import Clock
from streamer.source.outgoing import Outgoing
from streamer.source.producer import Producer
from streamer.source.settings import KafkaSettings


class _TopicSender:
    def __init__(self, producer: Producer, topic: str) -> None:
        self._producer = producer
        self._topic = topic

    async def send(self, messages: Sequence[tuple[bytes, bytes]]) -> None:
        await self._producer.send([Outgoing(self._topic, None, key, value) for key, value in messages])


@asynccontextmanager
async def alert_sender(settings: KafkaSettings, topic: str, clock: Clock) -> AsyncIterator[Sender]:
    """A connection for `AlertQueue`. Raises `Invalid` where the topic does not exist, `Denied`, `Unavailable`."""
    async with Producer(settings, clock) as producer:
        await producer.require(topic, hint="create it, or correct alerts.topic: streamer creates no topic")
        yield _TopicSender(producer, topic)
