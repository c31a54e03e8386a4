"""What the S3 store makes of a network and a server that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streamer.clock import SystemClock
from streamer.errors import Conflict, Denied, Invalid, NotFound, OutcomeUnknown, StreamerError, Unavailable
from streamer.store.contract import Create, ExpiredCredentials, NoSuchPlace, Overwrite, Replace, Unsupported
from streamer.store.retry import RetryingStore
from streamer.store.s3 import S3Settings, S3Store
from tests.unit.store.fault_server import CUT, GARBAGE, HANG, RESET, STALL, Answer, FaultServer, fault_server


@pytest.fixture
async def server() -> AsyncIterator[FaultServer]:
    async with fault_server() as server:
        yield server


@pytest.fixture(params=["the first PUT", "PUTs without botocore"])
async def store(server: FaultServer, request: pytest.FixtureRequest) -> AsyncIterator[S3Store]:
    store = S3Store("bucket", "lake", server.settings())
    if request.param == "PUTs without botocore":
        await store.put("first", b"x", mode=Overwrite())
        assert store._requests._puts is not None
        assert store._requests._puts.plain
        server.heard.clear()
    yield store
    await store.close()


async def keys_of(store: S3Store) -> list[str]:
    return [info.key async for info in store.list()]


def exactly(kind: type[StreamerError], error: pytest.ExceptionInfo[StreamerError]) -> bool:
    """OutcomeUnknown is an Unavailable; here the difference matters."""
    return type(error.value) is kind


@pytest.mark.parametrize("first", [True, False], ids=["the first PUT", "PUTs without botocore"])
@pytest.mark.parametrize("fault", [HANG, STALL])
async def test_a_server_that_never_answers_ends_with_the_deadline(server: FaultServer, fault: str, first: bool) -> None:
    store = S3Store("bucket", settings=server.settings(request_seconds=0.3, slowest_bytes_per_second=1 << 30))
    if not first:
        # The client is made within the first deadline, and a busy machine takes its time.
        hurried, store._requests._settings = store._requests._settings, server.settings()
        await store.put("first", b"x", mode=Overwrite())
        store._requests._settings = hurried
    server.reply(fault)

    # Larger than any socket buffer: a stalled upload has no timeout of its own.
    with pytest.raises(OutcomeUnknown, match=r"within 0\.3"):
        await store.put("a", bytes(16 << 20), mode=Create())
    with pytest.raises(OutcomeUnknown):
        await store.delete("a")
    with pytest.raises(Unavailable) as get:
        await store.get("a")
    assert exactly(Unavailable, get)
    with pytest.raises(Unavailable):
        await keys_of(store)
    await store.close()


async def test_waiting_for_a_connection_of_the_pool_counts(server: FaultServer) -> None:
    store = S3Store("bucket", settings=server.settings(request_seconds=0.3, max_connections=1))
    server.reply(HANG)

    outcomes = await asyncio.gather(*(store.get(key) for key in "abcde"), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 5
    await store.close()


async def test_a_reset_after_the_effect_is_an_unknown_outcome(server: FaultServer, store: S3Store) -> None:
    server.reply(RESET)

    with pytest.raises(OutcomeUnknown):
        await store.put("a", b"landed", mode=Create())
    assert server.heard[0].body == b"landed"
    with pytest.raises(Unavailable) as get:
        await store.get("a")
    assert exactly(Unavailable, get)


async def test_garbage_tells_nothing(server: FaultServer, store: S3Store) -> None:
    server.reply(GARBAGE)

    with pytest.raises(OutcomeUnknown):
        await store.put("a", b"x", mode=Create())
    with pytest.raises(Unavailable):
        await store.head("a")


async def test_half_a_body_is_no_object(server: FaultServer, store: S3Store) -> None:
    server.reply(CUT)

    with pytest.raises(Unavailable):
        await store.get("a")


async def test_a_web_server_at_the_endpoint_does_not_pass_for_an_empty_lake(server: FaultServer, store: S3Store) -> None:
    server.reply(Answer(404, headers="", body=b""))
    with pytest.raises(Unavailable, match="404"):
        await store.get("a")
    with pytest.raises(Invalid, match="bucket"):
        await keys_of(store)

    server.reply(Answer(200, headers="", body=b"<html>welcome</html>"))
    with pytest.raises(Unavailable):
        await store.get("a")
    with pytest.raises(Unavailable):
        await keys_of(store)
    with pytest.raises(OutcomeUnknown):
        await store.put("a", b"x", mode=Create())


async def test_one_call_is_one_request(server: FaultServer, store: S3Store) -> None:
    server.reply(Answer(503, "SlowDown"))

    with pytest.raises(Unavailable, match="SlowDown") as slow:
        await store.put("a", b"x", mode=Create())

    assert exactly(Unavailable, slow)
    assert len(server.heard) == 1


@pytest.mark.parametrize(
    ("answer", "expected", "said"),
    [
        (Answer(409, "ConditionalRequestConflict"), Unavailable, "ConditionalRequestConflict"),
        (Answer(409, "OperationAborted"), Unavailable, "OperationAborted"),
        (Answer(429, "TooManyRequests"), Unavailable, "TooManyRequests"),
        (Answer(400, "RequestTimeout"), Unavailable, "RequestTimeout"),
        (Answer(400, "BadDigest"), Unavailable, "BadDigest"),
        (Answer(500, "InternalError"), OutcomeUnknown, "InternalError"),
        (Answer(502), OutcomeUnknown, "502"),
        (Answer(503), OutcomeUnknown, "503"),
        (Answer(504), OutcomeUnknown, "504"),
        (Answer(412, "PreconditionFailed"), Conflict, "conditional"),
        (Answer(404, "NoSuchKey"), Conflict, "not there"),
        (Answer(404, "NoSuchBucket"), NoSuchPlace, "no such bucket"),
        (Answer(501, "NotImplemented"), Unsupported, "cannot"),
        (Answer(403, "AccessDenied"), Denied, "AccessDenied"),
        (Answer(403, "InvalidAccessKeyId"), Denied, "InvalidAccessKeyId"),
        (Answer(403, "SignatureDoesNotMatch"), Denied, "SignatureDoesNotMatch"),
        (Answer(403, "RequestTimeTooSkewed"), Denied, "RequestTimeTooSkewed"),
        (Answer(400, "ExpiredToken"), ExpiredCredentials, "ran out"),
        (Answer(403, "ExpiredToken"), ExpiredCredentials, "ran out"),
    ],
)
async def test_a_refused_put_is_named_by_what_to_do_next(
    server: FaultServer, store: S3Store, answer: Answer, expected: type[StreamerError], said: str
) -> None:
    server.reply(answer)

    with pytest.raises(expected, match=said) as refused:
        await store.put("a", b"x", mode=Replace('"0"'))

    assert exactly(expected, refused)
    assert refused.value.context["bucket"] == "bucket"
    assert expected is Conflict or refused.value.hint


async def test_heads_without_a_body_are_understood(server: FaultServer, store: S3Store) -> None:
    for status, expected in [(404, NotFound), (403, Denied), (400, Denied), (503, Unavailable)]:
        server.reply(Answer(status))
        with pytest.raises(expected):
            await store.head("a")


async def test_another_region_is_named(server: FaultServer, store: S3Store) -> None:
    server.reply(Answer(301, "PermanentRedirect", headers="x-amz-bucket-region: eu-west-1\r\n"))

    for ask in (store.prepare(), store.head("a"), store.put("a", b"x", mode=Create())):
        with pytest.raises(Invalid, match="eu-west-1") as wrong:
            await ask
        assert wrong.value.hint == "set AWS_REGION=eu-west-1"


async def test_a_clock_that_is_wrong_is_blamed(server: FaultServer, store: S3Store) -> None:
    server.reply(Answer(403, "RequestTimeTooSkewed"))

    with pytest.raises(Denied) as denied:
        await store.get("a")
    assert "clock" in denied.value.hint


@pytest.mark.parametrize(
    "refused",
    [Answer(400, "ExpiredToken"), Answer(403, "InvalidAccessKeyId"), Answer(403, "SignatureDoesNotMatch")],
    ids=["expired", "key taken back", "secret replaced"],
)
async def test_credentials_of_a_profile_that_are_good_no_more_are_read_again(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Answer
) -> None:
    file = tmp_path / "credentials"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")

    def rotate(name: str) -> None:
        file.write_text(f"[default]\naws_access_key_id={name}\naws_secret_access_key=s\naws_session_token=t\n")

    rotate("old")
    bare = S3Store("bucket", settings=S3Settings(region="us-east-1", endpoint_url=server.endpoint))
    store = RetryingStore(bare, SystemClock(), first_seconds=0.001)
    server.reply(Answer(), refused, Answer())
    await store.put("a", b"1", mode=Overwrite())
    rotate("new")

    await store.put("a", b"2", mode=Overwrite())

    keys = [heard.headers["authorization"].split("credential=")[1].split("/")[0] for heard in server.heard]
    assert keys == ["old", "old", "new"]

    server.reply(refused)
    with pytest.raises(Denied):
        await store.put("a", b"3", mode=Overwrite())
    assert len(server.heard) == 5
    await store.close()


async def test_a_call_under_way_survives_the_renewal_of_credentials(server: FaultServer, store: S3Store) -> None:
    server.reply(HANG, Answer(400, "ExpiredToken"), Answer())
    slow = asyncio.create_task(store.put("slow", b"1", mode=Overwrite()))
    while not server.heard:
        await asyncio.sleep(0)
    with pytest.raises(ExpiredCredentials):
        await store.put("a", b"2", mode=Overwrite())
    await store.put("a", b"2", mode=Overwrite())

    # Its client has been replaced and is still there for it.
    assert not slow.done()
    server.over.set()
    (outcome,) = await asyncio.gather(slow, return_exceptions=True)
    assert isinstance(outcome, str | OutcomeUnknown)


async def test_a_put_sent_twice_by_the_http_client_ends_in_a_conflict(server: FaultServer, store: S3Store) -> None:
    server.reply(Answer(keep_alive=True), RESET, Answer(412, "PreconditionFailed"))
    await store.put("first", b"x", mode=Overwrite())

    # On a kept-alive connection aiohttp sends a PUT again by itself. If it ever stops, this is OutcomeUnknown: as good.
    with pytest.raises((Conflict, OutcomeUnknown)):
        await store.put("second", b"mine", mode=Create())
    assert server.heard[1].body == b"mine"


async def test_what_goes_over_the_wire(server: FaultServer) -> None:
    signed = S3Store("bucket", "lake", server.settings(expected_bucket_owner="123456789012"))
    unsigned = S3Store("bucket", "lake", server.settings(sign_payload=False))

    await signed.put("raw/a b+%.x", b"123456789", mode=Create(), metadata={"batch_rows": "7"}, content_type="text/plain")
    await unsigned.put("b", memoryview(b"123456789"), mode=Replace('"v1"'))

    first, second = server.heard
    assert (first.method, first.path) == ("PUT", "/bucket/lake/raw/a%20b%2B%25.x")
    assert first.headers["if-none-match"] == "*"
    assert first.headers["x-amz-meta-batch-rows"] == "7"
    assert first.headers["content-type"] == "text/plain"
    assert first.headers["x-amz-expected-bucket-owner"] == "123456789012"
    assert first.headers["x-amz-checksum-crc32"] == "y/q5jg==".lower()
    assert len(first.headers["x-amz-content-sha256"]) == 64
    assert second.headers["if-match"] == '"v1"'
    assert second.headers["x-amz-content-sha256"] == "unsigned-payload"
    assert second.headers["x-amz-checksum-crc32"] == "y/q5jg==".lower()
    for heard in server.heard:
        assert not {"expect", "transfer-encoding", "x-amz-trailer"} & set(heard.headers)
    await signed.close()
    await unsigned.close()


async def test_nobody_listening_is_unavailable_and_nothing_was_sent() -> None:
    async with fault_server() as server:
        settings = server.settings()
    store = S3Store("bucket", settings=settings)

    with pytest.raises(Unavailable, match="no connection") as unreachable:
        await store.put("a", b"x", mode=Create())

    assert exactly(Unavailable, unreachable)
    assert settings.endpoint_url is not None
    assert settings.endpoint_url in unreachable.value.hint
    await store.close()


async def test_a_closed_store_stays_closed(store: S3Store) -> None:
    await store.close()

    with pytest.raises(StreamerError, match="closed"):
        await store.get("a")


async def test_secrets_are_in_no_text(server: FaultServer, store: S3Store) -> None:
    server.reply(Answer(403, "SignatureDoesNotMatch", message="the key"))

    with pytest.raises(Denied) as denied:
        await store.get("a")

    texts = [
        repr(server.settings(session_token="hush-hush")),
        str(denied.value),
        denied.value.hint,
        repr(denied.value),
        store.url,
    ]
    assert not [text for text in texts if "hush-hush" in text]
    with pytest.raises(Invalid) as invalid:
        S3Settings(endpoint_url="http://me:hush-hush@host:9000")
    assert "hush-hush" not in f"{invalid.value} {invalid.value.hint}"


@pytest.mark.parametrize("endpoint", ["", "localhost:9000", "http://", "ftp://host", "http://host:nan", "http://host:99999"])
def test_an_endpoint_that_is_none_is_invalid(endpoint: str) -> None:
    with pytest.raises(Invalid, match="endpoint"):
        S3Settings(endpoint_url=endpoint)


def test_half_a_pair_of_credentials_is_invalid() -> None:
    with pytest.raises(Invalid, match="belong together"):
        S3Settings(access_key_id="key")


async def test_a_host_name_that_botocore_refuses_is_invalid() -> None:
    store = S3Store(
        "bucket", settings=S3Settings(endpoint_url="http://my_minio:9000", access_key_id="a", secret_access_key="b")
    )

    with pytest.raises(Invalid):
        await store.prepare()
    await store.close()
