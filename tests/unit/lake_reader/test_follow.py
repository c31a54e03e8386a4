"""Following a stream: history from the lake, then live, every record once, over the real pipeline on virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.commit.accept import accept, propose
from streamer.errors import Invalid, PartitionRefused, Unavailable
from streamer.keys import position_key
from streamer.lake.follow import AsyncFollow, follow_request
from streamer.lake.follower import Follower
from streamer.lake.reader import Reader
from streamer.layout import Check
from streamer.records import TopicPartition
from streamer.store.contract import ObjectInfo, Overwrite
from streamer.store.memory import MemoryStore
from streamer.testing.manual_clock import VirtualClock, run_virtual
from streamer.testing.memory_tail import MemoryTail
from tests.simulation.world import START_MS, TICKS, World, layout
from tests.unit.lake_reader.reader_lake import close_day, set_through, utc

Place = tuple[int, int]


def follow(world: World, since: object = None, **options: object) -> AsyncFollow:
    """What `lake.follow` does, over a store and a broker in memory."""
    given = {"symbols": None, "columns": None, "where": None, "on_gap": "raise", "until_caught_up": False, **options}
    request = follow_request("ticks", since, *given.values())  # type: ignore[arg-type]
    tail_of = lambda: MemoryTail(world.broker, chunk_records=3)  # noqa: E731
    return AsyncFollow(lambda: Follower(Reader(world.lake), request, tail_of(), world.clock))


async def places(followed: AsyncFollow, found: list[Place] | None = None) -> list[Place]:
    """(partition, offset) of every row, to the end of a follow that has one; into `found`, which outlives an error."""
    found = [] if found is None else found
    async for row in followed:
        found.append((row["_partition"], row["_offset"]))
    return found


def sent(world: World) -> list[Place]:
    """(partition, offset) of every record that can be a row."""
    return sorted((source.partition, n) for source, values in world.sent.items() for n in range(len(values)) if n % 7 != 6)


@dataclass
class Watcher:
    """Follows in the background, and remembers what came."""

    followed: AsyncFollow
    found: list[Place] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    def start(self) -> Watcher:
        self.task = asyncio.create_task(self._run())
        return self

    async def _run(self) -> None:
        async with self.followed as rows:
            async for row in rows:
                self.found.append((row["_partition"], row["_offset"]))

    async def stop(self) -> None:
        assert self.task is not None
        self.task.cancel()
        done = await asyncio.gather(self.task, return_exceptions=True)
        assert isinstance(done[0], asyncio.CancelledError), done


def virtually(story: Callable[[World], Awaitable[None]], *, partitions: int = 1, seed: int = 0) -> None:
    async def main(clock: VirtualClock) -> None:
        await story(World(clock, partitions=partitions))

    run_virtual(main, seed=seed)


def test_history_and_live_together_are_every_record_once() -> None:
    async def story(world: World) -> None:
        world.produce(25)
        await world.catch_up()
        world.produce(8)  # behind the last committed offset
        watcher = Watcher(follow(world)).start()
        await world.wait(lambda: len(watcher.found) == len(sent(world)))
        world.produce(20)
        await world.wait(lambda: len(watcher.found) == len(sent(world)))
        await world.clock.sleep(5)

        assert watcher.found == sent(world)
        await watcher.stop()

    virtually(story)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_every_record_comes_once_whatever_happens_to_the_daemon(seed: int) -> None:
    """Produce, crash, restart, and begin to follow at any moment, with two partitions."""

    async def story(world: World) -> None:
        random = world.clock.random
        replica, watchers = world.replica().start(), []
        for _ in range(12):
            for partition in (0, 1):
                world.produce(random.randrange(0, 12), partition)
            await world.clock.sleep(random.choice([0.0, 0.5, 3.0, 8.0]))
            match random.randrange(4):
                case 0:
                    await replica.crash()
                    await world.clock.sleep(random.choice([0.0, 12.0]))
                    replica = world.replica().start()
                case 1 if any(world.committed(TopicPartition("ticks", n)) >= 0 for n in (0, 1)):
                    watchers.append(Watcher(follow(world)).start())
        await world.wait(lambda: all(len(w.found) >= len(sent(world)) for w in watchers if not w.task or not w.task.done()))
        await world.clock.sleep(30)
        await replica.stop()

        for watcher in watchers:
            assert watcher.task is not None
            assert not watcher.task.done(), watcher.task.exception()
            assert sorted(watcher.found) == sent(world)
            await watcher.stop()

    virtually(story, partitions=2, seed=seed)


def test_live_rows_have_the_columns_and_values_that_the_lake_will_have() -> None:
    async def story(world: World) -> None:
        world.produce(20)
        await world.catch_up()
        world.produce(20)
        whole = [batch async for batch in follow(world, until_caught_up=True).batches()]
        await world.catch_up()
        prepared = await Reader(world.lake).prepare(follow_request("ticks", None, None, None, None, "raise", False).read)

        assert {batch.schema for batch in whole} == {prepared.schema}
        assert [row for batch in whole for row in batch.to_pylist()] == (await prepared.table()).to_pylist()

    virtually(story)


def test_quality_rules_refuse_and_flag_live_rows_as_the_daemon_does() -> None:
    checks = (
        Check("dear", "range", "flag", ("price",), most=20.0),
        Check("even", "range", "dead-letter", ("price",), most=35.0),
    )

    async def story(world: World) -> None:
        world.produce(10)
        await world.catch_up()  # without rules: these files have no flags
        world.produce(15)
        await world.catch_up(layout_=layout(checks=checks))
        world.produce(15)
        followed = follow(world, until_caught_up=True)
        found = [(row["_offset"], row["_flags"]) async for row in followed]
        await world.catch_up(layout_=layout(checks=checks))
        prepared = await Reader(world.lake).prepare(follow_request("ticks", None, None, None, None, "raise", False).read)
        in_the_lake = [(row["_offset"], row["_flags"]) for row in (await prepared.table()).to_pylist()]

        assert found == in_the_lake
        assert found == [(n, "dear" if n > 20 else None) for n in range(36) if n % 7 != 6]
        assert followed.dead_letters == 6  # four that the rule refuses, two that are no JSON

    virtually(story)


def test_filters_hold_for_history_and_for_live_rows() -> None:
    async def story(world: World) -> None:
        world.produce(20)
        await world.catch_up()
        world.produce(20)
        since = utc(1).replace(year=2024) + timedelta(seconds=8)  # where record 8 is

        followed = follow(
            world, since, symbols="A", columns=["_offset", "price"], where=("price", "<", 33), until_caught_up=True
        )
        found = [row async for row in followed]

        assert found == [{"_offset": n, "price": float(n)} for n in range(8, 33, 2) if n % 7 != 6]
        assert followed.dead_letters == len([n for n in range(20, 40) if n % 7 == 6])

    virtually(story)


def test_offsets_go_on_behind_what_was_given_out() -> None:
    async def story(world: World) -> None:
        world.produce(10)
        await world.catch_up()
        world.produce(30)
        first = follow(world)
        found: list[Place] = []
        async with aclosing(first.batches()) as batches:
            async for batch in batches:
                found += [(0, offset) for offset in batch["_offset"].to_pylist()]
                if len(found) > 20:
                    break
        world.produce(5)

        second = follow(world, first.offsets, until_caught_up=True)
        found += await places(second)

        assert found == sent(world)
        assert second.offsets == {"ticks": {0: 45}}
        assert await places(follow(world, second.offsets, until_caught_up=True)) == []

    virtually(story)


def test_offsets_that_kafka_no_longer_has_come_from_the_lake() -> None:
    async def story(world: World) -> None:
        world.produce(40)
        await world.catch_up()
        world.broker.truncate(TICKS, 30)
        world.produce(10)

        assert await places(follow(world, {"ticks": {0: 8}}, until_caught_up=True)) == [p for p in sent(world) if p[1] >= 8]

    virtually(story)


def test_a_reader_that_is_overtaken_by_retention_finds_the_rest_in_the_lake() -> None:
    async def story(world: World) -> None:
        world.produce(10)
        await world.catch_up()
        followed = follow(world, until_caught_up=True)
        found: list[Place] = []
        async with aclosing(followed.rows()) as rows:
            async for row in rows:  # history is being given out, and meanwhile
                found.append((row["_partition"], row["_offset"]))
                if len(found) == 2:
                    world.produce(30)
                    await world.catch_up()
                    world.broker.truncate(TICKS, 35)
                    world.produce(5)

        assert found == sent(world)

    virtually(story)


@pytest.mark.parametrize("on_gap", ["raise", "skip"])
def test_offsets_that_nobody_has_are_an_error_or_skipped_as_asked(on_gap: str) -> None:
    async def story(world: World) -> None:
        world.produce(10)
        await world.catch_up()
        world.produce(10)
        world.broker.truncate(TICKS, 15)
        followed = follow(world, on_gap=on_gap, until_caught_up=True)

        if on_gap == "raise":
            found: list[Place] = []
            with pytest.raises(Unavailable, match=r"offsets \[10,15\)"):
                await places(followed, found)
            assert found == [p for p in sent(world) if p[1] < 10]
        else:
            assert await places(followed) == [p for p in sent(world) if not 10 <= p[1] < 15]

    virtually(story)


def test_partitions_that_are_added_later_are_followed_too() -> None:
    async def story(world: World) -> None:
        world.produce(10)
        replica = world.replica().start()
        await world.wait(lambda: world.committed() == 10)
        watcher = Watcher(follow(world)).start()
        await world.wait(lambda: len(watcher.found) == len(sent(world)))

        world.broker.add_partitions("ticks", 2)
        world.produce(10, partition=1)
        world.produce(3)
        await world.wait(lambda: len(watcher.found) == len(sent(world)))

        assert sorted(watcher.found) == sent(world)
        await watcher.stop()
        await replica.stop()

    virtually(story)


def test_a_partition_that_the_lake_does_not_know_yet_begins_at_its_first_record() -> None:
    async def story(world: World) -> None:
        world.produce(10)
        await world.catch_up()
        world.broker.add_partitions("ticks", 2)
        world.produce(10, partition=1)

        assert sorted(await places(follow(world, until_caught_up=True))) == sent(world)

    virtually(story)


def test_another_topic_of_the_same_name_is_refused_before_anything_is_given_out() -> None:
    async def story(world: World) -> None:
        world.produce(20)
        await world.catch_up()
        world.broker.delete_topic("ticks")
        world.broker.create_topic("ticks")
        with pytest.raises(PartitionRefused, match="made anew"):
            await places(follow(world))

        world.sent.clear()
        for _ in range(30):
            world.broker.append(TICKS, b'{"symbol": "Z", "price": 1}')
        found: list[Place] = []
        with pytest.raises(PartitionRefused, match="another record stands"):
            await places(follow(world), found)
        assert all(offset < 20 for _, offset in found)

    virtually(story)


def test_a_topic_that_was_accepted_anew_is_followed_from_both_lives() -> None:
    async def story(world: World) -> None:
        world.produce(20)
        await world.catch_up()
        world.broker.delete_topic("ticks")
        world.broker.create_topic("ticks")
        world.sent.clear()
        world.produce(15)
        proposal = await propose(world.lake, TICKS, cluster_id="memory-cluster", beginning=0, end=15)
        await accept(world.lake, proposal, writer="me", host="here", clock=world.clock)
        world.produce(4)

        before = await places(follow(world, until_caught_up=True))
        await world.catch_up()
        after = await places(follow(world, until_caught_up=True))

        expected = [(0, n) for n in range(20) if n % 7 != 6] + [(0, n) for n in range(19) if n % 7 != 6]
        assert sorted(before) == sorted(after) == sorted(expected)

    virtually(story)


def test_records_of_open_transactions_wait() -> None:
    async def story(world: World) -> None:
        world.produce(5)
        await world.catch_up()
        transaction = world.broker.begin()
        world.broker.append(TICKS, b'{"symbol": "T", "price": 1}', transaction=transaction)
        world.broker.append(TICKS, b'{"symbol": "U", "price": 1}')
        watcher = Watcher(follow(world)).start()
        await world.clock.sleep(5)
        assert [offset for _, offset in watcher.found] == [0, 1, 2, 3, 4]

        transaction.commit()
        world.broker.announce()
        await world.wait(lambda: len(watcher.found) == 7)

        assert [offset for _, offset in watcher.found] == [0, 1, 2, 3, 4, 5, 6]
        await watcher.stop()

    virtually(story)


def _at(hours: float, number: int) -> bytes:
    return json.dumps({"symbol": "A", "price": float(number), "timestamp": START_MS + int(hours * 3_600_000)}).encode()


@pytest.mark.parametrize("path", ["symbol={symbol}/date={date}", "{symbol}"])
@pytest.mark.parametrize("raw_removed", [False, True])
def test_rows_that_came_late_for_a_closed_day_are_not_missed(path: str, raw_removed: bool) -> None:
    """The archive has the day, without what came since; the reader's closed days leave it out, and a follower must not."""

    async def story(world: World) -> None:
        for number in range(12):
            world.broker.append(TICKS, _at(number * 4, number))  # two days
        await world.catch_up(layout_=layout(path))
        await set_through(world.lake, utc(2, 1).replace(year=2024))
        await close_day(world.lake, date(2024, 1, 1))
        if raw_removed and path != "{symbol}":
            for key in [key for key in world.lake.bodies if key.startswith("raw/") and "2024-01-01" in key]:
                await world.lake.delete(key)
        world.broker.append(TICKS, _at(3, 12))  # late
        world.broker.append(TICKS, _at(30, 13))
        await world.catch_up(layout_=layout(path))
        world.broker.append(TICKS, _at(5, 14))  # late, and not in the lake yet

        found = await places(follow(world, until_caught_up=True))

        assert sorted(found) == [(0, n) for n in range(15)]
        assert found[-1] == (0, 14)

    virtually(story)


