"""Writing down what something is made of: each source is looked at, and recorded with the version that is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from streamer.errors import Conflict, NotFound, OutcomeUnknown
from streamer.lake.parallel import in_order
from streamer.lineage.derivation import METADATA, Derivation, Source, digest_of
from streamer.store.contract import Create, Overwrite, Store

HEADS_AT_ONCE = 16


async def recorded(store: Store, sources: Iterable[Source]) -> tuple[Source, ...]:
    """The sources with their versions: the ETag that a source came with, else the one that is there now. Each key once.

    One HEAD each, several at a time. Raises `NotFound` for a source that is not in the lake.
    """
    asked = {source.key: source for source in sources}

    async def look(source: Source) -> Source:
        try:
            info = await store.head(source.key)
        except NotFound as error:
            hint = "name objects of this lake by their keys; what came from elsewhere belongs into metadata or tags"
            raise NotFound("a source is not in the lake", hint=hint, key=source.key) from error
        if source.etag not in (None, info.etag):
            return source  # it was replaced since it was read: what is there now is not what was used
        return Source(source.key, info.etag, source.digest or digest_of(info.metadata))

    looked = in_order(asked.values(), look, lambda _: 0, most=HEADS_AT_ONCE, budget_bytes=1)
    return tuple([source async for source in looked])


async def attached(store: Store, metadata: Mapping[str, str], derivation: Derivation) -> dict[str, str]:
    """`metadata` with the derivation in it. Where the sources have no room there, their list is in the lake by then."""
    said, listed = derivation.fitting(metadata)
    if listed is not None and said.listed is not None:
        await _put_list(store, said.listed, listed)
    return {**metadata, METADATA: said.to_metadata()}


async def _put_list(store: Store, key: str, body: bytes) -> None:
    try:
        await store.put(key, body, mode=Create(), content_type="application/json")
    except (Conflict, OutcomeUnknown):
        try:
            if (await store.get(key)).body == body:
                return
        except NotFound:
            pass
        # Its name is its hash: whatever else is there is damage, and this mends it.
        await store.put(key, body, mode=Overwrite(), content_type="application/json")
