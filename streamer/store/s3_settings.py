"""How to reach a bucket. Values only, so that reading a configuration does not load the S3 client."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from streamer.errors import Invalid
from streamer.secrets.contract import AwsKeys, KeySource


@dataclass(frozen=True, slots=True)
class S3Settings:
    """What a configuration says about S3. Every default is right for AWS with its usual credential chain.

    region: None leaves it to the AWS configuration. endpoint_url: for servers other than AWS. access_key_id with
    secret_access_key (and session_token): None takes the AWS chain: environment, profile, web identity, container, instance.
    key_source: keys that may change while the process runs, instead of those.
    addressing: None is `path` with an endpoint and `virtual` without. sign_payload: None signs bodies over plain HTTP
    only, as every AWS client does; over HTTPS a CRC-32 of ours goes with each body, and TLS protects it.
    expected_bucket_owner: an AWS account; every request is refused if the bucket belongs to another.
    server_side_encryption: `AES256` or `aws:kms`, asked for with each PUT, the latter with kms_key_id where not S3's own key is
    meant; None leaves it to the bucket.
    kms_bucket_key: let S3 keep a key of the bucket's for a while, which asks KMS less often; None leaves it to the bucket.
    conditional_writes: False for servers that do not know `If-None-Match`; then writers that race overwrite each other.
    at_least_once: find that out, where a server answers 501 to a condition, and go on without.
    request_seconds: the deadline of a call, waiting for a connection included; bodies get one second more for every
    `slowest_bytes_per_second`. read_seconds: how long a connection may be silent.
    """

    region: str | None = None
    endpoint_url: str | None = None
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    key_source: KeySource | None = field(default=None, repr=False)
    addressing: Literal["path", "virtual"] | None = None
    sign_payload: bool | None = None
    expected_bucket_owner: str | None = None
    server_side_encryption: Literal["AES256", "aws:kms"] | None = None
    kms_key_id: str | None = None
    kms_bucket_key: bool | None = None
    conditional_writes: bool = True
    at_least_once: bool = False
    connect_seconds: float = 5.0
    read_seconds: float = 20.0
    request_seconds: float = 30.0
    slowest_bytes_per_second: int = 1 << 20
    max_connections: int = 32

    def __post_init__(self) -> None:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise Invalid(
                "an access key id and a secret access key belong together",
                hint="set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither",
            )
        if self.endpoint_url is not None:
            _check_endpoint(self.endpoint_url)

    @property
    def keys(self) -> AwsKeys | None:
        """The keys that are named here; None where the AWS chain or `key_source` has them."""
        if self.access_key_id is None or self.secret_access_key is None:
            return None
        return AwsKeys(self.access_key_id, self.secret_access_key, self.session_token)

    @property
    def signs_payload(self) -> bool:
        if self.sign_payload is not None:
            return self.sign_payload
        return (self.endpoint_url or "https://").startswith("http://")

    @property
    def addressing_style(self) -> str:
        return self.addressing or "auto"

    def deadline_seconds(self, body_bytes: int) -> float:
        """How long a call may take that carries a body of this size."""
        return self.request_seconds + body_bytes / self.slowest_bytes_per_second


def _check_endpoint(url: str) -> None:
    # The URL itself stays out of the message: it may hold a password.
    hint = "write it as http://host:port or https://host:port"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise Invalid("the S3 endpoint is not a URL", hint=hint)
    if parts.username is not None:
        raise Invalid("the S3 endpoint holds credentials", hint=f"{hint}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
