"""One partition's log as a broker keeps it: offsets with holes, transactions, retention.

Part of `memory_broker`, where the public names are. It decides nothing about groups or readers.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from enum import Enum, auto

from streamer.records import Headers, RecordChunk, TopicPartition
from streamer.source.contract import Bounds


class TransactionState(Enum):
    OPEN = auto()
    COMMITTED = auto()
    ABORTED = auto()


@dataclass(eq=False, slots=True)
class Transaction:
    """A producer's transaction over any number of partitions.

    While it is open, its records are invisible and hold the last stable offset of their partitions back. Its end writes
    one control marker, which takes an offset, to each partition it touched.
    """

    state: TransactionState = TransactionState.OPEN
    first_offsets: dict[PartitionLog, int] = field(default_factory=dict)

    def commit(self) -> None:
        self._end(TransactionState.COMMITTED)

    def abort(self) -> None:
        self._end(TransactionState.ABORTED)

    def _end(self, state: TransactionState) -> None:
        if self.state is not TransactionState.OPEN:
            raise ValueError("the transaction has ended already")
        self.state = state
        for log in self.first_offsets:
            log.open.discard(self)
            log.skip(1)


@dataclass(frozen=True, slots=True)
class StoredRecord:
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    transaction: Transaction | None

    @property
    def visible(self) -> bool:
        return self.transaction is None or self.transaction.state is TransactionState.COMMITTED


class PartitionLog:
    """The log of one partition, from `beginning` up to, and without, `end`."""

    def __init__(self, partition: TopicPartition) -> None:
        self.partition = partition
        self.beginning = 0
        self.end = 0
        self.open: set[Transaction] = set()
        self._records: list[StoredRecord] = []

    @property
    def stable_end(self) -> int:
        """The last stable offset: where the oldest open transaction begins, else the end."""
        return min((transaction.first_offsets[self] for transaction in self.open), default=self.end)

    def bounds(self) -> Bounds:
        return Bounds(self.beginning, max(self.beginning, self.stable_end))

    def append(
        self, timestamp: int, key: bytes | None, value: bytes | None, headers: Headers, transaction: Transaction | None
    ) -> int:
        offset = self.end
        if transaction is not None:
            if transaction.state is not TransactionState.OPEN:
                raise ValueError("the transaction has ended already")
            transaction.first_offsets.setdefault(self, offset)
            self.open.add(transaction)
        self._records.append(StoredRecord(offset, timestamp, key, value, headers, transaction))
        self.end += 1
        return offset

    def skip(self, count: int) -> None:
        self.end += count

    def remove(self, offsets: set[int]) -> None:
        self._records = [record for record in self._records if record.offset not in offsets]

    def truncate(self, beginning: int) -> None:
        if not self.beginning <= beginning <= self.end:
            raise ValueError(f"{self.partition}: {beginning} is outside [{self.beginning},{self.end}]")
        self.beginning = beginning
        del self._records[: self._at(beginning)]

    def read(self, position: int, most: int) -> RecordChunk | None:
        """Up to `most` visible records from `position`; None where nothing is to be had yet.

        Raises IndexError where the log does not reach, or no longer has, `position`.
        """
        if not self.beginning <= position <= self.end:
            raise IndexError(position)
        stable_end = self.stable_end
        if position >= stable_end:
            return None
        found: list[StoredRecord] = []
        end = stable_end
        for record in self._records[self._at(position) :]:
            if record.offset >= stable_end:
                break
            if not record.visible:
                continue
            if len(found) == most:
                end = found[-1].offset + 1
                break
            found.append(record)
        return RecordChunk(
            self.partition,
            position,
            end,
            [record.offset for record in found],
            [record.timestamp for record in found],
            [record.key for record in found],
            [record.value for record in found],
            [record.headers for record in found] if any(record.headers for record in found) else None,
        )

    def _at(self, offset: int) -> int:
        return bisect_left(self._records, offset, key=lambda record: record.offset)
