"""Finds out by trying whether a store honours conditional writes: what exactly-once rests on.

A server that does not know `If-None-Match` or `If-Match` answers 200 and overwrites. No version number tells; only a write
that should have been refused does.
"""

from __future__ import annotations

import asyncio

from streamer.clock import Clock
from streamer.errors import Conflict, Denied, Invalid, Unavailable
from streamer.store.contract import Create, Replace, Store

PROBES = "_streamer/probe/"


async def probe_conditional_writes(store: Store, clock: Clock) -> bool:
    """Whether `store` refuses a second create, a stale replace, and one of two creates that race.

    Works on two new keys under `_streamer/probe/` and deletes them. Raises what the store raises: `Denied` without
    permission to write, `Unavailable`, and `OutcomeUnknown` where an answer was lost.
    """
    if not store.conditional_writes:
        return False
    single, raced = (f"{PROBES}{clock.token()}" for _ in range(2))
    try:
        kept = await _refuses_when_it_should(store, single) and await _lets_one_of_two_win(store, raced)
        # A store that was told 501 and may do without has looked before it wrote, which only looks like a condition.
        return kept and store.conditional_writes
    except Invalid:
        # 501: the server knows the header and says that it cannot.
        return False
    finally:
        for key in (single, raced):
            try:
                await store.delete(key)
            except Denied:
                # Lakes that nobody may delete from are a good idea; a few bytes under a hidden name stay behind.
                continue


async def _refuses_when_it_should(store: Store, key: str) -> bool:
    try:
        first = await store.put(key, b"first", mode=Create())
    except Conflict:
        # Nobody else can know this key: our own PUT was sent twice, and the second one refused.
        first = (await store.head(key)).etag
    if await _accepts(store, key, b"again", Create()):
        return False
    second = await store.put(key, b"second", mode=Replace(first))
    if await _accepts(store, key, b"stale", Replace(first)):
        return False
    found = await store.get(key)
    return found.body == b"second" and found.info.etag == second


async def _accepts(store: Store, key: str, body: bytes, mode: Create | Replace) -> bool:
    try:
        await store.put(key, body, mode=mode)
    except Conflict:
        return False
    return True


async def _lets_one_of_two_win(store: Store, key: str) -> bool:
    bodies = (b"one", b"two")
    outcomes = await asyncio.gather(*(store.put(key, body, mode=Create()) for body in bodies), return_exceptions=True)
    for outcome in outcomes:
        # S3 may answer 409 to the one that lost while the other was under way.
        if isinstance(outcome, BaseException) and not isinstance(outcome, Conflict | Unavailable):
            raise outcome
    winners = [body for body, outcome in zip(bodies, outcomes, strict=True) if not isinstance(outcome, BaseException)]
    if len(winners) > 1:
        return False
    found = (await store.get(key)).body
    return found in winners if winners else found in bodies
