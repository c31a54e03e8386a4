"""The real daemon as a child process, as a user starts it: `python -m streamer run --config FILE`.

It never outlives the process that started it, and takes nothing of its environment that configures streamer.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from streamer.errors import StreamerError

_PR_SET_PDEATHSIG = 1
_LINES_SHOWN = 5


class DaemonProcess:
    """One life of the daemon. Its log lines go to the end of `log_file`."""

    def __init__(self, process: asyncio.subprocess.Process, log_file: Path, log_start: int) -> None:
        self._process = process
        self._log_file = log_file
        self._log_start = log_start

    @classmethod
    async def start(cls, config: Path, log_file: Path, changes: Mapping[str, str] | None = None) -> Self:
        """Start it. `changes` are environment variables for this life only."""
        inherited = {name: value for name, value in os.environ.items() if not name.upper().startswith("STREAMER__")}
        with log_file.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # a stray select.py in the working directory is not the library's
                "-m",
                "streamer",
                "run",
                "--config",
                str(config),
                env={**inherited, "STREAMER__LOG__FORMAT": "json", **(changes or {})},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,  # a Ctrl-C on the terminal is for whoever runs us; he stops the daemon in order
                preexec_fn=_die_with_parent(),
            )
            return cls(process, log_file, log.tell())

    @property
    def pid(self) -> int:
        return self._process.pid

    def demand_alive(self) -> None:
        """Raises `StreamerError` with the daemon's last words where it has ended by itself."""
        if (code := self._process.returncode) is not None:
            raise StreamerError(f"the daemon ended with {code}: {self._last_words()}", hint=f"read {self._log_file}")

    async def wait(self) -> int:
        """Its exit status, once it has ended by itself."""
        return await self._process.wait()

    async def kill(self) -> None:
        """`kill -9`: no chance to write anything."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    async def stop(self, timeout_seconds: float) -> int:
        """SIGTERM, and its exit status. Raises `StreamerError` where it takes longer than the time given."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._process.wait()
        except TimeoutError:
            raise StreamerError(
                f"the daemon did not stop within {timeout_seconds:g} s: {self._last_words()}", hint=f"read {self._log_file}"
            ) from None

    def events(self, name: str) -> list[dict[str, Any]]:
        """The events of this name that it has logged up to now."""
        return [event for event in self._lines() if event.get("event") == name]

    def _lines(self) -> list[dict[str, Any]]:
        with self._log_file.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().splitlines()
        parsed = []
        for line in lines:
            try:
                body = json.loads(line)
            except ValueError:  # the last line of a life that ended in the middle of it, or a traceback
                body = {"event": line.decode(errors="replace")}
            if isinstance(body, dict):
                parsed.append(body)
        return parsed

    def _last_words(self) -> str:
        words = [str(line.get("error") or line.get("hint") or line.get("event")) for line in self._lines()[-_LINES_SHOWN:]]
        return " | ".join(words) or "it said nothing"


def _die_with_parent() -> Callable[[], None] | None:
    """What asks Linux for a SIGTERM when the parent is killed; elsewhere None. The library is loaded before the fork: nothing
    but one system call may happen between fork and exec."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

    return ask
