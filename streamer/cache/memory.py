"""The first tier: bytes in this process, the least recently used go first. Thread-safe."""

from __future__ import annotations

import threading
from collections import OrderedDict


class MemoryTier:
    """Up to `budget_bytes` of values. One greater than a quarter of that is not kept: it would drive out all others."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._entries: OrderedDict[str, tuple[bytes, float | None]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def size_bytes(self) -> int:
        """Bytes of all values."""
        return self._bytes

    def get(self, name: str, now: float) -> bytes | None:
        """The value, unless it expired by `now` (seconds since 1970)."""
        with self._lock:
            found = self._entries.get(name)
            if found is None:
                return None
            if found[1] is not None and found[1] <= now:
                self._drop(name)
                return None
            self._entries.move_to_end(name)
            return found[0]

    def put(self, name: str, value: bytes, expires: float | None) -> None:
        """Keep `value` until `expires` (None: for ever), and make room for it."""
        with self._lock:
            self._drop(name)
            if len(value) > self._budget_bytes // 4:
                return
            self._entries[name] = value, expires
            self._bytes += len(value)
            while self._bytes > self._budget_bytes:
                self._drop(next(iter(self._entries)))

    def remove(self, name: str) -> None:
        """Forget the value."""
        with self._lock:
            self._drop(name)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def _drop(self, name: str) -> None:
        if (found := self._entries.pop(name, None)) is not None:
            self._bytes -= len(found[0])
