"""Pushing a file: hash, object, registry, plain copy, in this order: a crash anywhere leaves what the next push repairs.

The object is created once and never replaced; the registry says that it is a version; the plain copy follows the registry. A
push whose object is there already, because an earlier one died before the registry, takes that object over.
"""

from __future__ import annotations

import getpass
import os
import socket
from dataclasses import dataclass, replace

from streamer.clock import Clock, backoff_seconds
from streamer.errors import Conflict, Invalid, NotFound, OutcomeUnknown, Unavailable
from streamer.keys import parse_model_version_key
from streamer.lake.positions import read_positions
from streamer.models.local_file import LocalFile
from streamer.models.name import ModelName
from streamer.models.plain_copy import PlainCopies, missing
from streamer.models.registries import Registries
from streamer.models.registry import Registry, Sign
from streamer.models.signature import Signer
from streamer.models.version import About, TrainedThrough, Version
from streamer.store.big_objects import Progress, hash_content, put_content, same_content
from streamer.store.contract import Create, Store
from streamer.workers import Workers

ROUNDS_MAX = 200
UNANSWERED_MAX = 3
"""The layer below has tried each of them several times."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push came to. created: False where this content was a version already, and nothing was pushed."""

    name: str
    version: Version
    key: str
    created: bool


@dataclass(frozen=True, slots=True)
class _File:
    """The file that is being pushed."""

    name: ModelName
    content: LocalFile
    sha256: str


