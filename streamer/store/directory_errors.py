"""What a file system's refusals mean, in streamer's own errors, with the reader's next step."""

from __future__ import annotations

import errno

from streamer.errors import Denied, Invalid, StreamerError, Unavailable


def translate_os_error(error: OSError, key: str | None, root: str) -> StreamerError:
    """The error that `error` is, as long as no object got its name yet: nothing was done."""
    reason = f"{error.strerror or error} ({errno.errorcode.get(error.errno or 0, error.errno)})"
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return Unavailable(f"the disk is full: {reason}", hint="free space, or move the lake", path=root, key=key)
        case errno.EROFS | errno.EACCES | errno.EPERM:
            return Denied(
                f"the directory refused: {reason}", hint="grant this user rwx on it, or remount it", path=root, key=key
            )
        case errno.ENOTDIR | errno.EISDIR | errno.ENAMETOOLONG:
            return Invalid(f"the key does not fit into a directory: {reason}", hint="a key cannot be a folder too", key=key)
        case errno.EMFILE | errno.ENFILE:
            return Unavailable(f"too many open files: {reason}", hint="raise `ulimit -n`", path=root, key=key)
        case errno.ENOLCK | errno.ENOTSUP:
            return Invalid(f"the file system cannot lock: {reason}", hint="use a local file system", path=root, key=key)
    return Unavailable(f"the file system failed: {reason}", hint="look at the disk", path=root, key=key)
