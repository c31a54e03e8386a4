"""Nothing waits for the clock while there are records to take: on virtual time, work itself takes none."""

from __future__ import annotations

from streamer.pipeline import POLL_SECONDS
from streamer.testing.manual_clock import VirtualClock, run_virtual
from tests.simulation.world import World


def test_a_partition_that_can_take_records_again_is_asked_for_at_once() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(400)
        began = clock.monotonic()
        await world.catch_up()
        assert world.committed() == 400
        # Many chunks, and not one poll waited for its end while another chunk could have been taken.
        assert clock.monotonic() - began < POLL_SECONDS

    run_virtual(main)
