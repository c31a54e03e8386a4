"""Bundles of a lake, for asyncio programs: folders of code and data that a fleet of processes needs, versioned as models are.

Versions, aliases and hashes are the registry's (`streamer/models`), on a shelf of their own; here is only what is particular: a
folder becomes an archive, and an archive a folder on `sys.path`. `sync.py` has the same for others.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from streamer.bundles.archive import SUFFIXES
from streamer.bundles.home import Home, Pointed
from streamer.bundles.pack import pack
from streamer.bundles.unpack import SIZE_LIMIT_BYTES, unpack
from streamer.cache.flight import single_flight
from streamer.clock import Clock
from streamer.errors import Denied, Invalid, Unavailable
from streamer.keys import BUNDLES
from streamer.models.cache import ModelCache
from streamer.models.check import ModelReport
from streamer.models.models import AsyncModels
from streamer.models.name import check_stem, split_suffix
from streamer.models.prune import Pruned
from streamer.models.recovery import Recovered
from streamer.models.registry import LATEST, Registry
from streamer.models.shelf import Shelf
from streamer.models.signature import Signer
from streamer.models.version import Version, about
from streamer.store.big_objects import Progress
from streamer.store.contract import Store
from streamer.workers import Workers

SHELF = Shelf(BUNDLES, "bundle", "streamer bundles")
ALIAS_SECONDS = 60.0
"""How long what an alias pointed to is believed on this machine, before the lake is asked again."""

_NUMBER = re.compile(r"v?[1-9]\d{0,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A bundle on this machine. path: its content, on `sys.path` unless it was asked not to be. fetched: whether this call
    unpacked it; False where it was there."""

    name: str
    version: int
    sha256: str
    path: Path
    fetched: bool


@dataclass(frozen=True, slots=True)
class _Known:
    loaded: Loaded
    checked: float


