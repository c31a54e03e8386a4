"""`Lake.bundles`: bundles for synchronous code, at the top of a program that needs what is in them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from streamer.bundles.bundles import ALIAS_SECONDS, AsyncBundles, Loaded
from streamer.bundles.unpack import SIZE_LIMIT_BYTES
from streamer.lake.loop_thread import LoopThread
from streamer.models.check import ModelReport
from streamer.models.prune import Pruned
from streamer.models.recovery import Recovered
from streamer.models.registry import LATEST, Registry
from streamer.models.version import Version
from streamer.store.big_objects import Progress


class Bundles:
    """The bundles of one lake. Each method does what the one of the same name in `AsyncBundles` does."""

    def __init__(self, inner: AsyncBundles, loop: LoopThread) -> None:
        self._inner = inner
        self._loop = loop

    def push(
        self,
        source: str | os.PathLike[str],
        name: str | None = None,
        *,
        tags: Mapping[str, str] | Iterable[str] | None = None,
        who: str | None = None,
        size_limit_bytes: int = SIZE_LIMIT_BYTES,
        progress: Progress | None = None,
    ) -> Version:
        """Make a folder or an archive the next version of the bundle `name`. See `AsyncBundles.push`."""
        return self._loop.run(
            self._inner.push(source, name, tags=tags, who=who, size_limit_bytes=size_limit_bytes, progress=progress)
        )

    def load(
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
        """Have a bundle in a folder below `to`, first on `sys.path`; fetched once per machine. See `AsyncBundles.load`."""
        return self._loop.run(
            self._inner.load(
                name, to, version, on_path=on_path, max_age_seconds=max_age_seconds, size_limit_bytes=size_limit_bytes,
                progress=progress,
            )
        )  # fmt: skip

    def names(self) -> list[str]:
        """The names of all bundles."""
        return self._loop.run(self._inner.names())

    def registry(self, name: str) -> Registry:
        """All that is known of a bundle: versions, aliases, history."""
        return self._loop.run(self._inner.registry(name))

    def versions(self, name: str) -> list[Version]:
        """The versions of a bundle, by number."""
        return self._loop.run(self._inner.versions(name))

    def promote(self, name: str, version: int | str, alias: str, *, reason: str = "", who: str | None = None) -> Version:
        """Point `alias` to a version."""
        return self._loop.run(self._inner.promote(name, version, alias, reason=reason, who=who))

    def rollback(self, name: str, alias: str, *, reason: str = "", who: str | None = None) -> Version:
        """Point `alias` to what it pointed to before."""
        return self._loop.run(self._inner.rollback(name, alias, reason=reason, who=who))

    def prune(self, name: str, *, keep: int = 10, dry_run: bool = True) -> Pruned:
        """Remove all but the newest `keep` versions and those with an alias; a dry run only tells which."""
        return self._loop.run(self._inner.prune(name, keep=keep, dry_run=dry_run))

    def recover(self, name: str | None = None, *, who: str | None = None) -> Recovered:
        """Put right what crashes left."""
        return self._loop.run(self._inner.recover(name, who=who))

    def check(self, *, deep: bool = True) -> ModelReport:
        """Prove that every bundle is whole."""
        return self._loop.run(self._inner.check(deep=deep))
