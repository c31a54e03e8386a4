"""What holds of every `Source`: examined here once, run over the memory twin, the mock cluster and a real Kafka.

A `World` is a broker that a test may write to. `SourceContract` needs one member and plain records; the other classes
name what more they need, and a world that cannot give it does not run them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import pytest

from streamer.records import Headers, RecordChunk, TopicPartition
from streamer.source.contract import OutOfRange, Source

PATIENCE_SECONDS = 30.0


class World(Protocol):
    """A broker under the test's control."""

    quiet_seconds: float  # how long nothing has to come before a test believes that nothing will

    def name(self) -> str:
        """A topic or group name that nobody has used."""
        ...

    async def create_topic(self, name: str, partitions: int = 1) -> None: ...

    async def write(
        self,
        partition: TopicPartition,
        values: Sequence[bytes | None],
        *,
        key: bytes | None = None,
        headers: Headers = (),
        timestamp: int | None = None,
    ) -> list[int]:
        """The offsets of the records written."""
        ...

    async def write_transaction(
        self, partition: TopicPartition, values: Sequence[bytes | None], *, commit: bool
    ) -> list[int]: ...

    async def truncate(self, partition: TopicPartition, beginning: int) -> None: ...

    async def source(self, group: str, member: str) -> Source:
        """Not started. The world stops it when the test ends."""
        ...


class Owner:
    """An `AssignmentHandler` that remembers, and seeks where it is told to."""

    def __init__(self, source: Source, start_at: int | None = 0) -> None:
        self.source = source
        self.start_at = start_at
        self.history: list[tuple[str, frozenset[TopicPartition]]] = []
        self.owned: frozenset[TopicPartition] = frozenset()
        self.let_go = asyncio.Event()
        self.let_go.set()
        self.asked_to_let_go = asyncio.Event()
        self._changed = asyncio.Condition()
        self._telling: set[asyncio.Task[None]] = set()

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        self.owned = frozenset(partitions)
        self.history.append(("assigned", self.owned))
        if self.start_at is not None:
            for partition in partitions:
                self.source.seek(partition, self.start_at)
        self._tell()

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        self.history.append(("revoked", frozenset(partitions)))
        self.asked_to_let_go.set()
        await self.let_go.wait()
        self.owned = frozenset()
        self._tell()

    def _tell(self) -> None:
        async def tell() -> None:
            async with self._changed:
                self._changed.notify_all()

        task = asyncio.get_running_loop().create_task(tell())
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def until_owning(self, *partitions: TopicPartition) -> None:
        await self.until(lambda: self.owned == frozenset(partitions), f"owning {partitions}")

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for an assignment, polling meanwhile as a daemon does: a group evicts who is silent."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                await self.source.poll((), 0.05)
        assert condition(), what


async def read(source: Source, partition: TopicPartition, until: int) -> list[RecordChunk]:
    """Chunks of `partition` until one ends at `until`, or beyond."""
    chunks: list[RecordChunk] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not chunks or chunks[-1].end < until:
            polled = await source.poll([partition], 1.0)
            assert not polled.out_of_range
            chunks += polled.chunks
    return chunks


def values(chunks: Collection[RecordChunk]) -> list[bytes | None]:
    return [value for chunk in chunks for value in chunk.values]


def offsets(chunks: Collection[RecordChunk]) -> list[int]:
    return [offset for chunk in chunks for offset in chunk.offsets]


async def joined(world: World, *topics: str, group: str | None = None, start_at: int | None = 0) -> tuple[Source, Owner]:
    """A source that is started, and its owner."""
    source = await world.source(group or world.name(), world.name())
    owner = Owner(source, start_at)
    await source.start(topics, owner)
    return source, owner


