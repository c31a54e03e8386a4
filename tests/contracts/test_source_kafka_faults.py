"""The Kafka source when things go wrong, against the mock cluster: brokers that fall silent, damaged batches, dead tasks,
refused credentials, cancelled polls."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiokafka.consumer import fetcher as aiokafka_fetcher
from aiokafka.record.memory_records import MemoryRecords

from streamer.embedded.mock_cluster import MockCluster
from streamer.errors import Denied, Invalid, Unavailable
from streamer.records import TopicPartition
from streamer.source import record_batches
from streamer.source.batch_reader import BatchReader
from streamer.source.contract import Polled
from streamer.source.getmany import GetmanyReader
from streamer.source.kafka import KafkaSource
from streamer.source.settings import KafkaSettings
from streamer.workers import InlineWorkers, ThreadWorkers
from tests.contracts.kafka_world import KafkaWorld
from tests.contracts.source_contract import PATIENCE_SECONDS, Owner, joined, offsets, read, values
from tests.contracts.test_source_mock_cluster import MockWorld

OFFSET_COMMIT = 8
COORDINATOR_LOADING, COORDINATOR_GONE, NOT_COORDINATOR, UNKNOWN_MEMBER = 14, 15, 16, 25


@pytest.fixture(params=["batches", "getmany"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[MockWorld]:
    async with MockCluster() as cluster:
        world = MockWorld(cluster, request.param)
        yield world
        await world.close()


BATCHES = pytest.mark.parametrize("world", ["batches"], indirect=True)
"""For what does not depend on the reader; tests/live runs the rest of the contract with both."""


async def one_partition(world: KafkaWorld, records: int, **changes: Any) -> tuple[KafkaSource, Owner, TopicPartition]:
    topic = world.name()
    partition = TopicPartition(topic, 0)
    await world.create_topic(topic)
    if records:
        await world.write(partition, [b"%d" % number for number in range(records)])
    source = await world.source(world.name(), world.name(), **changes)
    owner = Owner(source)
    await source.start([topic], owner)
    await owner.until_owning(partition)
    assert isinstance(source, KafkaSource)
    return source, owner, partition


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await condition():
            pass


async def test_the_reader_is_the_one_that_was_asked_for(world: MockWorld) -> None:
    source, _, _ = await one_partition(world, 0)

    kind = BatchReader if world.settings.read_mode == "batches" else GetmanyReader

    assert isinstance(source._reader, kind)


async def test_a_cancelled_poll_loses_and_doubles_nothing(world: MockWorld) -> None:
    source, _, partition = await one_partition(world, 0)
    found: list[bytes | None] = []
    written = [b"%d" % number for number in range(600)]
    for start in range(0, 600, 100):
        await world.write(partition, written[start : start + 100])
        for turns in (0, 1, 2, 3, 5, 8, 13):
            poll = asyncio.create_task(source.poll([partition], 1.0))
            for _ in range(turns):
                await asyncio.sleep(0)
            poll.cancel()
            try:
                polled: Polled = await poll
            except asyncio.CancelledError:
                continue
            found += values(polled.chunks)
    while len(found) < len(written):
        found += values((await source.poll([partition], 1.0)).chunks)

    assert found == written


async def test_a_seek_at_any_moment_of_a_poll_brings_what_was_sought(world: MockWorld) -> None:
    source, _, partition = await one_partition(world, 500)
    for turns in range(0, 40, 8):
        source.seek(partition, 0)
        poll = asyncio.create_task(source.poll([partition], 0.2))
        for _ in range(turns):
            await asyncio.sleep(0)
        source.seek(partition, 123)
        sought_after = poll.done()
        late = await poll
        first = late.chunks[0] if late.chunks and not sought_after else (await read(source, partition, 500))[0]

        assert first.start == 123


@BATCHES
async def test_a_broker_that_falls_silent_shows_in_health_and_holds_nothing_up(world: MockWorld) -> None:
    source, _, partition = await one_partition(
        world, 5, unhealthy_after_seconds=0.4, request_timeout_seconds=0.4, commit_timeout_seconds=0.3, stop_timeout_seconds=1.0
    )
    await read(source, partition, 5)
    healthy = source.health()
    await world.cluster.take_down()

    async def unhealthy() -> bool:
        await source.poll([partition], 0.1)
        return "no broker has answered" in (source.health() or "")

    await until(unhealthy)
    loop = asyncio.get_running_loop()
    start = loop.time()
    polled = await source.poll([partition], 0.2)
    polled_in = loop.time() - start
    accepted = await source.commit({partition: 5})
    with pytest.raises(Unavailable):
        await source.bounds([partition])
    with pytest.raises(Unavailable):
        await source.committed([partition])
    start = loop.time()
    await source.stop()

    assert healthy is None
    assert polled == Polled()
    assert polled_in < 1.0
    assert accepted is False
    assert loop.time() - start < 10


@BATCHES
async def test_after_an_outage_the_source_goes_on_where_it_was(world: MockWorld) -> None:
    source, _, partition = await one_partition(world, 5, request_timeout_seconds=1.0)
    before = await read(source, partition, 5)
    await world.cluster.take_down()
    await source.poll([partition], 0.3)
    await world.cluster.bring_up()
    await world.write(partition, [b"after"])

    after = await read(source, partition, 6)

    assert offsets(before) == [0, 1, 2, 3, 4]
    assert values(after) == [b"after"]


@BATCHES
async def test_a_commit_outlives_a_moving_coordinator(world: MockWorld) -> None:
    source, _, partition = await one_partition(world, 2)
    await world.cluster.fail_requests(OFFSET_COMMIT, [NOT_COORDINATOR, COORDINATOR_GONE, COORDINATOR_LOADING])

    accepted = await source.commit({partition: 2})

    assert accepted is True
    assert await source.committed([partition]) == {partition: 2}


@BATCHES
async def test_a_commit_of_a_member_that_the_group_has_forgotten_is_refused(world: MockWorld) -> None:
    source, _, partition = await one_partition(world, 2)
    await world.cluster.fail_requests(OFFSET_COMMIT, [UNKNOWN_MEMBER])

    first = await source.commit({partition: 2})
    second = await source.commit({partition: 2})

    assert (first, second) == (False, False)


class Damage:
    """Flips a byte in every response of one partition, recognised by its content, while it is on."""

    def __init__(self, marker: bytes) -> None:
        self.marker = marker
        self.on = True
        self.hits = 0

    def __call__(self, raw: bytes) -> MemoryRecords:
        at = raw.rfind(self.marker) if self.on and raw else -1
        if at >= 0:
            self.hits += 1
            raw = raw[:at] + bytes([raw[at] ^ 0xFF]) + raw[at + 1 :]
        return MemoryRecords(raw)


async def test_a_damaged_batch_is_named_and_the_other_partitions_go_on(
    world: MockWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = world.name()
    bad, good = TopicPartition(topic, 0), TopicPartition(topic, 1)
    await world.create_topic(topic, 2)
    await world.write(bad, [b"fine-0", b"fine-1"])
    await world.write(bad, [b"damaged-2", b"damaged-3"])
    await world.write(good, [b"good"])
    damage = Damage(b"damaged-3")
    monkeypatch.setattr(aiokafka_fetcher, "MemoryRecords", damage)
    source, owner = await joined(world, topic)
    await owner.until_owning(bad, good)

    first: list[bytes | None] = []
    other: list[bytes | None] = []

    async def named() -> bool:
        polled = await source.poll([bad, good], 0.2)
        first.extend(values([chunk for chunk in polled.chunks if chunk.source == bad]))
        other.extend(values([chunk for chunk in polled.chunks if chunk.source == good]))
        return str(bad) in (source.health() or "") and bool(other)

    await until(named)
    sentence = source.health() or ""
    hits_before = damage.hits
    for _ in range(5):
        await source.poll([bad, good], 0.1)
    hits_after = damage.hits
    damage.on = False
    rest: list[bytes | None] = []

    async def mended() -> bool:
        rest.extend(values((await source.poll([bad], 0.5)).chunks))
        return len(first) + len(rest) == 4

    await until(mended)

    assert other == [b"good"]
    assert "cannot be read at offset" in sentence
    assert hits_after - hits_before <= 2  # it rests a second, and longer each time
    assert first + rest == [b"fine-0", b"fine-1", b"damaged-2", b"damaged-3"]
    assert source.health() is None


async def test_a_dead_fetch_task_is_noticed_and_the_consumer_replaced(world: MockWorld) -> None:
    source, owner, partition = await one_partition(world, 3, restart_after_seconds=0.0)
    await read(source, partition, 3)
    consumer = source._consumer
    assert consumer is not None
    consumer.fetcher._fetch_task.cancel()
    await asyncio.sleep(0)
    problem = source.health()

    await owner.until(lambda: len(owner.history) == 3, "assigned again")
    again = await read(source, partition, 3)

    assert problem == "the consumer's fetching has ended unexpectedly"
    assert [word for word, _ in owner.history] == ["assigned", "revoked", "assigned"]
    assert values(again) == [b"0", b"1", b"2"]
    assert source.health() is None


@BATCHES
async def test_many_partitions_share_the_prefetch_budget(world: MockWorld) -> None:
    topic = world.name()
    await world.create_topic(topic, 16)
    source = await world.source(world.name(), world.name(), prefetch_budget_bytes=4 << 20, poll_budget_bytes=1 << 20)
    owner = Owner(source)
    await source.start([topic], owner)
    await owner.until(lambda: len(owner.owned) == 16, "all of them")

    assert source.prefetch_bytes() == (4 << 20) + (1 << 20)


@BATCHES
async def test_two_sources_of_one_process_do_not_claim_each_others_partitions(world: MockWorld) -> None:
    first, _, partition = await one_partition(world, 0)
    second, _, other = await one_partition(world, 0)
    assert first._consumer is not None
    assert second._consumer is not None
    mine, others = first._consumer.assignor, second._consumer.assignor

    assert [TopicPartition(*claimed) for claimed in mine.member_assignment] == [partition]
    assert [TopicPartition(*claimed) for claimed in others.member_assignment] == [other]
    assert mine.generation == first._token[0] >= 0


@pytest.mark.parametrize("mode", ["auto", "batches"])
async def test_an_unknown_aiokafka_is_read_by_getmany_unless_batches_were_demanded(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_batches, "self_test", lambda: "everything is different")
    async with MockCluster() as cluster:
        world = MockWorld(cluster, mode)
        if mode == "batches":
            with pytest.raises(Invalid, match="everything is different"):
                await one_partition(world, 0)
        else:
            source, _, _ = await one_partition(world, 0)
            assert isinstance(source._reader, GetmanyReader)
        await world.close()


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(answer: Answer) -> AsyncIterator[str]:
    """A server that treats every connection with `answer`; its address."""
    handlers: set[asyncio.Task[Any]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        try:
            await answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has hung up
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await asyncio.gather(*handlers)


def settings_for(address: str, **changes: Any) -> KafkaSettings:
    return replace(KafkaSettings(bootstrap_servers=address, start_timeout_seconds=0.4), **changes)


async def start(settings: KafkaSettings) -> None:
    source = KafkaSource(settings, InlineWorkers())
    try:
        await source.start(["ticks"], Owner(source))
    finally:
        await source.stop()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As a TLS listener does to one who speaks plainly."""


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_no_broker_at_the_address_is_unavailable_and_names_it() -> None:
    async with listening(hang_up) as address:
        pass

    with pytest.raises(Unavailable) as caught:
        await start(settings_for(address))

    assert address in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("answer", [hang_up, say_nothing])
