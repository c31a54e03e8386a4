"""Time and chance under a test's control: a clock moved by hand, and an event loop whose time is virtual.

`ManualClock` stands still until `advance`. `run_virtual` runs a coroutine on a loop that jumps to the next timer when
nothing else is ready: an hour of retries takes no time, the same seed gives the same run, and a run in which nobody can
ever go on raises `Deadlock` instead of hanging. Neither may be used with threads: pass `InlineWorkers`.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import selectors
from collections.abc import Awaitable, Callable
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH = datetime(2026, 1, 3, 12, tzinfo=UTC)
# Not zero, so that code which takes 0.0 for "never" is found out.
FIRST_SECOND = 1_000.0


class _Chance:
    """Tokens and jitter from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def token(self) -> str:
        return f"{self.random.getrandbits(128):032x}"

    def jitter(self, seconds: float) -> float:
        return seconds * (0.5 + self.random.random() / 2)


class ManualClock(_Chance):
    """A `Clock` that stands still until `advance`. `random` is the seeded generator behind its tokens."""

    def __init__(self, *, seed: int = 0, start: datetime = EPOCH) -> None:
        super().__init__(seed)
        self._start = start
        self._seconds = FIRST_SECOND
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        return self._seconds

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._seconds - FIRST_SECOND)

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        wake = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._seconds + seconds, next(self._order), wake))
        await wake

    @property
    def sleepers(self) -> int:
        """How many `sleep` calls are waiting."""
        return sum(not wake.done() for _, _, wake in self._sleepers)

    async def advance(self, seconds: float, *, turns: int = 20) -> None:
        """Let `seconds` pass. Sleepers wake in order, each at its own time; after each the loop gets `turns` turns,
        so that one who sleeps again within the span wakes again."""
        until = self._seconds + seconds
        while self._sleepers and self._sleepers[0][0] <= until:
            self._seconds, _, wake = heapq.heappop(self._sleepers)
            if not wake.done():
                wake.set_result(None)
                await _turns(turns)
        self._seconds = until
        await _turns(turns)


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Deadlock(RuntimeError):
    """Nothing is ready and no timer is set: without threads nobody can ever go on."""


# Sets of tasks and futures (`asyncio.wait`, `TaskGroup`) are walked in the order of their hashes. The default hash is an
# address, so that the order in which tasks are cancelled would differ from one run to the next.
class _Task(asyncio.Task[Any]):
    number = 0

    def __hash__(self) -> int:
        return self.number


class _Future(asyncio.Future[Any]):
    number = 0

    def __hash__(self) -> int:
        return self.number


class _JumpingSelector(selectors.DefaultSelector):
    """Moves the loop's time on where a real selector would wait."""

    loop: VirtualTimeLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise Deadlock(f"nothing is ready and no timer is set; waiting: {self.loop.waiting()}")
        self.loop.jump(max(0.0, timeout))
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time()` moves only when nothing is ready, and then to the next timer."""

    def __init__(self) -> None:
        selector = _JumpingSelector()
        selector.loop = self
        self._virtual_seconds = FIRST_SECOND
        self._numbers = itertools.count(1)
        super().__init__(selector)
        self.set_task_factory(self._numbered_task)

    def time(self) -> float:
        return self._virtual_seconds

    def jump(self, seconds: float) -> None:
        """Move time on, with nothing woken yet."""
        self._virtual_seconds += seconds

    def create_future(self) -> asyncio.Future[Any]:
        future = _Future(loop=self)
        future.number = next(self._numbers)
        return future

    def _numbered_task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, context: Context | None = None) -> _Task:
        task = _Task(coroutine, loop=loop, context=context)
        task.number = next(self._numbers)
        return task

    def waiting(self) -> str:
        """Where every unfinished task stands, for the message of a deadlock."""
        stands = []
        for task in sorted(asyncio.all_tasks(self), key=lambda task: task.get_name()):
            frames = task.get_stack()
            where = ", ".join(f"{frame.f_code.co_qualname}:{frame.f_lineno}" for frame in frames) or "?"
            stands.append(f"{task.get_name()} at {where}")
        return "; ".join(stands) or "no task"


class VirtualClock(_Chance):
    """A `Clock` over the loop's own time. `random` is the seeded generator behind its tokens."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, seed: int = 0, start: datetime = EPOCH) -> None:
        super().__init__(seed)
        self._loop = loop
        self._start = start

    def monotonic(self) -> float:
        return self._loop.time()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._loop.time() - FIRST_SECOND)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def run_virtual(main: Callable[[VirtualClock], Awaitable[T]], *, seed: int = 0, start: datetime = EPOCH) -> T:
    """What `main(clock)` returns or raises, run on a fresh `VirtualTimeLoop`.

    Raises `Deadlock` where nobody can go on. Two runs with the same seed take the same steps, as long as `main` draws
    chance from the clock alone and never walks a set of strings (their hashes differ from process to process).
    """

    # Not `asyncio.Runner`, which would leave the thread without its own current loop.
    loop = VirtualTimeLoop()
    try:
        return loop.run_until_complete(_await(main(VirtualClock(loop, seed=seed, start=start))))
    finally:
        try:
            _cancel_all(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()


async def _await(what: Awaitable[T]) -> T:
    return await what


def _cancel_all(loop: VirtualTimeLoop) -> None:
    tasks = sorted(asyncio.all_tasks(loop), key=hash)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
