"""A PUT made without botocore's machinery is the one that botocore would have made; where it cannot be, botocore makes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import botocore.auth
import pytest
from aiobotocore.httpsession import AIOHTTPSession
from botocore.awsrequest import AWSRequest, HeadersDict
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.aws import Sent, watched
from streamer.aws_signature import Signer
from streamer.errors import Conflict, Invalid, OutcomeUnknown, StreamerError
from streamer.secrets.contract import AwsKeys
from streamer.store.contract import Create, Overwrite, PutMode, Replace
from streamer.store.limits import check_key
from streamer.store.s3 import S3Settings, S3Store
from tests.unit.store.fault_server import Answer, FaultServer, fault_server

# Made by botocore behind the signature, or different from one request to the next.
_ASIDE = {"amz-sdk-invocation-id", "amz-sdk-request", "authorization", "x-amz-date", "content-length", "user-agent"}


class _Said:
    """An answer of S3, as aiobotocore's session gives it."""

    status_code = 200
    headers = HeadersDict({"etag": '"abc"'})

    @property
    def content(self) -> Any:
        async def nothing() -> bytes:
            return b""

        return nothing()


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> list[Sent]:
    """What is sent. It goes nowhere and is answered with success."""
    sent: list[Sent] = []

    async def send(self: AIOHTTPSession, request: Any) -> _Said:
        headers = {name.lower(): v.decode() if isinstance(v, bytes) else v for name, v in request.headers.items()}
        sent.append(Sent(self, request.method, request.url, headers))
        return _Said()

    monkeypatch.setattr(AIOHTTPSession, "send", send)
    return sent


def is_key(text: str) -> bool:
    try:
        check_key(text)
    except Invalid:
        return False
    return True


_PRINTABLE = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
_KEYS = st.one_of(
    st.text(st.sampled_from("/ %+~*'()!&$@=:;,?#[]\\\"<>{}|^`_-.aZ0é漢😀"), min_size=1, max_size=40),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60),
).filter(is_key)
_VALUES = st.text(_PRINTABLE, min_size=1, max_size=30).filter(lambda value: value == value.strip())
_METADATA = st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True), _VALUES, max_size=5)
_MODES = st.sampled_from([Create(), Overwrite(), Replace('"0123456789abcdef"'), Replace('"a-2"')])
_BODIES = st.sampled_from([b"", b"x", b"123456789" * 1_000])

_KEYS_GIVEN = {"region": "us-east-1", "access_key_id": "AKID", "secret_access_key": "hush-hush"}
_PLACES = {
    "AWS": {},
    "another region": {"region": "eu-central-1"},
    "AWS by path": {"addressing": "path"},
    "a session token": {"session_token": "token/+=="},
    "http": {"endpoint_url": "http://minio:9000"},
    "http on port 80": {"endpoint_url": "http://minio:80"},
    "http, body unsigned": {"endpoint_url": "http://minio:9000", "sign_payload": False},
    "https, body signed": {"endpoint_url": "https://minio:443", "sign_payload": True},
    "an address": {"endpoint_url": "https://[::1]:9000"},
    "below a path": {"endpoint_url": "https://gateway/s3"},
    "virtual host": {"endpoint_url": "https://s3.example.com", "addressing": "virtual"},
    "KMS": {"server_side_encryption": "aws:kms", "kms_key_id": "arn:aws:kms:us-east-1:1:key/a", "kms_bucket_key": True},
    "AES and an owner": {"server_side_encryption": "AES256", "kms_bucket_key": False, "expected_bucket_owner": "123456789012"},
}


def signed_by_botocore(sent: Sent, body: bytes, keys: Credentials) -> str:
    """The `Authorization` that botocore gives to the request that we sent."""
    region = sent.headers["authorization"].split("Credential=")[1].split("/")[2]
    signed = sent.headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    headers = {name: sent.headers[name] for name in signed if name != "host"}
    request = AWSRequest(sent.method, sent.url, headers=headers, data=body)
    request.context["client_config"] = _Config(sent.headers["x-amz-content-sha256"] != "UNSIGNED-PAYLOAD")
    at = datetime.strptime(sent.headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda: at)
        botocore.auth.S3SigV4Auth(keys, "s3", region).add_auth(request)
    return str(request.headers["Authorization"])


