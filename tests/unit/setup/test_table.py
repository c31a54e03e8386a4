"""The policies of an index are enough and no more, on a server that enforces IAM (moto)."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import boto3
import pytest
from moto.core.authorization import enable_iam_authentication

from streamer.cli.check import look_at_table
from streamer.clock import SystemClock
from streamer.config import Settings, load
from streamer.config.clients import table_settings
from streamer.errors import Denied
from streamer.events.event import event_given
from streamer.index.dynamodb import IndexTable
from streamer.index.item import item_of
from streamer.setup.everything import carry_out
from streamer.setup.policy import Role, policy
from streamer.setup.table import table_steps

_numbers = itertools.count()
ITEM = item_of(event_given({"timestamp": "2024-01-15T10:00:00Z", "ticker": "BTC"}))


@pytest.fixture
def settings(endpoint: str) -> Settings:
    """Of a stream `pulse` with an index on the server."""
    given = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_DYNAMODB_PULSE_TABLE": f"index-{next(_numbers)}",
        "STREAMER__STREAMS__PULSE__SCHEMA": "pulse",
    }
    return load(lake="s3://lake/here", environment=given)


@asynccontextmanager
async def acting_as(role: Role, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[IndexTable]:
    """The table in the hands of somebody who has the role's policy alone."""
    user = f"{settings.tables[0]}-{role}"
    iam = boto3.client(
        "iam",
        endpoint_url=settings.dynamodb.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="root",
        aws_secret_access_key="root",
    )
    iam.create_user(UserName=user)
    document = policy(settings, role)
    for statement in document["Statement"]:
        statement["Resource"] = "*"  # moto knows no resources of DynamoDB; that they are exact is another test
    iam.put_user_policy(UserName=user, PolicyName="lake", PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName=user)["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    table = IndexTable(table_settings(settings, settings.tables[0]), SystemClock())
    try:
        with enable_iam_authentication():
            yield table
    finally:
        await table.close()


async def made(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with acting_as("setup", settings, monkeypatch) as table:
        await carry_out(await table_steps(table, recovery=True))
        steps = await table_steps(table, recovery=True)
    assert [step.action for step in steps] == ["keep", "keep"]


async def test_each_role_can_do_its_work_and_not_that_of_the_others(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await made(settings, monkeypatch)
    async with acting_as("daemon", settings, monkeypatch) as table:
        assert (await table.write([ITEM])).items == 1
        with pytest.raises(Denied, match="does not let us") as denied:
            await table.check_reading()
        assert "dynamodb:Query" in denied.value.hint
        with pytest.raises(Denied):
            await table.create()
    for role in ("reader", "writer"):
        async with acting_as(role, settings, monkeypatch) as table:  # type: ignore[arg-type]
            assert len([item async for item in table.of_ticker("BTC", None, None)]) == 1
            assert len([item async for item in table.between(None, None)]) == 1
            if role == "reader":
                with pytest.raises(Denied):
                    await table.write([ITEM])
            else:
                await table.write([ITEM])


async def test_check_says_which_permission_is_missing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    await made(settings, monkeypatch)
    async with acting_as("daemon", settings, monkeypatch) as table:
        found = [finding async for finding in look_at_table(settings, table.name, SystemClock())]
    async with acting_as("reader", settings, monkeypatch) as table:
        of_reader = [finding async for finding in look_at_table(settings, table.name, SystemClock())]

    assert [finding.status for finding in found] == ["ok", "ok", "warn"]
    assert "dynamodb:Query" in found[2].hint
    assert [finding.status for finding in of_reader] == ["ok", "warn", "ok"]
    assert "dynamodb:BatchWriteItem" in of_reader[1].hint


async def test_nothing_is_written_to_find_out_whether_it_may_be(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    await made(settings, monkeypatch)
    async with acting_as("daemon", settings, monkeypatch) as table:
        await table.check_writing()
    async with acting_as("reader", settings, monkeypatch) as table:
        assert [item async for item in table.between(None, None)] == []
