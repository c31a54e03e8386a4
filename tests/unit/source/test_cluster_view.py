"""Partitions that are assigned together ask together, and none suffers for another."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import errors as kafka_errors

from streamer.clock import SystemClock
from streamer.records import TopicPartition
from streamer.source.client import client_options
from streamer.source.cluster_view import ClusterView
from streamer.source.contract import Bounds
from streamer.source.settings import KafkaSettings

SETTINGS = KafkaSettings(bootstrap_servers="127.0.0.1:1")


class Asked(ClusterView):
    """A view whose cluster is made up here: partition n of any topic has the offsets from n to 2n, and not all have leaders."""

    def __init__(self, *without_leader: TopicPartition) -> None:
        super().__init__(SETTINGS, SystemClock(), client_options(SETTINGS))
        self.questions: list[set[TopicPartition]] = []
        self._without_leader = set(without_leader)

    async def _bounds_once(self, wanted: set[TopicPartition]) -> dict[TopicPartition, Bounds]:
        self.questions.append(set(wanted))
        await asyncio.sleep(0)
        if missing := wanted & self._without_leader:
            self._without_leader -= missing if len(wanted) == 1 else set()
            raise kafka_errors.LeaderNotAvailableError(str(missing))
        return {each: Bounds(each.partition, 2 * each.partition) for each in wanted if each.partition < 900}


def ticks(number: int) -> TopicPartition:
    return TopicPartition("ticks", number)


async def test_two_hundred_partitions_assigned_together_ask_one_question() -> None:
    view = Asked()

    answers = await asyncio.gather(*(view.bounds([ticks(number)]) for number in range(200)))

    assert answers == [{ticks(number): Bounds(number, 2 * number)} for number in range(200)]
    assert view.questions == [{ticks(number) for number in range(200)}]


async def test_a_question_that_is_under_way_answers_nobody_who_came_later() -> None:
    view = Asked()
    first = asyncio.create_task(view.bounds([ticks(1)]))
    while not view.questions:
        await asyncio.sleep(0)

    assert await view.bounds([ticks(2)]) == {ticks(2): Bounds(2, 4)}
    assert await first == {ticks(1): Bounds(1, 2)}
    assert view.questions == [{ticks(1)}, {ticks(2)}]


async def test_a_partition_without_a_leader_holds_up_no_other() -> None:
    view = Asked(ticks(2))

    found = await asyncio.gather(*(view.bounds([ticks(number)]) for number in (1, 2, 3)))

    assert found == [{ticks(number): Bounds(number, 2 * number)} for number in (1, 2, 3)]
    assert {ticks(1)} in view.questions


async def test_one_who_asks_no_longer_takes_nothing_from_the_others() -> None:
    view = Asked()
    leaving, staying = (asyncio.create_task(view.bounds([ticks(number)])) for number in (1, 2))
    await asyncio.sleep(0)
    leaving.cancel()

    assert await staying == {ticks(2): Bounds(2, 4)}
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_partitions_that_do_not_exist_and_those_of_several_topics_have_their_answers() -> None:
    view, signals = Asked(), TopicPartition("signals", 3)

    assert await view.bounds([ticks(901)]) == {}
    assert await view.bounds([ticks(5), signals]) == {ticks(5): Bounds(5, 10), signals: Bounds(3, 6)}
    assert await view.bounds([]) == {}
