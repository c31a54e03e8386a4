"""A store that fails as real ones do, on command or by a seed: for tests and simulations.

Nothing here is random by itself: a script fires in order, chances come from a seeded generator, and the same calls meet the
same faults. It must fail only in ways the contract of a store allows.
"""

from __future__ import annotations

import fnmatch
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from streamer.clock import Clock
from streamer.errors import Denied, OutcomeUnknown, StreamerError, Unavailable
from streamer.store.contract import NO_METADATA, ExpiredCredentials, ObjectInfo, Part, PutMode, Store, StoredObject, Upload

T = TypeVar("T")


class FaultKind(StrEnum):
    """What goes wrong. Where a write is not concerned, a fault without an answer is `Unavailable`."""

    BEFORE = "before"  # the connection breaks before the server did anything; OutcomeUnknown
    AFTER = "after"  # carried out, the answer is lost; OutcomeUnknown. A listing breaks after its first object
    LATE = "late"  # OutcomeUnknown now; carried out when the test calls `deliver`, or never
    TWICE = "twice"  # a client below sends it twice: carried out twice, answered as the second time
    HANG = "hang"  # no answer for `hang_seconds`, then as LATE; a caller that gives up leaves it to `deliver` too
    SLOW = "slow"  # carried out after `hang_seconds`, and answered; a caller that gives up leaves it to `deliver`
    CONFLICT_409 = "409"  # another request is under way on the key: Unavailable, nothing was done
    UNAVAILABLE = "unavailable"  # 503: Unavailable, nothing was done
    DENIED = "denied"  # 403: Denied, nothing was done
    EXPIRED = "expired"  # the credentials ran out: ExpiredCredentials, nothing was done


@dataclass(frozen=True, slots=True)
class Fault:
    """One line of a script.

    operation and key are shell patterns over the names of the methods (`get`, `put`, `put_part`, `list`, ...), and over the
    key (for `list` its prefix, for `prepare` an empty text). The first `skip` calls that match pass; then `times` calls
    fail (None: all of them).
    """

    kind: FaultKind
    operation: str = "*"
    key: str = "*"
    skip: int = 0
    times: int | None = 1


@dataclass(frozen=True, slots=True)
class Chances:
    """Faults by chance: each call fails with probability `rate`, in one of `kinds`, if its operation and key match."""

    seed: int
    rate: float
    kinds: Sequence[FaultKind] = (FaultKind.BEFORE, FaultKind.AFTER, FaultKind.UNAVAILABLE)
    operation: str = "*"
    key: str = "*"


@dataclass(frozen=True, slots=True)
class Call:
    """One call that arrived, and what was done to it."""

    operation: str
    key: str
    fault: FaultKind | None


@dataclass(frozen=True, slots=True)
class LateWrite:
    """A write whose sender has given up, on its way still."""

    operation: str
    key: str
    carry_out: Callable[[], Awaitable[object]] = field(repr=False)