class AsyncBundles:
    """The bundles of one lake. A version is given as a number or an alias, as of models. All methods may raise `Unavailable`,
    `Denied`, and `Damaged` where the lake is not what it should be; those that take a name `NoSuchModel`."""

    def __init__(
        self, store: Store, clock: Clock, workers: Workers, *, cache: ModelCache | None = None, signer: Signer | None = None
    ) -> None:
        self._clock = clock
        self._workers = workers
        self._models = AsyncModels(store, clock, workers, cache=cache, signer=signer, shelf=SHELF)
        self._signed = signer is not None
        self._known: dict[tuple[str, str, str], _Known] = {}

    async def push(
        self,
        source: str | os.PathLike[str],
        name: str | None = None,
        *,
        tags: Mapping[str, str] | Iterable[str] | None = None,
        who: str | None = None,
        size_limit_bytes: int = SIZE_LIMIT_BYTES,
        progress: Progress | None = None,
    ) -> Version:
        """Make a folder, or an archive (.zip, .whl, .tar, .tar.gz, .tgz), the next version of the bundle `name`, and `latest`
        point to it. Content that is a version already is not pushed again.

        name: by default that of the folder or file. Raises `Invalid` for what `load` would refuse, `BadArchive` among it.
        """
        path = await self._workers.run(lambda: os.path.abspath(os.path.expanduser(os.fspath(source))))
        said = about(tags=tags)
        if not await self._workers.run(os.path.isdir, path):
            suffix = split_suffix(os.path.basename(path))[1]
            if not await self._workers.run(os.path.isfile, path):
                raise Invalid("there is no such folder or archive", hint="name what is to be pushed", path=path)
            await self._workers.run(lambda: unpack(path, suffix, None, size_limit_bytes=size_limit_bytes))
            return (await self._models.push_file(path, name, said, who=who, progress=progress)).version
        stem = os.path.basename(path) if name is None else name
        check_stem(stem, SHELF)
        temporary = await self._workers.run(lambda: tempfile.mkdtemp(prefix="streamer-bundle-"))
        try:
            packed = os.path.join(temporary, f"{stem}.zip")
            await self._workers.run(pack, path, packed)
            await self._workers.run(lambda: unpack(packed, ".zip", None, size_limit_bytes=size_limit_bytes))
            return (await self._models.push_file(packed, stem, said, who=who, progress=progress)).version
        except OSError as error:
            raise _unwritable(error, temporary) from error
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, temporary, True))

    async def load(
        self,
        name: str,
        to: str | os.PathLike[str],
        version: int | str = LATEST,
        *,
        on_path: bool = True,
        max_age_seconds: float = ALIAS_SECONDS,
        size_limit_bytes: int = SIZE_LIMIT_BYTES,
        progress: Progress | None = None,
    ) -> Loaded:
        """Have a bundle in a folder of its own below `to`, and put that first on `sys.path`.

        Of all processes of this machine one fetches and unpacks it, the others wait. What is unpacked never changes: another
        version has another folder, and a process that runs keeps the one it has. A second load asks the lake only what an alias
        points to, and that not within `max_age_seconds`. on_path: False leaves `sys.path` as it is.

        Raises `BadArchive` for one that would write outside its folder or more than `size_limit_bytes`, `NotSigned` where
        STREAMER_MODEL_KEY is set and did not sign it, `Denied` where others can write into `to`.
        """
        check_stem(name, SHELF)
        home, wanted = Home(to), str(version)
        asked = (name, wanted, home.folder)
        known = self._known.get(asked)
        if known is None or not self._is_fresh(wanted, known.checked, max_age_seconds):
            try:
                known = await self._found(home, name, wanted, max_age_seconds, size_limit_bytes, progress)
            except OSError as error:
                raise _unwritable(error, home.folder) from error
            self._known[asked] = replace(known, loaded=replace(known.loaded, fetched=False))
        if on_path:
            _put_on_path(home.folder, name, str(known.loaded.path))
        return known.loaded

    async def names(self) -> list[str]:
        """The names of all bundles."""
        return await self._models.names()

    async def registry(self, name: str) -> Registry:
        """All that is known of a bundle: versions, aliases, history."""
        return await self._models.registry(name)

    async def versions(self, name: str) -> list[Version]:
        """The versions of a bundle, by number."""
        return await self._models.versions(name)

    async def promote(self, name: str, version: int | str, alias: str, *, reason: str = "", who: str | None = None) -> Version:
        """Point `alias` to a version. Raises `Invalid` for `latest`, which moves by itself."""
        return await self._models.promote(name, version, alias, reason=reason, who=who)

    async def rollback(self, name: str, alias: str, *, reason: str = "", who: str | None = None) -> Version:
        """Point `alias` to what it pointed to before. `latest` too, until the next push."""
        return await self._models.rollback(name, alias, reason=reason, who=who)

    async def prune(self, name: str, *, keep: int = 10, dry_run: bool = True) -> Pruned:
        """Remove all but the newest `keep` versions, and those that an alias points to, or would roll back to."""
        return await self._models.prune(name, keep=keep, dry_run=dry_run)

    async def recover(self, name: str | None = None, *, who: str | None = None) -> Recovered:
        """Put right what crashes left."""
        return await self._models.recover(name, who=who)

    async def check(self, *, deep: bool = True) -> ModelReport:
        """Prove that every bundle is whole."""
        return await self._models.check(deep=deep)

    def _is_fresh(self, wanted: str, checked: float, max_age_seconds: float) -> bool:
        # A number means the same content for ever.
        return bool(_NUMBER.fullmatch(wanted)) or 0 <= self._clock.now().timestamp() - checked < max_age_seconds

    async def _found(
        self, home: Home, name: str, wanted: str, max_age_seconds: float, size_limit_bytes: int, progress: Progress | None
    ) -> _Known:
        """The bundle on this machine, fetched if it must be. Raises `OSError` where it cannot be written."""
        await self._workers.run(home.open)
        # What another process noted is no proof that it asked for signatures too.
        noted = None if self._signed else await self._workers.run(home.pointed, name, wanted)
        if noted is not None and self._is_fresh(wanted, noted.checked, max_age_seconds):
            path = home.path(name, noted.sha256)
            if await self._workers.run(home.is_whole, path):
                return _Known(Loaded(name, noted.n, noted.sha256, Path(path), False), noted.checked)
        checked = self._clock.now().timestamp()
        registry, version = await self._models.trusted(name, wanted)
        path, fetched = home.path(name, version.sha256), False
        if not await self._workers.run(home.is_whole, path):
            async with single_flight(home.locks, name, self._clock):
                if not await self._workers.run(home.is_whole, path):
                    await self._install(home, registry, version, path, size_limit_bytes, progress)
                    fetched = True
        await self._workers.run(home.note, name, wanted, Pointed(version.n, version.sha256, checked), self._clock.token())
        return _Known(Loaded(name, version.n, version.sha256, Path(path), fetched), checked)

    async def _install(
        self, home: Home, registry: Registry, version: Version, path: str, size_limit_bytes: int, progress: Progress | None
    ) -> None:
        stem, suffix = registry.name.stem, registry.name.suffix
        if suffix not in SUFFIXES:
            raise Invalid(
                f"a bundle cannot be a {suffix or 'file without suffix'}", hint="push it with `streamer bundles push`"
            )
        staged = await self._workers.run(home.stage, stem, self._clock.token())
        try:
            archive = os.path.join(staged, registry.name.file)
            await self._models.pull(stem, archive, version.n, progress=progress)
            await self._workers.run(home.install, archive, suffix, staged, path, size_limit_bytes)
        finally:
            await asyncio.shield(asyncio.to_thread(home.discard, staged))


def _put_on_path(home: str, name: str, path: str) -> None:
    """First on `sys.path`, instead of another version of the same bundle."""
    if path in sys.path:
        return
    older = re.compile(rf"{re.escape(os.path.join(home, name))}-[0-9a-f]{{32}}")
    sys.path[:] = [path, *(entry for entry in sys.path if not older.fullmatch(entry))]
    importlib.invalidate_caches()


def _unwritable(error: OSError, path: str) -> Denied | Unavailable:
    kind = Denied if isinstance(error, PermissionError) else Unavailable
    hint = "free space, or grant this user rwx on the folder"
    return kind(f"the folder cannot be used: {error.strerror or error}", hint=hint, path=path)
