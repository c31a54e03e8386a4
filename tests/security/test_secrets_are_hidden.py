"""Nothing that streamer prints, logs, serves or raises holds a secret: everything is provoked under DEBUG, and searched."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog
import typer

from streamer import logs
from streamer.cli.main import build, main
from streamer.config import load
from streamer.config.clients import kafka_settings, s3_settings
from streamer.daemon import serve
from streamer.errors import Invalid, StreamerError
from streamer.models.signature import Signer
from streamer.source.client import client_options
from streamer.store.open import open_store
from streamer.store.s3 import S3Store
from streamer.testing.manual_clock import ManualClock
from tests.contracts.test_source_kafka_faults import refuse_credentials
from tests.security.secrets import ENVIRONMENT, SECRETS, forms, shown_in
from tests.unit.store.fault_server import Answer, FaultServer

ECHO = f"signed with {SECRETS['the S3 secret key']}, token {SECRETS['the S3 session token']}"


@contextmanager
def servers(answer: Answer) -> Iterator[dict[str, str]]:
    """A store that answers so and a broker that refuses all credentials, in a thread; the environment that leads to them."""
    ready, over, found = threading.Event(), threading.Event(), {}

    async def run() -> None:
        faults = FaultServer()
        faults.reply(answer)
        store = await asyncio.start_server(faults.serve, "127.0.0.1", 0)
        broker = await asyncio.start_server(_broker, "127.0.0.1", 0)
        found["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{store.sockets[0].getsockname()[1]}"
        found["KAFKA_BOOTSTRAP_SERVERS"] = f"127.0.0.1:{broker.sockets[0].getsockname()[1]}"
        ready.set()
        await asyncio.to_thread(over.wait)
        faults.over.set()
        store.close()
        broker.close()

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    ready.wait()
    try:
        yield {**ENVIRONMENT, **found, "S3_BUCKET": "bucket", "AWS_REGION": "us-east-1", "STREAMER__HTTP__PORT": "0"}
    finally:
        over.set()
        thread.join()


async def _broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await refuse_credentials(reader, writer)
    except (asyncio.IncompleteReadError, ConnectionError):
        return
    finally:
        writer.close()


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """No variable of the machine, an empty directory, and logging as it was afterwards."""
    for name in list(os.environ):
        if name.startswith(("STREAMER", "AWS_", "S3_", "KAFKA_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in logs.CLIENTS}
    yield monkeypatch
    structlog.reset_defaults()
    root.handlers[:] = before
    root.setLevel(level)
    for name, was in levels.items():
        logging.getLogger(name).setLevel(was)
    logging.captureWarnings(False)


def set_all(clean: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        clean.setenv(name, value)


def test_the_search_finds_every_form_of_a_secret() -> None:
    for name, secret in SECRETS.items():
        assert all(shown_in(f"x{form}y") == [name] for form in forms(secret))
    assert shown_in("Authorization: AWS4-HMAC-SHA256 Credential=x")
    assert shown_in("/metrics 200, ********") == []


def test_settings_show_no_secret_however_they_are_printed(tmp_path: Path) -> None:
    key = {"STREAMER__KAFKA__SSL_KEY_PASSWORD": SECRETS["the password of the key"], "STREAMER__KAFKA__SSL_CERTFILE": "c.pem"}
    found = load(environment=ENVIRONMENT | key | {"STREAMER__KAFKA__SECURITY_PROTOCOL": "SASL_SSL", "S3_BUCKET": "bucket"})
    kafka, s3 = kafka_settings(found), s3_settings(found)
    store = open_store("s3://bucket", s3, ManualClock())
    entries = "".join(f"{entry!r} {entry.text} {entry.value}" for entry in found.entries())

    for value in (found, kafka, s3, store, Signer(b"x"), found.kafka, found.s3, found.model_dump()):
        assert shown_in(f"{value!r} {value}") == []
    assert shown_in(entries + found.model_dump_json()) == []
    assert set(SECRETS.values()) - set(found.hidden_values) == {SECRETS["the signing key of models"]}


@pytest.mark.parametrize(
    ("name", "value", "more"),
    [
        ("STREAMER__KAFKA__SASL_PASSWORD", '["{}"]', {}),
        ("STREAMER__S3", '{{"secret_access_key": ["{}"]}}', {}),
        ("STREAMER__S3", '{{"secret_access_key": "{}", "x": 1}}', {}),
        ("STREAMER__S3", "{}", {}),
        ("S3_BUCKET", "s3://AKID:{}@bucket", {}),
        ("STREAMER__LAKE__URL", "https://user:{}@host/x", {}),
        ("AWS_ENDPOINT_URL", "http://user:{}@host:1", {}),
        ("AWS_ENDPOINT_URL", "ftp://{}", {}),
        ("STREAMER__KAFKA__CREDENTIALS", "{}", {"STREAMER__KAFKA__SECURITY_PROTOCOL": "SASL_SSL"}),
        ("STREAMER__KAFKA__SSL_KEY_PASSWORD", "{}", {"STREAMER__KAFKA__SECURITY_PROTOCOL": "SSL"}),
        ("STREAMER__KAFKA__SASL_PASSWORD", "{}", {"STREAMER__KAFKA__SECURITY_PROTOCOL": "perhaps"}),
    ],
)
def test_an_error_of_the_configuration_does_not_repeat_what_may_be_a_secret(
    name: str, value: str, more: dict[str, str], capsys: pytest.CaptureFixture[str], clean: pytest.MonkeyPatch
) -> None:
    secret = "hush-hush-hush"
    environment = {"S3_BUCKET": "bucket", **more, name: value.format(secret)}
    with pytest.raises(Invalid) as caught:
        kafka_settings(load(environment=environment))
    assert secret not in f"{caught.value} {caught.value.hint} {caught.value!r}"

    set_all(clean, environment)
    assert main(["config", "show"]) == 2
    assert main(["check", "--json"]) == 2
    said = capsys.readouterr()
    assert secret not in said.out + said.err


def commands(app: typer.Typer, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from commands(group.typer_instance, (*path, str(group.name or group.typer_instance.info.name)))
    for command in app.registered_commands:
        yield (*path, command.name or command.callback.__name__.replace("_", "-"))  # type: ignore[union-attr]


@pytest.mark.thorough
def test_no_help_page_shows_a_value_of_the_environment(clean: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    set_all(clean, ENVIRONMENT)
    found = list(commands(build()))
    assert len(found) > 20

    for command in found:
        assert main([*command, "--help"]) == 0, command
    said = capsys.readouterr()

    assert len(said.out) > 5000
    assert shown_in(said.out + said.err) == []


REFUSALS = {
    "a secret that does not fit": Answer(403, "SignatureDoesNotMatch", ECHO),
    "an expired token": Answer(400, "ExpiredToken", ECHO),
    "no permission": Answer(403, "AccessDenied", ECHO),
    "a bug in the server": Answer(500, "InternalError", ECHO),
    "nothing known": Answer(418, "Teapot", ECHO),
}
COMMANDS = [
    ["config", "show"], ["config", "show", "--json"], ["check"], ["check", "--json"], ["ls"], ["verify"], ["scan", "ticks"],
    ["run", "--until-caught-up"], ["columns", "ticks"], ["models", "list"], ["positions", "list"], ["dead-letters", "list"],
    ["init", "--yes"], ["state", "show"],
]  # fmt: skip


@pytest.mark.parametrize("name", list(REFUSALS))
def test_commands_that_are_refused_print_no_secret(
    name: str, clean: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    all_of_them = name == "no permission"
    with servers(REFUSALS[name]) as environment:
        set_all(clean, environment | {"STREAMER__LOG__LEVEL": "debug", "STREAMER__LOG__FORMAT": "console"})
        for command in COMMANDS if all_of_them else COMMANDS[:4]:
            status = main(command)
            assert status in ((0,) if command[0] == "config" else (2, 3, 4)), command
    said = capfd.readouterr()

    assert "sasl_password" in said.out + said.err
    assert shown_in(said.out + said.err) == []


async def test_clients_that_log_everything_show_no_secret_that_streamer_knows(clean: pytest.MonkeyPatch) -> None:
    """As no configuration of streamer's makes them: somebody who embeds it turned the clients' own loggers up."""
    written = io.StringIO()
    with servers(Answer(403, "AccessDenied", ECHO)) as environment:
        set_all(clean, environment)
        found = load(environment=environment)
        secrets = (*found.hidden_values, *logs.secret_variables(environment))
        logs.configure("debug", "json", written, secrets=secrets)
        for client in (*logs.CLIENTS, ""):
            logging.getLogger(client).setLevel(logging.DEBUG)
        store = S3Store("bucket", "", s3_settings(found))
        with pytest.raises(StreamerError):
            await store.get("k")
        presigned = await store.presign("k", 60)
        await store.close()
        with pytest.raises(StreamerError):
            await serve(found, until_caught_up=True)
        client_options(kafka_settings(found))
        structlog.get_logger().info("an event", error=f"{found.hidden_values}", url=SECRETS["the SASL password"])
        try:
            raise RuntimeError(SECRETS["the S3 secret key"])
        except RuntimeError:
            structlog.get_logger().exception("a traceback")
    text = written.getvalue()

    assert "botocore" in text
    assert presigned not in text
    assert [found for found in shown_in(text) if not found.startswith("a signature")] == []
    logs.configure("debug", "json", written, secrets=secrets)
    assert {logging.getLogger(client).level for client in logs.CLIENTS} == {logging.WARNING}
