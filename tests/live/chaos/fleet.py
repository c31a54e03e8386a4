"""The replicas of one lake, and the supervisor that starts each again when it has ended, as an orchestrator would."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.live.daemons import Daemon

UNREACHABLE = (3, 4)
"""Exit codes of a start that met a service which was away, or refused it: an orchestrator tries again."""

SESSION_SECONDS = 6


@dataclass
class Replica:
    """One place in the fleet. `daemon` is None while nobody is in it."""

    name: str
    log_file: Path
    daemon: Daemon | None = None
    starts: int = 0
    due: float = 0.0
    stopped: bool = field(default=False)  # by SIGSTOP


class Fleet:
    """`size` replicas in one consumer group on one lake."""

    def __init__(self, name: str, size: int, environment: Mapping[str, str], logs: Path) -> None:
        self.name = name
        self.replicas = [Replica(f"{name}-{number}", logs / f"{name}-{number}.log") for number in range(size)]
        self.died: list[str] = []
        self.turned_away = 0
        self._environment = dict(environment)

    def keep(self) -> None:
        """Start whoever is due, and note who ended without being told to."""
        for replica in self.replicas:
            if replica.daemon is not None and (code := replica.daemon.process.poll()) is not None:
                self.turned_away += code in UNREACHABLE
                if code not in UNREACHABLE:
                    self.died.append(f"{replica.name} ended by itself with {code}: {tail(replica.log_file)}")
                self._gone(replica, 1.0)
            if replica.daemon is None and time.monotonic() >= replica.due:
                replica.daemon = Daemon.start(self._environment, replica.log_file)
                replica.starts += 1

    def running(self) -> list[Replica]:
        return [replica for replica in self.replicas if replica.daemon is not None and not replica.stopped]

    def kill(self, replica: Replica, back_after: float) -> None:
        assert replica.daemon is not None
        replica.daemon.kill()
        self._gone(replica, back_after)

    def terminate(self, replica: Replica, back_after: float) -> None:
        """SIGTERM, and wait: it has to end in order."""
        assert replica.daemon is not None
        code = replica.daemon.stop()
        if code != 0:
            self.died.append(f"{replica.name} answered SIGTERM with {code}: {tail(replica.log_file)}")
        self._gone(replica, back_after)

    def freeze(self, replica: Replica) -> None:
        assert replica.daemon is not None
        replica.stopped = True
        os.kill(replica.daemon.process.pid, signal.SIGSTOP)

    def thaw(self, replica: Replica) -> None:
        assert replica.daemon is not None
        os.kill(replica.daemon.process.pid, signal.SIGCONT)
        replica.stopped = False

    def stop(self) -> None:
        """End all in order."""
        for replica in self.replicas:
            if replica.daemon is not None:
                self.terminate(replica, float("inf"))

    def end(self) -> None:
        """End whatever is left, at once."""
        for replica in self.replicas:
            if replica.daemon is not None and replica.daemon.process.poll() is None:
                replica.daemon.kill()

    @staticmethod
    def _gone(replica: Replica, back_after: float) -> None:
        replica.daemon, replica.due = None, time.monotonic() + back_after


def tail(log_file: Path) -> str:
    return log_file.read_text(errors="replace")[-1500:]
