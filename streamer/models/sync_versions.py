"""What `Lake.models` and `Lake.bundles` have in common for synchronous code: all that one registry does with versions.

Every method runs the one of the same name, in the lake's own event loop, and adds nothing.
"""

from __future__ import annotations

from typing import Protocol

from streamer.lake.loop_thread import LoopThread
from streamer.models.check import ModelReport
from streamer.models.prune import Pruned
from streamer.models.recovery import Recovered
from streamer.models.registry import Registry
from streamer.models.version import Version


class AsyncVersions(Protocol):
    """`AsyncModels` and `AsyncBundles`, as far as they are the same."""

    async def names(self) -> list[str]: ...
    async def registry(self, name: str) -> Registry: ...
    async def versions(self, name: str) -> list[Version]: ...
    async def promote(
        self, name: str, version: int | str, alias: str, *, reason: str = "", who: str | None = None
    ) -> Version: ...
    async def rollback(self, name: str, alias: str, *, reason: str = "", who: str | None = None) -> Version: ...
    async def prune(self, name: str, *, keep: int = 10, dry_run: bool = True) -> Pruned: ...
    async def recover(self, name: str | None = None, *, who: str | None = None) -> Recovered: ...
    async def check(self, *, deep: bool = True) -> ModelReport: ...


class Versions:
    """Names, versions and aliases; pruning, repair and proof."""

    def __init__(self, inner: AsyncVersions, loop: LoopThread) -> None:
        self._versions = inner
        self._loop = loop

    def names(self) -> list[str]:
        """All names."""
        return self._loop.run(self._versions.names())

    def registry(self, name: str) -> Registry:
        """All that is known under a name: versions, aliases, history."""
        return self._loop.run(self._versions.registry(name))

    def versions(self, name: str) -> list[Version]:
        """The versions under a name, by number."""
        return self._loop.run(self._versions.versions(name))

    def promote(self, name: str, version: int | str, alias: str, *, reason: str = "", who: str | None = None) -> Version:
        """Point `alias` to a version."""
        return self._loop.run(self._versions.promote(name, version, alias, reason=reason, who=who))

    def rollback(self, name: str, alias: str, *, reason: str = "", who: str | None = None) -> Version:
        """Point `alias` to what it pointed to before."""
        return self._loop.run(self._versions.rollback(name, alias, reason=reason, who=who))

    def prune(self, name: str, *, keep: int = 10, dry_run: bool = True) -> Pruned:
        """Remove all but the newest `keep` versions and those with an alias; a dry run only tells which."""
        return self._loop.run(self._versions.prune(name, keep=keep, dry_run=dry_run))

    def recover(self, name: str | None = None, *, who: str | None = None) -> Recovered:
        """Put right what crashes left."""
        return self._loop.run(self._versions.recover(name, who=who))

    def check(self, *, deep: bool = True) -> ModelReport:
        """Prove that every version is whole."""
        return self._loop.run(self._versions.check(deep=deep))
