"""Alerts on their way: handed over for nothing, sent in order, kept while the topic is away, dropped beyond that."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from streamer.alerts import GOODBYE_SECONDS, Alert, AlertQueue, Sender
from streamer.errors import Unavailable
from streamer.metrics import Metrics
from streamer.testing.manual_clock import VirtualClock, run_virtual


class Topic:
    """A topic that may be away, or break in the middle of a send."""

    def __init__(self) -> None:
        self.there = True
        self.fails = 0
        self.connections = 0
        self.messages: list[tuple[bytes, bytes]] = []

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Sender]:
        if not self.there:
            raise Unavailable("no broker answers")
        self.connections += 1
        yield self

    async def send(self, messages: Sequence[tuple[bytes, bytes]]) -> None:
        if self.fails or not self.there:
            self.fails = max(0, self.fails - 1)
            self.messages += messages[:1]
            raise Unavailable("the connection broke")
        self.messages += messages

    @property
    def numbers(self) -> list[int]:
        return [json.loads(value)["number"] for _, value in self.messages]


def queue(topic: Topic, clock: VirtualClock, most: int = 1000) -> tuple[AlertQueue, Metrics, asyncio.Task[None]]:
    metrics = Metrics()
    made = AlertQueue(topic.connect, clock=clock, metrics=metrics, host="me", most=most)
    return made, metrics, asyncio.create_task(made.run())


def alert(number: int) -> Alert:
    return Alert("quality_violations", "ticks-0/price", {"number": number, "symbols": ["삼성"], "start": None})


def count(metrics: Metrics, outcome: str) -> float:
    return float(metrics.alerts.labels(outcome)._value.get())


def test_an_alert_is_one_json_document_under_the_key_of_what_it_is_about() -> None:
    async def main(clock: VirtualClock) -> None:
        topic = Topic()
        alerts, _, task = queue(topic, clock)
        alerts.send(alert(1))
        await alerts.close(task)

        [(key, value)] = topic.messages
        assert key == b"ticks-0/price"
        body = json.loads(value)
        assert body.pop("time").endswith("+00:00")
        assert body == {
            "version": 1, "event": "quality_violations", "host": "me", "number": 1, "symbols": ["삼성"], "start": None,
        }  # fmt: skip

    run_virtual(main)


def test_alerts_wait_for_a_topic_that_is_away_and_go_out_in_order_over_one_connection() -> None:
    async def main(clock: VirtualClock) -> None:
        topic = Topic()
        topic.there = False
        alerts, metrics, task = queue(topic, clock)
        for number in range(250):
            alerts.send(alert(number))
        await clock.sleep(300)
        assert topic.messages == []
        topic.there = True
        await clock.sleep(120)
        alerts.send(alert(250))
        await clock.sleep(1)

        assert topic.numbers == list(range(251))
        assert (topic.connections, count(metrics, "sent"), count(metrics, "dropped")) == (1, 251, 0)
        await alerts.close(task)

    run_virtual(main)


def test_a_send_that_breaks_is_repeated_and_loses_none() -> None:
    async def main(clock: VirtualClock) -> None:
        topic = Topic()
        topic.fails = 2
        alerts, _, task = queue(topic, clock)
        for number in range(3):
            alerts.send(alert(number))
        await clock.sleep(60)
        await alerts.close(task)

        assert list(dict.fromkeys(topic.numbers)) == [0, 1, 2]
        assert topic.numbers == [0, 0, 0, 1, 2]

    run_virtual(main)


def test_what_does_not_fit_is_dropped_and_counted_and_never_holds_anybody_up() -> None:
    async def main(clock: VirtualClock) -> None:
        topic = Topic()
        topic.there = False
        alerts, metrics, task = queue(topic, clock, most=10)
        before = clock.monotonic()
        for number in range(25):
            alerts.send(alert(number))
        assert clock.monotonic() == before
        assert count(metrics, "dropped") == 15
        await alerts.close(task)

        assert clock.monotonic() - before <= GOODBYE_SECONDS + 0.1
        assert count(metrics, "dropped") == 25
        assert task.cancelled()

    run_virtual(main)
