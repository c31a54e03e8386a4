"""The layout documents of the lake: written before their first use, read when a sealed range has to be finished."""

from __future__ import annotations

import orjson

from streamer.errors import Conflict, Damaged, Invalid, NotFound, PartitionRefused
from streamer.keys import layout_key
from streamer.layout import Layout
from streamer.store.contract import Create, Store


class LayoutDocuments:
    """`_streamer/layouts/{fingerprint}.json`, remembered for the life of the process (they never change)."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._written: dict[str, Layout] = {}

    async def ensure(self, layout: Layout) -> None:
        """See to it that the document of `layout` is there. Raises `Damaged` where another one has its name."""
        if layout.fingerprint in self._written:
            return
        key = layout_key(layout.fingerprint)
        body = orjson.dumps(layout.document(), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
        try:
            await self._store.put(key, body, mode=Create(), content_type="application/json")
        except Conflict:
            found = await self._read(key)
            if found != layout:
                raise Damaged(
                    "a layout document does not fit its name", hint="delete it; it is written anew", key=key
                ) from None
        self._written[layout.fingerprint] = layout

    async def load(self, fingerprint: str, **where: object) -> Layout:
        """The layout under which a range was sealed. Raises `PartitionRefused` where this release cannot execute it."""
        if (known := self._written.get(fingerprint)) is not None:
            return known
        key = layout_key(fingerprint)
        try:
            layout = await self._read(key)
        except NotFound:
            raise PartitionRefused(
                "the layout of a sealed range is missing from the lake", hint=f"restore {key} from a backup", key=key, **where
            ) from None
        except Invalid as error:
            raise PartitionRefused(error.message, hint=error.hint, key=key, **where) from error
        if layout.fingerprint != fingerprint:
            raise PartitionRefused(
                "a layout document does not fit its name", hint=f"restore {key} from a backup", key=key, **where
            )
        self._written[fingerprint] = layout
        return layout

    async def _read(self, key: str) -> Layout:
        stored = await self._store.get(key)
        try:
            return Layout.from_document(orjson.loads(stored.body))
        except orjson.JSONDecodeError as error:
            raise Invalid("not a layout document", hint="restore it from a backup of the lake", key=key) from error
