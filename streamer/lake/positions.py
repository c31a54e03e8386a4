"""All positions of a lake, for readers. Changes none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from streamer.commit.position import Position
from streamer.errors import Damaged, NotFound
from streamer.keys import POSITIONS, parse_position_key, position_key
from streamer.lake.finding import Finding, FindingKind
from streamer.records import TopicPartition
from streamer.store.contract import Store

_READS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Positions:
    """Every position that could be read, and what is wrong with the others."""

    by_source: dict[TopicPartition, Position]
    findings: list[Finding] = field(default_factory=list)


async def read_positions(store: Store) -> Positions:
    """List and read `_streamer/positions/`. Raises `Unavailable` and `Denied`."""
    keys = [item.key async for item in store.list(POSITIONS)]
    found: dict[TopicPartition, Position] = {}
    findings: list[Finding] = []
    waiting = iter(keys)

    async def carry(waiting: Iterable[str]) -> None:
        for key in waiting:
            outcome = await _read(store, key)
            if isinstance(outcome, Position):
                found[outcome.source] = outcome
            elif outcome is not None:
                findings.append(outcome)

    await asyncio.gather(*(carry(waiting) for _ in range(min(_READS_AT_ONCE, len(keys)))))
    return Positions(dict(sorted(found.items())), sorted(findings, key=lambda finding: finding.key or ""))


async def _read(store: Store, key: str) -> Position | Finding | None:
    if parse_position_key(key) is None:
        return Finding(FindingKind.POSITION_DAMAGED, "this is not the key of a position", "find out who put it there", key)
    try:
        position = Position.from_json((await store.get(key)).body, key=key)
    except NotFound:
        return None
    except Damaged as error:
        return Finding(FindingKind.POSITION_DAMAGED, error.message, error.hint, key)
    if position_key(position.source) != key:
        hint = f"restore both from a backup, or delete this one if {position_key(position.source)} is right"
        return Finding(FindingKind.POSITION_DAMAGED, f"it speaks of {position.source}", hint, key)
    return position
