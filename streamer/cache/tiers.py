"""Two tiers as one cache of bytes by name: memory first, then the disk. Counts hits and misses; knows nothing of stores."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from streamer.cache.disk import DiskTier
from streamer.cache.memory import MemoryTier
from streamer.clock import Clock
from streamer.metrics import Metrics

MEMORY_BYTES = 64 << 20
DISK_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What became of the questions so far, and how much is kept."""

    memory_hits: int
    disk_hits: int
    misses: int
    memory_bytes: int
    disk_bytes: int

    @property
    def hit_ratio(self) -> float:
        """Hits among all questions; 0 before the first."""
        asked = self.memory_hits + self.disk_hits + self.misses
        return (self.memory_hits + self.disk_hits) / asked if asked else 0.0


class TieredCache:
    """Bytes by name. ttl_seconds: how long an entry is good; None: until it is driven out."""

    def __init__(
        self,
        memory: MemoryTier,
        disk: DiskTier | None,
        clock: Clock,
        *,
        ttl_seconds: float | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._memory = memory
        self._disk = disk
        self._clock = clock
        self._ttl_seconds = ttl_seconds
        self._metrics = metrics
        self._counts = {"memory": 0, "disk": 0, "miss": 0}

    async def get(self, name: str) -> bytes | None:
        """The value, from the first tier that has it."""
        now = self._now()
        value = self._memory.get(name, now)
        if value is not None:
            self._count("memory")
            return value
        if self._disk is not None and (value := await asyncio.to_thread(self._disk.get, name, now)) is not None:
            # As long as the entry on the disk is good is not known here; a short while is, whatever it was.
            self._memory.put(name, value, now + min(self._ttl_seconds or 60.0, 60.0))
            self._count("disk")
            return value
        self._count("miss")
        return None

    async def put(self, name: str, value: bytes, *, expires: float | None = None) -> None:
        """Keep the value in both tiers until `expires` (seconds since 1970), or for the cache's own time."""
        until = expires
        if until is None and self._ttl_seconds is not None:
            until = self._now() + self._ttl_seconds
        self._memory.put(name, value, until)
        if self._disk is not None:
            await asyncio.to_thread(self._disk.put, name, value, until, self._clock.token())

    async def remove(self, name: str) -> None:
        """Forget the value."""
        self._memory.remove(name)
        if self._disk is not None:
            await asyncio.to_thread(self._disk.remove, name)

    async def clear(self) -> None:
        """Forget everything, also what other processes put on the disk."""
        self._memory.clear()
        if self._disk is not None:
            await asyncio.to_thread(self._disk.clear)

    async def stats(self) -> CacheStats:
        """The counts of this process, and the sizes."""
        disk_bytes = await asyncio.to_thread(self._disk.size_bytes) if self._disk is not None else 0
        counts = self._counts
        return CacheStats(counts["memory"], counts["disk"], counts["miss"], self._memory.size_bytes, disk_bytes)

    def _now(self) -> float:
        return self._clock.now().timestamp()

    def _count(self, outcome: str) -> None:
        self._counts[outcome] += 1
        if self._metrics is not None:
            self._metrics.cache_reads.labels(outcome).inc()
