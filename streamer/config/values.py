"""How single values of the configuration are written: sizes, durations, lists, rules, addresses.

Each type accepts what TOML gives and what an environment variable can hold (text). A wrong value raises `ValueError` with
a sentence that says what would be right; `load.py` adds where it stood. Pure.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeGuard, cast

from pydantic import BeforeValidator

Operator = Literal[">", ">=", "<", "<=", "==", "!="]

SIZE_UNITS = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}
DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
SIZE_BYTES_MAX = 2**50
DURATION_SECONDS_MAX = 366 * 86_400.0

_NUMBER_AND_UNIT = re.compile(r"(?P<number>\d{1,16}(?:\.\d{1,9})?)\s*(?P<unit>[A-Za-z]*)", re.ASCII)
_DURATION = re.compile(r"(?:\d{1,16}(?:\.\d{1,9})?\s*(?:ms|[smhd])\s*)+", re.ASCII)
_PLAIN_NUMBER = re.compile(r"\d{1,16}(?:\.\d{1,9})?", re.ASCII)
_RULE = re.compile(
    r"\s*(?P<column>\S+?)\s*(?P<operator>>=|<=|==|!=|>|<)\s*(?P<limit>[-+]?[0-9][0-9.eE+-]*|[-+]?\.[0-9]+)\s*", re.ASCII
)
_HOST_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>\d{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Meaning:
    """How the reference page calls the type of a field, where Python's own name would not help."""

    name: str


def parse_size(value: object) -> int:
    """Bytes, from a whole number or a text such as `64MiB`, `1.5GiB`, `500 kB`. Raises `ValueError`."""
    wanted = 'a size is a number of bytes or a text such as "64MiB", "1GiB" or "500kB"'
    if isinstance(value, str) and (match := _NUMBER_AND_UNIT.fullmatch(value.strip())):
        factor = SIZE_UNITS.get((match["unit"] or "B").upper())
        if factor is None:
            raise ValueError(f"{wanted}; the units are B, kB, MB, GB, TB, KiB, MiB, GiB, TiB")
        size = float(match["number"]) * factor
    elif _is_number(value):
        size = float(min(max(value, -1), 2 * SIZE_BYTES_MAX))
    else:
        raise ValueError(wanted)
    if size != int(size):
        raise ValueError(f"{wanted}; this is not a whole number of bytes")
    if not 1 <= size <= SIZE_BYTES_MAX:
        raise ValueError("a size is at least one byte and at most 1024TiB")
    return int(size)


def parse_duration(value: object) -> float:
    """Seconds, from a number or a text such as `60s`, `250ms`, `5m`, `1h30m`. Raises `ValueError`."""
    wanted = 'a duration is a number of seconds or a text such as "60s", "250ms", "5m" or "1h30m"'
    if isinstance(value, str):
        text = value.strip()
        if _PLAIN_NUMBER.fullmatch(text):
            seconds = float(text)
        elif _DURATION.fullmatch(text):
            seconds = sum(float(m["number"]) * DURATION_UNITS[m["unit"]] for m in _NUMBER_AND_UNIT.finditer(text))
        else:
            raise ValueError(wanted)
    elif _is_number(value):
        seconds = float(min(max(value, -1), 2 * DURATION_SECONDS_MAX))
    else:
        raise ValueError(wanted)
    if not 0 <= seconds <= DURATION_SECONDS_MAX:
        raise ValueError("a duration is not negative and at most 366 days")
    return seconds


def _is_number(value: object) -> TypeGuard[int | float]:
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and math.isfinite(value))


def format_size(size_bytes: int) -> str:
    """The shortest exact text that `parse_size` reads as this, such as `64MiB`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size_bytes % SIZE_UNITS[unit.upper()] == 0:
            return f"{size_bytes // SIZE_UNITS[unit.upper()]}{unit}"
    return f"{size_bytes}B"


def format_duration(seconds: float) -> str:
    """A text that `parse_duration` reads as this, in seconds up to two minutes: `45s`, `0.25s`, `15m`."""
    for unit in ("d", "h", "m"):
        if seconds > 120 and seconds % DURATION_UNITS[unit] == 0:
            return f"{seconds / DURATION_UNITS[unit]:g}{unit}"
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def at_least(least: float, text: str) -> Callable[[Any], Any]:
    """A check for sizes and durations: `ValueError` where the value is smaller than `least`, which people write as `text`."""

    def check(value: Any) -> Any:
        if value < least:
            raise ValueError(f"must be at least {text}")
        return value

    return check


def parse_list(value: object) -> object:
    """A list of texts; one text alone counts as its only element, a JSON array or commas part several. Else unchanged."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.startswith("["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError('a list is written as a JSON array, such as ["a", "b"], or with commas: a,b') from None
    return [part.strip() for part in text.split(",") if part.strip()]


def parse_rule(text: str) -> tuple[str, Operator, float]:
    """Column, operator and limit of a validation rule such as `price > 0`. Raises `ValueError`."""
    if match := _RULE.fullmatch(text):
        try:
            limit = float(match["limit"])
        except ValueError:
            limit = math.nan
        if math.isfinite(limit):
            return match["column"], cast("Operator", match["operator"]), limit
    raise ValueError(f'{text!r} is not a rule: write a column, one of > >= < <= == != and a number, such as "price > 0"')


def parse_servers(value: object) -> str:
    """`host:port,host:port`, from such a text or a list of them. Raises `ValueError` without repeating the value."""
    parts = parse_list(value)
    wanted = 'write host:port, or several parted by commas: "kafka-1:9092,kafka-2:9092"'
    if not isinstance(parts, Sequence) or isinstance(parts, bytes) or not parts or not all(isinstance(p, str) for p in parts):
        raise ValueError(wanted)
    for part in parts:
        if "@" in part:
            raise ValueError(
                "credentials do not belong into the servers' addresses: use kafka.sasl_username and kafka.sasl_password"
            )
        match = _HOST_PORT.fullmatch(part.strip())
        if match is None or not 1 <= int(match["port"]) <= 65535:
            raise ValueError(wanted)
    return ",".join(part.strip() for part in parts)


def parse_word(value: object) -> object:
    """Text without the spaces around it; anything else unchanged."""
    return value.strip() if isinstance(value, str) else value


def parse_lower(value: object) -> object:
    """Text in lower case, so that `INFO` is as good as `info`."""
    return value.strip().lower() if isinstance(value, str) else value


def parse_upper(value: object) -> object:
    """Text in upper case, so that `sasl_ssl` is as good as `SASL_SSL`."""
    return value.strip().upper() if isinstance(value, str) else value


def none_if_empty(value: object) -> object:
    """An empty text means: not set. It is how an environment variable takes back what a file says."""
    return None if isinstance(value, str) and not value.strip() else value


Size = Annotated[int, BeforeValidator(parse_size), Meaning("size")]
Duration = Annotated[float, BeforeValidator(parse_duration), Meaning("duration")]
TextList = Annotated[tuple[str, ...], BeforeValidator(parse_list), Meaning("list of text")]
Servers = Annotated[str, BeforeValidator(parse_servers), Meaning("host:port, ...")]
