"""The daemon over SASL, TLS and a real S3 under DEBUG, with right and with wrong credentials: all it says is searched."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from tests.live.conftest import S3Server
from tests.live.daemons import bucket_files, read_back
from tests.live.tls_broker import PASSWORD, TlsBroker
from tests.security.secrets import shown_in

RECORDS = 500
WRONG = {
    "AWS_SECRET_ACCESS_KEY": "wrong-secret-key-of-somebody",
    "STREAMER__KAFKA__SASL_PASSWORD": "wrong-password-of-somebody",
}
MODEL_KEY = "model-signing-key-of-the-test"


@pytest.fixture(scope="module")
def topic(tls_broker: TlsBroker) -> str:
    name = f"secret-ticks-{uuid.uuid4().hex[:8]}"
    tls_broker.create_topic(name)
    tls_broker.allow("archiver", ResourceType.TOPIC, name, AclOperation.READ, AclOperation.DESCRIBE)
    tls_broker.allow("archiver", ResourceType.GROUP, name, AclOperation.READ, AclOperation.DESCRIBE)
    tls_broker.produce(name, (b'{"symbol":"BTC","price":%d}' % number for number in range(RECORDS)))
    return name


def environment(broker: TlsBroker, server: S3Server, topic: str, bucket: str) -> dict[str, str]:
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return keep | server.environment | {
        "S3_BUCKET": bucket,
        "KAFKA_BOOTSTRAP_SERVERS": broker.sasl,
        "STREAMER__KAFKA__GROUP_ID": topic,
        "STREAMER__KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
        "STREAMER__KAFKA__SASL_MECHANISM": "SCRAM-SHA-256",
        "STREAMER__KAFKA__SASL_USERNAME": "archiver",
        "STREAMER__KAFKA__SASL_PASSWORD": PASSWORD,
        "STREAMER__KAFKA__SSL_CAFILE": str(broker.authority.file),
        "STREAMER__STREAMS__TICKS__TOPIC": topic,
        "STREAMER__STREAMS__SIGNALS__ENABLED": "false",
        "STREAMER__STREAMS__FEATURES__ENABLED": "false",
        "STREAMER__LOG__LEVEL": "debug",
        "STREAMER__LOG__FORMAT": "json",
        "STREAMER__HTTP__PORT": "0",
        "STREAMER_MODEL_KEY": MODEL_KEY,
        "PYTHONASYNCIODEBUG": "1",
    }  # fmt: skip


def streamer(given: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "dev", "-m", "streamer", *arguments], env=given, capture_output=True, text=True, timeout=180
    )


def assert_hidden(text: str, given: dict[str, str]) -> None:
    names = ("AWS_SECRET_ACCESS_KEY", "STREAMER__KAFKA__SASL_PASSWORD", "STREAMER_MODEL_KEY")
    secrets = {name: given[name] for name in names} | {f"{name} (right)": PASSWORD for name in names[1:2]} | WRONG
    assert text
    assert shown_in(text, secrets) == []


def test_the_daemon_archives_over_sasl_and_tls_and_shows_no_secret(
    tls_broker: TlsBroker, s3_server: S3Server, topic: str, tmp_path: Path
) -> None:
    bucket = f"secrets-{uuid.uuid4().hex[:8]}"
    given = environment(tls_broker, s3_server, topic, bucket)
    said = [streamer(given, "init", "--yes"), streamer(given, "check", "--json"), streamer(given, "config", "show", "--json")]
    assert [done.returncode for done in said] == [0, 0, 0], said
    log = tmp_path / "daemon.log"
    with log.open("wb") as file:
        daemon = subprocess.Popen([sys.executable, "-m", "streamer", "run"], env=given, stdout=file, stderr=file)
    try:
        served = pages_of(log)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(60) == 0, log.read_text()
    finally:
        if daemon.poll() is None:
            daemon.kill()
            daemon.wait()
    last = streamer(given, "run", "--until-caught-up")
    assert last.returncode == 0, last.stderr

    filesystem, paths = bucket_files(s3_server, bucket)
    rows, letters = read_back(filesystem, paths, topic)
    assert sorted(row["_offset"] for row in rows) == list(range(RECORDS))
    assert letters == []
    assert "streamer_" in served
    assert_hidden(served + log.read_text() + "".join(done.stdout + done.stderr for done in (*said, last)), given)


def pages_of(log: Path) -> str:
    """Every page of the running daemon, once it is ready."""
    end = time.monotonic() + 90
    while time.monotonic() < end:
        if found := re.search(r'"health": ?"(http://[0-9.:]+)"', log.read_text()):
            pages = {page: read_page(found[1] + page) for page in ("/healthz", "/readyz", "/metrics", "/nothing")}
            if '"ready":true' in pages["/readyz"]:
                return "".join(pages.values())
        time.sleep(0.2)
    raise AssertionError(log.read_text())


def read_page(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.headers) + answer.read().decode()
    except urllib.error.HTTPError as refused:
        return str(refused.headers) + refused.read().decode()


@pytest.mark.parametrize("name", list(WRONG))
def test_wrong_credentials_are_refused_and_shown_by_nothing(
    name: str, tls_broker: TlsBroker, s3_server: S3Server, topic: str
) -> None:
    bucket = f"secrets-{uuid.uuid4().hex[:8]}"
    right = environment(tls_broker, s3_server, topic, bucket)
    assert streamer(right, "init", "--yes").returncode == 0
    given = right | {name: WRONG[name]}

    said = [
        streamer(given, "run", "--until-caught-up"),
        streamer(given, "run", "--until-caught-up", "--config", "/nowhere"),
        streamer(given, "check"),
        streamer(given, "check", "--json"),
        streamer(given, "columns", topic),
        streamer(given, "verify"),
    ]

    assert [done.returncode for done in said[:4]] == [4, 2, 4, 4], said
    assert_hidden("".join(done.stdout + done.stderr for done in said), given)
