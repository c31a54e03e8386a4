"""The contest: every contestant in turn, several rounds, so that a machine that changes its pace changes it for all."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.throughput.daemon import BOTH, DATE, Daemon, daemon_environment
from bench.throughput.places import Bucket, Places
from bench.throughput.processes import Run, run_contestant
from bench.throughput.topics import Topic

STEPS = ("json", "parquet", "decode", "encode", "upload")


@dataclass(slots=True)
class Contest:
    """Runs of each contestant by name, and how to make them. quix_python: the interpreter that has Quix Streams, or None."""

    places: Places
    bucket: Bucket
    quix_python: Path | None
    small: int  # records for those that would take minutes otherwise
    runs: dict[str, list[Run]] = field(default_factory=dict)
    told: Callable[[str], None] = print

    def run(self, name: str, work: Callable[[str], Run], payload_bytes: float) -> Run:
        """Run one contestant once, in a corner of the bucket that is emptied afterwards."""
        corner = f"run_{uuid.uuid4().hex[:8]}"  # Quix Streams takes no hyphen
        run = work(corner)
        objects, size = self.bucket.empty(f"{corner}/")
        facts = {**run.facts, "objects": objects, "lake_bytes": size, "record_bytes": payload_bytes}
        run = replace(run, facts=facts)
        self.runs.setdefault(name, []).append(run)
        self.told(
            f"  {name:<34} {run.rate / 1e3:8.0f} k/s {run.cpu_per_million:7.2f} CPU s/M {run.peak_bytes / 2**20:6.0f} MiB"
            f" {objects:5d} objects"
        )
        return run

    def lake(self, corner: str) -> str:
        return f"s3://{self.bucket.name}/{corner}"

    def module(self, name: str, *arguments: object, **environment: str) -> Run:
        """One of our own contestants."""
        command = [sys.executable, "-m", f"bench.throughput.contestants.{name}", *map(str, arguments)]
        return run_contestant(command, {**self.places.environment, **environment})

    def streamer(self, corner: str, topic: str, path: str, more: Mapping[str, str] | None = None) -> Run:
        """The daemon, from the first record to the end of the topic."""
        extra = {"STREAMER__STREAMS__TICKS__PATH": path, **(more or {})}
        return Daemon(daemon_environment(self.places, self.lake(corner), topic, corner, extra)).finish()

    def round(self, topic: Topic, steps_records: int) -> None:
        """Everything once, on one topic."""
        each = topic.payload_bytes / topic.records
        self.run("fetch and drop, batches", lambda _: self.module("fetch", topic.name, topic.partitions), each)
        self.run("streamer, symbol and date", lambda corner: self.streamer(corner, topic.name, BOTH), each)
        self.run("streamer, date", lambda corner: self.streamer(corner, topic.name, DATE), each)
        for path, name in ((BOTH, "symbol and date"), (DATE, "date")):
            self.run(
                f"by hand, {name}",
                lambda corner, path=path: self.module(  # type: ignore[misc]
                    "baseline", topic.name, topic.partitions, self.small, "symbol" if path == BOTH else "date",
                    LAKE=self.lake(corner),
                ),
                each,
            )  # fmt: skip
        if self.quix_python is not None:
            self.run("Quix Streams, its own folders", lambda corner: self._quix(corner, topic), each)
        self.run("fetch and drop, getmany", lambda _: self.module("fetch", topic.name, topic.partitions, "getmany"), each)
        for step in STEPS:
            self.run(
                f"{step} alone",
                lambda corner, step=step: self.module("steps", step, BOTH, steps_records, LAKE=self.lake(corner)),  # type: ignore[misc]
                each,
            )

    def codec(self, topic: Topic, name: str | None = None, more: Mapping[str, str] | None = None) -> None:
        """The limit and the daemon on a topic of another kind, called `name`."""
        each, name = topic.payload_bytes / topic.records, name or topic.codec
        self.run(f"{name}: fetch and drop", lambda _: self.module("fetch", topic.name, topic.partitions), each)
        self.run(f"{name}: streamer", lambda corner: self.streamer(corner, topic.name, BOTH, more), each)

    def _quix(self, corner: str, topic: Topic) -> Run:
        program = Path(__file__).parent / "contestants" / "quix.py"
        command = [str(self.quix_python), str(program), topic.name, str(self.small), self.bucket.name, corner]
        return run_contestant(command, self.places.environment)
