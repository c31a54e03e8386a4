"""The layouts of a lake for a reader that asks often: a layout document never changes, so each is read once."""

from __future__ import annotations

import asyncio

import orjson

from streamer.errors import Invalid, NotFound
from streamer.keys import LAYOUTS
from streamer.layout import Layout
from streamer.store.contract import Store


class KnownLayouts:
    """Every layout that this release can execute. Others are left out: their files are read as they are."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[tuple[str, str], Layout | None] = {}

    async def read(self) -> list[Layout]:
        """One listing, and a GET for each document that is new here."""
        listed = [(item.key, item.etag) async for item in self._store.list(LAYOUTS)]
        new = [version for version in listed if version not in self._known]
        for version, layout in zip(new, await asyncio.gather(*(self._load(key) for key, _ in new)), strict=True):
            self._known[version] = layout
        return [layout for version in listed if (layout := self._known[version]) is not None]

    async def _load(self, key: str) -> Layout | None:
        try:
            return Layout.from_document(orjson.loads((await self._store.get(key)).body))
        except (Invalid, NotFound, orjson.JSONDecodeError):
            return None
