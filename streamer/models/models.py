"""Model checkpoints of a lake, for asyncio programs: push, pull, promote, roll back, watch. `sync.py` has the same for others.

A face: it opens the rooms beside it, checks who may have what, and delegates.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import structlog

from streamer.clock import Clock, backoff_seconds
from streamer.errors import Unavailable
from streamer.log_events import LogEvent
from streamer.models.cache import ModelCache
from streamer.models.check import ModelReport, check_models
from streamer.models.name import ModelName, check_stem
from streamer.models.plain_copy import PlainCopies
from streamer.models.prune import Pruned, prune
from streamer.models.pull import ModelStream, Pulled, Pulls
from streamer.models.push import Pushed, Pushes, this_user
from streamer.models.recovery import Recovered, Recovery
from streamer.models.refusals import NoSuchModel
from streamer.models.registries import Registries
from streamer.models.registry import LATEST, Registry, Sign
from streamer.models.schema import demand_schema
from streamer.models.shelf import MODEL_SHELF, Shelf
from streamer.models.signature import Signer
from streamer.models.version import About, Version, about
from streamer.store.big_objects import Progress
from streamer.store.contract import Store
from streamer.workers import Workers

log = structlog.get_logger()

WATCH_SECONDS = 5.0


class AsyncModels:
    """The models of one lake. A model is known by its stem: `isolation_forest` for files called `isolation_forest.pkl`.

    A version is given as a number (`3`, `"3"`, `"v3"`) or an alias (`"latest"`, `"production"`). All methods may raise
    `Unavailable`, `Denied`, and `Damaged` where the lake is not what it should be; those that take a name `NoSuchModel`.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        workers: Workers,
        *,
        cache: ModelCache | None = None,
        signer: Signer | None = None,
        shelf: Shelf = MODEL_SHELF,
    ) -> None:
        """shelf: what is versioned, where it is not models."""
        self._shelf = shelf
        self._store = store
        self._clock = clock
        self._workers = workers
        self._signer = signer
        self._registries = Registries(store, clock, shelf)
        self._copies = PlainCopies(store, self._registries, clock, workers)
        self._pushes = Pushes(store, self._registries, self._copies, clock, workers, signer)
        self._pulls = Pulls(store, self._registries, clock, workers, cache)
        self._recovery = Recovery(store, self._registries, self._copies, clock, workers)

    async def push(
        self,
        path: str | os.PathLike[str],
        name: str | None = None,
        metrics: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | Iterable[str] | None = None,
        *,
        parent: int | str | None = None,
        features: Iterable[str] | None = None,
        schema: str | None = None,
        who: str | None = None,
        progress: Progress | None = None,
    ) -> Version:
        """Make the file the next version of its model, and `latest` point to it. Content that is a version already is not
        pushed again: that version is returned.

        name: the model's; by default the stem of the file. parent: the version it was trained from. features: the names of
        the inputs, in their order; `pull(expect_schema=...)` compares them. progress: called with bytes sent and in all.
        Raises `Invalid` where the file is missing, empty or changes meanwhile, or its name or suffix cannot be.
        """
        said = about(metrics, tags, parent, features, schema)
        return (await self.push_file(path, name, said, who=who, progress=progress)).version

    async def push_file(
        self,
        path: str | os.PathLike[str],
        name: str | None = None,
        said: About | None = None,
        *,
        who: str | None = None,
        progress: Progress | None = None,
    ) -> Pushed:
        """As `push`, and tells whether anything was pushed."""
        stem, who = ModelName.of_file(os.fspath(path), name, self._shelf).stem, who or this_user()
        if await self._registries.find(stem) is None:
            # Objects without a registry: somebody deleted it, or its first push died.
            await self._recovery.recover(who, only=stem)
        return await self._pushes.push(path, name, said or About(), who, progress)

    async def pull(
        self,
        name: str,
        to: str | os.PathLike[str],
        version: int | str = LATEST,
        *,
        expect_schema: str | Iterable[str] | None = None,
        progress: Progress | None = None,
    ) -> Pulled:
        """Write a version to the file `to`, or into it where it is a directory. The target is replaced at once and whole, after
        the hash was checked; otherwise it stays as it is.

        expect_schema: the features that the caller has, in their order, or their fingerprint. Raises `SchemaMismatch`,
        `NotSigned` where STREAMER_MODEL_KEY is set and did not sign the version, and `Damaged`.
        """
        registry, found = await self._found(name, version, expect_schema)
        return await self._pulls.pull(registry, found, os.fspath(to), progress)

    async def open(
        self, name: str, version: int | str = LATEST, *, expect_schema: str | Iterable[str] | None = None
    ) -> ModelStream:
        """A version as a stream of bytes, for those who want no file. The hash is known to be right only at its end."""
        registry, found = await self._found(name, version, expect_schema)
        return ModelStream(found, self._pulls.stream(registry, found))

    async def names(self) -> list[str]:
        """The names of all models."""
        return await self._registries.stems()

    async def registry(self, name: str) -> Registry:
        """All that is known of a model: versions, aliases, history."""
        check_stem(name, self._shelf)
        return await self._registries.read(name)

    async def versions(self, name: str) -> list[Version]:
        """The versions of a model, by number."""
        return (await self.registry(name)).listed()

    async def resolve(self, name: str, version: int | str = LATEST) -> Version:
        """What an alias points to now, or the version of a number."""
        return (await self.registry(name)).resolve(version)

    async def trusted(self, name: str, version: int | str = LATEST) -> tuple[Registry, Version]:
        """What `pull` would fetch now, its signature checked. Raises `NotSigned`."""
        return await self._found(name, version, None)

    async def promote(self, name: str, version: int | str, alias: str, *, reason: str = "", who: str | None = None) -> Version:
        """Point `alias` to a version. Raises `Invalid` for `latest`, which moves by itself."""
        before, sign = await self.registry(name), self._sign(who, reason)
        after = await self._registries.change(name, lambda there: (there or before).promoting(alias, version, sign))
        return after.resolve(alias)

    async def rollback(self, name: str, alias: str, *, reason: str = "", who: str | None = None) -> Version:
        """Point `alias` to what it pointed to before; again, to what was before that. `latest` too, until the next push."""
        before, sign = await self.registry(name), self._sign(who, reason or "rollback")
        after = await self._registries.change(name, lambda there: (there or before).rolling_back(alias, sign))
        if alias == LATEST:
            await self._copies.settle(name)
        return after.resolve(alias)

    async def prune(self, name: str, *, keep: int = 10, dry_run: bool = True) -> Pruned:
        """Remove all but the newest `keep` versions. Never one that an alias points to, or would roll back to."""
        await self.registry(name)
        return await prune(self._store, self._registries, name, keep=keep, dry_run=dry_run)

    async def recover(self, name: str | None = None, *, who: str | None = None) -> Recovered:
        """Put right what crashes left, of all models or of one: versions that are in no registry, plain copies that lag, and
        uploads a day old. A registry that was deleted is made again from the versions, without what trainers said of them."""
        if name is not None:
            check_stem(name, self._shelf)
        return await self._recovery.recover(who or this_user(), name)

    async def check(self, *, deep: bool = True) -> ModelReport:
        """Prove that every model is whole. deep: read and hash every version; otherwise compare sizes."""
        return await check_models(self._store, self._registries, self._workers, deep=deep, signer=self._signer)

    async def watch(
        self, name: str, alias: str = LATEST, *, since: int | None = None, every_seconds: float = WATCH_SECONDS
    ) -> AsyncIterator[Version]:
        """What `alias` points to, now and each time it has moved: boot and hot reload are the same loop.

        since: the number the caller has already, which is not given out first. Waits for a model or an alias that is not
        there yet, and through times when the store does not answer. Asks every `every_seconds`; moves between two questions
        are one.
        """
        seen, failed = since, 0
        while True:
            try:
                found = (await self.registry(name)).resolve(alias)
                failed = 0
            except NoSuchModel:
                found = None
            except Unavailable as error:
                found, failed = None, failed + 1
                log.warning(LogEvent.MODEL_WATCH_WAITS, model=name, alias=alias, error=str(error))
            if found is not None and found.n != seen:
                seen = found.n
                yield found
            else:
                await self._clock.sleep(max(every_seconds, backoff_seconds(failed - 1) if failed else 0.0))

    async def _found(
        self, name: str, version: int | str, expect_schema: str | Iterable[str] | None
    ) -> tuple[Registry, Version]:
        registry = await self.registry(name)
        found = registry.resolve(version)
        if self._signer is not None:
            self._signer.demand(self._shelf.signed_name(name), found)
        if expect_schema is not None:
            demand_schema(name, found, expect_schema)
        return registry, found

    def _sign(self, who: str | None, reason: str) -> Sign:
        return Sign(self._clock.token(), self._clock.now(), who or this_user(), reason)
