"""Versions on this machine, by their hash: what was pulled once is not fetched again.

Blocking file operations; callers run them in threads. Nothing is handed out unhashed, so a damaged entry is a miss. Several
processes may share one cache. It is a convenience: whoever uses it goes on without it where it fails.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass

PIECE_BYTES = 1 << 20
BUDGET_BYTES = 10 << 30
"""Ten models of a gigabyte; the least recently used go first."""


@dataclass(frozen=True, slots=True)
class _Entry:
    path: str
    size: int
    used: float


class ModelCache:
    """Files called by their SHA-256 below `root`/models, `budget_bytes` in all at most."""

    def __init__(self, root: str | os.PathLike[str], budget_bytes: int = BUDGET_BYTES) -> None:
        self.folder = os.path.join(os.path.expanduser(os.fspath(root)), "models")
        self._budget_bytes = budget_bytes

    def copy_to(self, sha256: str, descriptor: int) -> bool:
        """Write the content with this hash to an open empty file; False where it is not here whole, and then the file may
        hold something. Raises `OSError` where the file cannot be written."""
        path = self._path(sha256)
        try:
            source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        digest = hashlib.sha256()
        try:
            while piece := os.read(source, PIECE_BYTES):
                digest.update(piece)
                _write(descriptor, piece)
        finally:
            os.close(source)
        if digest.hexdigest() != sha256:
            self._remove(path)
            return False
        with contextlib.suppress(OSError):
            os.utime(path)
        return True

    def keep(self, source: str, sha256: str, token: str) -> None:
        """Take a copy of the file `source`, if it hashes to `sha256`, and make room for it. `token` is a name that nobody else
        uses. Raises `OSError`."""
        size = os.path.getsize(source)
        path = self._path(sha256)
        if size > self._budget_bytes or os.path.exists(path):
            return
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        staged = os.path.join(self.folder, f".{token}.part")
        digest = hashlib.sha256()
        try:
            descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(source, "rb") as original, open(descriptor, "wb", buffering=0) as copy:
                while piece := original.read(PIECE_BYTES):
                    digest.update(piece)
                    _write(copy.fileno(), piece)
            if digest.hexdigest() == sha256:
                os.replace(staged, path)
        finally:
            self._remove(staged)
        self._make_room()

    def _make_room(self) -> None:
        entries = sorted(self._entries(), key=lambda entry: entry.used)
        total = sum(entry.size for entry in entries)
        for entry in entries[:-1]:
            if total <= self._budget_bytes:
                return
            self._remove(entry.path)
            total -= entry.size

    def _entries(self) -> list[_Entry]:
        found = []
        for folder, _, names in os.walk(self.folder):
            for name in names:
                path = os.path.join(folder, name)
                with contextlib.suppress(FileNotFoundError):
                    status = os.stat(path)
                    found.append(_Entry(path, status.st_size, status.st_mtime))
        return found

    def _path(self, sha256: str) -> str:
        return os.path.join(self.folder, sha256[:2], sha256)

    def _remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def default_cache_folder(environment: Mapping[str, str] | None = None) -> str | None:
    """`$XDG_CACHE_HOME/streamer`, else `~/.cache/streamer`; None for a user without a home."""
    given = (os.environ if environment is None else environment).get("XDG_CACHE_HOME", "")
    if os.path.isabs(given):  # the standard says to ignore any other
        return os.path.join(given, "streamer")
    home = os.path.expanduser("~")
    return os.path.join(home, ".cache", "streamer") if os.path.isabs(home) and home != "/" else None


def _write(descriptor: int, piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
