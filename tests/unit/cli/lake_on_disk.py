"""A small lake in a directory, for the commands that read one, and a way to run them as a shell would."""

from __future__ import annotations

import asyncio
import atexit
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from streamer.cli.main import main
from streamer.store.directory import DirectoryStore
from streamer.testing.manual_clock import ManualClock

sys.path.insert(0, str(Path(__file__).parent.parent / "lake"))

from lake_builder import small_lake

_TEMPLATE = tempfile.TemporaryDirectory(prefix="streamer-lake-")
atexit.register(_TEMPLATE.cleanup)


def build(path: Path) -> Path:
    """Three batches of ticks with dead letters below `path`. Written once, then copied: every write is synced to the disk."""
    template = Path(_TEMPLATE.name) / "lake"
    if not template.exists():
        _write(template)
    shutil.copytree(template, path)
    return path


def _write(path: Path) -> None:

    async def write() -> None:
        store = DirectoryStore(path, ManualClock(), create=True)
        await store.prepare()
        await small_lake(store)
        await store.close()

    asyncio.run(write())


class Shell:
    """Runs commands against one lake, with no Kafka in reach."""

    def __init__(self, lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.lake = lake
        self._capsys = capsys
        self.err = ""

    def run(self, *arguments: str) -> tuple[int, str]:
        """Exit status and standard output; standard error is kept in `err`."""
        status = main([*arguments, "--lake", str(self.lake)])
        out, self.err = self._capsys.readouterr()
        return status, out

    def json(self, *arguments: str) -> tuple[int, Any]:
        status, out = self.run(*arguments, "--json")
        return status, json.loads(out)
