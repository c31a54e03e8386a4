"""A store far away, whose calls take their time, both ways, and sometimes fail; and slow hands. For the seeded simulation."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

from streamer.clock import Clock
from streamer.store.contract import ObjectInfo, Store
from streamer.testing.failing_store import FailingStore, FaultKind

P = ParamSpec("P")
T = TypeVar("T")


class SlowWorkers:
    """`Workers` that need up to `most_seconds` for each piece of work."""

    def __init__(self, clock: Clock, seed: int, most_seconds: float) -> None:
        self._clock, self._chance, self._most_seconds = clock, random.Random(seed), most_seconds

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._most_seconds:
            await self._clock.sleep(self._chance.random() * self._most_seconds)
        return work(*args, **kwargs)

    def close(self) -> None:
        """There is nothing to close."""


class DistantStore(FailingStore):
    """A `FailingStore` that is up to `most_seconds` away, each way, and tells of each fault."""

    def __init__(
        self,
        name: str,
        event: Callable[[str], None],
        inner: Store,
        clock: Clock,
        seed: int,
        most_seconds: float,
        **options: Any,
    ) -> None:
        super().__init__(inner, clock, **options)
        self._name, self._event, self._time = name, event, clock
        self._distance, self._most_seconds = random.Random(seed), most_seconds

    def _meet(self, operation: str, key: str) -> FaultKind | None:
        kind = super()._meet(operation, key)
        if kind is not None:
            self._event(f"fault: {self._name} {kind} {operation} {key}")
        return kind

    async def _travel(self) -> None:
        if self._most_seconds:
            await self._time.sleep(self._distance.random() * self._most_seconds)

    async def _read(self, operation: str, key: str, call: Callable[[], Awaitable[T]]) -> T:
        await self._travel()
        answer = await super()._read(operation, key, call)
        await self._travel()
        return answer

    async def _write(self, operation: str, key: str, call: Callable[[], Awaitable[T]]) -> T:
        await self._travel()
        answer = await super()._write(operation, key, call)
        await self._travel()
        return answer

    async def list(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        await self._travel()
        async for info in super().list(prefix, start_after=start_after):
            yield info
