"""`streamer secrets`, against Secrets Manager and S3 (moto)."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable, Iterator

import boto3
import pytest
from command_line import Ended, Shell
from moto.core.authorization import enable_iam_authentication

from tests.moto_server import moto_server

_numbers = itertools.count()
KEYS = {"access_key_id": "AK1", "secret_access_key": "a-secret-of-mine"}
Told = Callable[..., Ended]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_server() as address:
        yield address


@pytest.fixture
def name() -> str:
    return f"cli/secret-{next(_numbers)}"


@pytest.fixture
def told(shell: Shell, endpoint: str, name: str, monkeypatch: pytest.MonkeyPatch) -> Told:
    """`told("put", "s3", "--stdin", stdin="...")`: with a configuration that names the secret."""

    def run(*arguments: str, stdin: str = "", **environment: str) -> Ended:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        given = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "asking",
            "AWS_SECRET_ACCESS_KEY": "asking-secret",
            "S3_BUCKET": "cli-secrets",
            "STREAMER__S3__CREDENTIALS": f"secretsmanager:{name}",
        }
        return shell("secrets", *arguments, **given | environment)

    return run


def client(service: str, endpoint: str) -> object:
    return boto3.client(
        service, endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="root", aws_secret_access_key="root-secret"
    )


def stored(endpoint: str, name: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(client("secretsmanager", endpoint).get_secret_value(SecretId=name)["SecretString"])  # type: ignore[attr-defined]
    return found


def test_put_takes_json_from_standard_input_in_the_form_of_other_tools(told: Told, endpoint: str, name: str) -> None:
    ended = told("put", "s3", "--stdin", "--json", stdin='{"AccessKeyId": "AK1", "SecretAccessKey": "a-secret-of-mine"}')

    assert ended.status == 0, ended
    assert json.loads(ended.out)["secret"] == name
    assert stored(endpoint, name) == KEYS
    assert "a-secret-of-mine" not in ended.out + ended.err


def test_put_asks_and_shows_nothing_of_the_answers(
    told: Told, endpoint: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["AK1", "a-secret-of-mine"])
    monkeypatch.setattr("typer.prompt", lambda *_, hide_input, **__: next(answers) if hide_input else pytest.fail("shown"))
    ended = told("put", "s3")

    assert ended.status == 0
    assert stored(endpoint, name) == KEYS
    assert "a-secret-of-mine" not in ended.out + ended.err


def test_no_value_is_taken_from_the_command_line(told: Told) -> None:
    assert told("put", "s3", "a-secret-of-mine").status == 2
    assert told("put", "s3", "--secret-access-key", "a-secret-of-mine").status == 2


@pytest.mark.parametrize(("stdin", "part"), [("", "not a JSON object"), ('{"access_key_id": "AK"}', "lacks secret_access_key")])
def test_half_of_the_keys_are_not_stored(told: Told, stdin: str, part: str) -> None:
    ended = told("put", "s3", "--stdin", stdin=stdin)

    assert ended.status == 2
    assert part in ended.err
    assert "no such secret" in told("test", "s3").out


def test_where_the_configuration_names_no_secret_the_setting_is_named(told: Told) -> None:
    ended = told("put", "kafka", "--stdin", stdin="{}")

    assert ended.status == 2
    assert "STREAMER__KAFKA__CREDENTIALS" in ended.err


def users(endpoint: str, *actions: str) -> dict[str, str]:
    iam, user = client("iam", endpoint), f"cli-{next(_numbers)}"
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    iam.create_user(UserName=user)  # type: ignore[attr-defined]
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=document)  # type: ignore[attr-defined]
    key = iam.create_access_key(UserName=user)["AccessKey"]  # type: ignore[attr-defined]
    return {"access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"]}


def test_rotate_stores_what_works_and_nothing_else(told: Told, endpoint: str, name: str) -> None:
    client("s3", endpoint).create_bucket(Bucket="cli-secrets")  # type: ignore[attr-defined]
    asking = users(endpoint, "secretsmanager:*")
    chain = {"AWS_ACCESS_KEY_ID": asking["access_key_id"], "AWS_SECRET_ACCESS_KEY": asking["secret_access_key"]}
    first, second = (users(endpoint, "s3:*") for _ in range(2))
    powerless = users(endpoint, "s3:ListBucket")
    put = told("put", "s3", "--stdin", stdin=json.dumps(first), **chain)
    with enable_iam_authentication():
        works = told("test", "s3", "--json", **chain)
        unknown = told("rotate", "s3", "--stdin", stdin=json.dumps({**second, "access_key_id": "AKIANOBODY"}), **chain)
        refused = told("rotate", "s3", "--stdin", stdin=json.dumps(powerless), **chain)
        rotated = told("rotate", "s3", "--stdin", stdin=json.dumps(second), **chain)

    assert put.status == 0
    assert (works.status, json.loads(works.out)["works"]) == (0, True)
    assert (unknown.status, refused.status) == (4, 4)
    assert "s3:PutObject" in refused.err
    assert rotated.status == 0, rotated
    assert "revoke those now" in rotated.err
    assert stored(endpoint, name) == second


def test_the_test_of_a_secret_that_is_no_credentials_says_so(told: Told, endpoint: str, name: str) -> None:
    client("secretsmanager", endpoint).create_secret(Name=name, SecretString="nonsense")  # type: ignore[attr-defined]
    ended = told("test", "s3")

    assert ended.status == 2
    assert "not a JSON object" in ended.out
    assert "nonsense" not in ended.out
