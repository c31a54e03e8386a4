"""Processed documents: what a computation made of one ticker's data, with its version and its sources. For asyncio programs.

The kind `processed` under names that engines use. What is kept, and how, is `docstore.py`; nothing is kept here.
"""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, date, datetime, timedelta
from operator import attrgetter
from typing import Any

from streamer.docstore.docstore import AsyncDocuments, At, Packing
from streamer.docstore.document import Document, DocumentInfo, Sources
from streamer.docstore.metadata import Tags
from streamer.errors import Damaged, NotFound
from streamer.lake.instant import parse_instant
from streamer.lake.parallel import in_order

PROCESSED = "processed"
AT_ONCE = 16
_BUDGET_BYTES = 64 << 20

Documents = builtins.list[Document]


class AsyncProcessed:
    """The processed documents of one lake. Every method may raise `Unavailable`, `Denied`, and `Invalid` for a computation that
    the template of the kind does not have: indicators, percentiles and features, unless it was declared otherwise."""

    def __init__(self, documents: AsyncDocuments) -> None:
        self._documents = documents

    async def store(
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
        """Keep what `computation`, in its `version`, made of `sources` for `ticker`, as `processed/{computation}/{ticker}/...`.

        at: the instant that it is about; now, by default. One HEAD for each source, and one PUT. Raises as
        `AsyncDocuments.put`.
        """
        return await self._documents.put(
            PROCESSED, data, at=at, packing=packing, tags=tags, sources=sources if sources is not None else (),
            computation=computation, computation_version=version, ticker=ticker,
        )  # fmt: skip

    async def get_latest(self, computation: str, ticker: str, /) -> Document:
        """The document of the latest instant. Two requests where one is of the last day, up to six where it is old. Raises
        `NotFound`, `Damaged`."""
        return await self._documents.latest(PROCESSED, computation=computation, ticker=ticker)

    async def by_date(self, computation: str, ticker: str, day: date | str, /) -> Documents:
        """The documents of a day (UTC), by instant; several of one instant by their version. One listing, and one GET each."""
        first = _midnight(day)
        found = await self._documents.list(PROCESSED, first, first + timedelta(days=1), computation=computation, ticker=ticker)
        return [document async for document in self._read(found)]

    async def by_version(
        self, computation: str, ticker: str, version: str, /, *, start: At = None, end: At = None
    ) -> Documents:
        """The documents that this version of the computation made, by instant.

        Keys do not have it: one HEAD for every document of the computation and ticker from `start` until before `end`, 16 at a
        time, and one GET for each that fits. One whose lineage cannot be read is passed over.
        """
        found = await self._documents.list(PROCESSED, start, end, computation=computation, ticker=ticker)
        heads = in_order(found, self._version_of, lambda _: 0, most=AT_ONCE, budget_bytes=1)
        fitting = [info async for info, said in heads if said == version and info is not None]
        return [document async for document in self._read(fitting)]

    async def _version_of(self, info: DocumentInfo) -> tuple[DocumentInfo | None, str | None]:
        try:
            said = await self._documents.derivation(info)
        except (Damaged, NotFound):
            return None, None
        return info, said.version if said is not None else None

    def _read(self, found: Iterable[DocumentInfo]) -> AsyncIterator[Document]:
        return in_order(found, self._documents.read, attrgetter("size_bytes"), most=AT_ONCE, budget_bytes=_BUDGET_BYTES)


def _midnight(day: date | str) -> datetime:
    if isinstance(day, str):
        day = parse_instant(day)
    if isinstance(day, datetime):
        day = (day.astimezone(UTC) if day.tzinfo is not None else day).date()
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
