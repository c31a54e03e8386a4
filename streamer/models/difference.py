"""In what two versions of a model differ. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from streamer.models.version import Version


@dataclass(frozen=True, slots=True)
class Difference:
    """One field with two values; `change` is the second less the first where both are numbers."""

    field: str
    first: Any
    second: Any
    change: float | int | None = None

    def document(self) -> dict[str, Any]:
        return asdict(self)


def difference(first: Version, second: Version) -> list[Difference]:
    """Every field that is not the same in both: metrics first, by name."""
    pairs = [
        *_pairs("metrics", first.metrics, second.metrics),
        *_pairs("tags", first.tags, second.tags),
        ("sha256", first.sha256, second.sha256),
        ("size", first.size, second.size),
        ("created", first.created.isoformat(), second.created.isoformat()),
        ("pushed_by", first.pushed_by, second.pushed_by),
        ("aliases", list(first.aliases), list(second.aliases)),
        ("parent", first.parent, second.parent),
        ("schema", first.schema, second.schema),
        ("features", _listed(first.features), _listed(second.features)),
        *_pairs("trained_through", _offsets(first), _offsets(second)),
    ]
    return [Difference(name, one, other, _change(one, other)) for name, one, other in pairs if one != other]


def _pairs(name: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for key in sorted({*first, *second}):
        yield f"{name}.{key}", first.get(key), second.get(key)


def _offsets(version: Version) -> dict[str, int]:
    lineages = {at: f"-l{at.lineage}" if at.lineage else "" for at in version.trained_through}
    return {f"{at.topic}-{at.partition}{lineages[at]}": at.offset for at in version.trained_through}


def _listed(features: tuple[str, ...] | None) -> list[str] | None:
    return list(features) if features is not None else None


def _change(first: Any, second: Any) -> float | int | None:
    numbers = [value for value in (first, second) if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < 2 or not all(math.isfinite(value) for value in numbers):
        return None
    change = numbers[1] - numbers[0]
    return round(change, 12) if isinstance(change, float) else change
