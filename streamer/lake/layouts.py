"""All layout documents of a lake, for readers."""

from __future__ import annotations

import orjson

from streamer.errors import Invalid, NotFound
from streamer.keys import LAYOUTS
from streamer.layout import Layout
from streamer.store.contract import Store


async def read_layouts(store: Store) -> list[Layout]:
    """Every layout that this release can execute, by fingerprint. One that it cannot is left out: its files are read as they
    are, and `verify` speaks of it."""
    found = []
    async for item in store.list(LAYOUTS):
        try:
            found.append(Layout.from_document(orjson.loads((await store.get(item.key)).body)))
        except (Invalid, NotFound, orjson.JSONDecodeError):
            continue
    return found
