"""A directory as a store, in blocking calls: how bytes become durable, atomic and conditional on a local file system.

An object is written whole into `.streamer/tmp`, synced, and only then given its name: by `link`, which refuses a name that is
taken, or by `rename`, which replaces it. Conditions are checked under a lock file, which the kernel releases when a process
dies. Hidden are `.streamer` and the metadata twins, and nothing else. No event loop here: `directory` owns that.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import stat
import threading
from collections.abc import Generator, Mapping
from datetime import UTC, datetime

from streamer.errors import Conflict, Denied, Invalid, NotFound, OutcomeUnknown, Unavailable
from streamer.store.contract import NO_METADATA, Create, NoSuchPlace, ObjectInfo, PutMode, Replace, StoredObject
from streamer.store.directory_metadata import (
    PARQUET_SUFFIX,
    TWIN_SUFFIX,
    decode_twin,
    encode_twin,
    footer_metadata,
    is_twin_name,
    says_it_itself,
    twin_name,
)
from streamer.store.etags import content_etag, file_etag, known_etag, recorded_etag, remember_etag
from streamer.store.limits import check_key

HIDDEN = ".streamer"
FILE_MODE = 0o640
FOLDER_MODE = 0o750
SEGMENT_BYTES = 255

_REREAD_BYTES = 8 << 20

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


class Busy(Exception):
    """Another process holds the lock: ask again."""


class DirectoryFiles:
    """The files under one root. Thread-safe; several processes may use one root."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)
        self.temporary = os.path.join(self.root, HIDDEN, "tmp")
        self._lock_path = os.path.join(self.root, HIDDEN, "lock")
        self._mutex = threading.Lock()

    def check(self, key: str) -> None:
        """Raise `Invalid` for keys that no store takes, and for those a file system has no room for."""
        check_key(key)
        *folders, name = key.split("/")
        if key.split("/")[0] == HIDDEN or is_twin_name(name):
            raise Invalid("the key has a name that the store uses itself", hint="use another name", key=key)
        if any(len(part.encode()) > SEGMENT_BYTES for part in (*folders, name)):
            raise Invalid(
                f"a directory holds no name of more than {SEGMENT_BYTES} bytes", hint="use S3, or shorter names", key=key
            )

    def prepare(self, create: bool, oldest_temporary: float) -> None:
        """Find out that the root is there and readable; with `create` make it. Removes temporary files that were last
        written before `oldest_temporary` (seconds since the epoch): a process died over them."""
        if create:
            os.makedirs(self.root, FOLDER_MODE, exist_ok=True)
        if not os.path.isdir(self.root):
            raise NoSuchPlace(
                "the lake's directory does not exist", hint="create it: `streamer init`, or mkdir", path=self.root
            )
        if not os.access(self.root, os.R_OK | os.X_OK):
            raise Denied("the lake's directory may not be read", hint="grant this user r-x on it", path=self.root)
        with contextlib.suppress(FileNotFoundError), os.scandir(self.temporary) as entries:
            for entry in entries:
                if entry.stat().st_mtime < oldest_temporary and os.access(self.temporary, os.W_OK):
                    _remove(entry.path)

    def read(self, key: str) -> StoredObject:
        while True:
            with self._open(key) as file:
                body = file.read()
                info = self._info(key, file, content_etag(body))
            if info is not None:
                return StoredObject(info, body)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        with self._open(key) as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size + start) if start < 0 else start)
            return file.read(length)

    def head(self, key: str) -> ObjectInfo:
        while True:
            with self._open(key) as file:
                info = self._info(key, file, known_etag(file))
            if info is not None:
                return info

    def write(
        self, key: str, body: bytes | memoryview, mode: PutMode, metadata: Mapping[str, str], temporary: str, modified: datetime
    ) -> str:
        """Write the object and return its ETag; `temporary` is a name that nobody else uses. Raises `Conflict`, and `Busy`:
        then call again with the same arguments, or `forget(temporary)`."""
        staged = os.path.join(self.temporary, temporary)
        etag = content_etag(body)
        if not os.path.exists(staged):
            self._stage(staged, body, etag, modified)
        try:
            self.publish(key, staged, etag, mode, None if says_it_itself(key, body, metadata) else metadata)
        except Busy:
            raise
        except BaseException:
            self.forget(temporary)
            raise
        return etag

    def temporary_folder(self) -> str:
        """Where files wait for their names; made if need be."""
        self._make_hidden(self.temporary)
        return self.temporary

    def publish(self, key: str, staged: str, etag: str, mode: PutMode, metadata: Mapping[str, str] | None) -> None:
        """Name the synced file `staged`. `metadata`: None where the object says it itself. Raises `Conflict`, and `Busy`."""
        with self._locked():
            self._publish(key, staged, etag, mode, metadata)

    def forget(self, temporary: str) -> None:
        """Remove what a `write` that was given up has staged."""
        staged = os.path.join(self.temporary, temporary)
        _remove(staged)
        _remove(f"{staged}{TWIN_SUFFIX}")

    def delete(self, key: str) -> None:
        """Remove the object, its twin, and folders that become empty. Raises `Busy`."""
        path = self._path(key)
        if not os.path.lexists(path):
            self._still_there()
            return
        if os.path.isdir(path):
            return
        with self._locked():
            _remove(path)
            folder, name = os.path.split(path)
            _remove(os.path.join(folder, twin_name(name)))
            # A folder that is not empty, or may not be removed, stays; it is no object.
            with contextlib.suppress(OSError):
                while folder != self.root:
                    os.rmdir(folder)
                    folder = os.path.dirname(folder)
            _sync(folder)

    def scan(self, folder: str, prefix: str, start_after: str) -> list[ObjectInfo | str]:
        """What is directly in `folder` (a key ending in `/`, or empty) and can matter to a listing, in the order of the
        keys' bytes: objects, and sub-folders as keys ending in `/`."""
        found: list[ObjectInfo | str] = []
        try:
            entries = os.scandir(os.path.join(self.root, folder))
        except (FileNotFoundError, NotADirectoryError):
            self._still_there()
            return []
        with entries:
            for entry in entries:
                key = folder + entry.name
                if key == HIDDEN or is_twin_name(entry.name) or not _is_text(entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    inside = f"{key}/"
                    # Past all of the folder's keys only if it is greater and not one of them.
                    passed = start_after > inside and not start_after.startswith(inside)
                    if inside.startswith(prefix) and not passed:
                        found.append(inside)
                elif key.startswith(prefix) and key > start_after and (info := self._listed(key, entry)) is not None:
                    found.append(info)
        # A folder sorts as its keys do: with the slash. Code points sort as their UTF-8 bytes.
        return sorted(found, key=lambda item: item if isinstance(item, str) else item.key)

    def _stage(self, staged: str, body: bytes | memoryview, etag: str, modified: datetime) -> None:
        self._make_hidden(self.temporary)
        seconds = modified.timestamp()
        try:
            descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
            with open(descriptor, "wb", buffering=0) as file:
                rest = memoryview(body)
                while rest:
                    rest = rest[file.write(rest) :]
                os.utime(descriptor, (seconds, seconds))
                remember_etag(descriptor, etag)
                os.fsync(descriptor)
        except BaseException:
            _remove(staged)
            raise

    def _publish(self, key: str, staged: str, etag: str, mode: PutMode, metadata: Mapping[str, str] | None) -> None:
        path = self._path(key)
        folder, name = os.path.split(path)
        there = self._etag_there(path)
        match mode:
            case Create() if there is not None:
                raise Conflict("the object is already there", key=key)
            case Replace(expected) if there != expected:
                raise Conflict("the object is not the version to replace", key=key)
        self._make_folders(folder)
        self._write_twin(folder, name, staged, there, etag, metadata)
        if isinstance(mode, Create):
            try:
                os.link(staged, path)
            except FileExistsError:
                raise Conflict("the object is already there", key=key) from None
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                hint = "use a local file system such as ext4 or xfs"
                raise Invalid("the file system has no hard links", hint=hint, path=self.root) from error
            os.unlink(staged)
        else:
            os.replace(staged, path)
        try:
            _sync(folder)
        except OSError as error:
            raise OutcomeUnknown("the object has its name but was not synced", hint="look at the disk", key=key) from error

    def _write_twin(
        self, folder: str, name: str, staged: str, there: str | None, etag: str, metadata: Mapping[str, str] | None
    ) -> None:
        path = os.path.join(folder, twin_name(name))
        old = _read_twin(path)
        if old is None and metadata is None:
            return
        if len(twin_name(name).encode()) > SEGMENT_BYTES:
            raise Invalid("the name is too long to have metadata in a directory", hint="use S3, or shorter names", key=name)
        versions: dict[str, Mapping[str, str]] = {etag: metadata or {}}
        if there is not None and old is not None and there in old and there != etag:
            versions[there] = old[there]
        twin = f"{staged}{TWIN_SUFFIX}"
        descriptor = os.open(twin, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
        with open(descriptor, "wb") as file:
            file.write(encode_twin(versions))
            file.flush()
            os.fsync(descriptor)
        os.replace(twin, path)

    def _etag_there(self, path: str) -> str | None:
        # From the content, not from the attribute: compare-and-swap rests on it, and what it guards is small. The copy of a
        # model is not, and everybody waits for the lock: there the attribute counts, with the size and time it was taken at.
        try:
            with open(path, "rb") as file:
                small = os.fstat(file.fileno()).st_size <= _REREAD_BYTES
                return file_etag(file) if small else known_etag(file)
        except FileNotFoundError:
            return None

    def _info(self, key: str, file: io.BufferedReader, etag: str) -> ObjectInfo | None:
        """None where the object was replaced while we looked: look again."""
        status = os.fstat(file.fileno())
        path = self._path(key)
        folder, name = os.path.split(path)
        metadata = NO_METADATA
        twin = _read_twin(os.path.join(folder, twin_name(name)))
        if twin is not None and etag in twin:
            metadata = twin[etag]
        elif twin is not None and _replaced(path, status):
            return None
        if not metadata and name.endswith(PARQUET_SUFFIX):
            file.seek(0)
            metadata = footer_metadata(file)
        return ObjectInfo(key, status.st_size, etag, _modified(status), metadata)

    def _listed(self, key: str, entry: os.DirEntry[str]) -> ObjectInfo | None:
        try:
            status = entry.stat()
            if not stat.S_ISREG(status.st_mode):
                return None
            etag = recorded_etag(entry.path, status)
            if etag is None:
                with open(entry.path, "rb") as file:
                    etag = known_etag(file)
        except FileNotFoundError:
            return None
        return ObjectInfo(key, status.st_size, etag, _modified(status))

    def _path(self, key: str) -> str:
        return os.path.join(self.root, *key.split("/"))

    def _open(self, key: str) -> io.BufferedReader:
        try:
            return open(self._path(key), "rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            self._still_there()
            raise NotFound("no such object", key=key) from None

    def _still_there(self) -> None:
        # A volume that went away must not look like an empty lake.
        if not os.path.isdir(self.root):
            raise Unavailable("the lake's directory is gone", hint="is the volume mounted?", path=self.root)

    def _make_hidden(self, folder: str) -> None:
        if not os.path.isdir(folder):
            self._still_there()
            self._make_folders(folder)

    def _make_folders(self, folder: str) -> None:
        if os.path.isdir(folder):
            return
        parent = os.path.dirname(folder)
        self._make_folders(parent)
        # Another process may make the same one. Not makedirs: its modes are for the last folder only.
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, FOLDER_MODE)
        _sync(parent)

    @contextlib.contextmanager
    def _locked(self) -> Generator[None]:
        # flock belongs to the open file, so each holder opens its own; the mutex keeps our own threads from polling.
        with self._mutex:
            self._make_hidden(os.path.dirname(self._lock_path))
            descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
            try:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise Busy from None
                yield
            finally:
                os.close(descriptor)


def _read_twin(path: str) -> dict[str, Mapping[str, str]] | None:
    try:
        with open(path, "rb") as file:
            return decode_twin(file.read())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None
        raise


def _replaced(path: str, status: os.stat_result) -> bool:
    try:
        now = os.stat(path)
    except FileNotFoundError:
        return True
    return (now.st_ino, now.st_mtime_ns, now.st_size) != (status.st_ino, status.st_mtime_ns, status.st_size)


def _modified(status: os.stat_result) -> datetime:
    return datetime.fromtimestamp(status.st_mtime, UTC)


def _is_text(name: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _sync(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
