"""Bundles for tests: folders, archives that lie, a store that counts, and processes that load."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import os
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streamer.bundles.bundles import AsyncBundles
from streamer.clock import Clock
from streamer.store.contract import Store
from streamer.testing.manual_clock import ManualClock
from streamer.workers import InlineWorkers

ROOT = Path(__file__).parents[3]
_seeds = itertools.count(1)

LOADER = """
import json, sys
from streamer import Lake
with Lake.open(sys.argv[1], cache=None) as lake:
    loaded = lake.bundles.load("libs", to=sys.argv[2])
    import bundled_answer
    print(json.dumps({"fetched": loaded.fetched, "path": str(loaded.path), "answer": bundled_answer.ANSWER}))
"""


class Counting:
    """A store that counts the objects that were asked for."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner
        self.asked: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def get(self, key: str) -> Any:
        self.asked[key] += 1
        return await self._inner.get(key)

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        self.asked[key] += 1
        return await self._inner.get_range(key, start, length)

    async def head(self, key: str) -> Any:
        self.asked[key] += 1
        return await self._inner.head(key)


def bundles_of(store: Any, clock: Clock | None = None, **more: Any) -> AsyncBundles:
    return AsyncBundles(store, clock or ManualClock(seed=next(_seeds)), InlineWorkers(), **more)


def make_folder(folder: Path, answer: int = 42) -> Path:
    (folder / "bundled_pkg").mkdir(parents=True, exist_ok=True)
    (folder / "bundled_answer.py").write_text(f"ANSWER = {answer}\n")
    (folder / "bundled_pkg/__init__.py").write_text("")
    (folder / "bundled_pkg/tool.sh").write_text("#!/bin/sh\n")
    (folder / "bundled_pkg/tool.sh").chmod(0o755)
    return folder


def zip_of(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes], compress: bool = True) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as archive:
        for name, body in entries:
            archive.writestr(name, body)
    return path


def special(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def tar_of(path: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for info, body in entries:
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return path


def tar_entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


async def load_in_processes(lake_url: str, to: Path, count: int, environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """What `count` cold processes say that load at once."""
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}

    async def one() -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", LOADER, lake_url, str(to), env={**keep, "PYTHONPATH": str(ROOT), **environment},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(process.communicate(), 100)
        assert process.returncode == 0, err.decode()
        said: dict[str, Any] = json.loads(out)
        return said

    return await asyncio.gather(*(one() for _ in range(count)))
