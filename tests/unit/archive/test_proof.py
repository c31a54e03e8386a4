"""`verify` over closed days, what it finds when something is taken away or changed, repair, and retention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from streamer.archive.inputs import take_stock
from streamer.archive.lease import Lease
from streamer.archive.repair import repair_days
from streamer.archive.retention import Retention, RetentionSettings
from streamer.archive.settings import ArchiveSettings
from streamer.keys import certificate_key, kept_key, summary_key
from streamer.lake.finding import FindingKind, NoteKind
from streamer.lake.verify import verify
from streamer.store.contract import Create, Overwrite
from streamer.store.memory import MemoryStore
from streamer.testing.manual_clock import ManualClock
from streamer.workers import InlineWorkers
from tests.unit.archive.archive_lake import (
    DAY,
    SETTINGS,
    Partition,
    archived,
    at,
    certificate,
    close,
    everything_complete,
    partition,
    tick,
)

NEXT = DAY + timedelta(days=1)
BTC = "ticks/BTC/2026-01-03.parquet"
BARS = "ohlcv/BTC/2026-01-03.parquet"
LONG = RetentionSettings(raw_seconds=7 * 86_400.0, dead_letter_seconds=7 * 86_400.0, dry_run=False)


async def closed_lake(store: MemoryStore) -> Partition:
    """Two partitions of ticks with dead letters, signals, over two days, the first of them closed."""
    ticks, other, signals = partition(store), partition(store, number=1), partition(store, "signal")
    await ticks.batch([tick(1), tick(2, "ETH"), None, tick(3)])
    await ticks.batch([tick(86_000), tick(10, day=NEXT)])
    await other.batch([tick(5, "ETH"), tick(7)])
    await signals.batch([{"timestamp": at(1), "regime": "1"}, {"timestamp": at(86_400), "regime": "2"}])
    for each in (ticks, other, signals):
        await everything_complete(each, day=NEXT)
    await close(store)
    return ticks


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(ManualClock())


async def retain(store: MemoryStore, settings: RetentionSettings = LONG, *, days: int = 30) -> int:
    """Files removed (or that would be), so many days later."""
    clock = ManualClock(start=ManualClock().now() + timedelta(days=days))
    lease = Lease(store, clock, host="retention")
    async with lease.held():
        stock = await take_stock(store, [stream.name for stream in SETTINGS.streams])
        done = await Retention(store, lease, settings, clock, InlineWorkers()).apply(stock)
    return sum(len(expired.keys) for expired in done)


async def repair(store: MemoryStore, settings: ArchiveSettings = SETTINGS) -> list[tuple[str, ...]]:
    lease = Lease(store, ManualClock(), host="repair")
    async with lease.held():
        return [each.keys for each in await repair_days(store, lease, settings, InlineWorkers())]


async def test_a_closed_day_is_sound(store: MemoryStore) -> None:
    await closed_lake(store)

    report = await verify(store)

    assert report.sound, report.findings
    assert report.notes == ()


async def _lose(store: MemoryStore, key: str) -> None:
    await store.delete(key)


async def _flip(store: MemoryStore, key: str) -> None:
    body = bytearray(store.bodies[key])
    body[len(body) // 2] ^= 1
    await store.put(key, bytes(body), mode=Overwrite())


@pytest.mark.parametrize("key", [BTC, BARS, "signals/2026-01-03/regime_signals.parquet", summary_key(DAY)])
@pytest.mark.parametrize(("harm", "kind"), [(_lose, FindingKind.ARCHIVE_MISSING), (_flip, FindingKind.ARCHIVE_WRONG)])
async def test_an_archive_file_that_is_lost_or_changed_is_named_and_repaired(
    store: MemoryStore, key: str, harm: Callable[..., object], kind: FindingKind
) -> None:
    await closed_lake(store)
    before = dict(store.bodies)
    await harm(store, key)  # type: ignore[misc]

    found = await verify(store)
    repaired = await repair(store)

    assert [(finding.kind, finding.key) for finding in found.findings] == [(kind, key)]
    assert repaired == [(key,)]
    assert store.bodies[key] == before[key]
    assert store.bodies[certificate_key(DAY)] == before[certificate_key(DAY)]
    assert (await verify(store)).sound


async def test_an_archive_that_was_certified_with_other_rows_than_the_raw_files_is_found(store: MemoryStore) -> None:
    """Somebody writes a consistent archive and certificate over rows that are not those of the lake."""
    other = MemoryStore(ManualClock())
    await closed_lake(store)
    ticks = partition(other)
    await ticks.batch([tick(1), tick(2, "ETH"), None, tick(3, price=1.0000001)])
    await ticks.batch([tick(86_000), tick(10, day=NEXT)])
    await everything_complete(ticks)
    await close(other)
    for key, body in other.bodies.items():
        if key.startswith(("ticks/", "ohlcv/", "daily-", "archive/", "_streamer/archive/")):
            await store.put(key, body, mode=Overwrite())

    found = await verify(store, streams=["ticks"])

    assert {finding.kind for finding in found.findings} == {FindingKind.ARCHIVE_WRONG}
    assert "other rows" in found.findings[0].detail


async def test_bars_that_are_not_those_of_the_ticks_are_found(store: MemoryStore) -> None:
    await closed_lake(store)
    now = await certificate(store)
    moved = replace(now, recipe=replace(now.recipe, fill=True))
    await store.put(certificate_key(DAY), moved.to_json(), mode=Overwrite())

    found = await verify(store)

    assert {finding.kind for finding in found.findings} == {FindingKind.BARS_WRONG}


async def test_a_damaged_certificate_is_named(store: MemoryStore) -> None:
    await closed_lake(store)
    await store.put(certificate_key(DAY), b"{}", mode=Overwrite())

    assert [(f.kind, f.key) for f in (await verify(store)).findings] == [
        (FindingKind.CERTIFICATE_DAMAGED, certificate_key(DAY))
    ]


async def test_late_data_is_a_note_until_the_day_is_closed_again(store: MemoryStore) -> None:
    ticks = await closed_lake(store)
    await ticks.batch([tick(4)])

    report = await verify(store)
    other_day = await verify(store, day=NEXT, last_day=NEXT + timedelta(days=9))

    assert report.sound
    assert [note.kind for note in report.notes] == [NoteKind.ARCHIVE_LATE]
    assert other_day.notes == ()


async def test_raw_files_of_a_certified_day_that_vanish_are_found(store: MemoryStore) -> None:
    await closed_lake(store)
    for key in [key for key in store.bodies if key.startswith("raw/signals/date=2026-01-03")]:
        await store.delete(key)

    kinds = {finding.kind for finding in (await verify(store)).findings}

    assert kinds == {FindingKind.SIBLING_MISSING, FindingKind.RAW_MISSING}


# ---- retention -----------------------------------------------------------------------------------------------------------


async def test_retention_takes_the_files_of_certified_days_and_the_lake_still_verifies(store: MemoryStore) -> None:
    await closed_lake(store)
    before = {key for key in store.bodies if key.startswith(("raw/", "dead-letters/"))}

    would = await retain(store, replace(LONG, dry_run=True))
    untouched = {key for key in store.bodies if key.startswith(("raw/", "dead-letters/"))}
    took = await retain(store)

    left = {key for key in store.bodies if key.startswith(("raw/", "dead-letters/"))}
    assert untouched == before
    assert would == took == len(before) - len(left) > 0
    assert all("date=2026-01-04" in key for key in left)
    report = await verify(store)
    assert report.sound, report.findings
    assert (await certificate(store)).streams["ticks"].removed == ("dead-letters", "raw")
    assert await retain(store) == 0
    closed = await close(store)
    assert not closed.changed
    assert (await verify(store, deep=False)).sound


async def test_late_data_after_retention_is_merged_with_the_archive_and_verifies(store: MemoryStore) -> None:
    ticks = await closed_lake(store)
    await retain(store)
    await ticks.batch([tick(4, price=9)])

    closed = await close(store)

    assert closed.certificate.revision == 2
    assert (await archived(store, BTC))["price"].to_pylist() == [1, 1, 9, 1, 1]
    report = await verify(store)
    assert report.sound, report.findings
    assert await retain(store) == 1
    assert (await verify(store)).sound


@pytest.mark.parametrize("days", [0, 1, 6])
async def test_retention_waits_its_time(store: MemoryStore, days: int) -> None:
    await closed_lake(store)

    assert await retain(store, days=days) == 0


@pytest.mark.parametrize("reason", ["no certificate", "not complete", "archive damaged", "archive lost"])
async def test_retention_never_touches_a_day_that_is_not_proved(store: MemoryStore, reason: str) -> None:
    await closed_lake(store)
    now = await certificate(store)
    match reason:
        case "no certificate":
            await store.delete(certificate_key(DAY))
        case "not complete":
            streams = {name: replace(part, complete=False) for name, part in now.streams.items()}
            await store.put(certificate_key(DAY), replace(now, streams=streams).to_json(), mode=Overwrite())
        case "archive damaged":
            await _flip(store, BARS)
        case "archive lost":
            await _lose(store, BTC)
    before = {key for key in store.bodies if key.startswith(("raw/", "dead-letters/"))}

    assert await retain(store) == 0
    assert {key for key in store.bodies if key.startswith(("raw/", "dead-letters/"))} == before


async def test_files_that_hold_rows_of_other_days_stay(store: MemoryStore) -> None:
    from tests.unit.archive.archive_lake import layout_of

    ticks = partition(store, layout=layout_of("tick", path="symbol={symbol}"))
    await ticks.batch([tick(1), tick(2, day=NEXT)])
    await everything_complete(ticks, day=NEXT)
    await close(store)
    await close(store, NEXT)

    assert await retain(store) == 0
    assert (await verify(store)).sound


DOCUMENT = "state/feature_history_latest.json"
SNAPSHOTS = RetentionSettings(snapshot_seconds=7 * 86_400.0, dry_run=False, documents=(DOCUMENT,))


async def keep_snapshots(store: MemoryStore) -> None:
    """Versions of a history: three of the closed day, one of a day without a certificate, and the document itself."""
    for written in (at(10), at(20), at(30), at(10, NEXT), at(20, NEXT)):
        await store.put(kept_key(DOCUMENT, written), b"older", mode=Create())
    await store.put(DOCUMENT, b"newest", mode=Create())


def state(store: MemoryStore) -> set[str]:
    return {key for key in store.bodies if key.startswith("state/")}


async def test_snapshots_of_certified_days_go_when_their_time_is_over_and_nothing_else_does(store: MemoryStore) -> None:
    await closed_lake(store)
    await keep_snapshots(store)
    everything = set(store.bodies)

    assert await retain(store, SNAPSHOTS, days=6) == 0
    assert await retain(store, replace(SNAPSHOTS, dry_run=True)) == 3
    assert set(store.bodies) == everything
    assert await retain(store, SNAPSHOTS) == 3
    assert state(store) == {DOCUMENT, kept_key(DOCUMENT, at(10, NEXT)), kept_key(DOCUMENT, at(20, NEXT))}
    await close(store, NEXT)
    assert await retain(store, SNAPSHOTS) == 1
    assert state(store) == {DOCUMENT, kept_key(DOCUMENT, at(20, NEXT))}, "the newest version stays, however old"
    assert await retain(store, SNAPSHOTS) == 0
    assert {key for key in everything if not key.startswith("state/")} <= set(store.bodies)
    assert (await verify(store)).sound


async def test_snapshots_of_a_day_whose_archive_is_damaged_stay(store: MemoryStore) -> None:
    await closed_lake(store)
    await keep_snapshots(store)
    before = state(store)
    await _flip(store, BARS)

    assert await retain(store, SNAPSHOTS) == 0
    assert state(store) == before
