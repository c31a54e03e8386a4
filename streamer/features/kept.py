"""Older versions of a merged history: which of them stay. Pure.

A fixed number of versions should answer both "a minute ago" and "yesterday": so they thin out with age, instead of ending
after a few minutes.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime


def superfluous(times: Collection[datetime], keep: int) -> list[datetime]:
    """Which of the versions written at `times` to remove so that `keep` stay.

    The newest and the oldest stay; of the others those go first that stand closest to their neighbours, measured by their
    age: the versions that stay are close together where they are new, and further apart the older they are.
    """
    left = sorted(times)
    gone = []
    while len(left) > keep:
        if keep < 3 or len(left) < 3:
            gone.append(left.pop(0))
            continue
        newest = left[-1]
        at = min(range(1, len(left) - 1), key=lambda at: (left[at + 1] - left[at - 1]) / (newest - left[at - 1]))
        gone.append(left.pop(at))
    return gone
