"""One event loop in a thread of its own, so that synchronous callers (notebooks, boot code) can use asynchronous code."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator
from typing import Any, Protocol, Self, TypeVar

from streamer.errors import Invalid

T = TypeVar("T")


class LoopRunner(Protocol):
    """Runs coroutines in one event loop, for other threads."""

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns or raises."""
        ...


class RunningLoop:
    """The event loop that is running here and now, for threads that it started."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns or raises. Never to be called from the loop's own thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


class LoopThread:
    """A daemon thread with an event loop. Safe to call from any thread but its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="streamer-lake", daemon=True)
        self._thread.start()

    @classmethod
    def opened_in(cls, opening: Coroutine[Any, Any, T]) -> tuple[T, Self]:
        """What `opening` returns, and the new thread in which it ran; without a thread left behind where it raises."""
        loop = cls()
        try:
            return loop.run(opening), loop
        except BaseException:
            loop.close()
            raise

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns or raises. An interrupted caller cancels it. Raises `Invalid` after `close`."""
        if self.closed:
            work.close()
            raise Invalid("the lake is closed", hint="open it again")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise Invalid("the lake was closed while it was read", hint="open it again") from None
        except BaseException:
            future.cancel()
            raise

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        """The items of an asynchronous iterator, one at a time."""
        try:
            while True:
                try:
                    item = self.run(_next(items))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            # A reader that stops early must not leave requests under way.
            if isinstance(items, AsyncGenerator) and not self.closed:
                self.run(_aclose(items))

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._loop.is_closed()

    def close(self) -> None:
        """End the loop and its thread. Idempotent."""
        if self.closed:
            return
        # Other threads may wait for work that never ends, such as the next live row.
        asyncio.run_coroutine_threadsafe(_end_others(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _end_others() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()


async def _aclose(items: AsyncGenerator[Any, None]) -> None:
    await items.aclose()


async def _next(items: AsyncIterator[T]) -> T:
    return await anext(items)
