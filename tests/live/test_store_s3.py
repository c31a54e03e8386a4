"""The S3 store under the contract of stores, against a real server.

`STREAMER_TEST_S3="http://127.0.0.1:9000|access key|secret"` says where. Without it the tests are skipped; with
`STREAMER_TEST_STRICT=1` they fail instead.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator

import pytest

from streamer.clock import SystemClock
from streamer.errors import Conflict, Denied, Invalid, Unavailable
from streamer.metrics import Metrics
from streamer.store.contract import Create, NoSuchPlace, Store
from streamer.store.observed import ObservedStore
from streamer.store.probe import probe_conditional_writes
from streamer.store.retry import RetryingStore
from streamer.store.s3 import S3Settings, S3Store
from tests.contracts.store_contract import StoreContract, keys_of

pytestmark = pytest.mark.live

_RUN = SystemClock().token()[:10]
BUCKET = f"store-{_RUN}"
_numbers = itertools.count()


def settings_for(**more: object) -> S3Settings:
    where = os.environ.get("STREAMER_TEST_S3", "")
    if not where:
        reason = "STREAMER_TEST_S3 does not say where an S3 server is"
        if os.environ.get("STREAMER_TEST_STRICT") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    endpoint, key, secret = where.split("|")
    said = {"region": "us-east-1", "endpoint_url": endpoint, "access_key_id": key, "secret_access_key": secret}
    return S3Settings(**(said | more))


@pytest.fixture
async def bucket() -> str:
    store = S3Store(BUCKET, settings=settings_for())
    try:
        await store.prepare()
    except NoSuchPlace:
        await store.create_bucket()
    await store.close()
    return BUCKET


class TestS3Store(StoreContract):
    many = 500

    @pytest.fixture(params=["body signed", "body unsigned"])
    async def store(self, bucket: str, request: pytest.FixtureRequest) -> AsyncIterator[Store]:
        settings = settings_for(sign_payload=request.param == "body signed")
        store = S3Store(bucket, f"{next(_numbers)}/é %2F+", settings)
        await store.prepare()
        yield store
        await store.close()

    @pytest.fixture
    async def other(self, store: S3Store) -> AsyncIterator[Store]:
        other = S3Store(store._bucket, store._prefix, store._settings)
        yield other
        await other.close()

    async def test_the_probe_finds_conditional_writes_and_leaves_nothing(self, store: Store) -> None:
        assert await probe_conditional_writes(store, SystemClock())
        assert await keys_of(store) == []

    async def test_a_listing_has_more_than_one_page(self, store: Store) -> None:
        keys = [f"raw/symbol={number % 7}/{number:020d}" for number in range(1_100)]
        await self.fill(store, keys)

        assert await keys_of(store, "raw/") == sorted(keys)

    async def test_the_server_takes_the_signature_of_puts_without_botocore(self, store: S3Store) -> None:
        await store.put("raw/first", b"x", mode=Create())
        assert store._requests._puts is not None
        assert store._requests._puts.plain

        keys = [
            "raw/symbol=BTC%2FUSDT/a b+c",
            "raw/~*'()!$&,;=:@",
            "raw/é漢😀",
            'raw/"<>[]{}|^`',
            "raw/%20%2B..",
            "raw/a\\?b=c#d",
        ]
        for key in keys:
            await store.put(key, key.encode(), mode=Create(), metadata={"a_b": "two  blanks", "c": "~!%41"})
            with pytest.raises(Conflict):
                await store.put(key, b"", mode=Create())
        assert store._requests._puts.plain

        assert await keys_of(store) == sorted([*keys, "raw/first"])
        for key in keys:
            there = await store.get(key)
            assert there.body == key.encode()
            assert there.info.metadata["c"] == "~!%41"

    async def test_the_server_checks_the_checksum_that_goes_with_a_body(self, store: S3Store) -> None:
        with pytest.raises(Unavailable, match="BadDigest"):
            async with store._request("put", "raw/damaged", writes=True) as (client, _):
                await client.put_object(**store._object("raw/damaged"), Body=b"changed on the way", ChecksumCRC32="AAAAAA==")
        assert await keys_of(store) == []


class TestAllLayers(StoreContract):
    """As the daemon stacks them."""

    many = 250

    @pytest.fixture
    async def store(self, bucket: str) -> AsyncIterator[Store]:
        clock = SystemClock()
        s3 = S3Store(bucket, f"{next(_numbers)}", settings_for())
        store = RetryingStore(ObservedStore(s3, Metrics(), clock), clock)
        await store.prepare()
        yield store
        await store.close()


async def test_a_wrong_secret_is_denied_and_not_quoted(bucket: str) -> None:
    store = S3Store(bucket, settings=settings_for(secret_access_key="not-the-secret"))

    for ask in (store.prepare(), store.put("a", b"x", mode=Create()), store.get("a"), store.head("a"), store.delete("a")):
        with pytest.raises(Denied) as denied:
            await ask
        assert denied.value.hint
        assert "not-the-secret" not in f"{denied.value} {denied.value.hint}"
    await store.close()


async def test_an_unknown_access_key_is_denied(bucket: str) -> None:
    store = S3Store(bucket, settings=settings_for(access_key_id="nobody"))

    with pytest.raises(Denied, match="InvalidAccessKeyId") as denied:
        await store.put("a", b"x", mode=Create())
    assert "AWS_ACCESS_KEY_ID" in denied.value.hint
    await store.close()


async def test_a_bucket_that_is_not_there_is_a_matter_of_configuration() -> None:
    store = S3Store(f"never-{_RUN}", settings=settings_for())

    for ask in (store.prepare(), store.put("a", b"x", mode=Create()), store.get("a"), keys_of(store)):
        with pytest.raises(Invalid, match="no such bucket"):
            await ask
    await store.close()


async def test_a_port_where_nobody_listens_is_unavailable_and_named(bucket: str) -> None:
    store = S3Store(bucket, settings=settings_for(endpoint_url="http://127.0.0.1:9"))

    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9") as unavailable:
        await store.prepare()
    assert "http://127.0.0.1:9" in unavailable.value.hint
    await store.close()
