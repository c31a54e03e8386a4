"""`lake.cache`: the read-through cache of a lake, and the named caches with a time to live that are made from it."""

from __future__ import annotations

import os
import tempfile

from prometheus_client import REGISTRY, CollectorRegistry

from streamer.cache.collector import CacheCollector
from streamer.cache.disk import DiskTier
from streamer.cache.memory import MemoryTier
from streamer.cache.object_cache import AsyncObjectCache, ObjectCache
from streamer.cache.tiers import DISK_BYTES, MEMORY_BYTES, CacheStats, TieredCache
from streamer.clock import Clock
from streamer.config.values import parse_duration
from streamer.errors import Invalid
from streamer.lake.loop_thread import LoopThread
from streamer.store.contract import Store

OBJECTS = "objects"
VALUES = "values"


class AsyncLakeCache:
    """What this machine keeps of a lake. `tiers` is None where nothing is cached; `folder` None: no disk."""

    def __init__(self, store: Store, clock: Clock, tiers: TieredCache | None, folder: str | None) -> None:
        self._store = store
        self._clock = clock
        self._tiers = tiers
        self._folder = folder
        self._values = tiers_at(folder, VALUES, clock, None)
        self._named: dict[tuple[str, float], AsyncObjectCache] = {}

    def __call__(self, name: str, ttl: float | str = "24h") -> AsyncObjectCache:
        """The cache `name`, whose values are good for `ttl` (seconds, or text such as `90s`, `24h`). Raises `Invalid`."""
        seconds = _seconds(ttl)
        found = self._named.get((name, seconds))
        if found is None:
            folder = self._folder or os.path.join(tempfile.gettempdir(), f"streamer-cache-{os.getuid()}")
            found = AsyncObjectCache(name, seconds, self._store, self._values, folder, self._clock)
            self._named[name, seconds] = found
        return found

    async def clear(self) -> None:
        """Forget everything on this machine, models aside; the lake keeps what it has."""
        if self._tiers is not None:
            await self._tiers.clear()
        await self._values.clear()

    async def stats(self) -> CacheStats:
        """Hits and misses of reading, in this process; `hit_ratio` among them."""
        return await self._tiers.stats() if self._tiers is not None else CacheStats(0, 0, 0, 0, 0)

    def export(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Show the counts in `/metrics` of this process: `streamer_cache_reads_total` by cache (`objects` is what was read of
        the lake, `values` are the named caches) and outcome (`memory`, `disk`, `miss`), and `streamer_cache_memory_bytes`.

        registry: the process's own. Raises `ValueError` where it shows those of another lake already.
        """
        caches = {VALUES: self._values} if self._tiers is None else {OBJECTS: self._tiers, VALUES: self._values}
        registry.register(CacheCollector(caches))


class LakeCache:
    """What this machine keeps of a lake, for synchronous code."""

    def __init__(self, inner: AsyncLakeCache, loop: LoopThread) -> None:
        self._inner = inner
        self._loop = loop

    def __call__(self, name: str, ttl: float | str = "24h") -> ObjectCache:
        """The cache `name`, whose values are good for `ttl` (seconds, or text such as `90s`, `24h`). Raises `Invalid`."""
        return ObjectCache(self._inner(name, ttl), self._loop)

    def clear(self) -> None:
        """Forget everything on this machine, models aside; the lake keeps what it has."""
        self._loop.run(self._inner.clear())

    def stats(self) -> CacheStats:
        """Hits and misses of reading, in this process; `hit_ratio` among them."""
        return self._loop.run(self._inner.stats())

    def export(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Show the counts in `/metrics` of this process. See `AsyncLakeCache.export`."""
        self._inner.export(registry)


def cache_base(folder: str | os.PathLike[str]) -> str:
    """The directory of a cache as text, `~` spelt out."""
    return os.path.expanduser(os.fspath(folder))


def tiers_at(folder: str | None, part: str, clock: Clock, ttl_seconds: float | None) -> TieredCache:
    """Both tiers, the second below `folder`; one tier where that is None."""
    disk = DiskTier(os.path.join(folder, part), DISK_BYTES) if folder is not None else None
    return TieredCache(MemoryTier(MEMORY_BYTES), disk, clock, ttl_seconds=ttl_seconds)


def _seconds(ttl: float | str) -> float:
    try:
        seconds = parse_duration(ttl) if isinstance(ttl, str) else float(ttl)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 100 * 365 * 86_400:
        raise Invalid(f"{ttl!r} is no time to live", hint='write seconds, or text such as "90s", "24h"')
    return seconds
