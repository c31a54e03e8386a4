"""The printed policies do what they say: a server that enforces IAM (moto) grants what each role does, and nothing more."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase

import boto3
import pytest
from moto.core.authorization import enable_iam_authentication

from streamer import keys
from streamer.clock import SystemClock
from streamer.config import Settings
from streamer.config.documents import document_kinds
from streamer.docstore.docstore import AsyncDocuments
from streamer.errors import Denied
from streamer.setup.policy import ROLES, Role, daemon_folders, policy, writer_globs
from streamer.store.contract import Create, Overwrite, Replace, Store
from streamer.store.s3 import S3Store
from streamer.store.s3_permissions import ON_BUCKET, ON_OBJECTS, missing_permission
from streamer.workers import InlineWorkers
from tests.moto_server import s3_settings_for

Configured = Callable[..., Settings]
KEY = "raw/ticks/date=2024-01-01/a.parquet"


@asynccontextmanager
async def acting_as(role: Role, settings: Settings, endpoint: str, bucket: str) -> AsyncIterator[S3Store]:
    """The store in the hands of a user who has the role's policy alone."""
    user, common = f"{bucket}-{role}", {"endpoint_url": endpoint, "region_name": "us-east-1"}
    iam = boto3.client("iam", aws_access_key_id="root", aws_secret_access_key="root", **common)
    s3 = boto3.client("s3", aws_access_key_id="root", aws_secret_access_key="root", **common)
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="lake/raw/ticks/there", Body=b"there")
    iam.create_user(UserName=user)
    iam.put_user_policy(UserName=user, PolicyName="lake", PolicyDocument=json.dumps(policy(settings, role)))
    key = iam.create_access_key(UserName=user)["AccessKey"]
    store = S3Store(bucket, "lake", s3_settings_for(endpoint, key["AccessKeyId"], key["SecretAccessKey"]))
    with enable_iam_authentication():
        yield store
        await store.close()


async def read_everything(store: Store) -> None:
    await store.prepare()
    assert (await store.get("raw/ticks/there")).body == b"there"
    assert await store.get_range("raw/ticks/there", 0, 2) == b"th"
    assert (await store.head("raw/ticks/there")).size_bytes == 5
    assert [info.key async for info in store.list("raw/")][-1] == "raw/ticks/there"


async def write_everything(store: Store, key: str) -> None:
    etag = await store.put(key, b"1", mode=Create())
    await store.put(key, b"2", mode=Replace(etag))
    await store.put(key, b"3", mode=Overwrite())
    upload = await store.begin_upload(f"{key}-big", part_bytes=5 << 20)
    part = await store.put_part(upload, 1, b"x")
    assert [waiting.key async for waiting in store.list_uploads("")]
    await store.complete_upload(upload, [part], mode=Overwrite())
    await store.abort_upload(await store.begin_upload(f"{key}-left", part_bytes=5 << 20))


async def test_the_daemons_policy_is_enough_for_every_operation_of_the_store(
    configured: Configured, endpoint: str, bucket: str
) -> None:
    async with acting_as("daemon", configured("lake"), endpoint, bucket) as store:
        await read_everything(store)
        for folder in daemon_folders(configured("lake")).writes:
            await store.put(f"{folder}a", b"x", mode=Create())
        await write_everything(store, KEY)
        await store.put("_streamer/probe/a", b"x", mode=Create())
        await store.delete("_streamer/probe/a")


async def test_the_daemon_cannot_delete_data_that_no_retention_names(
    configured: Configured, endpoint: str, bucket: str
) -> None:
    async with acting_as("daemon", configured("lake"), endpoint, bucket) as store:
        with pytest.raises(Denied) as denied:
            await store.delete("raw/ticks/there")
        with pytest.raises(Denied):
            await store.put("models/a.pkl", b"x", mode=Create())

    assert f"grant s3:DeleteObject on the objects of arn:aws:s3:::{bucket}" in denied.value.hint


async def test_with_retention_it_can(configured: Configured, endpoint: str, bucket: str) -> None:
    settings = configured("lake", RETENTION__RAW="30d", RETENTION__DRY_RUN="false")
    async with acting_as("daemon", settings, endpoint, bucket) as store:
        await store.delete("raw/ticks/there")
        with pytest.raises(Denied):
            await store.delete("dead-letters/ticks/there")


async def test_a_reader_reads_and_nothing_else(configured: Configured, endpoint: str, bucket: str) -> None:
    async with acting_as("reader", configured("lake"), endpoint, bucket) as store:
        await read_everything(store)
        with pytest.raises(Denied) as denied:
            await store.put("raw/ticks/new", b"x", mode=Create())
        with pytest.raises(Denied) as unlisted:
            assert [upload async for upload in store.list_uploads("")]

    assert "s3:PutObject" in denied.value.hint
    assert "s3:ListBucketMultipartUploads" in unlisted.value.hint


async def test_a_trainer_reads_and_pushes_models(configured: Configured, endpoint: str, bucket: str) -> None:
    async with acting_as("trainer", configured("lake"), endpoint, bucket) as store:
        await read_everything(store)
        await write_everything(store, "models/hmm.pkl")
        with pytest.raises(Denied):
            await store.put("raw/ticks/new", b"x", mode=Create())


