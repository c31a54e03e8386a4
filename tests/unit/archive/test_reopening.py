"""Late data, retention and crashes: a day has one revision or the next, and no row is lost on the way."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from streamer.archive.certificates import read_certificate
from streamer.archive.inputs import take_stock
from streamer.archive.keeper import ArchiveKeeper
from streamer.archive.lease import Lease
from streamer.archive.row_hash import RowHash
from streamer.errors import Conflict, Fenced, StreamerError
from streamer.keys import ARCHIVE_PARTS, LEASE
from streamer.lake.verify import verify
from streamer.metrics import Metrics
from streamer.store.memory import MemoryStore
from streamer.testing.failing_store import FailingStore, Fault, FaultKind
from streamer.testing.manual_clock import ManualClock
from streamer.workers import InlineWorkers
from tests.unit.archive.archive_lake import (
    DAY,
    SETTINGS,
    Dying,
    archived,
    certificate,
    close,
    copy_of,
    everything_complete,
    layout_of,
    partition,
    tick,
)

BTC = "ticks/BTC/2026-01-03.parquet"
ETH = "ticks/ETH/2026-01-03.parquet"
TICKS_ALONE = replace(SETTINGS, streams=SETTINGS.streams[:1])
NEXT = DAY + timedelta(days=1)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(ManualClock())


def keeper(store: MemoryStore, clock: ManualClock) -> ArchiveKeeper:
    return ArchiveKeeper(store, SETTINGS, clock, InlineWorkers(), Metrics(), host="keeper")


async def test_late_data_makes_the_next_revision_and_touches_what_changed_alone(store: MemoryStore) -> None:
    ticks = partition(store)
    await ticks.batch([tick(1), tick(2, "ETH")])
    await everything_complete(ticks)
    first = (await close(store)).certificate
    await ticks.batch([tick(3, day=NEXT), tick(0.5, price=7)])

    second = (await close(store)).certificate

    assert (first.revision, second.revision) == (1, 2)
    assert (await archived(store, BTC))["price"].to_pylist() == [7.0, 1.0]
    assert first.output(ETH) == second.output(ETH)
    assert not second.publishing
    assert {key for key in store.bodies if key.startswith(ARCHIVE_PARTS)} == {
        part.inputs.key for part in second.streams.values()
    }


@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
async def test_rows_whose_raw_files_are_gone_come_from_the_revision_before(store: MemoryStore, again: bool) -> None:
    ticks = partition(store)
    await ticks.batch([tick(1), tick(2, "ETH"), None])
    await everything_complete(ticks)
    await close(store)
    for key in [key for key in store.bodies if key.startswith(("raw/", "dead-letters/"))]:
        await store.delete(key)
    await ticks.batch([tick(0.5, price=7)])
    if again:
        await close(store)
        await ticks.batch([tick(0.7, price=8)])
        for key in [key for key in store.bodies if key.startswith("raw/") and "-00000000000000000003-" in key]:
            await store.delete(key)

    now = (await close(store)).certificate

    assert (await archived(store, BTC))["price"].to_pylist() == ([7.0, 8.0, 1.0] if again else [7.0, 1.0])
    assert (await archived(store, ETH)).num_rows == 1
    part = now.streams["ticks"]
    assert (part.rows, part.dead_letters) == (4 if again else 3, 1)
    tables = [await archived(store, output.key) for output in part.outputs if output.kind == "ticks"]
    assert sum(map(RowHash.of, tables), RowHash()) == part.hash


async def test_a_reader_sees_one_revision_or_the_other_wherever_the_close_dies(store: MemoryStore) -> None:
    """Every request of the second close is once the one that never comes back, with and without effect."""
    ticks = partition(store)
    await ticks.batch([tick(1), tick(2, "ETH")])
    await everything_complete(ticks)
    await close(store, settings=TICKS_ALONE)
    await ticks.batch([tick(0.5, price=7), tick(1, "ETH", price=7)])
    seen = set()
    for number in range(60):
        for after in (False, True):
            inner = await copy_of(store)
            dying = Dying(inner, number, after=after)
            try:
                await close(dying, settings=TICKS_ALONE, clock=ManualClock(seed=1))
            except StreamerError:
                assert dying.dead
            if not dying.dead:
                assert number > 10
                assert seen == {1, 2}
                return

            state = await certificate(inner)
            rows = {key: (await archived(inner, key)).num_rows for key in (BTC, ETH)}
            assert rows == ({BTC: 1, ETH: 1} if state.revision == 1 else {BTC: 2, ETH: 2})
            seen.add(state.revision)

            repaired = await close(
                inner, settings=TICKS_ALONE, clock=ManualClock(seed=2, start=ManualClock().now() + timedelta(hours=1))
            )
            assert repaired.certificate.revision == 2
            assert not repaired.certificate.publishing
            assert {key: (await archived(inner, key)).num_rows for key in (BTC, ETH)} == {BTC: 2, ETH: 2}
    pytest.fail("the close never came to its end")


async def test_a_first_close_that_dies_anywhere_certifies_nothing_and_the_next_one_everything() -> None:
    for number in range(60):
        inner = MemoryStore(ManualClock())
        ticks = partition(inner)
        await ticks.batch([tick(1), tick(2, "ETH"), None])
        await everything_complete(ticks)
        dying = Dying(inner, number, after=number % 2 == 1)
        try:
            await close(dying, settings=TICKS_ALONE, clock=ManualClock(seed=1))
        except StreamerError:
            assert dying.dead
        if not dying.dead:
            assert number == 9
            return

        closed = await close(
            inner, settings=TICKS_ALONE, clock=ManualClock(seed=2, start=ManualClock().now() + timedelta(hours=1))
        )

        assert (closed.certificate.revision, closed.certificate.streams["ticks"].rows) == (1, 2)
        assert (await archived(inner, BTC)).num_rows == 1


async def test_no_lost_answer_costs_more_than_reading_back(store: MemoryStore) -> None:
    ticks = partition(store)
    await ticks.batch([tick(1), tick(2, "ETH"), None])
    await everything_complete(ticks)
    await close(store)
    await ticks.batch([tick(0.5, price=7)])

    closed = await close(FailingStore(store, ManualClock(), script=[Fault(FaultKind.AFTER, "put", "*", times=None)]))

    assert (closed.certificate.revision, closed.certificate.publishing) == (2, False)
    assert (await archived(store, BTC)).num_rows == 2


async def test_one_process_at_a_time_closes_days_and_a_dead_one_is_succeeded(store: MemoryStore) -> None:
    clock = ManualClock()
    one, other = Lease(store, clock, host="one", seconds=60), Lease(store, clock, host="other", seconds=60)
    async with one.held():
        await one.demand()
        with pytest.raises(Conflict, match="another process"):
            async with other.held():
                pass
    async with other.held():
        await other.demand()
        with pytest.raises(Fenced):
            await one.demand()


async def test_a_zombie_finds_its_lease_gone_before_it_writes(store: MemoryStore) -> None:
    clock, late = ManualClock(), ManualClock(seed=3, start=ManualClock().now() + timedelta(hours=1))
    zombie, successor = Lease(store, clock, host="zombie"), Lease(store, late, host="successor")
    async with zombie.held():
        async with successor.held():
            with pytest.raises(Fenced):
                await zombie.demand()
            await successor.demand()
        with pytest.raises(Fenced):
            await zombie.demand()
    assert LEASE in store.bodies


async def test_the_lease_is_renewed_while_it_is_held(store: MemoryStore) -> None:
    clock = ManualClock()
    one, other = Lease(store, clock, host="one", seconds=60), Lease(store, clock, host="other", seconds=60)
    async with one.held():
        await clock.advance(0)
        await clock.advance(600)
        with pytest.raises(Conflict):
            async with other.held():
                pass
        await one.demand()


# ---- by itself -----------------------------------------------------------------------------------------------------------


async def test_the_keeper_closes_every_complete_day_and_no_other(store: MemoryStore) -> None:
    clock = ManualClock(start=ManualClock().now() + timedelta(days=3))  # noon of 2026-01-06
    ticks, other = partition(store), partition(store, number=1)
    for day in range(3):
        await ticks.batch([tick(n, day=DAY + timedelta(days=day)) for n in range(3)])
    await everything_complete(ticks, day=DAY + timedelta(days=2))
    await everything_complete(other, day=DAY + timedelta(days=1))

    closed = await keeper(store, clock).look()

    assert [c.certificate.day for c in closed] == [DAY, NEXT]
    assert all(c.certificate.complete for c in closed)
    assert await keeper(store, clock).look() == []


async def test_a_day_is_left_alone_for_the_lateness_after_its_end(store: MemoryStore) -> None:
    clock = ManualClock(start=ManualClock().now() + timedelta(hours=12, minutes=5))
    ticks = partition(store)
    await ticks.batch([tick(1)])
    await everything_complete(ticks)
    watch = keeper(store, clock)

    early = await watch.look()
    await clock.advance(360)

    assert early == []
    assert [c.certificate.day for c in await watch.look()] == [DAY]


async def test_the_keeper_reopens_a_day_for_late_rows_and_late_dead_letters(store: MemoryStore) -> None:
    clock = ManualClock(start=ManualClock().now() + timedelta(days=1))
    ticks = partition(store)
    await ticks.batch([tick(1)])
    await everything_complete(ticks)
    watch = keeper(store, clock)
    await watch.look()
    await ticks.batch([tick(1, day=NEXT)])
    await clock.advance(SETTINGS.reopen_seconds)
    assert await watch.look() == []

    await ticks.batch([tick(2)])
    not_yet = await watch.look()
    await clock.advance(SETTINGS.reopen_seconds)
    [rows] = await watch.look()
    await ticks.batch([None])
    await clock.advance(SETTINGS.reopen_seconds)
    [letters] = await watch.look()

    assert not_yet == []
    assert (rows.certificate.revision, rows.certificate.streams["ticks"].rows) == (2, 2)
    assert (letters.certificate.revision, letters.certificate.streams["ticks"].dead_letters) == (3, 1)


async def test_a_day_that_fails_does_not_keep_the_others(store: MemoryStore) -> None:
    clock = ManualClock(start=ManualClock().now() + timedelta(days=2))
    ticks = partition(store)
    await ticks.batch([tick(1)])
    await ticks.batch([tick(2)])
    await ticks.batch([tick(3)])
    await ticks.batch([tick(1, day=NEXT)])
    await everything_complete(ticks, day=NEXT)
    [hole] = [key for key in store.bodies if key.startswith("raw/") and "-00000000000000000001-" in key]
    await store.delete(hole)

    closed = await keeper(store, clock).look()

    assert [c.certificate.day for c in closed] == [NEXT]
    assert await read_certificate(store, DAY) is None
    assert (await take_stock(store, ["ticks"])).days() == ({DAY, NEXT}, True)


async def test_late_rows_in_folders_that_name_no_day_are_noticed_when_the_next_day_closes(store: MemoryStore) -> None:
    clock = ManualClock(start=ManualClock().now() + timedelta(days=1))
    ticks = partition(store, layout=layout_of("tick", path="symbol={symbol}"))
    await ticks.batch([tick(1), tick(2, "ETH")])
    await everything_complete(ticks)
    watch = keeper(store, clock)
    [first] = await watch.look()
    await ticks.batch([tick(5), tick(1, day=NEXT), tick(9, "ETH", day=NEXT)])  # the first of them is late
    await everything_complete(ticks, day=NEXT)
    await clock.advance(86_400)

    closed = [(c.certificate.day, c.certificate.revision, c.certificate.streams["ticks"].rows) for c in await watch.look()]

    assert (first.certificate.day, first.certificate.streams["ticks"].rows) == (DAY, 2)
    assert closed == [(NEXT, 1, 2), (DAY, 2, 3)]
    assert await watch.look() == []
    await clock.advance(SETTINGS.reopen_seconds)
    assert await watch.look() == []
    assert (await verify(store)).sound


async def test_days_of_which_only_rows_and_no_folder_tell_are_found_and_closed(store: MemoryStore) -> None:
    clock = ManualClock(start=ManualClock().now() + timedelta(days=4))
    ticks = partition(store, layout=layout_of("tick", path="month={%Y-%m}"))
    await ticks.batch([tick(1), tick(2, day=DAY + timedelta(days=2))])
    await everything_complete(ticks, day=DAY + timedelta(days=3))

    closed = [c.certificate.day for c in await keeper(store, clock).look()]

    assert sorted(closed) == [DAY, DAY + timedelta(days=2), DAY + timedelta(days=3)]
    assert (await verify(store)).sound
