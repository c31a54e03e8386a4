"""From an object to the roots: breadth first, each object once, several requests at a time, and no further than allowed."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.clock import Clock
from streamer.errors import Invalid, NotFound
from streamer.lake.parallel import in_order
from streamer.lineage.derivation import Source, digest_of
from streamer.lineage.graph import LineageGraph, Link, Node, State
from streamer.lineage.origin import Origin
from streamer.lineage.origins import Origins
from streamer.lineage.recording import HEADS_AT_ONCE
from streamer.store.contract import ObjectInfo, Store

DEPTH = 30
OBJECTS = 1000


@dataclass(frozen=True, slots=True)
class _Seen:
    key: str
    info: ObjectInfo | None
    origin: Origin


async def walk(store: Store, clock: Clock, key: str, *, depth: int = DEPTH, objects: int = OBJECTS) -> LineageGraph:
    """The lineage of the object at `key`.

    depth: how many steps from it, at most. objects: how many are looked at, at most; one HEAD each, and what says more of it
    (certificates, registries, lists) once. Raises `NotFound` where there is no such object, `Invalid` for what can be no key,
    `Unavailable`, `Denied`. Damage is no error: `LineageGraph.problems` has it.
    """
    if depth < 0 or objects < 1:
        raise Invalid(f"depth {depth}, objects {objects}", hint="give a depth of 0 or more, and 1 object or more")
    try:
        await store.head(key)
    except NotFound:
        hint = "give the whole key of an object of this lake; `streamer documents list` prints those of documents"
        raise NotFound("there is no such object", hint=hint, key=key) from None
    origins, seen, level = Origins(store, clock), dict[str, _Seen](), [key]

    async def look(wanted: str) -> _Seen:
        try:
            info = await store.head(wanted)
        except NotFound:
            info = None
        except Invalid as error:
            return _Seen(wanted, None, Origin("object", problem=error.message))
        return _Seen(wanted, info, await origins.of(wanted, info))

    for _ in range(depth + 1):
        looked = in_order(level, look, lambda _: 0, most=HEADS_AT_ONCE, budget_bytes=1)
        found = [each async for each in looked]
        seen |= {each.key: each for each in found}
        following = dict.fromkeys(s.key for each in found for s in each.origin.sources if s.key not in seen)
        level = list(following)[: objects - len(seen)]
        if not level:
            break
    nodes = {each.key: _node(each, seen) for each in seen.values()}
    complete = all(link.state != "unvisited" for node in nodes.values() for link in node.links)
    return LineageGraph(key, nodes, complete)


def _node(found: _Seen, seen: dict[str, _Seen]) -> Node:
    info, origin = found.info, found.origin
    return Node(
        key=found.key,
        kind=origin.kind,
        etag=info.etag if info is not None else None,
        modified=info.modified if info is not None else None,
        size_bytes=info.size_bytes if info is not None else None,
        computation=origin.computation,
        version=origin.version,
        computed_at=origin.computed_at,
        offsets=origin.offsets,
        links=tuple(Link(source, _state(source, seen.get(source.key))) for source in origin.sources),
        about=origin.about,
        problem=origin.problem,
    )


def _state(recorded: Source, now: _Seen | None) -> State:
    if now is None:
        return "unvisited"
    if now.info is None:
        return "gone"
    if recorded.etag is not None and recorded.etag == now.info.etag:
        return "unchanged"
    said = digest_of(now.info.metadata)
    if recorded.digest is not None and said is not None:
        return "unchanged" if recorded.digest == said else "changed"
    return "changed" if recorded.etag is not None else "unknown"
