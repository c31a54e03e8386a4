"""What is in a zip or tar file, entry by entry, read with suspicion: whoever may write to the bucket may have written it.

Names, kinds and sizes are judged here, before anything of an entry is on a disk. Whatever is odd refuses the whole archive.
What becomes of an entry is `unpack.py`'s affair.
"""

from __future__ import annotations

import gzip
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, Literal, TypeVar, cast

from streamer.errors import Invalid

T = TypeVar("T")
Kind = Literal["file", "folder", "link"]

SUFFIXES = (".zip", ".whl", ".tar", ".tar.gz", ".tgz")
"""Of the archives that are read. Not xz: its header says how much memory reading takes."""

PIECE_BYTES = 1 << 20
PATH_BYTES = 1024
NAME_BYTES = 255
LINK_BYTES = 1024


class BadArchive(Invalid):
    """The archive cannot be read, or would write what it must not. Nothing of it was used."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in an archive. path: its parts, never empty, `.` or `..`. target: of a link. read: pieces of a file's bytes."""

    path: tuple[str, ...]
    kind: Kind
    executable: bool = False
    target: str = ""
    read: Callable[[], Iterator[bytes]] = lambda: iter(())

    @property
    def name(self) -> str:
        return "/".join(self.path)


@contextmanager
def opened_archive(path: str, suffix: str) -> Iterator[Iterator[Entry]]:
    """The entries of the archive at `path`, in its order; each is to be read before the next is asked for.

    suffix: how it is packed. Raises `BadArchive` for every fault of it, also while entries are read.
    """
    if suffix not in SUFFIXES:
        raise BadArchive(f"{suffix or 'no suffix'} is no archive's", hint=f"pack it as one of {', '.join(SUFFIXES)}")
    with ExitStack() as stack:
        with _refusing():
            if suffix in (".zip", ".whl"):
                entries = _zip_entries(stack.enter_context(zipfile.ZipFile(path)))
            else:
                plain = cast(IO[bytes], _Careful(stack.enter_context(_uncompressed(path, suffix))))
                entries = _tar_entries(stack.enter_context(tarfile.open(fileobj=plain, mode="r:")))
        yield _guarded(entries)


_FAULTS = (
    zipfile.BadZipFile, zipfile.LargeZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, RuntimeError,
    ValueError, OSError,
)  # fmt: skip
"""What the readers of the standard library raise for damage: of a wrong place in the file the system itself complains."""


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except _FAULTS as error:
        raise BadArchive(f"the archive is damaged: {str(error)[:200]}", hint="pack it anew, and push it again") from error


def _guarded(items: Iterator[T]) -> Iterator[T]:
    """The items; only what goes wrong between them is the archive's fault, and not what their reader does with them."""
    while True:
        with _refusing():
            item = next(items, None)
        if item is None:
            return
        yield item


def parts_of(name: str) -> tuple[str, ...]:
    """The parts of an entry's name. Raises `BadArchive` for one that could lie outside, or that file systems read
    differently."""
    shown = repr(name[:120])
    if name.startswith("/") or "\\" in name or any(ord(c) < 32 or ord(c) == 127 for c in name):
        raise BadArchive("an entry's name is absolute, or has \\ or control characters", hint=_REPACK, entry=shown)
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise BadArchive("an entry's name is no text", hint=_REPACK, entry=shown) from None
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts:
        raise BadArchive("an entry's name leads out of the archive", hint=_REPACK, entry=shown)
    if size > PATH_BYTES or any(len(part.encode()) > NAME_BYTES for part in parts):
        raise BadArchive("an entry's name is too long", hint=_REPACK, entry=shown)
    return parts


_REPACK = "do not use this archive before you know who packed it; pack the folder anew with `streamer bundles push`"


def _zip_entries(archive: zipfile.ZipFile) -> Iterator[Entry]:
    for info in archive.infolist():
        if info.orig_filename != info.filename:  # zipfile cuts names at a NUL
            raise BadArchive("an entry's name has a NUL", hint=_REPACK, entry=repr(info.orig_filename[:120]))
        parts, mode = parts_of(info.filename), info.external_attr >> 16
        if info.flag_bits & 0x1:
            raise BadArchive("an entry is encrypted", hint="pack it without a password", entry=info.filename[:120])
        kind = stat.S_IFMT(mode) if info.create_system == 3 else 0
        if not parts:
            continue
        if info.is_dir():
            yield Entry(parts, "folder")
        elif kind == stat.S_IFLNK:
            yield Entry(parts, "link", target=_zip_target(archive, info))
        elif kind in (0, stat.S_IFREG):
            yield Entry(parts, "file", bool(mode & 0o100), read=lambda info=info: _guarded(_zip_pieces(archive, info)))  # type: ignore[misc]
        else:
            raise BadArchive("an entry is a device, a pipe or a socket", hint=_REPACK, entry=info.filename[:120])


def _zip_target(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    if info.file_size > LINK_BYTES:
        raise BadArchive("a link's target is too long", hint=_REPACK, entry=info.filename[:120])
    with archive.open(info) as file:
        return file.read(LINK_BYTES + 1).decode()


def _zip_pieces(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    with archive.open(info) as file:
        yield from _pieces(file)


def _tar_entries(archive: tarfile.TarFile) -> Iterator[Entry]:
    files: dict[tuple[str, ...], tarfile.TarInfo] = {}
    for info in archive:
        parts = parts_of(info.name)
        if not parts:
            continue
        content = info
        if info.islnk():
            # A second name of an entry before it: its bytes, once more.
            found = files.get(parts_of(info.linkname))
            if found is None:
                raise BadArchive("a hard link names no entry before it", hint=_REPACK, entry=info.name[:120])
            content = found
        if info.isdir():
            yield Entry(parts, "folder")
        elif info.issym():
            yield Entry(parts, "link", target=info.linkname)
        elif info.isreg() or info.islnk():
            files[parts] = content
            yield Entry(parts, "file", bool(info.mode & 0o100), read=lambda info=content: _guarded(_tar_pieces(archive, info)))  # type: ignore[misc]
        else:
            raise BadArchive("an entry is a device, a pipe or a socket", hint=_REPACK, entry=info.name[:120])


def _tar_pieces(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Iterator[bytes]:
    file = archive.extractfile(info)
    assert file is not None
    with file:
        yield from _pieces(file)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(PIECE_BYTES):
        yield piece


def _uncompressed(path: str, suffix: str) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if suffix.endswith("gz") else open(path, "rb")


class _Careful:
    """A file that gives no more than a piece at once: `tarfile` reads headers of the size that they claim into memory."""

    def __init__(self, inner: IO[bytes]) -> None:
        self._inner = inner
        self.seek = inner.seek
        self.tell = inner.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= PIECE_BYTES:
            raise BadArchive("a header of the archive claims to be larger than a megabyte", hint=_REPACK)
        return self._inner.read(size)
