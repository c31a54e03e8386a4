"""A moto server for the session, and a DynamoDB with moods in front of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.moody_dynamodb import MoodyDynamo, moody_dynamodb
from tests.moto_server import moto_server


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    with moto_server() as address:
        yield address


@pytest.fixture
def dynamo_address(moto: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of moto itself."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    return moto


@pytest.fixture
async def dynamo(dynamo_address: str) -> AsyncIterator[MoodyDynamo]:
    async with moody_dynamodb(dynamo_address) as moody:
        yield moody
