"""What one object says of where it came from. A value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from streamer.lineage.derivation import Source
from streamer.lineage.graph import Kind, Offsets


@dataclass(frozen=True, slots=True)
class Origin:
    """See `Node`, whose fields these become."""

    kind: Kind
    computation: str | None = None
    version: str | None = None
    computed_at: datetime | None = None
    offsets: tuple[Offsets, ...] = ()
    sources: tuple[Source, ...] = ()
    about: Mapping[str, str] = field(default_factory=dict)
    problem: str | None = None
