"""Behind the commits: what is in the lake comes into the table, once everything works again, and without listing more than it
must."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog

from streamer.archive.lease import Lease
from streamer.errors import Damaged, Fenced
from streamer.index.dynamodb import IndexTable
from streamer.index.indexing import StreamIndexer
from streamer.index.item import body_of
from streamer.index.keeper import IndexKeeper
from streamer.index.progress import Progress, ProgressDocument
from streamer.index.settings import IndexedStream
from streamer.keys import index_key, index_lease_key, position_key
from streamer.metrics import Metrics
from streamer.records import TopicPartition
from streamer.store.contract import Overwrite, Replace
from streamer.testing.manual_clock import ManualClock
from streamer.workers import InlineWorkers
from tests.moody_dynamodb import THROTTLE, MoodyDynamo, QuickClock
from tests.unit.lake.lake_builder import TICKS, LakeBuilder, Tick, tick_layout, ticks_of
from tests.unit.lake_reader.reader_lake import CountingStore

TODAY = datetime(2026, 1, 3, 10, tzinfo=UTC)  # that of the test's clock
BY_DAY = "date={date}"


class World:
    """A lake, a table, and what is between them."""

    def __init__(self, dynamo: MoodyDynamo, path: str = BY_DAY) -> None:
        self.store = CountingStore()
        self.clock = QuickClock()
        self.metrics = Metrics()
        self.table: IndexTable = dynamo.table(clock=self.clock)
        self.stream = IndexedStream("ticks", "ticks", self.table.name)
        self.lake = LakeBuilder(self.store, tick_layout(path=path))
        self.indexer = self.another()

    def another(self) -> StreamIndexer:
        """The indexer of another process, or of this one after its death."""
        return StreamIndexer(self.store, self.table, self.stream, self.clock, InlineWorkers(), self.metrics)

    async def indexed(self) -> list[int]:
        """The offsets whose rows are in the table: `n` is in each row's `extra`."""
        return sorted([int(body_of(item)["n"]) async for item in self.table.between(None, None)])

    async def progress(self) -> Progress | None:
        return await ProgressDocument(self.store, self.table.name, TICKS).read()

    def lag(self) -> float | None:
        found: float | None = self.metrics.registry.get_sample_value(
            "streamer_index_lag_records", {"stream": "ticks", "topic": "ticks", "partition": "0"}
        )
        return found


@pytest.fixture
async def world(dynamo: MoodyDynamo) -> World:
    world = World(dynamo)
    await world.table.create()
    return world


def ticks(offsets: range, day: datetime = TODAY, bad: Sequence[int] = ()) -> list[Tick]:
    return ticks_of(offsets, start=day, bad=bad)


async def test_what_is_committed_comes_into_the_table_and_what_is_only_sealed_does_not(world: World) -> None:
    await world.lake.batch(ticks(range(10)))
    await world.lake.batch(ticks(range(10, 20)))
    await world.lake.batch(ticks(range(20, 30)), commit=False)

    assert await world.indexer.catch_up() == 20

    assert await world.indexed() == list(range(20))
    assert await world.progress() == Progress(0, 20, items=20)
    assert world.lag() == 0


async def test_a_look_that_finds_nothing_new_lists_positions_and_nothing_else(world: World) -> None:
    await world.lake.batch(ticks(range(10)))
    await world.indexer.catch_up()
    world.store.forget()

    assert await world.indexer.catch_up() == 0

    assert world.store.lists == ["_streamer/positions/ticks/"]
    assert world.store.gets == []


async def test_only_folders_of_the_last_days_are_listed_for_what_is_new(world: World) -> None:
    for day in range(30, 1, -1):
        await world.lake.batch(ticks(range((30 - day) * 5, (30 - day) * 5 + 5), TODAY - timedelta(days=day)))
    await world.indexer.catch_up()
    await world.lake.batch(ticks(range(145, 150)))
    await world.indexer.catch_up()
    await world.lake.batch(ticks(range(150, 155)))
    starts: list[str] = []
    whole = world.store.list

    def watched(prefix: str = "", *, start_after: str = "") -> Any:
        starts.append(start_after)
        return whole(prefix, start_after=start_after)

    world.store.list = watched  # type: ignore[method-assign]
    await world.indexer.catch_up()

    assert await world.indexed() == list(range(155))
    assert "raw/ticks/date=2026-01-02" in starts


