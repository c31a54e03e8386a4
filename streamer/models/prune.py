"""Removing old versions: first from the registry, where a compare-and-swap keeps every alias safe, then their objects.

A crash in between leaves objects of numbers that the registry knows as pruned; the next prune removes them.
"""

from __future__ import annotations

from dataclasses import dataclass

from streamer.errors import Invalid
from streamer.keys import parse_model_version_key
from streamer.models.registries import Registries
from streamer.models.registry import Registry
from streamer.models.version import Version
from streamer.store.contract import Store


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a prune removed, or would remove. `keys`: the objects; `bytes`: their size, as the registry says."""

    name: str
    versions: tuple[Version, ...]
    keys: tuple[str, ...]
    bytes: int
    done: bool


async def prune(store: Store, registries: Registries, stem: str, *, keep: int, dry_run: bool) -> Pruned:
    """Remove all but the newest `keep` versions, those with an alias, and those an alias would roll back to."""
    if keep < 0:
        raise Invalid(f"cannot keep {keep} versions", hint="keep 0 or more; versions with an alias always stay")
    before = await registries.read(stem)
    going = before.prunable(keep)
    if not dry_run and going:
        chosen: list[Version] = []

        def without(there: Registry | None) -> Registry:
            nonlocal chosen
            chosen = (there or before).prunable(keep)
            return (there or before).pruning(keep)

        await registries.change(stem, without)
        going = chosen or going
    after = before if dry_run else await registries.read(stem)
    doomed = {version.n for version in going} if dry_run else set()
    keys = [
        item.key
        async for item in store.list(f"{registries.shelf.versions}{stem}_v")
        if (parsed := parse_model_version_key(item.key, registries.shelf.top)) is not None
        and (parsed.stem, parsed.suffix) == (stem, before.name.suffix)
        and (parsed.n in doomed or after.was_pruned(parsed.n))
    ]
    if not dry_run:
        for key in keys:
            await store.delete(key)
    return Pruned(stem, tuple(going), tuple(keys), sum(version.size for version in going), not dry_run)
