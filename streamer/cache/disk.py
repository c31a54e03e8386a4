"""The second tier: a directory of this machine, shared by its processes. Blocking; callers run it in threads.

An entry is one file: a checksum, when it expires, its name, the value. It appears whole by a rename, and one that is torn or
altered is a miss and goes away. Bytes alone: nothing here is ever unpickled. A cache that cannot be written is an empty one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import threading
from collections.abc import Iterator

_HEAD = struct.Struct(">8s16sdI")
_MAGIC = b"STRMCAC1"
_LOW_SHARE = 0.9


class DiskTier:
    """Values below `folder`, `budget_bytes` in all at most; the least recently used go first.

    The size is taken from the directory at the first write, and again whenever this process has written a tenth of the budget:
    so much more can be there while several processes write.
    """

    def __init__(self, folder: str | os.PathLike[str], budget_bytes: int) -> None:
        self.folder = os.path.expanduser(os.fspath(folder))
        self._budget_bytes = budget_bytes
        self._written = budget_bytes  # the first write looks how much there is
        self._lock = threading.Lock()

    def get(self, name: str, now: float) -> bytes | None:
        """The value, unless it expired by `now` (seconds since 1970) or is damaged."""
        found = self.entry(name, now)
        return found[0] if found is not None else None

    def entry(self, name: str, now: float) -> tuple[bytes, float | None] | None:
        """The value as `get` has it, and until when it is good (None: for ever)."""
        path = self._path(name)
        try:
            with open(path, "rb") as file:
                content = file.read()
        except OSError:
            return None
        found = _decoded(content, name, now)
        with contextlib.suppress(OSError):
            if found is None:
                os.unlink(path)
            else:
                os.utime(path)
        return found

    def put(self, name: str, value: bytes, expires: float | None, token: str) -> None:
        """Keep `value` until `expires` (None: for ever). `token` is a name that nobody else uses."""
        content = _encoded(name, value, expires)
        if len(content) > self._budget_bytes // 4:
            return
        path = self._path(name)
        staged = os.path.join(self.folder, f".{token}.part")
        try:
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            with open(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(content)
            os.replace(staged, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(staged)
            return
        with self._lock:
            self._written += len(content)
            due = self._written > self._budget_bytes * (1 - _LOW_SHARE)
            self._written = 0 if due else self._written
        if due:
            self._make_room()

    def remove(self, name: str) -> None:
        """Forget the value."""
        with contextlib.suppress(OSError):
            os.unlink(self._path(name))

    def clear(self) -> None:
        """Forget everything, of other processes too."""
        for path, _, _ in list(self._entries()):
            with contextlib.suppress(OSError):
                os.unlink(path)

    def size_bytes(self) -> int:
        """Bytes of all entries, counted now."""
        return sum(size for _, size, _ in self._entries())

    def _make_room(self) -> None:
        entries = sorted(self._entries(), key=lambda entry: entry[2])
        total = sum(size for _, size, _ in entries)
        if total <= self._budget_bytes * _LOW_SHARE:
            return
        for path, size, _ in entries:
            with contextlib.suppress(OSError):
                os.unlink(path)
            total -= size
            if total <= self._budget_bytes * _LOW_SHARE:
                return

    def _entries(self) -> Iterator[tuple[str, int, float]]:
        """(path, size, last use) of each file; parts that a dead process left are among them, and go as all others."""
        for folder, _, names in os.walk(self.folder):
            for name in names:
                path = os.path.join(folder, name)
                with contextlib.suppress(OSError):
                    status = os.stat(path)
                    yield path, status.st_size, status.st_mtime

    def _path(self, name: str) -> str:
        digest = hashlib.sha256(name.encode()).hexdigest()
        return os.path.join(self.folder, digest[:2], digest[2:])


def _encoded(name: str, value: bytes, expires: float | None) -> bytes:
    text = name.encode()
    rest = _HEAD.pack(_MAGIC, b"", expires if expires is not None else -1.0, len(text))[24:] + text + value
    return _MAGIC + hashlib.blake2b(rest, digest_size=16).digest() + rest


def _decoded(content: bytes, name: str, now: float) -> tuple[bytes, float | None] | None:
    if len(content) < _HEAD.size:
        return None
    magic, digest, expires, length = _HEAD.unpack_from(content)
    if magic != _MAGIC or hashlib.blake2b(content[24:], digest_size=16).digest() != digest:
        return None
    if content[_HEAD.size : _HEAD.size + length] != name.encode() or 0 <= expires <= now:
        return None
    return content[_HEAD.size + length :], expires if expires >= 0 else None