class _Config:
    def __init__(self, signs: bool) -> None:
        self.s3 = {"payload_signing_enabled": signs}


@pytest.mark.parametrize("place", _PLACES)
def test_what_is_sent_is_what_botocore_sends(place: str, wire: list[Sent]) -> None:
    given_settings = S3Settings(**(_KEYS_GIVEN | _PLACES[place]))
    keys = Credentials("AKID", "hush-hush", given_settings.session_token)

    with asyncio.Runner() as runner:
        plain, other = (S3Store("bucket.with-dots" if "path" in place else "bucket", "é %2F+~", given_settings) for _ in "12")
        runner.run(plain.put("first", b"x", mode=Create(), metadata={"a_b": "c"}))
        assert is_plain(plain)

        @settings(max_examples=30, deadline=None)
        @given(
            key=_KEYS,
            metadata=_METADATA,
            mode=_MODES,
            body=_BODIES,
            content_type=st.sampled_from(["text/plain", "a/b; c=d  e"]),
        )
        def same(key: str, metadata: dict[str, str], mode: PutMode, body: bytes, content_type: str) -> None:
            said: Any = {"mode": mode, "metadata": metadata, "content_type": content_type}
            wire.clear()
            runner.run(plain.put(key, body, **said))
            _forget(other)
            runner.run(other.put(key, body, **said))
            ours, theirs = wire

            assert (ours.method, ours.url) == (theirs.method, theirs.url)
            assert {n: v for n, v in ours.headers.items() if n not in _ASIDE} == {
                n: v for n, v in theirs.headers.items() if n not in _ASIDE
            }
            assert ours.headers["authorization"] == signed_by_botocore(ours, body, keys)
            assert ["amz-sdk-request" in sent.headers for sent in (ours, theirs)] == [False, True]

        same()
        runner.run(plain.close())
        runner.run(other.close())


def is_plain(store: S3Store) -> bool:
    """Whether the next PUT does without botocore."""
    return store._requests._puts is not None and store._requests._puts.plain


def _forget(store: S3Store) -> None:
    store._requests._puts = None


async def test_dual_stack_and_fips_addresses_are_those_of_botocore(wire: list[Sent], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_USE_DUALSTACK_ENDPOINT", "true")
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    store = S3Store("bucket", "", S3Settings(**_KEYS_GIVEN))
    await store.put("first", b"x", mode=Create())

    assert is_plain(store)
    await store.put("a b", b"x", mode=Create())
    assert wire[-1].url == "https://bucket.s3-fips.dualstack.us-east-1.amazonaws.com/a%20b"
    await store.close()


async def test_a_header_that_we_do_not_know_leaves_all_puts_to_botocore(wire: list[Sent]) -> None:
    store = S3Store("bucket", "", S3Settings(**_KEYS_GIVEN))
    async with store._request("put", "a") as (client, _):
        client.meta.events.register("before-sign.s3.PutObject", add_header)

    for number in range(5):
        await store.put(f"{number}", b"x", mode=Create())
        assert not is_plain(store)
        assert wire[-1].headers["x-amz-request-payer"] == "requester"
    await store.close()


def add_header(request: Any, **_: Any) -> None:
    request.headers["x-amz-request-payer"] = "requester"


async def test_keys_of_the_chain_are_asked_for_again_with_each_put(wire: list[Sent], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "first")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    store = S3Store("bucket", "", S3Settings(region="us-east-1"))
    await store.put("a", b"x", mode=Create())
    assert is_plain(store)
    async with store._requests._connected("put", "a", writes=False, conditional=False, body_bytes=0) as (connection, _):
        found = await connection.session.get_credentials()
        # What botocore does to the credentials of a role when they have been renewed.
        found.access_key, found.secret_key, found.token = "second", "hush-hush too", "token"

    await store.put("b", b"x", mode=Create())

    sent = wire[-1]
    assert sent.headers["authorization"] == signed_by_botocore(sent, b"x", Credentials("second", "hush-hush too", "token"))
    assert sent.headers["x-amz-security-token"] == "token"
    await store.close()


@pytest.fixture
async def server() -> AsyncIterator[FaultServer]:
    async with fault_server() as server:
        yield server


@pytest.fixture
async def store(server: FaultServer) -> AsyncIterator[S3Store]:
    """One whose PUTs are plain already."""
    store = S3Store("bucket", "lake", server.settings())
    await store.put("first", b"x", mode=Overwrite())
    assert is_plain(store)
    server.heard.clear()
    yield store
    await store.close()


async def test_a_bucket_that_moved_is_left_to_botocore_from_then_on(server: FaultServer, store: S3Store) -> None:
    server.reply(Answer(400, "AuthorizationHeaderMalformed"), Answer())

    assert await store.put("a", b"x", mode=Create()) == '"abc"'

    assert ["amz-sdk-request" in heard.headers for heard in server.heard] == [False, True]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(200, "InternalError"), OutcomeUnknown),
        (Answer(200, headers="", body=b""), OutcomeUnknown),
        (Answer(200, body=b"<half"), OutcomeUnknown),
        (Answer(500, body=b"<html>no XML"), OutcomeUnknown),
        (Answer(412, "PreconditionFailed"), Conflict),
    ],
    ids=["an error behind a 200", "no ETag", "half an answer", "not S3", "conflict"],
)
async def test_an_answer_means_the_same_as_to_botocore(
    server: FaultServer, store: S3Store, answer: Answer, expected: type[StreamerError]
) -> None:
    first = S3Store("bucket", "lake", server.settings())
    server.reply(answer)
    texts = []
    for one in (store, first):
        with pytest.raises(expected) as raised:
            await one.put("a", b"x", mode=Create())
        texts.append(f"{type(raised.value)} {raised.value} {raised.value.hint}")

    assert texts[0] == texts[1]
    assert ["amz-sdk-request" in heard.headers for heard in server.heard] == [False, True]
    await first.close()


