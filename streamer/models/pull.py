"""Fetching a version: into a temporary file beside the target, hashed, synced, and only then under its final name.

Whatever interrupts it, the target is the old file or the new one whole. Nothing here looks into a model, let alone unpickles
it: what the bytes mean is the engine's to decide, once they are the right ones.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from streamer.clock import Clock
from streamer.errors import Denied, Invalid, NotFound, Unavailable
from streamer.log_events import LogEvent
from streamer.models.cache import ModelCache
from streamer.models.plain_copy import missing
from streamer.models.refusals import NoSuchModel
from streamer.models.registries import Registries
from streamer.models.registry import Registry
from streamer.models.version import Version
from streamer.store.big_objects import Progress, StoredContent, read_content
from streamer.store.contract import Store
from streamer.workers import Workers

log = structlog.get_logger()

_ABANDONED_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class Pulled:
    """Where a version was put. `from_cache`: without fetching it."""

    name: str
    version: Version
    path: Path
    from_cache: bool


class Pulls:
    """Fetches versions out of one lake."""

    def __init__(self, store: Store, registries: Registries, clock: Clock, workers: Workers, cache: ModelCache | None) -> None:
        self._store = store
        self._registries = registries
        self._clock = clock
        self._workers = workers
        self._cache = cache

    async def pull(self, registry: Registry, version: Version, to: str, progress: Progress | None) -> Pulled:
        """Write `version` to the file `to`, or into the directory `to`. Raises `Damaged` where the lake has other bytes than
        the registry says, `Denied` and `Unavailable` also where the file cannot be written."""
        path = await self._workers.run(_target, to, registry.name.file)
        folder, name = os.path.split(path)
        temporary = os.path.join(folder, f".{name}.{self._clock.token()}.part")
        try:
            descriptor = await self._workers.run(_create, folder, name, temporary, self._clock.now().timestamp())
            try:
                from_cache = await self._fill(descriptor, registry, version, progress)
                await self._workers.run(os.fsync, descriptor)
            finally:
                os.close(descriptor)
            await self._workers.run(_publish, temporary, path)
        except OSError as error:
            kind = Denied if isinstance(error, PermissionError) else Unavailable
            hint = "free space, or grant this user rwx on the folder"
            raise kind(f"the file cannot be written: {error.strerror or error}", hint=hint, path=path) from error
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        if not from_cache:
            await self._keep(path, version)
        return Pulled(registry.name.stem, version, Path(path), from_cache)

    async def stream(self, registry: Registry, version: Version, progress: Progress | None = None) -> AsyncGenerator[bytes]:
        """The bytes of `version` in order. Raises `Damaged` at the end, or before it, where they are not those of the registry:
        until then nothing is proved."""
        key = registry.name.version_key(version.n)
        digest, size = hashlib.sha256(), 0
        try:
            content = StoredContent(self._store, key, version.size)
            if (there := (await self._store.head(key)).size_bytes) != version.size:
                raise missing(registry, version, f"its object has {there} bytes instead of {version.size}")
            async with aclosing(read_content(content, progress=progress)) as pieces:
                async for piece in pieces:
                    await self._workers.run(digest.update, piece)
                    size += len(piece)
                    yield piece
        except NotFound as error:
            now = await self._registries.find(registry.name.stem)
            if now is not None and now.was_pruned(version.n):
                hint = "pull another version, or an alias: what an alias points to is never pruned"
                named: dict[str, Any] = {registry.name.shelf.noun: registry.name.stem}
                raise NoSuchModel("the version was pruned", hint=hint, version=version.n, **named) from error
            raise missing(registry, version, "its object is gone") from error
        if size != version.size or digest.hexdigest() != version.sha256:
            raise missing(registry, version, "its bytes have another hash than when it was pushed")

    async def _fill(self, descriptor: int, registry: Registry, version: Version, progress: Progress | None) -> bool:
        """Whether the cache had it. The file holds the version when this returns."""
        if self._cache is not None:
            if await self._workers.run(self._cache.copy_to, version.sha256, descriptor):
                return True
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.ftruncate(descriptor, 0)
        async with aclosing(self.stream(registry, version, progress)) as pieces:
            async for piece in pieces:
                await self._workers.run(_write, descriptor, piece)
        return False

    async def _keep(self, path: str, version: Version) -> None:
        if self._cache is None:
            return
        try:
            await self._workers.run(self._cache.keep, path, version.sha256, self._clock.token())
        except OSError as error:
            # A read-only home is no reason to be without a model.
            log.warning(LogEvent.MODEL_CACHE_UNUSABLE, path=self._cache.folder, error=str(error))


class ModelStream:
    """The bytes of one version, piece by piece: `async for piece in stream`. `version` tells which.

    The hash is checked at the end: a reader that acts on the bytes before the last one has come trusts them unproved.
    """

    def __init__(self, version: Version, pieces: AsyncGenerator[bytes]) -> None:
        self.version = version
        self._pieces = pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces

    async def read(self) -> bytes:
        """All of it. Raises `Damaged` where it is not what was pushed."""
        return b"".join([piece async for piece in self._pieces])

    async def close(self) -> None:
        """Stop reading."""
        await self._pieces.aclose()


def _target(to: str, file: str) -> str:
    return os.path.abspath(os.path.join(to, file) if to.endswith(os.sep) or os.path.isdir(to) else to)


def _create(folder: str, name: str, temporary: str, now: float) -> int:
    """The temporary file, open; those that killed processes left beside it go."""
    if os.path.isdir(os.path.join(folder, name)):
        raise Invalid("the target is a directory", hint="end it with / to have the file put into it", path=folder)
    os.makedirs(folder, exist_ok=True)
    for entry in os.scandir(folder):
        if entry.name.startswith(f".{name}.") and entry.name.endswith(".part"):
            with contextlib.suppress(OSError):
                if now - entry.stat().st_mtime > _ABANDONED_SECONDS:
                    os.unlink(entry.path)
    return os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)


def _write(descriptor: int, piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _publish(temporary: str, path: str) -> None:
    os.replace(temporary, path)
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
