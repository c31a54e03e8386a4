"""What the watchdog finds, and what it takes for normal."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import SimpleNamespace

from streamer.errors import Unavailable
from streamer.records import TopicPartition
from streamer.source.contract import Bounds
from streamer.source.settings import KafkaSettings
from streamer.source.watchdog import Watchdog
from streamer.testing.manual_clock import ManualClock

A, B = TopicPartition("ticks", 0), TopicPartition("ticks", 1)
SETTINGS = KafkaSettings(bootstrap_servers="broker:9092", unhealthy_after_seconds=30, rebalance_timeout_seconds=120)


class FakeConsumer:
    """A consumer whose parts a test sets."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.dead: str | None = None
        self.rejoin_is_due = False
        self.client = SimpleNamespace(answered_at=clock.monotonic())

    def dead_part(self) -> str | None:
        return self.dead

    async def pass_time(self, seconds: float, *, silent: bool = False) -> None:
        await self.clock.advance(seconds)
        if not silent:
            self.client.answered_at = self.clock.monotonic()


class FakeView:
    def __init__(self, ends: Mapping[TopicPartition, int] | None) -> None:
        self.ends = ends
        self.asked: list[TopicPartition] = []

    async def bounds(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, Bounds]:
        self.asked += partitions
        if self.ends is None:
            raise Unavailable("down")
        return {partition: Bounds(0, self.ends[partition]) for partition in partitions if partition in self.ends}


def make() -> tuple[Watchdog, FakeConsumer]:
    clock = ManualClock()
    consumer = FakeConsumer(clock)
    return Watchdog(consumer, SETTINGS, clock), consumer  # type: ignore[arg-type]


async def test_a_working_consumer_has_no_problem() -> None:
    watchdog, consumer = make()
    await consumer.pass_time(3600)

    assert watchdog.problem() is None


async def test_a_dead_part_is_named_and_a_new_consumer_helps() -> None:
    watchdog, consumer = make()
    consumer.dead = "fetching"
    problem = watchdog.problem()

    assert problem is not None
    assert "fetching has ended" in problem.sentence
    assert problem.new_consumer_helps


async def test_silent_brokers_are_no_reason_for_a_new_consumer() -> None:
    watchdog, consumer = make()
    await consumer.pass_time(29, silent=True)
    early = watchdog.problem()
    await consumer.pass_time(2, silent=True)
    late = watchdog.problem()

    assert early is None
    assert late is not None
    assert "broker:9092" in late.sentence
    assert not late.new_consumer_helps


async def test_a_rebalance_may_take_its_time_out_and_no_more() -> None:
    watchdog, consumer = make()
    consumer.rejoin_is_due = True
    at_once = watchdog.problem()
    await consumer.pass_time(149)
    within = watchdog.problem()
    await consumer.pass_time(2)
    beyond = watchdog.problem()
    consumer.rejoin_is_due = False

    assert at_once is None
    assert within is None
    assert beyond is not None
    assert beyond.new_consumer_helps
    assert watchdog.problem() is None


async def test_a_partition_that_stands_still_while_records_follow_is_stalled_until_it_moves() -> None:
    watchdog, consumer = make()
    for _ in range(7):
        watchdog.polled([A, B], [B])
        await consumer.pass_time(10)
    view = FakeView({A: 50, B: 50})
    await watchdog.look_for_stalls(view, {A: 7, B: 9})  # type: ignore[arg-type]
    stalled = watchdog.problem()
    watchdog.polled([A, B], [A])

    assert view.asked == [A]
    assert stalled is not None
    assert "ticks-0 has stood at offset 7" in stalled.sentence
    assert watchdog.problem() is None


async def test_a_partition_at_its_end_or_not_asked_for_is_not_stalled() -> None:
    watchdog, consumer = make()
    for _ in range(7):
        watchdog.polled([A, B], [])
        await consumer.pass_time(10)
    watchdog.polled([A], [])  # the memory budget did not want B for a moment
    watchdog.polled([A, B], [])
    await watchdog.look_for_stalls(FakeView({A: 7, B: 50}), {A: 7, B: 9})  # type: ignore[arg-type]

    assert watchdog.problem() is None


async def test_no_answer_about_the_ends_is_not_called_a_stall() -> None:
    watchdog, consumer = make()
    for _ in range(7):
        watchdog.polled([A], [])
        await consumer.pass_time(10)
    await watchdog.look_for_stalls(FakeView(None), {A: 7})  # type: ignore[arg-type]

    assert watchdog.problem() is None
