"""Real daemons as child processes, a topic with a ledger of what was acknowledged, and the lake read by plain pyarrow."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.fs as fs
import pyarrow.parquet as pq
from confluent_kafka import Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.live.conftest import S3Server


@dataclass
class Daemon:
    """One `streamer run` of this checkout."""

    process: subprocess.Popen[bytes]
    log_file: Path

    @classmethod
    def start(cls, environment: dict[str, str], log_file: Path, *arguments: str) -> Daemon:
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        with log_file.open("ab") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "streamer", "run", *arguments],
                env={**keep, **environment},
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        return cls(process, log_file)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, timeout_seconds: float = 60) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_seconds)

    def events(self, name: str) -> list[dict[str, object]]:
        lines = [json.loads(line) for line in self.log_file.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == name]


@dataclass
class Ledger:
    """What the broker acknowledged: (topic, partition, offset) -> value."""

    servers: str
    acknowledged: dict[tuple[str, int, int], bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._producer = Producer({"bootstrap.servers": self.servers, "linger.ms": 5, "enable.idempotence": True})
        self._lock = threading.Lock()

    def create_topic(self, topic: str, partitions: int) -> None:
        admin = AdminClient({"bootstrap.servers": self.servers})
        # Records with old timestamps are kept: a broker that happens to clean up in the middle of a test would take them away.
        new = NewTopic(topic, partitions, 1, config={"retention.ms": "-1"})
        admin.create_topics([new])[topic].result(30)

    def produce(self, topic: str, values: Iterable[bytes], partitions: int, **options: object) -> None:
        """Send every value, round robin, and wait until all are acknowledged."""
        for number, value in enumerate(values):
            while True:
                try:
                    self._producer.produce(
                        topic,
                        value,
                        partition=number % partitions,
                        on_delivery=self._note,
                        **options,  # type: ignore[arg-type]
                    )
                    break
                except BufferError:
                    self._producer.poll(0.1)
            self._producer.poll(0)
        assert self._producer.flush(60) == 0

    def _note(self, error: object, message: Message) -> None:
        assert error is None, error
        with self._lock:
            self.acknowledged[message.topic(), message.partition(), message.offset()] = message.value()  # type: ignore[index, assignment]


def bucket_files(server: S3Server, bucket: str) -> tuple[fs.FileSystem, list[str]]:
    """Every object of a bucket, by pyarrow's own S3 client."""
    scheme, _, host = server.endpoint.partition("://")
    found = fs.S3FileSystem(
        access_key=server.access_key,
        secret_key=server.secret_key,
        endpoint_override=host,
        scheme=scheme,
        region="us-east-1",
    )
    listed = found.get_file_info(fs.FileSelector(bucket, recursive=True))
    return found, sorted(info.path for info in listed if info.type == fs.FileType.File)


def read_back(
    filesystem: fs.FileSystem, paths: list[str], topic: str
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """All rows and all dead letters of `topic`, by listing, as anybody would read them."""
    rows: list[dict[str, object]] = []
    letters: list[dict[str, object]] = []
    for path in paths:
        if f"/{topic}-" not in path:
            continue
        if path.endswith(".parquet"):
            with filesystem.open_input_file(path) as file:
                rows.extend(pq.read_table(file).to_pylist())
        elif "/dead-letters/" in path and path.endswith(".ndjson.gz"):
            with filesystem.open_input_stream(path, compression=None) as stream:
                letters.extend(json.loads(line) for line in gzip.decompress(stream.read()).splitlines())
    return rows, letters
