"""Two tiers as one cache of bytes by name: memory first, then the disk. Counts hits and misses; knows nothing of stores."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from streamer.cache.disk import DiskTier
from streamer.cache.memory import MemoryTier
from streamer.clock import Clock

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
    ) -> None:
        self._memory = memory
        self._disk = disk
        self._clock = clock
        self._ttl_seconds = ttl_seconds
        self._counts = {"memory": 0, "disk": 0, "miss": 0}

    async def get(self, name: str, *, counted: bool = True) -> bytes | None:
        """The value, from the first tier that has it. counted: False for what is only asked on the way to another value."""
        now = self._now()
        value = self._memory.get(name, now)
        if value is not None:
            self._counts["memory"] += counted
            return value
        if self._disk is not None and (found := await asyncio.to_thread(self._disk.entry, name, now)) is not None:
            value, expires = found
            self._memory.put(name, value, expires)
            self._counts["disk"] += counted
            return value
        self._counts["miss"] += counted
        return None

    def missed(self) -> None:
        """Count a value that cannot be here, and so was not looked for."""
        self._counts["miss"] += 1

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

    @property
    def counts(self) -> Mapping[str, int]:
        """How often a value was found in `memory`, on the `disk`, or was a `miss`, in this process."""
        return dict(self._counts)

    @property
    def memory_bytes(self) -> int:
        """Bytes in memory."""
        return self._memory.size_bytes

    async def stats(self) -> CacheStats:
        """The counts of this process, and the sizes."""
        disk_bytes = await asyncio.to_thread(self._disk.size_bytes) if self._disk is not None else 0
        counts = self._counts
        return CacheStats(counts["memory"], counts["disk"], counts["miss"], self._memory.size_bytes, disk_bytes)

    def _now(self) -> float:
        return self._clock.now().timestamp()
