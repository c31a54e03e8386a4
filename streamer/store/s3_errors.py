"""What an S3 server's refusals mean, in streamer's own errors, with the reader's next step.

Pure: statuses and codes in, errors out. It must not import the client, and must never quote more of an answer than its code
and message: some servers send back the access key and what was signed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from streamer.errors import Conflict, Denied, Invalid, NotFound, OutcomeUnknown, StreamerError, Unavailable
from streamer.store.contract import ExpiredCredentials, NoSuchPlace, Unsupported
from streamer.store.s3_permissions import missing_permission

_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"})
_DENIED = {
    "InvalidAccessKeyId": "the server does not know this access key: check AWS_ACCESS_KEY_ID and the endpoint",
    "SignatureDoesNotMatch": "the secret does not fit the access key: check AWS_SECRET_ACCESS_KEY",
    "InvalidToken": "the session token does not fit the access key: set AWS_SESSION_TOKEN, or unset it for a long-lived key",
    "InvalidClientTokenId": "the access key is not known to AWS: check AWS_ACCESS_KEY_ID",
    "RequestTimeTooSkewed": "the clock of this machine is wrong: set it (chrony, systemd-timesyncd)",
}
_NAMED_PERMISSION = re.compile(r"not authorized to perform:? ([a-z0-9]+:[A-Za-z*]+)(?: on resource:? \"?(arn:[^\s\"]+))?")
# What a key that was rotated looks like while we still use the old one: the next place in the chain may have the new one.
_REPLACED = frozenset({"InvalidAccessKeyId", "InvalidClientTokenId", "SignatureDoesNotMatch", "InvalidToken"})
# Said before anything was done, whatever the status.
_NOT_DONE = frozenset(
    {
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "BandwidthLimitExceeded",
        "RequestThrottled",
        "ServiceUnavailable",
        "RequestTimeout",
        "OperationAborted",
        "ConditionalRequestConflict",
        "BadDigest",
        "InvalidDigest",
        "XAmzContentSHA256Mismatch",
        "IncompleteBody",
    }
)
_WRONG_REGION = frozenset(
    {"PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
)
_MISSING = frozenset({"NoSuchKey", "NoSuchVersion"})


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for. `key` is None for requests about the bucket. `writes`: it would have changed something."""

    bucket: str
    endpoint: str
    operation: str
    key: str | None
    writes: bool
    conditional: bool = False
    region: str | None = None
    has_token: bool = False

    @property
    def context(self) -> dict[str, Any]:
        return {"operation": self.operation, "bucket": self.bucket, "key": self.key}


@dataclass(frozen=True, slots=True)
class Refusal:
    """What came back. `code` is the status as text where the answer had no body (HEAD). `region`: where the bucket is."""

    status: int
    code: str
    message: str = ""
    region: str | None = None


def translate_refusal(request: Request, refusal: Refusal) -> StreamerError:
    """The error that `refusal` is."""
    status, code = refusal.status, refusal.code
    if code == "PreconditionFailed" or status == 412:
        return Conflict("the store refused a conditional write", **request.context)
    if (missing := _missing(request, refusal)) is not None:
        return missing
    if code == "InvalidObjectState":
        return Invalid(
            "the object lies in GLACIER or DEEP_ARCHIVE and cannot be read as it is",
            hint="have it restored (`aws s3api restore-object`), or read the day from the archive",
            **request.context,
        )
    if code in _EXPIRED:
        return _expired(request, code)
    if code in _WRONG_REGION or status in (301, 307) or _signed_for_another_region(request, refusal):
        return _elsewhere(request, refusal)
    if code in _NOT_DONE or status in (409, 429):
        return Unavailable(f"the store answered {code}{_quoted(refusal)}", hint="wait, then try again", **request.context)
    if status in (401, 403, 407) or code in _DENIED:
        hint = _DENIED.get(code) or _what_to_grant(request, refusal)
        kind = ExpiredCredentials if code in _REPLACED and request.has_token else Denied
        return kind(f"the store refused the credentials: {code}{_quoted(refusal)}", hint=hint, **request.context)
    if status == 400 and code == "400":
        return _refused_without_a_word(request)
    if status == 501:
        hint = "use another store, or accept doubles with lake.allow_at_least_once = true" if request.conditional else ""
        return Unsupported(f"the store cannot do this{_quoted(refusal)}", hint=hint or "use another store", **request.context)
    if status >= 500 or status == 408:
        return lost_answer(request, f"the store answered {status} {code}{_quoted(refusal)}")
    return Invalid(
        f"the store refused the request: {status} {code}{_quoted(refusal)}",
        hint="check the bucket's name and the endpoint",
        **request.context,
    )


