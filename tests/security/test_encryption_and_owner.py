"""What goes over the wire to S3: the encryption that was asked for with every new object, the owner with every request."""

from __future__ import annotations

from typing import Any

import pytest

from streamer.config import load
from streamer.config.clients import s3_settings
from streamer.errors import Invalid
from streamer.store.contract import Create, Overwrite, Replace
from streamer.store.memory import MemoryStore
from streamer.store.probe import probe_conditional_writes
from streamer.store.s3 import S3Store
from streamer.testing.manual_clock import ManualClock
from tests.unit.store.fault_server import Answer, FaultServer, Heard, fault_server

ACCOUNT = "123456789012"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"
UPLOAD = Answer(body=b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
COMPLETED = Answer(body=b"<CompleteMultipartUploadResult><ETag>abc</ETag></CompleteMultipartUploadResult>")
LISTING = Answer(body=b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
UPLOADS = Answer(body=b"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>")
FOUND = Answer(headers='ETag: "abc"\r\nLast-Modified: Sat, 03 Jan 2026 12:00:00 GMT\r\n')
OBJECT = Answer(headers='ETag: "abc"\r\nLast-Modified: Sat, 03 Jan 2026 12:00:00 GMT\r\n', body=b"x")


async def everything(server: FaultServer, **settings: object) -> dict[str, Heard]:
    """One request of each kind, as it arrived."""
    store = S3Store("bucket", "prefix", server.settings(**settings))
    heard = {}

    async def ask(name: str, answer: Answer, call: object) -> object:
        server.reply(answer)
        result = await call  # type: ignore[misc]
        heard[name] = server.heard[-1]
        return result

    await ask("create", Answer(), store.put("k", b"x", mode=Create()))
    await ask("replace", Answer(), store.put("k", b"x", mode=Replace('"abc"')))
    await ask("overwrite", Answer(), store.put("k", b"x", mode=Overwrite()))
    upload = await ask("begin upload", UPLOAD, store.begin_upload("k", part_bytes=5))
    part = await ask("part", Answer(), store.put_part(upload, 1, b"x"))  # type: ignore[arg-type]
    await ask("complete", COMPLETED, store.complete_upload(upload, [part], mode=Create()))  # type: ignore[arg-type, list-item]
    await ask("abort", Answer(204), store.abort_upload(upload))  # type: ignore[arg-type]
    await ask("get", OBJECT, store.get("k"))
    await ask("range", OBJECT, store.get_range("k", 0, 1))
    await ask("head", FOUND, store.head("k"))
    await ask("delete", Answer(204), store.delete("k"))
    server.reply(LISTING)
    assert [item async for item in store.list()] == []
    heard["list"] = server.heard[-1]
    server.reply(UPLOADS)
    assert [item async for item in store.list_uploads()] == []
    heard["list uploads"] = server.heard[-1]
    server.reply(FOUND, LISTING)
    await store.prepare()
    heard["prepare"] = server.heard[-1]
    await store.close()
    return heard


NEW_OBJECTS = {"create", "replace", "overwrite", "begin upload"}


def with_header(heard: dict[str, Heard], name: str) -> set[str]:
    return {request for request, each in heard.items() if name in each.headers}


async def test_every_new_object_asks_for_the_encryption_that_was_configured() -> None:
    async with fault_server() as server:
        heard = await everything(server, server_side_encryption="aws:kms", kms_key_id=KEY, kms_bucket_key=True)

    for name, value in {
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": KEY,
        "x-amz-server-side-encryption-bucket-key-enabled": "true",
    }.items():
        assert with_header(heard, name) == NEW_OBJECTS
        assert {heard[request].headers[name] for request in NEW_OBJECTS} == {value}


async def test_sse_s3_is_asked_for_without_a_key() -> None:
    async with fault_server() as server:
        heard = await everything(server, server_side_encryption="AES256")

    assert {heard[request].headers["x-amz-server-side-encryption"] for request in NEW_OBJECTS} == {"aes256"}
    assert with_header(heard, "x-amz-server-side-encryption") == NEW_OBJECTS
    assert with_header(heard, "x-amz-server-side-encryption-aws-kms-key-id") == set()


async def test_without_a_setting_the_bucket_decides() -> None:
    async with fault_server() as server:
        heard = await everything(server)

    assert not any(name.startswith("x-amz-server-side") for each in heard.values() for name in each.headers)
    assert with_header(heard, "x-amz-expected-bucket-owner") == set()


async def test_every_request_names_the_owner_that_the_bucket_must_have() -> None:
    async with fault_server() as server:
        heard = await everything(server, expected_bucket_owner=ACCOUNT)

    assert with_header(heard, "x-amz-expected-bucket-owner") == set(heard)
    assert {each.headers["x-amz-expected-bucket-owner"] for each in heard.values()} == {ACCOUNT}


def test_the_settings_of_the_lake_reach_the_store() -> None:
    environment = {
        "S3_BUCKET": "bucket",
        "STREAMER__LAKE__SERVER_SIDE_ENCRYPTION": "aws:kms",
        "STREAMER__LAKE__KMS_KEY_ID": KEY,
        "STREAMER__LAKE__KMS_BUCKET_KEY": "true",
        "STREAMER__LAKE__EXPECTED_BUCKET_OWNER": ACCOUNT,
        "STREAMER__LAKE__ALLOW_AT_LEAST_ONCE": "true",
    }

    found = s3_settings(load(environment=environment))

    assert (found.server_side_encryption, found.kms_key_id, found.kms_bucket_key) == ("aws:kms", KEY, True)
    assert (found.expected_bucket_owner, found.at_least_once, found.conditional_writes) == (ACCOUNT, True, True)


@pytest.mark.parametrize("name", ["KMS_KEY_ID", "KMS_BUCKET_KEY"])
def test_a_key_without_kms_is_a_mistake(name: str) -> None:
    environment = {"S3_BUCKET": "bucket", f"STREAMER__LAKE__{name}": "true", "STREAMER__LAKE__SERVER_SIDE_ENCRYPTION": "AES256"}

    with pytest.raises(Invalid, match="aws:kms"):
        load(environment=environment)


NOT_IMPLEMENTED = Answer(501, "NotImplemented")
MISSING = Answer(404, "NoSuchKey")


async def test_a_server_without_conditions_is_refused_by_a_hint_that_names_a_setting_there_is() -> None:
    async with fault_server() as server:
        server.reply(NOT_IMPLEMENTED)
        store = S3Store("bucket", "", server.settings())
        with pytest.raises(Invalid) as caught:
            await store.put("k", b"x", mode=Create())
        await store.close()

    assert "lake.allow_at_least_once = true" in caught.value.hint
    named = load(environment={"S3_BUCKET": "bucket", "STREAMER__LAKE__ALLOW_AT_LEAST_ONCE": "true"})
    assert named.lake.allow_at_least_once


async def test_where_at_least_once_was_accepted_it_is_written_to_without_conditions() -> None:
    async with fault_server() as server:
        store = S3Store("bucket", "", server.settings(at_least_once=True))
        server.reply(NOT_IMPLEMENTED, MISSING, Answer())
        assert store.conditional_writes

        await store.put("k", b"x", mode=Create())

        assert [each.method for each in server.heard] == ["PUT", "HEAD", "PUT"]
        assert ["if-none-match" in each.headers for each in server.heard] == [True, False, False]
        server.heard.clear()
        server.reply(FOUND, Answer())
        await store.put("k", b"x", mode=Replace('"abc"'))
        assert [each.method for each in server.heard] == ["HEAD", "PUT"]
        assert not store.conditional_writes
        server.heard.clear()
        server.reply(UPLOAD, Answer(), MISSING, COMPLETED)
        upload = await store.begin_upload("k2", part_bytes=5)
        await store.complete_upload(upload, [await store.put_part(upload, 1, b"x")], mode=Create())
        assert [each.method for each in server.heard] == ["POST", "PUT", "HEAD", "POST"]
        await store.close()


class LooksFirst(MemoryStore):
    """A store that finds out at its first write that the server knows no conditions, and looks before it writes since."""

    async def put(self, *arguments: Any, **named: Any) -> str:
        self.knows_conditions = False
        return await super().put(*arguments, **named)

    @property
    def conditional_writes(self) -> bool:
        return getattr(self, "knows_conditions", True)


async def test_looking_before_writing_does_not_pass_for_conditional_writes() -> None:
    store = LooksFirst(ManualClock())

    assert store.conditional_writes
    assert not await probe_conditional_writes(store, ManualClock())
