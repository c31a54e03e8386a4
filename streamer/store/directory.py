"""A store in a directory of a local file system, with the same keys as in a bucket.

The event loop's side: deadlines, threads and listings; every file operation is in `directory_files`. Compare-and-swap is a
lock between the processes of one machine, so this is no store for two machines over a network file system.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import timedelta
from typing import TypeVar

from streamer.clock import Clock
from streamer.errors import OutcomeUnknown, StreamerError, Unavailable
from streamer.store.contract import NO_METADATA, ObjectInfo, Part, PutMode, StoredObject, Upload
from streamer.store.directory_errors import translate_os_error
from streamer.store.directory_files import Busy, DirectoryFiles
from streamer.store.directory_uploads import DirectoryUploads
from streamer.store.limits import check_metadata, check_prefix
from streamer.workers import ThreadWorkers, Workers

T = TypeVar("T")

# Another process holds the lock for some milliseconds: one sync of a folder.
_LOCK_WAIT_SECONDS = 0.02
_ABANDONED_AFTER = timedelta(days=1)
_SLOWEST_BYTES_PER_SECOND = 10 << 20


class DirectoryStore:
    """Objects as files under `path`.

    workers: where blocking calls run; by default four threads of its own, which `close` ends. create: `prepare` makes the
    directory. request_seconds: the deadline of a call. Metadata is read from Parquet footers (`streamer.` entries); where
    the footer does not say it, a hidden `.{name}.metadata.json` does. Files are 0640, folders 0750, less the umask.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        clock: Clock,
        *,
        workers: Workers | None = None,
        create: bool = False,
        request_seconds: float = 60.0,
    ) -> None:
        self._files = DirectoryFiles(os.fspath(path))
        self._uploads = DirectoryUploads(self._files)
        self._clock = clock
        self._workers = workers or ThreadWorkers(4)
        self._owns_workers = workers is None
        self._create = create
        self._request_seconds = request_seconds

    @property
    def url(self) -> str:
        return f"file://{self._files.root}"

    @property
    def conditional_writes(self) -> bool:
        return True

    async def get(self, key: str) -> StoredObject:
        self._files.check(key)
        return await self._run(functools.partial(self._files.read, key), key)

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        self._files.check(key)
        if length < 0:
            raise ValueError(f"length {length} is negative")
        return await self._run(functools.partial(self._files.read_range, key, start, length), key)

    async def head(self, key: str) -> ObjectInfo:
        self._files.check(key)
        return await self._run(functools.partial(self._files.head, key), key)

    async def put(
        self,
        key: str,
        body: bytes | memoryview,
        *,
        mode: PutMode,
        metadata: Mapping[str, str] = NO_METADATA,
        content_type: str = "application/octet-stream",
    ) -> str:
        self._files.check(key)
        check_metadata(metadata)
        temporary = self._clock.token()
        write = functools.partial(self._files.write, key, body, mode, metadata, temporary, self._clock.now())
        return await self._run(write, key, writes=True, abandon=functools.partial(self._files.forget, temporary))

    async def begin_upload(
        self,
        key: str,
        *,
        part_bytes: int,
        metadata: Mapping[str, str] = NO_METADATA,
        content_type: str = "application/octet-stream",
    ) -> Upload:
        self._files.check(key)
        check_metadata(metadata)
        begin = functools.partial(self._uploads.begin, key, self._clock.token(), part_bytes, metadata)
        return await self._run(begin, key, writes=True)

    async def put_part(self, upload: Upload, number: int, body: bytes) -> Part:
        return await self._run(functools.partial(self._uploads.put_part, upload, number, body), upload.key, writes=True)

    async def complete_upload(self, upload: Upload, parts: Sequence[Part], *, mode: PutMode) -> str:
        complete = functools.partial(self._uploads.complete, upload, parts, mode, self._clock.now())
        # It is read once more for its ETag, and synced.
        size = sum(part.size_bytes for part in parts)
        return await self._run(complete, upload.key, writes=True, more_seconds=size / _SLOWEST_BYTES_PER_SECOND)

    async def abort_upload(self, upload: Upload) -> None:
        await self._run(functools.partial(self._uploads.abort, upload), upload.key, writes=True)

    async def list_uploads(self, prefix: str = "") -> AsyncIterator[Upload]:
        check_prefix(prefix)
        for upload in await self._run(functools.partial(self._uploads.list, prefix), None):
            yield upload

    async def delete(self, key: str) -> None:
        self._files.check(key)
        await self._run(functools.partial(self._files.delete, key), key, writes=True)

    async def list(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        check_prefix(prefix)
        # Depth first, the next one last: folders wait as their keys until their turn comes.
        waiting: list[ObjectInfo | str] = [prefix[: prefix.rfind("/") + 1]]
        while waiting:
            item = waiting.pop()
            if isinstance(item, ObjectInfo):
                yield item
            else:
                found = await self._run(functools.partial(self._files.scan, item, prefix, start_after), None)
                waiting.extend(reversed(found))

    async def prepare(self) -> None:
        oldest = (self._clock.now() - _ABANDONED_AFTER).timestamp()
        await self._run(functools.partial(self._files.prepare, self._create, oldest), None)

    async def close(self) -> None:
        if self._owns_workers:
            self._workers.close()

    async def _run(
        self,
        work: Callable[[], T],
        key: str | None,
        *,
        writes: bool = False,
        abandon: Callable[[], None] | None = None,
        more_seconds: float = 0.0,
    ) -> T:
        """What `work()` returns, asked again while another process holds the lock; errors translated. `abandon` undoes the
        first part of work that waits for the lock in vain."""
        try:
            async with asyncio.timeout(self._request_seconds + more_seconds):
                while True:
                    try:
                        return await self._workers.run(work)
                    except Busy:
                        await self._wait_for_lock(abandon)
        except TimeoutError as error:
            raise self._no_answer(key, writes) from error
        except OSError as error:
            raise translate_os_error(error, key, self._files.root) from error

    async def _wait_for_lock(self, abandon: Callable[[], None] | None) -> None:
        try:
            await self._clock.sleep(self._clock.jitter(_LOCK_WAIT_SECONDS))
        except asyncio.CancelledError:
            if abandon is not None:
                await self._workers.run(abandon)
            raise

    def _no_answer(self, key: str | None, writes: bool) -> StreamerError:
        kind = OutcomeUnknown if writes else Unavailable
        return kind(
            f"the file system did not answer within {self._request_seconds:g} s",
            hint="look at the disk, and for a process that holds the lock",
            path=self._files.root,
            key=key,
        )
