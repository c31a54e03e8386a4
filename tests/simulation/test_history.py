"""The feature history over the real pipeline on virtual time: whatever happens, it is what a deque fed from the topic holds."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import cache

import pytest

from streamer.commit.accept import accept, propose
from streamer.commit.position import Position
from streamer.features.document import parse
from streamer.features.rows import unpacked
from streamer.features.snapshots import parsed_rows
from streamer.keys import feature_history_key, parse_data_key, parse_kept_key, position_key
from streamer.records import TopicPartition
from streamer.store.contract import Overwrite
from streamer.streams import CutLimits, HistorySpec
from streamer.testing.manual_clock import VirtualClock, run_virtual
from tests.simulation.crash_points import CrashPoint, Moment
from tests.simulation.world import START_MS, TICKS, World, layout

Scenario = Callable[[VirtualClock], Awaitable[None]]
SPEC = HistorySpec(window=3, snapshot_every_seconds=2.0, keep=4)
SELDOM = replace(SPEC, snapshot_every_seconds=1e6)
CUT = CutLimits(rows=10, age_seconds=3.0)
History = dict[str, list[tuple[int, int, float]]]


def expected(world: World, *, window: int = SPEC.window, upto: dict[TopicPartition, int] | None = None) -> History:
    """What deques hold that are fed with the topic: symbol -> (partition, offset, price)."""
    rows = []
    for source, values in world.sent.items():
        for offset, value in enumerate(values[: None if upto is None else upto[source]]):
            if offset % 7 != 6:
                fields = json.loads(value)
                rows.append((fields["timestamp"], source.partition, offset, fields["symbol"], fields["price"]))
    deques: dict[str, deque[tuple[int, int, float]]] = {}
    for _, partition, offset, symbol, price in sorted(rows):
        deques.setdefault(symbol, deque(maxlen=window)).append((partition, offset, price))
    return {symbol: list(found) for symbol, found in deques.items()}


def saved(world: World, key: str = SPEC.document) -> tuple[dict[TopicPartition, int], History]:
    """Offsets and rows of a document, by plain JSON."""
    body = json.loads(world.lake.bodies[key])
    offsets = {
        TopicPartition(topic, int(partition)): offset
        for topic, found in body["offsets"].items()
        for partition, offset in found.items()
    }
    rows = {
        symbol: [(row["partition"], row["offset"], row["price"]) for row in found] for symbol, found in body["features"].items()
    }
    return offsets, rows


def assert_exact(world: World, **options: int) -> None:
    """The merged document stands where the lake stands, and holds what deques hold."""
    offsets, rows = saved(world)
    assert offsets == {source: world.committed(source) for source in world.sent}
    assert rows == expected(world, **options)
    for source in world.sent:
        assert saved(world, feature_history_key(source))[0] == {source: world.committed(source)}


def test_the_history_is_what_a_deque_holds_and_rows_are_flat() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(33)
        await world.catch_up(history=SPEC, cut=CUT)
        assert_exact(world)
        body = json.loads(world.lake.bodies[SPEC.document])
        assert body["features"]["A"][-1] == {
            "timestamp": "2024-01-01T00:00:32.000000Z",
            "partition": 0,
            "offset": 32,
            "price": 32.0,
        }
        assert START_MS == 1_704_067_200_000

    run_virtual(main)


async def live_in_waves(world: World, clock: VirtualClock, broken: CrashPoint) -> None:
    """Three waves of records with snapshots between them, as far as the process lives."""
    for _ in range(3):
        world.produce(11)
        for _ in range(16):
            if broken.reached.is_set():
                return
            await clock.sleep(0.5)


@cache
def puts_of_a_whole_life() -> tuple[str, ...]:
    async def main(clock: VirtualClock) -> list[str]:
        world = World(clock)
        counted = CrashPoint(world.lake, -1, "before")
        replica = world.replica(store=counted, history=SPEC, cut=CUT).start()
        await live_in_waves(world, clock, counted)
        await replica.stop()
        world.assert_exactly_once()
        assert_exact(world)
        return counted.puts

    return tuple(run_virtual(main))


def test_the_crash_points_cover_snapshots_merged_documents_and_kept_copies() -> None:
    puts = puts_of_a_whole_life()
    assert sum(key == feature_history_key(TICKS) for key in puts) >= 4
    assert sum(key == SPEC.document for key in puts) >= 4
    assert sum(parse_kept_key(SPEC.document, key) is not None for key in puts) >= 4


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("at", range(len(puts_of_a_whole_life())))
def test_a_process_that_dies_at_this_put_leaves_an_exact_history(at: int, moment: Moment) -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        broken = CrashPoint(world.lake, at, moment)
        victim = world.replica(store=broken, history=SPEC, cut=CUT).start()
        await live_in_waves(world, clock, broken)
        if not broken.reached.is_set():
            victim.stop_event.set()
            await broken.reached.wait()
        await victim.crash()
        if SPEC.document in world.lake.bodies and world.sent:
            offsets, rows = saved(world)
            assert rows == expected(world, upto=offsets), "what a crash leaves must be exact for the offset it names"
        world.produce(5)
        await world.catch_up(chunk_records=7, history=SPEC, cut=CUT)
        world.assert_exactly_once()
        assert_exact(world)

    run_virtual(main)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("at", range(len(puts_of_a_whole_life())))
def test_a_put_without_an_answer_leaves_an_exact_history(at: int, moment: Moment) -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        broken = CrashPoint(world.lake, at, moment, "lost answer")
        replica = world.replica(store=broken, history=SPEC, cut=CUT).start()
        for _ in range(3):
            world.produce(11)
            await clock.sleep(8.0)
        await replica.stop()
        world.assert_exactly_once()
        assert_exact(world)

    run_virtual(main)


@pytest.mark.parametrize("seed", range(16))
def test_replicas_that_exchange_partitions_keep_one_exact_document(seed: int) -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock, partitions=3)
        alive = [world.replica(history=SPEC, cut=CUT).start()]
        for step in range(8):
            for partition in range(3):
                world.produce(clock.random.randrange(12), partition)
            await clock.sleep(clock.random.uniform(0.2, 6.0))
            if len(alive) < 3 and clock.random.random() < 0.5:
                alive.append(world.replica(history=SPEC, cut=CUT).start())
            elif len(alive) > 1:
                leaving = alive.pop(clock.random.randrange(len(alive)))
                await (leaving.crash() if step % 2 else leaving.stop())
            if SPEC.document in world.lake.bodies:
                offsets, rows = saved(world)
                everywhere = dict.fromkeys(world.sent, 0) | offsets
                assert rows == expected(world, upto=everywhere)
        for replica in alive:
            await replica.stop()
        await clock.sleep(15.0)  # until the group has missed those who crashed
        await world.catch_up(history=SPEC, cut=CUT)
        world.assert_exactly_once()
        assert_exact(world)

    run_virtual(main, seed=seed)


async def crash_long_after_the_last_snapshot(world: World, clock: VirtualClock, **options: object) -> None:
    """33 records committed, and a snapshot from before the first of them."""
    world.produce(1)
    victim = world.replica(history=SELDOM, cut=CUT, **options).start()  # type: ignore[arg-type]
    await world.wait(lambda: SPEC.document in world.lake.bodies)
    world.produce(32)
    await world.wait(lambda: world.committed() == 33)
    await victim.crash()
    assert saved(world)[0][TICKS] == 0


@pytest.mark.parametrize("format_", ["parquet", "ndjson.zst"])
@pytest.mark.parametrize("beginning", [20, 33])
def test_what_kafka_no_longer_has_is_read_from_the_lake(beginning: int, format_: str) -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        made_by = layout(format=format_)
        await crash_long_after_the_last_snapshot(world, clock, layout_=made_by)
        world.broker.truncate(TICKS, beginning)
        world.produce(3)
        await world.catch_up(history=SPEC, cut=CUT, layout_=made_by)
        assert_exact(world)

    run_virtual(main)


def test_what_neither_kafka_nor_the_lake_has_is_told_and_the_rest_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        await crash_long_after_the_last_snapshot(world, clock)
        world.broker.truncate(TICKS, 25)
        for key in list(world.lake.bodies):
            if parse_data_key(key) is not None:
                await world.lake.delete(key)
        await world.catch_up(history=SPEC, cut=CUT)
        offsets, rows = saved(world)
        assert offsets == {TICKS: 33}
        assert rows == {symbol: [row for row in found if row[1] >= 25] for symbol, found in expected(world).items()}

    run_virtual(main)
    assert "history_short" in capsys.readouterr().out


def test_a_damaged_snapshot_is_built_anew() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(33)
        await world.catch_up(history=SPEC, cut=CUT)
        key = feature_history_key(TICKS)
        await world.lake.put(key, world.lake.bodies[key][:-20], mode=Overwrite())
        await clock.sleep(1)  # the head still says when it was saved, and nobody saves the same twice
        await world.catch_up(history=SPEC, cut=CUT)
        assert_exact(world)
        parse(world.lake.bodies[key], key=key)

    run_virtual(main)


def test_rows_that_compaction_took_after_they_were_archived_come_back_from_the_lake() -> None:
    """Found by seed 62: Kafka had the range, but no longer all of its records, and the history went without them."""

    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(33)
        await world.catch_up(cut=CUT)
        world.broker.compact(TICKS, [29, 31])
        await world.catch_up(history=SPEC, cut=CUT)
        assert_exact(world)

    run_virtual(main)


def test_a_history_that_is_configured_later_begins_with_what_is_archived_already() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(33)
        await world.catch_up()
        world.produce(4)
        await world.catch_up(history=SPEC, cut=CUT)
        world.assert_exactly_once()
        assert_exact(world)

    run_virtual(main)


def test_a_snapshot_ahead_of_the_position_is_ignored_and_not_overwritten_by_an_older_one() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(21)
        await world.catch_up(history=SPEC, cut=CUT)
        position = Position.from_json(world.lake.bodies[position_key(TICKS)], key="")
        before = dict(world.lake.bodies)
        world.produce(12)
        await world.catch_up(history=SPEC, cut=CUT)
        for key in set(world.lake.bodies) - set(before):
            if parse_data_key(key) is not None:
                await world.lake.delete(key)
        await world.lake.put(position_key(TICKS), position.to_json(), mode=Overwrite())
        replica = world.replica(history=SPEC, cut=CUT).start()
        await world.wait(lambda: world.committed() == 33)
        await replica.stop()
        assert_exact(world)

    run_virtual(main)


def test_a_topic_made_anew_begins_a_new_history() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(33)
        await world.catch_up(history=SPEC, cut=CUT)
        world.broker.delete_topic("ticks")
        world.broker.create_topic("ticks")
        world.sent.clear()
        world.produce(10)
        source = world.broker.source("streamer", "operator")
        proposal = await propose(world.lake, TICKS, cluster_id=await source.cluster_id(), beginning=0, end=10, start=None)
        await accept(world.lake, proposal, writer="operator", host="here", clock=clock)
        await world.catch_up(history=SPEC, cut=CUT)
        assert_exact(world)
        assert json.loads(world.lake.bodies[SPEC.document])["lineage"] == {"ticks": {"0": 1}}

    run_virtual(main)


def test_a_sealed_range_that_a_successor_finishes_under_its_old_layout_is_in_the_history() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        broken = CrashPoint(world.lake, 5, "before")
        world.produce(33)
        victim = world.replica(store=broken, history=SPEC, cut=CUT).start()
        await broken.reached.wait()
        await victim.crash()
        await world.catch_up(history=SPEC, cut=CUT, layout_=layout("date={date}"))
        world.assert_exactly_once()
        assert_exact(world)

    run_virtual(main)


def test_older_versions_are_kept_up_to_a_number_and_each_is_exact_for_its_offset() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        replica = world.replica(history=SPEC, cut=CutLimits(rows=2, age_seconds=1.0)).start()
        for _ in range(12):
            world.produce(5)
            await clock.sleep(4.0)
        await replica.stop()
        kept = sorted(key for key in world.lake.bodies if parse_kept_key(SPEC.document, key) is not None)
        assert len(kept) == SPEC.keep
        offsets = [saved(world, key)[0][TICKS] for key in kept]
        assert offsets == sorted(offsets)
        assert offsets[-1] == 60
        for key in kept:
            upto, rows = saved(world, key)
            assert rows == expected(world, upto=upto)

    run_virtual(main)


def test_histories_that_do_not_fit_into_the_memory_let_symbols_go_and_stop_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(40)
        await world.catch_up(history=replace(SPEC, window=1000), cut=CUT, budget_bytes=8_000)
        world.assert_exactly_once()
        offsets, rows = saved(world)
        assert offsets == {TICKS: 40}
        assert sum(map(len, rows.values())) < 30

    run_virtual(main)
    assert "history_too_big" in capsys.readouterr().out


def test_the_rows_of_a_document_survive_packing() -> None:
    text = (
        b'[{"timestamp":"2024-01-01T00:00:00.000000Z","partition":0,"offset":1,"a":1.5,"n":7,"s":"x","deep":{"b":[1.0,null]}}]'
    )
    [row] = parsed_rows(text, {}, key="k")
    assert unpacked(row) == json.loads(text)[0]
