"""Streams as the pipeline runs them, and the clients' own values."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from streamer.config import Settings, load
from streamer.config.clients import kafka_settings, s3_settings
from streamer.config.stream import PATHS, StreamSection
from streamer.config.stream_layouts import streams
from streamer.errors import Invalid
from streamer.layout import Format, Rule, SchemaName


def configured(directory: Path, toml: str, **environment: str) -> Settings:
    (directory / "streamer.toml").write_text(toml)
    return load(environment={"S3_BUCKET": "bucket", **environment}, directory=directory)


def test_the_built_in_streams_have_the_designs_paths() -> None:
    found = {stream.name: (stream.topic, stream.layout.schema, stream.layout.path) for stream in streams(Settings())}

    assert found == {
        "ticks": ("ticks", "tick", "symbol={symbol}/date={date}"),
        "signals": ("signals", "signal", "date={date}"),
        "features": ("features", "feature", "date={date}"),
    }


def test_the_configuration_knows_the_layouts_own_words() -> None:
    def choices(field: str) -> tuple[str, ...]:
        return get_args(StreamSection.model_fields[field].annotation)

    assert choices("schema_name") == get_args(SchemaName)
    assert choices("format") == get_args(Format)
    assert set(PATHS) == set(get_args(SchemaName))


def test_columns_extend_the_schema_and_change_its_types(tmp_path: Path) -> None:
    toml = """
    [streams.ticks]
    rules = ["price > 0", "bid<=1e6"]
    allowed_lateness = "2m"
    cut = { idle = "5s" }
    aliases = { bid = ["b"], price = "px" }
    columns = { bid = "float64", price = "decimal128(38,18)" }
    """
    ticks = next(stream for stream in streams(configured(tmp_path, toml)) if stream.name == "ticks")
    price, bid = ticks.layout.column("price"), ticks.layout.column("bid")

    assert price is not None
    assert bid is not None
    assert (price.type, price.required, price.aliases[0]) == ("decimal128(38,18)", True, "px")
    assert (bid.type, bid.aliases) == ("float64", ("b",))
    assert ticks.layout.rules == (Rule("price", ">", 0.0), Rule("bid", "<=", 1e6))
    assert (ticks.allowed_lateness_seconds, ticks.cut.idle_seconds) == (120.0, 5.0)


def test_what_does_not_decide_rows_or_keys_leaves_the_fingerprint_alone(tmp_path: Path) -> None:
    plain = {stream.name: stream.layout.fingerprint for stream in streams(Settings())}
    other = configured(tmp_path, "[streams.ticks]\ncut = { rows = 1 }\ntopic = 'other'\nallowed_lateness = 1")

    assert plain == {stream.name: stream.layout.fingerprint for stream in streams(other)}


@pytest.mark.parametrize(
    ("toml", "part"),
    [
        ("columns = { bid = 'flaot64' }", "unknown column type 'flaot64'"),
        ("columns = { Price = 'float64' }", "is there already"),
        ("columns = { _x = 'int64' }", "starts with _"),
        ("aliases = { nothing = ['n'] }", "unknown column"),
        ("path = '{nothing}/date={date}'", "names 'nothing'"),
        ("path = '/date={date}'", "empty segment"),
        ("rules = ['bid > 0']", "a column that is not there"),
        ("rules = ['symbol > 0']", "compares string with a number"),
    ],
)
def test_a_layout_that_cannot_be_is_refused_with_the_streams_name(tmp_path: Path, toml: str, part: str) -> None:
    settings = configured(tmp_path, f"[streams.ticks]\n{toml}")

    with pytest.raises(Invalid, match=r"^streams\.ticks: ") as caught:
        streams(settings)
    assert part in str(caught.value)
    assert caught.value.hint


def test_kafka_is_told_everything_the_configuration_says(tmp_path: Path) -> None:
    toml = """
    [kafka]
    bootstrap_servers = ["a:1", "b:2"]
    group_instance_id = "streamer-0"
    session_timeout = "8s"
    security_protocol = "sasl_ssl"
    sasl_mechanism = "SCRAM-SHA-512"
    sasl_username = "me"
    ssl_cafile = "/ca.pem"
    read_mode = "getmany"
    [memory]
    budget = "32MiB"
    """
    kafka = kafka_settings(configured(tmp_path, toml, STREAMER__KAFKA__SASL_PASSWORD="hunter2"))

    assert kafka.servers == ("a:1", "b:2")
    assert (kafka.group_instance_id, kafka.session_timeout_seconds, kafka.heartbeat_seconds) == ("streamer-0", 8.0, 2.0)
    assert (kafka.security_protocol, kafka.sasl_mechanism, kafka.sasl_username) == ("SASL_SSL", "SCRAM-SHA-512", "me")
    assert (kafka.sasl_password, kafka.ssl_cafile, kafka.read_mode) == ("hunter2", "/ca.pem", "getmany")
    assert kafka.prefetch_budget_bytes == 8 << 20
    assert "hunter2" not in repr(kafka)


def test_the_least_session_still_fits_its_heartbeats(tmp_path: Path) -> None:
    assert kafka_settings(configured(tmp_path, "[kafka]\nsession_timeout = 1")).session_timeout_seconds == 1.0


def test_s3_is_told_everything_the_configuration_says(tmp_path: Path) -> None:
    toml = """
    [lake]
    url = "s3://bucket/prefix"
    expected_bucket_owner = 123456789012
    server_side_encryption = "aws:kms"
    kms_key_id = "key"
    [s3]
    request_timeout = "10s"
    [uploads]
    concurrency = 100
    """
    aws = {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "hunter2",
        "AWS_SESSION_TOKEN": "t",
        "AWS_ENDPOINT_URL": "http://h:1",
    }
    s3 = s3_settings(configured(tmp_path, toml, **aws))

    assert (s3.access_key_id, s3.secret_access_key, s3.session_token) == ("id", "hunter2", "t")
    assert (s3.endpoint_url, s3.request_seconds, s3.max_connections) == ("http://h:1", 10.0, 116)
    assert (s3.expected_bucket_owner, s3.server_side_encryption, s3.kms_key_id) == ("123456789012", "aws:kms", "key")
    assert "hunter2" not in repr(s3)
