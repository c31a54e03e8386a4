"""Days close by themselves: which are due, one replica at a time, and what came late.

Runs beside the pipeline and never holds it up. What goes wrong with a day is logged and tried again at the next look; nothing
is half done meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta

import structlog

from streamer.archive.certificate import Certificate
from streamer.archive.certificates import certified_days, read_certificate
from streamer.archive.close import Closed, DayCloser
from streamer.archive.day import ONE_DAY, blockers, end_of, last_complete_day
from streamer.archive.inputs import Stock, take_stock
from streamer.archive.lease import Lease
from streamer.archive.retention import Retention, RetentionSettings
from streamer.archive.settings import ArchiveSettings
from streamer.clock import Clock
from streamer.errors import Conflict, Fenced, StreamerError
from streamer.lake.positions import read_positions
from streamer.log_events import LogEvent
from streamer.metrics import Metrics
from streamer.store.contract import Store
from streamer.workers import Workers

log = structlog.get_logger()

WAITS_LOG_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class DueDay:
    """A day to be closed. late: it is certified already, and there is more of it now."""

    day: date
    late: bool


class ArchiveKeeper:
    """Closes days as they become complete. `run` is its life; `look` is one turn of it."""

    def __init__(
        self,
        store: Store,
        settings: ArchiveSettings,
        clock: Clock,
        workers: Workers,
        metrics: Metrics,
        *,
        host: str,
        retention: RetentionSettings | None = None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._workers = workers
        self._metrics = metrics
        self._host = host
        self._retention = retention
        self._listed_at: float | None = None
        self._waits_logged_at: float | None = None
        self._newest = date.min

    async def run(self) -> None:
        """Look now and then, for ever. Raises only for a bug."""
        while True:
            await self._clock.sleep(self._clock.jitter(self._settings.check_seconds))
            try:
                await self.look()
            except Fenced as error:
                log.info(LogEvent.ARCHIVE_TAKEN_OVER, **error.context)
            except StreamerError as error:
                self._failed(error)

    async def look(self) -> list[Closed]:
        """Close what is due, if no other replica does. Raises what the lake raises; a day that fails keeps no other."""
        last = await self._last_complete_day()
        if last is None or not await self._worth_listing(last):
            return []
        lease = Lease(self._store, self._clock, host=self._host, seconds=self._settings.lease_seconds)
        closed: list[Closed] = []
        try:
            async with lease.held():
                stock = await take_stock(self._store, [stream.name for stream in self._settings.streams])
                closer = DayCloser(self._store, lease, self._settings, self._workers)
                waiting = {due.day: due for due in await self._due(stock, last)}
                done = set[date]()
                while waiting:
                    due = waiting.pop(min(waiting))
                    done.add(due.day)
                    now_closed = await self._close(closer, due, stock)
                    for other in await self._noticed(now_closed, last):
                        if other.day not in done:
                            waiting.setdefault(other.day, other)
                    closed += now_closed
                if self._retention is not None:
                    await Retention(self._store, lease, self._retention, self._clock, self._workers).apply(stock)
        except Conflict:
            return closed  # another replica is at it
        self._listed_at = self._clock.monotonic()
        return closed

    async def _close(self, closer: DayCloser, due: DueDay, stock: Stock) -> list[Closed]:
        began = self._clock.monotonic()
        if due.late:
            log.warning(LogEvent.ARCHIVE_DAY_REOPENED, date=due.day.isoformat())
        try:
            done = await closer.close(due.day, stock)
        except Fenced:
            raise
        except StreamerError as error:
            self._failed(error, due.day)
            return []
        seconds = self._clock.monotonic() - began
        self._metrics.days_closed.inc()
        self._metrics.day_close_seconds.observe(seconds)
        self._newest = max(due.day, self._newest)
        self._metrics.last_day_closed.set(end_of(self._newest).timestamp())
        log.info(LogEvent.ARCHIVE_DAY_CLOSED, **described(done.certificate), seconds=round(seconds, 3))
        return [done]

    def _failed(self, error: StreamerError, day: date | None = None) -> None:
        self._metrics.day_close_failures.inc()
        where = {"date": day.isoformat()} if day is not None else {}
        log.error(LogEvent.ARCHIVE_FAILED, problem=error.message, hint=error.hint, **where, **error.context)

    async def _last_complete_day(self) -> date | None:
        """The newest day that has ended, is complete, and has been left alone for as long as configured."""
        topics = {stream.topic for stream in self._settings.streams}
        found = (await read_positions(self._store)).by_source.values()
        positions = [position for position in found if position.source.topic in topics]
        ended = (self._clock.now() - timedelta(seconds=self._settings.lateness_seconds)).date() - ONE_DAY
        last = last_complete_day(positions)
        if positions and (last is None or last < ended):
            self._note_waiting(ended, blockers(ended, positions))
        return min(last, ended) if last is not None else None

    def _note_waiting(self, day: date, waiting: dict[str, str | None]) -> None:
        now = self._clock.monotonic()
        if self._waits_logged_at is None or now - self._waits_logged_at >= WAITS_LOG_SECONDS:
            self._waits_logged_at = now
            shown = dict(sorted(waiting.items())[:20])
            log.info(LogEvent.ARCHIVE_WAITS, date=day.isoformat(), partitions=shown, count=len(waiting))

    async def _worth_listing(self, last: date) -> bool:
        """Whether the newest complete day is not certified, or it is time to look for what came late."""
        now = self._clock.monotonic()
        if self._listed_at is None or now - self._listed_at >= self._settings.reopen_seconds:
            return True
        stored = await read_certificate(self._store, last)
        return stored is None or not _settled(stored.certificate, self._settings)

    async def _noticed(self, closed: Collection[Closed], last: date) -> list[DueDay]:
        """Days that are due, too: rows of theirs were seen in folders that name no day."""
        found: dict[date, DueDay] = {}
        for other in (other for each in closed for other in each.others):
            if other.day > last or other.day in found:
                continue
            stored = await read_certificate(self._store, other.day)
            if stored is None or other.late_for(stored.certificate):
                found[other.day] = DueDay(other.day, stored is not None)
        return list(found.values())

    async def _due(self, stock: Stock, last: date) -> list[DueDay]:
        certified: dict[date, Certificate] = {}
        async for day in certified_days(self._store):
            if day <= last and (stored := await read_certificate(self._store, day)) is not None:
                certified[day] = stored.certificate
        days, all_named = await self._workers.run(stock.days)
        if any(day <= last for day in days | certified.keys()):
            days.add(last)  # a day without a record is certified as that, once there has been one
        if not all_named:
            # Folders without a date cannot say which days there are: no day after the first certified one is left out, and
            # closing one finds those before it.
            days |= {last - ONE_DAY * n for n in range((last - min(certified, default=last)).days or 1)}
        late = await self._workers.run(stock.late_days, certified)
        unsettled = {day for day, certificate in certified.items() if not _settled(certificate, self._settings)}
        due = {day for day in days if day <= last and day not in certified} | unsettled | late
        return [DueDay(day, day in late) for day in sorted(due)]


def _settled(certificate: Certificate, settings: ArchiveSettings) -> bool:
    """Whether nothing is left to do but to look for what came late."""
    named = {stream.name for stream in settings.streams}
    return certificate.complete and not certificate.publishing and named <= certificate.streams.keys()


def described(certificate: Certificate) -> dict[str, object]:
    """A closed day in one line of log."""
    parts = certificate.streams.values()
    return {
        "date": certificate.day.isoformat(),
        "revision": certificate.revision,
        "complete": certificate.complete,
        "rows": sum(part.rows for part in parts),
        "dead_letters": sum(part.dead_letters for part in parts),
        "files": sum(1 for _ in certificate.outputs),
        "bytes": sum(output.bytes for output in certificate.outputs),
    }
