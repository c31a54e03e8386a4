"""What an object says of where it came from, by what its key makes of it: the one place that knows all kinds of them.

Reads certificates, registries and heads of feature histories, each once a walk. Whatever is damaged is said in the answer.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

from streamer.clock import Clock
from streamer.errors import Damaged, Invalid, NotFound
from streamer.features.stored_document import read_standing
from streamer.keys import (
    BUNDLES,
    MODELS,
    DataKey,
    archived_day,
    feature_history_key,
    model_version_key,
    parse_certificate_key,
    parse_data_key,
    parse_feature_history_key,
    parse_model_registry_key,
    parse_model_version_key,
)
from streamer.lineage.archive_origins import ArchiveOrigins
from streamer.lineage.derivation import LIST_BYTES_MAX, METADATA, Derivation, Source, listed_sources
from streamer.lineage.graph import Kind, Offsets
from streamer.lineage.origin import Origin
from streamer.models.name import split_suffix
from streamer.models.plain_copy import HASH, NUMBER
from streamer.models.refusals import NoSuchModel
from streamer.models.registries import Registries
from streamer.models.registry import Registry
from streamer.models.shelf import MODEL_SHELF, Shelf
from streamer.models.version import Version
from streamer.store.contract import ObjectInfo, Store

_SHELVES = (MODEL_SHELF, Shelf(BUNDLES, "bundle", "streamer bundles"))
_HISTORY = re.compile(r"state/(?!.*(?:^|/)_)(?P<stem>.+)\.(?P<suffix>json|arrow)")
_FACTS = ("rows", "digest", "layout")


class Origins:
    """What the objects of one lake say of themselves, for the length of one walk."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._archive = ArchiveOrigins(store)
        self._shelves = {shelf.top: Registries(store, clock, shelf) for shelf in _SHELVES}
        self._registries: dict[tuple[str, str], Registry | None] = {}
        self._reading = asyncio.Lock()

    async def of(self, key: str, info: ObjectInfo | None) -> Origin:
        """info: of the object as it is now; None where it is gone, of which its key may say something yet. Raises
        `Unavailable`, `Denied`."""
        if (data := parse_data_key(key)) is not None:
            return _data_file(data, info)
        try:
            return await self._derived(key, info)
        except (Damaged, Invalid) as error:
            return Origin(_kind_of(key), problem=error.message if error.context.get("key") in (None, key) else str(error))

    async def _derived(self, key: str, info: ObjectInfo | None) -> Origin:
        if info is not None and info.metadata and METADATA in info.metadata:
            return await self._document(key, info.metadata[METADATA])
        if (day := parse_certificate_key(key)) is not None:
            return await self._archive.certificate(day)
        if (day := archived_day(key)) is not None:
            return await self._archive.output(day, key, info)
        for top, registries in self._shelves.items():
            if key.startswith(top):
                return await self._model(registries, key, info)
        if info is not None and _HISTORY.fullmatch(key):
            return await self._history(key)
        return Origin("object")

    async def _document(self, key: str, text: str) -> Origin:
        said = Derivation.from_metadata(text, key=key)
        origin = Origin("document", said.computation, said.version, said.computed_at, sources=said.sources)
        if said.listed is None:
            return origin
        try:
            return replace(origin, sources=await self._list(said.listed))
        except (Damaged, NotFound) as error:
            return replace(origin, problem=f"the list of its {said.count} sources is gone or damaged: {error}")

    async def _list(self, key: str) -> tuple[Source, ...]:
        info = await self._store.head(key)
        if info.size_bytes > LIST_BYTES_MAX:
            raise Damaged(f"a list of sources of {info.size_bytes} bytes", hint="find out who wrote it", key=key)
        return listed_sources((await self._store.get(key)).body, key=key)

    async def _model(self, registries: Registries, key: str, info: ObjectInfo | None) -> Origin:
        shelf = registries.shelf
        kind: Kind = "model" if shelf.top == MODELS else "bundle"
        if parse_model_registry_key(key, shelf.top) is not None:
            return Origin("registry")
        named = parse_model_version_key(key, shelf.top)
        if named is None:
            return _plain_copy(kind, shelf, key, info)
        registry = await self._registry(registries, named.stem)
        version = registry.by_number(named.n) if registry is not None else None
        if registry is None or version is None or registry.name.version_key(version.n) != key:
            return Origin(kind, problem="no registry knows this version: `repair` takes it in")
        about = {"pushed_by": version.pushed_by, "sha256": version.sha256}
        about |= {"schema": version.schema} if version.schema is not None else {}
        parent = _parent(registry, version)
        if version.parent is not None and parent is None:
            about["parent"] = str(version.parent)  # what its trainer says, and no version of it
        return Origin(
            kind,
            version=f"v{version.n}",
            computed_at=version.created,
            offsets=tuple(Offsets(at.topic, at.partition, at.lineage, None, at.offset) for at in version.trained_through),
            sources=(Source(registry.name.version_key(parent.n)),) if parent is not None else (),
            about=about,
        )

    async def _registry(self, registries: Registries, stem: str) -> Registry | None:
        at = (registries.shelf.top, stem)
        async with self._reading:
            if at not in self._registries:
                self._registries[at] = await registries.find(stem)
        return self._registries[at]

    async def _history(self, key: str) -> Origin:
        document = f"{key.removesuffix('.arrow')}.json" if key.endswith(".arrow") else key
        if document != key:
            return Origin("feature history", sources=(Source(document),))
        standing = await read_standing(self._store, key)
        if standing is None or standing.head is None:
            return Origin("object" if standing is None else "feature history", problem="its head cannot be read")
        places = sorted(standing.head.places.items())
        merged = parse_feature_history_key(key) is None
        return Origin(
            "feature history",
            computed_at=standing.head.as_of,
            offsets=tuple(Offsets(at.topic, at.partition, lineage, None, offset) for at, (lineage, offset) in places),
            sources=tuple(Source(feature_history_key(at)) for at, _ in places) if merged else (),
            about={"stream": standing.head.stream},
        )


