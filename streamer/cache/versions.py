"""Versions of objects, read through a cache.

The ETag is part of an entry's name, so a changed object is never served stale, and a version that was listed needs no question
to the store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

from streamer.cache.tiers import TieredCache
from streamer.errors import NotFound
from streamer.keys import BUNDLES, MODEL_VERSIONS
from streamer.store.contract import ObjectInfo, Store

IsCurrent = Callable[[ObjectInfo], Awaitable[bool]]


class CachedVersions:
    """Reads from the cache, else from `store`, and keeps what came, if the store says that it is the version asked for."""

    def __init__(self, store: Store, cache: TieredCache, is_current: IsCurrent | None = None) -> None:
        """is_current: whether what was read of a listed version just now was of it; None: nothing is ever written over."""
        self._store = store
        self._cache = cache
        self._is_current = is_current

    async def read(self, info: ObjectInfo) -> bytes:
        """All of a version that was listed. Raises `NotFound`."""
        name = self._name(info.key, info.etag)
        if (body := await self._cache.get(name)) is not None:
            return body
        stored = await self._store.get(info.key)
        if stored.info.etag == info.etag or hashlib.sha256(stored.body).hexdigest() == info.etag.removeprefix("sha256-"):
            await self._cache.put(name, stored.body)
        return stored.body

    async def read_range(self, info: ObjectInfo, start: int, length: int) -> bytes:
        """Some of it. Raises `NotFound`, also where another version is there by now."""
        name = f"{self._name(info.key, info.etag)}\n{start}+{length}"
        if (part := await self._cache.get(name)) is not None:
            return part
        part = await self._store.get_range(info.key, start, length)
        # A part carries no version: one of the object's next life would stay here under the name of this one.
        if self._is_current is not None and not await self._is_current(info):
            raise NotFound("another version of the object is there by now", key=info.key)
        await self._cache.put(name, part)
        return part

    async def read_newest(self, key: str) -> bytes:
        """The object as it is now: of one that is kept here the store is asked for its ETag alone. A version of a model never
        changes, and needs no question. Raises `NotFound`."""
        known = await self._cache.get(self._newest(key), counted=False)
        if known is not None and await self._is_newest(key, known.decode()):
            if (body := await self._cache.get(self._name(key, known.decode()))) is not None:
                return body
        else:
            self._cache.missed()
        stored = await self._store.get(key)
        await self._cache.put(self._name(key, stored.info.etag), stored.body)
        await self._cache.put(self._newest(key), stored.info.etag.encode())
        return stored.body

    async def _is_newest(self, key: str, etag: str) -> bool:
        if key.startswith((MODEL_VERSIONS, f"{BUNDLES}versions/")):
            return True
        try:
            return (await self._store.head(key)).etag == etag
        except NotFound:
            await self.forget(key)
            raise

    async def forget(self, key: str) -> None:
        """The object was written or removed: what is kept of it is not the newest."""
        await self._cache.remove(self._newest(key))

    def _name(self, key: str, etag: str) -> str:
        return f"{self._store.url}\n{key}\n{etag}"

    def _newest(self, key: str) -> str:
        return f"{self._store.url}\n{key}\n"
