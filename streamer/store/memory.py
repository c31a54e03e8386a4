"""A store in a dictionary: the exact twin of the others, for tests and simulations.

Deterministic: given the same calls and clock it does the same. It must never be kinder than a bucket, so every call gives
other tasks a turn, and a listing is made page by page while others write.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType, coroutine

from streamer.clock import Clock
from streamer.errors import Conflict, Invalid, NotFound
from streamer.store.contract import NO_METADATA, Create, ObjectInfo, Overwrite, Part, PutMode, Replace, StoredObject, Upload
from streamer.store.etags import content_etag
from streamer.store.limits import check_key, check_metadata, check_prefix


@coroutine
def _turn() -> Generator[None, None, None]:
    # Not the clock's sleep: no time passes, and a manual clock need not be moved for it.
    yield


class MemoryStore:
    """Objects in a dictionary.

    name: tells stores of one process apart. conditional_writes: False is a store that takes every PUT, whatever its mode,
    as old S3-compatible servers do. page: how many keys a listing looks up at a time.
    """

    def __init__(self, clock: Clock, name: str = "memory", *, conditional_writes: bool = True, page: int = 1000) -> None:
        self._clock = clock
        self._name = name
        self._conditional_writes = conditional_writes
        self._page = page
        self._objects: dict[str, StoredObject] = {}
        self._uploads: dict[str, tuple[Upload, dict[int, bytes]]] = {}

    @property
    def url(self) -> str:
        return f"memory://{self._name}"

    @property
    def conditional_writes(self) -> bool:
        return self._conditional_writes

    @property
    def bodies(self) -> Mapping[str, bytes]:
        """Every object's bytes by key, in the order of the keys. For tests; a copy."""
        return {key: self._objects[key].body for key in sorted(self._objects)}

    async def get(self, key: str) -> StoredObject:
        check_key(key)
        await _turn()
        return self._find(key)

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        check_key(key)
        if length < 0:
            raise ValueError(f"length {length} is negative")
        await _turn()
        body = self._find(key).body
        first = max(0, len(body) + start) if start < 0 else start
        return body[first : first + length]

    async def head(self, key: str) -> ObjectInfo:
        check_key(key)
        await _turn()
        return self._find(key).info

    async def put(
        self,
        key: str,
        body: bytes | memoryview,
        *,
        mode: PutMode,
        metadata: Mapping[str, str] = NO_METADATA,
        content_type: str = "application/octet-stream",
    ) -> str:
        check_key(key)
        check_metadata(metadata)
        await _turn()
        etag = self._keep(key, bytes(body), mode, metadata)
        # The answer travels too: a task that is cancelled here has written.
        await _turn()
        return etag

    def _keep(self, key: str, body: bytes, mode: PutMode, metadata: Mapping[str, str]) -> str:
        self._check_mode(key, mode)
        etag = content_etag(body)
        info = ObjectInfo(key, len(body), etag, self._clock.now(), MappingProxyType(dict(metadata)))
        self._objects[key] = StoredObject(info, body)
        return etag

    def _check_mode(self, key: str, mode: PutMode) -> None:
        if not self._conditional_writes:
            return
        there = self._objects.get(key)
        match mode:
            case Create() if there is not None:
                raise Conflict("the object is already there", key=key)
            case Replace(etag) if there is None or there.info.etag != etag:
                raise Conflict("the object is not the version to replace", key=key)
            case Create() | Replace() | Overwrite():
                pass

    async def begin_upload(
        self,
        key: str,
        *,
        part_bytes: int,
        metadata: Mapping[str, str] = NO_METADATA,
        content_type: str = "application/octet-stream",
    ) -> Upload:
        check_key(key)
        check_metadata(metadata)
        await _turn()
        upload = Upload(key, self._clock.token(), part_bytes, MappingProxyType(dict(metadata)))
        self._uploads[upload.id] = (replace(upload, begun=self._clock.now()), {})
        return upload

    async def put_part(self, upload: Upload, number: int, body: bytes) -> Part:
        await _turn()
        self._parts(upload)[number] = body
        await _turn()
        return Part(number, content_etag(body), len(body))

    async def complete_upload(self, upload: Upload, parts: Sequence[Part], *, mode: PutMode) -> str:
        await _turn()
        sent = self._parts(upload)
        for part in parts:
            if part.number not in sent or content_etag(sent[part.number]) != part.etag:
                raise Invalid("a part is not the one that was sent", hint="begin the upload again", key=upload.key)
        etag = self._keep(upload.key, b"".join(sent[part.number] for part in parts), mode, upload.metadata)
        del self._uploads[upload.id]
        await _turn()
        return etag

    async def abort_upload(self, upload: Upload) -> None:
        await _turn()
        self._uploads.pop(upload.id, None)

    async def list_uploads(self, prefix: str = "") -> AsyncIterator[Upload]:
        check_prefix(prefix)
        await _turn()
        for upload in [upload for upload, _ in self._uploads.values() if upload.key.startswith(prefix)]:
            yield upload

    def _parts(self, upload: Upload) -> dict[int, bytes]:
        if (found := self._uploads.get(upload.id)) is None:
            raise Conflict("the upload is no longer there", key=upload.key)
        return found[1]

    async def delete(self, key: str) -> None:
        check_key(key)
        await _turn()
        self._objects.pop(key, None)
        await _turn()

    async def list(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        check_prefix(prefix)
        last = start_after
        while True:
            await _turn()
            # Code points sort as their UTF-8 bytes do.
            keys = sorted(self._objects)
            at = max(bisect_left(keys, prefix), bisect_right(keys, last))
            page = [key for key in keys[at : at + self._page] if key.startswith(prefix)]
            for info in [self._objects[key].info for key in page]:
                yield replace(info, metadata=None)
            if len(page) < self._page:
                return
            last = page[-1]

    def _find(self, key: str) -> StoredObject:
        if (found := self._objects.get(key)) is None:
            raise NotFound("no such object", key=key)
        return found

    async def prepare(self) -> None:
        await _turn()

    async def close(self) -> None:
        """There is nothing to close; the objects stay."""
