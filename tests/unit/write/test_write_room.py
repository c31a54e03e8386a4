"""The room itself: it can be pure only while it imports nothing that is not."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import streamer.write

NOUNS = {"streamer.errors", "streamer.keys", "streamer.layout", "streamer.records", "streamer.schemas"}
IMPURE = {"asyncio", "os", "pathlib", "random", "secrets", "socket", "threading", "time", "uuid"}
LIBRARIES = {"orjson", "pyarrow"}


def test_the_room_imports_nouns_and_encoders_and_nothing_that_reads_a_clock_or_a_disk() -> None:
    files = list(Path(streamer.write.__path__[0]).glob("*.py"))
    imported = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module or "")

    assert len(files) > 5
    others = {name for name in imported if name not in NOUNS and not name.startswith("streamer.write")}
    assert {name.split(".")[0] for name in others} <= set(sys.stdlib_module_names) - IMPURE | LIBRARIES
