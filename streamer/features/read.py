"""Finding and reading a saved history: the newest, that of an earlier moment, or the newest that can still be read."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import structlog

from streamer.clock import Clock
from streamer.errors import Damaged, Invalid, NotFound, Stale
from streamer.features.document import Head, Line, parsed_rows
from streamer.features.history import FeatureHistory
from streamer.features.rows import Names, Row
from streamer.features.stored_document import Changed, DocumentReader
from streamer.keys import kept_prefix, parse_kept_key
from streamer.log_events import LogEvent
from streamer.store.contract import Store
from streamer.streams import HistorySpec
from streamer.workers import InlineWorkers, Workers

log = structlog.get_logger()

DOCUMENT = HistorySpec().document


async def read_history(
    store: Store,
    clock: Clock,
    *,
    window: int | None = None,
    symbols: Collection[str] | None = None,
    as_of: datetime | None = None,
    max_age: timedelta | float | None = None,
    document: str = DOCUMENT,
    workers: Workers | None = None,
) -> FeatureHistory:
    """The history that `document` holds. See `AsyncLake.feature_history`."""
    if window is not None and window < 1:
        raise Invalid(f"a window of {window} rows", hint="ask for one row at least")
    if isinstance(symbols, str):
        raise Invalid("symbols is one text", hint=f'write a list: ["{symbols}"]')
    if as_of is not None and as_of.tzinfo is None:
        as_of = as_of.replace(tzinfo=UTC)
    wanted = frozenset(symbols) if symbols is not None else None
    damage: Damaged | None = None
    candidates = [document] if as_of is None else []
    looked_for_older = False
    while True:
        if not candidates:
            if looked_for_older:
                break
            looked_for_older = True
            candidates = await _older(store, document, as_of)
            continue
        key = candidates.pop(0)
        try:
            found = await read_document(store, key, wanted, workers or InlineWorkers())
        except NotFound:
            continue
        except Damaged as error:
            log.warning(LogEvent.HISTORY_DAMAGED, key=key, problem=error.message)
            damage = damage or error
            continue
        head, rows = found
        if key == document and as_of is not None and head.as_of > as_of:
            continue
        history = FeatureHistory(rows, head, window or head.window, clock.now)
        _demand_fresh(head, (as_of or clock.now()) - head.as_of, max_age, key)
        return history
    if damage is not None:
        raise damage
    log.warning(LogEvent.HISTORY_ABSENT, document=document, lake=store.url, as_of=as_of.isoformat() if as_of else None)
    return FeatureHistory({}, None, window or HistorySpec().window, clock.now)


async def kept_versions(store: Store, document: str) -> dict[datetime, str]:
    """The older versions of `document` that are kept: when each was written -> its key, newest first."""
    found = {parse_kept_key(document, item.key): item.key async for item in store.list(kept_prefix(document))}
    return {time: found[time] for time in sorted((time for time in found if time is not None), reverse=True)}


async def _older(store: Store, document: str, as_of: datetime | None) -> list[str]:
    kept = await kept_versions(store, document)
    found = [key for time, key in kept.items() if as_of is None or time <= as_of]
    return found if as_of is None or found else [document]  # nothing is kept: the newest may itself be old enough


async def read_document(
    store: Store, key: str, symbols: frozenset[str] | None, workers: Workers
) -> tuple[Head, dict[str, list[Row]]]:
    """One document, whole or `symbols` of it. Raises `NotFound`, `Damaged`, `Unavailable`, `Denied`."""
    names: Names = {}

    def packed(lines: list[Line]) -> list[tuple[str, list[Row]]]:
        # Lines that are not asked for are not parsed; a large history is mostly read for some symbols.
        return [(symbol, parsed_rows(text, names, key=key)) for symbol, text in lines if symbols is None or symbol in symbols]

    while True:
        reader = DocumentReader(store, key, workers)
        try:
            rows = {symbol: rows async for found in reader.lines(packed) for symbol, rows in found}
        except Changed:
            continue
        return reader.head, rows


def _demand_fresh(head: Head, age: timedelta, max_age: timedelta | float | None, key: str) -> None:
    if max_age is None:
        return
    most = max_age if isinstance(max_age, timedelta) else timedelta(seconds=max_age)
    if age > most:
        raise Stale(
            f"the feature history is {age.total_seconds():.0f} s old, more than the {most.total_seconds():.0f} s asked for",
            hint="look whether the daemon runs, and at its log for history_save_failed: `streamer state show`",
            key=key,
            as_of=head.as_of.isoformat(),
        )
