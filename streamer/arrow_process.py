"""How pyarrow is set up in a process that is the daemon and nothing else: without pandas, and with the leanest allocator.

Both concern the whole process, so only `streamer run` does it, never the library.
"""

from __future__ import annotations

import importlib.abc
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

import pyarrow as pa


class _NoPandas(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name == "pandas":
            raise ModuleNotFoundError(name)
        return None


def set_up_arrow() -> None:
    """Keep pandas out, and take jemalloc where this pyarrow has it.

    Where pandas is installed, pyarrow imports it with the first array that it makes of Python objects: a third of a second of
    CPU and 55 MiB for types the daemon never sees. It looks once; whoever imports pandas later gets it all the same. The
    allocators are compared in docs/decisions/0013.
    """
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.scalar(0)
    finally:
        sys.meta_path.remove(finder)
    if "jemalloc" in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())
