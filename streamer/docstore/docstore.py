"""Documents of a lake, for asyncio programs: JSON, text or bytes under keys that a template makes. `sync.py` has the same.

A document is never written over where its key has the instant: another one of the same instant is the next version.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from streamer.clock import Clock
from streamer.docstore.body import content_type, decode, encode
from streamer.docstore.kinds import BUILT_IN, declared
from streamer.docstore.table import TableCopy, as_document, from_document, write_sqlite
from streamer.docstore.template import Place, Template
from streamer.errors import Conflict, Invalid, NotFound, OutcomeUnknown, Unavailable
from streamer.keys import RAW, parse_data_key
from streamer.lake.instant import parse_instant
from streamer.store.contract import Create, Overwrite, Store
from streamer.store.presigned import Presigner
from streamer.workers import Workers

At = datetime | str | None
Packing = Literal["gzip", "zstd"]

_PACKED: Mapping[Packing | None, str] = {None: "", "gzip": ".gz", "zstd": ".zst"}
BACKUP = "backup"
_TAGS = "tags"
_LOOKS_BACK = (timedelta(days=1), timedelta(days=8), timedelta(days=64), timedelta(days=512))
VERSIONS_MAX = 1000


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """A document without its data. fields: as given (of a value longer than 120 bytes the text that stands for it in the key).
    at: UTC. version: counted among the documents of its instant."""

    kind: str
    key: str
    fields: Mapping[str, str]
    at: datetime
    version: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Document:
    """A document. metadata: without the tags."""

    info: DocumentInfo
    data: Any = field(repr=False)
    metadata: Mapping[str, str]
    tags: Mapping[str, str]


Infos = list[DocumentInfo]
Rows = list[dict[str, Any]]


class AsyncDocuments:
    """The documents of one lake. A kind is a built-in one, or one that `declare` made known. `fields` are those of its
    template.

    `at` is a datetime or ISO text, without zone UTC. Every method may raise `Unavailable` and `Denied`, and `Invalid` for
    unknown kinds and fields.
    """

    def __init__(self, store: Store, clock: Clock, workers: Workers, presigner: Presigner | None = None) -> None:
        self._store = store
        self._clock = clock
        self._workers = workers
        self._presigner = presigner
        self._kinds = dict(BUILT_IN)
        self._free: set[str] = set()

    @property
    def kinds(self) -> dict[str, str]:
        """The template of every kind."""
        return {name: template.text for name, template in self._kinds.items()}

    def declare(self, kind: str, template: str) -> None:
        """Make a kind known here, or give one another template: `alerts/{symbol}/{Y}/{m}/{d}/{timestamp}.json`.

        Each field is a whole segment; behind the fields comes the time (`Y m d H minute date timestamp`, the greater first),
        with `{timestamp}` or `{date}`. `.json` is JSON, `.log .txt .csv .md .html .b64` text, all else bytes.
        """
        self._kinds[kind] = declared(template)

    async def put(
        self,
        kind: str,
        data: Any,
        /,
        *,
        at: At = None,
        packing: Packing | None = None,
        metadata: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | Iterable[str] | None = None,
        **fields: str | int,
    ) -> DocumentInfo:
        """Keep a document. Equal data of the same instant is the same document, other data its next version; without
        `{timestamp}` in the template it replaces what was there.

        at: now, by default. packing: None keeps it readable for everybody. metadata: lower-case ASCII names, visible ASCII
        values. tags: names with values, or names alone. Numbers that JSON has not (NaN) become null.
        """
        template = self._template(kind)
        texts, instant, packed = template.texts(fields), self._instant(at), self._packed(packing)
        await self._check_free(template, texts)
        said = {**(metadata or {}), **_tagged(tags)}
        plain = template.key(texts, instant)
        body = await self._workers.run(encode, data, plain, packed)
        type_ = content_type(plain, packed)
        if not template.keeps_versions:
            await self._store.put(plain + packed, body, mode=Overwrite(), metadata=said, content_type=type_)
            return self._info(kind, template, plain + packed, len(body))
        for version in range(1, VERSIONS_MAX + 1):
            key = template.key(texts, instant, version, packed)
            try:
                await self._store.put(key, body, mode=Create(), metadata=said, content_type=type_)
            except (Conflict, OutcomeUnknown) as error:
                try:
                    there = await self._store.get(key)
                except NotFound:
                    raise error from None
                if there.body != body:
                    continue
            return self._info(kind, template, key, len(body))
        raise Unavailable("too many versions of one instant", hint="give the documents instants of their own", key=plain)

    async def get(self, kind: str, /, *, at: At = None, version: int | None = None, **fields: str | int) -> Document:
        """The document of the instant `at`, its newest version by default. Raises `NotFound`, `Damaged`."""
        if at is None:
            raise Invalid("which document is wanted is not said", hint="give its instant, at=..., or use `latest`")
        found = await self.versions(kind, at=at, **fields)
        chosen = [info for info in found if version in (None, info.version)]
        if not chosen:
            raise NotFound("there is no such document", kind=kind, at=str(at), version=version, fields=fields)
        return await self.read(chosen[-1])

    async def latest(self, kind: str, /, **fields: str | int) -> Document:
        """The newest document with these fields, all of them given. Raises `NotFound`, `Damaged`."""
        template = self._template(kind)
        texts, now = template.texts(fields), self._clock.now()
        # The last days are looked at first: a listing has no way to begin at its end.
        for back in (*_LOOKS_BACK, None):
            start = now - back if back is not None else None
            if found := await self._listed(kind, template, texts, start, None):
                return await self.read(found[-1])
        raise NotFound("there is no such document", hint="nothing was put with these fields", kind=kind, fields=fields)

    async def list(self, kind: str, start: At = None, end: At = None, /, **fields: str | int) -> Infos:
        """The documents from `start` until before `end`, by time and version. Fields that are not given may be anything; where
        the first ones are given, less is listed."""
        template = self._template(kind)
        first, last = (None if moment is None else self._instant(moment) for moment in (start, end))
        return await self._listed(kind, template, template.texts(fields, some=True), first, last)

    async def versions(self, kind: str, /, *, at: At, **fields: str | int) -> Infos:
        """The documents of one instant, the newest last."""
        template = self._template(kind)
        texts, instant = template.texts(fields), self._instant(at)
        prefix = template.from_instant(texts, instant)
        places = [self._found(kind, template, item.key, item.size_bytes) async for item in self._store.list(prefix)]
        return sorted((info for info in places if info is not None), key=lambda info: info.version)

    async def read(self, info: DocumentInfo) -> Document:
        """The document that was listed. Raises `NotFound`, `Damaged`."""
        stored = await self._store.get(info.key)
        place = self._template(info.kind).parse(info.key)
        packed = place.packed if place is not None else ""
        data = await self._workers.run(decode, stored.body, info.key.removesuffix(packed), packed)
        metadata = dict(stored.info.metadata or {})
        return Document(info, data, metadata, _untagged(metadata.pop(_TAGS, "")))

    async def delete(self, info: DocumentInfo) -> None:
        """Remove one document. None there is no error."""
        await self._store.delete(info.key)

    async def presign(self, info: DocumentInfo, expires_seconds: int = 3600) -> str:
        """A web address from which anybody can read the document for a while, a week at most. Keep it as a secret. Raises
        `Invalid` where the lake is a directory."""
        if self._presigner is None:
            raise Invalid("a directory has no web addresses", hint="use `get`", lake=self._store.url)
        if not 1 <= expires_seconds <= 7 * 86_400:
            raise Invalid(f"{expires_seconds} seconds", hint="an address is good for a week at most")
        return await self._presigner.presign(info.key, expires_seconds)

    async def backup_table(
        self,
        source: sqlite3.Connection | Iterable[Mapping[str, Any]],
        table: str,
        *,
        at: At = None,
        packing: Packing | None = "zstd",
    ) -> DocumentInfo:
        """Keep a copy of a table: of a SQLite database, or rows from anywhere else (mappings with the same keys).

        Kept with their types: None, bool, int, float (also NaN), str, bytes, datetime, date, time, Decimal, lists and dicts. Of
        SQLite also the columns' declared types, keys and NOT NULL. The source is read at once, whole, in this thread. Raises
        `Invalid` for other values, and where there is no such table.
        """
        return await self.put(BACKUP, as_document(source, table), at=at, packing=packing, table=table)

    async def restore_table(
        self, table: str, into: sqlite3.Connection | None = None, *, at: At = None, replace: bool = False
    ) -> Rows:
        """The rows of the newest copy of `table`, or of that of `at`; written into SQLite where `into` is given, in one
        transaction.

        replace: drop a table of that name first; otherwise it must not be there. Indexes, triggers, defaults and foreign keys
        are not part of a copy. Raises `NotFound`, `Damaged`, `Invalid`.
        """
        copy = await self.table_copy(table, at=at)
        if into is not None:
            write_sqlite(copy, table, into, replace=replace)
        return copy.rows()

    async def table_copy(self, table: str, *, at: At = None) -> TableCopy:
        """The newest copy of `table`, or that of `at`. Raises `NotFound`, `Damaged`."""
        found = await (self.latest(BACKUP, table=table) if at is None else self.get(BACKUP, at=at, table=table))
        return await self._workers.run(lambda: from_document(found.data, key=found.info.key))

    async def _listed(
        self, kind: str, template: Template, texts: Mapping[str, str], start: datetime | None, end: datetime | None
    ) -> Infos:
        prefix, after = template.prefix(texts), ""
        whole = texts.keys() == template.fields.keys()
        if whole and start is not None:
            # Just before the first that counts, which may be of that very instant; of a date alone, of that day.
            after = template.from_instant(texts, start)[:-1]
        since = start if start is None or template.keeps_versions else start.replace(hour=0, minute=0, second=0, microsecond=0)
        found = []
        async for item in self._store.list(prefix, start_after=after):
            info = self._found(kind, template, item.key, item.size_bytes)
            if info is None or (since is not None and info.at < since):
                continue
            if end is not None and info.at >= end:
                if whole:
                    break
                continue
            place = template.parse(item.key)
            if place is not None and all(place.texts[name] == text for name, text in texts.items()):
                found.append(info)
        return sorted(found, key=lambda info: (info.at, info.version, info.key))

    def _found(self, kind: str, template: Template, key: str, size_bytes: int) -> DocumentInfo | None:
        place = template.parse(key)
        return None if place is None else _described(kind, key, place, size_bytes)

    def _info(self, kind: str, template: Template, key: str, size_bytes: int) -> DocumentInfo:
        place = template.parse(key)
        assert place is not None
        return _described(kind, key, place, size_bytes)

    def _template(self, kind: str) -> Template:
        if (found := self._kinds.get(kind)) is None:
            hint = f"there are {', '.join(sorted(self._kinds))}; `declare` makes another"
            raise Invalid(f"{kind[:80]!r} is no kind of documents", hint=hint)
        return found

    def _instant(self, at: At) -> datetime:
        if at is None:
            return self._clock.now()
        moment = parse_instant(at) if isinstance(at, str) else at
        try:
            return moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        except OverflowError:
            raise Invalid(f"{at} is before the year 1 or after 9999 in UTC", hint="give a time within") from None

    def _packed(self, packing: Packing | None) -> str:
        if packing not in _PACKED:
            raise Invalid(f"{packing!r} is no packing", hint="write gzip, zstd or None")
        return _PACKED[packing]

    async def _check_free(self, template: Template, texts: Mapping[str, str]) -> None:
        """Below raw/ are the streams too: SQL engines that read one would stumble over a document."""
        if not template.text.startswith(RAW) or (folder := f"{RAW}{next(iter(texts.values()))}/") in self._free:
            return
        async for item in self._store.list(folder):
            if parse_data_key(item.key) is not None:
                raise Invalid(
                    "a stream of records is kept in this folder", hint="give the documents another source", key=folder
                )
            if template.parse(item.key) is not None:
                break
        self._free.add(folder)


def _described(kind: str, key: str, place: Place, size_bytes: int) -> DocumentInfo:
    return DocumentInfo(kind, key, place.fields, place.at, place.version, size_bytes)


def _tagged(tags: Mapping[str, str] | Iterable[str] | None) -> dict[str, str]:
    if not tags:
        return {}
    named = dict(tags) if isinstance(tags, Mapping) else dict.fromkeys([tags] if isinstance(tags, str) else tags, "")
    return {_TAGS: json.dumps({str(name): str(value) for name, value in named.items()}, sort_keys=True)}


def _untagged(text: str) -> dict[str, str]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}  # whoever wrote the object by hand
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}
