"""The registry of one model: its versions, its aliases and their history. A value, its JSON, and which change makes what of it.

No I/O; `registries.py` writes it by compare-and-swap and may therefore apply a change more than once: every change here says
by itself whether it has already happened. Fields that a newer release wrote survive.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Self

import orjson

from streamer.documents import check_writable, instant, parsed, typed
from streamer.errors import Damaged, Invalid
from streamer.models.name import ModelName, kept_name
from streamer.models.refusals import NoSuchModel
from streamer.models.shelf import MODEL_SHELF, Shelf
from streamer.models.version import About, Version

VERSION = 1
LATEST = "latest"
PREVIOUS_KEPT = 100
MOVES_KEPT = 500
"""Of each alias: the document is read whole by every pull, and must not grow for ever."""

_ALIAS = re.compile(r"[a-z][a-z0-9._-]{0,63}")
_NUMBER = re.compile(r"v?[1-9]\d{0,9}")
_FIELDS = frozenset({"version", "name", "suffix", "sequence", "writer", "next", "versions", "aliases", "history", "pruned"})


@dataclass(frozen=True, slots=True)
class Alias:
    """What a name points to, and the targets that `rollback` returns to, the newest last."""

    n: int
    previous: tuple[int, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Move:
    """One move of an alias. `source` is None where the alias was new. `id` is unique to the move."""

    id: str
    at: datetime
    who: str
    alias: str
    source: int | None
    target: int
    reason: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def document(self) -> dict[str, Any]:
        return {
            **self.extra, "id": self.id, "at": self.at.astimezone(UTC).isoformat(), "who": self.who, "alias": self.alias,
            "from": self.source, "to": self.target, "reason": self.reason,
        }  # fmt: skip

    @classmethod
    def from_document(cls, entry: Mapping[str, Any]) -> Self:
        known = ("id", "at", "who", "alias", "from", "to", "reason")
        return cls(
            typed(entry["id"], str), instant(entry["at"]), typed(entry["who"], str), typed(entry["alias"], str),
            typed(entry["from"], int | None), typed(entry["to"], int), typed(entry.get("reason", ""), str),
            {name: value for name, value in entry.items() if name not in known},
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sign:
    """Who makes a change, when and why. `id` is unique to the change: by it a change knows that it has happened."""

    id: str
    at: datetime
    who: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Registry:
    """The document `models/registry/{stem}.json`. `versions` by number; `next` is above every number ever given away;
    `pruned` are ranges `[first, last]` of numbers whose versions were removed on purpose."""

    name: ModelName
    versions: tuple[Version, ...] = ()
    aliases: Mapping[str, Alias] = field(default_factory=dict)
    history: tuple[Move, ...] = ()
    next: int = 1
    pruned: tuple[tuple[int, int], ...] = ()
    sequence: int = 0
    writer: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def _command(self) -> str:
        return self.name.shelf.command

    @property
    def _named(self) -> dict[str, Any]:
        return {self.name.shelf.noun: self.name.stem}

    # Reading.

    def listed(self) -> list[Version]:
        """Every version with its aliases, by number."""
        names: dict[int, list[str]] = {}
        for alias, at in self.aliases.items():
            names.setdefault(at.n, []).append(alias)
        return [replace(version, aliases=tuple(sorted(names.get(version.n, ())))) for version in self.versions]

    def by_number(self, n: int) -> Version | None:
        return next((version for version in self.listed() if version.n == n), None)

    def by_hash(self, sha256: str) -> Version | None:
        return next((version for version in self.listed() if version.sha256 == sha256), None)

    def was_pruned(self, n: int) -> bool:
        return any(first <= n <= last for first, last in self.pruned)

    def resolve(self, wanted: int | str) -> Version:
        """The version with this number (`3`, `"3"`, `"v3"`) or alias. Raises `NoSuchModel`, and `Damaged` where an alias
        points to a version that the registry does not have."""
        text = str(wanted)
        if _NUMBER.fullmatch(text):
            if (found := self.by_number(int(text.removeprefix("v")))) is None:
                raise NoSuchModel(
                    "there is no such version",
                    hint=f"`{self._command} show {self.name.stem}` lists them",
                    **self._named,
                    version=text,
                )
            return found
        if (alias := self.aliases.get(text)) is None:
            raise NoSuchModel(
                "there is no such alias",
                hint=f"there are {', '.join(sorted(self.aliases)) or 'none'}; `{self._command} promote` makes one",
                **self._named,
                alias=text,
            )
        if (found := self.by_number(alias.n)) is None:
            raise Damaged(
                f"the alias {text} points to version {alias.n}, which the registry does not have",
                hint=f"move it: {self._command} promote {self.name.stem} VERSION {text}",
                **self._named,
            )
        return found

    # Changing.

    def registering(self, version: Version, sign: Sign) -> Self:
        """With `version`, to which `latest` moves unless a later one is there. Content that is known already is not
        registered again: what its entry lacks is filled in."""
        known = next((one for one in self.versions if one.sha256 == version.sha256), None)
        if known is not None:
            filled = _filled(known, version)
            return self if filled == known else self._with(versions=(*(v for v in self.versions if v != known), filled))
        if any(one.n == version.n for one in self.versions):
            raise Damaged(
                f"version {version.n} is in the registry with another hash than its object has",
                hint="run `streamer verify --models`" if self.name.shelf == MODEL_SHELF else f"run `{self._command} check`",
                **self._named,
            )
        newest = all(one.n < version.n for one in self.versions)
        added = self._with(versions=(*self.versions, version), next=max(self.next, version.n + 1))
        return added._moving(LATEST, version.n, sign) if newest else added

    def promoting(self, alias: str, wanted: int | str, sign: Sign) -> Self:
        """With `alias` at the version `wanted`. Raises `Invalid` for names that no alias may have, and for `latest`."""
        check_alias(alias)
        if alias == LATEST:
            raise Invalid("latest moves by itself, with every push", hint="promote to another alias, or roll latest back")
        target = self.resolve(wanted).n
        current = self.aliases.get(alias)
        if self._happened(sign) or (current is not None and current.n == target):
            return self
        return self._moving(alias, target, sign)

    def rolling_back(self, alias: str, sign: Sign) -> Self:
        """With `alias` at the newest of its previous targets that is still there. Raises `NoSuchModel` and `Invalid`."""
        if self._happened(sign):
            return self
        current = self.aliases.get(alias)
        if current is None:
            self.resolve(alias)
            raise AssertionError
        numbers = {version.n for version in self.versions}
        previous = list(current.previous)
        while previous and (previous[-1] not in numbers or previous[-1] == current.n):
            previous.pop()
        if not previous:
            raise Invalid(
                f"{alias} has no previous target to return to",
                hint=f"name one: {self._command} promote {self.name.stem} VERSION {alias}",
                **self._named,
            )
        target = previous.pop()
        return self._moved(alias, Alias(target, tuple(previous), current.extra), sign)

    def pruning(self, keep: int) -> Self:
        """Without all but the newest `keep` versions, those that an alias points to, and those it would roll back to."""
        gone = {version.n for version in self.prunable(keep)}
        if not gone:
            return self
        kept = tuple(version for version in self.versions if version.n not in gone)
        return self._with(versions=kept, pruned=_ranges(self.pruned, gone))

    def prunable(self, keep: int) -> list[Version]:
        """What `pruning` removes."""
        numbers = {version.n for version in self.versions}
        held = {alias.n for alias in self.aliases.values()}
        for alias in self.aliases.values():
            held.update([n for n in alias.previous if n in numbers and n != alias.n][-1:])
        newest = {version.n for version in self.versions[-keep:]} if keep > 0 else set()
        return [version for version in self.listed() if version.n not in held | newest]

    def _moving(self, alias: str, target: int, sign: Sign) -> Self:
        current = self.aliases.get(alias)
        if current is None:
            return self._moved(alias, Alias(target), sign)
        previous = (*current.previous, current.n)[-PREVIOUS_KEPT:]
        return self._moved(alias, Alias(target, previous, current.extra), sign)

    def _moved(self, alias: str, to: Alias, sign: Sign) -> Self:
        current = self.aliases.get(alias)
        move = Move(sign.id, sign.at, sign.who, alias, current.n if current else None, to.n, sign.reason)
        history = (*self.history, move)
        if sum(one.alias == alias for one in history) > MOVES_KEPT:
            oldest = next(one for one in history if one.alias == alias)
            history = tuple(one for one in history if one is not oldest)
        return self._with(aliases={**self.aliases, alias: to}, history=history)

    def _happened(self, sign: Sign) -> bool:
        return any(move.id == sign.id for move in self.history)

    def _with(self, **changes: Any) -> Self:
        if "versions" in changes:
            changes["versions"] = tuple(sorted(changes["versions"], key=lambda version: version.n))
        return replace(self, **changes)

    # JSON.

    def to_json(self) -> bytes:
        """The document, byte for byte a function of the value."""
        return orjson.dumps(
            {
                **self.extra,
                "version": VERSION,
                "name": self.name.stem,
                "suffix": self.name.suffix,
                "sequence": self.sequence,
                "writer": self.writer,
                "next": self.next,
                "aliases": {
                    name: {**alias.extra, "n": alias.n, "previous": list(alias.previous)}
                    for name, alias in sorted(self.aliases.items())
                },
                "versions": [version.document() for version in self.versions],
                "history": [move.document() for move in self.history],
                "pruned": [list(ends) for ends in self.pruned],
            },
            option=orjson.OPT_INDENT_2,
        )

    @classmethod
    def from_json(cls, body: bytes, *, key: str, shelf: Shelf = MODEL_SHELF) -> Self:
        """The registry in `body`. Raises `Damaged` where it is none, or of a version this release does not know."""
        try:
            fields = parsed(body)
            check_writable(fields)
            if fields["version"] != VERSION:
                raise Damaged(
                    f"registry of version {fields['version']}, this release reads {VERSION}",
                    hint="run the release that wrote it, or a newer one",
                    key=key,
                )
            found = cls(
                name=kept_name(typed(fields["name"], str), typed(fields["suffix"], str), shelf),
                versions=tuple(sorted((Version.from_document(v) for v in fields["versions"]), key=lambda v: v.n)),
                aliases={name: _alias(entry) for name, entry in fields["aliases"].items()},
                history=tuple(Move.from_document(entry) for entry in fields["history"]),
                next=typed(fields["next"], int),
                pruned=typed(fields.get("pruned", ()), tuple[tuple[int, int], ...]),
                sequence=typed(fields["sequence"], int),
                writer=typed(fields["writer"], str),
                extra={name: value for name, value in fields.items() if name not in _FIELDS},
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Damaged(f"not a registry of a {shelf.noun}: {error!r}", hint=_way_out(shelf), key=key) from error
        if len({version.n for version in found.versions}) < len(found.versions):
            raise Damaged("a version is in the registry twice", hint=_way_out(shelf), key=key)
        return found


def _way_out(shelf: Shelf) -> str:
    return (
        f"restore an older version of this object; or delete it, and make it again from {shelf.versions}, without metrics, "
        f"tags and aliases: `{shelf.command} repair`"
    )


def check_alias(alias: str) -> None:
    """Raise `Invalid` unless `alias` can be one: nothing that looks like a version."""
    if not _ALIAS.fullmatch(alias) or _NUMBER.fullmatch(alias):
        raise Invalid(
            f"{alias[:80]!r} cannot be an alias",
            hint="use lower-case letters, digits, `.`, `_` and `-`, such as production; v3 would be a version",
        )


def _alias(entry: Mapping[str, Any]) -> Alias:
    extra = {name: value for name, value in entry.items() if name not in ("n", "previous")}
    return Alias(typed(entry["n"], int), typed(entry.get("previous", ()), tuple[int, ...]), extra)


def _filled(known: Version, version: Version) -> Version:
    """`known` with what it lacks and `version` knows. A recovered entry lacks everything."""
    if known.recovered and not version.recovered and known.n == version.n:
        return replace(version, extra=known.extra)
    about, more = known.about, version.about
    return replace(
        known,
        about=About(
            metrics=about.metrics or more.metrics,
            tags=about.tags or more.tags,
            parent=about.parent if about.parent is not None else more.parent,
            features=about.features if about.schema is not None else more.features,
            schema=about.schema if about.schema is not None else more.schema,
        ),
        signature=known.signature or (version.signature if known.n == version.n else None),
    )


def _ranges(ranges: Iterable[tuple[int, int]], numbers: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """All of them as few ranges, ascending."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted([*ranges, *((n, n) for n in numbers)]):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)
