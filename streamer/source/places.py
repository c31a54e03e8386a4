"""Where each partition of the current assignment stands: sought, lost, or unreadable for the moment. Pure bookkeeping."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from streamer.clock import Clock, backoff_seconds
from streamer.records import TopicPartition


@dataclass(frozen=True, slots=True)
class _Fault:
    offset: int
    reason: str
    tries: int
    again_at: float | None  # None while it is being tried again


class Places:
    """The next offset of every partition that has been sought. Everything else is not to be delivered."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next: dict[TopicPartition, int] = {}
        self._faults: dict[TopicPartition, _Fault] = {}

    @property
    def next_offsets(self) -> Mapping[TopicPartition, int]:
        return self._next

    def next_offset(self, partition: TopicPartition) -> int | None:
        return self._next.get(partition)

    def clear(self) -> None:
        """The assignment is over."""
        self._next.clear()
        self._faults.clear()

    def sought(self, partition: TopicPartition, offset: int) -> None:
        self._next[partition] = offset
        self._faults.pop(partition, None)

    def delivered(self, partition: TopicPartition, end: int) -> None:
        self._next[partition] = end
        fault = self._faults.get(partition)
        if fault is not None and end > fault.offset:
            del self._faults[partition]

    def lost(self, partition: TopicPartition) -> None:
        """Kafka does not have this place: nothing more before the next `sought`."""
        self._next.pop(partition, None)
        self._faults.pop(partition, None)

    def unreadable(self, partition: TopicPartition, offset: int, reason: str) -> bool:
        """The batch at `offset` is damaged: it is tried again, ever more seldom. True where this is news."""
        before = self._faults.get(partition)
        again = before is not None and before.offset == offset
        tries = before.tries + 1 if before is not None and again else 0
        wait_seconds = backoff_seconds(tries, first=1.0, most=60.0)
        self._faults[partition] = _Fault(offset, reason, tries, self._clock.monotonic() + wait_seconds)
        return not again

    def readable(self, wanted: Collection[TopicPartition]) -> list[TopicPartition]:
        """Those of `wanted` that have been sought and do not rest."""
        resting = {partition for partition, fault in self._faults.items() if fault.again_at is not None}
        return [partition for partition in wanted if partition in self._next and partition not in resting]

    def due_again(self) -> list[tuple[TopicPartition, int]]:
        """Unreadable partitions whose rest is over, and where to read them again. Each is told once a rest."""
        now = self._clock.monotonic()
        due = [where for where, fault in self._faults.items() if fault.again_at is not None and fault.again_at <= now]
        self._faults.update({where: replace(self._faults[where], again_at=None) for where in due})
        return [(partition, self._next[partition]) for partition in due]

    def unreadable_sentence(self) -> str | None:
        """What health says about the first of them."""
        if not self._faults:
            return None
        partition, fault = min(self._faults.items())
        more = f", and {len(self._faults) - 1} more partitions" if len(self._faults) > 1 else ""
        return f"{partition} cannot be read at offset {fault.offset}: {fault.reason}{more}"
