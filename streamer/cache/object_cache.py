"""A cache of objects with a time to live, in the lake and on this machine: what several instances of a report generator share.

Values are bytes. A value is written through to the lake under `cache/{name}/`, with `expires_at` in its metadata, and found
again from there by other machines; the local tiers spare the way. An expired value is a miss wherever it is.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from streamer.cache.flight import single_flight
from streamer.cache.tiers import CacheStats, TieredCache
from streamer.clock import Clock
from streamer.errors import Invalid, NotFound
from streamer.lake.loop_thread import LoopThread
from streamer.store.contract import Overwrite, Store
from streamer.write.partition_value import encode_value

EXPIRES_AT = "expires_at"
Key = str | tuple[str, ...]
"""The name of a value; of several parts, where they are to be folders: `("BTC/USDT", "2026-01-03", "report.json")`."""

Compute = Callable[[], bytes] | Callable[[], Awaitable[bytes]]


class AsyncObjectCache:
    """One named cache. Every method raises `Unavailable` and `Denied`."""

    def __init__(self, name: str, ttl_seconds: float, store: Store, tiers: TieredCache, locks: str, clock: Clock) -> None:
        if not name:
            raise Invalid("the cache has no name", hint='write lake.cache("reports", ttl="24h")')
        self._prefix = f"cache/{encode_value(name, at_segment_start=True)}/"
        self._ttl_seconds = ttl_seconds
        self._store = store
        self._tiers = tiers
        self._locks = os.path.join(locks, "locks")
        self._clock = clock

    async def get(self, key: Key) -> bytes | None:
        """The value, None where there is none or it expired."""
        object_key = self._key(key)
        if (value := await self._tiers.get(self._local(object_key))) is not None:
            return value
        try:
            stored = await self._store.get(object_key)
        except NotFound:
            return None
        expires = _moment((stored.info.metadata or {}).get(EXPIRES_AT))
        if expires is None or expires <= self._clock.now():
            return None
        await self._tiers.put(self._local(object_key), stored.body, expires=expires.timestamp())
        return stored.body

    async def put(self, key: Key, value: bytes) -> None:
        """Keep `value` from now on for the time to live, here and in the lake."""
        expires = self._clock.now() + timedelta(seconds=self._ttl_seconds)
        object_key = self._key(key)
        await self._store.put(object_key, value, mode=Overwrite(), metadata={EXPIRES_AT: expires.isoformat()})
        await self._tiers.put(self._local(object_key), value, expires=expires.timestamp())

    async def remove(self, key: Key) -> None:
        """Forget the value, here and in the lake. Other machines, and the memory of other processes, keep what they have until
        it expires."""
        object_key = self._key(key)
        await self._store.delete(object_key)
        await self._tiers.remove(self._local(object_key))

    async def get_or_compute(self, key: Key, compute: Compute) -> bytes:
        """The value; where there is none, what `compute()` returns, kept from then on.

        compute: a function, which runs in a thread, or a coroutine function. Of all threads, tasks and processes of this
        machine that ask for the same key one computes, and the others wait for its value. What it raises is raised to its own
        caller; the next in line tries again.
        """
        if (value := await self.get(key)) is not None:
            return value
        async with single_flight(self._locks, self._local(self._key(key)), self._clock):
            if (value := await self.get(key)) is not None:
                return value
            made: Any = compute() if inspect.iscoroutinefunction(compute) else await asyncio.to_thread(compute)
            computed: Any = await made if inspect.isawaitable(made) else made
            if not isinstance(computed, bytes):
                raise Invalid(f"the computed value is a {type(computed).__name__}", hint="values of a cache are bytes")
            await self.put(key, computed)
            return computed

    async def stats(self) -> CacheStats:
        """Hits and misses of this machine's tiers, in this process."""
        return await self._tiers.stats()

    def _local(self, object_key: Key) -> str:
        """Its name on this machine, which other lakes share."""
        return f"{self._store.url}\n{object_key}"

    def _key(self, key: Key) -> str:
        parts = (key,) if isinstance(key, str) else key
        if not parts:
            raise Invalid("a value of a cache has no name", hint='write cache.get("name") or cache.get(("folder", "name"))')
        return self._prefix + "/".join(encode_value(part, at_segment_start=True) for part in parts)


class ObjectCache:
    """One named cache, for synchronous code. See `AsyncObjectCache`."""

    def __init__(self, inner: AsyncObjectCache, loop: LoopThread) -> None:
        self._inner = inner
        self._loop = loop

    def get(self, key: Key) -> bytes | None:
        """The value, None where there is none or it expired."""
        return self._loop.run(self._inner.get(key))

    def put(self, key: Key, value: bytes) -> None:
        """Keep `value` from now on for the time to live, here and in the lake."""
        self._loop.run(self._inner.put(key, value))

    def remove(self, key: Key) -> None:
        """Forget the value, here and in the lake."""
        self._loop.run(self._inner.remove(key))

    def get_or_compute(self, key: Key, compute: Compute) -> bytes:
        """The value; where there is none, what `compute()` returns. See `AsyncObjectCache.get_or_compute`."""
        return self._loop.run(self._inner.get_or_compute(key, compute))

    def stats(self) -> CacheStats:
        """Hits and misses of this machine's tiers, in this process."""
        return self._loop.run(self._inner.stats())


def _moment(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return found if found is None or found.tzinfo is not None else found.replace(tzinfo=UTC)
