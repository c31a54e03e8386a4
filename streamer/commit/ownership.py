"""Owning a partition: the only code that changes a position.

Every change is a compare-and-swap on the version known. An answer that is lost, or a refusal, is settled by reading back:
a change was ours only if the body read is the body sent, because the HTTP client re-sends PUTs by itself and an older
request of ours may land late. What is read back and carries our epoch is the truth, whatever we had meant to write.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from streamer.clock import Clock, backoff_seconds
from streamer.commit.position import Gap, LastRecord, Position, violation
from streamer.errors import Conflict, Damaged, Fenced, NotFound, OutcomeUnknown
from streamer.keys import position_key
from streamer.records import TopicPartition
from streamer.store.contract import Create, Replace, Store

_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class _Version:
    """A version of the position as the store has it; `position` is None where there is no object."""

    position: Position | None
    body: bytes = b""
    etag: str = ""


class Ownership:
    """This process's hold on one partition, from take-over until it is fenced or lets go.

    `writer` is random and new for each assignment. All methods may raise `Unavailable` and `Denied` (nothing is known to
    have changed: call `refresh` before the next try), `Fenced` (somebody else owns the partition now) and `Damaged`.
    """

    def __init__(self, store: Store, source: TopicPartition, *, writer: str, host: str, clock: Clock) -> None:
        self._store = store
        self._source = source
        self._writer = writer
        self._host = host
        self._clock = clock
        self._key = position_key(source)
        self._known = _Version(None)

    @property
    def position(self) -> Position:
        """The newest version known. Only after `take_over`."""
        if self._known.position is None:
            raise RuntimeError(f"{self._source} is not owned")
        return self._known.position

    async def look(self) -> Position | None:
        """What the lake says now; None where the partition has no position yet."""
        self._known = await self._read()
        return self._known.position

    async def create(self, *, cluster_id: str, start: int, layout: str) -> Position:
        """Become the owner of a partition that has no position yet. Raises `Fenced` where another writer was quicker."""
        first = Position(cluster_id, self._source, 0, start, start, 1, 1, self._writer, self._host, layout)
        return await self._swap(first)

    async def take_over(self) -> Position:
        """Become the owner of the version that `look` found. Raises `Fenced` where another writer was quicker: look again."""
        return await self._swap(self.position.taken_by(self._writer, self._host))

    async def refresh(self) -> Position:
        """Read the truth again after a failure. Raises `Fenced` where it is no longer ours."""
        found = await self._read()
        return self._adopt(found)

    async def seal(self, end: int, layout: str) -> Position:
        """Put on record that the next batch ends at `end`. The position returned may carry another, older cut of ours:
        that one is then the truth."""
        position = self.position
        if position.writing:
            return position
        return await self._swap(position.sealing(end, layout))

    async def commit(
        self, *, last: LastRecord | None, through: datetime | None, gap: Gap | None = None, next_end: int | None = None
    ) -> Position:
        """Put on record that the sealed range is in the lake and, with `next_end`, seal the next batch in the same PUT."""
        return await self._swap(self.position.committing(last=last, through=through, gap=gap, next_end=next_end))

    async def advance(self, through: datetime) -> Position:
        """Put on record that the partition, with nothing under way, is complete up to `through`."""
        return await self._swap(self.position.advancing(through))

    async def skip(self, gap: Gap) -> Position:
        """Put on record that Kafka lost offsets before they were sealed."""
        return await self._swap(self.position.skipping(gap))

    async def accept(self, expected: Position, *, cluster_id: str, start: int) -> Position:
        """Begin a new lineage over exactly the version `expected`, at an operator's word. Raises `Fenced` where
        another version is there."""
        if await self.look() != expected:
            raise Fenced("the position has changed since it was looked at; look again", key=self._key)
        return await self._swap(expected.accepting(cluster_id, start, self._writer, self._host))

    async def _swap(self, target: Position) -> Position:
        """Write `target` over the version known. Returns the version that is now the truth, which is `target` unless an
        older request of ours landed first."""
        known = self._known
        if (wrong := violation(known.position, target)) is not None:
            raise RuntimeError(f"{self._source}: {wrong}: {known.position} -> {target}")
        body = target.to_json()
        mode = Create() if known.position is None else Replace(known.etag)
        attempt = 0
        while True:
            try:
                etag = await self._store.put(self._key, body, mode=mode, content_type=_JSON)
            except (Conflict, OutcomeUnknown):
                found = await self._read()
            else:
                self._known = _Version(target, body, etag)
                return target
            if found.body == body:
                self._known = found
                return target
            if found.etag != known.etag:
                return self._adopt(found)
            # The old version is still there, and ours may land at any time. Sending the same body again is safe: whichever
            # copy lands first, the position says the same.
            await self._clock.sleep(self._clock.jitter(backoff_seconds(attempt)))
            attempt += 1

    def _adopt(self, found: _Version) -> Position:
        """Take what was read as the truth if it carries our epoch."""
        position = found.position
        if position is None:
            raise Damaged(
                "the position of a partition that is being written has vanished",
                hint="find out who deletes under _streamer/; restore the object, then run `streamer verify`",
                key=self._key,
            )
        if position.writer != self._writer:
            raise Fenced(f"epoch {position.epoch} belongs to {position.writer} on {position.host}", key=self._key)
        self._known = found
        return position

    async def _read(self) -> _Version:
        try:
            found = await self._store.get(self._key)
        except NotFound:
            return _Version(None)
        position = Position.from_json(found.body, key=self._key)
        if position.source != self._source:
            raise Damaged(
                f"it is the position of {position.source}",
                hint="it was copied or renamed by hand: restore an older version of this object, then run `streamer verify`",
                key=self._key,
            )
        return _Version(position, found.body, found.info.etag)
