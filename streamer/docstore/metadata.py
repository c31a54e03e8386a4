"""Metadata, tags and lineage of a document, as the one metadata of its object, and back. Pure.

Tags are a field of the metadata and no tags of S3: those ask for a permission of their own, cost a request to read, are ten at
most, and a directory has none (docs/documents.md).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from streamer.errors import Invalid
from streamer.lineage.derivation import METADATA, Derivation

Tags = Mapping[str, str] | Iterable[str] | None

_TAGS = "tags"


@dataclass(frozen=True, slots=True)
class Said:
    """What an object's metadata says. plain: without the rest. derived: how it was made, as text."""

    plain: Mapping[str, str]
    tags: Mapping[str, str]
    derived: str | None


def written(metadata: Mapping[str, str] | None, tags: Tags, made: Derivation | None) -> dict[str, str]:
    """The metadata of an object, without the text of the derivation: what it was computed by is among its tags too. Raises
    `Invalid` for metadata that has a name of ours."""
    if taken := {_TAGS, METADATA} & (metadata or {}).keys():
        raise Invalid(f"metadata cannot have the name {taken.pop()}", hint="give tags=..., or sources=... and computation=...")
    named = _named(tags)
    if made is not None:
        named = {"computation": made.computation, **({"computation_version": made.version} if made.version else {}), **named}
    body = {_TAGS: json.dumps(named, sort_keys=True)} if named else {}
    return {**(metadata or {}), **body}


def read(metadata: Mapping[str, str] | None) -> Said:
    """The inverse, of whatever somebody wrote."""
    plain = dict(metadata or {})
    tags, derived = plain.pop(_TAGS, ""), plain.pop(METADATA, None)
    return Said(plain, _untagged(tags), derived)


def _named(tags: Tags) -> dict[str, str]:
    if not tags:
        return {}
    named = dict(tags) if isinstance(tags, Mapping) else dict.fromkeys([tags] if isinstance(tags, str) else tags, "")
    return {str(name): str(value) for name, value in named.items()}


def _untagged(text: str) -> dict[str, str]:
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}  # whoever wrote the object by hand
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}
