"""When memory that nobody uses any more is given back: garbage in cycles by the clock, large blocks at once.

Each request to the store leaves a parser behind, and each connection that ends a transport with its buffers, in reference
cycles. They are few objects and many bytes, and Python counts objects: a daemon under light load would hold hundreds of
megabytes of them before it looked.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from streamer.clock import Clock

COLLECT_SECONDS = 5.0

LARGE_BYTES = 256 << 10
_M_MMAP_THRESHOLD = -3  # glibc's malloc.h


@asynccontextmanager
async def garbage_collected(clock: Clock) -> AsyncIterator[None]:
    """While the block runs, all garbage is collected every `COLLECT_SECONDS`, and seldom in between; and from now on blocks of
    `LARGE_BYTES` or more go back to the system when they are freed.

    Concerns the whole process: only the daemon's own may enter it.
    """
    thresholds = gc.get_threshold()
    # Chunks make many short-lived objects that hold no cycles: the collector's defaults would look at them all the time.
    gc.set_threshold(50_000, 20, 50)
    gc.collect()
    # What is there now stays: modules and classes, nine tenths of what a collection would have to look at.
    gc.freeze()
    _return_large_blocks()
    task = asyncio.create_task(_collect(clock), name="garbage")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        gc.unfreeze()
        gc.set_threshold(*thresholds)


def _return_large_blocks() -> None:
    # glibc raises this limit by itself to the largest block it has seen freed. Then the responses that are fetched from Kafka,
    # a megabyte a partition, come from the heap and leave holes in it: 80 MiB after a backlog of 64 partitions.
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none, and need none
    if set_option is not None:
        set_option(_M_MMAP_THRESHOLD, LARGE_BYTES)


async def _collect(clock: Clock) -> None:
    while True:
        await clock.sleep(COLLECT_SECONDS)
        gc.collect()
