"""The worst pause of the event loop, with a clock that is late on purpose."""

from __future__ import annotations

import asyncio

import pytest

from streamer.clock import SystemClock
from streamer.loop_pause import LOOK_SECONDS, LoopPause
from streamer.metrics import Metrics


class LateClock(SystemClock):
    """Sleeps take no time but what the next of `late_seconds` says, and no more once they are used up."""

    def __init__(self, late_seconds: list[float]) -> None:
        self._late_seconds = late_seconds
        self._now = 0.0
        self.used_up = asyncio.Event()

    def monotonic(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        if not self._late_seconds:
            self.used_up.set()
            await asyncio.Event().wait()
        self._now += seconds + self._late_seconds.pop(0)


async def test_the_longest_pause_is_kept_and_shorter_ones_do_not_replace_it() -> None:
    clock, metrics = LateClock([0.001, 0.2, 0.05]), Metrics()
    async with LoopPause(clock, metrics) as pause:
        await clock.used_up.wait()
    assert pause.worst_seconds == pytest.approx(0.2)
    assert metrics.registry.get_sample_value("streamer_loop_pause_worst_seconds") == pytest.approx(0.2)
    assert LOOK_SECONDS < 0.05, "pauses of the length that matters must not fall between two looks"