class SourceContract:
    """One member, plain records."""

    async def test_nothing_is_delivered_before_the_first_seek(self, world: World) -> None:
        topic = world.name()
        partition = TopicPartition(topic, 0)
        await world.create_topic(topic)
        await world.write(partition, [b"a", b"b"])
        source, owner = await joined(world, topic, start_at=None)
        await owner.until_owning(partition)

        before = await source.poll([partition], world.quiet_seconds)
        source.seek(partition, 1)
        after = await read(source, partition, 2)

        assert before.chunks == ()
        assert before.out_of_range == ()
        assert offsets(after) == [1]
        assert after[0].start == 1

    async def test_records_come_whole_and_in_order(self, world: World) -> None:
        topic = world.name()
        partition = TopicPartition(topic, 0)
        await world.create_topic(topic)
        await world.write(partition, [b"%d" % number for number in range(300)], key=b"k")
        await world.write(partition, [None, b"", "€".encode()], key=b"")
        await world.write(partition, [b"end"])
        source, owner = await joined(world, topic)
        await owner.until_owning(partition)

        chunks = await read(source, partition, 304)

        assert values(chunks) == [*(b"%d" % number for number in range(300)), None, b"", "€".encode(), b"end"]
        assert [key for chunk in chunks for key in chunk.keys] == [*[b"k"] * 300, b"", b"", b"", None]
        assert offsets(chunks) == list(range(304))
        assert all(isinstance(stamp, int) for chunk in chunks for stamp in chunk.timestamps)
        assert all(chunk.headers is None for chunk in chunks)

    async def test_chunks_abut_and_end_where_the_partition_ends(self, world: World) -> None:
        topic = world.name()
        partition = TopicPartition(topic, 0)
        await world.create_topic(topic)
        source, owner = await joined(world, topic)
        await owner.until_owning(partition)
        chunks: list[RecordChunk] = []
        for round_number in range(3):
            await world.write(partition, [b"x" * 1000] * 50)
            chunks += await read(source, partition, 50 * (round_number + 1))

        bounds = await source.bounds([partition])

        assert chunks[0].start == 0
        assert [chunk.end for chunk in chunks[:-1]] == [chunk.start for chunk in chunks[1:]]
        assert chunks[-1].end == bounds[partition].end == 150
        assert source.end_offset(partition) == 150

    async def test_headers_are_listed_for_every_record_when_any_has_some(self, world: World) -> None:
        topic = world.name()
        partition = TopicPartition(topic, 0)
        await world.create_topic(topic)
        await world.write(partition, [b"plain"])
        await world.write(partition, [b"rich"], headers=(("trace", b"1"), ("trace", None), ("é", b"")))
        source, owner = await joined(world, topic)
        await owner.until_owning(partition)

        chunks = await read(source, partition, 2)
        headers = [
            headers for chunk in chunks for headers in (chunk.headers if chunk.headers is not None else [()] * len(chunk))
        ]

        assert headers == [(), (("trace", b"1"), ("trace", None), ("é", b""))]

    async def test_partitions_not_wanted_are_left_alone_and_come_later(self, world: World) -> None:
        topic = world.name()
        first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
        await world.create_topic(topic, 2)
        await world.write(first, [b"first"])
        await world.write(second, [b"second"])
        source, owner = await joined(world, topic)
        await owner.until_owning(first, second)

        one = await read(source, first, 1)
        none = await source.poll([], world.quiet_seconds)
        other = await read(source, second, 1)

        assert values(one) == [b"first"]
        assert none.chunks == ()
        assert values(other) == [b"second"]

    async def test_a_seek_back_brings_the_same_records_again(self, world: World) -> None:
        topic = world.name()
        partition = TopicPartition(topic, 0)
        await world.create_topic(topic)
        await world.write(partition, [b"%d" % number for number in range(40)])
        source, owner = await joined(world, topic)
        await owner.until_owning(partition)

        once = await read(source, partition, 40)
        source.seek(partition, 17)
        again = await read(source, partition, 40)

        assert again[0].start == 17
        assert values(again) == values(once)[17:]

    async def test_a_seek_of_a_partition_that_is_not_assigned_is_ignored(self, world: World) -> None:
        topic = world.name()
        partition = TopicPartition(topic, 0)
        await world.create_topic(topic)
        await world.write(partition, [b"a"])
        source, owner = await joined(world, topic)
        source.seek(TopicPartition(world.name(), 3), 5)
        await owner.until_owning(partition)
        source.seek(TopicPartition(topic, 9), 5)

        assert values(await read(source, partition, 1)) == [b"a"]

    async def test_a_position_beyond_the_end_is_reported_once_and_a_seek_mends_it(self, world: World) -> None:
        topic = world.name()
        partition, other = TopicPartition(topic, 0), TopicPartition(topic, 1)
        await world.create_topic(topic, 2)
        await world.write(partition, [b"a", b"b"])
        await world.write(other, [b"c"])
        source, owner = await joined(world, topic, start_at=None)
        await owner.until_owning(partition, other)
        source.seek(partition, 99)

        reports: list[OutOfRange] = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not reports:
                reports += (await source.poll([partition], 1.0)).out_of_range
        source.seek(other, 0)
        elsewhere = await read(source, other, 1)
        again = await source.poll([partition], world.quiet_seconds)
        source.seek(partition, 0)
        mended = await read(source, partition, 2)

        assert reports == [OutOfRange(partition, 99)]
        assert values(elsewhere) == [b"c"]
        assert again.chunks == ()
        assert again.out_of_range == ()
        assert values(mended) == [b"a", b"b"]

    async def test_bounds_tell_what_is_there_and_leave_out_what_kafka_does_not_know(self, world: World) -> None:
        topic = world.name()
        partition, empty, unknown = TopicPartition(topic, 0), TopicPartition(topic, 1), TopicPartition(world.name(), 0)
        await world.create_topic(topic, 2)
        await world.write(partition, [b"a", b"b"])
        source, _ = await joined(world, topic)

        bounds = await source.bounds([partition, empty, unknown])

        assert {where: (found.beginning, found.end) for where, found in bounds.items()} == {partition: (0, 2), empty: (0, 0)}

    async def test_all_partitions_of_its_topics_are_known_whoever_reads_them(self, world: World) -> None:
        topic, elsewhere, group = world.name(), world.name(), world.name()
        await world.create_topic(topic, 2)
        await world.create_topic(elsewhere, 1)
        source, _ = await joined(world, topic, group=group)
        await joined(world, topic, group=group)  # takes one of the two

        assert await source.partitions() == {TopicPartition(topic, 0), TopicPartition(topic, 1)}

    async def test_the_group_remembers_what_was_committed(self, world: World) -> None:
        topic = world.name()
        partition, other = TopicPartition(topic, 0), TopicPartition(topic, 1)
        await world.create_topic(topic, 2)
        await world.write(partition, [b"a", b"b"])
        source, owner = await joined(world, topic)
        await owner.until_owning(partition, other)

        before = await source.committed([partition, other])
        accepted = await source.commit({partition: 2})
        after = await source.committed([partition, other])

        assert before == {}
        assert accepted is True
        assert after == {partition: 2}

    async def test_nothing_to_commit_is_no_refusal(self, world: World) -> None:
        topic = world.name()
        await world.create_topic(topic)
        source, owner = await joined(world, topic)
        await owner.until_owning(TopicPartition(topic, 0))

        assert await source.commit({}) is True

    async def test_the_cluster_has_an_id(self, world: World) -> None:
        topic = world.name()
        await world.create_topic(topic)
        source, _ = await joined(world, topic)

        cluster_id = await source.cluster_id()

        assert cluster_id
        assert cluster_id == await source.cluster_id()

    async def test_a_stop_leaves_without_revoking_and_may_be_called_twice(self, world: World) -> None:
        topic = world.name()
        await world.create_topic(topic)
        source, owner = await joined(world, topic)
        await owner.until_owning(TopicPartition(topic, 0))

        await source.stop()
        await source.stop()

        assert [word for word, _ in owner.history] == ["assigned"]

    async def test_a_source_that_was_never_started_can_be_stopped(self, world: World) -> None:
        source = await world.source(world.name(), world.name())

        await source.stop()

        assert await source.commit({TopicPartition("x", 0): 1}) is False

    async def test_what_a_handler_raises_comes_out_of_the_next_poll(self, world: World) -> None:
        class Careless(Owner):
            def assigned(self, partitions: Collection[TopicPartition]) -> None:
                super().assigned(partitions)
                raise LookupError("a bug of the handler")

        topic = world.name()
        await world.create_topic(topic)
        source = await world.source(world.name(), world.name())
        owner = Careless(source)
        await source.start([topic], owner)

        with pytest.raises(LookupError, match="a bug of the handler"):
            await owner.until(lambda: False, "never")


