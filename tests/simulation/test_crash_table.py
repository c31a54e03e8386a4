"""The crash table: whatever step a process dies after, the next owner makes every record appear exactly once.

Every PUT of a whole run is a crash point, once before and once after its effect; the same points with the answer lost and
the process alive. The PUTs of a run are positions, layouts, data files and dead-letter files, so that each step of a cut
is among them.
"""

from __future__ import annotations

import pytest

from streamer.testing.manual_clock import VirtualClock, run_virtual
from tests.simulation.crash_points import CrashPoint, Moment
from tests.simulation.world import World

RECORDS = 33


def puts_of_a_whole_run() -> list[str]:
    """The keys of all PUTs when nothing fails."""

    async def main(clock: VirtualClock) -> list[str]:
        world = World(clock)
        world.produce(RECORDS)
        counted = CrashPoint(world.lake, -1, "before")
        await world.catch_up(store=counted)
        world.assert_exactly_once()
        return counted.puts

    return run_virtual(main)


PUTS = puts_of_a_whole_run()


def test_the_crash_points_cover_every_step_of_a_cut() -> None:
    assert sum(key.startswith("_streamer/positions/") for key in PUTS) >= 5
    assert {key.split("/")[0] for key in PUTS} == {"_streamer", "raw", "dead-letters"}
    assert any(key.startswith("_streamer/layouts/") for key in PUTS)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("at", range(len(PUTS)))
def test_a_process_that_dies_at_this_put_loses_and_doubles_nothing(at: int, moment: Moment) -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(RECORDS)
        broken = CrashPoint(world.lake, at, moment)
        victim = world.replica(store=broken).start()
        await broken.reached.wait()
        sealed_before = world.position()
        await victim.crash()
        world.produce(5)
        await world.catch_up(chunk_records=7)

        world.assert_exactly_once()
        if sealed_before is not None and sealed_before.writing:
            ends = {key.range.end for key in world.files().values()}
            assert sealed_before.sealed in ends, "the next owner did not finish the range that was sealed"

    run_virtual(main)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("at", range(len(PUTS)))
def test_a_put_without_an_answer_is_settled_by_reading_back(at: int, moment: Moment) -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(RECORDS)
        broken = CrashPoint(world.lake, at, moment, "lost answer")
        await world.catch_up(store=broken)

        assert broken.reached.is_set()
        world.assert_exactly_once()
        position = world.position()
        assert position is not None
        assert position.epoch == 1, "a lost answer must not cost the partition"

    run_virtual(main)
