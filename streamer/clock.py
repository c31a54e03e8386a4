"""Time and chance: the one door through which both enter.

Nothing else in streamer may ask for the time, sleep, or draw a random number (the linter sees to it), so that a
simulation can own all three. Deadlines are `asyncio.timeout`, which follows the event loop's own clock.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where time and chance come from."""

    def monotonic(self) -> float:
        """Seconds on a clock that never steps back. For ages, waits and durations."""
        ...

    def now(self) -> datetime:
        """The time of day, UTC, aware. Never enters a data file or its key."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait without holding up the event loop."""
        ...

    def token(self) -> str:
        """A new random name of 32 hexadecimal digits, unique to this call."""
        ...

    def jitter(self, seconds: float) -> float:
        """A random share of `seconds`, between half of it and all of it, so that retries of many do not meet."""
        ...


class SystemClock:
    """The machine's own time and chance."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def token(self) -> str:
        return secrets.token_hex(16)

    def jitter(self, seconds: float) -> float:
        return seconds * (0.5 + random.random() / 2)


def backoff_seconds(attempt: int, *, first: float = 0.2, most: float = 10.0) -> float:
    """The wait before try number `attempt` + 1 (counted from 0): doubling, with an upper end."""
    return float(min(most, first * 2 ** min(attempt, 30)))
