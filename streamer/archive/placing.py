"""Objects of the archive on their way into the lake: written so that a reader of certificates sees one revision or the other.

An object that the present certificate lists is not touched before the next certificate is there: its new content waits under a
hidden key named by its hash. Every write is conditional, and the lease is asked for between looking and replacing, so that a
process that was thought dead cannot put old content over new.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from streamer.archive.certificate import Certificate, Output
from streamer.archive.certificates import StoredCertificate, write_certificate
from streamer.archive.lease import Lease
from streamer.errors import Conflict, Damaged, NotFound, OutcomeUnknown
from streamer.keys import archive_part_key
from streamer.store.big_objects import Content, StoredContent, put_content, same_content
from streamer.store.contract import NO_METADATA, Create, PutMode, Replace, Store
from streamer.workers import Workers

_TRIES = 8
_AT_ONCE = 8


class LocalFile:
    """A file of the local disk as content."""

    def __init__(self, path: Path, size_bytes: int, workers: Workers) -> None:
        self._path = path
        self._size_bytes = size_bytes
        self._workers = workers

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    async def read(self, start: int, length: int) -> bytes:
        return await self._workers.run(self._read, start, length)

    def _read(self, start: int, length: int) -> bytes:
        with self._path.open("rb") as file:
            file.seek(start)
            return file.read(length)


class Placing:
    """Puts objects of the archive in their places. Methods raise `Fenced` where another process closes days now."""

    def __init__(self, store: Store, lease: Lease, workers: Workers) -> None:
        self._store = store
        self._lease = lease
        self._workers = workers

    async def place(
        self, output: Output, known: Certificate | None, path: Path, facts: Mapping[str, str] = NO_METADATA
    ) -> Output:
        """Bring the content of the file `path` into the lake for `output`; what the certificate then says of it.

        known: the day's present certificate. What it lists is left alone.
        """
        listed = known.output(output.key) if known is not None else None
        if listed is not None and (listed.sha256, listed.bytes) == (output.sha256, output.bytes):
            return replace(output, staged=listed.staged)
        if listed is not None and known is not None:
            suffix = output.key.rpartition(".")[2]
            output = replace(output, staged=archive_part_key(known.day, output.sha256, suffix))
        content = LocalFile(path, output.bytes, self._workers)
        await self.put(output.place, content, output.sha256, facts)
        return output

    async def put_file(self, key: str, path: Path, size_bytes: int, sha256: str) -> None:
        """See to it that `key` has the content of the file `path`."""
        await self.put(key, LocalFile(path, size_bytes, self._workers), sha256)

    async def put(self, key: str, content: Content, sha256: str, facts: Mapping[str, str] = NO_METADATA) -> None:
        """See to it that `key` has exactly this content."""
        for _ in range(_TRIES):
            mode: PutMode = Create()
            try:
                mode = Replace((await self._store.head(key)).etag)
                there = await same_content(
                    self._store, key, size_bytes=content.size_bytes, sha256=sha256, workers=self._workers
                )
                if there:
                    return
            except NotFound:
                pass
            await self._lease.demand()
            try:
                await put_content(self._store, key, content, sha256=sha256, mode=mode, workers=self._workers, metadata=facts)
            except (Conflict, OutcomeUnknown):
                continue  # an answer was lost, or another process is writing: look again
            return
        raise Conflict("another process keeps writing this object", hint="find out who writes to the archive", key=key)

    async def publish(self, stored: StoredCertificate) -> StoredCertificate:
        """Bring what waits under hidden keys under its own, say so in the certificate, and remove the hidden copies."""
        certificate = stored.certificate
        waiting = [output for output in certificate.outputs if output.staged is not None]
        if not waiting:
            return stored
        slots = asyncio.Semaphore(_AT_ONCE)

        async def bring(output: Output) -> None:
            async with slots:
                await self._bring(output)

        for error in await asyncio.gather(*(bring(output) for output in waiting), return_exceptions=True):
            if error is not None:
                raise error
        await self._lease.demand()
        published = await write_certificate(self._store, certificate.published(), stored)
        for output in waiting:
            assert output.staged is not None
            await self._store.delete(output.staged)
        return published

    async def _bring(self, output: Output) -> None:
        assert output.staged is not None
        content = StoredContent(self._store, output.staged, output.bytes)
        try:
            facts = (await self._store.head(output.staged)).metadata or NO_METADATA
        except NotFound:
            raise Damaged(
                "content that a certificate lists is gone",
                hint="close the day again: `streamer archive --date`",
                key=output.staged,
            ) from None
        await self.put(output.key, content, output.sha256, facts)
