"""Tags raw files whose rows a proven archive holds as well, so that a lifecycle rule may move them out of reach.

A rule knows ages and tags and no certificates. The tag is set only where retention could delete the file: its folder names one
day, the certificate lists it, and the archive was read just before and found to be what was certified.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Protocol, runtime_checkable

from streamer.archive.certificates import certified_days, read_certificate
from streamer.archive.day import end_of
from streamer.archive.inputs import Stock
from streamer.archive.proof import prove_outputs
from streamer.archive.removed import read_entries
from streamer.archive.retention import certain
from streamer.clock import Clock
from streamer.errors import Damaged
from streamer.store.contract import Store
from streamer.workers import Workers

CERTIFIED: Mapping[str, str] = {"streamer": "certified"}
_AT_ONCE = 16


@runtime_checkable
class Tagger(Protocol):
    """A store whose objects can be tagged."""

    async def tag(self, key: str, tags: Mapping[str, str]) -> None:
        """Set these tags, and take away all others. Raises `NotFound`, `Denied`, `Unavailable`."""
        ...


@dataclass(frozen=True, slots=True)
class MarkedDay:
    """What became of one day. problem: why none of its files was tagged; None where they were (or would be)."""

    day: date
    files: int
    bytes: int
    problem: Damaged | None = None


async def mark_certified(
    store: Store, tagger: Tagger, stock: Stock, clock: Clock, workers: Workers, *, older_seconds: float,
    within_seconds: float | None = None, dry_run: bool = False,
) -> AsyncIterator[MarkedDay]:  # fmt: skip
    """Tag the raw files of certified days that ended `older_seconds` ago or more, and, with `within_seconds`, no longer before
    that. The oldest first. Raises `Denied` and `Unavailable`."""
    now = clock.now()
    async for day in certified_days(store):
        age = now - end_of(day)
        recent = within_seconds is None or age <= timedelta(seconds=older_seconds + within_seconds)
        if age < timedelta(seconds=older_seconds) or not recent:
            continue
        stored = await read_certificate(store, day)
        if stored is None or not stored.certificate.complete or stored.certificate.publishing:
            continue
        keys, size_bytes = [], 0
        for name, part in stored.certificate.streams.items():
            if files := await workers.run(stock.raw_files, name, day):
                listed = {entry.key: entry for entry in await read_entries(store, part.inputs)}
                sure = [file for file in files if certain(file, listed, stock, day)]
                keys += [file.key for file in sure]
                size_bytes += sum(file.size_bytes for file in sure)
        if not keys:
            continue
        try:
            if not dry_run:
                await prove_outputs(store, stored.certificate, workers)
                await _tag_all(tagger, keys)
        except Damaged as error:
            yield MarkedDay(day, 0, 0, error)
            continue
        yield MarkedDay(day, len(keys), size_bytes)


async def _tag_all(tagger: Tagger, keys: list[str]) -> None:
    slots = asyncio.Semaphore(_AT_ONCE)

    async def tag(key: str) -> None:
        async with slots:
            await tagger.tag(key, CERTIFIED)

    async with asyncio.TaskGroup() as group:
        for key in keys:
            group.create_task(tag(key))
