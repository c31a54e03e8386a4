"""The proof of the models: every registry can be read, every version is there with the bytes it was pushed with, every alias
and every plain copy is what the registry says. Reads, and changes nothing; the words of `ModelFindingKind` are for scripts.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from streamer.errors import Damaged, NotFound
from streamer.keys import (
    ModelVersionKey,
    parse_model_registry_key,
    parse_model_version_key,
)
from streamer.models.plain_copy import is_copy_of
from streamer.models.registries import Registries
from streamer.models.registry import LATEST, Registry
from streamer.models.signature import Signer
from streamer.models.version import Version
from streamer.store.big_objects import StoredContent, hash_content
from streamer.store.contract import ObjectInfo, Store
from streamer.workers import Workers

_AT_ONCE = 4


class ModelFindingKind(StrEnum):
    """What is wrong with a model. Any of these makes `streamer verify --models` end with 5, but for the last two."""

    REGISTRY_DAMAGED = "registry_damaged"  # an object below models/registry/ that is none, or at the wrong key
    REGISTRY_MISSING = "registry_missing"  # versions without a registry
    VERSION_MISSING = "version_missing"  # in the registry, and no object
    VERSION_WRONG = "version_wrong"  # another size or hash than when it was pushed
    ALIAS_DANGLING = "alias_dangling"  # points to a version that the registry does not have
    COPY_MISSING = "copy_missing"  # no plain copy of what `latest` points to
    COPY_WRONG = "copy_wrong"  # or one of something else
    SIGNATURE_WRONG = "signature_wrong"  # not by the key in STREAMER_MODEL_KEY
    FOREIGN_OBJECT = "foreign_object"  # not of streamer, below models/versions/ or models/registry/
    UNREGISTERED = "unregistered"  # note: a version that no registry knows, of a push that died or is under way
    UNSIGNED = "unsigned"  # note: pushed without the key that is set now


_NOTES = (ModelFindingKind.UNREGISTERED, ModelFindingKind.UNSIGNED)


@dataclass(frozen=True, slots=True)
class ModelFinding:
    """One thing found: what, at which key, and the reader's next step."""

    kind: ModelFindingKind
    key: str
    detail: str
    hint: str
    model: str | None = None


@dataclass(slots=True)
class ModelReport:
    """What was proved. deep: the bytes were read and hashed; otherwise sizes were compared."""

    deep: bool
    models: int = 0
    versions: int = 0
    bytes: int = 0
    findings: list[ModelFinding] = field(default_factory=list)
    notes: list[ModelFinding] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return not self.findings

    def document(self) -> dict[str, Any]:
        """The report as JSON takes it."""
        return {"sound": self.sound, **asdict(self)}


async def check_models(
    store: Store, registries: Registries, workers: Workers, *, deep: bool = True, signer: Signer | None = None
) -> ModelReport:
    """Look at every model. Raises `Unavailable` and `Denied`: then nothing is proved."""
    check = _Check(store, registries, workers, ModelReport(deep), signer)
    await check.run()
    for found in (check.report.findings, check.report.notes):
        found.sort(key=lambda finding: (finding.key, finding.kind))
    return check.report


