"""What becomes of throughput and memory where partitions and symbols are many, and where processes share the work."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from bench.throughput.daemon import BOTH, DATE, Daemon, daemon_environment
from bench.throughput.places import Bucket, Places
from bench.throughput.processes import Run
from bench.throughput.ticks import made_ticks
from bench.throughput.topics import Topic, Topics

PARTITIONS = (1, 16, 64, 256)
SYMBOLS = (10, 500, 5_000)
PROCESSES = (1, 2, 4)


@dataclass(frozen=True, slots=True)
class Grown:
    """One cell of the table."""

    partitions: int
    symbols: int
    path: str
    run: Run


def measure_growth(
    places: Places, bucket: Bucket, topics: Topics, records: int, told: Callable[[str], None], *, quick: bool
) -> list[Grown]:
    """Catch-up for every number of partitions and of symbols; placed by date, and by symbol and date as far as that is sane.

    5,000 symbols times 256 partitions in one batch each are 1.3 million files, which no layout should ask for.
    """
    cells = []
    for partitions in PARTITIONS[:: 3 if quick else 1]:
        for symbols in SYMBOLS[:: 2 if quick else 1]:
            topic = topics.fill(f"grow-{partitions}-{symbols}", made_ticks(records, symbols=symbols), partitions=partitions)
            for path in (DATE, BOTH):
                if path == BOTH and partitions * symbols > 16 * 500:
                    continue
                corner = f"grow-{uuid.uuid4().hex[:6]}"
                more = {"STREAMER__STREAMS__TICKS__PATH": path}
                lake = f"s3://{bucket.name}/{corner}"
                run = Daemon(daemon_environment(places, lake, topic.name, corner, more)).finish()
                bucket.empty(f"{corner}/")
                cells.append(Grown(partitions, symbols, path, run))
                told(
                    f"  {partitions:4d} partitions, {symbols:5d} symbols, {path:<28} {run.rate / 1e3:6.0f} k/s"
                    f" {run.cpu_per_million:6.2f} CPU s/M {run.peak_bytes / 2**20:5.0f} MiB"
                )
    return cells


def measure_scaling(
    places: Places, bucket: Bucket, topic: Topic, told: Callable[[str], None], *, path: str
) -> dict[int, tuple[float, float, int]]:
    """For each number of processes in one group: records a second of all together, CPU seconds for a million, peak bytes of
    all. The time runs from the first partition taken to the last process caught up."""
    found = {}
    for processes in PROCESSES:
        corner = f"scale-{uuid.uuid4().hex[:6]}"
        environment = daemon_environment(
            places, f"s3://{bucket.name}/{corner}", topic.name, corner, {"STREAMER__STREAMS__TICKS__PATH": path}
        )
        daemons = [Daemon(environment) for _ in range(processes)]
        runs = [daemon.finish() for daemon in daemons]
        began = min(daemon.began[0] for daemon in daemons if daemon.began)
        ended = max(daemon.ended_at for daemon in daemons if daemon.ended_at)
        records = sum(run.records for run in runs)
        cpu = sum(run.cpu for run in runs) * 1e6 / records
        found[processes] = (records / (ended - began), cpu, sum(run.peak_bytes for run in runs))
        bucket.empty(f"{corner}/")
        told(f"  {processes} processes {found[processes][0] / 1e3:6.0f} k/s {cpu:6.2f} CPU s/M, rows {records:,}")
    return found
