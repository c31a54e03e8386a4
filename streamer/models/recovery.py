"""What a crash may have left, put right at start: objects without an entry, plain copies that lag, uploads that nobody ends.

It adds and completes, and removes nothing but parts of uploads that are a day old.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta

from streamer.clock import Clock
from streamer.errors import NotFound, StreamerError
from streamer.keys import ModelVersionKey, parse_model_version_key
from streamer.models.name import ModelName
from streamer.models.plain_copy import PlainCopies
from streamer.models.registries import Registries
from streamer.models.registry import Registry, Sign
from streamer.models.version import Version
from streamer.store.big_objects import StoredContent, hash_content
from streamer.store.contract import Store
from streamer.workers import Workers

ABANDONED_AFTER = timedelta(days=1)


@dataclass(slots=True)
class Recovered:
    """What was found and done: versions taken in, models whose plain copy was written, uploads aborted, and the models for
    which it failed, each with its reason."""

    versions: list[tuple[str, int]] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)
    uploads: int = 0
    failures: list[tuple[str, StreamerError]] = field(default_factory=list)


class Recovery:
    """Puts the models of one lake right."""

    def __init__(self, store: Store, registries: Registries, copies: PlainCopies, clock: Clock, workers: Workers) -> None:
        self._store = store
        self._registries = registries
        self._shelf = registries.shelf
        self._copies = copies
        self._clock = clock
        self._workers = workers

    async def recover(self, who: str, only: str | None = None) -> Recovered:
        """Look at every model, or at `only`. The failure of one does not keep the others from being looked at."""
        done = Recovered()
        objects = await self._objects(self._shelf.versions if only is None else f"{self._shelf.versions}{only}_v")
        for stem in sorted({*objects, *await self._registries.stems()} if only is None else [only]):
            try:
                for n in await self._take_in(stem, objects.get(stem, []), who):
                    done.versions.append((stem, n))
                if await self._copies.settle(stem):
                    done.copies.append(stem)
            except StreamerError as error:
                done.failures.append((stem, error))
        if only is not None:
            return done
        try:
            done.uploads = await self._abort_uploads()
        except StreamerError as error:
            done.failures.append((self._shelf.top, error))
        return done

    async def _objects(self, prefix: str) -> dict[str, list[tuple[ModelVersionKey, int]]]:
        found: dict[str, list[tuple[ModelVersionKey, int]]] = defaultdict(list)
        async for item in self._store.list(prefix):
            if (parsed := parse_model_version_key(item.key, self._shelf.top)) is not None:
                found[parsed.stem].append((parsed, item.size_bytes))
        return found

    async def _take_in(self, stem: str, objects: list[tuple[ModelVersionKey, int]], who: str) -> list[int]:
        """Register what is whole in versions/ and in no registry. Every object there was whole from its first moment."""
        taken = []
        for key, size in sorted(objects, key=lambda item: item[0].n):
            registry = await self._registries.find(stem)
            if not _is_orphan(registry, key):
                continue
            name = registry.name if registry is not None else ModelName(stem, key.suffix, self._shelf)
            try:
                sha256 = await hash_content(StoredContent(self._store, name.version_key(key.n), size), self._workers)
            except NotFound:
                continue
            if await self._register(name, key.n, size, sha256, who):
                taken.append(key.n)
        return taken

    async def _register(self, name: ModelName, n: int, size: int, sha256: str, who: str) -> bool:
        now = self._clock.now()
        version = Version(n, size, sha256, now, who, recovered=True)
        sign = Sign(self._clock.token(), now, who, "recovered: its push ended before the registry was written")
        registry = await self._registries.change(name.stem, lambda there: (there or Registry(name)).registering(version, sign))
        found = registry.by_number(n)
        return found is not None and found.recovered

    async def _abort_uploads(self) -> int:
        oldest = self._clock.now() - ABANDONED_AFTER
        aborted = 0
        async for upload in self._store.list_uploads(self._shelf.top):
            if upload.begun is not None and upload.begun < oldest:
                await self._store.abort_upload(upload)
                aborted += 1
        return aborted


def _is_orphan(registry: Registry | None, key: ModelVersionKey) -> bool:
    if registry is None:
        return True
    return registry.name.suffix == key.suffix and registry.by_number(key.n) is None and not registry.was_pruned(key.n)
