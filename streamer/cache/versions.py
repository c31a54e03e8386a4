"""Listed versions of objects, read through a cache.

The ETag is part of an entry's name, so a changed object is never served stale, and none needs a question to the store.
"""

from __future__ import annotations

import hashlib

from streamer.cache.tiers import TieredCache
from streamer.store.contract import ObjectInfo, Store


class CachedVersions:
    """Reads from the cache, else from `store`, and keeps what came.

    The bytes of a GET are kept only if the store says that they are the version that was listed.
    """

    def __init__(self, store: Store, cache: TieredCache) -> None:
        self._store = store
        self._cache = cache

    async def read(self, info: ObjectInfo) -> bytes:
        """All of it. Raises `NotFound`."""
        name = f"{self._store.url}\n{info.key}\n{info.etag}"
        if (body := await self._cache.get(name)) is not None:
            return body
        stored = await self._store.get(info.key)
        if stored.info.etag == info.etag or hashlib.sha256(stored.body).hexdigest() == info.etag.removeprefix("sha256-"):
            await self._cache.put(name, stored.body)
        return stored.body

    async def read_range(self, info: ObjectInfo, start: int, length: int) -> bytes:
        """Some of it. Raises `NotFound`."""
        name = f"{self._store.url}\n{info.key}\n{info.etag}\n{start}+{length}"
        if (part := await self._cache.get(name)) is not None:
            return part
        part = await self._store.get_range(info.key, start, length)
        await self._cache.put(name, part)
        return part
