"""`Lake.documents` and `Lake.processed`: documents for synchronous code, and copies of database tables as documents."""

from __future__ import annotations

import builtins
import sqlite3
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from streamer.docstore.docstore import BACKUP, AsyncDocuments, At, Packing
from streamer.docstore.document import Document, DocumentInfo, Sources
from streamer.docstore.metadata import Tags
from streamer.docstore.processed import AsyncProcessed
from streamer.docstore.table import as_document, write_sqlite
from streamer.lake.loop_thread import LoopThread
from streamer.lineage.derivation import Derivation


class Documents:
    """The documents of one lake. Each method does what the one of the same name in `AsyncDocuments` does."""

    def __init__(self, inner: AsyncDocuments, loop: LoopThread) -> None:
        self._inner = inner
        self._loop = loop

    @property
    def kinds(self) -> dict[str, str]:
        """The template of every kind."""
        return self._inner.kinds

    def declare(
        self,
        kind: str,
        template: str | None = None,
        *,
        schema: Mapping[str, str] | None = None,
        rules: Iterable[str] = (),
        quality: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Make a kind known here, or give one another template, and say what its data must be. See `AsyncDocuments.declare`."""
        self._inner.declare(kind, template, schema=schema, rules=rules, quality=quality)

    def put(
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
        """Keep a document. See `AsyncDocuments.put`."""
        return self._loop.run(
            self._inner.put(
                kind,
                data,
                at=at,
                packing=packing,
                metadata=metadata,
                tags=tags,
                sources=sources,
                computation=computation,
                computation_version=computation_version,
                **fields,
            )
        )

    def put_all(self, kind: str, documents: Iterable[tuple[At, Any]], /, **fields: str | int) -> builtins.list[DocumentInfo]:
        """Keep several documents, `(at, data)` each, many at a time. See `AsyncDocuments.put_all`."""
        return self._loop.run(self._inner.put_all(kind, list(documents), **fields))

    def get(self, kind: str, /, *, at: At = None, version: int | None = None, **fields: str | int) -> Document:
        """The document of the instant `at`, its newest version by default."""
        return self._loop.run(self._inner.get(kind, at=at, version=version, **fields))

    def latest(self, kind: str, /, **fields: str | int) -> Document:
        """The newest document with these fields, all of them given."""
        return self._loop.run(self._inner.latest(kind, **fields))

    def list(self, kind: str, start: At = None, end: At = None, /, **fields: str | int) -> builtins.list[DocumentInfo]:
        """The documents from `start` until before `end`, by time and version. See `AsyncDocuments.list`."""
        return self._loop.run(self._inner.list(kind, start, end, **fields))

    def versions(self, kind: str, /, *, at: At, **fields: str | int) -> builtins.list[DocumentInfo]:
        """The documents of one instant, the newest last."""
        return self._loop.run(self._inner.versions(kind, at=at, **fields))

    def read(self, info: DocumentInfo) -> Document:
        """The document that was listed."""
        return self._loop.run(self._inner.read(info))

    def find(self, key: str) -> DocumentInfo:
        """The document at `key`, of whichever kind has such keys."""
        return self._loop.run(self._inner.find(key))

    def derivation(self, info: DocumentInfo) -> Derivation | None:
        """How a document was computed, without reading it; None where it does not say."""
        return self._loop.run(self._inner.derivation(info))

    def delete(self, info: DocumentInfo) -> None:
        """Remove one document. None there is no error."""
        self._loop.run(self._inner.delete(info))

    def presign(self, info: DocumentInfo, expires_seconds: int = 3600) -> str:
        """A web address from which anybody can read the document for a while. See `AsyncDocuments.presign`."""
        return self._loop.run(self._inner.presign(info, expires_seconds))

    def backup_table(
        self,
        source: sqlite3.Connection | Iterable[Mapping[str, Any]],
        table: str,
        *,
        at: At = None,
        packing: Packing | None = "zstd",
    ) -> DocumentInfo:
        """Keep a copy of a table, with the types of its values. See `AsyncDocuments.backup_table`."""
        return self.put(BACKUP, as_document(source, table), at=at, packing=packing, table=table)

    def restore_table(
        self, table: str, into: sqlite3.Connection | None = None, *, at: At = None, replace: bool = False
    ) -> builtins.list[dict[str, Any]]:
        """The rows of a copy of `table`; written into SQLite where `into` is given. See `AsyncDocuments.restore_table`."""
        # A connection belongs to its own thread, which is this one.
        copy = self._loop.run(self._inner.table_copy(table, at=at))
        if into is not None:
            write_sqlite(copy, table, into, replace=replace)
        return copy.rows()


class Processed:
    """The processed documents of one lake. Each method does what the one of the same name in `AsyncProcessed` does."""

    def __init__(self, inner: AsyncProcessed, loop: LoopThread) -> None:
        self._inner = inner
        self._loop = loop

    def store(
        self,
        computation: str,
        ticker: str,
        data: Any,
        /,
        *,
        version: str,
        sources: Sources,
        at: At = None,
        packing: Packing | None = None,
        tags: Tags = None,
    ) -> DocumentInfo:
        """Keep what a computation made of `sources` for `ticker`. See `AsyncProcessed.store`."""
        return self._loop.run(
            self._inner.store(computation, ticker, data, version=version, sources=sources, at=at, packing=packing, tags=tags)
        )

    def get_latest(self, computation: str, ticker: str, /) -> Document:
        """The document of the latest instant."""
        return self._loop.run(self._inner.get_latest(computation, ticker))

    def by_date(self, computation: str, ticker: str, day: date | str, /) -> list[Document]:
        """The documents of a day (UTC), by instant."""
        return self._loop.run(self._inner.by_date(computation, ticker, day))

    def by_version(self, computation: str, ticker: str, version: str, /, *, start: At = None, end: At = None) -> list[Document]:
        """The documents that this version of the computation made, by instant. See `AsyncProcessed.by_version`."""
        return self._loop.run(self._inner.by_version(computation, ticker, version, start=start, end=end))