class MissingTopicContract:
    """A topic that does not exist yet."""

    async def test_a_topic_that_comes_later_is_waited_for_and_then_assigned(self, world: World) -> None:
        there, late = world.name(), world.name()
        await world.create_topic(there)
        source, owner = await joined(world, there, late)
        await owner.until_owning(TopicPartition(there, 0))
        missing_before = source.missing_topics()

        await world.create_topic(late)
        await owner.until_owning(TopicPartition(there, 0), TopicPartition(late, 0))
        await world.write(TopicPartition(late, 0), [b"a"])

        assert missing_before == {late}
        assert source.missing_topics() == frozenset()
        assert values(await read(source, TopicPartition(late, 0), 1)) == [b"a"]
        assert [word for word, _ in owner.history] == ["assigned", "revoked", "assigned"]

    async def test_a_source_whose_only_topic_is_missing_starts_and_waits(self, world: World) -> None:
        late = world.name()
        source, owner = await joined(world, late)
        await owner.until(lambda: bool(owner.history), "told of an assignment")

        nothing = await source.poll([], world.quiet_seconds)
        missing_before, history_before = source.missing_topics(), list(owner.history)
        await world.create_topic(late)
        await owner.until_owning(TopicPartition(late, 0))

        assert nothing.chunks == ()
        assert missing_before == {late}
        assert history_before == [("assigned", frozenset())]
        assert [word for word, _ in owner.history] == ["assigned", "assigned"]


