"""`Lake.models`: model checkpoints for synchronous code, in notebooks, trainers and an engine's boot."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from streamer.lake.loop_thread import LoopThread
from streamer.models.models import WATCH_SECONDS, AsyncModels
from streamer.models.pull import ModelStream, Pulled
from streamer.models.registry import LATEST
from streamer.models.sync_versions import Versions
from streamer.models.version import Version
from streamer.store.big_objects import Progress


class _Buffer(Protocol):
    def __len__(self) -> int: ...
    def __setitem__(self, at: slice, value: bytes) -> None: ...


class Models(Versions):
    """The models of one lake. Each method does what the one of the same name in `AsyncModels` does."""

    def __init__(self, inner: AsyncModels, loop: LoopThread) -> None:
        super().__init__(inner, loop)
        self._inner = inner

    def push(
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
        """Make the file the next version of its model. See `AsyncModels.push`."""
        return self._loop.run(
            self._inner.push(
                path, name, metrics, tags, parent=parent, features=features, schema=schema, who=who, progress=progress
            )
        )

    def pull(
        self,
        name: str,
        to: str | os.PathLike[str],
        version: int | str = LATEST,
        *,
        expect_schema: str | Iterable[str] | None = None,
        progress: Progress | None = None,
    ) -> Pulled:
        """Write a version to the file `to`, checked and at once. See `AsyncModels.pull`."""
        return self._loop.run(self._inner.pull(name, to, version, expect_schema=expect_schema, progress=progress))

    def open(
        self, name: str, version: int | str = LATEST, *, expect_schema: str | Iterable[str] | None = None
    ) -> io.BufferedReader:
        """A version as a binary file, read from its beginning to its end. `read()` of all of it raises `Damaged` where it is
        not what was pushed; who reads less trusts it unproved."""
        stream = self._loop.run(self._inner.open(name, version, expect_schema=expect_schema))
        return io.BufferedReader(_StreamFile(stream, self._loop), buffer_size=1 << 20)

    def resolve(self, name: str, version: int | str = LATEST) -> Version:
        """What an alias points to now, or the version of a number."""
        return self._loop.run(self._inner.resolve(name, version))

    def watch(
        self, name: str, alias: str = LATEST, *, since: int | None = None, every_seconds: float = WATCH_SECONDS
    ) -> Iterator[Version]:
        """What `alias` points to, now and each time it has moved. Blocks between moves. See `AsyncModels.watch`."""
        return self._loop.iterate(self._inner.watch(name, alias, since=since, every_seconds=every_seconds))


class _StreamFile(io.RawIOBase):
    """A stream of pieces as a raw file."""

    def __init__(self, stream: ModelStream, loop: LoopThread) -> None:
        self._stream = stream
        self._loop = loop
        self._pieces = loop.iterate(aiter(stream))
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: _Buffer) -> int:  # type: ignore[override]
        if not self._rest:
            self._rest = next(self._pieces, b"")
        taken = self._rest[: len(buffer)]
        self._rest = self._rest[len(taken) :]
        buffer[: len(taken)] = taken
        return len(taken)

    def close(self) -> None:
        if not self.closed:
            self._loop.run(self._stream.close())
        super().close()
