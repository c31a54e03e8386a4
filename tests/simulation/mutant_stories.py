"""Scripted scenarios for what chance meets too rarely: each fails for a daemon broken in one step, and holds for ours."""

from __future__ import annotations

import asyncio
from typing import Any

from streamer.commit.position import Position
from streamer.errors import OutcomeUnknown, PartitionRefused, Unavailable
from streamer.keys import data_key, position_key
from streamer.records import BatchRange
from streamer.store.contract import Create, StoredObject
from streamer.streams import CutLimits
from streamer.testing.manual_clock import VirtualClock, run_virtual
from tests.simulation import test_the_rule as the_rule
from tests.simulation.crash_points import CrashPoint
from tests.simulation.world import TICKS, World


def a_foreign_file_under_our_name_is_refused() -> None:
    """Somebody else's bytes lie where a data file of the batch must go: going on would lose its rows."""

    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(10)
        await world.catch_up()
        world.produce(10)
        key = data_key("ticks", "symbol=A/date=2024-01-01", BatchRange(TICKS, 10, 20), "parquet")
        await world.lake.put(key, b"not ours", mode=Create())
        replica = await world.catch_up()

        assert isinstance(replica.pipeline.refused_at_stop.get(TICKS), PartitionRefused)
        assert world.committed() == 10

    run_virtual(main)


def an_older_commit_that_lands_first_is_not_the_one_sent_last() -> None:
    """A commit without an answer is sent again with the next seal in it; the first one lands just before. The process dies
    while it writes the next batch, and its successor cuts otherwise."""

    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        late: list[tuple[bytes, Any]] = []
        failing_reads = 2  # the retry layer of this world tries twice

        class Overtaken(CrashPoint):
            async def put(self, key: str, body: bytes | memoryview, **rest: Any) -> str:  # type: ignore[override]
                if key.startswith("dead-letters/") and "-00000000000000000020." in key:
                    return await asyncio.get_running_loop().create_future()
                if key == position_key(TICKS):
                    position = Position.from_json(bytes(body), key=key)
                    if (position.committed, position.sealed) == (10, 10):
                        if not late:
                            late.append((bytes(body), rest))
                            world.produce(10)
                        raise OutcomeUnknown("the connection broke", key=key)
                    if position.sealed == 20 and late:
                        first, how = late.pop()
                        await world.lake.put(key, first, **how)
                return await super().put(key, body, **rest)

            async def get(self, key: str) -> StoredObject:
                nonlocal failing_reads
                if late and failing_reads:
                    failing_reads -= 1
                    raise Unavailable("no answer either", key=key)
                return await super().get(key)

        def next_batch_has_files() -> bool:
            return any(parsed.range.start == 10 for parsed in world.files().values())

        world.produce(10)
        victim = world.replica(store=Overtaken(world.lake, -1, "before"), chunk_records=10).start()
        await world.wait(next_batch_has_files)
        await victim.crash()
        world.produce(1)
        await world.catch_up(cut=CutLimits(rows=4))

        assert not late, "the older commit never landed"
        world.assert_exactly_once()

    run_virtual(main)


def a_topic_made_anew_is_refused() -> None:
    the_rule.test_a_topic_made_anew_is_refused_however_long_it_is(40)
