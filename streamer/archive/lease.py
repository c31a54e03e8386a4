"""The lease: one process at a time does what is done once for all replicas, such as closing days. Taken, kept and given back by
compare-and-swap.

It saves work and is no lock: a process that slept through its expiry may go on for a moment. What keeps a day whole is that
each write is conditional, and that `demand` is asked between looking at an object and replacing it (docs/archive.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import orjson

from streamer.clock import Clock
from streamer.documents import instant, parsed, typed
from streamer.errors import Conflict, Damaged, Denied, Fenced, NotFound, OutcomeUnknown, Unavailable
from streamer.keys import LEASE
from streamer.store.contract import Create, Replace, Store

VERSION = 1
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)  # given back: free by anybody's clock


@dataclass(frozen=True, slots=True)
class LeaseDocument:
    """`_streamer/leases/{work}.json`. epoch: one more with every holder. expires: by the holders' clocks; past: free."""

    holder: str
    host: str
    epoch: int
    sequence: int
    expires: datetime

    def to_json(self) -> bytes:
        return orjson.dumps(
            {
                "version": VERSION,
                "holder": self.holder,
                "host": self.host,
                "epoch": self.epoch,
                "sequence": self.sequence,
                "expires": self.expires.isoformat(),
            },
            option=orjson.OPT_INDENT_2,
        )

    @classmethod
    def from_json(cls, body: bytes, key: str = LEASE) -> LeaseDocument:
        """Raises `Damaged` where it is none, or of a version this release does not know."""
        try:
            fields = parsed(body)
            if fields["version"] != VERSION:
                raise ValueError("unknown version")
            found: LeaseDocument = typed({**fields, "expires": instant(fields["expires"])}, cls)
            return found
        except (ValueError, KeyError) as error:
            raise Damaged("not a lease", hint=f"delete {key}: it is made anew", key=key) from error


class Lease:
    """This process's hold on a work, the closing of days by default. One object for one `held` block."""

    def __init__(
        self, store: Store, clock: Clock, *, host: str, seconds: float = 60.0, key: str = LEASE, work: str = "closes days"
    ) -> None:
        self._key = key
        self._work = work
        self._store = store
        self._clock = clock
        self._host = host
        self._seconds = seconds
        self._mine: LeaseDocument | None = None
        self._etag = ""
        self._changing = asyncio.Lock()

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Hold the lease, renewed, for the length of the block; then give it back.

        Raises `Conflict` where another process holds it, `Unavailable` and `Denied` where the lake does not answer.
        """
        await self._take()
        renewal = asyncio.create_task(self._renew(), name="renew lease")
        try:
            yield
        finally:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)
            await self._give_back()

    async def demand(self) -> None:
        """The lease is still ours, read from the lake at this moment. Raises `Fenced`."""
        found, _ = await self._read()
        mine = self._mine
        if mine is None or found is None or (found.holder, found.epoch) != (mine.holder, mine.epoch):
            raise Fenced(f"another process {self._work} now", key=self._key, holder=found and found.host)

    async def _take(self) -> None:
        found, etag = await self._read()
        now = self._clock.now()
        if found is not None and found.expires > now:
            raise Conflict(
                f"another process {self._work} now",
                hint=f"wait for it to end; if it died, until {found.expires.isoformat(timespec='seconds')}",
                key=self._key,
                holder=found.host,
            )
        epoch, sequence = (found.epoch, found.sequence) if found is not None else (0, 0)
        expires = now + timedelta(seconds=self._seconds)
        await self._swap(LeaseDocument(self._clock.token(), self._host, epoch + 1, sequence + 1, expires), etag)

    async def _renew(self) -> None:
        while True:
            await self._clock.sleep(self._seconds / 3)
            try:
                async with self._changing:
                    if self._mine is None:
                        return
                    expires = self._clock.now() + timedelta(seconds=self._seconds)
                    await self._swap(replace(self._mine, sequence=self._mine.sequence + 1, expires=expires), self._etag)
            except (Conflict, Damaged):
                return  # `demand` says so to whoever is about to write
            except (Unavailable, Denied):
                continue

    async def _give_back(self) -> None:
        async with self._changing:
            mine, self._mine = self._mine, None
            if mine is None:
                return
            try:
                body = replace(mine, sequence=mine.sequence + 1, expires=_LONG_AGO).to_json()
                await self._store.put(self._key, body, mode=Replace(self._etag), content_type="application/json")
            except (Conflict, Unavailable, Denied):
                return  # it runs out by itself

    async def _swap(self, target: LeaseDocument, etag: str | None) -> None:
        body = target.to_json()
        mode = Create() if etag is None else Replace(etag)
        try:
            self._etag = await self._store.put(self._key, body, mode=mode, content_type="application/json")
        except (Conflict, OutcomeUnknown):
            # The client may have sent it twice: what was read back decides. If ours lands later, it runs out by itself.
            found, found_etag = await self._read()
            if found != target or found_etag is None:
                raise Conflict("another process was quicker", key=self._key, holder=found and found.host) from None
            self._etag = found_etag
        self._mine = target

    async def _read(self) -> tuple[LeaseDocument | None, str | None]:
        try:
            stored = await self._store.get(self._key)
        except NotFound:
            return None, None
        return LeaseDocument.from_json(stored.body, self._key), stored.info.etag
