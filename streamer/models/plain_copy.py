"""The plain copy `models/{file}`: what `latest` points to, for clients that know nothing but a key.

It follows the registry and is never the truth. Each write is a compare-and-swap over the copy that was seen before the registry
was read, and the registry is read again after it: whoever is last repairs, so that after any race the copy is the latest one.
"""

from __future__ import annotations

from streamer.clock import Clock, backoff_seconds
from streamer.errors import Conflict, Damaged, NotFound, OutcomeUnknown, Unavailable
from streamer.models.local_file import LocalFile
from streamer.models.registries import Registries
from streamer.models.registry import LATEST, Registry
from streamer.models.version import Version
from streamer.store.big_objects import ContentChanged, Progress, StoredContent, put_content
from streamer.store.contract import Create, ObjectInfo, Replace, Store
from streamer.workers import Workers

ROUNDS_MAX = 200
UNANSWERED_MAX = 3
HASH = "sha256"
NUMBER = "model_version"


class PlainCopies:
    """Keeps the plain copies of one lake."""

    def __init__(self, store: Store, registries: Registries, clock: Clock, workers: Workers) -> None:
        self._store = store
        self._registries = registries
        self._clock = clock
        self._workers = workers

    async def settle(
        self, stem: str, local: LocalFile | None = None, sha256: str = "", progress: Progress | None = None
    ) -> bool:
        """Make the copy what `latest` points to; whether it had to be written. `local`, whose hash is `sha256`, saves reading
        the version from the store.

        Raises `Damaged` where the version's object is not there.
        """
        wrote, unanswered = False, 0
        for attempt in range(ROUNDS_MAX):
            # In this order: a copy that was written after the registry was read is never overwritten by what was read.
            registry, there = await self._look(stem)
            if registry is None or LATEST not in registry.aliases:
                return wrote
            version = registry.resolve(LATEST)
            if there is not None and is_copy_of(there, version):
                return wrote
            source = local if version.sha256 == sha256 else None
            try:
                await self._write(registry, version, there, source, progress)
                wrote = True
            except (Conflict, OutcomeUnknown) as error:
                unanswered += isinstance(error, OutcomeUnknown)
                if unanswered >= UNANSWERED_MAX:
                    raise
                await self._clock.sleep(self._clock.jitter(backoff_seconds(attempt, first=0.01, most=2.0)))
            except ContentChanged:
                # The trainer writes into the file we hold open; the version is safe in the lake.
                local = None
        raise Unavailable("the plain copy cannot be written", hint="look at the store", **{self._registries.shelf.noun: stem})

    async def _look(self, stem: str) -> tuple[Registry | None, ObjectInfo | None]:
        registry = await self._registries.find(stem)
        if registry is None:
            return None, None
        try:
            there = await self._store.head(registry.name.copy_key)
        except NotFound:
            there = None
        return await self._registries.find(stem), there

    async def _write(
        self, registry: Registry, version: Version, there: ObjectInfo | None, local: LocalFile | None, progress: Progress | None
    ) -> None:
        source = registry.name.version_key(version.n)
        try:
            await put_content(
                self._store,
                registry.name.copy_key,
                local or StoredContent(self._store, source, version.size),
                sha256=version.sha256,
                mode=Create() if there is None else Replace(there.etag),
                workers=self._workers,
                metadata={NUMBER: str(version.n), HASH: version.sha256},
                progress=progress,
            )
        except (NotFound, ContentChanged) as error:
            if local is not None:
                raise
            raise missing(registry, version, f"its bytes are not those of the registry: {error.message}") from error


def is_copy_of(there: ObjectInfo, version: Version) -> bool:
    """Whether the object says of itself that it is a copy of `version`. What is put over it by hand does not say so."""
    return there.size_bytes == version.size and (there.metadata or {}).get(HASH) == version.sha256


def missing(registry: Registry, version: Version, what: str) -> Damaged:
    """The error about a version whose object is gone or another one."""
    stem = registry.name.stem
    return Damaged(
        f"version {version.n} of {stem} is damaged: {what}",
        hint="restore an older version of this object, or push the same file again after deleting what is there; until "
        f"then use another version: `{registry.name.shelf.command} rollback {stem} latest`",
        key=registry.name.version_key(version.n),
    )
