"""Sends a market to Kafka at its own pace, and remembers what Kafka acknowledged: what the lake must hold afterwards."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from streamer.clock import Clock
from streamer.embedded.market import Market, Message
from streamer.errors import StreamerError
from streamer.records import TopicPartition
from streamer.source.outgoing import Outgoing
from streamer.source.producer import Producer

PAUSE_SECONDS = 0.4
"""Between two bursts. The mock cluster hands out one burst of a partition per fetch, and a fetch takes a quarter of a second:
with shorter pauses nobody could ever catch up."""

_BURST_MESSAGES = 2000
"""The most in one send: after a long wait the feed catches up in steps, not at once."""


class Fate(NamedTuple):
    """What must become of a record: a row of `symbol`, or a dead letter for `refusal`. One of the two is None."""

    symbol: str | None
    refusal: str | None


@dataclass(slots=True)
class Ledger:
    """What was acknowledged: of each partition the fates of its records, the index being the offset. One pointer a record, so
    that a market may be open for days. Without `keep` only their number."""

    keep: bool = True
    count: int = 0
    fates: dict[TopicPartition, list[Fate]] = field(default_factory=dict)
    _known: dict[Fate, Fate] = field(default_factory=dict, repr=False)

    def add(self, place: TopicPartition, offset: int, message: Message) -> None:
        """Take in one acknowledged message. Raises `StreamerError` where somebody else writes to the topic, too."""
        self.count += 1
        if not self.keep:
            return
        fate = Fate(message.symbol, None) if message.refusal is None else Fate(None, str(message.refusal))
        fates = self.fates.setdefault(place, [])
        if offset != len(fates):
            raise StreamerError("an offset of the demo's own topic was skipped", place=place, offset=offset, next=len(fates))
        fates.append(self._known.setdefault(fate, fate))

    def ends(self) -> dict[TopicPartition, int]:
        """The offset after the last one, of each partition."""
        return {place: len(fates) for place, fates in self.fates.items()}

    def rows(self) -> Counter[tuple[str, str]]:
        """How many records are to become rows, by topic and symbol."""
        counted: Counter[tuple[str, str]] = Counter()
        for place, fates in self.fates.items():
            for fate, number in Counter(fates).items():
                if fate.symbol is not None:
                    counted[place.topic, fate.symbol] += number
        return counted

    def refusals(self) -> Counter[str]:
        """How many are to become dead letters, by reason."""
        return Counter(fate.refusal for fates in self.fates.values() for fate in fates if fate.refusal is not None)


async def feed(producer: Producer, market: Market, ledger: Ledger, clock: Clock, stop: asyncio.Event) -> None:
    """Send each message when it is due, until `stop`. Raises what `Producer.send` does; then some may be in the topic that
    are not in the ledger."""
    began = clock.monotonic()
    messages = market.messages()
    ahead = next(messages)
    while not stop.is_set():
        due: list[Message] = []
        elapsed = clock.monotonic() - began
        while ahead[0] <= elapsed and len(due) < _BURST_MESSAGES:
            due.append(ahead[1])
            ahead = next(messages)
        await _send(producer, due, ledger)
        if len(due) < _BURST_MESSAGES:
            await clock.sleep(PAUSE_SECONDS)


async def _send(producer: Producer, due: list[Message], ledger: Ledger) -> None:
    if not due:
        return
    acknowledged = await producer.send([Outgoing(m.topic, None, m.key, m.value) for m in due])
    for message, place in zip(due, acknowledged, strict=True):
        ledger.add(TopicPartition(place.topic, place.partition), place.offset, message)
