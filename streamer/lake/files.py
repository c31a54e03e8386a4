"""Objects of the lake under their keys: what `AsyncLake` and `Lake` do with single files, and with tables by their suffix.

What exactly-once rests on (`raw/`, `dead-letters/`, positions, layouts, certificates) is not changed from here by mistake.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from streamer.cache.versions import CachedVersions
from streamer.errors import Invalid, NotFound
from streamer.keys import CERTIFICATES, DEAD_LETTERS, RAW
from streamer.lake.loop_thread import LoopThread
from streamer.lake.reader import Reader
from streamer.lake.stats import LakeStats, count
from streamer.lake.table_files import CONTENT_TYPES, as_table, decode_table, encode_table, table_suffix
from streamer.store.contract import NO_METADATA, Create, Overwrite, Store
from streamer.store.presigned import Presigner

KEPT = (RAW, DEAD_LETTERS, CERTIFICATES, "_streamer/")
"""What the daemon alone writes."""

EXPIRES_SECONDS_MAX = 7 * 86_400  # of S3


class AsyncFiles:
    """Single objects. Every method raises `Unavailable` and `Denied`."""

    _store: Store
    _objects: CachedVersions | None
    _reader: Reader
    _presigner: Presigner | None

    async def exists(self, key: str) -> bool:
        """Whether there is an object `key`."""
        try:
            await self._store.head(key)
        except NotFound:
            return False
        return True

    async def list_keys(self, prefix: str = "") -> list[str]:
        """The keys that start with `prefix`, ascending."""
        return [item.key async for item in self._store.list(prefix)]

    async def get(self, key: str) -> bytes:
        """The object's bytes as they are now. Of one that this machine keeps only the ETag is asked for. Raises `NotFound`."""
        return await self._objects.read_newest(key) if self._objects is not None else (await self._store.get(key)).body

    async def put(
        self,
        key: str,
        body: bytes,
        *,
        overwrite: bool = True,
        metadata: Mapping[str, str] = NO_METADATA,
        content_type: str = "application/octet-stream",
        force: bool = False,
    ) -> str:
        """Write an object, and return its ETag. A reader sees the old one or the new one.

        overwrite: False refuses (`Conflict`) where one is there. metadata: lower-case ASCII names, ASCII values. Raises
        `Invalid` for a key that is streamer's own, unless `force`.
        """
        _check_ours(key, force)
        mode = Overwrite() if overwrite else Create()
        try:
            return await self._store.put(key, body, mode=mode, metadata=metadata, content_type=content_type)
        finally:
            await self._forget(key)

    async def delete(self, key: str, *, force: bool = False) -> None:
        """Remove an object; none there is no error. Raises `Invalid` for a key that is streamer's own, unless `force`."""
        _check_ours(key, force)
        try:
            await self._store.delete(key)
        finally:
            await self._forget(key)

    async def write_table(self, key: str, rows: Any, *, overwrite: bool = True, force: bool = False) -> str:
        """Write rows as Parquet, CSV or JSON, as the key ends (`.parquet`, `.csv`, `.json`, `.ndjson`, text also with `.gz`).

        rows: an Arrow table, a pandas or Polars DataFrame, a list of dictionaries, or what a read of the lake gave. Returns the
        ETag. Raises `Invalid` for another ending, for what is no table, and as `put`.
        """
        suffix = table_suffix(key)
        _check_ours(key, force)
        body = await self._reader.workers.run(lambda: encode_table(as_table(rows), suffix))
        kind = "application/gzip" if suffix.endswith(".gz") else CONTENT_TYPES[suffix]
        return await self.put(key, body, overwrite=overwrite, content_type=kind, force=force)

    async def read_table(self, key: str) -> pa.Table:
        """The rows of a file, as its key ends. Raises `NotFound`, `Invalid` for another ending, `Damaged` where it is none."""
        suffix = table_suffix(key)
        body = await self.get(key)
        return await self._reader.workers.run(lambda: decode_table(body, suffix, key=key))

    async def stats(self, prefix: str = "") -> LakeStats:
        """Objects and bytes below `prefix`, by part of the lake, stream, day and storage class. Lists, and reads no object."""
        return await count(self._store, prefix)

    async def presign(self, key: str, expires_seconds: int = 3600) -> str:
        """A web address from which anybody can read the object for a while (a week at most). Keep it as a secret.

        Raises `Invalid` where the lake is a directory, `NotFound` where there is no such object.
        """
        if not 1 <= expires_seconds <= EXPIRES_SECONDS_MAX:
            raise Invalid(f"{expires_seconds} seconds", hint=f"an address is good for 1 to {EXPIRES_SECONDS_MAX} seconds")
        if self._presigner is None:
            raise Invalid("a directory has no web addresses", hint="use `get`", lake=self._store.url)
        await self._store.head(key)
        return await self._presigner.presign(key, expires_seconds)

    async def _forget(self, key: str) -> None:
        if self._objects is not None:
            await self._objects.forget(key)


class Files:
    """Single objects, for synchronous code. Every method raises `Unavailable` and `Denied`."""

    _inner: AsyncFiles
    _loop: LoopThread

    def exists(self, key: str) -> bool:
        """Whether there is an object `key`."""
        return self._loop.run(self._inner.exists(key))

    def list_keys(self, prefix: str = "") -> list[str]:
        """The keys that start with `prefix`, ascending."""
        return self._loop.run(self._inner.list_keys(prefix))

    def get(self, key: str) -> bytes:
        """The object's bytes. Raises `NotFound`."""
        return self._loop.run(self._inner.get(key))

    def put(
        self,
        key: str,
        body: bytes,
        *,
        overwrite: bool = True,
        metadata: Mapping[str, str] = NO_METADATA,
        content_type: str = "application/octet-stream",
        force: bool = False,
    ) -> str:
        """Write an object, and return its ETag. See `AsyncLake.put`."""
        return self._loop.run(
            self._inner.put(key, body, overwrite=overwrite, metadata=metadata, content_type=content_type, force=force)
        )

    def delete(self, key: str, *, force: bool = False) -> None:
        """Remove an object; none there is no error. Raises `Invalid` for a key that is streamer's own, unless `force`."""
        self._loop.run(self._inner.delete(key, force=force))

    def write_table(self, key: str, rows: Any, *, overwrite: bool = True, force: bool = False) -> str:
        """Write rows as Parquet, CSV or JSON, as the key ends. See `AsyncLake.write_table`."""
        # Rows that are still to be read need this very loop, so they are read before it is busy with them.
        return self._loop.run(self._inner.write_table(key, as_table(rows), overwrite=overwrite, force=force))

    def read_table(self, key: str) -> pa.Table:
        """The rows of a file, as its key ends. Raises `NotFound`, `Invalid` for another ending, `Damaged` where it is none."""
        return self._loop.run(self._inner.read_table(key))

    def stats(self, prefix: str = "") -> LakeStats:
        """Objects and bytes below `prefix`, by part of the lake, stream, day and storage class. Lists, and reads no object."""
        return self._loop.run(self._inner.stats(prefix))

    def presign(self, key: str, expires_seconds: int = 3600) -> str:
        """A web address from which anybody can read the object for a while. See `AsyncLake.presign`."""
        return self._loop.run(self._inner.presign(key, expires_seconds))


def _check_ours(key: str, force: bool) -> None:
    if not force and key.startswith(KEPT):
        hint = "the daemon writes it, and `verify` will miss it; with force=True it is done all the same"
        raise Invalid("this key is streamer's own", hint=hint, key=key)
