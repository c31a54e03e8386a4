"""What chance found in the pipeline, told as short stories. A seed that fails ends up here, with a name that says why."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from streamer.commit.written import WrittenPartitions
from streamer.errors import Unavailable
from streamer.keys import position_key
from streamer.pipeline import Budgets
from streamer.records import TopicPartition
from streamer.store.memory import MemoryStore
from streamer.streams import CutLimits
from streamer.testing.failing_store import FailingStore, Fault, FaultKind
from streamer.testing.manual_clock import VirtualClock, run_virtual
from tests.simulation.crash_points import CrashPoint
from tests.simulation.world import TICKS, World

NEVER = CutLimits(rows=10**6, age_seconds=10**6)


def test_compaction_between_a_crash_and_the_recovery_does_not_strand_the_range() -> None:
    """One of the files is there with a record that compaction has taken since. The successor, with fewer rows for the same
    name, refused the partition for ever; the rule of retention (the fuller file wins) is the rule here too."""

    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(20)
        broken = CrashPoint(world.lake, 5, "before")  # layout, position, seal, and two of three files
        victim = world.replica(store=broken).start()
        await broken.reached.wait()
        await victim.crash()
        [offsets] = world.offsets_in_files().values()
        world.broker.compact(TICKS, offsets[:1])
        successor = await world.catch_up()

        assert not successor.pipeline.refused_at_stop
        world.assert_exactly_once()

    run_virtual(main)


def test_a_writer_that_was_overtaken_is_fenced_and_does_not_cry_refused() -> None:
    """It had read the whole range; its successor, after retention, only part of it, and was quicker. To the one that was
    overtaken its own files looked like somebody else's."""

    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        gate = asyncio.Event()

        class Gated(CrashPoint):
            async def put(self, key: str, body: bytes | memoryview, **rest: Any) -> str:  # type: ignore[override]
                if not key.startswith("_streamer/"):
                    await gate.wait()
                return await super().put(key, body, **rest)

        world.produce(10)
        overtaken = world.replica(store=Gated(world.lake, -1, "before")).start()
        await world.wait(lambda: (position := world.position()) and position.writing)
        world.broker.group("streamer").expire("replica-1")
        world.broker.truncate(TICKS, 4)
        await world.catch_up()
        assert world.committed() == 10
        gate.set()
        await clock.sleep(1.0)

        assert not overtaken.pipeline.refused
        assert overtaken.metrics.fenced.labels("ticks", "ticks", "0")._value.get() == 1
        await overtaken.crash()
        assert world.offsets_in_files()[TICKS, 0] == list(range(4, 10))

    run_virtual(main)


def test_a_stop_in_the_middle_of_a_hand_over_waits_for_the_batch_that_is_leaving() -> None:
    """Its task was in nobody's hands any more: neither awaited nor cancelled, it outlived the pipeline."""

    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        slow = FailingStore(world.lake, clock, script=[Fault(FaultKind.SLOW, "put", "raw/*")], hang_seconds=5.0)
        world.produce(6)
        leaving = world.replica(store=slow, cut=NEVER).start()
        await clock.sleep(1.0)
        joining = world.replica().start()  # the group asks for a hand-over
        await clock.sleep(1.0)
        await leaving.stop()

        assert world.committed() == 6
        position = world.position()
        assert position is not None
        assert position.host == "replica-1", "the successor had to read the range again"
        await joining.stop()
        world.assert_exactly_once()

    run_virtual(main)


def test_a_hand_over_that_the_group_cuts_short_leaves_no_task_behind() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        stuck = FailingStore(world.lake, clock, script=[Fault(FaultKind.UNAVAILABLE, "put", "raw/*", times=None)])
        world.produce(6)
        replica = world.replica(store=stuck, cut=NEVER).start()
        replica.pipeline._budgets = Budgets(handover_seconds=10**6)  # far beyond the source's own deadline
        await clock.sleep(1.0)
        hand_over = asyncio.create_task(replica.pipeline.revoked([TICKS]))
        await clock.sleep(1.0)
        hand_over.cancel()
        await asyncio.gather(hand_over, return_exceptions=True)

        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith(("write", "fill"))]
        await replica.stop()

    run_virtual(main)


def test_until_caught_up_ends_when_all_is_committed_however_slow_the_store() -> None:
    """It ended when all was read, and the stop's budget then cut the last batches short, with exit code 0."""

    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        script = [Fault(FaultKind.SLOW, "put", times=None)]
        world.produce(33)
        replica = await world.catch_up(store=FailingStore(world.lake, clock, script=script, hang_seconds=50.0))

        assert replica.pipeline.unfinished == ()
        assert world.committed() == 33
        world.assert_exactly_once()

    run_virtual(main)


