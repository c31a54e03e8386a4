"""The configuration as a tree of names: what may stand where, and what a name that is unknown was meant to be.

Read from the models, so that file, environment, reference page and `config show` agree. Knows no values.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from streamer.config.sections import Section
from streamer.config.values import Meaning

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Names:
    """A table whose names the user chooses, such as `streams` or `columns`; `values` is what each of them holds."""

    values: Any


Node = type[Section] | Names | None
"""A section, a table of free names, or (None) a single value."""


def node(annotation: Any) -> Node:
    """What a field with this annotation is."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return node(arguments[0])
    if origin in (Union, types.UnionType):
        inner = [node(a) for a in arguments if a is not type(None)]
        return inner[0] if len(inner) == 1 else None
    if origin in (dict, Mapping):
        return Names(arguments[1])
    return annotation if isinstance(annotation, type) and issubclass(annotation, Section) else None


def fields(section: type[Section]) -> dict[str, FieldInfo]:
    """The fields of a section by the names that users write."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def child(parent: type[Section] | Names, name: str) -> tuple[bool, Node]:
    """Whether `parent` may have something called `name`, and what it is."""
    if isinstance(parent, Names):
        return True, node(parent.values)
    field = fields(parent).get(name)
    return field is not None, node(field.annotation) if field is not None else None


def field_at(root: type[Section], path: Path) -> FieldInfo | None:
    """The field that `path` leads to; None where it leads nowhere, or to a name that the user chose."""
    here: Node = root
    field: FieldInfo | None = None
    for name in path:
        if here is None:
            return None
        field = None if isinstance(here, Names) else fields(here).get(name)
        known, here = child(here, name)
        if not known:
            return None
    return field


def meaning(field: FieldInfo | None) -> str:
    """`size`, `duration`, `secret text`, ... where the field has such a meaning, else nothing."""
    found = [m.name for m in field.metadata if isinstance(m, Meaning)] if field is not None else []
    return found[-1] if found else ""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` (did you mean X?)`, or the names there are, or nothing."""
    names = list(known)
    if close := get_close_matches(name[:64].lower(), names, n=1, cutoff=0.6):
        return f" (did you mean {close[0]}?)"
    return f" (there are {', '.join(names)})" if 0 < len(names) <= 12 else ""
