"""A market-pulse event: what somebody gave, what a document holds, or a row of a stream, as one value. Pure.

Two events with the same content are the same event, wherever they came from.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from numbers import Real
from typing import Any

import orjson

from streamer.documents import check_writable, parsed
from streamer.errors import Invalid
from streamer.lake.instant import parse_instant
from streamer.layout import EXTRA

TIMESTAMP, TICKER, STRESS, REGIME, VELOCITY = "timestamp", "ticker", "stress", "regime", "velocity"
SYMBOL = "symbol"
NO_TICKER = "~null"
"""Stands for the ticker of an event that has none, or an empty one."""

_OF_MANY_TYPES = (TIMESTAMP, STRESS, VELOCITY)
"""What is read here, and is more than orjson knows: decimals, times and numbers of pandas and numpy."""

_JSON = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_UTC_Z


@dataclass(frozen=True, slots=True)
class Event:
    """at: UTC. ticker: None where it has none. body: what JSON makes of the event, its known fields first."""

    at: datetime
    ticker: str | None
    body: Mapping[str, Any]

    @property
    def content(self) -> bytes:
        """Equal for equal events, whatever the order of their fields."""
        return orjson.dumps(self.body, option=orjson.OPT_SORT_KEYS)

    @property
    def order(self) -> tuple[datetime, str, bytes]:
        """What events are sorted by: time, ticker, and content between those that share both."""
        return self.at, self.ticker or "", self.content


def stamp(at: datetime) -> str:
    """An instant as events write it, always of the same length: `2024-01-15T10:00:00.000000Z`."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def event_given(given: Mapping[str, Any], number: int | None = None) -> Event:
    """The event that somebody stores. number: which of several it is, from 0, for the error.

    `timestamp`: ISO text or a datetime, without zone UTC; `ticker`, or `symbol`: text; `stress`, in 0..1, and `velocity`:
    numbers; `regime`: text. Only the first two must be there. Whatever else JSON can hold is kept. Raises `Invalid`, naming
    the field.
    """
    if not isinstance(given, Mapping):
        raise _wrong(number, None, f"is a {type(given).__name__}, not a mapping of fields")
    at = _instant(given.get(TIMESTAMP), number)
    try:
        others = {name: value for name, value in given.items() if name not in _OF_MANY_TYPES}
        fields: dict[str, Any] = orjson.loads(orjson.dumps(others, option=_JSON))
        check_writable(fields)
    except (TypeError, ValueError) as error:
        raise _wrong(number, None, f"cannot be written as JSON: {error}") from None
    known = {
        TICKER: _ticker(fields, number),
        STRESS: _number(given.get(STRESS), STRESS, number, within=(0.0, 1.0)),
        REGIME: _regime(fields.get(REGIME), number),
        VELOCITY: _number(given.get(VELOCITY), VELOCITY, number),
    }
    return _event(at, known, fields)


def event_found(fields: Mapping[str, Any], at: datetime) -> Event:
    """The event in a document, whoever wrote it: what it calls its fields is put right, and nothing is refused. Raises
    `ValueError` for fields that could not become JSON again."""
    check_writable(fields)
    ticker = fields.get(TICKER) if fields.get(TICKER) is not None else fields.get(SYMBOL)
    known = {name: _as_float(fields.get(name)) for name in (STRESS, VELOCITY)}
    return _event(at, {TICKER: None if ticker is None else str(ticker), REGIME: fields.get(REGIME), **known}, fields)


def event_of_row(row: Mapping[str, Any]) -> Event:
    """The event that a row of a stream is: its columns and the fields of `extra`, without those of streamer's own."""
    fields = {name: _plain(value) for name, value in row.items() if name[:1] != "_" and name != EXTRA}
    return event_found(
        {**_extra(row.get(EXTRA)), **{name: value for name, value in fields.items() if value is not None}}, row[TIMESTAMP]
    )


def _extra(text: str | None) -> dict[str, Any]:
    """The fields in `extra`; as one text where they could not become JSON again."""
    if not text:
        return {}
    try:
        found = parsed(text.encode())
        check_writable(found)
    except ValueError:
        return {EXTRA: text}
    return found


def _event(at: datetime, known: Mapping[str, Any], fields: Mapping[str, Any]) -> Event:
    body: dict[str, Any] = {TIMESTAMP: stamp(at)}
    for name in (TICKER, STRESS, REGIME, VELOCITY):
        if known[name] is not None:
            body[name] = known[name]
    body |= {name: value for name, value in fields.items() if name not in (TIMESTAMP, SYMBOL, *known)}
    return Event(at, known[TICKER], body)


def _instant(value: Any, number: int | None) -> datetime:
    if not isinstance(value, str | datetime):
        said = "is missing" if value is None else f"is a {type(value).__name__}, not ISO text or a datetime"
        raise _wrong(number, TIMESTAMP, said)
    try:
        moment = parse_instant(value.strip()) if isinstance(value, str) else value
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        moment = moment.astimezone(UTC)
    except (Invalid, OverflowError, ValueError):
        raise _wrong(number, TIMESTAMP, f"is {str(value)[:60]!r}, which is no time") from None
    # What a subclass such as pandas' knows beyond microseconds has no place in a key.
    return datetime.combine(moment.date(), moment.time(), UTC)


def _ticker(fields: Mapping[str, Any], number: int | None) -> str:
    said = {name: fields[name] for name in (TICKER, SYMBOL) if fields.get(name) is not None}
    if not said:
        raise _wrong(number, TICKER, "is missing")
    for name, value in said.items():
        if not isinstance(value, str) or not value:
            raise _wrong(number, name, f"is {str(value)[:60]!r}, not text")
    if len(set(said.values())) > 1:
        raise _wrong(number, TICKER, f"is {said[TICKER]!r}, and symbol {said[SYMBOL]!r}")
    return str(next(iter(said.values())))


def _number(value: Any, name: str, number: int | None, within: tuple[float, float] | None = None) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Real | Decimal):
        raise _wrong(number, name, f"is {str(value)[:60]!r}, not a number")
    try:
        found = float(value)
    except (OverflowError, ValueError):
        raise _wrong(number, name, "is no number that a float64 holds") from None
    if within is not None and not within[0] <= found <= within[1]:
        raise _wrong(number, name, f"is {found:g}, outside of {within[0]:g}..{within[1]:g}")
    return found if math.isfinite(found) else None


def _regime(value: Any, number: int | None) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise _wrong(number, REGIME, f"is {str(value)[:60]!r}, not text")


def _as_float(value: Any) -> Any:
    """A number as JSON has it: NaN and the infinities have no words there."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return float(value) if math.isfinite(value) else None


def _plain(value: Any) -> Any:
    """A value of a row as JSON has it."""
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal | timedelta):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return _as_float(value) if isinstance(value, float) else value


def _wrong(number: int | None, name: str | None, what: str) -> Invalid:
    about = "the event" if number is None else f"event {number}"
    hint = 'write {"timestamp": "2024-01-15T10:00:00Z", "ticker": "BTCUSDT", "stress": 0.4, "regime": "calm", "velocity": 1.5}'
    return Invalid(f"{about}: {name} {what}" if name is not None else f"{about} {what}", hint=hint)
