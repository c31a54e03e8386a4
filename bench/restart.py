"""How long a replica takes from its start to its first record: after a clean stop, after a kill -9, with static membership.

    STREAMER_TEST_KAFKA=host:port python bench/restart.py [--session 45] [--runs 3]

Needs a real Kafka; the lake is a temporary directory. Prints one line per case: median and all runs, seconds.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

KAFKA = os.environ.get("STREAMER_TEST_KAFKA", "127.0.0.1:9092")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Replica:
    def __init__(self, topic: str, lake: Path, session: int, instance: str | None) -> None:
        self.port = free_port()
        environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": KAFKA,
            "STREAMER__LAKE__URL": str(lake),
            "STREAMER__KAFKA__GROUP_ID": topic,
            "STREAMER__KAFKA__SESSION_TIMEOUT": f"{session}s",
            "STREAMER__HTTP__PORT": str(self.port),
            "STREAMER__STREAMS__TICKS__TOPIC": topic,
            "STREAMER__STREAMS__SIGNALS__ENABLED": "false",
            "STREAMER__STREAMS__FEATURES__ENABLED": "false",
            "STREAMER__LOG__LEVEL": "error",
        }
        if instance:
            environment["STREAMER__KAFKA__GROUP_INSTANCE_ID"] = instance
        self.began = time.monotonic()
        self.process = subprocess.Popen([sys.executable, "-m", "streamer", "run"], env=environment)

    def seconds_to_first_record(self, producer: Producer, topic: str) -> float:
        while time.monotonic() - self.began < 180:
            producer.produce(topic, b'{"symbol": "A", "price": 1.5}')
            producer.poll(0)
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=2) as answer:
                    lines = answer.read().decode().splitlines()
                if any(line.startswith("streamer_records_total{") and not line.endswith(" 0.0") for line in lines):
                    return time.monotonic() - self.began
            except OSError:
                pass
            time.sleep(0.02)
        raise SystemExit("no record within 180 s")

    def end(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        self.process.wait()


def measure(case: str, session: int, *, how: signal.Signals, static: bool) -> float:
    topic = f"restart-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": KAFKA})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
    producer = Producer({"bootstrap.servers": KAFKA, "linger.ms": 0})
    instance = "streamer-0" if static else None
    with tempfile.TemporaryDirectory() as folder:
        lake = Path(folder)
        before = Replica(topic, lake, session, instance)
        before.seconds_to_first_record(producer, topic)
        before.end(how)
        after = Replica(topic, lake, session, instance)
        seconds = after.seconds_to_first_record(producer, topic)
        after.end(signal.SIGTERM)
    return seconds


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--session", type=int, default=45, help="session timeout, seconds (45)")
    arguments.add_argument("--runs", type=int, default=3)
    options = arguments.parse_args()
    print(f"session_timeout {options.session} s, seconds from process start to the first record:")
    for case, how, static in (
        ("clean stop", signal.SIGTERM, False),
        ("kill -9", signal.SIGKILL, False),
        ("clean stop, group_instance_id", signal.SIGTERM, True),
        ("kill -9, group_instance_id", signal.SIGKILL, True),
    ):
        runs = [measure(case, options.session, how=how, static=static) for _ in range(options.runs)]
        print(f"{case:32} median {statistics.median(runs):5.1f}   runs {' '.join(f'{run:.1f}' for run in runs)}", flush=True)


if __name__ == "__main__":
    main()
