"""The folder of this machine that bundles are unpacked into: one folder for each content, there whole or not at all.

Code is run from here, so nobody else may write here. Files that a cleaner of /tmp took away are noticed, and the bundle is
unpacked again. Blocking; callers run it in threads.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
from dataclasses import dataclass

import orjson

from streamer.bundles.unpack import unpack
from streamer.documents import Count, parsed, typed
from streamer.errors import Denied

_CONTENTS = ".streamer-bundle.json"
_LOCKS = ".locks"


@dataclass(frozen=True, slots=True)
class Pointed:
    """What an alias pointed to when somebody on this machine last asked. checked: seconds since 1970."""

    n: int
    sha256: str
    checked: float


class Home:
    """The folder `to`. Raises `OSError` and `Denied` where it cannot be used."""

    def __init__(self, to: str | os.PathLike[str]) -> None:
        self.folder = os.path.realpath(os.path.expanduser(os.fspath(to)))
        self.locks = os.path.join(self.folder, _LOCKS)

    def open(self) -> None:
        """Make it where it is not there, and see that nobody but this user (and root) can write into it."""
        os.makedirs(self.folder, 0o700, exist_ok=True)
        status = os.stat(self.folder)
        if status.st_uid not in (os.getuid(), 0) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise Denied(
                "others may write into the folder that code is to be loaded from",
                hint="name a folder of this user alone (chmod go-w), or one that is not there yet",
                path=self.folder,
            )

    def path(self, stem: str, sha256: str) -> str:
        """Where this content of the bundle is unpacked."""
        return os.path.join(self.folder, f"{stem}-{sha256[:32]}")

    def is_whole(self, path: str) -> bool:
        """Whether everything that was unpacked into `path` is there, by names and sizes."""
        try:
            with open(os.path.join(path, _CONTENTS), "rb") as file:
                files = typed(parsed(file.read()).get("files"), dict[str, Count])
            return all(os.stat(os.path.join(path, name)).st_size == size for name, size in files.items())
        except (OSError, ValueError):
            return False

    def stage(self, stem: str, token: str) -> str:
        """A new folder to fetch and unpack in. The lock of `stem` is held, so others of it are of dead processes, and go."""
        prefix = f".{stem}+"  # no stem has a +
        for name in os.listdir(self.folder):
            if name.startswith(prefix):
                shutil.rmtree(os.path.join(self.folder, name), ignore_errors=True)
        staged = os.path.join(self.folder, f"{prefix}{token}")
        os.mkdir(staged, 0o700)
        return staged

    def install(self, archive: str, suffix: str, staged: str, path: str, size_limit_bytes: int) -> None:
        """Unpack `archive` below `staged`, and have it appear at `path` at once. What is there already is not whole: it
        goes."""
        content = os.path.join(staged, "content")
        os.mkdir(content, 0o755)
        files = unpack(archive, suffix, content, size_limit_bytes=size_limit_bytes)
        listed = orjson.dumps({"version": 1, "files": {file.name: file.size for file in files}})
        with open(os.path.join(content, _CONTENTS), "xb") as file:
            file.write(listed)
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, os.path.join(staged, "broken"))
        os.rename(content, path)

    def discard(self, staged: str) -> None:
        """Remove what was staged."""
        shutil.rmtree(staged, ignore_errors=True)

    def pointed(self, stem: str, alias: str) -> Pointed | None:
        """What `alias` pointed to; None where nobody has noted it."""
        try:
            with open(self._note(stem, alias), "rb") as file:
                return typed(parsed(file.read()), Pointed)  # type: ignore[no-any-return]
        except (OSError, ValueError):
            return None

    def note(self, stem: str, alias: str, pointed: Pointed, token: str) -> None:
        """Note what `alias` points to, for the processes that start soon."""
        path = self._note(stem, alias)
        body = orjson.dumps({"n": pointed.n, "sha256": pointed.sha256, "checked": pointed.checked})
        with contextlib.suppress(OSError):  # a folder that is read-only costs the next process a question
            with open(f"{path}.{token}", "xb") as file:
                file.write(body)
            os.replace(f"{path}.{token}", path)

    def _note(self, stem: str, alias: str) -> str:
        # An alias is what a caller says, and need not be a file's name.
        digest = hashlib.sha256(alias.encode("utf-8", "surrogateescape")).hexdigest()
        return os.path.join(self.folder, f".{stem}@{digest[:16]}.json")
