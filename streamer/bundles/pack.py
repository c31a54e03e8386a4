"""From a folder to a zip file: equal folders become equal bytes, so that a bundle that is there already is not pushed again.

Equal on one version of zlib. `__pycache__` stays behind: it differs from run to run. Blocking; callers run it in threads.
"""

from __future__ import annotations

import os
import stat
import zipfile

from streamer.errors import Denied, Invalid

_LEFT = ("__pycache__",)
_NO_TIME = (1980, 1, 1, 0, 0, 0)  # the first that a zip file can say
_PIECE_BYTES = 1 << 20


def pack(folder: str, target: str) -> None:
    """Write the files of `folder`, and links that stay within it, to the zip file `target`.

    Raises `Invalid` where it is empty, or has a link out, a device, a pipe or a socket; `Denied` where a file cannot be read.
    """
    root = os.path.realpath(folder)
    try:
        names = sorted(_names(root))
        if not names:
            raise Invalid("the folder has no files", hint="name the folder whose content is to be on sys.path", path=folder)
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            for name in names:
                _add(archive, root, name)
    except PermissionError as error:
        raise Denied("a file cannot be read", hint="grant this user r on it", path=error.filename) from error


def _names(root: str) -> list[str]:
    found = []
    for folder, folders, files in os.walk(root, onerror=_raise):
        linked = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        folders[:] = [name for name in folders if name not in _LEFT and name not in linked]
        found += [os.path.relpath(os.path.join(folder, name), root) for name in (*files, *linked)]
    return found


def _add(archive: zipfile.ZipFile, root: str, name: str) -> None:
    path = os.path.join(root, name)
    status = os.lstat(path)
    info = zipfile.ZipInfo(name, _NO_TIME)
    info.create_system = 3
    info.compress_type = zipfile.ZIP_DEFLATED
    if stat.S_ISLNK(status.st_mode):
        target = os.readlink(path)
        if os.path.isabs(target) or os.path.commonpath([root, os.path.realpath(path)]) != root:
            raise Invalid("a link leads out of the folder", hint="put the file itself there", path=path)
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, target)
    elif stat.S_ISREG(status.st_mode):
        info.external_attr = (stat.S_IFREG | (0o755 if status.st_mode & 0o100 else 0o644)) << 16
        with open(path, "rb") as source, archive.open(info, "w", force_zip64=status.st_size > 1 << 31) as copy:
            while piece := source.read(_PIECE_BYTES):
                copy.write(piece)
    else:
        raise Invalid("the folder has a device, a pipe or a socket", hint="remove it", path=path)


def _raise(error: OSError) -> None:
    raise error
