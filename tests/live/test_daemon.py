"""The daemon as operations meet it: start-up errors, a store that goes away, a stop in two stages. Real Kafka, real S3."""

from __future__ import annotations

import json
import signal
import socket
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest

from tests.live.conftest import S3Server
from tests.live.daemons import Daemon, Ledger, bucket_files, read_back
from tests.live.tcp_proxy import TcpProxy


def tick(number: int) -> bytes:
    return json.dumps({"symbol": f"S{number % 3}", "price": number / 4, "timestamp": 1_704_067_200_000 + number}).encode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Setting:
    """A topic, a bucket, and the environment of a daemon between them."""

    def __init__(self, kafka: str, s3: S3Server, folder: Path) -> None:
        self.name = f"daemon-{uuid.uuid4().hex[:10]}"
        self.s3, self.log = s3, folder / "daemon.log"
        self.started: list[Daemon] = []
        self.ledger = Ledger(kafka)
        self.ledger.create_topic(self.name, 2)
        client = boto3.client(
            "s3",
            endpoint_url=s3.endpoint,
            aws_access_key_id=s3.access_key,
            aws_secret_access_key=s3.secret_key,
            region_name="us-east-1",
        )
        client.create_bucket(Bucket=self.name)
        self.port = free_port()
        self.environment = {
            **s3.environment,
            "KAFKA_BOOTSTRAP_SERVERS": kafka,
            "S3_BUCKET_NAME": self.name,
            "STREAMER__KAFKA__GROUP_ID": self.name,
            "STREAMER__KAFKA__SESSION_TIMEOUT": "6s",
            "STREAMER__S3__REQUEST_TIMEOUT": "2s",
            "STREAMER__HTTP__PORT": str(self.port),
            "STREAMER__STREAMS__TICKS__TOPIC": self.name,
            "STREAMER__STREAMS__TICKS__CUT__AGE": "1s",
            "STREAMER__STREAMS__SIGNALS__ENABLED": "false",
            "STREAMER__STREAMS__FEATURES__ENABLED": "false",
            "STREAMER__LOG__FORMAT": "json",
        }

    def daemon(self, *arguments: str, **changes: str) -> Daemon:
        self.started.append(Daemon.start(self.environment | changes, self.log, *arguments))
        return self.started[-1]

    def ask(self, path: str) -> tuple[int, str]:
        """Status and body of one request to the daemon; (0, reason) while it does not listen."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()
        except OSError as error:
            return 0, str(error)

    def offsets(self) -> Counter[tuple[int, int]]:
        rows, letters = read_back(*bucket_files(self.s3, self.name), self.name)
        found = [(row["_partition"], row["_offset"]) for row in rows] + [(one["partition"], one["offset"]) for one in letters]
        return Counter(found)  # type: ignore[arg-type]

    def assert_exactly_once(self) -> None:
        sent = {(partition, offset) for _, partition, offset in self.ledger.acknowledged}
        found = self.offsets()
        assert set(found) == sent
        assert set(found.values()) == {1}


@pytest.fixture
def setting(kafka_servers: str, s3_server: S3Server, tmp_path: Path) -> Iterator[Setting]:
    found = Setting(kafka_servers, s3_server, tmp_path)
    yield found
    for daemon in found.started:
        daemon.kill()


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[TcpProxy]:
    host, _, port = s3_server.endpoint.partition("://")[2].partition(":")
    found = TcpProxy(host, int(port))
    yield found
    found.close()


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Poll a process of its own, which no clock of ours can move."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it never came true"
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"S3_BUCKET_NAME": "no-such-bucket-here"}, 2, "no-such-bucket-here"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, 4, "credentials"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, 3, "127.0.0.1:1"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, 3, "127.0.0.1:1"),
        ({"STREAMER__STREAMS__TICKS__PATH": "{symbol}{exchange}"}, 2, "streams.ticks"),
        ({"STREAMER__STREAMS__TICKS__CUT__ROW": "5"}, 2, "rows"),
    ],
    ids=["bucket", "credentials", "s3 endpoint", "kafka", "path template", "misspelt setting"],
)
def test_what_is_wrong_at_start_is_one_line_with_the_next_step_and_an_exit_code(
    setting: Setting, changes: dict[str, str], code: int, said: str
) -> None:
    daemon = setting.daemon(**changes)

    assert daemon.process.wait(90) == code
    lines = [line for line in setting.log.read_text().splitlines() if not line.startswith("{")]
    assert lines[0].startswith("error: ")
    assert said in " ".join(lines)
    assert lines[1].startswith("  hint: ")
    assert len(lines) <= 4
    assert "Traceback" not in setting.log.read_text()
    assert "streamer-secret" not in setting.log.read_text()


def test_health_says_what_is_going_on(setting: Setting) -> None:
    daemon = setting.daemon()
    until(lambda: setting.ask("/readyz")[0] == 200)
    setting.ledger.produce(setting.name, map(tick, range(500)), 2)
    until(
        lambda: (
            f'streamer_committed_offset{{partition="1",stream="ticks",topic="{setting.name}"}} 250.0'
            in setting.ask("/metrics")[1]
        )
    )

    assert setting.ask("/healthz") == (200, "ok\n")
    assert setting.ask("/elsewhere")[0] == 404
    assert daemon.stop() == 0
    assert daemon.events("stopped")[0]["unfinished"] == []
    setting.assert_exactly_once()


@pytest.mark.parametrize("mode", ["cut", "hang"])
def test_a_store_that_goes_away_loses_nothing_and_the_work_goes_on_by_itself(
    setting: Setting, proxy: TcpProxy, mode: str
) -> None:
    daemon = setting.daemon(AWS_ENDPOINT_URL=f"http://{proxy.address}")
    setting.ledger.produce(setting.name, map(tick, range(1000)), 2)
    until(lambda: sum(setting.offsets().values()) == 1000)
    proxy.set(mode)  # type: ignore[arg-type]
    setting.ledger.produce(setting.name, map(tick, range(1000)), 2)
    until(lambda: setting.ask("/readyz")[0] == 503 and "waits" in setting.ask("/readyz")[1], 120)
    assert setting.ask("/healthz")[0] == 200, "a store that is away is no reason to restart"
    proxy.set("pass")
    until(lambda: setting.ask("/readyz")[0] == 200)
    setting.ledger.produce(setting.name, map(tick, range(1000)), 2)
    until(lambda: sum(setting.offsets().values()) == 3000)

    assert daemon.stop() == 0
    setting.assert_exactly_once()
    assert len(daemon.events("partition_retries")) < 30, "no busy loop"
    assert daemon.events("partition_recovered")


def test_the_first_signal_commits_what_was_read(setting: Setting) -> None:
    daemon = setting.daemon(STREAMER__STREAMS__TICKS__CUT__AGE="10m")
    setting.ledger.produce(setting.name, map(tick, range(700)), 2)
    until(lambda: "streamer_records_total" in setting.ask("/metrics")[1] and _records(setting) == 700)
    assert not setting.offsets()

    assert daemon.stop() == 0
    setting.assert_exactly_once()
    assert {event["reason"] for event in daemon.events("batch_committed")} == {"stop"}


def test_the_second_signal_ends_at_once_and_the_next_run_completes(setting: Setting, proxy: TcpProxy) -> None:
    daemon = setting.daemon(AWS_ENDPOINT_URL=f"http://{proxy.address}", STREAMER__STREAMS__TICKS__CUT__AGE="10m")
    setting.ledger.produce(setting.name, map(tick, range(700)), 2)
    until(lambda: _records(setting) == 700)
    proxy.set("hang")
    daemon.process.send_signal(signal.SIGTERM)
    until(lambda: daemon.events("stopping"))
    daemon.process.send_signal(signal.SIGTERM)

    assert daemon.process.wait(5) == 130
    proxy.set("pass")
    assert setting.daemon("--until-caught-up").process.wait(90) == 0
    setting.assert_exactly_once()


def test_a_store_that_hangs_does_not_hold_up_a_stop_past_its_budget(setting: Setting, proxy: TcpProxy) -> None:
    daemon = setting.daemon(
        AWS_ENDPOINT_URL=f"http://{proxy.address}", STREAMER__STREAMS__TICKS__CUT__AGE="10m", STREAMER__STOP__BUDGET="3s"
    )
    setting.ledger.produce(setting.name, map(tick, range(700)), 2)
    until(lambda: _records(setting) == 700)
    proxy.set("hang")

    assert daemon.stop(30) == 0
    assert daemon.events("stopped")[0]["unfinished"] == [f"{setting.name}-0", f"{setting.name}-1"]
    proxy.set("pass")
    assert setting.daemon("--until-caught-up").process.wait(90) == 0
    setting.assert_exactly_once()


def test_a_changed_layout_is_rolled_out_while_the_old_one_is_killed(setting: Setting) -> None:
    setting.ledger.produce(setting.name, map(tick, range(20_000)), 2)
    for path in ("symbol={symbol}/date={date}", "date={date}", "{symbol}/{date}"):
        daemon = setting.daemon(STREAMER__STREAMS__TICKS__PATH=path, STREAMER__STREAMS__TICKS__CUT__ROWS="400")
        until(
            lambda daemon=daemon: (
                daemon.log_file.read_text().count(f'"pid":{daemon.process.pid}') or daemon.events("batch_committed")
            )
        )
        time.sleep(1.0)
        daemon.kill()
    assert setting.daemon("--until-caught-up", STREAMER__STREAMS__TICKS__PATH="date={date}").process.wait(90) == 0

    setting.assert_exactly_once()


def test_a_topic_that_does_not_exist_is_waited_for_and_never_created(setting: Setting, kafka_servers: str) -> None:
    absent = f"absent-{uuid.uuid4().hex[:10]}"
    daemon = setting.daemon(
        STREAMER__STREAMS__SIGNALS__ENABLED="true",
        STREAMER__STREAMS__SIGNALS__TOPIC=absent,
        STREAMER__STREAMS__SIGNALS__CUT__AGE="1s",
    )
    until(lambda: absent in setting.ask("/readyz")[1])
    from confluent_kafka.admin import AdminClient

    assert absent not in AdminClient({"bootstrap.servers": kafka_servers}).list_topics(timeout=10).topics
    setting.ledger.create_topic(absent, 1)
    setting.ledger.produce(absent, [b'{"regime": "calm", "timestamp": "2024-01-01T00:00:00Z"}'], 1)
    until(lambda: any("/signals/" in path for path in bucket_files(setting.s3, setting.name)[1]), 90)

    assert daemon.stop() == 0


def _records(setting: Setting) -> float:
    lines = setting.ask("/metrics")[1].splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("streamer_records_total{"))
