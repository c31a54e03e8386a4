"""`verify` over lakes that are as they should be, or still being written, or that lost records in ways that are on record."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from lake_builder import CLUSTER, LakeBuilder, small_lake, tick_layout, ticks_of

from streamer.commit.accept import accept, propose
from streamer.commit.layouts import LayoutDocuments
from streamer.commit.position import Gap, Position
from streamer.errors import Invalid, Unavailable
from streamer.keys import RAW, position_key
from streamer.lake.finding import FindingKind, NoteKind
from streamer.lake.verify import KafkaView, verify
from streamer.layout import Format
from streamer.records import BatchRange, TopicPartition
from streamer.source.contract import Bounds
from streamer.store.contract import Overwrite, Store
from streamer.store.directory import DirectoryStore
from streamer.store.memory import MemoryStore
from streamer.testing.manual_clock import ManualClock

TICKS = TopicPartition("ticks", 0)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(ManualClock())


async def put_position(store: Store, position: Position) -> None:
    await store.put(position_key(position.source), position.to_json(), mode=Overwrite())


async def get_position(store: Store) -> Position:
    key = position_key(TICKS)
    return Position.from_json((await store.get(key)).body, key=key)


@pytest.mark.parametrize("deep", [True, False])
@pytest.mark.parametrize("format_", ["parquet", "ndjson.zst", "ndjson.gz"])
async def test_a_lake_as_the_daemon_wrote_it_is_sound(store: MemoryStore, format_: Format, deep: bool) -> None:
    await small_lake(store, tick_layout(format_=format_))

    report = await verify(store, deep=deep)

    assert report.findings == ()
    assert report.notes == ()
    assert (report.batches, report.rows, report.dead_letters, report.files) == (3, 31, 4, 16)
    assert [(p.first, p.last, p.committed) for p in report.partitions] == [(0, 40, 40)]


@pytest.mark.parametrize("format_", ["parquet", "ndjson.zst"])
async def test_a_lake_in_a_directory_is_proved_like_one_in_a_bucket(tmp_path: Path, format_: Format) -> None:
    store = DirectoryStore(tmp_path, ManualClock())
    await small_lake(store, tick_layout(format_=format_))
    sound = await verify(store)
    lost = next(file for file in sorted(tmp_path.glob("raw/**/ticks-*")) if file.is_file())
    lost.unlink()

    damaged = await verify(store)

    await store.close()
    assert sound.findings == ()
    assert {f.kind for f in damaged.findings} == {FindingKind.SIBLING_MISSING}


async def test_an_empty_lake_is_sound(store: MemoryStore) -> None:
    assert (await verify(store)).sound


async def test_files_of_a_sealed_range_are_in_progress_and_no_damage(store: MemoryStore) -> None:
    lake = await small_lake(store)
    await lake.batch(ticks_of(range(40, 50)), commit=False)

    report = await verify(store)

    assert report.sound
    assert [note.kind for note in report.notes] == [NoteKind.IN_PROGRESS]


async def test_a_sealed_range_may_lack_files_and_be_empty_so_far(store: MemoryStore) -> None:
    lake = await small_lake(store)
    await lake.ownership.seal(50, lake.layout.fingerprint)

    assert (await verify(store)).sound


async def test_a_file_of_offsets_that_were_never_sealed_is_damage(store: MemoryStore) -> None:
    lake = await small_lake(store)
    await lake.write(BatchRange(TICKS, 40, 50), ticks_of(range(40, 50)))

    report = await verify(store)

    assert [(f.kind, f.start, f.end) for f in report.findings] == [(FindingKind.BEYOND_POSITION, 40, 50)]


async def test_a_file_of_another_cut_than_the_sealed_one_is_damage(store: MemoryStore) -> None:
    lake = await small_lake(store)
    await lake.ownership.seal(50, lake.layout.fingerprint)
    await lake.write(BatchRange(TICKS, 40, 45), ticks_of(range(40, 45)))

    report = await verify(store)

    assert [(f.kind, f.start, f.end) for f in report.findings] == [(FindingKind.BEYOND_POSITION, 40, 45)]


class BusyStore(MemoryStore):
    """Commits one more batch while `raw/` is being listed, as a daemon beside `verify` does."""

    lake: LakeBuilder | None = None

    async def list(self, prefix: str = "", *, start_after: str = ""):  # type: ignore[no-untyped-def,override]
        if prefix == RAW and self.lake is not None:
            lake, self.lake = self.lake, None
            await lake.batch(ticks_of(range(40, 50)))
            await lake.batch(ticks_of(range(50, 60)), commit=False)
        async for item in super().list(prefix, start_after=start_after):
            yield item


async def test_a_lake_is_sound_while_the_daemon_writes_it() -> None:
    store = BusyStore(ManualClock())
    store.lake = await small_lake(store)

    report = await verify(store)

    assert report.sound
    assert [note.kind for note in report.notes] == [NoteKind.IN_PROGRESS]


async def test_a_gap_on_record_explains_a_hole(store: MemoryStore) -> None:
    lake = await small_lake(store)
    await lake.ownership.skip(Gap(40, 70, "retention", "2026-01-03T12:00:00+00:00"))
    await lake.batch(ticks_of(range(70, 80)))

    report = await verify(store)

    assert report.sound
    assert [(n.kind, n.start, n.end) for n in report.notes] == [(NoteKind.GAP, 40, 70)]


async def test_siblings_of_a_range_that_retention_cut_may_disagree(store: MemoryStore) -> None:
    lake = await small_lake(store)
    # A first attempt saw all ten records and wrote some of its files; the second saw only the last five.
    first = MemoryStore(ManualClock())
    await LakeBuilder(first).write(BatchRange(TICKS, 40, 50), ticks_of(range(40, 50)))
    fuller = next(iter(first.bodies))
    stored = await first.get(fuller)
    await lake.ownership.seal(50, lake.layout.fingerprint)
    await lake.write(BatchRange(TICKS, 40, 50), ticks_of(range(45, 50)))
    await store.put(fuller, stored.body, mode=Overwrite(), metadata=stored.info.metadata or {})
    await lake.ownership.commit(last=None, through=None, gap=Gap(40, 45, "retention", "2026-01-03T12:00:00+00:00"))

    report = await verify(store)

    assert report.sound


async def test_without_a_position_the_files_are_still_held_against_each_other(store: MemoryStore) -> None:
    await small_lake(store)
    await store.delete(position_key(TICKS))
    for key in [item.key async for item in store.list() if "-00000000000000000010-" in item.key]:
        await store.delete(key)

    report = await verify(store)

    assert {f.kind for f in report.findings} == {FindingKind.POSITION_MISSING, FindingKind.MISSING_RANGE}


async def test_a_position_that_is_none_is_named(store: MemoryStore) -> None:
    await small_lake(store)
    await store.put(position_key(TICKS), b"{}", mode=Overwrite())

    report = await verify(store)

    assert (FindingKind.POSITION_DAMAGED, position_key(TICKS)) in {(f.kind, f.key) for f in report.findings}


async def test_a_position_at_the_key_of_another_partition_is_named(store: MemoryStore) -> None:
    await small_lake(store)
    position = await get_position(store)
    await store.put(position_key(TopicPartition("ticks", 1)), position.to_json(), mode=Overwrite())

    report = await verify(store)

    assert [f.kind for f in report.findings] == [FindingKind.POSITION_DAMAGED]


async def test_an_old_position_that_was_restored_leaves_files_beyond_it(store: MemoryStore) -> None:
    await small_lake(store)
    position = await get_position(store)
    await put_position(store, replace(position, committed=10, sealed=10))

    report = await verify(store)

    assert [(f.kind, f.start) for f in report.findings] == [
        (FindingKind.BEYOND_POSITION, 10),
        (FindingKind.BEYOND_POSITION, 25),
    ]


async def test_a_date_limits_the_work_to_the_batches_of_that_day_whole(store: MemoryStore) -> None:
    await small_lake(store)

    report = await verify(store, day=date(2026, 1, 5))

    assert report.sound
    assert (report.batches, report.rows) == (1, 15)


async def test_a_date_still_sees_what_is_missing_between_its_neighbours(store: MemoryStore) -> None:
    await small_lake(store)
    for key in [item.key async for item in store.list() if "-00000000000000000010-" in item.key]:
        await store.delete(key)

    of_that_day = await verify(store, day=date(2026, 1, 4))
    long_after = await verify(store, day=date(2026, 3, 1))

    assert [f.kind for f in of_that_day.findings] == [FindingKind.MISSING_RANGE]
    assert long_after.sound


async def test_streams_can_be_proved_one_by_one(store: MemoryStore) -> None:
    await small_lake(store)
    other = LakeBuilder(store, tick_layout("others"), TopicPartition("others", 0))
    await other.batch(ticks_of(range(6)))
    await store.delete(next(key for key in store.bodies if key.startswith(f"{RAW}others/")))

    assert (await verify(store, streams=["ticks"])).sound
    assert not (await verify(store, streams=["others"])).sound


async def test_a_renamed_stream_goes_on_where_the_old_one_ended(store: MemoryStore) -> None:
    lake = await small_lake(store)
    renamed = LakeBuilder(store, tick_layout("trades"), writer="writer-2")
    await renamed.batch(ticks_of(range(40, 50)))

    report = await verify(store)

    assert lake.layout != renamed.layout
    assert report.sound
    assert report.partitions[0].streams == ("ticks", "trades")


def asked(cluster: str, bounds: Bounds | None):  # type: ignore[no-untyped-def]
    async def ask(partitions: Collection[TopicPartition]) -> KafkaView:
        return KafkaView(cluster, dict.fromkeys(partitions, bounds) if bounds else {})

    return ask


async def test_kafka_tells_the_lag_of_each_partition(store: MemoryStore) -> None:
    await small_lake(store)

    report = await verify(store, ask_kafka=asked(CLUSTER, Bounds(0, 47)))

    assert report.sound
    assert [(p.kafka_end, p.lag_records) for p in report.partitions] == [(47, 7)]


async def test_a_position_beyond_kafkas_end_means_another_topic(store: MemoryStore) -> None:
    await small_lake(store)

    report = await verify(store, ask_kafka=asked(CLUSTER, Bounds(0, 12)))

    assert [f.kind for f in report.findings] == [FindingKind.BEYOND_KAFKA]
    assert "streamer positions accept ticks 0" in report.findings[0].hint


async def test_another_cluster_and_lost_records_are_notes(store: MemoryStore) -> None:
    await small_lake(store)

    other = await verify(store, ask_kafka=asked("another", Bounds(0, 12)))
    late = await verify(store, ask_kafka=asked(CLUSTER, Bounds(60, 70)))

    assert [n.kind for n in (*other.notes, *late.notes)] == [NoteKind.OTHER_CLUSTER, NoteKind.LOST_SOON]


async def test_an_accepted_topic_is_written_under_a_new_lineage_and_both_are_proved(store: MemoryStore) -> None:
    await small_lake(store)
    proposal = await propose(store, TICKS, cluster_id="new-cluster", beginning=3, end=9)
    await accept(store, proposal, writer="operator", host="desk", clock=ManualClock())
    lake = LakeBuilder(store, writer="writer-2")
    await lake.batch(ticks_of(range(3, 9)))

    report = await verify(store)

    assert report.sound
    assert [(p.lineage, p.first, p.last, p.rows) for p in report.partitions] == [(0, 0, 40, 31), (1, 3, 9, 6)]
    assert all("-l1." in key for key in store.bodies if "-00000000000000000003-" in key)


@pytest.mark.parametrize("start", [0, 10, 25])
async def test_the_lineage_before_an_acceptance_is_still_missed_batch_by_batch(store: MemoryStore, start: int) -> None:
    await small_lake(store)
    proposal = await propose(store, TICKS, cluster_id="new-cluster", beginning=0, end=9)
    await accept(store, proposal, writer="operator", host="desk", clock=ManualClock())
    for key in [item.key async for item in store.list() if f"-{start:020d}-" in item.key]:
        await store.delete(key)

    report = await verify(store)

    assert [(f.kind, f.lineage, f.start) for f in report.findings] == [(FindingKind.MISSING_RANGE, 0, start)]


async def test_what_was_being_written_when_the_topic_vanished_is_a_note(store: MemoryStore) -> None:
    lake = await small_lake(store)
    await lake.batch(ticks_of(range(40, 50)), commit=False)
    proposal = await propose(store, TICKS, cluster_id="new-cluster", beginning=0, end=9)
    await accept(store, proposal, writer="operator", host="desk", clock=ManualClock())

    report = await verify(store)

    assert report.sound
    assert [n.kind for n in report.notes] == [NoteKind.UNFINISHED_LINEAGE]


async def test_accepting_the_topic_that_was_archived_takes_force(store: MemoryStore) -> None:
    await small_lake(store)
    proposal = await propose(store, TICKS, cluster_id=CLUSTER, beginning=0, end=40)
    before = await get_position(store)

    with pytest.raises(Invalid, match="nothing to accept"):
        await accept(store, proposal, writer="operator", host="desk", clock=ManualClock())
    unchanged = await get_position(store)
    forced = await accept(store, proposal, writer="operator", host="desk", clock=ManualClock(), force=True)

    assert unchanged == before
    assert (forced.lineage, forced.committed, forced.epoch, forced.sequence) == (1, 0, before.epoch + 1, before.sequence + 1)


async def test_accepting_a_position_that_moved_meanwhile_is_refused(store: MemoryStore) -> None:
    lake = await small_lake(store)
    proposal = await propose(store, TICKS, cluster_id="new-cluster", beginning=0, end=9)
    await lake.batch(ticks_of(range(40, 50)))

    with pytest.raises(Unavailable, match="nothing was accepted"):
        await accept(store, proposal, writer="operator", host="desk", clock=ManualClock())

    assert (await get_position(store)).lineage == 0


async def test_the_new_lineage_starts_only_where_kafka_has_records(store: MemoryStore) -> None:
    await small_lake(store)

    with pytest.raises(Invalid, match="not 12"):
        await propose(store, TICKS, cluster_id="new", beginning=0, end=9, start=12)
    with pytest.raises(Invalid, match="no position"):
        await propose(store, TopicPartition("ticks", 9), cluster_id="new", beginning=0, end=9)


async def test_a_layout_of_another_content_is_named(store: MemoryStore) -> None:
    lake = await small_lake(store)
    key = f"_streamer/layouts/{lake.layout.fingerprint}.json"
    await store.put(key, b"{}", mode=Overwrite())

    report = await verify(store)

    assert [f.kind for f in report.findings] == [FindingKind.LAYOUT_MISSING]


async def test_a_report_is_json_and_counts_what_it_does_not_show(store: MemoryStore) -> None:
    await small_lake(store)
    await LayoutDocuments(store).ensure(tick_layout("unused"))

    document = (await verify(store)).document()

    assert document["sound"] is True
    assert document["partitions"][0]["topic"] == "ticks"
    assert document["finding_count"] == 0
