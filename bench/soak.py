"""A backlog, then constant load, on one daemon: how much memory it takes, and whether anything grows.

    STREAMER_TEST_KAFKA=host:port [STREAMER_TEST_S3='endpoint|access key|secret'] python bench/soak.py
        [--records 5_000_000] [--partitions 64] [--symbols 2000] [--days 10] [--budget 256MiB] [--path date={date}]
        [--age 60s] [--steady-minutes 20] [--rate 3000] [--json FILE]

Needs a real Kafka; without S3 the lake is a temporary directory. Event times are drawn at random from all of the days, so that
every batch touches all of them. Peak RSS is the kernel's own (VmHWM); three figures parted by slashes are min, median, max.
Exit 1 where the peak passes budget + 200 MiB, where memory, descriptors or tasks grow under constant load, or where rows are
missing at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from streamer.config.values import parse_size

BESIDE_THE_BUDGET_MIB = 200
SLOPE_MIB_PER_HOUR_MAX = 60.0
"""Under constant load. A leak of 100 bytes a record would be 1,000 of it at 3,000 records a second."""

SETTLING_SECONDS = 240.0
"""Four batches of every partition: until then allocators grow to what a batch of all partitions at once needs."""

SAMPLE_SECONDS = 0.5


@dataclass(frozen=True)
class Sample:
    """The process at one moment. `seconds` since its start; tasks, buffered bytes and rows as its own metrics tell."""

    seconds: float
    rss_mib: float
    descriptors: int
    threads: int
    tasks: int
    buffered_mib: float
    rows: int


@dataclass
class Watched:
    """A daemon, looked at twice a second until it has ended."""

    process: subprocess.Popen[bytes]
    port: int
    began: float = field(default_factory=time.monotonic)
    samples: list[Sample] = field(default_factory=list)
    peak_mib: float = 0.0

    def __post_init__(self) -> None:
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def rows(self) -> int:
        return self.samples[-1].rows if self.samples else 0

    def between(self, start: float, end: float) -> list[Sample]:
        return [sample for sample in self.samples if start <= sample.seconds <= end]

    @property
    def age(self) -> float:
        return time.monotonic() - self.began

    def _watch(self) -> None:
        place = Path(f"/proc/{self.process.pid}")
        while True:
            try:
                status = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
                descriptors = len(list((place / "fd").iterdir()))
                self.peak_mib = max(self.peak_mib, int(status["VmHWM"].split()[0]) / 1024)
                told = self._metrics()
            except (OSError, KeyError):
                if self.process.poll() is not None:
                    return
            else:
                rss = int(status["VmRSS"].split()[0]) / 1024
                buffered = told.get("streamer_buffered_bytes", 0.0) / 2**20
                tasks, rows = int(told["streamer_tasks"]), int(told.get("streamer_rows_total", 0))
                self.samples.append(Sample(self.age, rss, descriptors, int(status["Threads"]), tasks, buffered, rows))
            time.sleep(SAMPLE_SECONDS)

    def _metrics(self) -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
        found: dict[str, float] = {}
        for line in lines:
            name, _, value = line.rpartition(" ")
            name = name.partition("{")[0]
            found[name] = found.get(name, 0.0) + float(value)
        return found


class Ticks:
    """Ticks of `symbols`, event times anywhere in `days`."""

    def __init__(self, options: argparse.Namespace) -> None:
        chance = random.Random(7)
        span_ms = options.days * 86_400_000
        # Made beforehand: the producer must not be what is measured.
        self._pool = [
            b'{"symbol":"SYM%04d","price":%d.%02d,"quantity":0.%04d,"side":"%s","timestamp":%d,"trade_id":"'
            % (
                chance.randrange(options.symbols),
                chance.randrange(1, 90_000),
                chance.randrange(100),
                chance.randrange(10_000),
                chance.choice((b"buy", b"sell")),
                1_767_398_400_000 + chance.randrange(span_ms),
            )
            for _ in range(200_000)
        ]

    def __getitem__(self, number: int) -> bytes:
        return b'%b%d"}' % (self._pool[number % len(self._pool)], number)


def produce(producer: Producer, topic: str, ticks: Ticks, partitions: int, numbers: range) -> None:
    for number in numbers:
        while True:
            try:
                producer.produce(topic, ticks[number], partition=number % partitions)
                break
            except BufferError:
                producer.poll(0.05)
        if number % 1000 == 0:
            producer.poll(0)
    assert producer.flush(300) == 0


def slope_mib_per_hour(samples: list[Sample]) -> float:
    """Least squares over time."""
    times, sizes = [s.seconds for s in samples], [s.rss_mib for s in samples]
    return statistics.linear_regression(times, sizes).slope * 3600 if len(set(times)) > 1 else 0.0


def span(values: list[int]) -> str:
    return f"{min(values)} / {statistics.median(values):g} / {max(values)}"


def start(topic: str, place: dict[str, str], options: argparse.Namespace, log: Path) -> Watched:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment = {
        **keep,
        **place,
        "KAFKA_BOOTSTRAP_SERVERS": os.environ["STREAMER_TEST_KAFKA"],
        "STREAMER__KAFKA__GROUP_ID": topic,
        "STREAMER__MEMORY__BUDGET": options.budget,
        "STREAMER__HTTP__PORT": str(port),
        "STREAMER__ARCHIVE__ENABLED": "false",
        "STREAMER__STREAMS__TICKS__TOPIC": topic,
        "STREAMER__STREAMS__TICKS__PATH": options.path,
        "STREAMER__STREAMS__TICKS__CUT__AGE": options.age,
        "STREAMER__STREAMS__SIGNALS__ENABLED": "false",
        "STREAMER__STREAMS__FEATURES__ENABLED": "false",
        "STREAMER__LOG__FORMAT": "json",
    }
    with log.open("wb") as stderr:
        return Watched(subprocess.Popen([sys.executable, "-m", "streamer", "run"], env=environment, stderr=stderr), port)


def place_of_the_lake(topic: str, folder: Path) -> dict[str, str]:
    given = os.environ.get("STREAMER_TEST_S3")
    if not given:
        return {"STREAMER__LAKE__URL": str(folder / "lake")}
    import boto3

    endpoint, key, secret = given.split("|")
    access = {"aws_access_key_id": key, "aws_secret_access_key": secret}
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **access).create_bucket(Bucket=topic)
    names = {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": "us-east-1"}
    return {"S3_BUCKET_NAME": topic, **names}


def wait_for_rows(daemon: Watched, rows: int, seconds: float) -> bool:
    ends = time.monotonic() + seconds
    while daemon.rows < rows and time.monotonic() < ends and daemon.process.poll() is None:
        time.sleep(0.2)
    return daemon.rows >= rows


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--records", type=int, default=5_000_000)
    arguments.add_argument("--partitions", type=int, default=64)
    arguments.add_argument("--symbols", type=int, default=2_000)
    arguments.add_argument("--days", type=int, default=10)
    arguments.add_argument("--budget", default="256MiB")
    arguments.add_argument("--path", default="date={date}")
    arguments.add_argument("--age", default="60s", help="of a batch; a lower one makes more requests, and shows a leak sooner")
    arguments.add_argument("--steady-minutes", type=float, default=20)
    arguments.add_argument("--rate", type=int, default=3_000, help="records a second under constant load")
    arguments.add_argument("--patience-minutes", type=float, default=60, help="for the backlog")
    arguments.add_argument("--json", type=Path)
    options = arguments.parse_args()
    if "STREAMER_TEST_KAFKA" not in os.environ:
        arguments.error("set STREAMER_TEST_KAFKA=host:port")
    # Whoever ends us ends the daemon, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    servers, topic = os.environ["STREAMER_TEST_KAFKA"], f"soak-{uuid.uuid4().hex[:10]}"
    new = NewTopic(topic, options.partitions, 1, config={"retention.ms": "-1"})
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([new])[topic].result(60)
    producer = Producer(
        {"bootstrap.servers": servers, "linger.ms": 50, "compression.type": "lz4", "queue.buffering.max.messages": 1_000_000}
    )
    ticks, began = Ticks(options), time.monotonic()
    produce(producer, topic, ticks, options.partitions, range(options.records))
    print(f"backlog  {options.records:,} records in {options.partitions} partitions, made in {time.monotonic() - began:.0f} s")
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "daemon.log"
        daemon = start(topic, place_of_the_lake(topic, Path(folder)), options, log)
        try:
            drained = wait_for_rows(daemon, options.records, options.patience_minutes * 60)
            caught_up = daemon.age
            report_backlog(daemon, caught_up, options)
            sent = options.records
            while drained and (owed := daemon.age - caught_up) < options.steady_minutes * 60:
                due = options.records + int(owed * options.rate)
                produce(producer, topic, ticks, options.partitions, range(sent, due))
                sent = due
                time.sleep(0.1)
            ended = daemon.age
            complete = wait_for_rows(daemon, sent, 180)
            wrong = judge(daemon, caught_up, ended, options)
            if not complete:
                wrong.append(f"{daemon.rows:,} rows of {sent:,} committed: {log.read_text()[-2000:]}")
        finally:
            daemon.process.send_signal(signal.SIGTERM)
            code = daemon.process.wait(60)
    if code:
        wrong.append(f"the daemon ended with {code}")
    print("\n".join(f"WRONG: {sentence}" for sentence in wrong) or "sound")
    if options.json:
        samples = [asdict(sample) for sample in daemon.samples]
        options.json.write_text(json.dumps({"peak_mib": daemon.peak_mib, "wrong": wrong, "samples": samples}))
    return 1 if wrong else 0


def report_backlog(daemon: Watched, caught_up: float, options: argparse.Namespace) -> None:
    draining = daemon.between(0, caught_up)
    print(
        f"drained  in {caught_up:.0f} s, {options.records / caught_up:,.0f} records/s; peak RSS {daemon.peak_mib:,.0f} MiB, "
        f"most buffered {max(s.buffered_mib for s in draining):,.0f} MiB; "
        f"descriptors {span([s.descriptors for s in draining])}, tasks {span([s.tasks for s in draining])}",
        flush=True,
    )


def judge(daemon: Watched, caught_up: float, ended: float, options: argparse.Namespace) -> list[str]:
    """Print what constant load did, and say what is wrong with it."""
    limit = parse_size(options.budget) / 2**20 + BESIDE_THE_BUDGET_MIB
    wrong = [f"peak RSS {daemon.peak_mib:,.0f} MiB is over {limit:,.0f} MiB"] if daemon.peak_mib > limit else []
    steady = daemon.between(caught_up + SETTLING_SECONDS, ended)
    if len(steady) < 60:
        print("constant load was too short to say anything about growth")
    else:
        slope, middle = slope_mib_per_hour(steady), len(steady) // 2
        halves = [statistics.median(s.rss_mib for s in part) for part in (steady[:middle], steady[middle:])]
        # The least of each half: what is left when nothing is on its way. A batch of ten files is ten tasks for a moment.
        files = [min(s.descriptors for s in part) for part in (steady[:middle], steady[middle:])]
        tasks = [min(s.tasks for s in part) for part in (steady[:middle], steady[middle:])]
        print(
            f"steady   {options.rate:,} records/s, {(ended - caught_up) / 60:.1f} min: RSS {halves[0]:,.0f} MiB in the first "
            f"half, {halves[1]:,.0f} MiB in the second (medians), slope {slope:+.1f} MiB/h; "
            f"descriptors {span([s.descriptors for s in steady])}, tasks {span([s.tasks for s in steady])}, "
            f"threads {span([s.threads for s in steady])}"
        )
        if slope > SLOPE_MIB_PER_HOUR_MAX:
            wrong.append(f"memory grows by {slope:.0f} MiB/h")
        if files[1] > files[0] + 3 or tasks[1] > tasks[0] + 10:
            wrong.append(f"at rest descriptors {files[0]} -> {files[1]}, tasks {tasks[0]} -> {tasks[1]}")
    print(f"peak RSS {daemon.peak_mib:,.0f} MiB; the promise is budget + {BESIDE_THE_BUDGET_MIB} = {limit:,.0f} MiB")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
