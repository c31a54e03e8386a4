"""What things cost: a list in a file, with the date on which it was right. No price is in the code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from streamer.errors import Invalid

CLASSES = ("STANDARD", "STANDARD_IA", "GLACIER", "DEEP_ARCHIVE")
REQUESTS = ("put", "get", "to_STANDARD_IA", "to_GLACIER", "to_DEEP_ARCHIVE")
DYNAMODB = ("million_writes", "million_reads", "gb_month", "recovery_gb_month")
GB = 1e9
"""AWS says GB and means 2**30 bytes; the difference of 7 % is on the careful side."""


@dataclass(frozen=True, slots=True)
class Prices:
    """gb_month: by storage class. per_1000: by kind of request. dynamodb: on-demand, by unit."""

    date: str
    region: str
    currency: str
    source: str
    gb_month: Mapping[str, float]
    per_1000: Mapping[str, float]
    dynamodb: Mapping[str, float]

    def storage(self, bytes_held: float, kind: str) -> float:
        """Of holding so much for a month."""
        return bytes_held / GB * self.gb_month[kind]

    def index_writes(self, units: float) -> float:
        """Of so many write units of DynamoDB."""
        return units / 1e6 * self.dynamodb["million_writes"]

    def index_storage(self, table_bytes: float, *, copies: int, recovery: bool) -> float:
        """Of holding a table for a month: each byte so often, for its index; and once more for point-in-time recovery."""
        held = table_bytes / GB * self.dynamodb["gb_month"] * copies
        return held + (table_bytes / GB * self.dynamodb["recovery_gb_month"] if recovery else 0.0)

    def requests(self, count: float, kind: str) -> float:
        return count / 1000 * self.per_1000[kind]


def prices(path: Path | None = None) -> Prices:
    """The list in `path`, or the one that comes with this release. Raises `Invalid` for a file that is none."""
    if path is None:
        text = files("streamer.setup").joinpath("prices.json").read_bytes()
    else:
        try:
            text = path.read_bytes()
        except OSError as error:
            raise Invalid(
                "the price list cannot be read", hint="name a readable file", file=path, reason=error.strerror
            ) from error
    try:
        found = msgspec.json.decode(text, type=Prices)
    except msgspec.DecodeError as error:
        raise Invalid(
            f"the price list is none: {error}", hint="begin with the one that comes with streamer", file=path
        ) from None
    _check(found.gb_month, CLASSES, "gb_month", path)
    _check(found.dynamodb, DYNAMODB, "dynamodb", path)
    _check(found.per_1000, REQUESTS, "per_1000", path)
    return found


def _check(found: Mapping[str, Any], names: tuple[str, ...], where: str, path: Path | None) -> None:
    missing = [name for name in names if name not in found]
    if missing:
        raise Invalid(f"the price list lacks {', '.join(missing)} under {where}", hint="add it", file=path)
    if any(price < 0 for price in found.values()):
        raise Invalid(f"the price list has a negative price under {where}", hint="correct it", file=path)
