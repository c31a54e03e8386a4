"""Removing what is old: data files, dead letters and snapshots of days whose certificate has just been verified.

Off unless configured. Takes a file only where everything is certain: its folder names one day, the day's certificate lists it,
the archive was read and found to be what was certified, and no PUT of it can still be under way. Snapshots are the older
versions of feature histories; the newest of them stays, and what readers load at boot is none of them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import structlog

from streamer.archive.certificate import Certificate, Removed
from streamer.archive.certificates import StoredCertificate, certified_days, read_certificate, write_certificate
from streamer.archive.day import end_of
from streamer.archive.inputs import Stock
from streamer.archive.lease import Lease
from streamer.archive.proof import prove_outputs
from streamer.archive.removed import InputEntry, read_entries
from streamer.clock import Clock
from streamer.errors import Damaged
from streamer.keys import kept_prefix, parse_kept_key
from streamer.lake.inventory import LakeFile
from streamer.log_events import LogEvent
from streamer.store.contract import ObjectInfo, Store
from streamer.workers import Workers

log = structlog.get_logger()

IN_FLIGHT_SECONDS = 86_400.0
"""No PUT is under way for so long: one try ends after ten minutes at the most, and its retries soon after. Retention therefore
begins at one day."""


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """How long after the end of a day its files are kept; None: for ever. dry_run: only say what would go. documents: the keys
    of the merged histories whose older versions are the snapshots."""

    raw_seconds: float | None = None
    dead_letter_seconds: float | None = None
    dry_run: bool = True
    snapshot_seconds: float | None = None
    documents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Expired:
    """The files and snapshots of one day whose time is over."""

    day: date
    files: tuple[LakeFile, ...]
    dry_run: bool
    snapshots: tuple[ObjectInfo, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        return (*(file.key for file in self.files), *(info.key for info in self.snapshots))

    @property
    def bytes(self) -> int:
        return sum(file.size_bytes for file in self.files) + sum(info.size_bytes for info in self.snapshots)


class Retention:
    """Removes what has expired. The caller holds the lease."""

    def __init__(self, store: Store, lease: Lease, settings: RetentionSettings, clock: Clock, workers: Workers) -> None:
        self._store = store
        self._lease = lease
        self._settings = settings
        self._clock = clock
        self._workers = workers

    async def apply(self, stock: Stock) -> list[Expired]:
        """Go through the certified days, the oldest first. A day whose archive is not what was certified keeps its files.

        Raises `Fenced`, `Unavailable`, `Denied`.
        """
        done = []
        snapshots = await self._snapshots()
        async for day in certified_days(self._store):
            try:
                expired = await self._day(day, stock, snapshots.get(day, []))
            except Damaged as error:
                log.error(
                    LogEvent.ARCHIVE_FAILED, date=day.isoformat(), problem=error.message, hint=error.hint, **error.context
                )
                continue
            if expired is not None and expired.keys:
                done.append(expired)
                log.info(
                    LogEvent.RETENTION_REMOVED,
                    date=day.isoformat(),
                    files=len(expired.files),
                    snapshots=len(expired.snapshots),
                    bytes=expired.bytes,
                    dry_run=self._settings.dry_run,
                )
        return done

    async def _snapshots(self) -> dict[date, list[ObjectInfo]]:
        """The older versions of the histories by the day on which they were written, without the newest of each."""
        found: dict[date, list[ObjectInfo]] = {}
        for document in self._settings.documents if self._settings.snapshot_seconds is not None else ():
            infos = [info async for info in self._store.list(kept_prefix(document))]
            dated = [(written, info) for info in infos if (written := parse_kept_key(document, info.key)) is not None]
            for written, info in sorted(dated, key=lambda pair: pair[0])[:-1]:
                found.setdefault(written.date(), []).append(info)
        return found

    async def _day(self, day: date, stock: Stock, snapshots: Sequence[ObjectInfo]) -> Expired | None:
        stored = await read_certificate(self._store, day)
        if stored is None or not stored.certificate.complete or stored.certificate.publishing:
            return None
        expired = await self._expired(stored.certificate, stock)
        if _over(self._clock.now(), end_of(day), self._settings.snapshot_seconds):
            expired = replace(expired, snapshots=tuple(snapshots))
        if expired.keys and not self._settings.dry_run:
            await self._remove(stored, expired)
        return expired

    async def _expired(self, certificate: Certificate, stock: Stock) -> Expired:
        now, ends = self._clock.now(), end_of(certificate.day)
        raw = _over(now, ends, self._settings.raw_seconds)
        letters = _over(now, ends, self._settings.dead_letter_seconds)
        found: list[LakeFile] = []
        for name, part in certificate.streams.items() if raw or letters else ():
            files: list[LakeFile] = []
            if raw:
                files += await self._workers.run(stock.raw_files, name, certificate.day)
            if letters:
                files += await self._workers.run(stock.letter_files, name, certificate.day)
            if files:
                listed = {entry.key: entry for entry in await read_entries(self._store, part.inputs)}
                found += [file for file in files if certain(file, listed, stock, certificate.day)]
        return Expired(certificate.day, tuple(found), self._settings.dry_run)

    async def _remove(self, stored: StoredCertificate, expired: Expired) -> None:
        """Prove the archive, say in the certificate what is going to be missing, and only then remove it."""
        await prove_outputs(self._store, stored.certificate, self._workers)
        kinds: set[Removed] = {"dead-letters" if file.folder.dead_letters else "raw" for file in expired.files}
        streams = {
            name: replace(part, removed=tuple(sorted({*part.removed, *kinds}))) if name in _streams(expired.files) else part
            for name, part in stored.certificate.streams.items()
        }
        await self._lease.demand()
        marked = replace(stored.certificate, streams=streams)
        if marked != stored.certificate:
            await write_certificate(self._store, marked, stored)
        for key in expired.keys:
            await self._lease.demand()
            await self._store.delete(key)


def _over(now: datetime, ends: datetime, seconds: float | None) -> bool:
    return seconds is not None and now >= ends + timedelta(seconds=max(seconds, IN_FLIGHT_SECONDS))


def _streams(files: Collection[LakeFile]) -> set[str]:
    return {file.folder.stream for file in files}


def certain(file: LakeFile, listed: dict[str, InputEntry], stock: Stock, day: date) -> bool:
    """Whether every row of the file is certified with this day."""
    entry = listed.get(file.key)
    return entry is not None and entry.rows == entry.day_rows and stock.days_of(file.folder) == frozenset({day})