async def test_rows_in_old_folders_are_found_also_where_their_batch_has_dead_letters_of_today(world: World) -> None:
    await world.lake.batch(ticks(range(5)))
    await world.indexer.catch_up()
    old = ticks(range(5, 10), TODAY - timedelta(days=900))
    await world.lake.batch([*old, *ticks(range(10, 12)), *ticks(range(12, 13), bad=[12])])
    await world.lake.batch([*ticks(range(13, 15), TODAY - timedelta(days=900)), *ticks(range(15, 16), bad=[15])])

    await world.indexer.catch_up()

    assert await world.indexed() == [*range(12), 13, 14]
    assert await world.progress() == Progress(0, 16, items=14)


@pytest.mark.parametrize("path", ["symbol={symbol}/date={date}", "", "%Y/%m/%d/{symbol}"])
async def test_any_layout_of_folders_is_indexed(dynamo: MoodyDynamo, path: str) -> None:
    world = World(dynamo, path)
    await world.table.create()
    await world.lake.batch(ticks(range(10), TODAY - timedelta(days=40)))
    await world.indexer.catch_up()
    await world.lake.batch(ticks(range(10, 20)))
    await world.indexer.catch_up()

    assert await world.indexed() == list(range(20))


async def test_a_batch_of_dead_letters_alone_and_a_gap_are_passed_over(world: World) -> None:
    await world.lake.batch(ticks(range(3)))
    await world.lake.batch(ticks(range(3, 6), bad=[3, 4, 5]))
    position = await world.lake.take()
    await put_position(world, replace(position, committed=20, sealed=20, sequence=position.sequence + 1), gap=(6, 20))

    await world.indexer.catch_up()

    assert await world.progress() == Progress(0, 20, items=3)


async def put_position(world: World, position: Any, gap: tuple[int, int] | None = None) -> None:
    from streamer.commit.position import Gap

    gaps = (Gap(*gap, "retention", "2026-01-03T00:00:00+00:00"),) if gap is not None else ()
    stored = await world.store.get(position_key(TICKS))
    body = replace(position, gaps=gaps).to_json()
    await world.store.put(position_key(TICKS), body, mode=Replace(stored.info.etag))


async def test_raw_files_that_are_gone_are_counted_and_the_rest_is_indexed(world: World) -> None:
    await world.lake.batch(ticks(range(10)))
    await world.lake.batch(ticks(range(10, 20)))
    (first,) = [item.key async for item in world.store.list("raw/") if f"{0:020d}-{10:020d}" in item.key]
    await world.store.delete(first)

    with structlog.testing.capture_logs() as logs:
        await world.indexer.catch_up()

    assert await world.indexed() == list(range(10, 20))
    assert await world.progress() == Progress(0, 20, items=10, missing=10)
    assert [(line["event"], line["offsets"]) for line in logs] == [("index_short", 10)]


async def test_another_process_goes_on_where_the_first_was_and_the_first_notices(world: World) -> None:
    await world.lake.batch(ticks(range(10)))
    await world.indexer.catch_up()
    document = ProgressDocument(world.store, world.table.name, TICKS)
    await document.read()
    await world.lake.batch(ticks(range(10, 20)))
    await world.another().catch_up()

    with pytest.raises(Fenced):
        await document.write(Progress(0, 15))
    assert await world.progress() == Progress(0, 20, items=20)


async def test_after_a_topic_was_made_anew_both_lives_are_indexed(world: World) -> None:
    await world.lake.batch(ticks(range(10)))
    position = await world.lake.take()
    await put_position(world, position.accepting("another", 0, "writer", "host"))
    anew = LakeBuilder(world.store, world.lake.layout)
    later = [replace(tick, at=tick.at + timedelta(hours=1)) for tick in ticks(range(5))]
    await anew.batch(later)

    await world.indexer.catch_up()

    assert await world.indexed() == sorted([*range(10), *range(5)])
    assert await world.progress() == Progress(1, 5, items=15)


async def test_a_row_too_large_is_left_out_counted_and_said(world: World) -> None:
    large = Tick(1, "x" * 2000, TODAY)
    await world.lake.batch([Tick(0, "BTC", TODAY), large, Tick(2, "ETH", TODAY)])

    with structlog.testing.capture_logs() as logs:
        await world.indexer.catch_up()

    assert await world.progress() == Progress(0, 3, items=2, left_out=1)
    assert [line["event"] for line in logs] == ["index_left_out"]
    assert world.metrics.registry.get_sample_value("streamer_index_left_out_total", {"stream": "ticks"}) == 1


async def test_a_damaged_progress_document_says_what_to_do_and_deleting_it_does_it(world: World) -> None:
    await world.lake.batch(ticks(range(10)))
    key = index_key(world.table.name, TICKS)
    await world.store.put(key, b'{"version": 7}', mode=Overwrite())

    with pytest.raises(Damaged, match="how far") as error:
        await world.indexer.catch_up()
    assert "delete it" in error.value.hint
    await world.store.delete(key)
    await world.indexer.catch_up()
    assert await world.indexed() == list(range(10))


