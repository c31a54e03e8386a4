"""What holds of every `Tail`: examined here once, run over the memory twin, the mock cluster and a real Kafka."""

from __future__ import annotations

import asyncio
from typing import Protocol

from streamer.records import RecordChunk, TopicPartition
from streamer.source.contract import OutOfRange
from streamer.source.tail import Tail
from tests.contracts.source_contract import PATIENCE_SECONDS, World


class TailWorld(World, Protocol):
    """A broker under the test's control, that tails read."""

    def tail(self) -> Tail: ...


def values(*numbers: int) -> list[bytes | None]:
    return [f"v{number}".encode() for number in numbers]


async def take(tail: Tail, records: int) -> list[RecordChunk]:
    """Polls until so many records came."""
    found: list[RecordChunk] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while sum(map(len, found)) < records:
            found += (await tail.poll(0.5)).chunks
    return found


async def lost(tail: Tail) -> OutOfRange:
    """The next report of a place that is not there."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if (polled := await tail.poll(0.5)).out_of_range:
                return polled.out_of_range[0]


def offsets(chunks: list[RecordChunk], partition: TopicPartition) -> list[int]:
    return [offset for chunk in chunks if chunk.source == partition for offset in chunk.offsets]


class TailContract:
    """Plain records."""

    async def test_records_come_from_where_it_was_sought_and_then_as_they_are_written(self, world: TailWorld) -> None:
        topic = world.name()
        await world.create_topic(topic, 2)
        one, two = TopicPartition(topic, 0), TopicPartition(topic, 1)
        await world.write(one, values(*range(10)), key=b"k", headers=(("h", b"1"),), timestamp=1_700_000_000_000)
        await world.write(two, values(*range(5)))
        tail = world.tail()
        await tail.start()
        assert (await tail.poll(0.01)).chunks == ()

        tail.seek(one, 4)
        tail.seek(two, 0)
        first = await take(tail, 11)
        await world.write(one, values(10, 11))
        second = await take(tail, 2)
        await tail.stop()

        assert offsets(first, one) == [4, 5, 6, 7, 8, 9]
        assert offsets(first, two) == [0, 1, 2, 3, 4]
        assert offsets(second, one) == [10, 11]
        start = next(chunk for chunk in first if chunk.source == one)
        assert (start.start, start.keys[0], start.values[0]) == (4, b"k", b"v4")
        assert start.headers is not None
        assert start.headers[0] == (("h", b"1"),)
        assert start.timestamps[0] == 1_700_000_000_000

    async def test_each_chunk_starts_where_the_one_before_it_ended(self, world: TailWorld) -> None:
        topic = world.name()
        await world.create_topic(topic)
        partition = TopicPartition(topic, 0)
        await world.write(partition, values(*range(50)))
        tail = world.tail()
        await tail.start()
        tail.seek(partition, 0)
        chunks = await take(tail, 20)
        tail.seek(TopicPartition(topic, 0), chunks[-1].end)  # where it is anyway
        chunks += await take(tail, 50 - sum(map(len, chunks)))
        await tail.stop()

        assert offsets(chunks, partition) == list(range(50))
        assert [chunk.start for chunk in chunks] == [0, *(chunk.end for chunk in chunks[:-1])]

    async def test_a_partition_sought_later_leaves_the_others_where_they_are(self, world: TailWorld) -> None:
        topic = world.name()
        await world.create_topic(topic, 2)
        one, two = TopicPartition(topic, 0), TopicPartition(topic, 1)
        await world.write(one, values(*range(6)))
        await world.write(two, values(*range(6)))
        tail = world.tail()
        await tail.start()
        tail.seek(one, 0)
        found = await take(tail, 6)
        tail.seek(two, 3)
        await world.write(one, values(6))
        found += await take(tail, 4)
        await tail.stop()

        assert offsets(found, one) == [0, 1, 2, 3, 4, 5, 6]
        assert offsets(found, two) == [3, 4, 5]

    async def test_a_place_that_is_not_there_is_told_once(self, world: TailWorld) -> None:
        topic = world.name()
        await world.create_topic(topic, 2)
        one, two = TopicPartition(topic, 0), TopicPartition(topic, 1)
        await world.write(one, values(0, 1))
        await world.write(two, values(0, 1))
        tail = world.tail()
        await tail.start()
        tail.seek(one, 700)
        tail.seek(two, 0)

        reports, found = [], []
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not reports or len(offsets(found, two)) < 2:
                polled = await tail.poll(0.5)
                reports, found = [*reports, *polled.out_of_range], [*found, *polled.chunks]
        await world.write(two, values(2))
        found += await take(tail, 1)
        tail.seek(one, 1)
        found += await take(tail, 1)
        await tail.stop()

        assert reports == [OutOfRange(one, 700)]
        assert offsets(found, two) == [0, 1, 2]
        assert offsets(found, one) == [1]

    async def test_what_kafka_has_is_told(self, world: TailWorld) -> None:
        topic, missing = world.name(), world.name()
        await world.create_topic(topic, 3)
        await world.write(TopicPartition(topic, 1), values(0, 1))
        tail = world.tail()
        await tail.start()

        there = await tail.partitions(topic)
        bounds = await tail.bounds(there)

        assert there == {TopicPartition(topic, number) for number in range(3)}
        assert await tail.partitions(missing) == frozenset()
        assert (bounds[TopicPartition(topic, 1)].beginning, bounds[TopicPartition(topic, 1)].end) == (0, 2)
        assert await tail.cluster_id()
        await tail.stop()
        await tail.stop()


class StableTailContract:
    """Transactions and retention."""

    async def test_open_and_aborted_transactions_are_not_seen(self, world: TailWorld) -> None:
        topic = world.name()
        await world.create_topic(topic)
        partition = TopicPartition(topic, 0)
        await world.write(partition, values(0))
        await world.write_transaction(partition, values(1, 2), commit=False)
        await world.write_transaction(partition, values(3), commit=True)
        await world.write(partition, values(4))
        tail = world.tail()
        await tail.start()
        tail.seek(partition, 0)

        found = await take(tail, 3)
        await tail.stop()

        assert [value for chunk in found for value in chunk.values] == [b"v0", b"v3", b"v4"]

    async def test_what_retention_took_is_out_of_range(self, world: TailWorld) -> None:
        topic = world.name()
        await world.create_topic(topic)
        partition = TopicPartition(topic, 0)
        await world.write(partition, values(*range(10)))
        await world.truncate(partition, 6)
        tail = world.tail()
        await tail.start()
        tail.seek(partition, 2)

        assert await lost(tail) == OutOfRange(partition, 2)
        tail.seek(partition, (await tail.bounds([partition]))[partition].beginning)
        assert offsets(await take(tail, 4), partition) == [6, 7, 8, 9]
        await tail.stop()
