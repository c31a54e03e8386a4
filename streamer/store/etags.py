"""What names a version of an object: the MD5 of its content, in quotes, as S3 gives it to an unencrypted PUT.

Because it comes from the content alone, the twins in memory and in a directory agree with a bucket.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os

# With the size and time it was taken at: a listing must not read the lake.
_ATTRIBUTE = "user.streamer.etag"


def content_etag(body: bytes | memoryview) -> str:
    """The ETag of an object with these bytes."""
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def file_etag(file: io.BufferedReader) -> str:
    """The ETag of an object with the bytes from here to the end of `file`."""
    return f'"{hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()}"'


def remember_etag(descriptor: int, etag: str) -> None:
    """Record the ETag beside the file, for `recorded_etag`, once its size and time are final."""
    status = os.fstat(descriptor)
    # A file system without extended attributes only makes listings slower.
    with contextlib.suppress(OSError):
        os.setxattr(descriptor, _ATTRIBUTE, f"{etag} {status.st_size} {status.st_mtime_ns}".encode())


def recorded_etag(where: str | int, status: os.stat_result) -> str | None:
    """The recorded ETag of a path or descriptor; None if there is none, or the file was changed since."""
    try:
        text = os.getxattr(where, _ATTRIBUTE).decode("ascii", "replace")
    except OSError:
        return None
    etag, _, taken = text.partition(" ")
    return etag if taken == f"{status.st_size} {status.st_mtime_ns}" else None


def known_etag(file: io.BufferedReader) -> str:
    """The recorded ETag, else the one of the content from here to the end."""
    return recorded_etag(file.fileno(), os.fstat(file.fileno())) or file_etag(file)
