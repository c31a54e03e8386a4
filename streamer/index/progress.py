"""How far a partition is indexed, as the lake remembers it: one small document a partition, changed by compare-and-swap."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from streamer.documents import Count, parsed, typed
from streamer.errors import Conflict, Damaged, Fenced, NotFound, OutcomeUnknown
from streamer.keys import index_key
from streamer.records import TopicPartition
from streamer.store.contract import Create, Replace, Store

VERSION = 1


@dataclass(frozen=True, slots=True)
class Progress:
    """`_streamer/index/{table}/{topic}/{partition:05d}.json`. Every row of `lineage` below `offset`, and of lineages before it,
    is in the table. missing: offsets whose rows were not to be had from raw files. left_out: rows too large for an item."""

    lineage: int
    offset: int
    items: int = 0
    missing: int = 0
    left_out: int = 0

    def to_json(self, table: str, source: TopicPartition) -> bytes:
        body = {"version": VERSION, "table": table, "topic": source.topic, "partition": source.partition}
        counts = {"items": self.items, "missing": self.missing, "left_out": self.left_out}
        return orjson.dumps({**body, "lineage": self.lineage, "offset": self.offset, **counts}, option=orjson.OPT_INDENT_2)

    @classmethod
    def from_json(cls, body: bytes, key: str) -> Progress:
        """Raises `Damaged`."""
        try:
            fields = parsed(body)
            if fields["version"] != VERSION:
                raise ValueError("unknown version")
            names = ("lineage", "offset", "items", "missing", "left_out")
            return cls(**{name: typed(fields.get(name, 0), Count) for name in names})
        except (ValueError, KeyError) as error:
            hint = "delete it: the partition is indexed from its beginning again, which changes nothing in the table"
            raise Damaged("this does not say how far a partition is indexed", hint=hint, key=key) from error


class ProgressDocument:
    """The document of one partition in one table."""

    def __init__(self, store: Store, table: str, source: TopicPartition) -> None:
        self._store = store
        self._table = table
        self._source = source
        self._key = index_key(table, source)
        self._etag: str | None = None

    async def read(self) -> Progress | None:
        """What it says; None where there is none yet. Raises `Damaged`."""
        try:
            stored = await self._store.get(self._key)
        except NotFound:
            self._etag = None
            return None
        self._etag = stored.info.etag
        return Progress.from_json(stored.body, self._key)

    async def write(self, progress: Progress) -> None:
        """Replace what was read or written last. Raises `Fenced` where somebody else did so meanwhile."""
        body = progress.to_json(self._table, self._source)
        mode = Create() if self._etag is None else Replace(self._etag)
        try:
            self._etag = await self._store.put(self._key, body, mode=mode, content_type="application/json")
        except (Conflict, OutcomeUnknown):
            # The client may have sent it twice: what is there now decides.
            if await self.read() != progress:
                raise Fenced("another process indexes this partition now", key=self._key) from None
