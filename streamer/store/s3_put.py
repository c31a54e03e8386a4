"""PUTs of whole objects without botocore's request machinery, which costs several times what the request itself does.

The first PUT of a connection goes through aiobotocore and is looked at on its way out. If ours would have been the same, in
address, headers and signature, the next ones are made here and leave through the same HTTP session: pool, TLS, proxies,
time-outs and errors stay the client's. If not, or where the bucket is elsewhere, aiobotocore does it. It must not retry.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from streamer.aws import ClientError, Connection, Sent, amz_date, refusal_of, send, watched
from streamer.aws_signature import ALGORITHM, UNSIGNED_PAYLOAD, Signer
from streamer.secrets.contract import AwsKeys

_HEADER_OF = {
    "BucketKeyEnabled": "x-amz-server-side-encryption-bucket-key-enabled",
    "ChecksumCRC32": "x-amz-checksum-crc32",
    "ContentType": "content-type",
    "ExpectedBucketOwner": "x-amz-expected-bucket-owner",
    "IfMatch": "if-match",
    "IfNoneMatch": "if-none-match",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "ServerSideEncryption": "x-amz-server-side-encryption",
}
_NO_HEADER = frozenset({"Body", "Bucket", "Key", "Metadata"})
_KNOWN = _HEADER_OF.keys() | _NO_HEADER
# Not signed, and not about the object.
_UNSIGNED = frozenset({"amz-sdk-invocation-id", "amz-sdk-request", "authorization", "content-length", "user-agent"})
# Said before anything was done: botocore can follow a bucket to its region.
_ELSEWHERE = frozenset(
    {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect", "TemporaryRedirect"}
)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# How often we look at a request of botocore's that differs. Keys renewed in that moment are a reason, and pass.
_LOOKS = 3
# Below this a hash takes less time than a thread's hand-over.
_INLINE_BYTES = 256 << 10


class PlainPuts:
    """The PUTs of one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._form: _Form | None = None
        self._looks_left = _LOOKS

    @property
    def connection(self) -> Connection:
        return self._connection

    @property
    def plain(self) -> bool:
        """Whether the next PUT leaves without botocore's machinery."""
        return self._form is not None

    async def put(self, params: Mapping[str, Any]) -> str:
        """The ETag of what `put_object(**params)` makes. Raises what the client does, and KeyError where none came back."""
        keys = await self._connection.signing_keys() if params.keys() <= _KNOWN else None
        if keys is not None and (form := self._form) is not None:
            try:
                return await _put_plainly(form, params, keys)
            except ClientError as error:
                refusal = refusal_of(error)
                if refusal.code not in _ELSEWHERE and refusal.status not in _REDIRECTS:
                    raise
                self._form = None
        answer, sent = await watched(self._connection.client.put_object(**params))
        if sent is not None and keys is not None and self._form is None and self._looks_left > 0:
            self._looks_left -= 1
            self._form = _form_of(sent, params, keys)
        return str(answer["ETag"])


async def _put_plainly(form: _Form, params: Mapping[str, Any], keys: AwsKeys) -> str:
    body = params["Body"]
    headers = form.headers(params, keys, amz_date(), await _sha256(body) if form.signs_payload else UNSIGNED_PAYLOAD)
    path = form.path_before_key + _quoted(params["Key"])
    authorization = form.signer.authorization(keys, "PUT", path, headers)
    # The HTTP client names the host itself, as it does for botocore.
    del headers["host"]
    headers |= {"authorization": authorization, "content-length": str(len(body)), "user-agent": form.user_agent}
    answer = await send(form.session, "PUT", form.origin + path, headers, body, operation="PutObject")
    if "etag" not in answer:
        raise KeyError("ETag")
    return answer["etag"]


@dataclass(frozen=True, slots=True)
class _Form:
    """What is the same in all PUTs of a connection."""

    session: Any
    origin: str
    host: str
    path_before_key: str
    user_agent: str
    signs_payload: bool
    signer: Signer

    def headers(self, params: Mapping[str, Any], keys: AwsKeys, at: str, payload: str) -> dict[str, str]:
        """All headers that are signed, and `host` among them."""
        headers = {"host": self.host, "x-amz-content-sha256": payload, "x-amz-date": at}
        if keys.session_token:
            headers["x-amz-security-token"] = keys.session_token
        for name, value in params.items():
            if name not in _NO_HEADER:
                headers[_HEADER_OF[name]] = str(value).lower() if isinstance(value, bool) else value
        for name, value in params.get("Metadata", {}).items():
            headers[f"x-amz-meta-{name}"] = value
        return headers


def _form_of(sent: Sent, params: Mapping[str, Any], keys: AwsKeys) -> _Form | None:
    """What `sent` shows about the PUTs of its connection; None where ours would not have been the same."""
    url = urlsplit(sent.url)
    key = "/" + _quoted(params["Key"])
    authorization = sent.headers.get("authorization", "")
    scope = authorization.partition("Credential=")[2].partition(",")[0].split("/")
    at, payload = sent.headers.get("x-amz-date"), sent.headers.get("x-amz-content-sha256")
    if not (sent.method == "PUT" and authorization.startswith(ALGORITHM + " ") and at and payload and url.path.endswith(key)):
        return None
    default_port = {"http": 80, "https": 443}.get(url.scheme)
    form = _Form(
        sent.session,
        origin=f"{url.scheme}://{url.netloc}",
        host=url.netloc.lower().removesuffix(f":{default_port}"),
        path_before_key=url.path[: len(url.path) - len(key) + 1],
        user_agent=sent.headers.get("user-agent", ""),
        signs_payload=payload != UNSIGNED_PAYLOAD,
        signer=Signer(*scope[-3:-1]) if len(scope) >= 5 else Signer("", ""),
    )
    ours = form.headers(params, keys, at, hashlib.sha256(params["Body"]).hexdigest() if form.signs_payload else payload)
    theirs = {name: value for name, value in sent.headers.items() if name not in _UNSIGNED} | {"host": form.host}
    same = ours == theirs and sent.url == form.origin + url.path
    return form if same and form.signer.authorization(keys, "PUT", url.path, ours) == authorization else None


def _quoted(key: str) -> str:
    return quote(key, safe="/~")


async def _sha256(body: bytes) -> str:
    if len(body) <= _INLINE_BYTES:
        return hashlib.sha256(body).hexdigest()
    return await asyncio.to_thread(lambda: hashlib.sha256(body).hexdigest())
