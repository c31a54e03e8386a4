"""The Kafka source against a real broker, given by STREAMER_TEST_KAFKA (host:port): the contract, and what only a real
broker shows. Without the variable it is skipped; with STREAMER_TEST_STRICT=1 its absence is a failure."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
from aiokafka.structs import TopicPartition as KafkaTopicPartition

from streamer.records import TopicPartition
from streamer.source.kafka import KafkaSource
from tests.contracts.kafka_world import KafkaWorld
from tests.contracts.source_contract import (
    GroupContract,
    MissingTopicContract,
    Owner,
    RetentionContract,
    SourceContract,
    TransactionContract,
    joined,
    offsets,
    read,
    values,
)

BROKER = os.environ.get("STREAMER_TEST_KAFKA")
STRICT = os.environ.get("STREAMER_TEST_STRICT") == "1"

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(BROKER is None and not STRICT, reason="STREAMER_TEST_KAFKA is not set"),
]


@pytest.fixture(params=["batches", "getmany"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[KafkaWorld]:
    assert BROKER, "STREAMER_TEST_STRICT=1 wants a broker: set STREAMER_TEST_KAFKA"
    world = KafkaWorld(BROKER, request.param)
    yield world
    await world.close()


def cannot_tell(reason: str) -> None:
    """Under STREAMER_TEST_STRICT=1 a test that could not test anything is a failure."""
    if STRICT:
        pytest.fail(reason)
    pytest.skip(reason)


async def prove_that_others_create_topics(world: KafkaWorld) -> None:
    """A broker that never creates topics by itself would let the tests of our restraint pass for nothing."""
    name = world.name()
    producer = await world.producer()
    await producer.partitions_for(name)
    admin = await world.admin()
    if name not in await admin.list_topics():
        cannot_tell("this broker has auto.create.topics.enable=false")


class TestKafkaSource(SourceContract, MissingTopicContract, TransactionContract, RetentionContract, GroupContract):
    pass


class TestRealBroker:
    async def test_every_compression_is_read(self, world: KafkaWorld) -> None:
        topic = world.name()
        partition = TopicPartition(topic, 0)
        await world.create_topic(topic)
        expected: list[bytes | None] = []
        for codec in (None, "gzip", "snappy", "lz4", "zstd"):
            batch = [f"{codec}-{number}".encode() for number in range(200)]
            await world.write(partition, batch, compression=codec)
            expected += batch
        source, owner = await joined(world, topic)
        await owner.until_owning(partition)

        assert values(await read(source, partition, len(expected))) == expected

    async def test_batches_and_getmany_bring_the_same_chunks(self, world: KafkaWorld) -> None:
        topic = world.name()
        partition = TopicPartition(topic, 0)
        await world.create_topic(topic)
        for round_number in range(4):
            await world.write(partition, [b"%d-%d" % (round_number, number) for number in range(150)], compression="zstd")
            await world.write_transaction(partition, [b"t"] * 7, commit=round_number % 2 == 0)
            await world.write(partition, [b"h"], headers=(("trace", b"x"), ("empty", None)), key=b"k")
        end = 4 * (150 + 7 + 1 + 1)
        rows = {}
        for mode in ("batches", "getmany"):
            source = await world.source(world.name(), mode, read_mode=mode)
            owner = Owner(source, 7)
            await source.start([topic], owner)
            await owner.until_owning(partition)
            chunks = await read(source, partition, end)
            rows[mode] = [
                (offset, stamp, key, value, tuple(chunk.headers[at]) if chunk.headers else ())
                for chunk in chunks
                for at, (offset, stamp, key, value) in enumerate(
                    zip(chunk.offsets, chunk.timestamps, chunk.keys, chunk.values, strict=True)
                )
            ]
            assert chunks[-1].end == end

        assert rows["batches"] == rows["getmany"]
        assert len(rows["batches"]) == 4 * 150 - 7 + 2 * 7 + 4

    async def test_log_append_time_is_the_timestamp_of_every_record(self, world: KafkaWorld) -> None:
        topic = world.name()
        partition = TopicPartition(topic, 0)
        await world.create_topic(topic, configs={"message.timestamp.type": "LogAppendTime"})
        await world.write(partition, [b"a", b"b"], timestamp=1_000)
        source, owner = await joined(world, topic)
        await owner.until_owning(partition)

        chunks = await read(source, partition, 2)

        assert all(stamp > 1_700_000_000_000 for chunk in chunks for stamp in chunk.timestamps)

    async def test_compaction_leaves_holes_that_chunks_cover(self, world: KafkaWorld) -> None:
        topic = world.name()
        partition = TopicPartition(topic, 0)
        await world.create_topic(
            topic,
            configs={
                "cleanup.policy": "compact",
                "min.cleanable.dirty.ratio": "0.0",
                "segment.bytes": "1048576",
                "segment.ms": "200",
                "min.compaction.lag.ms": "0",
                "max.compaction.lag.ms": "200",
                "delete.retention.ms": "100",
            },
        )
        for number in range(6):
            await world.write(partition, [b"%d" % number], key=b"same")
        await asyncio.sleep(0.5)
        await world.write(partition, [b"rolls the segment"], key=b"other")
        found: list[int] = []
        for _ in range(60):
            source = await world.source(world.name(), world.name())
            owner = Owner(source)
            await source.start([topic], owner)
            await owner.until_owning(partition)
            chunks = await read(source, partition, 7)
            await source.stop()
            found = offsets(chunks)
            assert chunks[0].start == 0
            assert [chunk.end for chunk in chunks[:-1]] == [chunk.start for chunk in chunks[1:]]
            if len(found) < 7:
                break
            await asyncio.sleep(0.5)
        else:
            cannot_tell("the broker's log cleaner did not run within the test's time")

        assert found[-1] == 6
        assert set(found) < set(range(7))

    async def test_a_missing_topic_is_never_created(self, world: KafkaWorld) -> None:
        there, missing = world.name(), world.name()
        await world.create_topic(there)
        source, owner = await joined(world, there, missing)
        await owner.until_owning(TopicPartition(there, 0))
        for _ in range(4):
            await source.poll([], 0.5)
        await source.bounds([TopicPartition(missing, 0)])
        await source.committed([TopicPartition(missing, 0)])
        admin = await world.admin()

        assert source.missing_topics() == {missing}
        assert missing not in await admin.list_topics()
        await prove_that_others_create_topics(world)

    async def test_a_topic_deleted_while_it_is_read_is_not_created_again(self, world: KafkaWorld) -> None:
        kept, deleted = world.name(), world.name()
        await world.create_topic(kept)
        await world.create_topic(deleted)
        await world.write(TopicPartition(deleted, 0), [b"a"])
        source, owner = await joined(world, kept, deleted)
        both = [TopicPartition(kept, 0), TopicPartition(deleted, 0)]
        await owner.until_owning(*both)
        await read(source, both[1], 1)
        admin = await world.admin()
        await admin.delete_topics([deleted])

        for _ in range(8):
            await source.poll(both, 0.5)
        owned_after, topics_after = owner.owned, await admin.list_topics()

        assert deleted not in topics_after
        assert owned_after == {both[0]}
        assert source.missing_topics() == {deleted}
        await prove_that_others_create_topics(world)

    async def test_a_commit_of_an_old_generation_is_refused_and_changes_nothing(self, world: KafkaWorld) -> None:
        topic, group = world.name(), world.name()
        partition = TopicPartition(topic, 0)
        await world.create_topic(topic)
        await world.write(partition, [b"%d" % number for number in range(100)])
        first, first_owner = await joined(world, topic, group=group)
        await first_owner.until_owning(partition)
        assert isinstance(first, KafkaSource)
        token_of_the_first_generation = first._token
        _, second_owner = await joined(world, topic, group=group)
        async with asyncio.TaskGroup() as both_poll:
            both_poll.create_task(first_owner.until(lambda: len(first_owner.history) == 3, "rebalanced"))
            both_poll.create_task(second_owner.until(lambda: bool(second_owner.history), "joined"))
        owner = first_owner if first_owner.owned else second_owner
        assert await owner.source.commit({partition: 99}) is True
        first._token = token_of_the_first_generation

        refused = await first.commit({partition: 5})

        assert refused is False
        assert await owner.source.committed([partition]) == {partition: 99}

    async def test_a_static_member_that_restarts_keeps_its_partitions_without_a_rebalance(self, world: KafkaWorld) -> None:
        topic, group = world.name(), world.name()
        both = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
        await world.create_topic(topic, 2)
        owners = []
        for member in ("static-0", "static-1"):
            source = await world.source(group, member, group_instance_id=member)
            owners.append(Owner(source))
            await source.start([topic], owners[-1])
        async with asyncio.TaskGroup() as all_poll:
            for owner in owners:
                all_poll.create_task(owner.until(lambda owner=owner: len(owner.owned) == 1, "one each"))
        mine, history_of_the_other = owners[0].owned, list(owners[1].history)
        await owners[0].source.stop()
        again = await world.source(group, "static-0", group_instance_id="static-0")
        returned = Owner(again)
        await again.start([topic], returned)
        async with asyncio.TaskGroup() as all_poll:
            all_poll.create_task(returned.until(lambda: bool(returned.owned), "back"))
            all_poll.create_task(owners[1].until(lambda: bool(returned.owned), "undisturbed"))

        assert returned.owned == mine
        assert owners[1].history == history_of_the_other
        assert returned.owned | owners[1].owned == set(both)

    async def test_an_open_transaction_does_not_move_the_end(self, world: KafkaWorld) -> None:
        topic = world.name()
        partition = TopicPartition(topic, 0)
        await world.create_topic(topic)
        await world.write(partition, [b"before"])
        producer = await world.producer(transactional_id=world.name())
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"open", partition=0)
        source, owner = await joined(world, topic)
        await owner.until_owning(partition)

        chunks = await read(source, partition, 1)
        held = (await source.bounds([partition]))[partition]
        await producer.commit_transaction()
        later = await read(source, partition, 3)

        assert values(chunks) == [b"before"]
        assert (held.beginning, held.end) == (0, 1)
        assert values(later) == [b"open"]

    async def test_a_member_whose_group_offsets_are_gone_reads_from_where_it_is_told(self, world: KafkaWorld) -> None:
        topic, group = world.name(), world.name()
        partition = TopicPartition(topic, 0)
        await world.create_topic(topic)
        await world.write(partition, [b"a", b"b", b"c"])
        first, first_owner = await joined(world, topic, group=group)
        await first_owner.until_owning(partition)
        await first.commit({partition: 3})
        await first.stop()
        admin = await world.admin()
        stored = await admin.list_consumer_group_offsets(group)
        second, second_owner = await joined(world, topic, group=group, start_at=1)
        await second_owner.until_owning(partition)

        assert stored[KafkaTopicPartition(*partition)].offset == 3
        assert values(await read(second, partition, 3)) == [b"b", b"c"]
