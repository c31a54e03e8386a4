"""Documents of a lake, for asyncio programs: JSON, text or bytes under keys that a template makes. `sync.py` has the same.

A document is never written over where its key has the instant: another one of the same instant is the next version.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from streamer.clock import Clock
from streamer.docstore.body import content_type, decode, encode
from streamer.docstore.document import AnySource, Document, DocumentInfo, Sources
from streamer.docstore.keeping import created, derived
from streamer.docstore.kinds import BUILT_IN, Kind, declared
from streamer.docstore.metadata import Tags, read, written
from streamer.docstore.table import TableCopy, as_document, from_document, write_sqlite
from streamer.docstore.template import Place, Template
from streamer.errors import Invalid, NotFound, Unavailable
from streamer.keys import RAW, parse_data_key
from streamer.lake.instant import parse_instant
from streamer.lake.parallel import in_parallel
from streamer.lineage.derivation import Derivation
from streamer.lineage.recording import attached
from streamer.store.contract import ObjectInfo, Overwrite, Store
from streamer.store.presigned import Presigner
from streamer.workers import Workers

At = datetime | str | None
Packing = Literal["gzip", "zstd"]

_PACKED: Mapping[Packing | None, str] = {None: "", "gzip": ".gz", "zstd": ".zst"}
BACKUP = "backup"
_COMPUTATION = "computation"
_LOOKS_BACK = (timedelta(days=1), timedelta(days=8), timedelta(days=64), timedelta(days=512))
VERSIONS_MAX = 1000
AT_ONCE = 16
AT_ONCE_BYTES = 64 << 20


__all__ = ["AnySource", "AsyncDocuments", "At", "Document", "DocumentInfo", "Packing"]

Infos = list[DocumentInfo]
Rows = list[dict[str, Any]]


class AsyncDocuments:
    """The documents of one lake. A kind is a built-in one, or one that `declare` made known. `fields` are those of its
    template.

    `at` is a datetime or ISO text, without zone UTC. Every method may raise `Unavailable` and `Denied`, and `Invalid` for
    unknown kinds and fields.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        workers: Workers,
        presigner: Presigner | None = None,
        kinds: Mapping[str, Kind] | None = None,
    ) -> None:
        """kinds: those of the configuration, beside the built-in ones or instead of them."""
        self._store = store
        self._clock = clock
        self._workers = workers
        self._presigner = presigner
        self._kinds = {name: Kind(template) for name, template in BUILT_IN.items()} | dict(kinds or {})
        self._free: set[str] = set()

    @property
    def kinds(self) -> dict[str, str]:
        """The template of every kind."""
        return {name: kind.template.text for name, kind in self._kinds.items()}

    def declare(
        self,
        kind: str,
        template: str | None = None,
        *,
        schema: Mapping[str, str] | None = None,
        rules: Iterable[str] = (),
        quality: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Make a kind known here, or give one another template: `alerts/{symbol}/{Y}/{m}/{d}/{timestamp}.json`.

        Each field is a whole segment; behind the fields comes the time (`Y m d H minute date timestamp`, the greater first),
        with `{timestamp}` or `{date}`. `.json` is JSON, `.log .txt .csv .md .html .b64` text, all else bytes. None keeps the
        one that the kind has.

        What `put` takes from then on: schema: Arrow types by field, `{"price": "float64"}`. rules: `["price > 0"]`. quality:
        by name, what a stream's quality rules have, `{"spread": {"check": "crossed"}}`, of the checks required, range, allowed
        and crossed. Without any of them, anything. Raises `Invalid`.
        """
        from streamer.config.documents import document_schema

        if template is None and kind not in self._kinds:
            raise Invalid(f"{kind[:80]!r} is no kind of documents", hint="give it a template of keys")
        known = declared(template) if template is not None else self._kinds[kind].template
        self._kinds[kind] = Kind(known, document_schema(schema or {}, rules, quality or {}))

    async def put(
        self,
        kind: str,
        data: Any,
        /,
        *,
        at: At = None,
        packing: Packing | None = None,
        metadata: Mapping[str, str] | None = None,
        tags: Tags = None,
        sources: Sources = None,
        computation: str | None = None,
        computation_version: str | None = None,
        **fields: str | int,
    ) -> DocumentInfo:
        """Keep a document. Equal data of the same instant is the same document, other data its next version; without
        `{timestamp}` in the template it replaces what was there.

        at: now, by default. packing: None keeps it readable for everybody. metadata: lower-case ASCII names, visible ASCII
        values. tags: names with values, or names alone. Numbers that JSON has not (NaN) become null; an Arrow table becomes the
        list of its rows.

        sources: what it was made of, keys or documents of this lake, each recorded with its version; computation,
        computation_version: by what. Equal data of another computation or other sources is another version. A template's own
        field `computation` is filled by it. Raises `Invalid` where the data is not what the kind declares, `NotFound` for a
        source that is not in the lake.
        """
        known = self._kind(kind)
        template, instant, packed = known.template, self._instant(at), self._packed(packing)
        computes = sources is not None or computation_version is not None
        if computation is not None and _COMPUTATION in template.fields:
            fields[_COMPUTATION] = computation
        else:
            computes = computes or computation is not None
        texts = template.texts(fields)
        await self._check_free(template, texts)
        plain = template.key(texts, instant)
        judge = known.schema.judge if known.schema is not None else None
        body = await self._workers.run(encode, data, plain, packed, judge)
        made = await derived(self._store, self._clock.now(), sources, computation, computation_version) if computes else None
        said = written(metadata, tags, made)
        if made is not None:
            said = await attached(self._store, said, made)
        type_ = content_type(plain, packed)
        if not template.keeps_versions:
            etag = await self._store.put(plain + packed, body, mode=Overwrite(), metadata=said, content_type=type_)
            return self._info(kind, template, plain + packed, len(body), etag)
        for version in range(1, VERSIONS_MAX + 1):
            key = template.key(texts, instant, version, packed)
            if (etag_of := await created(self._store, key, body, said, type_)) is not None:
                return self._info(kind, template, key, len(body), etag_of)
        raise _too_many(plain)

    async def put_all(self, kind: str, documents: Iterable[tuple[At, Any]], /, **fields: str | int) -> Infos:
        """Keep several documents, `(at, data)` each, many at a time; where each is, in the order given. As `put` of each,
        without its options; documents of one instant look together at what is there of it. Where it raises, some are kept.

        Only for kinds with `{timestamp}`.
        """
        known = self._kind(kind)
        template, texts = known.template, known.template.texts(fields)
        if not template.keeps_versions:
            raise Invalid(f"documents of the kind {kind} replace each other", hint="put one after the other")
        await self._check_free(template, texts)
        judge = known.schema.judge if known.schema is not None else None
        plain, wanted = template.key(texts, self._clock.now()), list[tuple[datetime, bytes]]()
        for at, data in documents:
            wanted.append((self._instant(at), await self._workers.run(encode, data, plain, "", judge)))
        kept: dict[tuple[datetime, bytes], DocumentInfo] = {}
        firsts: dict[tuple[datetime, bytes], int] = {}

        async def look(instant: datetime, bodies: Sequence[bytes]) -> None:
            # Each by itself would be tried against every version that is there.
            there = await self.versions(kind, at=instant, **fields) if len(bodies) > 1 else []
            for info in there:
                kept[instant, (await self._store.get(info.key)).body] = info
            new = [body for body in bodies if (instant, body) not in kept]
            free = max((info.version for info in there), default=0) + 1
            firsts.update({(instant, body): free + number for number, body in enumerate(new)})

        async def keep(place: tuple[datetime, bytes]) -> None:
            for version in range(firsts[place], VERSIONS_MAX + 1):
                key = template.key(texts, place[0], version)
                if (etag_of := await created(self._store, key, place[1], {}, content_type(key, ""))) is not None:
                    kept[place] = self._info(kind, template, key, len(place[1]), etag_of)
                    return
            raise _too_many(template.key(texts, place[0]))

        instants: dict[datetime, dict[bytes, None]] = {}
        for instant, body in wanted:
            instants.setdefault(instant, {})[body] = None
        looks = in_parallel(instants.items(), lambda each: look(each[0], [*each[1]]), lambda _: 0, most=AT_ONCE, budget_bytes=0)
        async for _ in looks:
            pass
        async for _ in in_parallel(firsts, keep, lambda place: len(place[1]), most=AT_ONCE, budget_bytes=AT_ONCE_BYTES):
            pass
        return [kept[place] for place in wanted]

    async def get(self, kind: str, /, *, at: At = None, version: int | None = None, **fields: str | int) -> Document:
        """The document of the instant `at`, its newest version by default. Raises `NotFound`, `Damaged`."""
        if at is None:
            raise Invalid("which document is wanted is not said", hint="give its instant, at=..., or use `latest`")
        found = await self.versions(kind, at=at, **fields)
        chosen = [info for info in found if version in (None, info.version)]
        if not chosen:
            hint = "`list` and `versions` tell what there is"
            raise NotFound("there is no such document", hint=hint, kind=kind, at=str(at), version=version, fields=fields)
        return await self.read(chosen[-1])

    async def latest(self, kind: str, /, **fields: str | int) -> Document:
        """The newest document with these fields, all of them given. Raises `NotFound`, `Damaged`."""
        template = self._kind(kind).template
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
        template = self._kind(kind).template
        if named := {"start", "end"} & (fields.keys() - template.fields.keys()):
            hint = 'write list("trades", "2026-01-03", "2026-01-04", symbol="BTCUSDT")'
            raise Invalid(f"{named.pop()} is given by its place, not by name", hint=hint)
        first, last = (None if moment is None else self._instant(moment) for moment in (start, end))
        return await self._listed(kind, template, template.texts(fields, some=True), first, last)

    async def versions(self, kind: str, /, *, at: At, **fields: str | int) -> Infos:
        """The documents of one instant, the newest last."""
        template = self._kind(kind).template
        texts, instant = template.texts(fields), self._instant(at)
        prefix = template.from_instant(texts, instant)
        places = [self._found(kind, template, item) async for item in self._store.list(prefix)]
        return sorted((info for info in places if info is not None), key=lambda info: info.version)

    async def read(self, info: DocumentInfo) -> Document:
        """The document that was listed. Raises `NotFound`, `Damaged`."""
        stored = await self._store.get(info.key)
        place = self._kind(info.kind).template.parse(info.key)
        packed = place.packed if place is not None else ""
        data = await self._workers.run(decode, stored.body, info.key.removesuffix(packed), packed)
        said = read(stored.info.metadata)
        found = replace(info, size_bytes=stored.info.size_bytes, etag=stored.info.etag)
        return Document(found, data, said.plain, said.tags, said.derived)

    async def find(self, key: str) -> DocumentInfo:
        """The document at `key`, of whichever kind has such keys. Raises `NotFound`, and `Invalid` where none has."""
        for kind, known in self._kinds.items():
            if known.template.parse(key) is not None:
                found = self._found(kind, known.template, await self._store.head(key))
                assert found is not None
                return found
        raise Invalid("no kind of documents has such keys", hint="`streamer documents kinds` lists the templates", key=key)

    async def derivation(self, info: DocumentInfo) -> Derivation | None:
        """How a document was computed, without reading it; None where it does not say. Raises `NotFound`, `Damaged`."""
        derived = read((await self._store.head(info.key)).metadata).derived
        return Derivation.from_metadata(derived, key=info.key) if derived is not None else None

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
            info = self._found(kind, template, item)
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

    def _found(self, kind: str, template: Template, item: ObjectInfo) -> DocumentInfo | None:
        place = template.parse(item.key)
        return None if place is None else _described(kind, item.key, place, item.size_bytes, item.etag)

    def _info(self, kind: str, template: Template, key: str, size_bytes: int, etag: str) -> DocumentInfo:
        place = template.parse(key)
        assert place is not None
        return _described(kind, key, place, size_bytes, etag)

    def _kind(self, kind: str) -> Kind:
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


def _too_many(key: str) -> Unavailable:
    return Unavailable("too many versions of one instant", hint="give the documents instants of their own", key=key)


def _described(kind: str, key: str, place: Place, size_bytes: int, etag: str) -> DocumentInfo:
    return DocumentInfo(kind, key, place.fields, place.at, place.version, size_bytes, etag)