def _data_file(data: DataKey, info: ObjectInfo | None) -> Origin:
    range_ = data.range
    said = dict(info.metadata or {}) if info is not None else {}
    named = {
        "topic": range_.source.topic, "partition": str(range_.source.partition), "lineage": str(range_.lineage),
        "start": str(range_.start), "end": str(range_.end),
    }  # fmt: skip
    differs = info is not None and any(said.get(name) != value for name, value in named.items())
    return Origin(
        "dead letters" if data.dead_letters else "data file",
        offsets=(Offsets(range_.source.topic, range_.source.partition, range_.lineage, range_.start, range_.end),),
        about={"stream": data.stream, **{name: said[name] for name in _FACTS if name in said}},
        problem="its metadata is not that of its name: `streamer verify` says more" if differs else None,
    )


def _plain_copy(kind: Kind, shelf: Shelf, key: str, info: ObjectInfo | None) -> Origin:
    """Of `models/{file}`: the version that it is a copy of, as it says itself."""
    said = dict(info.metadata or {}) if info is not None else {}
    stem, suffix = split_suffix(key.removeprefix(shelf.top))
    number = said.get(NUMBER, "")
    if not (number.isascii() and number.isdecimal()) or "/" in stem or len(number) > 10:
        return Origin("object")
    source = Source(model_version_key(stem, int(number), suffix, shelf.top))
    return Origin(kind, version=f"v{number}", sources=(source,), about={HASH: said[HASH]} if HASH in said else {})


def _parent(registry: Registry, version: Version) -> Version | None:
    if version.parent is None:
        return None
    try:
        return registry.resolve(version.parent)
    except (NoSuchModel, Damaged):
        return None


def _kind_of(key: str) -> Kind:
    """Of an object that cannot be read."""
    if parse_certificate_key(key) is not None:
        return "certificate"
    if archived_day(key) is not None:
        return "archive"
    for top, kind in ((MODELS, "model"), (BUNDLES, "bundle"), ("state/", "feature history")):
        if key.startswith(top):
            return kind  # type: ignore[return-value]
    return "document"
