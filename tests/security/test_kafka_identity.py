"""Who we are to Kafka: Amazon's own tokens, keys that are never asked for on a terminal, settings that fit together."""

from __future__ import annotations

import base64
import io
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import botocore.auth
import pytest
from aws_msk_iam_sasl_signer import MSKAuthTokenProvider
from botocore.credentials import Credentials, ReadOnlyCredentials
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from streamer.aws_token import MskSigner, signed
from streamer.config import load
from streamer.config.clients import kafka_settings
from streamer.errors import Denied, Invalid
from streamer.source.client import client_options, make_ssl_context
from streamer.source.errors import translate
from streamer.source.msk_tokens import MskTokens
from streamer.source.settings import KafkaSettings

REGION = "eu-west-1"
NOW = datetime(2026, 1, 3, 10, 0, 0, tzinfo=UTC)
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
TOKEN = "FwoGZXIvYXdzEBYaD//a+b=="


@pytest.fixture
def standing_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("get_current_datetime",):
        monkeypatch.setattr(botocore.auth, name, lambda *_, **__: NOW.replace(tzinfo=None))


@pytest.mark.usefixtures("standing_clock")
@pytest.mark.parametrize("token", [None, TOKEN])
def test_a_token_is_byte_for_byte_what_amazons_own_signer_makes(token: str | None) -> None:
    theirs, _ = MSKAuthTokenProvider.__construct_auth_token(REGION, Credentials("AKIDEXAMPLE", SECRET, token))

    ours = signed(
        ReadOnlyCredentials("AKIDEXAMPLE", SECRET, token), REGION, user_agent=MSKAuthTokenProvider.__get_user_agent__()
    )

    assert ours == theirs


def test_a_token_is_a_signed_request_to_connect_that_holds_for_a_quarter_of_an_hour() -> None:
    token = signed(ReadOnlyCredentials("AKIDEXAMPLE", SECRET, TOKEN), REGION)

    url = urlsplit(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode())
    said = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert (url.scheme, url.netloc, url.path) == ("https", "kafka.eu-west-1.amazonaws.com", "/")
    assert said["Action"] == "kafka-cluster:Connect"
    assert said["X-Amz-Expires"] == "900"
    assert said["X-Amz-Security-Token"] == TOKEN
    assert "/eu-west-1/kafka-cluster/aws4_request" in said["X-Amz-Credential"]
    assert "=" not in token
    assert SECRET not in url.query


async def test_tokens_are_signed_with_what_the_aws_chain_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    tokens = MskTokens(REGION)

    token = await tokens.token()

    assert b"AKIDEXAMPLE" in base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert SECRET not in f"{tokens!r} {vars(tokens)!r}"


async def test_without_credentials_it_is_denied_also_behind_the_clients_own_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(Denied, match="no usable credentials"):
        await MskSigner(REGION).token()

    with pytest.raises(Exception, match="no usable credentials") as caught:
        await MskTokens(REGION).token()

    denied = translate(caught.value, "connecting")
    assert isinstance(denied, Denied)
    assert "AWS_ACCESS_KEY_ID" in denied.hint


@pytest.mark.parametrize(
    ("servers", "given", "region"),
    [
        ("b-1.demo.abc123.c2.kafka.us-east-2.amazonaws.com:9098", "eu-west-1", "us-east-2"),
        ("boot-x1.c1.kafka-serverless.ap-south-1.amazonaws.com:9098", None, "ap-south-1"),
        ("b-1.demo.abc123.c2.kafka.cn-north-1.amazonaws.com.cn:9098", None, "cn-north-1"),
        ("msk.internal:9098", "eu-west-1", "eu-west-1"),
    ],
)
def test_the_region_is_that_of_the_brokers_names(servers: str, given: str | None, region: str) -> None:
    settings = KafkaSettings(
        bootstrap_servers=servers, security_protocol="SASL_SSL", sasl_mechanism="AWS_MSK_IAM", aws_region=given
    )

    assert settings.msk_region == region
    options = client_options(settings)
    assert options["sasl_mechanism"] == "OAUTHBEARER"
    assert repr(options["sasl_oauth_token_provider"]) == f"MskTokens({region!r})"


def test_iam_without_a_region_or_without_tls_is_refused() -> None:
    for options in ({"security_protocol": "SASL_SSL"}, {"security_protocol": "SASL_PLAINTEXT", "aws_region": REGION}):
        with pytest.raises(Invalid) as caught:
            KafkaSettings(bootstrap_servers="msk:9098", sasl_mechanism="AWS_MSK_IAM", **options)  # type: ignore[arg-type]
        assert caught.value.hint


def test_the_configuration_knows_iam() -> None:
    environment = {
        "S3_BUCKET": "bucket",
        "AWS_REGION": REGION,
        "STREAMER__KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
        "STREAMER__KAFKA__SASL_MECHANISM": "aws_msk_iam",
    }

    assert kafka_settings(load(environment=environment)).msk_region == REGION
    for more, part in (
        ({"STREAMER__KAFKA__SASL_USERNAME": "me"}, "asks the AWS chain"),
        ({"STREAMER__KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT"}, "SASL_SSL"),
    ):
        with pytest.raises(Invalid, match=part):
            load(environment=environment | more)


def key_file(folder: Path, password: bytes | None) -> Path:
    encryption: Any = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    body = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
    path = folder / "key.pem"
    path.write_bytes(body)
    return path


def test_an_encrypted_key_without_a_password_is_refused_and_nobody_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("typed by somebody\n"))
    key = key_file(tmp_path, b"hunter2")
    settings = KafkaSettings(
        bootstrap_servers="a:1",
        security_protocol="SSL",
        ssl_certfile=str(key),
        ssl_keyfile=str(key),
        ssl_key_password="hunter3",
    )

    for given in (settings, KafkaSettings(bootstrap_servers="a:1", security_protocol="SSL", ssl_certfile=str(key))):
        with pytest.raises(Invalid) as caught:
            make_ssl_context(given)
        assert "ssl_key_password" in caught.value.hint
        assert "hunter3" not in f"{caught.value} {caught.value.__cause__!r} {given!r}"


def test_a_password_of_a_key_without_a_certificate_is_a_mistake() -> None:
    environment = {
        "S3_BUCKET": "bucket",
        "STREAMER__KAFKA__SECURITY_PROTOCOL": "SSL",
        "STREAMER__KAFKA__SSL_KEY_PASSWORD": "hunter2",
    }
    with pytest.raises(Invalid, match="need ssl_certfile") as caught:
        load(environment=environment)
    assert "hunter2" not in str(caught.value)
