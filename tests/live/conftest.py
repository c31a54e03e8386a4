"""A real Kafka and a real S3: given by the environment, else started in containers, else the tests are skipped by name.

STREAMER_TEST_KAFKA=host:port, STREAMER_TEST_S3=endpoint|access key|secret, STREAMER_TEST_DATA=folder with *.ndjson.gz of
real ticks (optional), STREAMER_TEST_KAFKA_JARS=folder with Kafka's jars (TLS and SASL need a broker of our own making),
STREAMER_TEST_DYNAMODB_JARS=folder with those of DynamoDB Local (optional: moto takes its place). With STREAMER_TEST_STRICT=1 a
skip is a failure.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.live.dynamodb_local import dynamodb_jars, dynamodb_server
from tests.live.tls_broker import TlsBroker, jars_folder

KAFKA_IMAGE = "apache/kafka:4.1.1"
S3_IMAGE = "versity/versitygw:v1.8.0"


@dataclass(frozen=True)
class S3Server:
    """Where a real S3 is, and how to get in."""

    endpoint: str
    access_key: str
    secret_key: str

    @property
    def environment(self) -> dict[str, str]:
        """What a child process needs to reach it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
        }


_SAID_AT_THE_END = pytest.StashKey[list[str]]()


def say_at_the_end(config: pytest.Config, lines: Sequence[str]) -> None:
    """Print `lines` below the summary of the whole run, where nobody overlooks them."""
    config.stash.setdefault(_SAID_AT_THE_END, []).extend([*lines, ""])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(_SAID_AT_THE_END, []):
        terminalreporter.write_line(line)


def absent(reason: str) -> None:
    if os.environ.get("STREAMER_TEST_STRICT"):
        pytest.fail(f"{reason}, and STREAMER_TEST_STRICT is set")
    pytest.skip(reason)


def docker_answers() -> bool:
    # Where nobody listens, its client leaves a socket open, and a run that only skips would end as a failure.
    if "DOCKER_HOST" not in os.environ and not Path("/var/run/docker.sock").exists():
        return False
    try:
        import docker

        return bool(docker.from_env(timeout=2).ping())
    except Exception:
        return False


@pytest.fixture(scope="session")
def kafka_servers() -> Iterator[str]:
    """Bootstrap servers of a real Kafka."""
    if given := os.environ.get("STREAMER_TEST_KAFKA"):
        yield given
    elif docker_answers():
        from testcontainers.core.container import DockerContainer
        from testcontainers.core.waiting_utils import wait_for_logs

        container = DockerContainer(KAFKA_IMAGE).with_bind_ports(9092, 9092)
        with container:
            wait_for_logs(container, "Kafka Server started")
            yield "localhost:9092"
    else:
        absent("no Kafka: set STREAMER_TEST_KAFKA=host:port, or start Docker")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A real S3 server with conditional writes."""
    if given := os.environ.get("STREAMER_TEST_S3"):
        yield S3Server(*given.split("|"))
    elif docker_answers():
        from testcontainers.core.container import DockerContainer

        container = (
            DockerContainer(S3_IMAGE)
            .with_env("ROOT_ACCESS_KEY_ID", "streamer")
            .with_env("ROOT_SECRET_ACCESS_KEY", "streamer-secret")
            .with_command("posix /tmp")
            .with_exposed_ports(7070)
        )
        with container:
            host, port = container.get_container_host_ip(), container.get_exposed_port(7070)
            yield S3Server(f"http://{host}:{port}", "streamer", "streamer-secret")
    else:
        absent("no S3: set STREAMER_TEST_S3='endpoint|access key|secret', or start Docker")


@pytest.fixture(scope="session")
def tls_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsBroker]:
    """A real Kafka with TLS, SASL and permissions, of its own."""
    if (jars := jars_folder()) is None:
        absent("no Kafka jars: set STREAMER_TEST_KAFKA_JARS to the libs/ of a Kafka release, and have java on PATH")
        return
    running = TlsBroker(jars, tmp_path_factory.mktemp("tls-broker"))
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="session")
def dynamodb(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[str]:
    """Where DynamoDB Local is; moto, where its jars or Java are not here."""
    if (jars := dynamodb_jars()) is None:
        say_at_the_end(
            request.config,
            ["DynamoDB: moto, not DynamoDB Local; STREAMER_TEST_DYNAMODB_JARS names no jars, or there is no java"],
        )
    with dynamodb_server(jars, tmp_path_factory.mktemp("dynamodb")) as address:
        yield address


@pytest.fixture(scope="session")
def data_folder() -> Path | None:
    """Real market data, where there is some."""
    given = os.environ.get("STREAMER_TEST_DATA")
    return Path(given) if given else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/live" in str(item.path):
            item.add_marker(pytest.mark.live)
            item.add_marker(pytest.mark.timeout(600))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """A skip that hides is a defect: in strict runs it fails."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.skipped and os.environ.get("STREAMER_TEST_STRICT") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and STREAMER_TEST_STRICT is set: {report.longrepr}"
