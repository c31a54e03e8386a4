"""A store that stops one process at a chosen request, before or after its effect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Literal

from streamer.errors import OutcomeUnknown
from streamer.store.contract import NO_METADATA, ObjectInfo, PutMode, Store, StoredObject

Moment = Literal["before", "after"]
Happening = Literal["crash", "lost answer"]


class CrashPoint:
    """`inner`, until PUT number `at` (from 0): there the answer is lost, or the process hangs and `reached` is set.

    before: the PUT has no effect. after: it has landed. Counts PUTs only: reading changes nothing.
    """

    def __init__(self, inner: Store, at: int, moment: Moment, happening: Happening = "crash") -> None:
        self._inner = inner
        self._at = at
        self._moment = moment
        self._happening = happening
        self.puts: list[str] = []
        self.reached = asyncio.Event()
        self.url = inner.url
        self.conditional_writes = inner.conditional_writes

    async def put(
        self,
        key: str,
        body: bytes | memoryview,
        *,
        mode: PutMode,
        metadata: Mapping[str, str] = NO_METADATA,
        content_type: str = "application/octet-stream",
    ) -> str:
        number = len(self.puts)
        self.puts.append(key)
        if number != self._at:
            return await self._inner.put(key, body, mode=mode, metadata=metadata, content_type=content_type)
        if self._moment == "after":
            await self._inner.put(key, body, mode=mode, metadata=metadata, content_type=content_type)
        self.reached.set()
        if self._happening == "lost answer":
            raise OutcomeUnknown("the connection broke", key=key)
        return await asyncio.get_running_loop().create_future()

    async def get(self, key: str) -> StoredObject:
        return await self._inner.get(key)

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        return await self._inner.get_range(key, start, length)

    async def head(self, key: str) -> ObjectInfo:
        return await self._inner.head(key)

    async def delete(self, key: str) -> None:
        await self._inner.delete(key)

    async def list(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        async for info in self._inner.list(prefix, start_after=start_after):
            yield info

    async def prepare(self) -> None:
        await self._inner.prepare()

    async def close(self) -> None:
        """Nothing to close."""
