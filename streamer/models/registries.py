"""The registries in the lake: the only code that reads and changes them.

Every change is a compare-and-swap on the version read. An answer that is lost, or a refusal, is settled by reading back: what
is there is ours only if the body is the body sent. Where somebody else's is there, the change is applied to that one anew; a
change knows by itself whether it has happened already (`registry.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from streamer.clock import Clock, backoff_seconds
from streamer.errors import Conflict, Damaged, NotFound, OutcomeUnknown, Unavailable
from streamer.keys import model_registry_key, parse_model_registry_key
from streamer.models.refusals import NoSuchModel
from streamer.models.registry import Registry
from streamer.models.shelf import MODEL_SHELF, Shelf
from streamer.store.contract import Create, Replace, Store

Change = Callable[[Registry | None], Registry]

ROUNDS_MAX = 1000
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class _Found:
    """A registry as the store has it; None where there is no object."""

    registry: Registry | None
    body: bytes = b""
    etag: str = ""


class Registries:
    """Every model's registry in one lake. All methods may raise `Unavailable`, `Denied`, and `Damaged` where a registry is
    none."""

    def __init__(self, store: Store, clock: Clock, shelf: Shelf = MODEL_SHELF) -> None:
        self.shelf = shelf
        self._store = store
        self._clock = clock

    def key(self, stem: str) -> str:
        """Where the registry of a model is."""
        return model_registry_key(stem, self.shelf.top)

    async def stems(self) -> list[str]:
        """The names of all models."""
        keys = [item.key async for item in self._store.list(self.shelf.registries)]
        return sorted(stem for key in keys if (stem := parse_model_registry_key(key, self.shelf.top)) is not None)

    async def find(self, stem: str) -> Registry | None:
        """The registry of a model; None where it has none."""
        return (await self._read(stem)).registry

    async def read(self, stem: str) -> Registry:
        """The registry of a model. Raises `NoSuchModel`."""
        if (found := await self.find(stem)) is None:
            noun = self.shelf.noun
            raise NoSuchModel(
                f"there is no such {noun}",
                hint=f"`{self.shelf.command} list` shows those there are",
                **{noun: stem, "lake": self._store.url},
            )
        return found

    async def change(self, stem: str, change: Change) -> Registry:
        """Replace the registry by what `change` makes of it, and return that. `change` may be called more than once; where
        it returns what it was given, nothing is written. What it raises is raised."""
        found = await self._read(stem)
        for attempt in range(ROUNDS_MAX):
            made = change(found.registry)
            if found.registry is not None and made == found.registry:
                return made
            target = replace(made, sequence=made.sequence + 1, writer=self._clock.token())
            landed, found = await self._swap(stem, found, target)
            if landed:
                return target
            await self._clock.sleep(self._clock.jitter(backoff_seconds(attempt, first=0.05, most=0.2)))
        raise Unavailable("too many others change this registry", hint="try again later", key=self.key(stem))

    async def _swap(self, stem: str, known: _Found, target: Registry) -> tuple[bool, _Found]:
        """Whether `target` was written over `known`, and what is there now."""
        key, body = self.key(stem), target.to_json()
        mode = Create() if known.registry is None else Replace(known.etag)
        for attempt in range(ROUNDS_MAX):
            try:
                etag = await self._store.put(key, body, mode=mode, content_type=_JSON)
            except (Conflict, OutcomeUnknown):
                found = await self._read(stem)
            else:
                return True, _Found(target, body, etag)
            if found.body == body:
                return True, found
            if found.etag != known.etag:
                return False, found
            # The old one is still there, and ours may land at any time: only the same body may be sent again.
            await self._clock.sleep(self._clock.jitter(backoff_seconds(attempt)))
        raise Unavailable("the registry cannot be written", hint="look at the store", key=key)

    async def _read(self, stem: str) -> _Found:
        key = self.key(stem)
        try:
            found = await self._store.get(key)
        except NotFound:
            return _Found(None)
        registry = Registry.from_json(found.body, key=key, shelf=self.shelf)
        if registry.name.stem != stem:
            raise Damaged(
                f"the registry speaks of the {self.shelf.noun} {registry.name.stem}",
                hint="it was copied or renamed by hand: restore an older version of this object, or delete it",
                key=key,
            )
        return _Found(registry, found.body, found.info.etag)
