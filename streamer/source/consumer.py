"""aiokafka's consumer, with its edges taken off: it fetches nothing unasked, counts polls rightly and stops in time.

The only file that knows how the consumer's parts hang together. It decides nothing about records or offsets.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

from streamer.clock import Clock
from streamer.records import TopicPartition
from streamer.source.client import Client, milliseconds
from streamer.source.settings import KafkaSettings

LEAST_PARTITION_FETCH_BYTES = 64 << 10
"""Below this a fetch brings too few records to be worth its request; a single larger batch comes whole anyway."""


COPIES = 2
"""How often a fetched byte is in memory at the worst moment: the response it came in, and the part cut out of it."""


class ParkedSubscription(SubscriptionState):  # type: ignore[misc]
    """New partitions wait, paused, until somebody seeks them.

    The original looks up committed offsets at once and starts to fetch, or complains that there are none. A position and
    a pause, set before its fetcher wakes, keep it still.
    """

    def assign_from_subscribed(self, assignment: Collection[TopicPartition]) -> None:
        super().assign_from_subscribed(assignment)
        for partition in self.assigned_partitions():
            state = self._assigned_state(partition)
            state.seek(0)
            state.pause()

    @contextlib.contextmanager
    def fetch_context(self) -> Iterator[None]:
        # The original has no `finally`: one cancelled poll, and the group would believe for ever that we are polling.
        self._fetch_count += 1
        try:
            yield
        finally:
            self._fetch_count -= 1
            with super().fetch_context():
                pass  # it stamps the time where nobody else is polling


class Consumer(AIOKafkaConsumer):  # type: ignore[misc]
    """An `AIOKafkaConsumer` as the Kafka source wants it, not started."""

    def __init__(self, settings: KafkaSettings, clock: Clock, options: Mapping[str, Any]) -> None:
        # The original keeps what was assigned in its class, shared by all consumers of the process, and is never told the
        # generation: a member that comes back after an eviction would claim its old partitions with equal right.
        self.assignor: type[Any] = type("OwnStickyAssignor", (StickyPartitionAssignor,), {})
        super().__init__(
            **options,
            group_id=settings.group_id,
            group_instance_id=settings.group_instance_id,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            check_crcs=True,
            session_timeout_ms=milliseconds(settings.session_timeout_seconds),
            heartbeat_interval_ms=milliseconds(settings.heartbeat_seconds),
            rebalance_timeout_ms=milliseconds(settings.rebalance_timeout_seconds),
            max_poll_interval_ms=milliseconds(settings.max_poll_interval_seconds),
            fetch_max_wait_ms=milliseconds(settings.fetch_max_wait_seconds),
            fetch_min_bytes=settings.fetch_min_bytes,
            fetch_max_bytes=settings.fetch_max_bytes,
            max_partition_fetch_bytes=settings.max_partition_fetch_bytes,
            partition_assignment_strategy=(self.assignor,),
        )
        self._settings = settings
        self._client = Client(clock, login=settings.login, **options)
        self._subscription = ParkedSubscription()

    @property
    def client(self) -> Client:
        return self._client

    @property
    def coordinator(self) -> Any:
        return self._coordinator

    @property
    def fetcher(self) -> Any:
        return self._fetcher

    @property
    def subscription_state(self) -> ParkedSubscription:
        return self._subscription

    @property
    def token(self) -> tuple[int, str]:
        """Generation and member id: what a commit is fenced by."""
        return self._coordinator.generation, self._coordinator.member_id

    def is_assigned(self, partition: TopicPartition) -> bool:
        return bool(self._subscription.is_assigned(partition))

    def stable_end(self, partition: TopicPartition) -> int | None:
        """The last stable offset, as the newest fetch of this assignment told it."""
        end = self._subscription._assigned_state(partition).lso
        return None if end is None or end < 0 else int(end)

    def park(self, partition: TopicPartition) -> None:
        """Fetch no more of the partition until `read_from`."""
        self._subscription.pause(partition)

    def read_from(self, partition: TopicPartition, offset: int) -> None:
        """Fetch from `offset`; what was fetched before is dropped."""
        self._fetcher.seek_to(partition, offset)
        self._subscription.resume(partition)

    def share_prefetch(self, partitions: int) -> int:
        """Divide the prefetch budget among `partitions`; the bytes that each may fetch at a time."""
        share = self._settings.prefetch_budget_bytes // (COPIES * max(1, partitions))
        most = min(self._settings.max_partition_fetch_bytes, max(LEAST_PARTITION_FETCH_BYTES, share))
        self._fetcher._max_partition_fetch_bytes = most
        return most

    def dead_part(self) -> str | None:
        """Which of the background tasks has ended, as a phrase. aiokafka itself notices none of the first and the last."""
        tasks = {
            "fetching": self._fetcher._fetch_task,
            "group coordination": self._coordinator._coordination_task,
            "metadata refresh": self._client._sync_task,
        }
        return next((name for name, task in tasks.items() if task is not None and task.done()), None)

    @property
    def rejoin_is_due(self) -> bool:
        """True from the moment a rebalance is known of until it has ended."""
        return bool(self._coordinator._rejoin_needed_fut.done())

    async def stop_quietly(self) -> None:
        """Leave the group and disconnect, within the stop time-out and without raising, whatever the brokers do.

        `stop()` itself raises CancelledError where a broker is down, and then leaves its connections open.
        """
        stopping = asyncio.create_task(self.stop(), name="kafka-consumer-stop")
        await asyncio.wait({stopping}, timeout=self._settings.stop_timeout_seconds)
        left = [stopping, *self._background_tasks()]
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=self._settings.stop_timeout_seconds)
        for task in left:
            if task.done() and not task.cancelled():
                task.exception()
        await self._client.close_quietly(self._settings.stop_timeout_seconds)

    def _background_tasks(self) -> list[asyncio.Task[Any]]:
        tasks: list[asyncio.Task[Any] | None] = [self._client._sync_task]
        if self._fetcher is not None:
            tasks += [self._fetcher._fetch_task, *self._fetcher._pending_tasks]
        if self._coordinator is not None:
            co = self._coordinator
            tasks += [co._coordination_task, co._heartbeat_task, co._commit_refresh_task]
        return [task for task in tasks if task is not None]
