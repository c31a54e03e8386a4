"""The lake's JSON documents, read with suspicion: from bytes to values that are what their types say.

Whoever may write to the bucket may write these documents, so nothing in one is believed before it was looked at. Everything
here raises `ValueError`; the document's own room makes a `Damaged` of it that names the key and the way out.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import orjson

DEPTH_MAX = 100

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""Integers as Arrow, JSON and Kafka all have them. For `typed`."""


def parsed(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`. Raises `ValueError` where it is none."""
    fields = orjson.loads(body)
    if not isinstance(fields, dict):
        raise ValueError("it is no JSON object")
    return fields


def check_writable(value: Any) -> None:
    """Raise `ValueError` where `value`, which came out of JSON, could not become JSON again: orjson reads 1024 levels and
    writes 254. Only what is kept without being understood needs it."""
    waiting, depth = [value], 0
    while waiting:
        if depth > DEPTH_MAX:
            raise ValueError(f"it is nested deeper than {DEPTH_MAX} levels")
        within = (each.values() if isinstance(each, dict) else each for each in waiting if isinstance(each, dict | list))
        waiting, depth = [inner for each in within for inner in each if isinstance(inner, dict | list)], depth + 1


def typed(value: Any, kind: Any) -> Any:
    """`value`, out of JSON, as a `kind`: a dataclass, a `Literal`, a tuple, and so on. Raises `ValueError` where it is none.

    Fields that `kind` does not have are left out. Times need `instant`.
    """
    return msgspec.convert(value, kind)


def instant(text: Any) -> datetime:
    """An ISO 8601 time with its zone, in UTC. Raises `ValueError` for anything else."""
    if type(text) is not str:
        raise ValueError(f"{text!r} is no time")
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            raise ValueError(f"{text!r} has no time zone")
        return found.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is before the year 1 or after 9999") from None
