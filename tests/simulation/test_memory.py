"""One budget for the whole process: the largest batches are cut first, then fetching waits, and the work goes on."""

from __future__ import annotations

from streamer.records import CutReason, TopicPartition
from streamer.streams import CutLimits
from streamer.testing.manual_clock import VirtualClock, run_virtual
from tests.simulation.crash_points import CrashPoint
from tests.simulation.world import World

NEVER = CutLimits(rows=10**9, bytes=10**12, age_seconds=10**6)
CHUNK_BYTES = 6_000  # of 20 records, raw and decoded together


def reasons(replica: object) -> set[str]:
    metric = replica.metrics.batches  # type: ignore[attr-defined]
    return {sample.labels["reason"] for family in metric.collect() for sample in family.samples if sample.value}


def test_many_partitions_stay_within_one_budget() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock, partitions=16)
        for partition in range(16):
            world.produce(400, partition)
        budget_bytes = 200_000
        replica = world.replica(until_caught_up=True, cut=NEVER, chunk_records=20, budget_bytes=budget_bytes).start()
        budget = replica.pipeline._kit.budget
        peak = 0
        hold = budget.hold

        def watched(owner: object, purpose: object, size_bytes: int) -> None:
            nonlocal peak
            hold(owner, purpose, size_bytes)  # type: ignore[arg-type]
            peak = max(peak, budget.used_bytes)

        budget.hold = watched  # type: ignore[method-assign, assignment]
        assert replica.task is not None
        await replica.task

        world.assert_exactly_once()
        assert CutReason.MEMORY in reasons(replica)
        assert peak > budget_bytes / 2
        assert peak <= budget_bytes + 16 * CHUNK_BYTES
        assert budget.used_bytes == 0

    run_virtual(main)


def test_the_largest_batch_is_cut_first() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock, partitions=3)
        world.produce(20, 0)
        world.produce(60, 1)
        replica = world.replica(cut=NEVER, chunk_records=20, budget_bytes=20_000).start()
        await clock.sleep(5.0)
        world.produce(1000, 2)
        await clock.sleep(20.0)

        assert world.committed(TopicPartition("ticks", 2)) > 100
        assert world.committed(TopicPartition("ticks", 0)) == 0, "the smallest batch was not in the way"
        await replica.stop()
        world.assert_exactly_once()

    run_virtual(main)


def test_fetching_waits_while_the_store_is_away_and_goes_on_by_itself() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock, partitions=4)
        away = True

        class Away(CrashPoint):
            async def put(self, key: str, body: bytes | memoryview, **rest: object) -> str:  # type: ignore[override]
                from streamer.errors import Unavailable

                if away and not key.startswith("_streamer/"):
                    raise Unavailable("503 SlowDown", key=key)
                return await super().put(key, body, **rest)  # type: ignore[arg-type]

        for partition in range(4):
            world.produce(500, partition)
        replica = world.replica(
            store=Away(world.lake, -1, "before"), cut=CutLimits(rows=50), chunk_records=20, budget_bytes=60_000
        ).start()
        await clock.sleep(600.0)
        budget = replica.pipeline._kit.budget
        assert budget.used_bytes <= 60_000 + 4 * CHUNK_BYTES
        assert any("503 SlowDown" in problem for problem in replica.pipeline.problems())
        away = False
        await world.wait(lambda: all(world.committed(TopicPartition("ticks", p)) == 500 for p in range(4)))
        assert replica.pipeline.problems() == []
        await replica.stop()

        world.assert_exactly_once()

    run_virtual(main)


def test_sealed_ranges_larger_than_the_budget_are_recovered_one_after_the_other() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock, partitions=8)

        class Stuck(CrashPoint):
            async def put(self, key: str, body: bytes | memoryview, **rest: object) -> str:  # type: ignore[override]
                if not key.startswith("_streamer/"):
                    await clock.sleep(10**9)
                return await super().put(key, body, **rest)  # type: ignore[arg-type]

        for partition in range(8):
            world.produce(300, partition)
        cut = CutLimits(rows=250)
        victim = world.replica(store=Stuck(world.lake, -1, "before"), cut=cut, chunk_records=20).start()
        sources = [TopicPartition("ticks", partition) for partition in range(8)]
        await world.wait(lambda: all((p := world.position(source)) and p.writing for source in sources))
        await victim.crash()
        await world.catch_up(cut=cut, chunk_records=20, budget_bytes=30_000)

        world.assert_exactly_once()

    run_virtual(main)


def test_one_chunk_larger_than_the_whole_budget_passes() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(2000)
        await world.catch_up(chunk_records=1000, budget_bytes=10_000, cut=NEVER)

        world.assert_exactly_once()

    run_virtual(main)