class MovingStore(MemoryStore):
    """A lake in which something happens just before a listing of raw files."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.before_raw: list[Callable[[], Awaitable[object]]] = []

    async def list(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        if prefix.startswith("raw/") and self.before_raw:
            await self.before_raw.pop()()
        async for info in super().list(prefix, start_after=start_after):
            yield info


def test_what_is_committed_and_closed_while_the_hand_over_is_taken_comes_once() -> None:
    async def story(world: World) -> None:
        world.lake = MovingStore(world.clock)
        for number in range(6):
            world.broker.append(TICKS, _at(number * 4, number))
        await world.catch_up()

        async def moves_on() -> None:
            for number in range(6, 12):
                world.broker.append(TICKS, _at(number * 2, number))
            world.broker.append(TICKS, _at(26, 12))
            await world.catch_up()
            await set_through(world.lake, utc(2, 1).replace(year=2024))
            await close_day(world.lake, date(2024, 1, 1))
            for key in [key for key in world.lake.bodies if key.startswith("raw/") and "2024-01-01" in key]:
                await world.lake.delete(key)

        assert isinstance(world.lake, MovingStore)
        world.lake.before_raw.append(moves_on)

        assert sorted(await places(follow(world, until_caught_up=True))) == [(0, n) for n in range(13)]

    virtually(story)


def test_files_of_a_range_that_is_not_committed_are_left_to_kafka() -> None:
    async def story(world: World) -> None:
        world.produce(10)
        await world.catch_up()
        world.produce(10)
        await world.catch_up()
        position = world.position()
        assert position is not None
        assert position.last is not None
        # As a kill -9 leaves it between the last PUT and the commit.
        sealed = replace(position, committed=10, sealed=20, last=None, sequence=position.sequence + 1)
        await world.lake.put(position_key(TICKS), sealed.to_json(), mode=Overwrite())

        assert sorted(await places(follow(world, until_caught_up=True))) == sent(world)

    virtually(story)


def test_data_files_without_a_position_are_refused() -> None:
    async def story(world: World) -> None:
        world.produce(10)
        await world.catch_up()
        await world.lake.delete(position_key(TICKS))

        with pytest.raises(PartitionRefused, match="no position"):
            await places(follow(world))

    virtually(story)


def test_what_cannot_be_followed_is_refused() -> None:
    with pytest.raises(Invalid, match="on_gap"):
        follow_request("ticks", None, None, None, None, "maybe", False)  # type: ignore[arg-type]
    with pytest.raises(Invalid, match="whole numbers"):
        follow_request("ticks", {"ticks": {"0": 1}}, None, None, None, "raise", False)  # type: ignore[dict-item]

    async def story(world: World) -> None:
        with pytest.raises(Invalid, match="no stream"):
            await places(follow(world))
        world.broker.down = True
        with pytest.raises(Unavailable):
            await places(follow(world))

    virtually(story)
