"""The length of a bar, as text and as seconds. Pure, and light: the configuration reads it too."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from streamer.errors import Invalid

_TEXT = re.compile(r"(\d{1,4})(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """The length of a bar. It divides a day, so that no bar has ticks of two days."""

    seconds: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """`1m`, `15s`, `4h`, `1d`. Raises `Invalid` for anything that is not so written or does not divide a day."""
        match = _TEXT.fullmatch(text)
        seconds = int(match[1]) * _SECONDS[match[2]] if match else 0
        if not seconds or DAY_SECONDS % seconds:
            raise Invalid(f"{text!r} is not a bar's interval", hint="write 1m, 5m, 1h, 1d or another that divides a day")
        return cls(seconds)

    def __str__(self) -> str:
        for unit in ("d", "h", "m"):
            if self.seconds % _SECONDS[unit] == 0:
                return f"{self.seconds // _SECONDS[unit]}{unit}"
        return f"{self.seconds}s"