async def test_a_partition_that_is_damaged_does_not_keep_the_others_from_being_indexed(world: World) -> None:
    other = TopicPartition("ticks", 1)
    await world.lake.batch(ticks(range(10)))
    await LakeBuilder(world.store, world.lake.layout, other).batch(ticks(range(100, 105)))
    await world.store.put(index_key(world.table.name, TICKS), b"{", mode=Overwrite())

    for _ in range(2):
        with pytest.raises(Damaged, match="how far"):
            await world.indexer.catch_up()

    assert await world.indexed() == list(range(100, 105))
    assert await ProgressDocument(world.store, world.table.name, other).read() == Progress(0, 105, items=5)


# the keeper


def keeper(world: World, clock: ManualClock, *, table: IndexTable | None = None) -> IndexKeeper:
    return IndexKeeper(
        world.store, [world.stream], lambda _: table or world.table, clock, InlineWorkers(), world.metrics, host="test"
    )


async def until(condition: Any) -> None:
    """Wait for what a task of this loop does over real sockets."""
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.005)


async def test_a_dead_table_is_caught_up_when_it_lives_again_and_said_once_each_way(world: World, dynamo: MoodyDynamo) -> None:
    dynamo.down = True
    await world.lake.batch(ticks(range(40)))
    failures = {"stream": "ticks"}

    async def failed_often() -> bool:
        return (world.metrics.registry.get_sample_value("streamer_index_failures_total", failures) or 0) > 3

    async def complete() -> bool:
        done = await world.progress()
        return done is not None and done.offset == 60

    with structlog.testing.capture_logs() as logs:
        task = asyncio.create_task(keeper(world, QuickClock()).run())
        await until(failed_often)
        await world.lake.batch(ticks(range(40, 60)))
        assert await world.progress() is None
        dynamo.down = False
        await until(complete)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert await world.indexed() == list(range(60))
    assert [line["event"] for line in logs] == ["index_failed", "index_recovered"]
    assert logs[0]["table"] == world.table.name


async def test_one_replica_keeps_the_indexes_and_the_other_waits_until_it_lets_go(world: World) -> None:
    await world.lake.batch(ticks(range(10)))
    theirs = Lease(world.store, world.clock, host="other", key=index_lease_key("ticks"), work="keeps the index")
    ours = keeper(world, world.clock)

    async with theirs.held():
        await ours.finish()
        assert await world.progress() is None
    await ours.finish()

    assert await world.indexed() == list(range(10))


async def test_a_daemon_with_other_streams_of_the_same_lake_keeps_its_index_at_the_same_time(world: World) -> None:
    await world.lake.batch(ticks(range(10)))
    theirs = Lease(world.store, world.clock, host="other", key=index_lease_key("signals"), work="keeps the index")

    async with theirs.held():
        await keeper(world, world.clock).finish()

    assert await world.indexed() == list(range(10))


async def test_finishing_with_a_dead_table_ends_and_says_so(world: World, dynamo: MoodyDynamo) -> None:
    await world.lake.batch(ticks(range(10)))
    dynamo.down = True

    with structlog.testing.capture_logs() as logs:
        await keeper(world, world.clock).finish()

    assert [line["event"] for line in logs] == ["index_failed"]


async def test_a_throttled_table_is_written_all_the_same(world: World, dynamo: MoodyDynamo) -> None:
    await world.lake.batch(ticks(range(60)))
    dynamo.moods.extend([THROTTLE] * 6)

    await world.indexer.catch_up()

    assert await world.indexed() == list(range(60))


async def test_a_crash_between_the_table_and_the_progress_document_repeats_and_doubles_nothing(world: World) -> None:
    await world.lake.batch(ticks(range(30)))
    await world.indexer.catch_up()
    await world.store.delete(index_key(world.table.name, TICKS))

    await world.another().catch_up()

    assert await world.indexed() == list(range(30))


async def test_a_bug_in_indexing_ends_neither_the_keeper_nor_the_daemon_beside_it(world: World) -> None:
    class Buggy(IndexTable):
        async def write(self, *_: Any, **__: Any) -> Any:
            raise ZeroDivisionError("of ours")

    buggy = Buggy(world.table._settings, world.clock)
    await world.lake.batch(ticks(range(10)))
    with structlog.testing.capture_logs() as logs:
        await keeper(world, world.clock, table=buggy).finish()

    (told,) = [entry for entry in logs if entry["event"] == "index_failed"]
    assert "ZeroDivisionError" in told["problem"]
    assert "index rebuild" in told["hint"]
    await keeper(world, world.clock).finish()
    done = await world.progress()
    assert done is not None
    assert done.offset == 10
    await buggy.close()
