"""Several reads at a time, in bounded memory: what bounds them is the bytes under way, not only how many there are."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


async def in_parallel(
    items: Iterable[S],
    read: Callable[[S], Awaitable[T]],
    size_of: Callable[[S], int],
    *,
    most: int,
    budget_bytes: int,
) -> AsyncGenerator[T]:
    """What `read` returns for every item, as it comes, in no promised order.

    At most `most` under way, and together at most `budget_bytes` by `size_of`; one that is greater goes alone. The first error
    ends all of them. A result that nobody took yet counts as under way.
    """
    waiting = deque(items)
    under_way: dict[asyncio.Task[T], int] = {}
    try:
        while waiting or under_way:
            while waiting and len(under_way) < most:
                size = size_of(waiting[0])
                if under_way and sum(under_way.values()) + size > budget_bytes:
                    break
                under_way[asyncio.create_task(_run(read, waiting.popleft()), name="read")] = size
            done, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                result = task.result()
                yield result
                del under_way[task]
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


async def in_order(
    items: Iterable[S],
    read: Callable[[S], Awaitable[T]],
    size_of: Callable[[S], int],
    *,
    most: int,
    budget_bytes: int,
) -> AsyncGenerator[T]:
    """As `in_parallel`, but in the order of the items: one that takes long holds up those behind it."""
    waiting = deque(items)
    under_way: deque[tuple[asyncio.Task[T], int]] = deque()
    try:
        while waiting or under_way:
            while waiting and len(under_way) < most:
                size = size_of(waiting[0])
                if under_way and sum(known for _, known in under_way) + size > budget_bytes:
                    break
                under_way.append((asyncio.create_task(_run(read, waiting.popleft()), name="read"), size))
            result = await under_way[0][0]
            yield result
            under_way.popleft()
    finally:
        for task, _ in under_way:
            task.cancel()
        await asyncio.gather(*(task for task, _ in under_way), return_exceptions=True)


async def _run(read: Callable[[S], Awaitable[T]], item: S) -> T:
    return await read(item)
