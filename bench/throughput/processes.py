"""A child process and what it cost: wall, CPU and peak memory, by the operating system's own accounts.

Every contestant is such a child. It says on its output when its work begins and when it has ended, because starting an
interpreter, joining a group and connecting are no part of a throughput; what they cost is told apart.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
BEGIN = "begin"
END = "end"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one contestant. Seconds and CPU seconds are those of its work, from its begin to its end. `start_cpu` is what
    it used before; `peak_bytes` the most memory it ever had, start and libraries included."""

    records: int
    seconds: float
    cpu: float
    start_cpu: float
    peak_bytes: int
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.seconds

    @property
    def cpu_per_million(self) -> float:
        """CPU seconds for a million records."""
        return self.cpu * 1e6 / self.records


def cpu_of(pid: int) -> float:
    """User and system seconds that a process has used until now."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def say(what: str, **facts: Any) -> None:
    """What a contestant of ours says of itself: a line of JSON, with its own clock and CPU."""
    used = time.process_time()
    print(json.dumps({"event": what, "at": time.monotonic(), "cpu": used, **facts}), flush=True)


def peak_of(pid: int) -> int:
    """The most memory that a process has had until now, bytes; 0 where it has gone. (What `wait4` tells counts from before the
    program was loaded, when the child was a copy of us.)"""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


class Child:
    """A process whose lines are read as they come. `on_line` is called with each, in a thread of its own."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], on_line: Callable[[Child, dict[str, Any]], None]
    ) -> None:

        self._on_line = on_line
        self._process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.pid = self._process.pid
        self.unread: list[str] = []
        self._peak_bytes = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._peak_bytes = max(self._peak_bytes, peak_of(self.pid))
            try:
                found = json.loads(line)
                event = found["event"] if isinstance(found, dict) else None
            except (ValueError, KeyError):
                event = None
            if event is None:
                self.unread.append(line.decode(errors="replace").rstrip())
            else:
                self._on_line(self, found)

    def signal(self, number: int) -> None:
        """Send a signal to this process, and to no other."""
        self._process.send_signal(number)

    def wait(self, seconds: float) -> tuple[int, float, int]:
        """Its exit code, all its CPU seconds, and its peak memory in bytes by its last line. Killed after so many seconds."""
        watchdog = threading.Timer(seconds, self._process.kill)
        watchdog.start()
        _, status, usage = os.wait4(self.pid, 0)
        watchdog.cancel()
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self._reader.join(5)

        return self._process.returncode, usage.ru_utime + usage.ru_stime, self._peak_bytes


def run_contestant(command: Sequence[str], environment: Mapping[str, str], *, seconds: float = 300) -> Run:
    """Run a contestant that says `begin` and `end` (with `records` and facts). Raises `SystemExit` where it fails."""
    said: dict[str, dict[str, Any]] = {}
    child = Child(command, environment, lambda _, line: said.__setitem__(line["event"], line))
    code, _, peak_bytes = child.wait(seconds)
    if code or not {BEGIN, END} <= said.keys():
        raise SystemExit(f"{' '.join(command)} ended with {code}:\n" + "\n".join(child.unread[-30:]))
    begin, end = said[BEGIN], said[END]
    facts = {name: value for name, value in end.items() if name not in ("event", "at", "cpu", "records")}
    return Run(end["records"], end["at"] - begin["at"], end["cpu"] - begin["cpu"], begin["cpu"], peak_bytes, facts)
