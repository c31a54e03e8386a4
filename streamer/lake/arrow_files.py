"""The lake as a file system of pyarrow's: its datasets, and so DuckDB's scans, read through our own store, retries and cache.

Read-only. pyarrow calls from its own threads and waits; the reads run in the event loop of the lake.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.fs as pa_fs

from streamer.errors import StreamerError
from streamer.lake.loop_thread import LoopRunner
from streamer.lake.object_reader import VersionReader
from streamer.lake.ranged_file import RangedFile
from streamer.lake.stored_file import WHOLE_BYTES
from streamer.store.contract import ObjectInfo

TAIL_BYTES = 64 << 10


class LakeFiles(pa_fs.FileSystemHandler):  # type: ignore[misc]
    """The objects of `infos` by key, and nothing else."""

    def __init__(
        self, versions: VersionReader, loop: LoopRunner, infos: Iterable[ObjectInfo], failures: list[StreamerError]
    ) -> None:
        """failures: takes in what went wrong, because pyarrow and DuckDB pass on no more than a text."""
        self._failures = failures
        self._versions = versions
        self._loop = loop
        self._infos: Mapping[str, ObjectInfo] = {info.key: info for info in infos}

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def get_type_name(self) -> str:
        return "streamer"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[Any]:
        found = []
        for path in paths:
            info = self._infos.get(path)
            kind = pa_fs.FileType.NotFound if info is None else pa_fs.FileType.File
            found.append(pa_fs.FileInfo(path, kind, size=info.size_bytes if info is not None else None))
        return found

    def open_input_file(self, path: str) -> Any:
        info = self._infos.get(path)
        if info is None:
            raise FileNotFoundError(path)
        if info.size_bytes <= WHOLE_BYTES:
            return pa.BufferReader(self._run(self._versions.read(info)))
        return pa.PythonFile(_ObjectByRanges(self, info), mode="r")

    def open_input_stream(self, path: str) -> Any:
        return self.open_input_file(path)

    def read_range(self, info: ObjectInfo, start: int, length: int) -> bytes:
        """Some bytes, now. Raises `OSError`, which is what pyarrow understands."""
        return bytes(self._run(self._versions.read_range(info, start, length)))

    def _run(self, work: Any) -> Any:
        try:
            return self._loop.run(work)
        except StreamerError as error:
            self._failures.append(error)
            raise OSError(str(error)) from error

    def get_file_info_selector(self, selector: Any) -> list[Any]:
        raise NotImplementedError("the files of a dataset are named, not searched")

    def _refuse(self, *arguments: Any, **named: Any) -> Any:
        raise OSError("the lake is read-only here")

    create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = delete_file = _refuse
    move = copy_file = open_output_stream = open_append_stream = _refuse


class _ObjectByRanges(RangedFile):
    """One large object, read by ranges; its tail, where the footer is, comes first and stays."""

    def __init__(self, files: LakeFiles, info: ObjectInfo) -> None:
        super().__init__(info.size_bytes)
        self._files = files
        self._info = info
        self._tail_start = max(0, info.size_bytes - TAIL_BYTES)
        self._tail: bytes | None = None

    def read_at(self, start: int, length: int) -> bytes:
        if start < self._tail_start:
            return self._files.read_range(self._info, start, length)
        if self._tail is None:
            tail_bytes = self._info.size_bytes - self._tail_start
            self._tail = self._files.read_range(self._info, self._tail_start, tail_bytes)
        return self._tail[start - self._tail_start : start - self._tail_start + length]
