"""From an archive to a folder: never outside it, never through a link, never more than was allowed.

Files are created, links come last, and then it is proved that every link stays within. Modes, owners and times of the archive
do not count, but for whether a file is executable. Blocking; callers run it in threads.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from streamer.bundles.archive import BadArchive, Entry, opened_archive

SIZE_LIMIT_BYTES = 2 << 30
ENTRIES_MAX = 200_000

_BOMB = "raise size_limit_bytes if it is meant to be so large"


@dataclass(frozen=True, slots=True)
class File:
    """A file that was unpacked: its name within the folder, and its size."""

    name: str
    size: int


def unpack(archive: str, suffix: str, folder: str | None, *, size_limit_bytes: int = SIZE_LIMIT_BYTES) -> list[File]:
    """Write what is in `archive` (packed as `suffix` says) into the empty folder `folder`; None: read and judge it alone.

    Raises `BadArchive` for one that would write elsewhere, more than `size_limit_bytes`, or anything but files, folders and
    links within; the folder may hold a part of it then. Raises `OSError` where it cannot be written.
    """
    files: list[File] = []
    links: dict[str, str] = {}
    kinds: dict[str, str] = {}
    total = 0
    with opened_archive(archive, suffix) as entries:
        for count, entry in enumerate(entries, 1):
            if count > ENTRIES_MAX:
                raise BadArchive(f"the archive has more than {ENTRIES_MAX} entries", hint="pack fewer files")
            _place(entry, kinds)
            if entry.kind == "link":
                links[entry.name] = _checked(entry)
            elif entry.kind == "folder":
                if folder is not None:
                    os.makedirs(os.path.join(folder, *entry.path), exist_ok=True)
            else:
                size = _write(entry, folder, size_limit_bytes - total)
                total += size
                files.append(File(entry.name, size))
    if folder is not None:
        _link(folder, links)
    return files


def _place(entry: Entry, kinds: dict[str, str]) -> None:
    """Note where the entry lies. Raises `BadArchive` where another lies there, or above it and is no folder."""
    for depth in range(1, len(entry.path)):
        if kinds.setdefault("/".join(entry.path[:depth]), "folder") != "folder":
            raise BadArchive("an entry lies below a file or a link", hint=_ODD, entry=entry.name[:120])
    there = kinds.get(entry.name)
    if there is not None and not there == entry.kind == "folder":
        raise BadArchive("two entries have one name", hint=_ODD, entry=entry.name[:120])
    kinds[entry.name] = entry.kind


_ODD = "pack the folder anew with `streamer bundles push`"


def _write(entry: Entry, folder: str | None, limit: int) -> int:
    written = 0
    descriptor = None
    if folder is not None:
        path = os.path.join(folder, *entry.path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        mode = 0o755 if entry.executable else 0o644
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        for piece in entry.read():
            written += len(piece)
            if written > limit:
                raise BadArchive("the archive unpacks to more than is allowed", hint=_BOMB, entry=entry.name[:120])
            rest = memoryview(piece)
            while descriptor is not None and rest:
                rest = rest[os.write(descriptor, rest) :]
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return written


def _checked(entry: Entry) -> str:
    """A link's target. By its text alone it must stay within; what links over links come to is looked at when they are made."""
    target = entry.target
    if not target or "\0" in target or "\\" in target or os.path.isabs(target):
        raise BadArchive("a link leads out of the archive", hint=_ODD, entry=entry.name[:120])
    if os.path.normpath(os.path.join(*entry.path[:-1], target) if entry.path[:-1] else target).split("/")[0] == "..":
        raise BadArchive("a link leads out of the archive", hint=_ODD, entry=entry.name[:120])
    return target


def _link(folder: str, links: dict[str, str]) -> None:
    for name, target in links.items():
        path = os.path.join(folder, *name.split("/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.symlink(target, path)
    root = os.path.realpath(folder)
    for name in links:
        if os.path.commonpath([root, os.path.realpath(os.path.join(folder, *name.split("/")))]) != root:
            raise BadArchive("a link leads out of the archive", hint=_ODD, entry=name[:120])
