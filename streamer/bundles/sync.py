"""`Lake.bundles`: bundles for synchronous code, at the top of a program that needs what is in them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from streamer.bundles.bundles import ALIAS_SECONDS, AsyncBundles, Loaded
from streamer.bundles.unpack import SIZE_LIMIT_BYTES
from streamer.lake.loop_thread import LoopThread
from streamer.models.registry import LATEST
from streamer.models.sync_versions import Versions
from streamer.models.version import Version
from streamer.store.big_objects import Progress


class Bundles(Versions):
    """The bundles of one lake. Each method does what the one of the same name in `AsyncBundles` does."""

    def __init__(self, inner: AsyncBundles, loop: LoopThread) -> None:
        super().__init__(inner, loop)
        self._inner = inner

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
