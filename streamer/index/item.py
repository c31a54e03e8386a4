"""An item of the index: an event as DynamoDB keeps it, and back. Pure.

One item for each (timestamp, ticker): a later event of both takes the place of the earlier one. The whole event is in `data`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from streamer.events.event import NO_TICKER, REGIME, STRESS, TICKER, TIMESTAMP, VELOCITY, Event, stamp

DATA = "data"
ITEM_BYTES_MAX = 400 << 10
TICKER_BYTES_MAX = 1024
_LEAST, _MOST = 1e-130, 9.99e125

Attributes = Mapping[str, Mapping[str, Any]]
"""As DynamoDB's answers have them: `{"ticker": {"S": "BTCUSDT"}, "stress": {"N": "0.4"}}`."""


@dataclass(frozen=True, slots=True)
class Item:
    """`attributes` of one event, ready to be sent. key: (timestamp, ticker)."""

    key: tuple[str, str]
    attributes: Attributes

    @property
    def size_bytes(self) -> int:
        """As DynamoDB counts it: names and values; of a number never less."""
        return sum(
            len(name.encode()) + sum(len(text.encode()) for text in typed.values()) for name, typed in self.attributes.items()
        )

    @property
    def fits(self) -> bool:
        """Whether DynamoDB takes it."""
        return self.size_bytes <= ITEM_BYTES_MAX and len(self.key[1].encode()) <= TICKER_BYTES_MAX


def item_of(event: Event) -> Item:
    """The item of an event. Numbers that DynamoDB cannot hold are left out; `data` has them."""
    key = stamp(event.at), event.ticker or NO_TICKER
    found: dict[str, dict[str, str]] = {TIMESTAMP: {"S": key[0]}, TICKER: {"S": key[1]}}
    for name in (STRESS, VELOCITY):
        value = event.body.get(name)
        if isinstance(value, float) and (value == 0 or _LEAST <= abs(value) <= _MOST):
            found[name] = {"N": repr(value)}
    regime = event.body.get(REGIME)
    if isinstance(regime, str):
        found[REGIME] = {"S": regime}
    return Item(key, found | {DATA: {"S": orjson.dumps(event.body).decode()}})


def body_of(attributes: Attributes) -> dict[str, Any]:
    """The event's fields: what `data` says, or the attributes themselves, where somebody else wrote the item without any."""
    try:
        found = orjson.loads(attributes[DATA]["S"])
    except (KeyError, TypeError, ValueError):
        found = None
    if isinstance(found, dict):
        return found
    body: dict[str, Any] = {}
    for name in (TIMESTAMP, TICKER, STRESS, REGIME, VELOCITY):
        typed = attributes.get(name, {})
        if "S" in typed:
            body[name] = typed["S"]
        elif "N" in typed:
            body[name] = float(typed["N"])
    return body
