"""A file of this machine as content: opened once, so that a file renamed over it meanwhile is another file."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

from streamer.errors import Denied, Invalid
from streamer.workers import Workers


class LocalFile:
    """An open file. Use as an asynchronous context manager."""

    def __init__(self, path: str, descriptor: int, size_bytes: int, workers: Workers) -> None:
        self.path = path
        self._descriptor = descriptor
        self._size_bytes = size_bytes
        self._workers = workers

    @classmethod
    async def open(cls, path: str | os.PathLike[str], workers: Workers) -> Self:
        """Open `path` for reading. Raises `Invalid` where it is no file or empty, `Denied` where it may not be read."""
        name = os.fspath(path)
        descriptor = await workers.run(_open, name)
        return cls(name, descriptor, os.fstat(descriptor).st_size, workers)

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    async def read(self, start: int, length: int) -> bytes:
        # The caller's thread allocates: what several threads allocate and free in turn, malloc keeps for each of them.
        buffer = bytearray(max(0, min(length, self._size_bytes + 1 - start)))
        size = await self._workers.run(_read_into, self._descriptor, start, buffer)
        del buffer[size:]
        return bytes(buffer)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._descriptor)


def _open(path: str) -> int:
    try:
        if not os.path.isfile(path):
            raise Invalid("there is no such file", hint="name the file that the trainer wrote", path=path)
        # Not to hang on a pipe that took the file's place since.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise Invalid("there is no such file", hint="name the file that the trainer wrote", path=path) from error
    except OSError as error:
        raise Denied(f"the file cannot be read: {error.strerror}", hint="grant this user r on it", path=path) from error
    if os.fstat(descriptor).st_size == 0:
        os.close(descriptor)
        raise Invalid("the file is empty", hint="wait until it is written", path=path)
    return descriptor


def _read_into(descriptor: int, start: int, buffer: bytearray) -> int:
    rest, done = memoryview(buffer), 0
    while rest and (size := os.preadv(descriptor, [rest], start + done)):
        rest, done = rest[size:], done + size
    return done
