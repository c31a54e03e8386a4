"""One at a time by name, across the threads, tasks and processes of one machine: a lock on a file."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from streamer.clock import Clock

POLL_SECONDS = 0.05


@asynccontextmanager
async def single_flight(folder: str, name: str, clock: Clock) -> AsyncIterator[None]:
    """Hold the lock of `name` below `folder`; others wait for as long. A process that dies lets go.

    Waits by asking again, not in a thread: threads that wait could be all there are.
    """
    os.makedirs(folder, 0o700, exist_ok=True)
    path = os.path.join(folder, hashlib.sha256(name.encode()).hexdigest())
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await clock.sleep(POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)