class TransactionContract:
    """A broker with transactions."""

    async def test_aborted_records_never_appear_and_their_offsets_are_covered(self, world: World) -> None:
        topic = world.name()
        partition = TopicPartition(topic, 0)
        await world.create_topic(topic)
        kept = await world.write_transaction(partition, [b"kept-0", b"kept-1"], commit=True)
        await world.write_transaction(partition, [b"lost-0", b"lost-1"], commit=False)
        kept += await world.write(partition, [b"plain"])
        (lost,) = await world.write_transaction(partition, [b"lost-2"], commit=False)
        source, owner = await joined(world, topic)
        await owner.until_owning(partition)
        end = (await source.bounds([partition]))[partition].end

        chunks = await read(source, partition, end)

        assert values(chunks) == [b"kept-0", b"kept-1", b"plain"]
        assert offsets(chunks) == kept
        assert chunks[0].start == 0
        assert [chunk.end for chunk in chunks[:-1]] == [chunk.start for chunk in chunks[1:]]
        assert chunks[-1].end == end > lost + 1

    async def test_a_range_without_any_visible_record_still_moves_the_end(self, world: World) -> None:
        topic = world.name()
        partition = TopicPartition(topic, 0)
        await world.create_topic(topic)
        await world.write_transaction(partition, [b"lost"] * 3, commit=False)
        source, owner = await joined(world, topic)
        await owner.until_owning(partition)

        chunks = await read(source, partition, 4)

        assert values(chunks) == []
        assert (chunks[0].start, chunks[-1].end) == (0, 4)


class RetentionContract:
    """A broker that can drop the oldest records."""

    async def test_a_position_that_retention_took_is_reported(self, world: World) -> None:
        topic = world.name()
        partition = TopicPartition(topic, 0)
        await world.create_topic(topic)
        await world.write(partition, [b"%d" % number for number in range(10)])
        await world.truncate(partition, 6)
        source, owner = await joined(world, topic)
        await owner.until_owning(partition)

        reports: list[OutOfRange] = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not reports:
                reports += (await source.poll([partition], 1.0)).out_of_range
        bounds = (await source.bounds([partition]))[partition]
        source.seek(partition, bounds.beginning)

        assert reports == [OutOfRange(partition, 0)]
        assert (bounds.beginning, bounds.end) == (6, 10)
        assert values(await read(source, partition, 10)) == [b"6", b"7", b"8", b"9"]


class GroupContract:
    """A broker that can coordinate several members."""

    async def test_partitions_move_only_after_the_owner_has_let_go(self, world: World) -> None:
        topic, group = world.name(), world.name()
        both = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
        await world.create_topic(topic, 2)
        for partition in both:
            await world.write(partition, [b"a", b"b"])
        first, first_owner = await joined(world, topic, group=group)
        await first_owner.until_owning(*both)
        first_owner.let_go.clear()

        _, second_owner = await joined(world, topic, group=group)
        await first_owner.until(first_owner.asked_to_let_go.is_set, "asked to let go")
        during = await first.poll(both, world.quiet_seconds)
        history_of_second = list(second_owner.history)
        accepted = await first.commit(dict.fromkeys(both, 2))
        first_owner.let_go.set()
        async with asyncio.TaskGroup() as both_poll:
            both_poll.create_task(first_owner.until(lambda: len(first_owner.owned) == 1, "one each"))
            both_poll.create_task(second_owner.until(lambda: len(second_owner.owned) == 1, "one each"))

        assert during.chunks == ()
        assert history_of_second == []
        assert accepted is True
        assert first_owner.owned | second_owner.owned == set(both)
        assert [word for word, _ in first_owner.history] == ["assigned", "revoked", "assigned"]
        assert [word for word, _ in second_owner.history] == ["assigned"]

    async def test_a_member_that_leaves_hands_everything_over(self, world: World) -> None:
        topic, group = world.name(), world.name()
        both = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
        await world.create_topic(topic, 2)
        first, first_owner = await joined(world, topic, group=group)
        await first_owner.until_owning(*both)
        second, second_owner = await joined(world, topic, group=group)
        async with asyncio.TaskGroup() as both_poll:
            both_poll.create_task(first_owner.until(lambda: len(first_owner.owned) == 1, "one each"))
            both_poll.create_task(second_owner.until(lambda: len(second_owner.owned) == 1, "one each"))

        await first.stop()
        await second_owner.until_owning(*both)

        assert await first.commit({both[0]: 1}) is False
        assert await second.commit({both[0]: 1}) is True
