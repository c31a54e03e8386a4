"""Sends records to a topic again: what `streamer dead-letters redrive` needs, and nothing more.

Idempotent and with all replicas' acknowledgement, so that one run sends each record once. Creates no topic.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka_errors

from streamer.clock import Clock
from streamer.errors import Invalid, Unavailable
from streamer.source.client import await_broker, client_options
from streamer.source.cluster_view import ClusterView
from streamer.source.errors import translate
from streamer.source.outgoing import Acknowledged, Outgoing
from streamer.source.settings import KafkaSettings

REQUEST_BYTES_MAX = 128 << 20
"""The broker's limit decides, not the client's: the record was in Kafka once already."""

ACKNOWLEDGE_SECONDS = 60.0


class Producer:
    """An idempotent producer. `async with Producer(...) as producer`."""

    def __init__(self, settings: KafkaSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._producer: Any = None

    async def __aenter__(self) -> Producer:
        await await_broker(self._settings, self._clock)
        options = client_options(self._settings)
        self._producer = AIOKafkaProducer(enable_idempotence=True, acks="all", max_request_size=REQUEST_BYTES_MAX, **options)
        try:
            async with asyncio.timeout(self._settings.start_timeout_seconds):
                await self._producer.start()
        except (kafka_errors.KafkaError, OSError, TimeoutError) as error:
            await self._stop()
            raise translate(error, "starting to produce", bootstrap_servers=self._settings.bootstrap_servers) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def require(self, topic: str, *, hint: str = "create it, or name another with --to") -> None:
        """Raises `Invalid`, with `hint`, where Kafka does not have the topic: it is never created by sending to it."""
        view = ClusterView(self._settings, self._clock, client_options(self._settings))
        try:
            if await view.missing([topic]):
                raise Invalid("the topic does not exist", hint=hint, topic=topic)
        finally:
            await view.close()

    async def send(self, records: Sequence[Outgoing]) -> list[Acknowledged]:
        """Send all of `records` and wait until every one is acknowledged; their new places, in order.

        Raises `Denied`, `Invalid` or `Unavailable` where one is not: some may then be in the topic, and some not.
        """
        waiting: list[asyncio.Future[Any]] = []
        try:
            async with asyncio.timeout(ACKNOWLEDGE_SECONDS):
                for record in records:
                    waiting.append(  # noqa: PERF401 -- one by one: those sent before an error have to be known
                        await self._producer.send(
                            record.topic,
                            value=record.value,
                            key=record.key,
                            partition=record.partition,
                            timestamp_ms=record.timestamp,
                            headers=list(record.headers),
                        )
                    )
                answers = await asyncio.gather(*waiting)
        except TimeoutError as error:
            raise Unavailable(
                "Kafka did not acknowledge every record in time",
                hint="run it again; some may be sent twice",
                topic=records[0].topic,
            ) from error
        except (kafka_errors.KafkaError, OSError, ValueError, AssertionError) as error:
            for future in waiting:
                with suppress(BaseException):  # one error is told; asyncio would complain of the others that nobody asked for
                    future.cancel()
            raise translate(error, "producing", topic=records[0].topic) from error
        return [Acknowledged(answer.topic, answer.partition, answer.offset) for answer in answers]

    async def _stop(self) -> None:
        if self._producer is None:
            return
        with suppress(kafka_errors.KafkaError, OSError, TimeoutError):  # what was acknowledged is; the rest was told
            async with asyncio.timeout(self._settings.stop_timeout_seconds):
                await self._producer.stop()
        self._producer = None
