"""Which real servers there are, and what can be done to them. Everything comes from the environment.

STREAMER_TEST_KAFKA3            bootstrap servers of a cluster of three brokers; without it STREAMER_TEST_KAFKA is used
STREAMER_TEST_KAFKA_COMMAND     how to do something to one broker of it, such as `kafka {action} --broker {broker}`; the action
                                is `kill` (SIGKILL) or `start`, brokers count from 1
STREAMER_TEST_S3                endpoint|access key|secret
STREAMER_TEST_TOXIPROXY         address of Toxiproxy's API; without it the way to S3 goes through a small proxy of our own
STREAMER_TEST_SMALL_DISK        an empty folder on a file system of its own that may be filled up; without it a tmpfs is
                                mounted where that is allowed
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from tests.live.conftest import S3Server


@dataclass(frozen=True)
class Servers:
    """Addresses; None where there is nothing."""

    kafka: str
    broker_command: str | None
    s3: S3Server
    toxiproxy: str | None

    @classmethod
    def given(cls, environment: Mapping[str, str], *, kafka: str | None = None, s3: S3Server | None = None) -> Servers:
        """What the environment names; `kafka` and `s3` stand in for what it does not."""
        kafka = environment.get("STREAMER_TEST_KAFKA3") or environment.get("STREAMER_TEST_KAFKA") or kafka
        if given := environment.get("STREAMER_TEST_S3"):
            s3 = S3Server(*given.split("|"))
        if kafka is None or s3 is None:
            raise SystemExit(
                "chaos needs real servers: STREAMER_TEST_KAFKA3 (three brokers; or STREAMER_TEST_KAFKA) and "
                "STREAMER_TEST_S3='endpoint|access key|secret'; see tests/live/chaos/servers.py"
            )
        command = environment.get("STREAMER_TEST_KAFKA_COMMAND") if environment.get("STREAMER_TEST_KAFKA3") else None
        return cls(kafka, command, s3, environment.get("STREAMER_TEST_TOXIPROXY"))


class Cluster:
    """The brokers."""

    def __init__(self, servers: str, command: str | None) -> None:
        self.servers = servers
        self._command = command
        self._admin = AdminClient({"bootstrap.servers": servers})
        self.brokers = len(self._admin.list_topics(timeout=20).brokers)

    @property
    def may_lose_one(self) -> bool:
        return self._command is not None and self.brokers >= 3

    def create_topic(self, topic: str, partitions: int) -> None:
        copies = min(3, self.brokers)
        config = {"retention.ms": "-1", "min.insync.replicas": str(max(1, copies - 1))}
        self._admin.create_topics([NewTopic(topic, partitions, copies, config=config)])[topic].result(30)

    def do(self, action: str, broker: int) -> None:
        assert self._command is not None
        command = shlex.split(self._command.format(action=action, broker=broker))
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr[-500:]}")

    def wait_until_whole(self, topic: str, seconds: float = 90) -> None:
        """Until every copy of every partition is in sync: the next broker may go only then."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self._admin.list_topics(topic, timeout=20).topics[topic].partitions.values()
            if all(len(p.isrs) == len(p.replicas) for p in found):
                return
            time.sleep(0.5)
        raise RuntimeError(f"{topic} is not whole again after {seconds:g} s")


class SmallDisk:
    """A file system that can be filled without harm to anybody."""

    def __init__(self, folder: Path, *, mounted: bool) -> None:
        self.folder = folder
        self._mounted = mounted

    @classmethod
    def find(cls, environment: Mapping[str, str], mebibytes: int) -> SmallDisk | str:
        """One that is given, else a new tmpfs of `mebibytes`; else why there is none."""
        if given := environment.get("STREAMER_TEST_SMALL_DISK"):
            return cls(Path(given), mounted=False)
        folder = Path(tempfile.mkdtemp(prefix="small-disk-"))
        size = f"size={mebibytes}m"
        try:
            done = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], capture_output=True, text=True)
        except FileNotFoundError:
            done = None
        if done is None or done.returncode:
            folder.rmdir()
            return "no small disk: STREAMER_TEST_SMALL_DISK is not set, and a tmpfs may not be mounted here"
        return cls(folder, mounted=True)

    def fill(self) -> None:
        """Take what is left, to the last byte."""
        with (self.folder / "ballast").open("wb", buffering=0) as ballast:
            for size in (1 << 20, 4096):
                try:
                    while ballast.write(bytes(size)) == size:
                        pass
                except OSError:
                    continue

    def free(self) -> None:
        (self.folder / "ballast").unlink(missing_ok=True)

    @property
    def free_bytes(self) -> int:
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def close(self) -> None:
        self.free()
        if self._mounted:
            subprocess.run(["umount", str(self.folder)], check=False)
            self.folder.rmdir()
