"""Objects of any size through a store, in bounded memory: in parts upwards, in ranges downwards, a few under way at a time.

What is sent is hashed on its way: content that is not what was promised, because a file changed meanwhile, never becomes an
object. Knows nothing of models; what a conflict means is the caller's to find out by reading back.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Protocol

from streamer.errors import Denied, Invalid, NotFound, Unavailable
from streamer.store.contract import NO_METADATA, Part, PutMode, Store
from streamer.workers import Workers

PART_BYTES = 5 << 20  # the least that S3 takes
PARTS_MAX = 10_000  # of S3
RANGE_BYTES = 4 << 20
UNDER_WAY = 2
"""Parts or ranges at a time: with PART_BYTES 10 MiB, and twice as much again where the client copies."""

_ABORT_SECONDS = 5.0

Progress = Callable[[int, int], None]
"""Called with the bytes that arrived and the bytes in all."""


class ContentChanged(Invalid):
    """The content is not the one that was hashed before: it changed meanwhile. Nothing was stored."""


class Content(Protocol):
    """Bytes that can be read at any place."""

    @property
    def size_bytes(self) -> int:
        """How many there are."""
        ...

    async def read(self, start: int, length: int) -> bytes:
        """`length` bytes from `start`; fewer where the content ends."""
        ...


class StoredContent:
    """An object of a store as content."""

    def __init__(self, store: Store, key: str, size_bytes: int) -> None:
        self._store = store
        self._key = key
        self._size_bytes = size_bytes

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    async def read(self, start: int, length: int) -> bytes:
        return await self._store.get_range(self._key, start, length)


async def put_content(
    store: Store,
    key: str,
    content: Content,
    *,
    sha256: str,
    mode: PutMode,
    workers: Workers,
    metadata: Mapping[str, str] = NO_METADATA,
    progress: Progress | None = None,
    part_bytes: int | None = None,
) -> None:
    """Write the whole object, if and only if what is read hashes to `sha256`. Atomic, as `Store.put` is.

    Content of up to `part_bytes` (PART_BYTES) goes in one PUT, more in parts, `UNDER_WAY` at a time. Raises `ContentChanged`
    where the content is another by now, and `Conflict`, `OutcomeUnknown` and the rest as `Store.put` does. However it fails,
    the parts are aborted, unless the process dies.
    """
    part_bytes = part_bytes or PART_BYTES
    if content.size_bytes <= part_bytes:
        body = await content.read(0, content.size_bytes + 1)
        _demand(key, sha256, content, (await workers.run(hashlib.sha256, body)).hexdigest(), len(body))
        await store.put(key, body, mode=mode, metadata=metadata)
        if progress is not None:
            progress(len(body), content.size_bytes)
        return
    part_bytes = max(part_bytes, -(-content.size_bytes // PARTS_MAX))
    upload = await store.begin_upload(key, part_bytes=part_bytes, metadata=metadata)
    under_way: deque[asyncio.Task[Part]] = deque()
    parts: list[Part] = []
    arrived_bytes = sent_bytes = 0

    async def wait_for_one() -> None:
        nonlocal arrived_bytes
        part = await under_way.popleft()
        parts.append(part)
        arrived_bytes += part.size_bytes
        if progress is not None:
            progress(arrived_bytes, content.size_bytes)

    try:
        digest = hashlib.sha256()
        while body := await content.read(sent_bytes, part_bytes):
            await workers.run(digest.update, body)
            sent_bytes += len(body)
            if sent_bytes > content.size_bytes:
                break
            number = -(-sent_bytes // part_bytes)
            under_way.append(asyncio.create_task(store.put_part(upload, number, body), name=f"part {number} of {key}"))
            del body
            if len(under_way) >= UNDER_WAY:
                await wait_for_one()
        while under_way:
            await wait_for_one()
        _demand(key, sha256, content, digest.hexdigest(), sent_bytes)
        await store.complete_upload(upload, parts, mode=mode)
    except BaseException:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        # The first error is the one to hear of, and a process that stops cannot wait. What stays is found by `list_uploads`.
        with contextlib.suppress(Unavailable, Denied, Invalid, TimeoutError):
            async with asyncio.timeout(_ABORT_SECONDS):
                await store.abort_upload(upload)
        raise


async def read_content(
    content: Content, *, piece_bytes: int | None = None, under_way: int = UNDER_WAY, progress: Progress | None = None
) -> AsyncGenerator[bytes]:
    """All of `content` in order, in pieces of `piece_bytes` (RANGE_BYTES), `under_way` of them read ahead. Fewer bytes where
    it is shorter than it says.
    """
    piece_bytes = piece_bytes or RANGE_BYTES
    waiting: deque[asyncio.Task[bytes]] = deque()
    starts = iter(range(0, content.size_bytes, piece_bytes))
    done_bytes = 0
    try:
        while True:
            while len(waiting) < under_way and (start := next(starts, None)) is not None:
                length = min(piece_bytes, content.size_bytes - start)
                waiting.append(asyncio.create_task(content.read(start, length)))
            if not waiting:
                return
            piece = await waiting.popleft()
            done_bytes += len(piece)
            yield piece
            if progress is not None:
                progress(done_bytes, content.size_bytes)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def hash_content(content: Content, workers: Workers) -> str:
    """The SHA-256 of all of it, in hexadecimal digits."""
    digest = hashlib.sha256()
    async with aclosing(read_content(content)) as pieces:
        async for piece in pieces:
            await workers.run(digest.update, piece)
    return digest.hexdigest()


async def same_content(store: Store, key: str, *, size_bytes: int, sha256: str, workers: Workers) -> bool | None:
    """Whether the object has exactly these bytes; None where it is not there. It is read only if the size fits."""
    try:
        if (await store.head(key)).size_bytes != size_bytes:
            return False
        return await hash_content(StoredContent(store, key, size_bytes), workers) == sha256
    except NotFound:
        return None


def _demand(key: str, sha256: str, content: Content, found: str, read_bytes: int) -> None:
    if found != sha256 or read_bytes != content.size_bytes:
        raise ContentChanged("the content changed while it was sent", hint="wait until it is complete, then again", key=key)
