"""What a piece of work costs, as the measuring programs of this folder count it."""

from __future__ import annotations

import time
from collections.abc import Callable


def least(work: Callable[[], object], repeat: int) -> float:
    """Seconds of CPU time, user and system, the lowest of `repeat` times."""
    took = []
    for _ in range(repeat):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return min(took)
