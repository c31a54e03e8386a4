"""Repairing a closed day where that is certain: from what is certified, or from raw files that are all there and whole.

Never deletes, never invents: what cannot be made again from the lake itself is left to a backup, and `verify` says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

from streamer.archive.certificates import certified_days, read_certificate
from streamer.archive.close import DayCloser
from streamer.archive.inputs import take_stock
from streamer.archive.lease import Lease
from streamer.archive.proof import check_bytes
from streamer.archive.settings import ArchiveSettings
from streamer.errors import Damaged
from streamer.store.contract import Store
from streamer.workers import Workers


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was made again of one day; `problem`: why it could not be."""

    day: date
    keys: tuple[str, ...]
    problem: str | None = None


async def repair_days(
    store: Store, lease: Lease, settings: ArchiveSettings, workers: Workers, first: date | None = None, last: date | None = None
) -> list[Repaired]:
    """End revisions that wait to be published, and write objects again that are gone or are not what was certified.

    The caller holds the lease. Raises `Fenced`, `Unavailable`, `Denied`.
    """
    done = []
    stock = None
    async for day in certified_days(store):
        if (first is not None and day < first) or (last is not None and day > last):
            continue
        try:
            stored = await read_certificate(store, day)
            if stored is None:
                continue
            certificate = stored.certificate
            wrong = [o.key for o in certificate.outputs if await check_bytes(store, o, workers) is not None]
            if not wrong and not certificate.publishing:
                continue
            stock = stock or await take_stock(store, [stream.name for stream in settings.streams])
            closer = DayCloser(store, lease, replace(settings, recipe=certificate.recipe), workers)
            streams = None if any(o.kind == "summary" and o.key in wrong for o in certificate.outputs) else certificate.streams
            await closer.close(day, stock, streams, rewrite=wrong)
            done.append(Repaired(day, tuple(wrong)))
        except Damaged as error:
            done.append(Repaired(day, (), f"{error}; {error.hint}"))
    return done
