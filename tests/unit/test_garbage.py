"""Garbage in reference cycles goes by the clock. The soak showed a daemon that kept 250 MiB of it under light load: each
request to the store leaves a parser and a transport in a cycle, and Python counts objects, not bytes."""

from __future__ import annotations

import gc
import weakref

from streamer.garbage import COLLECT_SECONDS, garbage_collected
from streamer.testing.manual_clock import ManualClock


class Parser:
    """Refers to itself, as botocore's do."""

    def __init__(self) -> None:
        self.itself = self
        self.buffer = bytearray(1 << 20)


async def test_a_few_large_objects_in_cycles_are_gone_after_some_seconds_however_little_happens() -> None:
    clock = ManualClock()
    async with garbage_collected(clock):
        await clock.advance(0)
        left_behind = [weakref.ref(Parser()) for _ in range(8)]
        assert all(parser() is not None for parser in left_behind), "nothing that the collector's own count would find"

        await clock.advance(COLLECT_SECONDS)

        assert not any(parser() is not None for parser in left_behind)


async def test_the_process_is_left_as_it_was_found() -> None:
    before = gc.get_threshold()
    async with garbage_collected(ManualClock()):
        assert gc.get_threshold() != before
        assert gc.get_freeze_count() > 0

    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