async def test_a_proxy_of_the_environment_is_used(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.endpoint)
    store = S3Store("bucket", "", server.settings(endpoint_url="http://s3.example:9000", addressing="path"))

    for number in range(2):
        await store.put(f"{number}", b"x", mode=Create())

    assert [heard.path for heard in server.heard] == [f"http://s3.example:9000/bucket/{number}" for number in range(2)]
    assert ["amz-sdk-request" in heard.headers for heard in server.heard] == [True, False]
    await store.close()


async def test_a_document_behind_a_200_is_no_error(server: FaultServer, store: S3Store) -> None:
    server.reply(Answer(body=b"<Fine/>"))

    assert await store.put("a", b"x", mode=Create()) == '"abc"'


async def test_a_body_as_large_as_a_file_arrives_signed(server: FaultServer, store: S3Store) -> None:
    body = bytes(range(256)) * 8_192

    await store.put("a", body, mode=Create())

    (heard,) = server.heard
    assert heard.body == body
    assert "amz-sdk-request" not in heard.headers


async def test_no_secret_is_in_what_is_kept_about_a_connection(server: FaultServer, store: S3Store) -> None:
    assert store._requests._puts is not None
    assert "hush-hush" not in f"{store._requests._puts!r} {store._requests._puts._form!r}"
    async with store._requests._connected("put", "a", writes=False, conditional=False, body_bytes=0) as (connection, _):
        assert "hush-hush" not in repr(connection)
    _, sent = await watched(store.put("a", b"x", mode=Create()))
    assert "Signature" not in repr(sent)


def test_another_day_has_another_key() -> None:
    """The example of AWS's documentation of signature version 4 for S3: a PUT."""
    signer = Signer("us-east-1", "s3")
    keys = AwsKeys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    headers = {
        "date": "Fri, 24 May 2013 00:00:00 GMT",
        "host": "examplebucket.s3.amazonaws.com",
        "x-amz-content-sha256": "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
        "x-amz-date": "20130524T000000Z",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
    }

    before = signer.authorization(keys, "PUT", "/test%24file.text", headers | {"x-amz-date": "20130523T235959Z"})
    documented = signer.authorization(keys, "PUT", "/test%24file.text", headers)

    assert documented.endswith("Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd")
    assert before.split("Signature=")[1] != documented.split("Signature=")[1]
