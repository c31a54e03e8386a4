"""Objects that come to a directory in parts: each part at its place in one file, which gets its name when it is whole.

Blocking calls, as in `directory_files`, which names the file and holds the lock. An upload that nobody completes is two
temporary files, and goes the way of all temporary files.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from streamer.documents import parsed, typed
from streamer.errors import Conflict, Invalid
from streamer.store.contract import Part, PutMode, Upload
from streamer.store.directory_files import FILE_MODE, DirectoryFiles
from streamer.store.etags import content_etag, file_etag, remember_etag

_SUFFIX = ".upload"


@dataclass(frozen=True, slots=True)
class _Note:
    """What is kept beside the parts."""

    key: str
    part_bytes: int
    metadata: dict[str, str]


class DirectoryUploads:
    """The uploads under way below one root. Thread-safe; the id of an upload is the name of its file."""

    def __init__(self, files: DirectoryFiles) -> None:
        self._files = files

    def begin(self, key: str, upload_id: str, part_bytes: int, metadata: Mapping[str, str]) -> Upload:
        folder = self._files.temporary_folder()
        note = {"key": key, "part_bytes": part_bytes, "metadata": dict(metadata)}
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(os.path.join(folder, upload_id + _SUFFIX), flags, FILE_MODE), "w", encoding="utf-8") as file:
            json.dump(note, file)
        os.close(os.open(os.path.join(folder, upload_id), flags, FILE_MODE))
        return Upload(key, upload_id, part_bytes, metadata)

    def put_part(self, upload: Upload, number: int, body: bytes) -> Part:
        descriptor = self._open(upload, os.O_WRONLY)
        try:
            at, rest = (number - 1) * upload.part_bytes, memoryview(body)
            while rest:
                written = os.pwrite(descriptor, rest, at)
                at, rest = at + written, rest[written:]
        finally:
            os.close(descriptor)
        return Part(number, content_etag(body), len(body))

    def complete(self, upload: Upload, parts: Sequence[Part], mode: PutMode, modified: datetime) -> str:
        """Name the file. Raises `Conflict`, and `Busy`: then call again."""
        staged = self._path(upload)
        whole = [part for part in parts[:-1] if part.size_bytes != upload.part_bytes]
        if whole or [part.number for part in parts] != list(range(1, len(parts) + 1)):
            raise Invalid("parts of another size or order than was said", hint="begin the upload again", key=upload.key)
        descriptor = self._open(upload, os.O_RDWR)
        with open(descriptor, "rb") as file:
            if os.fstat(descriptor).st_size != sum(part.size_bytes for part in parts):
                raise Invalid("a part is missing", hint="begin the upload again", key=upload.key)
            etag = file_etag(file)
            os.utime(descriptor, (modified.timestamp(), modified.timestamp()))
            remember_etag(descriptor, etag)
            os.fsync(descriptor)
        self._files.publish(upload.key, staged, etag, mode, upload.metadata or None)
        self.abort(upload)
        return etag

    def abort(self, upload: Upload) -> None:
        for path in (self._path(upload), self._path(upload) + _SUFFIX):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def list(self, prefix: str) -> list[Upload]:
        found = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self._files.temporary) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if not entry.name.endswith(_SUFFIX):
                    continue
                with contextlib.suppress(FileNotFoundError, ValueError), open(entry.path, "rb") as file:
                    note = typed(parsed(file.read()), _Note)
                    begun = datetime.fromtimestamp(entry.stat().st_mtime, UTC)
                    upload_id = entry.name.removesuffix(_SUFFIX)
                    found.append(Upload(note.key, upload_id, note.part_bytes, note.metadata, begun))
        return [upload for upload in found if upload.key.startswith(prefix)]

    def _path(self, upload: Upload) -> str:
        return os.path.join(self._files.temporary, os.path.basename(upload.id))

    def _open(self, upload: Upload, flags: int) -> int:
        try:
            return os.open(self._path(upload), flags | os.O_CLOEXEC)
        except FileNotFoundError:
            raise Conflict("the upload is no longer there", key=upload.key) from None
