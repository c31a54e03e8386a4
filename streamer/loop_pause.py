"""How long the event loop was held up at worst: heartbeats, deadlines and the health server all wait behind such a pause."""

from __future__ import annotations

import asyncio
from typing import Self

from streamer.clock import Clock
from streamer.metrics import Metrics

LOOK_SECONDS = 0.02


class LoopPause:
    """Measures inside its `async with`. `worst_seconds`: the longest pause so far."""

    def __init__(self, clock: Clock, metrics: Metrics) -> None:
        self.worst_seconds = 0.0
        self._clock = clock
        self._metrics = metrics

    async def __aenter__(self) -> Self:
        self._watching = asyncio.create_task(self._watch(), name="loop pause")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._watching.cancel()
        await asyncio.wait({self._watching})

    async def _watch(self) -> None:
        while True:
            began = self._clock.monotonic()
            await self._clock.sleep(LOOK_SECONDS)
            late_seconds = self._clock.monotonic() - began - LOOK_SECONDS
            if late_seconds > self.worst_seconds:
                self.worst_seconds = late_seconds
                self._metrics.loop_pause.set(late_seconds)
