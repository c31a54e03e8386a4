"""What the events of a day come to. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date
from statistics import fmean
from typing import Any

from streamer.events.event import REGIME, STRESS, TICKER, TIMESTAMP, VELOCITY

VERSION = 1


def summary_of(day: date, events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The document of a day: all its events, and those of each ticker. events: by time."""
    found = list(events)
    tickers: dict[str, list[Mapping[str, Any]]] = {}
    for event in found:
        tickers.setdefault(str(event.get(TICKER, "")), []).append(event)
    by_ticker = {ticker: _part(some) for ticker, some in sorted(tickers.items())}
    return {"version": VERSION, "date": day.isoformat(), **_part(found), "tickers": by_ticker}


def _part(events: list[Mapping[str, Any]]) -> dict[str, Any]:
    part: dict[str, Any] = {"events": len(events)}
    if events:
        part |= {"first": events[0][TIMESTAMP], "last": events[-1][TIMESTAMP]}
    for name in (STRESS, VELOCITY):
        values = [value for event in events if isinstance(value := event.get(name), int | float)]
        if values:
            part[name] = {"min": min(values), "mean": fmean(values), "max": max(values)}
    regimes = Counter(event[REGIME] for event in events if isinstance(event.get(REGIME), str))
    return part | ({"regimes": dict(sorted(regimes.items()))} if regimes else {})
