"""The certificates of a lake: read, listed, and replaced by compare-and-swap."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date

from streamer.archive.certificate import Certificate
from streamer.errors import Conflict, Fenced, NotFound, OutcomeUnknown
from streamer.keys import CERTIFICATES, certificate_key, parse_certificate_key
from streamer.store.contract import Create, Replace, Store


@dataclass(frozen=True, slots=True)
class StoredCertificate:
    """A certificate as the store has it."""

    certificate: Certificate
    etag: str


async def read_certificate(store: Store, day: date) -> StoredCertificate | None:
    """The day's certificate; None where it is not closed. Raises `Damaged`, `Unavailable`, `Denied`."""
    key = certificate_key(day)
    try:
        stored = await store.get(key)
    except NotFound:
        return None
    return StoredCertificate(Certificate.from_json(stored.body, key=key), stored.info.etag)


async def certified_days(store: Store) -> AsyncIterator[date]:
    """Every day that has a certificate, ascending."""
    async for item in store.list(CERTIFICATES):
        if (day := parse_certificate_key(item.key)) is not None:
            yield day


async def write_certificate(store: Store, new: Certificate, known: StoredCertificate | None) -> StoredCertificate:
    """Put `new` in the place of `known`. Raises `Fenced` where another version is there by now."""
    key, body = certificate_key(new.day), new.to_json()
    mode = Create() if known is None else Replace(known.etag)
    for _ in range(5):
        try:
            return StoredCertificate(new, await store.put(key, body, mode=mode, content_type="application/json"))
        except (Conflict, OutcomeUnknown):
            found = await read_certificate(store, new.day)
        if found is not None and found.certificate == new:
            return found
        if (found and found.etag) != (known and known.etag):
            break
    raise Fenced("another process wrote the certificate of this day", hint="close the day again", key=key)
