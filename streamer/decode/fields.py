"""Which field of a message belongs to which column, and what becomes of the fields that belong to none."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import msgspec
import pyarrow as pa

from streamer.layout import FEATURES, TIMESTAMP, Column, Layout, arrow_type

_UNKNOWN_NAMES_MAX = 1000
_SHOWN_NAMES_MAX = 50
_NAME_LENGTH_MAX = 200

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Target:
    """A column that a message fills: `names` are the fields to look for, in order; `place` is its index in the layout."""

    place: int
    name: str
    names: tuple[str, ...]
    type: pa.DataType
    required: bool
    falls_back: bool  # a missing value is filled from Kafka's timestamp


@dataclass(frozen=True, slots=True)
class Targets:
    """The columns of a layout as a decoder looks them up. `features` is the column that gathers what no other names, and in
    `columns` only where the schema is not `feature`."""

    columns: tuple[Target, ...]
    features: Target | None
    known: frozenset[str]  # every name that some column answers to
    types: tuple[pa.DataType, ...]

    @classmethod
    def of(cls, layout: Layout) -> Targets:
        columns = [_target(place, column, layout) for place, column in enumerate(layout.columns)]
        gathers = layout.schema == "feature"
        features = next((c for c in columns if gathers and c.name == FEATURES and pa.types.is_map(c.type)), None)
        return cls(
            columns=tuple(c for c in columns if c is not features),
            features=features,
            known=frozenset(name for c in columns for name in c.names),
            types=tuple(c.type for c in columns),
        )


def _target(place: int, column: Column, layout: Layout) -> Target:
    return Target(
        place=place,
        name=column.name,
        names=tuple(dict.fromkeys((column.name, *column.aliases))),
        type=arrow_type(column.type),
        required=column.required or column.name == TIMESTAMP,
        falls_back=column.name == TIMESTAMP and layout.timestamp_fallback == "kafka",
    )


@dataclass(slots=True)
class Unknown:
    """What is counted about fields that no column names."""

    names: set[str] = field(default_factory=set)
    dropped: int = 0

    def add(self, names: Collection[str]) -> None:
        """Remember names, up to a limit: a message can make up as many as it likes."""
        if len(self.names) < _UNKNOWN_NAMES_MAX and not self.names.issuperset(names):
            self.names.update(name[:_NAME_LENGTH_MAX] for name in names)

    def shown(self) -> tuple[str, ...]:
        """At most 50 of the names, sorted."""
        return tuple(sorted(self.names)[:_SHOWN_NAMES_MAX])


def name_text(name: str) -> bytes:
    """What comes before a value in a JSON object."""
    return _encode(name) + b":"


def object_text(fields: Mapping[str, bytes]) -> str:
    """A JSON object with these names and the exact text of each value."""
    return (b"{" + b",".join([name_text(name) + text for name, text in fields.items()]) + b"}").decode()