def _what_to_grant(request: Request, refusal: Refusal) -> str:
    # AWS names the permission itself, and only it knows of KMS keys and boundaries.
    if named := _NAMED_PERMISSION.search(refusal.message):
        return f"grant {named[1]}" + (f" on {named[2]}" if named[2] else "")
    return missing_permission(request.operation, request.bucket, request.key)


def lost_answer(request: Request, reason: str) -> Unavailable:
    """No answer, or one that does not tell whether the request was carried out."""
    if request.writes:
        return OutcomeUnknown(f"a write got no clear answer: {reason}", hint="read back what is there", **request.context)
    return Unavailable(reason, hint=f"wait, or look at {request.endpoint}", **request.context)


def not_reached(request: Request, reason: str) -> Unavailable:
    """No connection: nothing was sent."""
    return Unavailable(
        f"no connection to the store: {reason}",
        hint=f"check that {request.endpoint} is the right endpoint, and that it can be reached from here",
        endpoint=request.endpoint,
        **request.context,
    )


def _missing(request: Request, refusal: Refusal) -> StreamerError | None:
    if refusal.code == "NoSuchBucket" or (refusal.status == 404 and request.key is None):
        return NoSuchPlace(
            "there is no such bucket",
            hint="check its name, region and endpoint, or create it: `streamer init`",
            bucket=request.bucket,
            endpoint=request.endpoint,
        )
    if refusal.code == "NoSuchUpload":
        return Conflict("the upload is no longer there: completed, or aborted", **request.context)
    if refusal.code in _MISSING or (refusal.status == 404 and request.operation == "head"):
        if request.operation in ("put", "complete_upload"):
            return Conflict("the object to replace is not there", **request.context)
        return NotFound("no such object", **request.context)
    if refusal.status == 404:
        # Whatever stands at the endpoint and answers 404 to everything must not look like an empty lake.
        return Unavailable(
            f"the endpoint answered 404 {refusal.code}, which is not how S3 says that an object is missing",
            hint=f"check that {request.endpoint} is an S3 server",
            **request.context,
        )
    return None


def _signed_for_another_region(request: Request, refusal: Refusal) -> bool:
    # HEAD: the status alone came back, and the bucket's region in a header.
    return refusal.status == 400 and refusal.code == "400" and refusal.region not in (None, request.region)


def _elsewhere(request: Request, refusal: Refusal) -> Invalid:
    if refusal.region is None:
        return Invalid("the bucket is in another region or at another endpoint", hint="set AWS_REGION", **request.context)
    return Invalid(
        f"the bucket is in region {refusal.region}, not {request.region}",
        hint=f"set AWS_REGION={refusal.region}",
        **request.context,
    )


def _expired(request: Request, code: str) -> ExpiredCredentials:
    return ExpiredCredentials(
        f"the credentials ran out: {code}",
        hint="renew them; a role or a profile is read again by itself, a session token from the environment is not",
        **request.context,
    )


def _refused_without_a_word(request: Request) -> Denied:
    # A HEAD with an expired token looks like this, and one signed wrongly too.
    if request.has_token:
        return _expired(request, "400 without a reason")
    return Denied("the store refused the request without saying why", hint="run `streamer check`", **request.context)


def _quoted(refusal: Refusal) -> str:
    message = " ".join(refusal.message.split())[:200]
    return f" ({message})" if message else ""