class _Armed:
    """A line of the script with how often it matched."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.matched = 0

    def fires(self, operation: str, key: str) -> bool:
        fault = self.fault
        if not (fnmatch.fnmatchcase(operation, fault.operation) and fnmatch.fnmatchcase(key, fault.key)):
            return False
        self.matched += 1
        return self.matched > fault.skip and (fault.times is None or self.matched <= fault.skip + fault.times)


class FailingStore:
    """`inner`, with faults.

    Each call is offered to every line of the script in order, and the first that fires decides; else chance does. `calls`
    is everything that arrived. `late` are the writes that may still land: `deliver` lets one do so, `drop_late` none.
    """

    def __init__(
        self,
        inner: Store,
        clock: Clock,
        *,
        script: Sequence[Fault] = (),
        chances: Chances | None = None,
        hang_seconds: float = 60.0,
    ) -> None:
        self.inner = inner
        self.calls: list[Call] = []
        self.late: deque[LateWrite] = deque()
        self._clock = clock
        self._script = [_Armed(fault) for fault in script]
        self._chances = chances
        self._random = random.Random(chances.seed if chances else 0)
        self._hang_seconds = hang_seconds

    @property
    def url(self) -> str:
        return self.inner.url

    @property
    def conditional_writes(self) -> bool:
        return self.inner.conditional_writes

    def inject(self, *faults: Fault) -> None:
        """Add lines to the script; their counting starts now."""
        self._script.extend(map(_Armed, faults))

    def heal(self) -> None:
        """No more faults, by script or by chance. Late writes stay late."""
        self._script.clear()
        self._chances = None

    async def deliver(self, index: int = 0) -> StreamerError | None:
        """Let the late write at `index` arrive. What the server says to it, which nobody hears any more: None or an error."""
        late = self.late[index]
        del self.late[index]
        try:
            await late.carry_out()
        except StreamerError as error:
            return error
        return None

    def drop_late(self) -> None:
        """No late write will ever arrive."""
        self.late.clear()

    async def get(self, key: str) -> StoredObject:
        return await self._read("get", key, lambda: self.inner.get(key))

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        return await self._read("get_range", key, lambda: self.inner.get_range(key, start, length))

    async def head(self, key: str) -> ObjectInfo:
        return await self._read("head", key, lambda: self.inner.head(key))

    async def put(
        self,
        key: str,
        body: bytes | memoryview,
        *,
        mode: PutMode,
        metadata: Mapping[str, str] = NO_METADATA,
        content_type: str = "application/octet-stream",
    ) -> str:
        # A late write must carry what was sent, whatever its sender does with the buffer and the mapping meanwhile.
        sent, named = bytes(body), dict(metadata)
        return await self._write(
            "put", key, lambda: self.inner.put(key, sent, mode=mode, metadata=named, content_type=content_type)
        )

    async def begin_upload(
        self,
        key: str,
        *,
        part_bytes: int,
        metadata: Mapping[str, str] = NO_METADATA,
        content_type: str = "application/octet-stream",
    ) -> Upload:
        named = dict(metadata)
        return await self._write(
            "begin_upload",
            key,
            lambda: self.inner.begin_upload(key, part_bytes=part_bytes, metadata=named, content_type=content_type),
        )

    async def put_part(self, upload: Upload, number: int, body: bytes) -> Part:
        return await self._write("put_part", upload.key, lambda: self.inner.put_part(upload, number, body))

    async def complete_upload(self, upload: Upload, parts: Sequence[Part], *, mode: PutMode) -> str:
        sent = tuple(parts)
        return await self._write("complete_upload", upload.key, lambda: self.inner.complete_upload(upload, sent, mode=mode))

    async def abort_upload(self, upload: Upload) -> None:
        await self._write("abort_upload", upload.key, lambda: self.inner.abort_upload(upload))

    async def list_uploads(self, prefix: str = "") -> AsyncIterator[Upload]:
        async def everything() -> list[Upload]:
            return [upload async for upload in self.inner.list_uploads(prefix)]

        for upload in await self._read("list_uploads", prefix, everything):
            yield upload

    async def delete(self, key: str) -> None:
        await self._write("delete", key, lambda: self.inner.delete(key))

    async def list(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        kind = self._meet("list", prefix)
        if kind is FaultKind.SLOW:
            await self._clock.sleep(self._hang_seconds)
        elif kind not in (None, FaultKind.AFTER, FaultKind.TWICE):
            raise await self._failure(kind, "list", prefix, writes=False)
        async for info in self.inner.list(prefix, start_after=start_after):
            yield info
            if kind is FaultKind.AFTER:
                raise _lost("list", prefix, writes=False)
        if kind is FaultKind.AFTER:
            raise _lost("list", prefix, writes=False)

    async def prepare(self) -> None:
        await self._read("prepare", "", self.inner.prepare)

    async def close(self) -> None:
        await self.inner.close()

    async def _read(self, operation: str, key: str, call: Callable[[], Awaitable[T]]) -> T:
        kind = self._meet(operation, key)
        if kind is FaultKind.SLOW:
            await self._clock.sleep(self._hang_seconds)
        elif kind not in (None, FaultKind.TWICE):
            raise await self._failure(kind, operation, key, writes=False)
        return await call()

    async def _write(self, operation: str, key: str, call: Callable[[], Awaitable[T]]) -> T:
        kind = self._meet(operation, key)
        match kind:
            case None:
                return await call()
            case FaultKind.AFTER:
                await call()
                raise _lost(operation, key, writes=True)
            case FaultKind.TWICE:
                await call()
                return await call()
            case FaultKind.LATE:
                self.late.append(LateWrite(operation, key, call))
                raise _lost(operation, key, writes=True)
            case FaultKind.HANG | FaultKind.SLOW:
                under_way = LateWrite(operation, key, call)
                self.late.append(under_way)
                # A caller that is cancelled here leaves the write where it is: it may still land.
                await self._clock.sleep(self._hang_seconds)
                if kind is FaultKind.HANG or under_way not in self.late:
                    raise _lost(operation, key, writes=True)
                self.late.remove(under_way)
                return await call()
        raise await self._failure(kind, operation, key, writes=True)

    def _meet(self, operation: str, key: str) -> FaultKind | None:
        # Every line counts every call, so that `skip` means what it says whichever line fires.
        fired = [armed.fault.kind for armed in self._script if armed.fires(operation, key)]
        kind = fired[0] if fired else self._by_chance(operation, key)
        self.calls.append(Call(operation, key, kind))
        return kind

    def _by_chance(self, operation: str, key: str) -> FaultKind | None:
        chances = self._chances
        if (
            chances is None
            or not fnmatch.fnmatchcase(operation, chances.operation)
            or not fnmatch.fnmatchcase(key, chances.key)
        ):
            return None
        if self._random.random() >= chances.rate:
            return None
        return self._random.choice(chances.kinds)

    async def _failure(self, kind: FaultKind | None, operation: str, key: str, *, writes: bool) -> StreamerError:
        match kind:
            case FaultKind.CONFLICT_409:
                return Unavailable("another request is under way on this key (injected)", operation=operation, key=key)
            case FaultKind.UNAVAILABLE:
                return Unavailable("slow down (injected)", operation=operation, key=key)
            case FaultKind.DENIED:
                return Denied("access denied (injected)", operation=operation, key=key)
            case FaultKind.EXPIRED:
                return ExpiredCredentials("expired token (injected)", operation=operation, key=key)
            case FaultKind.HANG:
                await self._clock.sleep(self._hang_seconds)
        return _lost(operation, key, writes=writes)


def _lost(operation: str, key: str, *, writes: bool) -> Unavailable:
    kind = OutcomeUnknown if writes else Unavailable
    return kind("no answer (injected)", operation=operation, key=key)
