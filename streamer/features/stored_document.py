"""Documents and the store: read and written in pieces, so that neither memory nor the event loop feels how big they are.

Knows keys, pieces and ETags. What may replace what is decided by `snapshots.py` and `merged.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from streamer.errors import Damaged, Denied, Invalid, NotFound, Unavailable
from streamer.features.document import CONTENT_TYPE, Head, Line, LineParser, head_of
from streamer.store.contract import Part, PutMode, Store
from streamer.workers import Workers

T = TypeVar("T")

PIECE_BYTES = 5 << 20
"""The least that S3 takes as a part. Larger ones would be copied with the event loop waiting for longer."""

_HEAD_BYTES = 64 << 10
_ABORT_SECONDS = 5.0


class Changed(Exception):
    """The document became another one while it was read."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The version of a document that is there. `head` is None where it cannot be read: it may be replaced."""

    etag: str
    head: Head | None


async def read_standing(store: Store, key: str) -> Standing | None:
    """Which version is there; None where there is none. The head may be that of a newer version than the ETag: whoever replaces
    by that ETag is then refused."""
    try:
        info = await store.head(key)
        length = _HEAD_BYTES
        while True:
            start = await store.get_range(key, 0, length)
            try:
                head = head_of(start, key=key, whole=len(start) < length)
            except Damaged:
                return Standing(info.etag, None)
            if head is not None:
                return Standing(info.etag, head)
            length *= 8
    except NotFound:
        return None


class DocumentReader:
    """One version of a document, read from its beginning to its end.

    Raises `NotFound`, `Damaged`, and `Changed` where another version came meanwhile: what was read before is void then.
    """

    def __init__(self, store: Store, key: str, workers: Workers, *, piece_bytes: int = PIECE_BYTES) -> None:
        self._store = store
        self._key = key
        self._workers = workers
        self._piece_bytes = piece_bytes
        self._parser = LineParser(key)

    @property
    def head(self) -> Head:
        """Only after the first lines came, or the end."""
        if self._parser.head is None:
            raise RuntimeError(f"{self._key}: nothing has been read yet")
        return self._parser.head

    async def lines(self, each: Callable[[list[Line]], T]) -> AsyncIterator[T]:
        """What `each`, in a worker, makes of the lines of every piece; at least once."""
        async for piece in read_pieces(self._store, self._key, self._piece_bytes):
            if lines := await self._workers.run(self._parser.feed, piece):
                yield await self._workers.run(each, lines)
        yield await self._workers.run(lambda: each(self._parser.close()))


async def read_pieces(store: Store, key: str, piece_bytes: int = PIECE_BYTES) -> AsyncIterator[bytes]:
    """One version of an object, in pieces. Raises `NotFound` and, at the end, `Changed` where it was not one version."""
    info = await store.head(key)
    if info.size_bytes <= piece_bytes:
        yield (await store.get(key)).body
        return
    for start in range(0, info.size_bytes, piece_bytes):
        yield await store.get_range(key, start, piece_bytes)
    if (await store.head(key)).etag != info.etag:
        raise Changed(key)


async def write_pieces(
    store: Store,
    key: str,
    pieces: AsyncIterator[bytes],
    workers: Workers,
    *,
    mode: PutMode,
    content_type: str = CONTENT_TYPE,
) -> str:
    """Write an object from pieces, in one PUT where it is small, else in parts; its ETag. Atomic, as `Store.put` is."""
    held: list[bytes | memoryview] = []
    held_bytes = 0
    upload = None
    parts: list[Part] = []
    try:
        async for piece in pieces:
            held.append(piece)
            held_bytes += len(piece)
            while held_bytes > PIECE_BYTES:
                upload = upload or await store.begin_upload(key, part_bytes=PIECE_BYTES, content_type=content_type)
                body, rest = await workers.run(_split, held)
                held, held_bytes = [rest], len(rest)
                parts.append(await store.put_part(upload, len(parts) + 1, body))
                del body
        if upload is None:
            return await store.put(key, await workers.run(b"".join, held), mode=mode, content_type=content_type)
        parts.append(await store.put_part(upload, len(parts) + 1, await workers.run(b"".join, held)))
        return await store.complete_upload(upload, parts, mode=mode)
    except BaseException:
        if upload is not None:
            # The first error is the one to hear of; what cannot be aborted now is found by `list_uploads`.
            with contextlib.suppress(Unavailable, Denied, Invalid, TimeoutError):
                async with asyncio.timeout(_ABORT_SECONDS):
                    await store.abort_upload(upload)
        raise


def _split(held: list[bytes | memoryview]) -> tuple[bytes, memoryview]:
    """The first `PIECE_BYTES`, copied once, and a view of the rest, which lies in the last piece as a rule."""
    last = memoryview(held[-1])
    room = PIECE_BYTES - sum(map(len, held[:-1]))
    if room < 0:
        joined = memoryview(b"".join(held))
        return bytes(joined[:PIECE_BYTES]), joined[PIECE_BYTES:]
    return b"".join([*held[:-1], last[:room]]), last[room:]


async def in_worker(workers: Workers, pieces: Iterator[bytes], *, block_bytes: int = 1 << 20) -> AsyncIterator[bytes]:
    """`pieces`, made in a worker, about `block_bytes` at a time."""

    def block() -> bytes:
        held: list[bytes] = []
        size = 0
        for piece in pieces:
            held.append(piece)
            size += len(piece)
            if size >= block_bytes:
                break
        return b"".join(held)

    while made := await workers.run(block):
        yield made
