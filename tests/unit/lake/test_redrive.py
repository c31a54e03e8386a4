"""Dead letters are found again, sent once each, and marked beside themselves where no proof and no engine stumbles over it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import pytest
from lake_builder import START, TICKS, LakeBuilder, Tick, milliseconds, small_lake, ticks_of

from streamer.errors import Damaged, Invalid, Unavailable
from streamer.keys import DEAD_LETTERS, parse_data_key
from streamer.lake.dead_letters import LetterFile, LetterQuery, file_of, find_letters
from streamer.lake.letters import parse_letters
from streamer.lake.redrive import redrive
from streamer.lake.redriven import Redriven, mark_redriven, note_key, read_note
from streamer.lake.verify import verify
from streamer.records import TopicPartition
from streamer.source.outgoing import Acknowledged, Outgoing
from streamer.store.contract import Overwrite
from streamer.store.memory import MemoryStore
from streamer.testing.manual_clock import ManualClock


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(ManualClock())


async def found(store: MemoryStore, query: LetterQuery = LetterQuery()) -> list[LetterFile]:  # noqa: B008 -- frozen
    return [file async for file in find_letters(store, query)]


async def offsets(store: MemoryStore, query: LetterQuery) -> list[int]:
    return [letter.offset for file in await found(store, query) for letter in file.letters]


class Topic:
    """Takes records, and can be told to fail after some."""

    def __init__(self, fail_after: int | None = None) -> None:
        self.records: list[Outgoing] = []
        self.fail_after = fail_after

    async def send(self, records: Sequence[Outgoing]) -> list[Acknowledged]:
        if self.fail_after is not None and len(self.records) >= self.fail_after:
            raise Unavailable("Kafka is gone")
        start = len(self.records)
        self.records.extend(records)
        return [Acknowledged(record.topic, record.partition or 0, 100 + start + at) for at, record in enumerate(records)]


async def test_letters_are_found_by_stream_day_reason_and_place(store: MemoryStore) -> None:
    await small_lake(store)

    assert await offsets(store, LetterQuery()) == [3, 4, 12, 17]
    assert await offsets(store, LetterQuery(stream="ticks", day=date(2026, 1, 3))) == [3, 4, 12]
    assert await offsets(store, LetterQuery(day=date(2026, 1, 4))) == [17]
    assert await offsets(store, LetterQuery(reason="invalid_json", source=TICKS, offsets=frozenset({4, 12}))) == [4, 12]
    assert await offsets(store, LetterQuery(reason="rule")) == []
    assert await offsets(store, LetterQuery(stream="others")) == []
    assert await offsets(store, LetterQuery(source=TopicPartition("ticks", 1))) == []


async def test_a_letter_is_read_back_whole(store: MemoryStore) -> None:
    await small_lake(store)

    letter = (await found(store))[0].letters[0]

    assert (letter.source, letter.offset, letter.key, letter.value) == (TICKS, 3, b"key", b"not json")
    assert (letter.headers, letter.reason, letter.detail) == ((("h", b"1"),), "invalid_json", "no")


async def test_a_redriven_record_is_the_original_with_two_more_headers(store: MemoryStore) -> None:
    await small_lake(store)
    topic = Topic()

    for file in await found(store):
        await redrive(store, file, None, topic.send, ManualClock())

    first = topic.records[0]
    assert [record.headers[-2][1] for record in topic.records] == [b"ticks/0/3", b"ticks/0/4", b"ticks/0/12", b"ticks/0/17"]
    assert (first.topic, first.partition, first.key, first.value) == ("ticks", 0, b"key", b"not json")
    assert first.headers == (
        ("h", b"1"),
        ("streamer-redriven-from", b"ticks/0/3"),
        ("streamer-redrive-reason", b"invalid_json"),
    )
    assert first.timestamp == milliseconds(ticks_of(range(4), every_seconds=3600)[3].at)


async def test_to_another_topic_the_key_chooses_the_partition(store: MemoryStore) -> None:
    await small_lake(store)
    topic = Topic()

    await redrive(store, (await found(store))[0], "repaired", topic.send, ManualClock(), new_timestamps=True)

    assert {(record.topic, record.partition, record.timestamp) for record in topic.records} == {("repaired", None, None)}


async def test_a_second_redrive_leaves_out_what_is_done(store: MemoryStore) -> None:
    await small_lake(store)
    topic = Topic()
    for _ in range(2):
        for file in await found(store):
            await redrive(store, file, None, topic.send, ManualClock())

    assert len(topic.records) == 4
    assert all(not file.open for file in await found(store))
    assert [(file.done(letter).new_offset) for file in await found(store) for letter in file.letters] == [100, 101, 102, 103]  # type: ignore[union-attr]


async def test_letters_that_were_not_acknowledged_stay_open(store: MemoryStore) -> None:
    await small_lake(store)
    topic = Topic(fail_after=2)
    first, second, _ = await found(store)
    await redrive(store, first, None, topic.send, ManualClock())

    with pytest.raises(Unavailable):
        await redrive(store, second, None, topic.send, ManualClock())

    assert [letter.offset for file in await found(store) for letter in file.open] == [12, 17]


async def test_a_large_file_is_marked_step_by_step(store: MemoryStore) -> None:
    lake = LakeBuilder(store)
    await lake.batch([Tick(offset, None, START) for offset in range(1200)])
    topic = Topic(fail_after=1000)
    [file] = await found(store)

    with pytest.raises(Unavailable):
        await redrive(store, file, None, topic.send, ManualClock())

    assert len((await found(store))[0].open) == 200


async def test_two_who_mark_at_the_same_time_lose_nothing_of_each_other(store: MemoryStore) -> None:
    await small_lake(store)
    file = (await found(store))[0].file
    clock = ManualClock()

    class Rival(MemoryStore):
        """Another redrive marks its letter between our read and our write."""

        raced = False

        async def put(self, key: str, *arguments, **options):  # type: ignore[no-untyped-def,override]
            if not self.raced:
                self.raced = True
                await mark_redriven(store, file, [Redriven(4, "ticks", 0, 201, "then")], clock)
            return await store.put(key, *arguments, **options)

        get = store.get  # type: ignore[assignment]

    async def no_wait(_: float) -> None:
        return

    clock.sleep = no_wait  # type: ignore[method-assign]
    await mark_redriven(Rival(clock), file, [Redriven(3, "ticks", 0, 200, "now")], clock)

    assert (await read_note(store, file)).offsets == {3, 4}


async def test_marks_lie_beside_the_letters_hidden_and_are_no_data_files(store: MemoryStore) -> None:
    await small_lake(store)
    for file in await found(store):
        await redrive(store, file, None, Topic().send, ManualClock())
    marks = [key for key in store.bodies if key.startswith(f"{DEAD_LETTERS}_redriven/")]

    report = await verify(store)

    assert len(marks) == 3
    assert marks[0] == note_key((await found(store))[0].file)
    assert all(parse_data_key(key) is None for key in marks)
    assert report.sound
    assert report.notes == ()


async def test_a_mark_that_is_none_is_damage_and_names_its_key(store: MemoryStore) -> None:
    await small_lake(store)
    file = (await found(store))[0].file
    await store.put(note_key(file), b"[]", mode=Overwrite())

    with pytest.raises(Damaged) as caught:
        await found(store)

    assert caught.value.context["key"] == note_key(file)


async def test_only_the_key_of_a_file_of_letters_names_one(store: MemoryStore) -> None:
    await small_lake(store)
    key = next(key for key in store.bodies if key.startswith(DEAD_LETTERS))

    assert file_of(key).key == key
    for wrong in ("x", next(key for key in store.bodies if key.startswith("raw/"))):
        with pytest.raises(Invalid):
            file_of(wrong)


@pytest.mark.parametrize("text", [b"{}\n", b"nonsense\n", b'{"topic":"t"}\n', b"[]\n", b'{"topic":"t"'])
def test_a_line_that_is_no_letter_is_an_error(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"line"):
        parse_letters(text)
