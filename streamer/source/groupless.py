"""aiokafka's consumer without a group, on a client that never creates a topic. It commits nothing and disturbs nobody."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer

from streamer.clock import Clock
from streamer.source.client import Client, client_options, milliseconds
from streamer.source.settings import KafkaSettings


class GrouplessConsumer(AIOKafkaConsumer):  # type: ignore[misc]
    """Not started. `assign` forgets all places, and each partition must be sought in the same breath: nothing else tells it
    where to begin."""

    def __init__(self, settings: KafkaSettings, clock: Clock) -> None:
        options = client_options(settings)
        super().__init__(
            **options,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            fetch_max_wait_ms=milliseconds(settings.fetch_max_wait_seconds),
            fetch_max_bytes=settings.fetch_max_bytes,
            max_partition_fetch_bytes=settings.max_partition_fetch_bytes,
        )
        self._client = Client(clock, login=settings.login, **options)
        self._stop_timeout_seconds = settings.stop_timeout_seconds

    @property
    def answered_at(self) -> float:
        """When a broker last answered anything, on the monotonic clock."""
        return self._client.answered_at

    async def stop_quietly(self) -> None:
        """Disconnect. `stop()` itself raises CancelledError where a broker is down."""
        stopping = asyncio.create_task(self.stop(), name="kafka-groupless-stop")
        await asyncio.wait({stopping}, timeout=self._stop_timeout_seconds)
        stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)
        await self._client.close_quietly(self._stop_timeout_seconds)
