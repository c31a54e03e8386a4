"""The daemon as it is run by anybody: a child process `streamer run`, watched through its log and its metrics."""

from __future__ import annotations

import re
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from bench.throughput.places import Places
from bench.throughput.processes import Child, Run, cpu_of

SILENT = {"STREAMER__STREAMS__SIGNALS__ENABLED": "false", "STREAMER__STREAMS__FEATURES__ENABLED": "false"}
BOTH, DATE = "symbol={symbol}/date={date}", "date={date}"


def daemon_environment(places: Places, lake: str, topic: str, group: str, more: Mapping[str, str]) -> dict[str, str]:
    """What the daemon is told: defaults, but for the addresses, the topic and `more`."""
    return {
        **places.environment,
        **SILENT,
        "STREAMER__LAKE__URL": lake,
        "STREAMER__KAFKA__GROUP_ID": group,
        "STREAMER__STREAMS__TICKS__TOPIC": topic,
        "STREAMER__HTTP__PORT": "0",
        "STREAMER__LOG__FORMAT": "json",
        **more,
    }


class Daemon:
    """One `streamer run`. Its work begins when it has the first partition and ends when it has caught up."""

    def __init__(self, environment: Mapping[str, str], options: Sequence[str] = ("--until-caught-up",)) -> None:
        self.began: tuple[float, float] | None = None
        self.ended_at: float | None = None
        self.ended_cpu: float | None = None
        self.first_record_at: float | None = None
        self.rows = self.files = self.batches = self.bytes = 0
        self.worst_pause_seconds = 0.0
        self.health: str | None = None
        self.events: list[str] = []
        self._child = Child([sys.executable, "-m", "streamer", "run", *options], environment, self._heard)

    @property
    def pid(self) -> int:
        return self._child.pid

    def _heard(self, child: Child, line: dict[str, Any]) -> None:
        event, now = line["event"], time.monotonic()
        if event not in ("batch_committed", "started", "partition_taken", "caught_up", "stopped"):
            self.events.append(str(line))
        if event == "started":
            self.health = line["health"]
        elif event == "partition_taken" and self.began is None:
            self.began = (now, cpu_of(child.pid))
        elif event == "batch_committed":
            self.rows += line["rows"]
            self.files += line["files"]
            self.bytes += line["bytes"]
            self.batches += 1
        elif event == "caught_up":
            self.ended_at, self.ended_cpu = now, cpu_of(child.pid)
        elif event == "stopped":
            self.worst_pause_seconds = line["worst_pause_seconds"]

    def metric(self, name: str, labels: str = "") -> float:
        """The sum of a metric's samples whose labels contain `labels`; 0 where there is none, or nobody answers yet."""
        if self.health is None:
            return 0.0
        try:
            with urllib.request.urlopen(f"{self.health}/metrics", timeout=2) as answer:
                text = answer.read().decode()
        except OSError:
            return 0.0
        found = re.findall(rf"^{re.escape(name)}(?:\{{(.*)\}})? (\S+)$", text, re.MULTILINE)
        return sum(float(value) for given, value in found if labels in given)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._child.signal(number)

    def finish(self, *, seconds: float = 300) -> Run:
        """Wait for its end. Raises `SystemExit` where it failed."""
        code, cpu, peak_bytes = self._child.wait(seconds)
        if code:
            raise SystemExit("streamer run ended with " + "\n".join([str(code), *self.events[-20:], *self._child.unread[-20:]]))
        ended_at = self.ended_at if self.ended_at is not None else time.monotonic()
        cpu = self.ended_cpu if self.ended_cpu is not None else cpu  # taking the interpreter down is no work
        began_at, began_cpu = self.began or (ended_at, cpu)  # one of several may find nothing left to take
        facts = {"files": self.files, "batches": self.batches, "pause_seconds": self.worst_pause_seconds}
        return Run(self.rows, ended_at - began_at, cpu - began_cpu, began_cpu, peak_bytes, facts)
