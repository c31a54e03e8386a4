"""`streamer index`, and what `init`, `check`, `policy` and `plan` say of indexes, on moto."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest
from command_line import Ended, Shell

from streamer import Lake
from streamer.cli.check import look_at_table
from streamer.clock import SystemClock
from streamer.config import load
from streamer.index.dynamodb import IndexTable
from streamer.index.indexing import StreamIndexer
from streamer.index.settings import IndexedStream, TableSettings
from streamer.metrics import Metrics
from streamer.store.directory import DirectoryStore
from streamer.workers import InlineWorkers
from tests.moto_server import moto_server
from tests.unit.events.pulse_lake import archive

_numbers = itertools.count()
Indexed = Callable[..., Ended]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_server() as address:
        yield address


@pytest.fixture
def table() -> str:
    return f"pulse-table-{next(_numbers)}"


@pytest.fixture
def indexed(shell: Shell, endpoint: str, table: str) -> Indexed:
    """`indexed("index", "show")`: with a stream `pulse` and a table that is not made yet."""
    aws = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
    named = {"AWS_DYNAMODB_PULSE_TABLE": table, "STREAMER__DYNAMODB__ENDPOINT_URL": endpoint}

    def run(*arguments: str, **more: str) -> Ended:
        return shell(*arguments, **{**aws, **named, "STREAMER__STREAMS__PULSE__SCHEMA": "pulse", **more})

    return run


def build(path: Path) -> None:
    """Three rows of a stream over two days, one of them of an event that is a document, too; and another document."""
    messages = [{"timestamp": f"2024-01-{day}T10:00:00Z", "ticker": "BTC", "stress": 0.5} for day in (15, 16)]

    async def write() -> None:
        store = DirectoryStore(path, SystemClock(), create=True)
        await store.prepare()
        await archive(store, [*messages, {"timestamp": "2024-01-16T11:00:00Z", "ticker": "ETH"}])
        await store.close()

    asyncio.run(write())
    with Lake.open(str(path)) as lake:
        lake.events.store_batch([messages[0], {"timestamp": "2024-01-16T12:00:00Z", "ticker": "XRP"}])


def test_init_makes_the_table_once_and_a_rebuild_fills_it(
    indexed: Indexed, tmp_path: Path, endpoint: str, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path / "lake")
    lake = ("--lake", "./lake")
    assert indexed("init", "--dry-run", *lake).status == 0
    assert examined(table, endpoint) == [("fail", "does not exist")]

    first, second = (json.loads(indexed("init", "--yes", "--json", *lake).out)["steps"] for _ in range(2))
    assert [step["action"] for step in first] == ["keep", "create", "create"]
    assert [step["action"] for step in second] == ["keep", "keep", "keep"]
    dry = json.loads(indexed("index", "rebuild", "pulse", "--dry-run", "--json", *lake).out)
    assert (dry["events"], dry["items"], dry["dry_run"]) == (5, 4, True)
    assert count(endpoint, table) == 0
    for _ in range(2):
        assert indexed("index", "rebuild", "pulse", *lake).status == 0
    assert count(endpoint, table) == 4

    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", endpoint)
    with Lake.open("./lake") as opened:
        assert [each["ticker"] for each in opened.events.get("2024-01-16", "2024-01-17")] == ["BTC", "ETH", "XRP"]
        assert len(opened.events.get(ticker="BTC")) == 2


@pytest.mark.parametrize(
    ("name", "span", "items"),
    [
        ("pulse", ("--date", "2024-01-15"), 1),
        ("pulse", ("--from", "2024-01-16", "--to", "2024-01-16T11:30"), 2),
        ("events", (), 2),
        ("events", ("--date", "2024-01-16"), 1),
    ],
)
def test_a_span_or_the_documents_alone_are_rebuilt(
    indexed: Indexed, tmp_path: Path, endpoint: str, table: str, name: str, span: tuple[str, ...], items: int
) -> None:
    build(tmp_path / "lake")
    indexed("init", "--yes", "--lake", "./lake")

    ended = indexed("index", "rebuild", name, *span, "--json", "--lake", "./lake")

    assert ended.status == 0
    assert json.loads(ended.out)["items"] == items == count(endpoint, table)


def test_documents_are_rebuilt_where_the_stream_has_no_record_yet(indexed: Indexed, tmp_path: Path) -> None:
    with Lake.open(str(tmp_path / "lake"), create=True) as lake:
        lake.events.store({"timestamp": datetime(2024, 1, 15, tzinfo=UTC), "ticker": "BTC"})
    indexed("init", "--yes", "--lake", "./lake")

    assert json.loads(indexed("index", "rebuild", "pulse", "--json", "--lake", "./lake").out)["items"] == 1


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("rebuild", "ticks"), 2, "'ticks' is not indexed"),
        (("rebuild", "pulse", "--date", "2024-01-15", "--from", "2024-01-15"), 2, "two ways"),
        (("rebuild", "pulse", "--from", "2024-01-16", "--to", "2024-01-15"), 2, "behind"),
        (("rebuild", "pulse"), 2, "no such table"),
        (("rebuild", "pulse", "--dry-run"), 2, "no such table"),
        (("show", "ticks"), 2, "is not indexed"),
    ],
)
def test_what_cannot_be_done_says_what_can(
    indexed: Indexed, tmp_path: Path, arguments: tuple[str, ...], status: int, words: str
) -> None:
    build(tmp_path / "lake")

    ended = indexed("index", *arguments, "--lake", "./lake")

    assert ended.status == status
    assert words in ended.err


def test_without_an_index_the_commands_say_how_to_name_one(shell: Shell, tmp_path: Path) -> None:
    build(tmp_path / "lake")

    ended = shell("index", "show", "--lake", "./lake")

    assert ended.status == 2
    assert "AWS_DYNAMODB_PULSE_TABLE" in ended.err


def test_show_tells_how_far_each_partition_is(indexed: Indexed, tmp_path: Path, endpoint: str, table: str) -> None:
    build(tmp_path / "lake")
    indexed("init", "--yes", "--lake", "./lake")
    before = json.loads(indexed("index", "show", "--json", "--lake", "./lake").out)["partitions"]
    asyncio.run(catch_up(tmp_path / "lake", endpoint, table))
    after = indexed("index", "show", "pulse", "--lake", "./lake").out

    assert [(each["committed"], each["indexed"], each["lag"]) for each in before] == [(3, None, 3)]
    assert after.splitlines()[1].split("\t") == ["pulse", table, "pulse", "0", "0", "3", "3", "0", "3", "0", "0"]


async def catch_up(path: Path, endpoint: str, table: str) -> None:
    store = DirectoryStore(path, SystemClock())
    opened = IndexTable(TableSettings(table, "us-east-1", endpoint), SystemClock())
    stream = IndexedStream("pulse", "pulse", table)
    await StreamIndexer(store, opened, stream, SystemClock(), InlineWorkers(), Metrics()).catch_up()
    await opened.close()
    await store.close()


def test_check_tells_what_is_wrong_with_a_table_and_what_may_be_done_with_it(
    indexed: Indexed, tmp_path: Path, endpoint: str, table: str
) -> None:
    (tmp_path / "lake").mkdir()
    indexed("init", "--yes", "--lake", "./lake")
    good = examined(table, endpoint)
    other = f"{table}-other"
    dynamodb(endpoint).create_table(
        TableName=other,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )
    wrong = examined(other, endpoint)
    refused = indexed("init", "--yes", "--lake", "./lake", AWS_DYNAMODB_PULSE_TABLE=other)

    assert [status for status, _ in good] == ["ok", "ok", "ok"]
    assert [(status, "keys id" in message) for status, message in wrong] == [("fail", True)]
    assert refused.status == 2
    assert "name another table" in refused.err


def test_init_adds_the_index_that_a_table_lacks(indexed: Indexed, tmp_path: Path, endpoint: str, table: str) -> None:
    (tmp_path / "lake").mkdir()
    dynamodb(endpoint).create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("timestamp", "ticker")],
        KeySchema=[{"AttributeName": "timestamp", "KeyType": "HASH"}, {"AttributeName": "ticker", "KeyType": "RANGE"}],
    )

    steps = json.loads(indexed("init", "--yes", "--json", "--lake", "./lake").out)["steps"]

    assert [step["action"] for step in steps] == ["keep", "change", "create"]
    indexes = dynamodb(endpoint).describe_table(TableName=table)["Table"]["GlobalSecondaryIndexes"]
    assert [index["IndexName"] for index in indexes] == ["by-ticker"]


def test_a_plan_has_the_dollars_of_dynamodb_and_a_policy_its_permissions(indexed: Indexed, table: str) -> None:
    plain, with_index = (
        json.loads(indexed("plan", "--rate", "pulse=10", "--json", "--lake", "s3://lake", **more).out)["streams"][0]
        for more in ({"AWS_DYNAMODB_PULSE_TABLE": ""}, {"AWS_DYNAMODB_PULSE_TABLE": table})
    )
    daemon, reader = (
        json.loads(indexed("policy", role, "--lake", "s3://lake").out)["Statement"] for role in ("daemon", "reader")
    )

    assert with_index["index_writes"] == 10 * 86_400 * 2
    extra = with_index["dollars_first_month"] - plain["dollars_first_month"]
    assert extra == pytest.approx(with_index["index_dollars_first_month"])
    assert with_index["index_dollars_first_month"] > 10 * 86_400 * 2 * 30 / 1e6 * 0.625
    arn = f"arn:aws:dynamodb:us-east-1:*:table/{table}"
    assert [each for each in daemon if each["Sid"].startswith("Index")] == [
        {"Sid": "Index", "Effect": "Allow", "Action": ["dynamodb:BatchWriteItem", "dynamodb:DescribeTable"], "Resource": [arn]}
    ]
    assert {tuple(each["Action"]): each["Resource"] for each in reader if each["Sid"].startswith("Index")} == {
        ("dynamodb:DescribeTable", "dynamodb:Scan"): [arn],
        ("dynamodb:Query",): [f"{arn}/index/by-ticker"],
    }


def dynamodb(endpoint: str) -> boto3.client:
    return boto3.client(
        "dynamodb", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key="secret"
    )


def count(endpoint: str, table: str) -> int:
    return int(dynamodb(endpoint).scan(TableName=table)["Count"])


def examined(table: str, endpoint: str) -> list[tuple[str, str]]:
    """What `streamer check` says of a table. AWS's variables are those of `indexed`, once it was called."""
    settings = load(environment={"AWS_ENDPOINT_URL_DYNAMODB": endpoint, "AWS_REGION": "us-east-1"}, require_lake=False)

    async def look() -> list[tuple[str, str]]:
        return [(each.status, each.message) async for each in look_at_table(settings, table, SystemClock())]

    return asyncio.run(look())
