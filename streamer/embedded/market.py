"""A plausible market: correlated prices under changing regimes, told as three exchanges would tell it.

Pure: seed, start and rate decide every byte. A few messages are wrong on purpose, so that dead letters can be seen.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from streamer.records import DeadLetterReason

TICKS, SIGNALS, FEATURES = "ticks", "signals", "features"

TOPICS: dict[str, int] = {TICKS: 4, SIGNALS: 1, FEATURES: 2}
"""The topics of the market, with the partitions that suit them."""

STREAMS_TOML = """\
[streams.ticks]
rules = ["price > 0"]

[streams.ticks.columns]
is_maker = "bool"

[streams.ticks.aliases]
price = ["p"]
quantity = ["q"]
trade_id = ["t"]
is_maker = ["m"]
"""
"""What a configuration says so that streamer understands all three exchanges."""

BAD_EVERY = 199
"""One tick of so many is wrong. Prime, so that the wrong ones come from every exchange."""

_FEATURES_EVERY_SECONDS = 0.5
_SIGNALS_EVERY_SECONDS = 1.0
_MINUTE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Message:
    """One record to be produced. `symbol` is what its row will say; `refusal` is set where it must become a dead letter."""

    topic: str
    key: bytes | None
    value: bytes | None
    symbol: str
    refusal: DeadLetterReason | None = None


@dataclass(frozen=True, slots=True)
class _Regime:
    """A state of the market: how much prices move, where to (per minute), and what the signal calls it."""

    name: str
    volatility: float
    drift: float


_REGIMES = (_Regime("calm", 0.0006, 0.0), _Regime("trending", 0.0012, 0.004), _Regime("turbulent", 0.0040, -0.002))


@dataclass(slots=True)
class _Instrument:
    """A symbol on one exchange. `beta`: how much of the common shock it takes."""

    symbol: str
    exchange: str
    price: float
    decimals: int
    beta: float
    weight: float
    last_id: int
    dialect: Callable[[_Instrument, _Trade], dict[str, Any]]
    before: float = 0.0


@dataclass(frozen=True, slots=True)
class _Trade:
    price: float
    quantity: float
    is_maker: bool
    time: datetime


def _as_binance(instrument: _Instrument, trade: _Trade) -> dict[str, Any]:
    return {
        "e": "trade",
        "s": instrument.symbol,
        "t": instrument.last_id,
        "p": f"{trade.price:.{instrument.decimals}f}",
        "q": f"{trade.quantity:.5f}",
        "T": round(trade.time.timestamp() * 1000),
        "m": trade.is_maker,
        "exchange": instrument.exchange,
    }


def _as_coinbase(instrument: _Instrument, trade: _Trade) -> dict[str, Any]:
    return {
        "symbol": instrument.symbol,
        "trade_id": str(instrument.last_id),
        "price": f"{trade.price:.{instrument.decimals}f}",
        "size": f"{trade.quantity:.8f}",
        "side": "sell" if trade.is_maker else "buy",
        "time": trade.time.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "exchange": instrument.exchange,
    }


def _as_kraken(instrument: _Instrument, trade: _Trade) -> dict[str, Any]:
    return {
        "symbol": instrument.symbol,
        "trade_id": instrument.last_id,
        "price": round(trade.price, instrument.decimals),
        "qty": round(trade.quantity, 8),
        "side": "sell" if trade.is_maker else "buy",
        "ord_type": "limit" if trade.is_maker else "market",
        "timestamp": round(trade.time.timestamp(), 6),
        "exchange": instrument.exchange,
    }


def _instruments() -> list[_Instrument]:
    return [
        _Instrument("BTCUSDT", "binance", 68_120.0, 2, 1.0, 5.0, 3_801_000_000, _as_binance),
        _Instrument("ETHUSDT", "binance", 3_512.0, 2, 1.2, 4.0, 1_602_000_000, _as_binance),
        _Instrument("SOLUSDT", "binance", 171.4, 3, 1.7, 2.0, 720_000_000, _as_binance),
        _Instrument("DOGE-USD", "coinbase", 0.2412, 5, 1.9, 1.5, 81_000_000, _as_coinbase),
        _Instrument("BTC/USDT", "kraken", 68_118.0, 1, 1.0, 2.5, 71_000_000, _as_kraken),
        _Instrument("ETH/USDT", "kraken", 3_513.1, 2, 1.2, 2.0, 59_000_000, _as_kraken),
    ]


class Market:
    """An endless market from `start` on, with `ticks_per_second` ticks, and features and signals beside them."""

    def __init__(self, seed: int, start: datetime, ticks_per_second: float) -> None:
        self._chance = random.Random(seed)
        self._start = start.astimezone(UTC)
        self._interval_seconds = 1 / ticks_per_second
        self._instruments = _instruments()
        self._weights = [instrument.weight for instrument in self._instruments]
        self._regime = _REGIMES[0]

    @property
    def symbols(self) -> tuple[str, ...]:
        """All symbols that are traded."""
        return tuple(instrument.symbol for instrument in self._instruments)

    def messages(self) -> Iterator[tuple[float, Message]]:
        """Every message with the seconds since the start at which it is due, ascending. Endless."""
        features_at = _FEATURES_EVERY_SECONDS
        signals_at = _SIGNALS_EVERY_SECONDS
        number, at = 0, 0.0
        while True:
            number += 1
            at = number * self._interval_seconds
            if at >= features_at:
                features_at += _FEATURES_EVERY_SECONDS
                yield from ((at, self._feature(instrument, at)) for instrument in self._instruments)
            if at >= signals_at:
                signals_at += _SIGNALS_EVERY_SECONDS
                self._change_regime()
                yield from ((at, self._signal(instrument, at)) for instrument in self._instruments)
            self._move()
            instrument = self._chance.choices(self._instruments, self._weights)[0]
            message = self._tick(instrument, at)
            yield at, self._spoil(message, number // BAD_EVERY) if number % BAD_EVERY == 0 else message

    def _move(self) -> None:
        minutes = self._interval_seconds / _MINUTE_SECONDS
        scale = self._regime.volatility * math.sqrt(minutes) * 4
        common = self._chance.gauss(0.0, scale)
        for instrument in self._instruments:
            own = self._chance.gauss(0.0, scale * 0.35)
            instrument.price *= math.exp(self._regime.drift * minutes + instrument.beta * common + own)

    def _change_regime(self) -> None:
        if self._chance.random() < 0.3:
            self._regime = self._chance.choice(_REGIMES)

    def _tick(self, instrument: _Instrument, at: float) -> Message:
        chance = self._chance
        instrument.last_id += 1
        # A trade happens at the bid or at the ask, half a basis point from the middle.
        price = instrument.price * (1 + chance.choice((-1, 1)) * 0.00005)
        quantity = max(1e-5, chance.lognormvariate(0.0, 1.2) * 500 / instrument.price)
        trade = _Trade(price, quantity, chance.random() < 0.5, self._time(at))
        body = instrument.dialect(instrument, trade)
        return Message(TICKS, instrument.symbol.encode(), _encode(body), instrument.symbol)

    def _feature(self, instrument: _Instrument, at: float) -> Message:
        previous = instrument.before or instrument.price
        instrument.before = instrument.price
        body = {
            "symbol": instrument.symbol,
            "timestamp": self._time(at).isoformat(),
            "features": {
                "log_return": math.log(instrument.price / previous),
                "realised_volatility": self._regime.volatility * self._chance.uniform(0.8, 1.25),
                "order_imbalance": self._chance.uniform(-1, 1),
                "spread_bps": 1.0 + self._chance.expovariate(4),
            },
        }
        return Message(FEATURES, instrument.symbol.encode(), _encode(body), instrument.symbol)

    def _signal(self, instrument: _Instrument, at: float) -> Message:
        number = _REGIMES.index(self._regime)
        body = {
            "symbol": instrument.symbol,
            "timestamp": round(self._time(at).timestamp() * 1000),
            "regime": number,
            "regime_name": self._regime.name,
            "stress": min(1.0, 0.15 + 0.35 * number + self._chance.uniform(-0.1, 0.1)),
            "velocity": self._chance.gauss(0, 0.2),
            "confidence": self._chance.uniform(0.6, 0.99),
            "anomaly_score": self._chance.betavariate(1.2, 9),
        }
        return Message(SIGNALS, instrument.symbol.encode(), _encode(body), instrument.symbol)

    def _spoil(self, message: Message, number: int) -> Message:
        """One of the ways in which real feeds go wrong, each in its turn."""
        body = json.loads(message.value or b"{}")
        price = "p" if "p" in body else "price"
        kinds: tuple[tuple[DeadLetterReason, Callable[[], bytes | None]], ...] = (
            (DeadLetterReason.INVALID_JSON, lambda: (message.value or b"")[:-7]),
            (DeadLetterReason.MISSING_FIELD, lambda: _encode({name: value for name, value in body.items() if name != price})),
            (DeadLetterReason.WRONG_TYPE, lambda: _encode({**body, price: "n/a"})),
            (DeadLetterReason.RULE, lambda: _encode({**body, price: "-1.00"})),
            (DeadLetterReason.TOMBSTONE, lambda: None),
        )
        reason, make = kinds[(number - 1) % len(kinds)]
        return Message(message.topic, message.key, make(), message.symbol, reason)

    def _time(self, at: float) -> datetime:
        return self._start + timedelta(seconds=at)


def _encode(body: dict[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