class _Check:
    """One run of `check_models`."""

    def __init__(
        self, store: Store, registries: Registries, workers: Workers, report: ModelReport, signer: Signer | None
    ) -> None:
        self._store = store
        self._registries = registries
        self._shelf = registries.shelf
        self._workers = workers
        self._signer = signer
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self.report = report

    async def run(self) -> None:
        # Registries before objects: what is pushed meanwhile is an object without an entry, and no damage.
        found = {}
        for stem in await self._stems():
            try:
                found[stem] = await self._registries.find(stem)
            except Damaged as error:
                found[stem] = None
                key = str(error.context.get("key", self._registries.key(stem)))
                self._add(ModelFindingKind.REGISTRY_DAMAGED, key, error.message, error.hint, stem)
        objects = await self._objects()
        registered = {stem: registry for stem, registry in found.items() if registry is not None}
        self.report.models = len(found)
        await asyncio.gather(*(self._check_model(registry, objects) for registry in registered.values()))
        self._check_unregistered(objects, found)

    async def _stems(self) -> list[str]:
        stems = []
        async for item in self._store.list(self._shelf.registries):
            if (stem := parse_model_registry_key(item.key, self._shelf.top)) is not None:
                stems.append(stem)
            else:
                self._foreign(item.key)
        return stems

    async def _objects(self) -> dict[ModelVersionKey, ObjectInfo]:
        objects = {}
        async for item in self._store.list(self._shelf.versions):
            if (parsed := parse_model_version_key(item.key, self._shelf.top)) is not None:
                objects[parsed] = item
            else:
                self._foreign(item.key)
        return objects

    async def _check_model(self, registry: Registry, objects: dict[ModelVersionKey, ObjectInfo]) -> None:
        stem = registry.name.stem
        for name, alias in registry.aliases.items():
            if registry.by_number(alias.n) is None:
                detail = f"{name} points to version {alias.n}, which the registry does not have"
                hint = f"{self._shelf.command} promote {stem} VERSION {name}"
                self._add(ModelFindingKind.ALIAS_DANGLING, self._registries.key(stem), detail, hint, stem)
        versions = registry.listed()
        await asyncio.gather(*(self._check_version(registry, version, objects) for version in versions))
        if LATEST in registry.aliases and (latest := registry.by_number(registry.aliases[LATEST].n)) is not None:
            await self._check_copy(registry, latest)

    async def _check_version(self, registry: Registry, version: Version, objects: dict[ModelVersionKey, ObjectInfo]) -> None:
        stem, key = registry.name.stem, registry.name.version_key(version.n)
        self.report.versions += 1
        there = objects.get(ModelVersionKey(stem, version.n, registry.name.suffix))
        used = f"; until then do not use it: {', '.join(version.aliases)} points to it" if version.aliases else ""
        if there is None and await self._was_removed(stem, version.n):
            return
        if there is None:
            hint = f"restore an older version of this object, or push the same file again{used}"
            self._add(ModelFindingKind.VERSION_MISSING, key, f"version {version.n} has no object", hint, stem)
            return
        wrong = await self._wrong(key, version, there.size_bytes)
        if wrong is not None:
            hint = f"somebody replaced it: restore an older version of this object{used}"
            self._add(ModelFindingKind.VERSION_WRONG, key, wrong, hint, stem)
        self._check_signature(stem, version, key)

    async def _was_removed(self, stem: str, n: int) -> bool:
        """Whether the version was pruned since its registry was read."""
        now = await self._registries.find(stem)
        return now is not None and now.was_pruned(n)

    async def _check_copy(self, registry: Registry, latest: Version) -> None:
        stem, key = registry.name.stem, registry.name.copy_key
        hint = f"{self._shelf.command} repair {stem}"
        try:
            there = await self._store.head(key)
            # The copy's own word is not enough here: where the whole is read, the copy is too.
            wrong = await self._wrong(key, latest, there.size_bytes)
        except NotFound:
            self._add(ModelFindingKind.COPY_MISSING, key, f"no plain copy of version {latest.n}", hint, stem)
            return
        if wrong is None and is_copy_of(there, latest):
            return
        now = await self._registries.find(stem)
        if now is not None and now.aliases.get(LATEST) == registry.aliases[LATEST]:
            detail = f"it is not version {latest.n}, to which latest points: {wrong or 'it does not say that it is'}"
            self._add(ModelFindingKind.COPY_WRONG, key, detail, hint, stem)

    async def _wrong(self, key: str, version: Version, size: int) -> str | None:
        if size != version.size:
            return f"{size} bytes instead of {version.size}"
        if not self.report.deep:
            return None
        async with self._slots:
            try:
                found = await hash_content(StoredContent(self._store, key, size), self._workers)
            except NotFound:
                return "it went away while it was read"
        self.report.bytes += size
        return None if found == version.sha256 else f"its SHA-256 is {found} instead of {version.sha256}"

    def _check_signature(self, stem: str, version: Version, key: str) -> None:
        if self._signer is None:
            return
        if version.signature is None:
            hint = "push the same file again with STREAMER_MODEL_KEY set"
            self._add(ModelFindingKind.UNSIGNED, key, f"version {version.n} is not signed", hint, stem)
        elif version.signature != self._signer.sign(self._shelf.signed_name(stem), version.n, version.size, version.sha256):
            hint = "find out who pushed it, or set the STREAMER_MODEL_KEY of its trainer"
            self._add(ModelFindingKind.SIGNATURE_WRONG, key, f"version {version.n} is signed with another key", hint, stem)

    def _check_unregistered(self, objects: dict[ModelVersionKey, ObjectInfo], found: dict[str, Registry | None]) -> None:
        for parsed, item in objects.items():
            if parsed.stem not in found:
                # A first version alone is of a first push that died, or is under way.
                first = sum(other.stem == parsed.stem for other in objects) == parsed.n == 1
                kind = ModelFindingKind.UNREGISTERED if first else ModelFindingKind.REGISTRY_MISSING
                registry_key, again = self._registries.key(parsed.stem), f"{self._shelf.command} repair {parsed.stem}"
                hint = f"restore {registry_key}, or make it again: {again}"
                self._add(kind, item.key, f"its {self._shelf.noun} has no registry", hint, parsed.stem)
                continue
            registry = found[parsed.stem]
            if registry is None:
                continue
            if registry.name.suffix != parsed.suffix:
                self._foreign(item.key)
            elif registry.by_number(parsed.n) is None:
                pruned = registry.was_pruned(parsed.n)
                what = "it was pruned, and its object is still here" if pruned else "no registry knows it"
                command = f"prune {parsed.stem} --yes" if pruned else f"repair {parsed.stem}"
                hint = f"{self._shelf.command} {command}, unless a push is under way"
                self._add(ModelFindingKind.UNREGISTERED, item.key, what, hint, parsed.stem)

    def _foreign(self, key: str) -> None:
        hint = "find out who put it there; nothing but streamer writes here"
        self._add(ModelFindingKind.FOREIGN_OBJECT, key, "this is not the key of anything streamer writes", hint)

    def _add(self, kind: ModelFindingKind, key: str, detail: str, hint: str, model: str | None = None) -> None:
        (self.report.notes if kind in _NOTES else self.report.findings).append(ModelFinding(kind, key, detail, hint, model))
