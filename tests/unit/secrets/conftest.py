"""A moto server with IAM, and a way to make users on it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator

import boto3
import pytest

from streamer.secrets.contract import AwsKeys
from tests.moto_server import moto_server

_numbers = itertools.count()
REGION = "us-east-1"
Users = Callable[..., AwsKeys]


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    with moto_server() as address:
        yield address


@pytest.fixture
def root(endpoint: str) -> Callable[[str], object]:
    """`root("iam")`: a client that may do everything, while nothing is enforced."""
    return lambda service: boto3.client(
        service, endpoint_url=endpoint, region_name=REGION, aws_access_key_id="root", aws_secret_access_key="root-secret"
    )


@pytest.fixture
def new_user(root: Callable[[str], object]) -> Users:
    """`new_user("s3:GetObject", ...)`: the keys of a new user who may do this, to everything."""

    def make(*actions: str) -> AwsKeys:
        iam, name = root("iam"), f"user-{next(_numbers)}"
        iam.create_user(UserName=name)  # type: ignore[attr-defined]
        statement = {"Effect": "Allow", "Action": list(actions) or ["nothing:atall"], "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document)  # type: ignore[attr-defined]
        key = iam.create_access_key(UserName=name)["AccessKey"]  # type: ignore[attr-defined]
        return AwsKeys(key["AccessKeyId"], key["SecretAccessKey"])

    return make


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> Callable[[AwsKeys], None]:
    """`chain(keys)`: these are what the AWS chain finds."""

    def use(keys: AwsKeys) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys.access_key_id)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys.secret_access_key)

    return use


@pytest.fixture
def secret_name() -> str:
    return f"lake/secret-{next(_numbers)}"