class Pushes:
    """Pushes files into one lake."""

    def __init__(
        self, store: Store, registries: Registries, copies: PlainCopies, clock: Clock, workers: Workers, signer: Signer | None
    ) -> None:
        self._store = store
        self._registries = registries
        self._copies = copies
        self._clock = clock
        self._workers = workers
        self._signer = signer

    async def push(
        self, path: str | os.PathLike[str], name: str | None, about: About, who: str, progress: Progress | None
    ) -> Pushed:
        """Make the file the next version of its model, unless its content is a version already.

        Raises `ContentChanged` where the file changed while it was sent; then nothing of it is a version. Raises `Invalid`
        for names that cannot be kept, a missing or empty file, or a suffix other than that of the versions before it.
        """
        model = ModelName.of_file(os.fspath(path), name, self._registries.shelf)
        async with await LocalFile.open(path, self._workers) as content:
            file = _File(model, content, await hash_content(content, self._workers))
            registry = await self._known(model)
            known = registry.by_hash(file.sha256) if registry is not None else None
            if known is not None and registry is not None:
                version, created = await self._again(registry, known, file, about, who), False
            else:
                n = await self._store_object(file, progress)
                version, created = await self._register(file, n, about, who)
            await self._copies.settle(model.stem, content, file.sha256)
            return Pushed(model.stem, version, model.version_key(version.n), created)

    async def _known(self, model: ModelName) -> Registry | None:
        registry = await self._registries.find(model.stem)
        if registry is not None and registry.name != model:
            raise Invalid(
                f"the versions of {model.stem} are called {registry.name.file}, and this file {model.file}",
                hint=f"push it under a name of its own, such as {model.stem}{model.suffix.replace('.', '_')}",
            )
        return registry

    async def _again(self, registry: Registry, known: Version, file: _File, about: About, who: str) -> Version:
        """The version that has this content already: its object put back if it is gone, what its entry lacks filled in."""
        key = registry.name.version_key(known.n)
        try:
            await self._store.head(key)
        except NotFound:
            await self._create(key, file, None)
        filled = replace(known, about=about, signature=self._sign(file, known.n), recovered=False, aliases=())
        if known.recovered:
            filled = replace(filled, pushed_by=who, trained_through=await self._trained_through())
        sign = Sign(self._clock.token(), self._clock.now(), who)
        changed = await self._registries.change(file.name.stem, lambda there: (there or registry).registering(filled, sign))
        return changed.resolve(known.n)

    async def _store_object(self, file: _File, progress: Progress | None) -> int:
        """The number under which the content is in the lake now, and in no registry yet, unless another has just pushed it."""
        unanswered = 0
        for attempt in range(ROUNDS_MAX):
            # In this order: what another pusher of this content registered since, is then seen in one or the other.
            registry = await self._registries.find(file.name.stem)
            if registry is not None and (known := registry.by_hash(file.sha256)) is not None:
                return known.n
            taken = await self._taken(file.name)
            for n, size in taken.items():
                unknown = registry is None or (registry.by_number(n) is None and not registry.was_pruned(n))
                if unknown and size == file.content.size_bytes and await self._is(file, n):
                    return n
            n = max([*taken, registry.next - 1 if registry is not None else 0, 0]) + 1
            try:
                if await self._create(file.name.version_key(n), file, progress):
                    return n
            except OutcomeUnknown:
                unanswered += 1
                if unanswered >= UNANSWERED_MAX:
                    raise
            await self._clock.sleep(self._clock.jitter(backoff_seconds(attempt, first=0.01, most=1.0)))
        raise Unavailable("no version number was free", hint="try again later", **{file.name.shelf.noun: file.name.stem})

    async def _create(self, key: str, file: _File, progress: Progress | None) -> bool:
        """Whether the content is at `key` now. A lost answer is settled by reading back; raises `OutcomeUnknown` where nothing
        is there, though it may come."""
        try:
            await put_content(
                self._store,
                key,
                file.content,
                sha256=file.sha256,
                mode=Create(),
                workers=self._workers,
                progress=progress,
            )
        except (Conflict, OutcomeUnknown) as error:
            size = file.content.size_bytes
            same = await same_content(self._store, key, size_bytes=size, sha256=file.sha256, workers=self._workers)
            if same is None and isinstance(error, OutcomeUnknown):
                raise
            return bool(same)
        return True

    async def _is(self, file: _File, n: int) -> bool:
        key, size = file.name.version_key(n), file.content.size_bytes
        return bool(await same_content(self._store, key, size_bytes=size, sha256=file.sha256, workers=self._workers))

    async def _taken(self, model: ModelName) -> dict[int, int]:
        """The numbers that have an object, and its size; of this suffix only, as another one has other keys."""
        found = {}
        async for item in self._store.list(f"{model.shelf.versions}{model.stem}_v"):
            parsed = parse_model_version_key(item.key, model.shelf.top)
            if parsed is not None and (parsed.stem, parsed.suffix) == (model.stem, model.suffix):
                found[parsed.n] = item.size_bytes
        return dict(sorted(found.items()))

    async def _register(self, file: _File, n: int, about: About, who: str) -> tuple[Version, bool]:
        now = self._clock.now()
        version = Version(
            n=n,
            size=file.content.size_bytes,
            sha256=file.sha256,
            created=now,
            pushed_by=who,
            about=about,
            trained_through=await self._trained_through(),
            signature=self._sign(file, n),
        )
        sign = Sign(self._clock.token(), now, who, "push")
        empty = Registry(file.name)
        registry = await self._registries.change(file.name.stem, lambda there: (there or empty).registering(version, sign))
        # Another pusher of the same content may have registered it under another number.
        landed = registry.by_hash(file.sha256)
        if landed is None:
            raise missing(registry, version, "it left the registry at once")
        return landed, landed.n == n and landed.created == now

    async def _trained_through(self) -> tuple[TrainedThrough, ...]:
        if not self._registries.shelf.trained:
            return ()
        positions = await read_positions(self._store)
        return tuple(
            TrainedThrough(source.topic, source.partition, position.lineage, position.committed, position.through)
            for source, position in positions.by_source.items()
        )

    def _sign(self, file: _File, n: int) -> str | None:
        if self._signer is None:
            return None
        return self._signer.sign(file.name.shelf.signed_name(file.name.stem), n, file.content.size_bytes, file.sha256)


def this_user() -> str:
    """`user@host`, as history shows it."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user has a number and no name
        user = f"uid-{os.getuid()}"
    return f"{user}@{socket.gethostname()}"
