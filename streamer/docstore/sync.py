"""`Lake.documents`: documents for synchronous code, and copies of database tables as documents."""

from __future__ import annotations

import builtins
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from streamer.docstore.docstore import BACKUP, AsyncDocuments, At, Document, DocumentInfo, Packing
from streamer.docstore.table import as_document, write_sqlite
from streamer.lake.loop_thread import LoopThread


class Documents:
    """The documents of one lake. Each method does what the one of the same name in `AsyncDocuments` does."""

    def __init__(self, inner: AsyncDocuments, loop: LoopThread) -> None:
        self._inner = inner
        self._loop = loop

    @property
    def kinds(self) -> dict[str, str]:
        """The template of every kind."""
        return self._inner.kinds

    def declare(self, kind: str, template: str) -> None:
        """Make a kind known here, or give one another template. See `AsyncDocuments.declare`."""
        self._inner.declare(kind, template)

    def put(
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
        """Keep a document. See `AsyncDocuments.put`."""
        return self._loop.run(self._inner.put(kind, data, at=at, packing=packing, metadata=metadata, tags=tags, **fields))

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
