"""The records that are measured with: made ticks that are the same on every machine, or the real ones of a folder."""

from __future__ import annotations

import gzip
import itertools
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

BEGIN = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
"""Two million ticks, a millisecond apart, end before the same midnight."""

_PRICES = 200_003
"""So many that no compression finds the same run of prices twice in one column."""


def made_ticks(count: int, *, symbols: int = 50, first: int = 0) -> Iterator[bytes]:
    """JSON ticks of about 190 bytes: numbers as exchanges send them (prices as text, an identifier as text), Zipf-like symbols.

    The same numbers always give the same ticks.
    """
    chance = random.Random(first)
    names = [f"SYM{number:04d}-USDT" for number in range(symbols)]
    weights = list(itertools.accumulate(1 / (rank + 5) for rank in range(symbols)))
    # Drawn once and used again: making them would take longer than sending them.
    drawn = chance.choices(range(symbols), cum_weights=weights, k=min(count, 100_003))
    prices = [f"{100 + chance.gauss(0, 3):.8f}" for _ in range(_PRICES)]
    sizes = [f"{chance.expovariate(2):.8f}" for _ in range(_PRICES - 1)]
    for number in range(first, first + count):
        time = BEGIN + timedelta(milliseconds=number, microseconds=number * 7919 % 1000)
        yield (
            f'{{"symbol":"{names[drawn[number % len(drawn)]]}","price":"{prices[number % _PRICES]}",'
            f'"quantity":"{sizes[number % (_PRICES - 1)]}","side":"{"buy" if number * 7 % 5 < 3 else "sell"}",'
            f'"exchange":"BINANCE_SPOT","trade_id":"BINSPOT-{4_000_000_000 + number:014}",'
            f'"timestamp":"{time.isoformat(timespec="microseconds")[:-6]}Z"}}'
        ).encode()


def real_ticks(folder: Path, count: int) -> Iterator[bytes]:
    """The lines of all `ticks_*.ndjson.gz` of a folder, one file after the other, again and again. Each line is one message.

    Raises `SystemExit` where there are none.
    """
    files = sorted(folder.glob("ticks_*.ndjson.gz"))
    lines = [line for file in files for line in gzip.decompress(file.read_bytes()).splitlines()]
    if not lines:
        raise SystemExit(f"{folder} has no ticks_*.ndjson.gz")
    yield from itertools.islice(itertools.cycle(lines), count)
