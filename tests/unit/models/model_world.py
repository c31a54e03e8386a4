"""A lake's models for tests: stores of every kind, processes that die, and what must hold whatever happened."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from streamer.clock import Clock
from streamer.models.models import AsyncModels
from streamer.models.registry import LATEST
from streamer.store.contract import NO_METADATA, ObjectInfo, Part, PutMode, Store, StoredObject, Upload
from streamer.testing.manual_clock import ManualClock
from streamer.workers import InlineWorkers

# Two processes never draw the same token.
_seeds = itertools.count(1)

Moment = Literal["before", "after"]


class QuickClock(ManualClock):
    """A clock whose sleeps are over at once: time passes, nobody waits."""

    async def sleep(self, seconds: float) -> None:
        self._seconds += max(0.0, seconds)
        await super().sleep(0)


def models_of(store: Store, clock: Clock | None = None, **more: object) -> AsyncModels:
    return AsyncModels(store, clock or QuickClock(seed=next(_seeds)), InlineWorkers(), **more)  # type: ignore[arg-type]


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def keys_of(store: Store, prefix: str = "models/") -> list[str]:
    return [item.key async for item in store.list(prefix)]


async def assert_whole(store: Store, expected: Mapping[str, Sequence[bytes]], *, suffix: str = ".pkl") -> None:
    """Each model has exactly these contents as versions, in any order, `latest` is its newest, and the plain copy is that."""
    models = models_of(store)
    report = await models.check()
    assert (report.findings, report.notes) == ([], [])
    assert await models.names() == sorted(expected)
    for name, contents in expected.items():
        versions = await models.versions(name)
        assert sorted(version.sha256 for version in versions) == sorted(map(sha256, contents))
        latest = await models.resolve(name, LATEST)
        assert latest.n == versions[-1].n
        copy = await store.get(f"models/{name}{suffix}")
        assert sha256(copy.body) == latest.sha256
        for version in versions:
            body = (await store.get(f"models/versions/{name}_v{version.n}{suffix}")).body
            assert sha256(body) == version.sha256


async def push_all(models: AsyncModels, folder: Path, count: int, name: str = "hmm") -> None:
    for number in range(1, count + 1):
        await models.push(write(folder / f"{name}.pkl", b"content %d" % number))


async def crowd(
    stores: list[Store], folder: Path, clock: object, *, people: int = 20, turns: int = 2, walk: tuple[int, ...] = (1, 2, 3)
) -> None:
    """Twenty at once: ten push, ten promote or roll back. All that they did is there afterwards."""
    first = models_of(stores[0], clock)  # type: ignore[arg-type]
    await push_all(first, folder, 3)
    contents = [b"content %d" % number for number in (1, 2, 3)]

    async def pusher(number: int) -> None:
        models = models_of(stores[number % len(stores)], clock)  # type: ignore[arg-type]
        for turn in range(turns):
            content = b"pusher %d turn %d" % (number, turn)
            contents.append(content)
            await models.push(write(folder / str(number) / "hmm.pkl", content), metrics={"pusher": number, "turn": turn})

    async def promoter(number: int) -> None:
        models = models_of(stores[number % len(stores)], clock)  # type: ignore[arg-type]
        for version in walk:
            await models.promote("hmm", version, f"team-{number}", reason=str(version))
        await models.rollback("hmm", f"team-{number}")
        await models.promote("hmm", 1 + number % 3, "production", who=f"promoter {number}", reason=str(number))

    await asyncio.gather(*((pusher if number % 2 else promoter)(number) for number in range(people)))

    await assert_whole(stores[0], {"hmm": contents})
    registry = await first.registry("hmm")
    assert {(v.metrics["pusher"], v.metrics["turn"]) for v in registry.versions[3:]} == {
        (number, turn) for number in range(people) if number % 2 for turn in range(turns)
    }
    for number in range(0, people, 2):
        moves = [(m.source, m.target) for m in registry.history if m.alias == f"team-{number}"]
        assert moves == [*zip((None, *walk), walk, strict=False), (walk[-1], walk[-2])]
    production = [move for move in registry.history if move.alias == "production"]
    assert registry.aliases["production"].n == production[-1].target
    assert [move.source for move in production] == [None, *(move.target for move in production[:-1])]


class Died(BaseException):
    """The process is gone."""


class Mortal:
    """The store as one process sees it, until its write number `at` (from 0): it dies there, before or after the effect."""

    def __init__(self, inner: Store, at: int, moment: Moment) -> None:
        self._inner = inner
        self._at = at
        self._moment = moment
        self._dead = False
        self.writes: list[tuple[str, str]] = []
        self.url = inner.url
        self.conditional_writes = inner.conditional_writes

    async def _write(self, operation: str, key: str, call: object) -> object:
        if self._dead:
            raise Died
        self.writes.append((operation, key))
        if len(self.writes) - 1 != self._at:
            return await call()  # type: ignore[operator]
        self._dead = True
        if self._moment == "after":
            await call()  # type: ignore[operator]
        raise Died

    def _alive(self) -> Store:
        if self._dead:
            raise Died
        return self._inner

    async def get(self, key: str) -> StoredObject:
        return await self._alive().get(key)

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        return await self._alive().get_range(key, start, length)

    async def head(self, key: str) -> ObjectInfo:
        return await self._alive().head(key)

    async def list(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        async for info in self._alive().list(prefix, start_after=start_after):
            yield info

    async def put(
        self, key: str, body: bytes | memoryview, *, mode: PutMode, metadata: Mapping[str, str] = NO_METADATA,
        content_type: str = "application/octet-stream",
    ) -> str:  # fmt: skip
        return await self._write(
            "put", key, lambda: self._inner.put(key, body, mode=mode, metadata=metadata, content_type=content_type)
        )  # type: ignore[return-value]

    async def begin_upload(
        self, key: str, *, part_bytes: int, metadata: Mapping[str, str] = NO_METADATA,
        content_type: str = "application/octet-stream",
    ) -> Upload:  # fmt: skip
        return await self._write(
            "begin_upload", key, lambda: self._inner.begin_upload(key, part_bytes=part_bytes, metadata=metadata)
        )  # type: ignore[return-value]

    async def put_part(self, upload: Upload, number: int, body: bytes) -> Part:
        return await self._write("put_part", upload.key, lambda: self._inner.put_part(upload, number, body))  # type: ignore[return-value]

    async def complete_upload(self, upload: Upload, parts: Sequence[Part], *, mode: PutMode) -> str:
        return await self._write("complete_upload", upload.key, lambda: self._inner.complete_upload(upload, parts, mode=mode))  # type: ignore[return-value]

    async def abort_upload(self, upload: Upload) -> None:
        await self._write("abort_upload", upload.key, lambda: self._inner.abort_upload(upload))

    async def list_uploads(self, prefix: str = "") -> AsyncIterator[Upload]:
        async for upload in self._alive().list_uploads(prefix):
            yield upload

    async def delete(self, key: str) -> None:
        await self._write("delete", key, lambda: self._inner.delete(key))

    async def prepare(self) -> None:
        await self._alive().prepare()

    async def close(self) -> None:
        """Nothing to close."""
