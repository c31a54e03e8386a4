"""Settings of the source: contradictions are refused, secrets are not shown."""

from __future__ import annotations

import pytest

from streamer.errors import Denied, Invalid, Unavailable
from streamer.source.errors import translate
from streamer.source.settings import KafkaSettings


def test_the_password_is_in_no_repr() -> None:
    settings = KafkaSettings(
        bootstrap_servers="a:1", security_protocol="SASL_SSL", sasl_username="user", sasl_password="hunter2"
    )

    assert "hunter2" not in repr(settings)
    assert settings.uses_sasl
    assert settings.uses_tls


def test_servers_are_parted_at_commas() -> None:
    assert KafkaSettings(bootstrap_servers=" a:1, b:2 ,").servers == ("a:1", "b:2")


@pytest.mark.parametrize(
    "options",
    [
        {"bootstrap_servers": " , "},
        {"bootstrap_servers": "a:1", "security_protocol": "SASL_PLAINTEXT"},
        {"bootstrap_servers": "a:1", "session_timeout_seconds": 5.0, "heartbeat_seconds": 3.0},
    ],
)
def test_contradictions_are_refused_with_a_next_step(options: dict[str, object]) -> None:
    with pytest.raises(Invalid) as caught:
        KafkaSettings(**options)  # type: ignore[arg-type]

    assert caught.value.hint


def test_exceptions_of_the_client_become_what_the_reader_must_do() -> None:
    from aiokafka import errors as kafka_errors

    cases = {
        kafka_errors.SaslAuthenticationFailed("no"): Denied,
        kafka_errors.TopicAuthorizationFailedError("ticks"): Denied,
        kafka_errors.GroupAuthorizationFailedError("streamer"): Denied,
        kafka_errors.UnsupportedSaslMechanismError("PLAIN"): Invalid,
        kafka_errors.InvalidSessionTimeoutError(): Invalid,
        kafka_errors.KafkaConnectionError("down"): Unavailable,
        ConnectionRefusedError("refused"): Unavailable,
        TimeoutError(): Unavailable,
    }

    assert [type(translate(error, "doing")) for error in cases] == list(cases.values())
    assert all(translate(error, "doing").hint for error in cases)
