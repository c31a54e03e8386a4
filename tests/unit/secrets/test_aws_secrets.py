"""Secrets Manager (moto): what it answers, and what each refusal tells its reader to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from moto.core.authorization import enable_iam_authentication

from streamer.errors import Denied, Invalid, Unavailable
from streamer.secrets.aws_secrets import SecretsManager, _refused
from streamer.secrets.contract import AwsKeys
from streamer.secrets.settings import ManagerSettings
from streamer.store.s3_errors import Refusal

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:lake/keys-AbCdEf"
Chain = Callable[[AwsKeys], None]
Users = Callable[..., AwsKeys]


@pytest.fixture
def manager(endpoint: str, chain: Chain) -> SecretsManager:
    chain(AwsKeys("anybody", "any-secret"))
    return SecretsManager(ManagerSettings("us-east-1", endpoint_url=endpoint))


async def test_what_is_written_is_read_and_each_writing_is_a_version(manager: SecretsManager, secret_name: str) -> None:
    first = await manager.write(secret_name, "one")
    second = await manager.write(secret_name, "two")
    found = await manager.read(secret_name)

    assert first != second == found.version
    assert found.text == "two"
    assert "two" not in repr(found)


async def test_a_secret_that_is_not_there_names_region_and_command(manager: SecretsManager) -> None:
    with pytest.raises(Invalid, match="no such secret in us-east-1") as error:
        await manager.read("lake/none")

    assert "secrets.region" in error.value.hint
    assert "streamer secrets put" in error.value.hint
    with pytest.raises(Invalid, match="no such secret"):
        await manager.write("arn:aws:secretsmanager:us-east-1:123456789012:secret:none-AbCdEf", "x")


async def test_a_missing_permission_is_named(endpoint: str, new_user: Users, chain: Chain, secret_name: str) -> None:
    chain(new_user())
    manager = SecretsManager(ManagerSettings("us-east-1", endpoint_url=endpoint))
    with enable_iam_authentication(), pytest.raises(Denied) as error:
        await manager.read(secret_name)

    assert "grant secretsmanager:GetSecretValue" in error.value.hint


async def test_an_arn_of_another_region_than_the_configured_one_is_refused_before_it_is_asked_for() -> None:
    manager = SecretsManager(ManagerSettings("us-east-1", region_is_stated=True, endpoint_url="http://127.0.0.1:1"))
    with pytest.raises(Invalid, match="in region eu-west-1, not us-east-1"):
        await manager.read(ARN)


async def test_an_arn_names_its_own_region_where_none_is_stated(manager: SecretsManager) -> None:
    with pytest.raises(Invalid, match="no such secret in eu-west-1"):
        await manager.read(ARN)


async def test_nobody_there_is_a_service_that_is_away(chain: Chain) -> None:
    chain(AwsKeys("anybody", "any-secret"))
    with pytest.raises(Unavailable) as error:
        await SecretsManager(ManagerSettings("us-east-1", endpoint_url="http://127.0.0.1:1")).read("any")

    assert "secrets.endpoint_url" in error.value.hint


@pytest.mark.parametrize(
    ("refusal", "kind", "part"),
    [
        (Refusal(400, "DecryptionFailure"), Denied, "kms:Decrypt"),
        (Refusal(400, "UnrecognizedClientException", "The security token is invalid"), Denied, "AWS_PROFILE"),
        (Refusal(400, "ExpiredTokenException"), Denied, "AWS_PROFILE"),
        (Refusal(400, "InvalidRequestException"), Invalid, "restore-secret"),
        (Refusal(400, "ThrottlingException"), Unavailable, "wait"),
        (Refusal(503, ""), Unavailable, "wait"),
        (
            Refusal(400, "InvalidSignatureException", "Credential should be scoped to a region"),
            Invalid,
            "secrets.region",
        ),
        (
            Refusal(400, "AccessDeniedException", "User: x is not authorized to perform: kms:Decrypt on resource: y"),
            Denied,
            "grant kms:Decrypt",
        ),
    ],
)
def test_each_refusal_has_its_next_step(refusal: Refusal, kind: type[Exception], part: str) -> None:
    error = _refused(refusal, "secretsmanager:GetSecretValue", "lake/keys", "us-east-1")

    assert isinstance(error, kind)
    assert part in error.hint
    assert error.context["secret"] == "lake/keys"
