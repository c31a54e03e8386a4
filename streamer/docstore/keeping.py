"""Keeping one document without ever writing over another: what is the same as what is there, and what it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from streamer.docstore.document import Sources, as_sources
from streamer.docstore.metadata import read
from streamer.errors import Conflict, Damaged, Invalid, NotFound, OutcomeUnknown
from streamer.lineage.derivation import Derivation, derivation
from streamer.lineage.recording import recorded
from streamer.store.contract import Create, Store, StoredObject


async def created(store: Store, key: str, body: bytes, said: Mapping[str, str], type_: str) -> str | None:
    """The ETag of this very document at `key`, put there now or before; None where there is another one."""
    try:
        return await store.put(key, body, mode=Create(), metadata=said, content_type=type_)
    except (Conflict, OutcomeUnknown) as error:
        try:
            there = await store.get(key)
        except NotFound:
            raise error from None
        return there.info.etag if there.body == body and _same_work(there, said, key) else None


async def derived(store: Store, now: datetime, sources: Sources, computation: str | None, version: str | None) -> Derivation:
    """How a document is made, with the versions that its sources have. Raises `NotFound` for one that is not in the lake, and
    `Invalid`."""
    if computation is None:
        raise Invalid("what computed the document is not said", hint='give computation="percentiles"')
    asked = as_sources(sources)
    # Before anything is asked: names that cannot be kept are no reason for a thousand requests.
    checked = derivation(computation, version, now, tuple(asked))
    found = await recorded(store, asked)
    return replace(checked, sources=found, count=len(found))


def _same_work(there: StoredObject, said: Mapping[str, str], key: str) -> bool:
    """Whether a document that is there, with the same data, was made of the same. One that says nothing of its sources now is
    the same as any."""
    mine = read(said).derived
    if mine is None:
        return True
    theirs = read(there.info.metadata).derived
    try:
        found = Derivation.from_metadata(theirs, key=key) if theirs is not None else None
    except Damaged:
        return False
    return Derivation.from_metadata(mine, key=key).same_work(found)
