"""A trainer and an engine, each a process of its own, that share nothing but a lake.

    python two_processes.py trainer push|files WHERE COUNT      writes COUNT generations, one every 50 ms
    python two_processes.py engine LAKE FOLDER LAST             pulls `latest` until it is generation LAST, and checks each

A generation proves itself: its number, then bytes, then the SHA-256 of both. The engine prints what it saw as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import sys
import time
from pathlib import Path

INTERVAL_SECONDS = 0.05
BODY_BYTES = 300_000
FILE = "forest.pkl"


def generation(number: int) -> bytes:
    body = number.to_bytes(8, "big") + random.Random(number).randbytes(BODY_BYTES + number % 97)
    return body + hashlib.sha256(body).digest()


def number_of(content: bytes) -> int:
    """The number of a whole generation; raises where it is torn."""
    body, digest = content[:-32], content[-32:]
    if hashlib.sha256(body).digest() != digest:
        raise AssertionError(f"torn: {len(content)} bytes that begin with {content[:8].hex()}")
    return int.from_bytes(body[:8], "big")


def train_by_push(lake_url: str, folder: Path, count: int) -> None:
    from streamer import Lake

    with Lake.open(lake_url, cache=None) as lake:
        for number in range(1, count + 1):
            started = time.monotonic()
            (folder / FILE).write_bytes(generation(number))
            lake.models.push(folder / FILE, metrics={"generation": number})
            time.sleep(max(0.0, INTERVAL_SECONDS - (time.monotonic() - started)))


def train_by_files(folder: Path, count: int) -> None:
    """Every other one in place and with a pause in the middle; the last is renamed, so that it counts at once."""
    for number in range(1, count + 1):
        content = generation(number)
        if (count - number) % 2:
            with open(folder / FILE, "wb") as file:
                file.write(content[: BODY_BYTES // 2])
                file.flush()
                time.sleep(INTERVAL_SECONDS / 5)
                file.write(content[BODY_BYTES // 2 :])
        else:
            (folder / f".{FILE}.tmp").write_bytes(content)
            os.replace(folder / f".{FILE}.tmp", folder / FILE)
        time.sleep(INTERVAL_SECONDS)


def engine(lake_url: str, folder: Path, last: int) -> dict[str, object]:
    from streamer import Lake
    from streamer.errors import NotFound

    target = folder / FILE
    seen: list[int] = []
    pulls = plain = 0
    deadline = time.monotonic() + 60
    with Lake.open(lake_url, cache=folder / "cache") as lake:
        while not seen or seen[-1] != last:
            if time.monotonic() > deadline:
                raise AssertionError(f"generation {last} never came; saw {seen}")
            with contextlib.suppress(NotFound):
                pulled = lake.models.pull("forest", target)
                pulls += 1
                number = number_of(target.read_bytes())
                if pulled.version.sha256 != hashlib.sha256(target.read_bytes()).hexdigest():
                    raise AssertionError("the file is another version than was said")
                if not seen or seen[-1] != number:
                    seen.append(number)
            with contextlib.suppress(NotFound):
                copy = asyncio.run_coroutine_threadsafe(lake._inner._store.get(f"models/{FILE}"), lake._loop._loop).result()
                plain += 1
                number_of(copy.body)
            if leftovers := [path.name for path in folder.iterdir() if path.name not in (FILE, "cache")]:
                raise AssertionError(f"left behind: {leftovers}")
    return {"seen": seen, "pulls": pulls, "plain": plain}


def main(arguments: list[str]) -> None:
    match arguments:
        case ["trainer", "push", lake_url, folder, count]:
            train_by_push(lake_url, Path(folder), int(count))
        case ["trainer", "files", folder, count]:
            train_by_files(Path(folder), int(count))
        case ["engine", lake_url, folder, last]:
            json.dump(engine(lake_url, Path(folder), int(last)), sys.stdout)
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
