"""What a derived object says of itself: sources with their versions, computation, its version, time. Values and text; pure.

The text is in the object's metadata, under `derived`. Where the sources are too many for 2 KiB, they are in a list of their own
whose key the metadata names and its hash decides. Whoever may write to the bucket may have written either.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Self

from streamer.documents import Count, instant, parsed, typed
from streamer.errors import Damaged, Invalid
from streamer.keys import lineage_key, parse_data_key, parse_lineage_key
from streamer.records import BatchRange
from streamer.store.limits import METADATA_BYTES

METADATA = "derived"
VERSION = 1
SOURCES_MAX = 10_000
LIST_BYTES_MAX = 32 << 20
_DIGESTS = ("digest", "row_hash", "sha256")
_NAME_MAX = 200
_HINT = "restore an older version of this object"


@dataclass(frozen=True, slots=True)
class Source:
    """An object that something was made of, as it was then.

    etag: its version; None where nobody wrote it down. digest: of its records, rows or bytes, where it says one itself: two
    objects with the same one hold the same, whatever their ETags.
    """

    key: str
    etag: str | None = None
    digest: str | None = None

    @property
    def batch(self) -> BatchRange | None:
        """The offsets of a data file or dead-letter file; None of anything else."""
        found = parse_data_key(self.key)
        return found.range if found is not None else None

    def document(self) -> dict[str, str]:
        """For JSON."""
        said = {"key": self.key, "etag": self.etag, "digest": self.digest}
        return {name: value for name, value in said.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Derivation:
    """How an object was made. sources: empty where `listed` names the list that has them; count: how many there are."""

    computation: str
    version: str | None
    computed_at: datetime
    sources: tuple[Source, ...] = ()
    listed: str | None = None
    count: int = 0

    def same_work(self, other: Derivation | None) -> bool:
        """Whether the other is the same computation over the same versions of the same sources, at whatever time."""
        return other is not None and replace(other, computed_at=self.computed_at) == self

    def to_metadata(self) -> str:
        """The text in the metadata: ASCII, in one line."""
        said: dict[str, Any] = {"v": VERSION, "computation": self.computation}
        if self.version is not None:
            said["version"] = self.version
        said["at"] = self.computed_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
        if self.listed is not None:
            said |= {"list": self.listed, "count": self.count}
        else:
            said["sources"] = [source.document() for source in self.sources]
        return json.dumps(said, separators=(",", ":"))

    @classmethod
    def from_metadata(cls, text: str, *, key: str) -> Self:
        """The inverse of `to_metadata`. key: of the object. Raises `Damaged`."""
        try:
            said = parsed(text.encode())
            if said["v"] != VERSION:
                raise ValueError(f"version {said['v']!r} is unknown to this release")
            listed = typed(said.get("list"), str | None)
            if listed is not None and parse_lineage_key(listed) is None:
                raise ValueError(f"{listed[:80]!r} is no list of sources")
            sources = _sources(said.get("sources", [])) if listed is None else ()
            return cls(
                computation=typed(said["computation"], str),
                version=typed(said.get("version"), str | None),
                computed_at=instant(said["at"]),
                sources=sources,
                listed=listed,
                count=len(sources) if listed is None else typed(said["count"], Count),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise Damaged(f"what it says of its sources cannot be read: {error!r}"[:300], hint=_HINT, key=key) from error

    def fitting(self, metadata: Mapping[str, str]) -> tuple[Self, bytes | None]:
        """The same, so that it has room beside `metadata`; and the list that must be written for it to be true, if any."""
        used = sum(len(name) + len(value) for name, value in metadata.items())
        if used + len(METADATA) + len(self.to_metadata()) <= METADATA_BYTES:
            return self, None
        body = list_body(self.sources)
        listed = lineage_key(hashlib.sha256(body).hexdigest())
        return replace(self, sources=(), listed=listed, count=len(self.sources)), body


def derivation(computation: str, version: str | None, computed_at: datetime, sources: tuple[Source, ...]) -> Derivation:
    """A derivation that is about to be written down. Raises `Invalid` for names nobody could read, and too many sources."""
    for what, text in (("computation", computation), ("computation_version", version)):
        if text is not None and (not isinstance(text, str) or not 0 < len(text) <= _NAME_MAX or not text.isprintable()):
            raise Invalid(f"{str(text)[:80]!r} is no {what}", hint=f"give 1 to {_NAME_MAX} printable characters")
    if len(sources) > SOURCES_MAX:
        hint = f"name at most {SOURCES_MAX}; the certificate of a day, archive/DATE.json, stands for all its files"
        raise Invalid(f"{len(sources)} sources are too many", hint=hint)
    return Derivation(computation, version, computed_at, sources, None, len(sources))


def digest_of(metadata: Mapping[str, str] | None) -> str | None:
    """The digest that an object says of itself: of a data file, of the rows of a closed day, of a copy of a model."""
    return next((metadata[name] for name in _DIGESTS if name in metadata), None) if metadata else None


def list_body(sources: Iterable[Source]) -> bytes:
    """The list of sources as an object's bytes: a function of the sources alone."""
    document = {"version": VERSION, "sources": [source.document() for source in sources]}
    return json.dumps(document, separators=(",", ":")).encode()


def listed_sources(body: bytes, *, key: str) -> tuple[Source, ...]:
    """The sources in a list. Raises `Damaged` where it is not the one that its key names."""
    try:
        if lineage_key(hashlib.sha256(body).hexdigest()) != key:
            raise ValueError("its content is not the one that its name says")
        said = parsed(body)
        if said["version"] != VERSION:
            raise ValueError(f"version {said['version']!r} is unknown to this release")
        return _sources(said["sources"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(f"not a list of sources: {error!r}"[:300], hint=_HINT, key=key) from error


def _sources(said: Any) -> tuple[Source, ...]:
    found: tuple[Source, ...] = typed(said, tuple[Source, ...])
    return found