async def test_a_writer_keeps_documents_bundles_and_cached_values_and_nothing_else(
    configured: Configured, endpoint: str, bucket: str
) -> None:
    settings = configured("lake", DOCUMENTS__KINDS__ALERT__TEMPLATE="alerts/{desk}/{timestamp}.json")
    async with acting_as("writer", settings, endpoint, bucket) as store:
        await read_everything(store)
        documents = AsyncDocuments(store, SystemClock(), InlineWorkers(), kinds=document_kinds(settings))
        sources = [
            (await documents.put("raw", n, source="binance", ticker="BTC", at=f"2024-01-01T00:00:{n:02d}")).key
            for n in range(30)
        ]
        await documents.put("alert", 1, packing="zstd", sources=sources, computation="x", desk="a/../b")
        await documents.put("orderbook", 1, symbol="BTC/USDT")
        await documents.put("log", "x", log_type="app")
        for key in ("bundles/versions/libs_v1.zip", "cache/reports/a/b.json"):
            await write_everything(store, key)
        for key in (KEY, "models/a.pkl", "_streamer/positions/ticks/00000.json", "archive/2024-01-01.json", "state/x.json"):
            with pytest.raises(Denied):
                await store.put(key, b"x", mode=Create())
        with pytest.raises(Denied):
            await store.delete(sources[0])


def test_no_data_file_is_within_what_a_writer_may_write(configured: Configured) -> None:
    # By the letter, as IAM takes it; moto takes a dot for any character.
    name = "raw/ticks/date=2024-01-01/ticks-00000-00000000000000000000-00000000000000000010"
    globs = writer_globs(configured("lake"))

    for suffix in ("parquet", "ndjson.gz", "ndjson.zst"):
        assert not any(fnmatchcase(f"{name}.{suffix}", glob) for glob in globs)
    for packed in ("", ".gz", ".zst"):
        assert any(fnmatchcase(f"raw/binance/BTC/2024-01-01/2024-01-01T00-00-00-000000.json{packed}", glob) for glob in globs)


async def test_a_neighbour_in_the_same_bucket_is_out_of_reach(configured: Configured, endpoint: str, bucket: str) -> None:
    async with acting_as("daemon", configured("lake"), endpoint, bucket) as store:
        neighbour = S3Store(bucket, "lake2", store._settings)
        with pytest.raises(Denied):
            await neighbour.put("raw/ticks/a", b"x", mode=Create())
        with pytest.raises(Denied):
            await neighbour.get("raw/ticks/a")
        await neighbour.close()


def test_every_place_where_the_daemon_writes_is_covered(configured: Configured) -> None:
    everything = {"STREAMS__FEATURES__HISTORY": "{}", "MODELS__WATCH": "/models"}
    writes = daemon_folders(configured(**everything)).writes
    places = {value for name, value in vars(keys).items() if name.isupper() and isinstance(value, str) and value.endswith("/")}

    assert {"_streamer/positions/", "raw/", "models/"} <= places
    for place in places - {keys.RAW, keys.DEAD_LETTERS, keys.BUNDLES}:  # those by stream; bundles are pushed by people
        assert place.startswith(writes), place
    assert {"raw/ticks/", "dead-letters/features/"} <= set(writes)


@pytest.mark.parametrize(
    ("key", "resource", "condition"),
    [
        ("arn:aws:kms:eu-west-1:123456789012:key/ab-cd", "arn:aws:kms:eu-west-1:123456789012:key/ab-cd", None),
        ("ab-cd", "arn:aws:kms:us-east-1:*:key/ab-cd", None),
        ("alias/lake", "arn:aws:kms:us-east-1:*:key/*", "alias/lake"),
    ],
)
def test_a_key_of_kms_is_in_it(configured: Configured, key: str, resource: str, condition: str | None) -> None:
    settings = configured(LAKE__SERVER_SIDE_ENCRYPTION="aws:kms", LAKE__KMS_KEY_ID=key)
    (of_daemon,) = [s for s in policy(settings, "daemon")["Statement"] if s["Sid"] == "Encryption"]
    (of_reader,) = [s for s in policy(settings, "reader")["Statement"] if s["Sid"] == "Encryption"]

    assert of_daemon["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    assert of_reader["Action"] == ["kms:Decrypt"]
    assert of_daemon["Resource"] == [resource]
    found = of_daemon.get("Condition", {}).get("ForAnyValue:StringEquals", {}).get("kms:ResourceAliases")
    assert found == condition


def test_secrets_are_readable_by_the_daemon_alone(configured: Configured) -> None:
    name = "cryptotrading/kafka"
    settings = configured(KAFKA__CREDENTIALS=f"secretsmanager:{name}", KAFKA__SECURITY_PROTOCOL="SASL_SSL")
    found = {role: [s["Resource"] for s in policy(settings, role)["Statement"] if s["Sid"] == "Secrets"] for role in ROLES}

    assert found["daemon"] == [[f"arn:aws:secretsmanager:us-east-1:*:secret:{name}-??????"]]
    assert not any(found[role] for role in ROLES if role != "daemon")


def test_no_policy_grants_everything(configured: Configured) -> None:
    for role in ROLES:
        for statement in policy(configured(), role)["Statement"]:
            assert all("*" not in action for action in statement["Action"])
            assert all(resource.startswith("arn:aws:") for resource in statement["Resource"])


def test_every_operation_names_its_permission() -> None:
    for operation, action in {**ON_OBJECTS, **ON_BUCKET}.items():
        assert f"grant {action}" in missing_permission(operation, "b", "k")


async def test_check_names_every_permission_that_is_missing(configured: Configured, endpoint: str, bucket: str) -> None:
    from streamer.cli.check import _try_store
    from streamer.clock import SystemClock

    settings = configured("lake", MODELS__WATCH="/models")
    async with acting_as("reader", settings, endpoint, bucket) as store:
        found = {finding.about: finding async for finding in _try_store(store, settings, SystemClock())}

    assert (found["lake"].status, found["lake get"].status, found["lake list"].status) == ("ok", "ok", "ok")
    assert "grant s3:PutObject" in found["lake put"].hint
    assert "grant s3:ListBucketMultipartUploads" in found["lake list uploads"].hint
    assert found["lake delete"].status == "warn"