def test_until_caught_up_does_not_shred_what_comes_while_other_partitions_catch_up() -> None:
    """The other side of the same change: a partition that has caught up goes on by its own limits."""

    async def main(clock: VirtualClock) -> None:
        world = World(clock, partitions=2)
        script = [Fault(FaultKind.SLOW, "put", "raw/*-00001-*", times=None)]
        world.produce(4, 0)
        world.produce(33, 1)
        store = FailingStore(world.lake, clock, script=script, hang_seconds=20.0)
        replica = world.replica(store=store, until_caught_up=True, cut=CutLimits(rows=10, age_seconds=10**6)).start()
        for _ in range(20):
            await clock.sleep(1.0)
            world.produce(1, 0)
        assert replica.task is not None
        await replica.task

        ends = sorted({key.range.end for key in world.files().values() if key.range.source == TICKS})
        assert ends == [4, 14, 24]

    run_virtual(main)


def test_until_caught_up_waits_for_the_share_of_a_member_that_was_killed() -> None:
    """It ended with code 0 when its own partitions were done, while the group still held the others for a dead member."""

    async def main(clock: VirtualClock) -> None:
        world = World(clock, partitions=2)
        dead = world.replica(cut=NEVER).start()
        await world.wait(lambda: dead.pipeline.problems() == [])
        world.produce(9, 0)
        world.produce(9, 1)
        last = world.replica(until_caught_up=True).start()
        await world.wait(lambda: len(last.pipeline._writers) == 1)
        await dead.crash()
        assert last.task is not None
        await last.task

        assert (world.committed(), world.committed(TopicPartition("ticks", 1))) == (9, 9)
        world.assert_exactly_once()

    run_virtual(main)


def test_until_caught_up_without_a_share_of_its_own_waits_for_the_others() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(9)
        first = world.replica(cut=CutLimits(rows=10**6, age_seconds=30.0)).start()
        await world.wait(lambda: world.position() is not None)
        spare = await world.catch_up()

        assert (spare.pipeline._writers, world.committed()) == ({}, 9)
        await first.stop()

    run_virtual(main)


def test_another_owner_that_begins_while_we_list_is_no_reason_to_refuse() -> None:
    """The position was not there when looked for, and files were when listed: they were the work of a quicker member."""

    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(10)
        slow = FailingStore(world.lake, clock, script=[Fault(FaultKind.SLOW, "list")], hang_seconds=20.0)
        late = world.replica(store=slow).start()
        await clock.sleep(1.0)
        world.broker.group("streamer").expire("replica-1")
        quick = world.replica().start()
        await world.wait(lambda: world.committed() == 10)
        await clock.sleep(30.0)

        assert not late.pipeline.refused
        await late.crash()
        await quick.stop()
        await world.catch_up()
        world.assert_exactly_once()
        assert position_key(TICKS) in world.lake.bodies

    run_virtual(main)


def test_a_gap_is_counted_once_however_often_its_commit_is_tried() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(10)
        broken = CrashPoint(world.lake, 3, "before")  # layout, position, seal; the first file never comes
        victim = world.replica(store=broken).start()
        await broken.reached.wait()
        await victim.crash()
        world.broker.truncate(TICKS, 4)
        refused = Fault(FaultKind.UNAVAILABLE, "put", position_key(TICKS), skip=1, times=6)
        successor = await world.catch_up(store=FailingStore(world.lake, clock, script=[refused]))

        position = world.position()
        assert position is not None
        assert [(gap.start, gap.end) for gap in position.gaps] == [(0, 4)]
        assert successor.metrics.gap_offsets.labels("ticks", "ticks", "0")._value.get() == 4

    run_virtual(main)


def test_a_listing_that_fails_after_everybody_has_gone_troubles_nobody() -> None:
    async def main(clock: VirtualClock) -> None:
        complaints: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        store = FailingStore(MemoryStore(clock), clock, script=[Fault(FaultKind.HANG, "list")], hang_seconds=5.0)
        written = WrittenPartitions(store)
        asker = asyncio.create_task(written.refuse_if_written("ticks", TICKS))
        await clock.sleep(1.0)
        asker.cancel()
        await asyncio.gather(asker, return_exceptions=True)
        await clock.sleep(10.0)
        del asker
        gc.collect()  # the loop complains when the task is collected

        assert complaints == []
        store.inject(Fault(FaultKind.UNAVAILABLE, "list"))
        with pytest.raises(Unavailable):  # while one who waits is told
            await written.refuse_if_written("ticks", TICKS)

    run_virtual(main)
