"""What `lake.follow` gives back: rows of a stream that go on for ever, history first, then live from Kafka."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from streamer.errors import Invalid
from streamer.lake.follower import Follower, FollowRequest, OnGap
from streamer.lake.loop_thread import LoopThread
from streamer.lake.request import Columns, ReadRequest, Symbols, TimeLike
from streamer.source.settings import KafkaSettings

Since = TimeLike | Mapping[str, Mapping[int, int]] | None
"""Where to begin: an event time, or offsets by topic and partition as `offsets` and `FeatureHistory.offsets` have them."""


class AsyncFollow:
    """`async for row in lake.follow("signals", since="2026-01-03")`: each row a dictionary; `batches()` gives record batches.

    Use it as an async context manager where the loop may be left early, so that Kafka is let go at once.
    """

    def __init__(self, make: Callable[[], Follower]) -> None:
        self._make = make
        self._follower: Follower | None = None
        self._under_way: AsyncGenerator[Any] | None = None
        self._offsets: dict[str, dict[int, int]] = {}

    @property
    def offsets(self) -> dict[str, dict[int, int]]:
        """topic -> partition -> offset: `since=` this goes on behind what was given out. Empty while history is read.

        Batch by batch it counts the batch given out last; row by row only batches whose rows were all given out.
        """
        return {topic: dict(partitions) for topic, partitions in self._offsets.items()}

    @property
    def dead_letters(self) -> int:
        """Live records so far that could not become rows. The daemon keeps them: `streamer dead-letters list`."""
        return self._follower.dead_letters if self._follower is not None else 0

    async def batches(self) -> AsyncGenerator[pa.RecordBatch]:
        """The rows as record batches. Begins anew with each call.

        Raises `Invalid` for a stream or column that the lake has not, `PartitionRefused` where the topic is not the one that
        the lake was made of, `Unavailable` where Kafka or the store does not answer, and where neither has the next offset any
        more, `Denied`, `Damaged`.
        """
        async with aclosing(self._made()) as batches:
            async for batch, offsets in batches:
                self._offsets = offsets
                yield batch

    async def rows(self) -> AsyncGenerator[dict[str, Any]]:
        """The rows as dictionaries. Raises as `batches`."""
        async with aclosing(self._made()) as batches:
            async for batch, offsets in batches:
                for row in batch.to_pylist():
                    yield row
                self._offsets = offsets

    async def _made(self) -> AsyncGenerator[tuple[pa.RecordBatch, dict[str, dict[int, int]]]]:
        self._follower = follower = self._make()
        async with aclosing(follower.batches()) as batches:
            async for batch in batches:
                yield batch, follower.offsets()

    def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        self._under_way = self.rows()
        return self._under_way

    async def close(self) -> None:
        """End the iteration, and let Kafka go. Idempotent."""
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            await under_way.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        await self.close()


class Follow:
    """`for row in lake.follow("signals", since="2026-01-03")`: each row a dictionary; `batches()` gives record batches.

    Waits for the next record for as long as it takes; an interrupt ends the wait. Leaving the loop lets Kafka go.
    """

    def __init__(self, inner: AsyncFollow, loop: LoopThread) -> None:
        self._inner = inner
        self._loop = loop

    @property
    def offsets(self) -> dict[str, dict[int, int]]:
        """topic -> partition -> offset: `since=` this goes on behind what was given out. See `AsyncFollow.offsets`."""
        return self._inner.offsets

    @property
    def dead_letters(self) -> int:
        """Live records so far that could not become rows. The daemon keeps them: `streamer dead-letters list`."""
        return self._inner.dead_letters

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows as record batches. Begins anew with each call. Raises as `AsyncFollow.batches`."""
        yield from self._loop.iterate(self._inner.batches())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        yield from self._loop.iterate(self._inner.rows())


def follow_request(
    stream: str,
    since: Since,
    symbols: Symbols,
    columns: Columns,
    where: Any,
    on_gap: OnGap,
    until_caught_up: bool,
) -> FollowRequest:
    """From what the methods of `Lake` take. Raises `Invalid`."""
    if on_gap not in ("raise", "skip"):
        raise Invalid(f"on_gap is {on_gap!r}", hint='it is "raise" or "skip"')
    if not isinstance(since, Mapping):
        read = ReadRequest.of(stream, since, None, symbols, columns, where)
        return FollowRequest(read, None, on_gap, until_caught_up)
    for partitions in since.values():
        if not all(type(value) is int and value >= 0 for pair in partitions.items() for value in pair):
            raise Invalid("offsets are whole numbers by partition", hint='write since={"signals": {0: 1234}}')
    read = ReadRequest.of(stream, None, None, symbols, columns, where)
    return FollowRequest(read, since, on_gap, until_caught_up)


def kafka_from(bootstrap_servers: str | None, kafka: KafkaSettings | None) -> KafkaSettings:
    """How Kafka is reached. Raises `Invalid` where nobody says."""
    if kafka is not None:
        return kafka
    servers = bootstrap_servers or os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "")
    if not servers:
        raise Invalid("no bootstrap servers", hint='follow(..., bootstrap_servers="localhost:9092")')
    return KafkaSettings(bootstrap_servers=servers, client_id="streamer-follow")
