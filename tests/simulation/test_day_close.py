"""Days end by themselves: `through` of idle and lagging partitions over the real pipeline, and replicas that race."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta

from streamer.archive.certificate import Certificate
from streamer.archive.keeper import ArchiveKeeper
from streamer.archive.settings import ArchivedStream, ArchiveSettings
from streamer.commit.position import Position, violation
from streamer.keys import certificate_key
from streamer.lake.verify import verify
from streamer.metrics import Metrics
from streamer.records import TopicPartition
from streamer.store.contract import Store
from streamer.store.retry import RetryingStore
from streamer.streams import CutLimits
from streamer.testing.failing_store import Chances, FailingStore, FaultKind
from streamer.testing.manual_clock import VirtualClock, run_virtual
from streamer.workers import InlineWorkers
from tests.simulation.world import TICKS, World

DAY = date(2024, 1, 1)  # of the world's records
EMPTY = TopicPartition("ticks", 1)
EVENING = datetime(2024, 1, 1, 23, 59, tzinfo=UTC)
SETTINGS = ArchiveSettings(
    (ArchivedStream("ticks", "ticks", "tick"),), lateness_seconds=60.0, check_seconds=30.0, reopen_seconds=600.0
)


def keeper(world: World, name: str, store: Store | None = None) -> ArchiveKeeper:
    lake = RetryingStore(store or world.lake, world.clock)
    return ArchiveKeeper(lake, SETTINGS, world.clock, InlineWorkers(), Metrics(), host=name)


def certified(world: World, day: date = DAY) -> Certificate | None:
    body = world.lake.bodies.get(certificate_key(day))
    return None if body is None else Certificate.from_json(body, key=certificate_key(day))


def through(world: World, source: TopicPartition = TICKS) -> datetime | None:
    position = world.position(source)
    return position and position.through


def run(main: Callable[[VirtualClock], Awaitable[None]], seed: int = 0) -> None:
    run_virtual(main, seed=seed, start=EVENING)


def test_an_idle_and_an_empty_partition_pass_midnight_with_one_write_each() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock, partitions=2)
        world.produce(3)
        replica = world.replica().start()
        await clock.sleep(30)
        before = {source: world.position(source) for source in (TICKS, EMPTY)}
        await clock.sleep(50)
        after = {source: world.position(source) for source in (TICKS, EMPTY)}
        await clock.sleep(3600)

        for source in (TICKS, EMPTY):
            early, late = before[source], after[source]
            assert early is not None
            assert early.through is not None
            assert early.through.date() == DAY
            assert late is not None
            assert late.through is not None
            assert late.through.date() == DAY + timedelta(days=1)
            assert late.sequence == early.sequence + 1
            assert violation(early, late) is None
            assert world.position(source) == late
        await replica.stop()

    run(main)


def test_a_partition_that_cannot_know_whether_it_lags_holds_its_day_back() -> None:
    """Kafka is away over midnight: the newest end offset known says nothing any more."""

    async def main(clock: VirtualClock) -> None:
        world = World(clock, partitions=2)
        world.produce(30)
        replica = world.replica(cut=CutLimits(rows=10, age_seconds=5.0)).start()
        await world.wait(lambda: world.committed() == 30)
        watch = keeper(world, "keeper")
        world.broker.down = True
        await clock.sleep(300)
        assert clock.now().date() == DAY + timedelta(days=1)

        assert (through(world) or EVENING).date() == DAY
        assert await watch.look() == []
        assert certified(world) is None

        world.broker.down = False
        await clock.sleep(60)
        [closed] = await watch.look()

        assert closed.certificate.complete
        await replica.stop()

    run(main)


def test_two_replicas_racing_close_a_day_once() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock, partitions=2)
        world.produce(40)
        world.produce(20, partition=1)
        replica = world.replica().start()
        await clock.sleep(200)
        watches = [keeper(world, name) for name in ("one", "two", "three")]

        closed = await asyncio.gather(*(watch.look() for watch in watches))

        assert sum(map(len, closed)) == 1
        found = certified(world)
        assert found is not None
        assert (found.revision, found.complete, found.streams["ticks"].rows) == (1, True, 53)
        await replica.stop()
        assert (await verify(world.lake)).sound

    run(main)


def test_days_close_while_records_come_replicas_race_and_the_store_fails() -> None:
    async def main(clock: VirtualClock, seed: int) -> None:
        world = World(clock, partitions=2)
        world.produce(20)
        replica = world.replica().start()
        chances = [Chances(seed + n, 0.1, (FaultKind.BEFORE, FaultKind.AFTER, FaultKind.UNAVAILABLE)) for n in range(2)]
        stores = [FailingStore(world.lake, clock, chances=chance) for chance in chances]
        runs = [asyncio.create_task(keeper(world, f"keeper-{n}", store).run()) for n, store in enumerate(stores)]
        await clock.sleep(600)
        first = certified(world)
        world.produce(10)  # late: their event time is that of the first day
        await clock.sleep(3600)
        for store in stores:
            store.heal()
        await clock.sleep(1800)
        for task in runs:
            task.cancel()
        await asyncio.gather(*runs, return_exceptions=True)
        await replica.stop()

        assert first is not None
        assert first.streams["ticks"].rows == 18
        last = certified(world)
        assert last is not None
        assert (last.streams["ticks"].rows, last.revision, last.complete, last.publishing) == (26, 2, True, False)
        report = await verify(world.lake)
        assert report.sound, report.findings

    for seed in range(1):
        run(lambda clock, seed=seed: main(clock, seed), seed)  # type: ignore[misc]


def test_through_never_moves_back_nor_in_the_middle_of_a_sealed_range() -> None:
    at = datetime(2024, 1, 2, tzinfo=UTC)
    first = Position("c", TICKS, 0, 0, 0, 1, 1, "w", "h", "l")
    moved = first.advancing(at)
    sealed = moved.sealing(10, "l")

    assert violation(first, moved) is None
    assert moved.advancing(at - timedelta(days=1)).through == at
    assert violation(sealed, sealed.advancing(at + timedelta(days=1))) is not None
    assert violation(sealed, sealed.committing(last=None, through=at + timedelta(days=1))) is None
