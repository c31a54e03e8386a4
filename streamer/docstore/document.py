"""Documents as values, with and without their data, and what may be named as the source of one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from streamer.errors import Invalid
from streamer.lineage.derivation import Derivation, Source


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """A document without its data. fields: as given (of a value longer than 120 bytes the text that stands for it in the key).
    at: UTC. version: counted among the documents of its instant. etag: of its object."""

    kind: str
    key: str
    fields: Mapping[str, str]
    at: datetime
    version: int
    size_bytes: int
    etag: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Document:
    """A document. metadata: without the tags, and without what it says of its sources."""

    info: DocumentInfo
    data: Any = field(repr=False)
    metadata: Mapping[str, str]
    tags: Mapping[str, str]
    derived: str | None = field(default=None, repr=False)

    @property
    def derivation(self) -> Derivation | None:
        """How it was computed, and of what; None where it does not say. Raises `Damaged` where nobody can read that."""
        return Derivation.from_metadata(self.derived, key=self.info.key) if self.derived is not None else None


AnySource = str | DocumentInfo | Document | Source
"""What a document is made of: the key of any object of the lake, or a document that was read or listed."""
Sources = AnySource | Iterable[AnySource] | None


def as_sources(given: Sources) -> list[Source]:
    """One source or several, each to be looked at yet. Raises `Invalid` for what is none."""
    if given is None:
        return []
    if isinstance(given, str | DocumentInfo | Document | Source):
        return [_as_source(given)]
    return [_as_source(each) for each in given]


def _as_source(given: AnySource) -> Source:
    match given:
        case str():
            return Source(given)
        case Source():
            return given
        case DocumentInfo() | Document(info=_):
            info = given if isinstance(given, DocumentInfo) else given.info
            return Source(info.key, info.etag or None)
    raise Invalid(f"a {type(given).__name__} is no source", hint="give the key of an object of this lake, or a document of it")
