"""DESIGN section 2, sentence by sentence, over the real pipeline on virtual time. The crash table is `test_crash_table.py`."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from streamer.commit.position import Position
from streamer.errors import PartitionRefused
from streamer.keys import layout_key, position_key
from streamer.layout import Layout
from streamer.records import TopicPartition
from streamer.store.contract import Overwrite
from streamer.streams import CutLimits
from streamer.testing.manual_clock import VirtualClock, run_virtual
from tests.simulation.crash_points import CrashPoint
from tests.simulation.world import TICKS, World, layout, tick

Scenario = Callable[[VirtualClock], Awaitable[None]]


def raw_files(world: World) -> dict[str, bytes]:
    return {key: body for key, body in world.lake.bodies.items() if not key.startswith("_streamer/")}


async def crash_after_sealing(world: World, **options: object) -> Position:
    """A replica seals a range and dies before it writes one of its files. The position as it left it."""
    broken = CrashPoint(world.lake, -1, "before")

    class StopAtFirstFile(CrashPoint):
        async def put(self, key: str, body: bytes | memoryview, **rest: object) -> str:  # type: ignore[override]
            if not key.startswith("_streamer/"):
                self.reached.set()
                return await asyncio.get_running_loop().create_future()
            return await super().put(key, body, **rest)  # type: ignore[arg-type]

    broken = StopAtFirstFile(world.lake, -1, "before")
    victim = world.replica(store=broken, **options).start()  # type: ignore[arg-type]
    await broken.reached.wait()
    await victim.crash()
    position = world.position()
    assert position is not None
    assert position.writing
    return position


# ---- Purity ---------------------------------------------------------------------------------------------------------------


def test_keys_and_bytes_do_not_depend_on_chunking_writer_host_or_time() -> None:
    lakes = []
    for seed, chunk_records in ((1, 3), (2, 10), (3, 500)):

        async def main(clock: VirtualClock, chunk_records: int = chunk_records) -> dict[str, bytes]:
            world = World(clock)
            world.broker.create_topic("unused")
            world.produce(40)
            for _ in range(chunk_records % 4):
                world.replica()  # other names
            await world.catch_up(chunk_records=chunk_records)
            world.assert_exactly_once()
            return raw_files(world)

        lakes.append(run_virtual(main, seed=seed))

    assert len(lakes[0]) == 12
    assert lakes[0] == lakes[1] == lakes[2]


def test_a_batch_that_ages_is_cut_by_the_monotonic_clock_and_the_cut_is_on_record() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        replica = world.replica(cut=CutLimits(rows=1000, age_seconds=5.0)).start()
        world.produce(3)
        await clock.sleep(2.0)
        assert world.committed() == 0
        await clock.sleep(5.0)
        assert world.committed() == 3
        world.produce(2)
        await clock.sleep(4.0)
        assert world.committed() == 3
        await clock.sleep(3.0)
        assert world.committed() == 5
        await replica.stop()

    run_virtual(main)


def test_partitions_taken_over_together_are_not_written_together_for_ever() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock, partitions=8)
        replica = world.replica(cut=CutLimits(rows=10_000, age_seconds=60.0)).start()
        moments: dict[int, list[int]] = {partition: [] for partition in range(8)}
        seen = dict.fromkeys(moments, 0)
        for second in range(200):
            for partition in moments:
                world.produce(1, partition)
            await clock.sleep(1.0)
            for partition in moments:
                if (committed := world.committed(TopicPartition("ticks", partition))) != seen[partition]:
                    seen[partition] = committed
                    moments[partition].append(second)
        await replica.stop()

        firsts = [cuts[0] for cuts in moments.values()]
        assert all(28 <= first <= 64 for first in firsts)
        assert len(set(firsts)) >= 5
        assert all(59 <= later - earlier <= 64 for cuts in moments.values() for earlier, later in itertools.pairwise(cuts))

    run_virtual(main)


def test_an_idle_batch_is_cut_before_its_age() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        replica = world.replica(cut=CutLimits(rows=1000, age_seconds=600.0, idle_seconds=2.0)).start()
        for _ in range(5):
            world.produce(1)
            await clock.sleep(1.0)
        assert world.committed() == 0
        await clock.sleep(3.0)
        assert world.committed() == 5
        await replica.stop()

    run_virtual(main)


# ---- Assignment -----------------------------------------------------------------------------------------------------------


def test_deleting_the_consumer_group_loses_and_doubles_nothing() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(25)
        await world.catch_up()
        world.broker.delete_group("streamer")
        world.produce(25)
        await world.catch_up()

        world.assert_exactly_once()

    run_virtual(main)


@pytest.mark.parametrize("claim", [0, 3, 25, 10_000])
def test_kafkas_committed_offset_is_advice_and_decides_nothing(claim: int) -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(25)
        await world.catch_up()
        world.broker.group("streamer").committed[TICKS] = claim
        world.produce(25)
        await world.catch_up()

        world.assert_exactly_once()

    run_virtual(main)


def test_kafka_is_told_where_the_lake_is() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(25)
        await world.catch_up()

        assert world.broker.group("streamer").committed[TICKS] == 25

    run_virtual(main)


@pytest.mark.parametrize(("start_from", "expected"), [("earliest", 0), ("latest", 20), ("committed", 12)])
def test_where_the_lake_has_no_position_the_configuration_says_where_to_start(start_from: str, expected: int) -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(20)
        world.broker.group("streamer").committed[TICKS] = 12
        replica = world.replica(start_from=start_from).start()
        await world.wait(lambda: world.position() is not None)
        world.produce(15)
        await world.wait(lambda: world.committed() == 35)
        await replica.stop()

        assert world.offsets_in_files()[TICKS, 0] == list(range(expected, 35))

    run_virtual(main)


def test_a_position_that_is_missing_while_files_exist_is_refused() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(25)
        await world.catch_up()
        await world.lake.delete(position_key(TICKS))
        replica = await world.catch_up()

        refusal = replica.pipeline.refused_at_stop[TICKS]
        assert isinstance(refusal, PartitionRefused)
        assert "no position" in refusal.message
        assert position_key(TICKS) in refusal.hint
        assert world.offsets_in_files()[TICKS, 0] == list(range(25))

    run_virtual(main)


# ---- Lost answers ---------------------------------------------------------------------------------------------------------


def test_a_seal_that_lands_late_is_the_truth_and_its_end_is_the_cut() -> None:
    """The seal [0,10) gets no answer and has no effect; while its sender cuts anew at 4 it lands after all."""

    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        late: list[tuple[str, bytes, dict[str, object]]] = []

        class LateSeal(CrashPoint):
            async def put(self, key: str, body: bytes | memoryview, **rest: object) -> str:  # type: ignore[override]
                is_position = key == position_key(TICKS)
                if is_position and not late and json.loads(bytes(body))["sealed"] == 10:
                    late.append((key, bytes(body), rest))
                    return await asyncio.get_running_loop().create_future()
                return await super().put(key, body, **rest)  # type: ignore[arg-type]

        world.produce(10)
        first = world.replica(store=LateSeal(world.lake, -1, "before")).start()
        await world.wait(lambda: late)
        await first.crash()
        before = world.position()
        assert before is not None
        assert not before.writing
        key, body, rest = late[0]
        await world.lake.put(key, body, **rest)  # type: ignore[arg-type]
        world.produce(3)
        await world.catch_up(cut=CutLimits(rows=4))

        world.assert_exactly_once()
        assert (0, 10) in {(parsed.range.start, parsed.range.end) for parsed in world.files().values()}

    run_virtual(main)


# ---- Fenced ---------------------------------------------------------------------------------------------------------------


def test_a_zombie_that_wakes_after_a_take_over_changes_nothing() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(8)
        zombie = world.replica(cut=CutLimits(rows=1000, age_seconds=60.0)).start()
        await clock.sleep(5.0)
        world.broker.group("streamer").cut_off("replica-1")
        successor = world.replica().start()
        await clock.sleep(30.0)
        world.produce(30)
        await clock.sleep(60.0)  # the zombie's batch ages: it seals, is fenced, and drops what it had
        await successor.stop()
        await zombie.stop()
        await world.catch_up()

        world.assert_exactly_once()

    run_virtual(main)


def test_a_fenced_writer_that_kafka_still_names_takes_over_again() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        replica = world.replica().start()
        world.produce(10)
        await world.wait(lambda: world.committed() == 10)
        position = world.position()
        assert position is not None
        intruder = position.taken_by("intruder", "elsewhere")
        await world.lake.put(position_key(TICKS), intruder.to_json(), mode=Overwrite())
        world.produce(20)
        await world.wait(lambda: world.committed() == 30)
        await replica.stop()

        world.assert_exactly_once()
        after = world.position()
        assert after is not None
        assert after.epoch > intruder.epoch
        assert replica.metrics.fenced.labels("ticks", "ticks", "0")._value.get() == 1

    run_virtual(main)


# ---- Layout ---------------------------------------------------------------------------------------------------------------


def test_a_sealed_range_is_finished_under_the_layout_recorded_with_its_seal() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(30)
        old, new = layout(), layout("date={date}")
        sealed = await crash_after_sealing(world, layout_=old)
        assert sealed.layout == old.fingerprint
        await world.catch_up(layout_=new)

        world.assert_exactly_once()
        for key in world.files().values():
            if not key.dead_letters:
                assert ("symbol=" in key.partition_path) == (key.range.start < sealed.sealed)

    run_virtual(main)


def test_a_rollback_of_the_layout_in_the_middle_of_a_range_doubles_nothing() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(60)
        for index, path in enumerate(["symbol={symbol}/date={date}", "date={date}", "symbol={symbol}/date={date}"]):
            await crash_after_sealing(world, layout_=layout(path), cut=CutLimits(rows=10 + index))
        await world.catch_up(layout_=layout("date={date}"))

        world.assert_exactly_once()

    run_virtual(main)


def test_the_layout_document_is_written_before_its_first_use() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        seen: list[bool] = []

        class Watch(CrashPoint):
            async def put(self, key: str, body: bytes | memoryview, **rest: object) -> str:  # type: ignore[override]
                if key == position_key(TICKS):
                    seen.append(layout_key(json.loads(bytes(body))["layout"]) in world.lake.bodies)
                return await super().put(key, body, **rest)  # type: ignore[arg-type]

        world.produce(25)
        await world.catch_up(store=Watch(world.lake, -1, "before"))

        assert seen
        assert all(seen)
        assert Layout.from_document(json.loads(world.lake.bodies[layout_key(layout().fingerprint)])) == layout()

    run_virtual(main)


@pytest.mark.parametrize("damage", ["a newer revision", "missing", "another layout"])
def test_a_release_that_cannot_execute_the_recorded_layout_refuses_the_partition_and_says_so(damage: str) -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(30)
        sealed = await crash_after_sealing(world, layout_=layout())
        key = layout_key(sealed.layout)
        document = json.loads(world.lake.bodies[key])
        if damage == "missing":
            await world.lake.delete(key)
        else:
            document |= {"revision": 99} if damage == "a newer revision" else {"path": "date={date}"}
            await world.lake.put(key, json.dumps(document).encode(), mode=Overwrite())
        replica = await world.catch_up(layout_=layout("date={date}"))

        refusal = replica.pipeline.refused_at_stop[TICKS]
        assert key in str(refusal)
        assert refusal.hint
        assert world.position() == sealed, "a partition that is refused must be left as it is"

    run_virtual(main)


# ---- Retention ------------------------------------------------------------------------------------------------------------


def test_offsets_lost_before_a_seal_are_recorded_in_the_change_that_moves_committed() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(20)
        await world.catch_up()
        world.produce(30)
        world.broker.truncate(TICKS, 35)
        replica = await world.catch_up()

        position = world.position()
        assert position is not None
        assert [(gap.start, gap.end, gap.reason) for gap in position.gaps] == [(20, 35, "retention")]
        assert world.offsets_in_files()[TICKS, 0] == [*range(20), *range(35, 50)]
        assert replica.metrics.gap_offsets.labels("ticks", "ticks", "0")._value.get() == 15

    run_virtual(main)


@pytest.mark.parametrize("beginning", [1, 5, 9, 10, 15])
def test_what_is_left_of_a_sealed_range_is_written_under_the_same_name(beginning: int) -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(20)
        sealed = await crash_after_sealing(world)
        assert (sealed.committed, sealed.sealed) == (0, 10)
        world.broker.truncate(TICKS, beginning)
        await world.catch_up()

        position = world.position()
        assert position is not None
        assert position.committed == 20
        assert (position.gaps[0].start, position.gaps[-1].end) == (0, beginning)
        assert {gap.reason for gap in position.gaps} == {"retention"}
        assert world.offsets_in_files()[TICKS, 0] == list(range(beginning, 20))
        ranges = {(parsed.range.start, parsed.range.end) for parsed in world.files().values()}
        assert ((0, 10) in ranges) == (beginning < 10)

    run_virtual(main)


def test_a_file_that_is_there_with_more_rows_of_the_range_wins_over_what_is_left() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(20)
        broken = CrashPoint(world.lake, 5, "before")  # layout, position, seal, and two of three files
        victim = world.replica(store=broken).start()
        await broken.reached.wait()
        await victim.crash()
        written = {key for key, parsed in world.files().items() if parsed.range.end == 10}
        assert 0 < len(written) < 3
        full = {key: world.lake.bodies[key] for key in written}
        world.broker.truncate(TICKS, 4)
        await world.catch_up()

        position = world.position()
        assert position is not None
        assert position.committed == 20
        assert {key: world.lake.bodies[key] for key in written} == full
        assert {*range(4, 20)} <= set(world.offsets_in_files()[TICKS, 0])
        assert len(world.offsets_in_files()[TICKS, 0]) == len(set(world.offsets_in_files()[TICKS, 0]))

    run_virtual(main)


def test_retention_that_overtakes_a_running_reader_is_recorded_and_it_goes_on() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(4)
        replica = world.replica(cut=CutLimits(rows=1000, age_seconds=600.0), chunk_records=4).start()
        await clock.sleep(5.0)
        world.broker.down = True
        world.produce(40)
        world.broker.truncate(TICKS, 30)
        world.broker.down = False
        await world.wait(lambda: world.committed() >= 30)
        await clock.sleep(5.0)
        await replica.stop()

        position = world.position()
        assert position is not None
        assert [(gap.start, gap.end) for gap in position.gaps] == [(4, 30)]
        assert world.offsets_in_files()[TICKS, 0] == [*range(4), *range(30, 44)]

    run_virtual(main)


# ---- Topic re-created -----------------------------------------------------------------------------------------------------


def recreate(world: World, records: int) -> None:
    world.broker.delete_topic("ticks")
    world.broker.create_topic("ticks", 1)
    for number in range(records):
        world.broker.append(TICKS, tick(1000 + number))


@pytest.mark.parametrize("records", [0, 5, 25, 40])
def test_a_topic_made_anew_is_refused_however_long_it_is(records: int) -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(25)
        await world.catch_up()
        before = raw_files(world)
        recreate(world, records)
        replica = await world.catch_up()

        refusal = replica.pipeline.refused_at_stop[TICKS]
        assert "made anew" in refusal.message
        assert "streamer positions accept ticks 0" in refusal.hint
        assert raw_files(world) == before

    run_virtual(main)


def test_another_cluster_is_refused() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(25)
        await world.catch_up()
        world.broker.cluster_id = "another"
        world.produce(5)
        replica = await world.catch_up()

        assert "cluster" in replica.pipeline.refused_at_stop[TICKS].message
        assert world.committed() == 25

    run_virtual(main)


def test_a_last_record_that_is_gone_proves_nothing() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(25)
        await world.catch_up()
        world.broker.compact(TICKS, [24])
        world.produce(5)
        await world.catch_up()
        world.broker.truncate(TICKS, 30)
        world.produce(5)
        await world.catch_up()

        world.assert_exactly_once()

    run_virtual(main)


def test_a_partition_that_was_refused_goes_on_by_itself_once_somebody_accepts() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(25)
        await world.catch_up()
        recreate(world, 12)
        replica = world.replica().start()
        await world.wait(lambda: replica.pipeline.refused)
        assert any("streamer positions accept" in problem for problem in replica.pipeline.problems())
        refused = world.position()
        assert refused is not None
        accepted = replace(refused.accepting("memory-cluster", 0, "operator", "desk"))
        await world.lake.put(position_key(TICKS), accepted.to_json(), mode=Overwrite())
        await world.wait(lambda: world.committed() == 12)
        await replica.stop()

        after = world.position()
        assert after is not None
        assert (after.lineage, after.epoch > refused.epoch, after.sequence > refused.sequence) == (1, True, True)
        assert world.offsets_in_files()[TICKS, 1] == list(range(12))
        assert world.offsets_in_files()[TICKS, 0] == list(range(25))
        assert all(
            key.rsplit(".", 2)[0].split("/")[-1].endswith("-l1") or "-l1." in key
            for key, parsed in world.files().items()
            if parsed.range.lineage == 1
        )

    run_virtual(main)


# ---- Holes ----------------------------------------------------------------------------------------------------------------


def test_a_range_with_neither_rows_nor_dead_letters_is_no_batch_and_only_kafka_hears_of_it() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(10)
        await world.catch_up()
        files = set(world.files())
        world.broker.skip(TICKS, 7)
        replica = world.replica().start()
        await clock.sleep(30.0)

        assert world.committed() == 10
        assert set(world.files()) == files
        assert world.broker.group("streamer").committed[TICKS] == 17
        world.broker.append(TICKS, tick(99))
        await world.wait(lambda: world.committed() == 18)
        await replica.stop()
        assert (10, 18) in {(parsed.range.start, parsed.range.end) for parsed in world.files().values()}

    run_virtual(main)


def test_a_sealed_range_that_turns_out_empty_goes_to_gaps() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(20)
        sealed = await crash_after_sealing(world)
        world.broker.compact(TICKS, range(sealed.committed, sealed.sealed))
        await world.catch_up()

        position = world.position()
        assert position is not None
        assert [(gap.start, gap.end, gap.reason) for gap in position.gaps] == [(0, 10, "empty")]
        assert world.offsets_in_files()[TICKS, 0] == list(range(10, 20))

    run_virtual(main)


def test_only_committed_transactions_are_read_and_their_markers_are_holes() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        kept = []
        for number in range(6):
            transaction = world.broker.begin()
            offsets = world.broker.extend(TICKS, [tick(number * 7), tick(number * 7 + 1)], transaction=transaction)
            if number % 2:
                transaction.abort()
            else:
                transaction.commit()
                kept += list(offsets)
            world.broker.announce()
        await world.catch_up(cut=CutLimits(rows=3))

        assert world.offsets_in_files()[TICKS, 0] == kept
        world.assert_ranges_abut()

    run_virtual(main)


def test_until_caught_up_ends_at_the_last_stable_offset() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        world.produce(5)
        world.broker.extend(TICKS, [tick(50)], transaction=world.broker.begin())
        world.broker.append(TICKS, tick(51))
        async with asyncio.timeout(60):
            await world.catch_up()

        assert world.offsets_in_files()[TICKS, 0] == list(range(5))

    run_virtual(main)


# ---- One at a time --------------------------------------------------------------------------------------------------------


def test_one_sealed_batch_a_partition_at_a_time_while_partitions_overlap() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock, partitions=3)
        under_way: dict[TopicPartition, set[tuple[int, int]]] = {}
        most = 0

        class Slow(CrashPoint):
            async def put(self, key: str, body: bytes | memoryview, **rest: object) -> str:  # type: ignore[override]
                nonlocal most
                from streamer.keys import parse_data_key

                parsed = parse_data_key(key)
                if parsed is None:
                    return await super().put(key, body, **rest)  # type: ignore[arg-type]
                source, span = parsed.range.source, (parsed.range.start, parsed.range.end)
                under_way.setdefault(source, set()).add(span)
                assert len(under_way[source]) == 1
                position = world.position(source)
                assert position is not None
                assert (position.committed, position.sealed) == span
                most = max(most, sum(map(bool, under_way.values())))
                await clock.sleep(0.5)
                etag = await super().put(key, body, **rest)  # type: ignore[arg-type]
                under_way[source].discard(span)
                return etag

        for partition in range(3):
            world.produce(30, partition)
        await world.catch_up(store=Slow(world.lake, -1, "before"))

        world.assert_exactly_once()
        assert most == 3

    run_virtual(main)


# ---- Rebalances and stops -------------------------------------------------------------------------------------------------


def test_replicas_that_join_and_leave_hand_partitions_over_without_loss_or_double() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock, partitions=4)
        replicas = [world.replica().start()]
        for round_ in range(12):
            for partition in range(4):
                world.produce(5 + partition, partition)
            await clock.sleep(0.7)
            if round_ % 3 == 0:
                replicas.append(world.replica().start())
            elif round_ % 3 == 1 and len(replicas) > 1:
                await replicas.pop(0).stop()
            elif len(replicas) > 1:
                await replicas.pop(0).crash()
        for replica in replicas:
            await replica.stop()
        await world.catch_up()

        world.assert_exactly_once()

    run_virtual(main)


def test_a_stop_commits_what_was_read_and_leaves_no_work_behind() -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        replica = world.replica(cut=CutLimits(rows=1000, age_seconds=600.0)).start()
        world.produce(17)
        await clock.sleep(2.0)
        assert world.committed() == 0
        await replica.stop()

        assert world.committed() == 17
        assert replica.pipeline.unfinished == ()
        assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    run_virtual(main)
