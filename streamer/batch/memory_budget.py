"""One budget of bytes for the whole process: who holds how much, who must be cut first, when fetching waits. Pure.

The budget covers everything that is buffered: records waiting to be decoded, open batches, batches being written with
their encoded bodies, and what the Kafka client may have fetched ahead. It does not cover the interpreter and libraries
(about 100 MiB).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeVar

T = TypeVar("T")

CUT_SHARE = 0.5
"""Above this share of the budget open batches are cut, largest first: writing them takes time, and the rest of the budget
is what arrives meanwhile."""

FULL_SHARE = 0.8
"""Above this share fetching waits. What has been fetched already may still be decoded, which takes the rest."""


class MemoryBudget:
    """Counts bytes by owner (such as a partition) and by what the owner holds them for."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self._held: dict[Hashable, dict[Hashable, int]] = {}
        self._used = 0
        self._reserved = 0
        self._kept: dict[Hashable, int] = {}
        self.kept_bytes = 0

    @property
    def used_bytes(self) -> int:
        """Everything held now, the reserve included."""
        return self._used + self._reserved + self.kept_bytes

    @property
    def full(self) -> bool:
        """Whether fetching must wait. While nothing is held there is always room for one more chunk, whatever its size,
        or a single huge record would stop everything for ever."""
        return self._used > 0 and self._flowing_bytes >= self._for_flow_bytes * FULL_SHARE

    @property
    def pressed(self) -> bool:
        """Whether open batches must be cut."""
        return self._flowing_bytes >= self._for_flow_bytes * CUT_SHARE

    @property
    def _flowing_bytes(self) -> int:
        """What cutting and waiting can change."""
        return self._used + self._reserved

    @property
    def _for_flow_bytes(self) -> int:
        return max(1, self.budget_bytes - self.kept_bytes)

    def reserve(self, size_bytes: int) -> None:
        """Set aside what the Kafka client may hold. At most a third of the budget: the client is told to keep to it."""
        self._reserved = min(size_bytes, self.budget_bytes // 3)

    def hold(self, owner: Hashable, purpose: Hashable, size_bytes: int) -> None:
        """`owner` holds `size_bytes` for `purpose` now, and no longer what it held for it before."""
        held = self._held.setdefault(owner, {})
        self._used += size_bytes - held.pop(purpose, 0)
        if size_bytes:
            held[purpose] = size_bytes
        elif not held:
            del self._held[owner]

    def keep(self, owner: Hashable, size_bytes: int) -> None:
        """`owner` keeps `size_bytes` that no cut frees (feature history), and no longer what it kept before. What flows has the
        rest of the budget to itself: nothing waits for bytes that never go."""
        self.kept_bytes += size_bytes - self._kept.pop(owner, 0)
        if size_bytes:
            self._kept[owner] = size_bytes

    def forget(self, owner: Hashable) -> None:
        """`owner` holds nothing any more, and keeps nothing."""
        self._used -= sum(self._held.pop(owner, {}).values())
        self.keep(owner, 0)

    def victims(self, open_batches: Iterable[tuple[T, int]], being_written_bytes: int) -> list[T]:
        """Which open batches to cut so that the budget is no longer pressed, largest first, counting on
        `being_written_bytes` to be freed soon."""
        excess = self._flowing_bytes - being_written_bytes - self._for_flow_bytes * CUT_SHARE
        chosen: list[T] = []
        for owner, size_bytes in sorted(open_batches, key=lambda item: -item[1]):
            if excess <= 0 or size_bytes == 0:
                break
            chosen.append(owner)
            excess -= size_bytes
        return chosen
