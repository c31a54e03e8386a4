"""Whether the consumer still works: what aiokafka does not say by itself.

A dead background task, brokers that have fallen silent, a rejoin that does not end, a partition that stands still while
its end moves on. Finds; decides nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from streamer.clock import Clock
from streamer.errors import StreamerError
from streamer.records import TopicPartition
from streamer.source.cluster_view import ClusterView
from streamer.source.consumer import Consumer
from streamer.source.settings import KafkaSettings

STALL_SECONDS = 60.0
"""How long a partition may bring nothing, though asked for in every poll, before its end offset is looked up."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One sentence for people. new_consumer_helps: False where the cause lies outside this process."""

    sentence: str
    new_consumer_helps: bool


class Watchdog:
    """Watches one consumer."""

    def __init__(self, consumer: Consumer, settings: KafkaSettings, clock: Clock) -> None:
        self._consumer = consumer
        self._settings = settings
        self._clock = clock
        self._rejoining_since: float | None = None
        self._waiting_since: dict[TopicPartition, float] = {}
        self._stalled: dict[TopicPartition, int] = {}

    def polled(self, wanted: Collection[TopicPartition], moved: Collection[TopicPartition]) -> None:
        """Note one poll: what was asked for, and what came."""
        now, moving = self._clock.monotonic(), set(moved)
        waiting = {partition for partition in wanted if partition not in moving}
        self._waiting_since = {partition: self._waiting_since.get(partition, now) for partition in waiting}
        for partition in [partition for partition in self._stalled if partition not in waiting]:
            del self._stalled[partition]

    async def look_for_stalls(self, view: ClusterView, positions: Mapping[TopicPartition, int]) -> None:
        """Compare positions that have not moved for long with the ends that another connection tells."""
        now = self._clock.monotonic()
        idle = [p for p, since in self._waiting_since.items() if now - since >= STALL_SECONDS and p in positions]
        if not idle:
            return
        before = {partition: positions[partition] for partition in idle}
        try:
            bounds = await view.bounds(idle)
        except StreamerError:
            return  # Kafka does not answer at all, which is another finding
        for partition, position in before.items():
            # A partition that has moved, or was not wanted for a moment, while we asked has its time counted anew.
            still = partition in self._waiting_since and now - self._waiting_since[partition] >= STALL_SECONDS
            if still and partition in bounds and bounds[partition].end > position:
                self._stalled[partition] = position
            else:
                self._stalled.pop(partition, None)

    def problem(self) -> Problem | None:
        """The gravest finding, or None."""
        now, patience = self._clock.monotonic(), self._settings.unhealthy_after_seconds
        dead = self._consumer.dead_part()
        if dead is not None:
            return Problem(f"the consumer's {dead} has ended unexpectedly", True)
        silent_seconds = now - self._consumer.client.answered_at
        if silent_seconds > patience:
            servers = self._settings.bootstrap_servers
            return Problem(f"no broker has answered for {silent_seconds:.0f} s (bootstrap servers {servers})", False)
        if not self._consumer.rejoin_is_due:
            self._rejoining_since = None
        elif self._rejoining_since is None:
            self._rejoining_since = now
        elif now - self._rejoining_since > self._settings.rebalance_timeout_seconds + patience:
            seconds = now - self._rejoining_since
            return Problem(f"the consumer group {self._settings.group_id} has been rebalancing for {seconds:.0f} s", True)
        if self._stalled:
            partition, position = min(self._stalled.items())
            return Problem(
                f"{partition} has stood at offset {position} for more than {STALL_SECONDS:.0f} s although records follow"
                + (f", and {len(self._stalled) - 1} more partitions" if len(self._stalled) > 1 else ""),
                True,
            )
        return None
