"""Where CPU work runs: in threads for the daemon, at once for a simulation.

Decoding and encoding release the GIL for most of their time, so threads use every core while the event loop stays
free for heartbeats. A simulation passes `InlineWorkers`, because threads cannot be replayed from a seed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Workers(Protocol):
    """Runs one function somewhere, and waits for what it returns."""

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work(*args, **kwargs)` returns or raises."""
        ...

    def close(self) -> None:
        """Let running work end; take no more."""
        ...


class ThreadWorkers:
    """A fixed number of threads."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="streamer-worker")

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: work(*args, **kwargs))

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


class InlineWorkers:
    """The caller's own thread, after one turn of the event loop."""

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return work(*args, **kwargs)

    def close(self) -> None:
        """There is nothing to close."""
