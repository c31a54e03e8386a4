"""Runs the two processes of `two_processes.py` against a lake anywhere, and looks at what the engine saw."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

SCRIPT = Path(__file__).parent / "two_processes.py"
ROOT = Path(__file__).parents[3]


async def start(*arguments: object, environment: Mapping[str, str]) -> asyncio.subprocess.Process:
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return await asyncio.create_subprocess_exec(
        sys.executable, str(SCRIPT), *map(str, arguments),
        env={**keep, "PYTHONPATH": str(ROOT), **environment}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def ended(process: asyncio.subprocess.Process) -> bytes:
    try:
        out, err = await asyncio.wait_for(process.communicate(), 100)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, err.decode()
    return out


async def trainer_and_engine(
    lake_url: str, folder: Path, count: int, *, environment: Mapping[str, str], by: str = "push"
) -> list[int]:
    """The generations that the engine saw while the trainer worked; each was whole."""
    (folder / "trainer").mkdir(exist_ok=True)
    (folder / "engine").mkdir()
    trainer = ("push", lake_url, folder / "trainer") if by == "push" else ("files", folder / "trainer")
    processes = [
        await start("engine", lake_url, folder / "engine", count, environment=environment),
        await start("trainer", *trainer, count, environment=environment),
    ]
    out, _ = await asyncio.gather(*map(ended, processes))
    saw = json.loads(out)
    assert saw["pulls"] > 0
    assert saw["plain"] > 0
    return list(saw["seen"])
