"""Kafka over TLS with every mechanism that streamer offers, against a real broker: it reads, or says why it may not."""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from streamer.clock import SystemClock
from streamer.errors import Denied, Invalid, StreamerError, Unavailable
from streamer.source.probe import probe
from streamer.source.sample import newest_records
from streamer.source.settings import KafkaSettings
from tests.live.tls_broker import KEY_PASSWORD, PASSWORD, Authority, TlsBroker

TOPIC = "tls-ticks"
RECORDS = 20
WRONG = "wrong-password-of-somebody"


@pytest.fixture(scope="module")
def broker(tls_broker: TlsBroker) -> TlsBroker:
    tls_broker.create_topic(TOPIC)
    for user in ("archiver", "CN=archiver"):
        tls_broker.allow(user, ResourceType.TOPIC, TOPIC, AclOperation.READ, AclOperation.DESCRIBE)
        tls_broker.allow(user, ResourceType.GROUP, "streamer", AclOperation.READ, AclOperation.DESCRIBE)
    tls_broker.allow("onlooker", ResourceType.TOPIC, TOPIC, AclOperation.DESCRIBE)
    tls_broker.allow("onlooker", ResourceType.GROUP, "streamer", AclOperation.DESCRIBE)
    tls_broker.produce(TOPIC, (b'{"symbol":"BTC","price":%d}' % number for number in range(RECORDS)))
    return tls_broker


def settings(broker: TlsBroker, **options: Any) -> KafkaSettings:
    defaults = {
        "bootstrap_servers": broker.sasl,
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_username": "archiver",
        "sasl_password": PASSWORD,
        "ssl_cafile": str(broker.authority.file),
        "start_timeout_seconds": 10.0,
    }
    return KafkaSettings(**{**defaults, **options})


async def assert_reads(given: KafkaSettings) -> None:
    report = await probe(given, [TOPIC], SystemClock())
    assert [(topic.partitions, topic.problem) for topic in report.topics] == [(1, None)]
    assert report.group.problem is None
    found = await newest_records(given, SystemClock(), TOPIC, RECORDS)
    assert [len(chunk.offsets) for chunk in found] == [RECORDS]


async def refusal(given: KafkaSettings) -> StreamerError:
    with pytest.raises(StreamerError) as caught:
        await probe(given, [TOPIC], SystemClock())
    error = caught.value
    said = f"{error} {error.hint} {error.__cause__!r} {given!r}"
    assert PASSWORD not in said
    assert WRONG not in said
    assert error.hint
    return error


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("door", ["sasl", "clear"])
async def test_every_mechanism_reads_with_and_without_tls(broker: TlsBroker, mechanism: str, door: str) -> None:
    over_tls = {} if door == "sasl" else {"security_protocol": "SASL_PLAINTEXT", "ssl_cafile": None}

    await assert_reads(settings(broker, bootstrap_servers=getattr(broker, door), sasl_mechanism=mechanism, **over_tls))


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_a_wrong_password_is_denied_and_not_shown(broker: TlsBroker, mechanism: str) -> None:
    error = await refusal(settings(broker, sasl_mechanism=mechanism, sasl_password=WRONG))

    assert isinstance(error, Denied)
    assert "sasl_password" in error.hint


async def test_a_broker_of_another_authority_is_not_trusted(broker: TlsBroker, tmp_path: Path) -> None:
    error = await refusal(settings(broker, ssl_cafile=str(Authority(tmp_path, "other").file)))

    assert isinstance(error, Denied)
    assert "ssl_cafile" in error.hint


async def test_without_an_authority_of_its_own_the_systems_count_and_refuse(broker: TlsBroker) -> None:
    assert isinstance(await refusal(settings(broker, ssl_cafile=None)), Denied)


async def test_a_broker_under_another_name_than_its_certificates_is_not_trusted(broker: TlsBroker) -> None:
    port = broker.sasl.rpartition(":")[2]

    error = await refusal(settings(broker, bootstrap_servers=f"localhost:{port}"))

    assert isinstance(error, Denied)
    assert "ostname" in error.message


@pytest.mark.parametrize("password", [None, KEY_PASSWORD], ids=["a plain key", "an encrypted key"])
async def test_a_client_certificate_opens_the_door(broker: TlsBroker, password: str | None) -> None:
    paper = broker.authority.issue("archiver", password=password)

    await assert_reads(
        settings(
            broker,
            bootstrap_servers=broker.mutual,
            security_protocol="SSL",
            sasl_username=None,
            sasl_password=None,
            ssl_certfile=str(paper.certificate),
            ssl_keyfile=str(paper.key),
            ssl_key_password=password,
        )
    )


async def test_without_a_client_certificate_or_with_a_foreign_one_it_stays_shut(broker: TlsBroker, tmp_path: Path) -> None:
    shut = settings(
        broker,
        bootstrap_servers=broker.mutual,
        security_protocol="SSL",
        sasl_username=None,
        sasl_password=None,
        start_timeout_seconds=3.0,
    )
    foreign = Authority(tmp_path, "other").issue("archiver")

    for given in (
        shut,
        dataclasses.replace(shut, ssl_certfile=str(foreign.certificate), ssl_keyfile=str(foreign.key)),
    ):
        error = await refusal(given)
        assert isinstance(error, Denied | Unavailable)
        assert "ssl_certfile" in error.hint


async def test_an_encrypted_key_without_its_password_is_an_error_and_no_question(broker: TlsBroker) -> None:
    paper = broker.authority.issue("locked", password=KEY_PASSWORD)
    for password in (None, WRONG):
        error = await refusal(
            settings(broker, ssl_certfile=str(paper.certificate), ssl_keyfile=str(paper.key), ssl_key_password=password)
        )
        assert isinstance(error, Invalid)
        assert "ssl_key_password" in error.hint


async def test_plain_text_at_a_port_that_speaks_tls_says_what_to_look_at(broker: TlsBroker) -> None:
    error = await refusal(KafkaSettings(bootstrap_servers=broker.sasl, start_timeout_seconds=3.0))

    assert "security_protocol" in error.hint


async def test_tls_at_a_port_that_speaks_plain_text_says_what_to_look_at(broker: TlsBroker) -> None:
    error = await refusal(settings(broker, bootstrap_servers=broker.plaintext, start_timeout_seconds=3.0))

    assert "security_protocol" in error.hint


async def test_no_version_of_tls_before_1_2_is_spoken(broker: TlsBroker) -> None:
    host, _, port = broker.sasl.partition(":")
    context = ssl.create_default_context(cafile=str(broker.authority.file))
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)

    assert writer.get_extra_info("ssl_object").version() in ("TLSv1.2", "TLSv1.3")

    writer.close()
    await writer.wait_closed()


async def test_check_tells_who_may_see_from_who_may_read(broker: TlsBroker) -> None:
    may_read = await probe(settings(broker), [TOPIC], SystemClock())
    may_see = await probe(settings(broker, sasl_username="onlooker"), [TOPIC], SystemClock())

    assert (may_read.topics[0].problem, may_read.group.problem) == (None, None)
    for problem in (may_see.topics[0].problem, may_see.group.problem):
        assert isinstance(problem, Denied)
        assert "grant READ" in problem.hint
    assert may_see.topics[0].topic == TOPIC
