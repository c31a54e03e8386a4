"""The object store as the rest of streamer sees it: keys, bytes, and three kinds of PUT.

Implementations: `memory`, `directory`, `s3`; layers with the same contract wrap them (`retry`, `observed`). One suite,
`tests/contracts/store_contract.py`, examines all of them. Keys are `/`-separated text without a leading slash; a prefix
inside the bucket is the implementation's own affair.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Protocol

from streamer.errors import Denied, Invalid

NO_METADATA: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Create:
    """Write only if nothing is there (`If-None-Match: *`)."""


@dataclass(frozen=True, slots=True)
class Replace:
    """Write only if this version is there (`If-Match`)."""

    etag: str


@dataclass(frozen=True, slots=True)
class Overwrite:
    """Write whatever is there."""


PutMode = Create | Replace | Overwrite


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What is known of an object without reading it. `metadata` is None where it was not asked for (listings).

    storage_class: where the store has such, as it names them (`STANDARD`, `GLACIER_IR`); None where it has not.
    """

    key: str
    size_bytes: int
    etag: str
    modified: datetime
    metadata: Mapping[str, str] | None = None
    storage_class: str | None = None


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object, read."""

    info: ObjectInfo
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Upload:
    """An object on its way in parts: begun, and not there until it is completed. `begun`: None from `begin_upload`."""

    key: str
    id: str
    part_bytes: int
    metadata: Mapping[str, str] = field(default_factory=lambda: NO_METADATA)
    begun: datetime | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A part that arrived. Numbers count from 1."""

    number: int
    etag: str
    size_bytes: int


class Unsupported(Invalid):
    """The store says that it does not know how to do this, and did nothing."""


class NoSuchPlace(Invalid):
    """The bucket or the directory does not exist: create it with `streamer init`, or name another."""


class NoCredentials(Denied):
    """There are no credentials anywhere where the client looks for them."""


class ExpiredCredentials(Denied):
    """The credentials ran out. The store fetches new ones before its next call, so one more try is worth while."""


class Store(Protocol):
    """A bucket with a prefix, or a directory, or a dictionary.

    All methods may raise `Unavailable` (no answer in time, or the service said it cannot now) and `Denied`. Each call
    has a deadline: none waits for ever. Cancelling a PUT does not undo it: the request may still land.
    """

    @property
    def url(self) -> str:
        """Where this is, for people and logs: `s3://bucket/prefix`, `file:///path`, `memory://name`. No credentials."""
        ...

    @property
    def conditional_writes(self) -> bool:
        """Whether `Create` and `Replace` are honoured: what exactly-once rests on. `probe` measures it."""
        ...

    async def get(self, key: str) -> StoredObject:
        """The whole object, with its metadata. Raises `NotFound`."""
        ...

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """`length` bytes from `start`; fewer where the object ends. A negative `start` counts from the end, and no further than
        the beginning. Raises `NotFound`."""
        ...

    async def head(self, key: str) -> ObjectInfo:
        """Size, ETag, time and metadata. Raises `NotFound`."""
        ...

    async def put(
        self,
        key: str,
        body: bytes | memoryview,
        *,
        mode: PutMode,
        metadata: Mapping[str, str] = NO_METADATA,
        content_type: str = "application/octet-stream",
    ) -> str:
        """Write the whole object and return its ETag. Atomic: a reader sees the old object or the new one.

        Raises `Conflict` where `mode` forbade it. After a re-send by any layer, or by the HTTP client itself, that may be
        our own first attempt: the caller reads back and compares. Raises `OutcomeUnknown` where no answer came: it may
        have landed or may land later. Metadata: lower-case ASCII names, ASCII values, 2 KiB in all.
        """
        ...

    async def begin_upload(
        self,
        key: str,
        *,
        part_bytes: int,
        metadata: Mapping[str, str] = NO_METADATA,
        content_type: str = "application/octet-stream",
    ) -> Upload:
        """Begin an object that is too big for one PUT. Every part has `part_bytes` (on S3 5 MiB at least), but the last.

        `big_objects.put_content` takes an object through all of it.
        """
        ...

    async def put_part(self, upload: Upload, number: int, body: bytes) -> Part:
        """Send part `number`, from 1 to 10,000; again if need be, the last one counts. Parts may be under way together.

        Raises `Conflict` where the upload is no longer there.
        """
        ...

    async def complete_upload(self, upload: Upload, parts: Sequence[Part], *, mode: PutMode) -> str:
        """Make the parts, in this order and without a hole, the object, and return its ETag. Atomic.

        Raises `Conflict` where `mode` forbade it, or the upload is no longer there: it was aborted, or completed by our own
        first attempt. Raises `OutcomeUnknown` as `put` does: read back and compare.
        """
        ...

    async def abort_upload(self, upload: Upload) -> None:
        """Forget the parts. No upload there is no error."""
        ...

    def list_uploads(self, prefix: str = "") -> AsyncIterator[Upload]:
        """Every upload that was begun for a key that starts with `prefix`, and neither completed nor aborted."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the object. Nothing there is no error."""
        ...

    def list(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """Every object whose key starts with `prefix`, in ascending order of the keys' UTF-8 bytes, without metadata."""
        ...

    async def prepare(self) -> None:
        """Connect, and find out that the place exists and answers.

        Raises `NoSuchPlace` where the bucket or directory does not exist, `Invalid` where it is in another region, `Denied`,
        `Unavailable`.
        """
        ...

    async def close(self) -> None:
        """Free connections. Idempotent."""
        ...
