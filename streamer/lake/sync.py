"""Copies a lake, or a part of it, to another place: what is not there, or is another, is put. Deletes only when asked to.

Directory to bucket, bucket to directory, either to its like. Resumable by nature: what arrived whole is not sent again.
Objects travel with their metadata, big ones in parts, and are read back and checked by SHA-256.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal

from streamer.errors import Conflict, Damaged, NotFound
from streamer.lake.parallel import in_parallel
from streamer.store.big_objects import ContentChanged, StoredContent, hash_content, put_content, same_content
from streamer.store.contract import ObjectInfo, Overwrite, Store
from streamer.workers import ThreadWorkers

COPIES_AT_ONCE = 8
BUDGET_BYTES = 128 << 20
BIG_BYTES = 16 << 20
"""More than this goes in parts, and is never in memory as a whole."""

Action = Literal["copy", "delete"]
Progress = Callable[[int, int, int], None]
"""Called with the objects done, those there are to do, and the bytes copied."""

# Data before what speaks of it, so that a copy that was broken off is a lake of the past and not one with holes.
_LAST = ("archive/", "_streamer/positions/", "models/registry/", "bundles/registry/", "state/")
_NEVER = ("_streamer/leases/",)


@dataclass(frozen=True, slots=True)
class Step:
    """One object that differs. `info` is the source's (the target's where it is to be deleted)."""

    action: Action
    info: ObjectInfo


@dataclass(slots=True)
class SyncReport:
    """What was done, or with a dry run would be."""

    copied: int = 0
    copied_bytes: int = 0
    deleted: int = 0
    same: int = 0
    steps: list[Step] = field(default_factory=list, repr=False)


async def plan(source: Store, target: Store, prefix: str, *, delete: bool, deep: bool = False) -> SyncReport:
    """Compare two places by their listings: keys, sizes, and times or ETags. `deep`: read both where these agree.

    The same is: as long, and either of one ETag or, between stores whose ETags mean different things, not older at the target.
    """
    report = SyncReport()
    theirs = aiter(_listed(target, prefix))
    there = await anext(theirs, None)
    async for info in _listed(source, prefix):
        while there is not None and there.key < info.key:
            if delete:
                report.steps.append(Step("delete", there))
            there = await anext(theirs, None)
        match = there if there is not None and there.key == info.key else None
        if match is not None:
            there = await anext(theirs, None)
        if match is not None and await _same(source, target, info, match, deep=deep):
            report.same += 1
        else:
            report.steps.append(Step("copy", info))
    while there is not None:
        if delete:
            report.steps.append(Step("delete", there))
        there = await anext(theirs, None)
    report.steps.sort(key=_phase)
    return report


async def carry_out(source: Store, target: Store, report: SyncReport, progress: Progress | None = None) -> None:
    """Do the steps of a plan, several at a time. An object that vanished meanwhile is left out.

    Raises `Damaged` where what arrived is not what was sent, `Conflict` where it changed meanwhile, `Unavailable`, `Denied`.
    """

    async def copy(step: Step) -> Step:
        if step.action == "delete":
            await target.delete(step.info.key)
            report.deleted += 1
        else:
            sent = await _copy(source, target, step.info)
            report.copied += 1 if sent is not None else 0
            report.copied_bytes += sent or 0
        return step

    done = 0
    for phase in range(3):
        steps = [step for step in report.steps if _phase(step) == phase]
        async with aclosing(in_parallel(steps, copy, _held, most=COPIES_AT_ONCE, budget_bytes=BUDGET_BYTES)) as finished:
            async for _ in finished:
                done += 1
                if progress is not None:
                    progress(done, len(report.steps), report.copied_bytes)


def _phase(step: Step) -> int:
    return 2 if step.action == "delete" else 1 if step.info.key.startswith(_LAST) else 0


def _held(step: Step) -> int:
    """Bytes of it that are in memory together: twice the object, or the parts and ranges under way."""
    return 2 * min(step.info.size_bytes, BIG_BYTES)


async def _copy(source: Store, target: Store, info: ObjectInfo) -> int | None:
    if info.size_bytes > BIG_BYTES:
        return await _copy_big(source, target, info)
    try:
        stored = await source.get(info.key)
    except NotFound:
        return None
    metadata = stored.info.metadata or {}
    etag = await target.put(info.key, stored.body, mode=Overwrite(), metadata=metadata)
    arrived = await target.get(info.key)
    if arrived.info.etag != etag:
        raise Conflict("somebody else wrote the object at the target", hint="run sync again", key=info.key)
    if hashlib.sha256(arrived.body).digest() != hashlib.sha256(stored.body).digest():
        raise Damaged("what arrived is not what was sent", hint="run sync again; look at the target's storage", key=info.key)
    return len(stored.body)


async def _copy_big(source: Store, target: Store, info: ObjectInfo) -> int | None:
    """As `_copy`. The source is read twice: what is not what was hashed never becomes an object."""
    workers = ThreadWorkers(1)
    try:
        found = await source.head(info.key)
        content = StoredContent(source, info.key, found.size_bytes)
        sha256 = await hash_content(content, workers)
        try:
            metadata = found.metadata or {}
            await put_content(target, info.key, content, sha256=sha256, mode=Overwrite(), workers=workers, metadata=metadata)
        except ContentChanged as error:
            raise Conflict("the object changed while it was copied", hint="run sync again", key=info.key) from error
        if not await same_content(target, info.key, size_bytes=found.size_bytes, sha256=sha256, workers=workers):
            hint = "run sync again; look at the target's storage"
            raise Damaged("what arrived is not what was sent", hint=hint, key=info.key)
    except NotFound:
        return None
    finally:
        workers.close()
    return found.size_bytes


async def _same_bytes(source: Store, target: Store, info: ObjectInfo) -> bool:
    if info.size_bytes <= BIG_BYTES:
        return (await source.get(info.key)).body == (await target.get(info.key)).body
    workers = ThreadWorkers(2)
    try:
        contents = [StoredContent(store, info.key, info.size_bytes) for store in (source, target)]
        one, other = await asyncio.gather(*(hash_content(content, workers) for content in contents))
        return one == other
    finally:
        workers.close()


async def _listed(store: Store, prefix: str) -> AsyncIterator[ObjectInfo]:
    async for info in store.list(prefix):
        if not info.key.startswith(_NEVER):
            yield info


async def _same(source: Store, target: Store, one: ObjectInfo, other: ObjectInfo, *, deep: bool) -> bool:
    if one.size_bytes != other.size_bytes:
        return False
    if deep:
        return await _same_bytes(source, target, one)
    return one.etag == other.etag or other.modified >= one.modified