async def test_a_server_that_is_no_kafka_is_given_up_in_time(answer: Answer) -> None:
    async with listening(answer) as address:
        with pytest.raises(Unavailable, match="no Kafka broker answers") as caught:
            await start(settings_for(address))

    assert "security_protocol" in caught.value.hint


async def test_an_address_that_is_none_is_invalid() -> None:
    with pytest.raises(Invalid, match="is not host:port"):
        await start(KafkaSettings(bootstrap_servers="broker:kafka", start_timeout_seconds=1.0))


async def refuse_credentials(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As much of a broker as is needed to say no: ApiVersions, SaslHandshake, SaslAuthenticate."""
    while True:
        (length,) = struct.unpack(">i", await reader.readexactly(4))
        request = await reader.readexactly(length)
        key, _, correlation = struct.unpack_from(">hhi", request)
        if key == 18:
            supported = [(3, 0, 5), (17, 0, 1), (18, 0, 0), (36, 0, 0)]
            body = struct.pack(">hi", 0, len(supported)) + b"".join(struct.pack(">hhh", *one) for one in supported)
        elif key == 17:
            body = struct.pack(">hi", 0, 1) + struct.pack(">h", 5) + b"PLAIN"
        else:
            reason = b"Authentication failed"
            body = struct.pack(">hh", 58, len(reason)) + reason + struct.pack(">i", 0)
        answer = struct.pack(">i", correlation) + body
        writer.write(struct.pack(">i", len(answer)) + answer)
        await writer.drain()


async def test_refused_credentials_are_denied_at_once_without_showing_them() -> None:
    async with listening(refuse_credentials) as address:
        settings = settings_for(
            address,
            security_protocol="SASL_PLAINTEXT",
            sasl_username="quant",
            sasl_password="hunter2",
            start_timeout_seconds=20.0,
        )
        with pytest.raises(Denied) as caught:
            await start(settings)

    assert "hunter2" not in f"{caught.value} {caught.value.hint} {caught.value.__cause__!r}"
    assert "sasl_password" in caught.value.hint


async def test_a_certificate_file_that_is_not_there_is_invalid() -> None:
    with pytest.raises(Invalid, match="TLS files"):
        await start(KafkaSettings(bootstrap_servers="127.0.0.1:1", security_protocol="SSL", ssl_cafile="/nowhere/ca.pem"))


async def test_workers_that_are_slow_do_not_hold_a_poll_beyond_its_time() -> None:
    class SlowWorkers(ThreadWorkers):
        gate: asyncio.Event

        async def run(self, work: Any, *args: Any, **kwargs: Any) -> Any:
            await self.gate.wait()
            return await super().run(work, *args, **kwargs)

    async with MockCluster() as cluster:
        world = MockWorld(cluster, "batches")
        world.workers.close()
        world.workers = workers = SlowWorkers(1)
        workers.gate = asyncio.Event()
        source, _, partition = await one_partition(world, 3)
        nothing = await source.poll([partition], 0.3)
        workers.gate.set()
        chunks = await read(source, partition, 3)
        await world.close()

    assert nothing == Polled()
    assert values(chunks) == [b"0", b"1", b"2"]
