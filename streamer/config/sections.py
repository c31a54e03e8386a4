"""The sections of the configuration file, one frozen model each; `stream.py` has that of a stream.

The description of every field is its documentation: `docs/configuration.md` is made from here. Names are those of the
file; attributes are in seconds and bytes. Checks that need one section alone are here, those between sections in `settings.py`.
"""

from __future__ import annotations

import os
import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from streamer.config.values import (
    Duration,
    Meaning,
    Servers,
    Size,
    TextList,
    at_least,
    none_if_empty,
    parse_lower,
    parse_upper,
    parse_word,
)

OptionalText = Annotated[str | None, BeforeValidator(none_if_empty), Meaning("text")]
OptionalSecret = Annotated[SecretStr | None, BeforeValidator(none_if_empty), Meaning("secret text")]
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,254}", re.ASCII)  # what S3 once allowed, and the client still does


SECRETS_MANAGER = "secretsmanager:"
_SECRET_NAME = re.compile(
    r"[A-Za-z0-9/_+=.@-]{1,512}|arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:[A-Za-z0-9/_+=.@-]{1,520}", re.ASCII
)


def check_secret(value: str | None) -> str | None:
    """A secret's place. Raises `ValueError` without repeating the value, which may be the secret itself."""
    if value is not None and not (
        value.startswith(SECRETS_MANAGER) and _SECRET_NAME.fullmatch(value.removeprefix(SECRETS_MANAGER))
    ):
        raise ValueError("write secretsmanager:NAME, or secretsmanager: and the secret's ARN")
    return value


SecretPlace = Annotated[str | None, BeforeValidator(none_if_empty), AfterValidator(check_secret), Meaning("text")]


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


MODEL_PATTERNS = (
    "*.pkl", "*.pickle", "*.joblib", "*.onnx", "*.pt", "*.pth", "*.ckpt", "*.safetensors", "*.h5", "*.hdf5", "*.keras", "*.npz",
    "*.npy", "*.cbm", "*.ubj", "*.pmml", "*.tflite", "*.pb", "*.bin", "*.zip", "*.tar", "*.tgz", "*.pkl.*", "*.tar.*",
)  # fmt: skip
"""What the libraries of the field call their files. JSON is left out: beside a model it is what the trainer says of it."""


class Section(BaseModel):
    """What every section has in common: frozen, and no field that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False, hide_input_in_errors=True)


class KafkaSection(Section):
    """Where the records come from."""

    bootstrap_servers: Servers = Field(
        default="localhost:9092", description="The brokers to ask first: `host:port`, several parted by commas."
    )
    group_id: str = Field(
        default="streamer",
        min_length=1,
        description="The consumer group. Replicas that share the work share it. Its offsets are advice for lag monitors.",
    )
    client_id: str = Field(
        default="streamer", min_length=1, description="How this client calls itself in the brokers' logs and quotas."
    )
    start_from: Annotated[Literal["earliest", "latest", "committed"], BeforeValidator(parse_lower)] = Field(
        default="earliest", description="Where to begin a partition for which the lake has no position."
    )
    session_timeout: Annotated[Duration, AfterValidator(at_least(1, "1s"))] = Field(
        default=45.0,
        le=1800,
        description="After a kill -9 the successor waits this long. The broker's limits apply, 6s to 30min by default.",
    )
    rebalance_timeout: Annotated[Duration, AfterValidator(at_least(1, "1s"))] = Field(
        default=120.0,
        le=3600,
        description="How long the group waits for this member in a rebalance; half of it goes to writing what is buffered.",
    )
    group_instance_id: OptionalText = Field(
        default=None,
        description="Static membership: a restart within `session_timeout` takes over at once. Must be unique per replica, "
        "such as the name of a StatefulSet's pod.",
    )
    read_mode: Annotated[Literal["auto", "batches", "getmany"], BeforeValidator(parse_lower)] = Field(
        default="auto",
        description="How records are taken from the client: `batches` is fast, `getmany` public API, `auto` chooses.",
    )
    security_protocol: Annotated[Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], BeforeValidator(parse_upper)] = (
        Field(default="PLAINTEXT", description="TLS and authentication of the connection.")
    )
    sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "AWS_MSK_IAM"], BeforeValidator(parse_upper)
    ] = Field(
        default="PLAIN",
        description="How `sasl_username` and `sasl_password` are presented, where the protocol is a SASL one. `AWS_MSK_IAM` "
        "presents the identity of the AWS credential chain instead, to Amazon MSK.",
    )
    sasl_username: OptionalText = Field(default=None, description="The user, where the protocol is a SASL one.")
    sasl_password: OptionalSecret = Field(
        default=None, description="Its password. Better set by the environment than in a file."
    )
    credentials: SecretPlace = Field(
        default=None,
        description="User and password from AWS Secrets Manager instead: `secretsmanager:NAME`. A new one needs no restart.",
    )
    ssl_cafile: OptionalText = Field(
        default=None, description="PEM file with the authorities to trust, instead of the system's."
    )
    ssl_certfile: OptionalText = Field(default=None, description="PEM file with the client's certificate, for mutual TLS.")
    ssl_keyfile: OptionalText = Field(default=None, description="PEM file with its key, where `ssl_certfile` does not hold it.")
    ssl_key_password: OptionalSecret = Field(default=None, description="Password of that key, where it is encrypted.")

    @model_validator(mode="after")
    def _security_fits_together(self) -> Self:
        sasl = self.security_protocol.startswith("SASL_")
        if self.credentials and (self.sasl_username or self.sasl_password):
            raise ValueError("set credentials, or sasl_username and sasl_password, not both")
        if self.credentials and not sasl:
            raise ValueError(f"credentials are not used with security_protocol {self.security_protocol}: set it to SASL_SSL")
        if sasl and self.sasl_mechanism == "AWS_MSK_IAM":
            if self.security_protocol != "SASL_SSL":
                raise ValueError('sasl_mechanism AWS_MSK_IAM needs security_protocol = "SASL_SSL"')
            if self.sasl_username or self.sasl_password or self.credentials:
                raise ValueError("AWS_MSK_IAM asks the AWS chain who we are: remove sasl_username, sasl_password, credentials")
        elif sasl and not self.credentials and not (self.sasl_username and self.sasl_password):
            raise ValueError(
                f"security_protocol {self.security_protocol} needs kafka.sasl_username and sasl_password, or kafka.credentials"
            )
        if not sasl and (self.sasl_username or self.sasl_password):
            raise ValueError(
                f"sasl_username and sasl_password are not used with security_protocol {self.security_protocol}: "
                "set it to SASL_SSL (or SASL_PLAINTEXT), or remove them"
            )
        if not self.security_protocol.endswith("SSL") and (self.ssl_cafile or self.ssl_certfile or self.ssl_keyfile):
            raise ValueError(
                f"ssl_* files are not used with security_protocol {self.security_protocol}: set it to SSL or SASL_SSL"
            )
        if (self.ssl_keyfile or self.ssl_key_password) and not self.ssl_certfile:
            raise ValueError("ssl_keyfile and ssl_key_password need ssl_certfile")
        return self


def check_lake_url(value: str | None) -> str | None:
    """A place that streamer can open. Raises `ValueError` without repeating the value, which may hold credentials."""
    if value is None:
        return None
    url = value.strip()
    if "\x00" in url or any(ord(c) < 32 for c in url):
        raise ValueError("has a control character")
    scheme, separator, rest = url.partition("://")
    if not separator:
        if not url.startswith(("/", "./", "../", "~/")) and url not in (".", ".."):
            raise ValueError("write s3://bucket, s3://bucket/prefix, file:///path, /path or ./path")
        return url
    if scheme == "s3":
        bucket, _, prefix = rest.partition("/")
        if "@" in bucket:
            raise ValueError("credentials do not belong into the URL: use AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        if not _BUCKET.fullmatch(bucket):
            raise ValueError("a bucket's name has at least 3 letters, digits, dots and hyphens")
        if prefix and ("//" in f"/{prefix}" or {"?", "#"} & set(prefix) or {".", ".."} & set(prefix.split("/"))):
            raise ValueError("the prefix has an empty or dotted segment, a ? or a #")
        return url.rstrip("/")
    if scheme == "file":
        if not rest.startswith("/"):
            raise ValueError("write a file URL with an absolute path: file:///var/lib/streamer")
        return url
    raise ValueError("write s3://bucket, s3://bucket/prefix, file:///path, /path or ./path")


def parse_account(value: object) -> object:
    """An AWS account's twelve digits, as text or as the number that TOML makes of them."""
    return f"{value:d}" if type(value) is int and 0 <= value < 10**12 else none_if_empty(value)


class LakeSection(Section):
    """Where the lake is."""

    url: Annotated[str | None, BeforeValidator(none_if_empty), AfterValidator(check_lake_url), Meaning("text")] = Field(
        default=None,
        description="`s3://bucket`, `s3://bucket/prefix`, `file:///path`, or a path (a relative one counts from the working "
        "directory). `S3_BUCKET_NAME` sets it, too.",
    )
    allow_at_least_once: bool = Field(
        default=False,
        description="Accept a store without conditional writes. Rows may then be in the lake twice: exactly once needs them.",
    )
    expected_bucket_owner: Annotated[str | None, BeforeValidator(parse_account), Meaning("text")] = Field(
        default=None,
        pattern=r"^\d{12}$",
        description="AWS account that must own the bucket; requests to another's are refused.",
    )
    server_side_encryption: Annotated[Literal["AES256", "aws:kms"] | None, BeforeValidator(none_if_empty)] = Field(
        default=None, description="Encryption asked for with each object; the bucket's own default where not set."
    )
    kms_key_id: OptionalText = Field(
        default=None, description="The key, where `server_side_encryption` is `aws:kms`; S3's own where not set."
    )
    kms_bucket_key: Annotated[bool | None, BeforeValidator(none_if_empty), Meaning("true or false")] = Field(
        default=None,
        description="Whether S3 may keep a key of the bucket's for a while, which asks KMS, and costs, less; the bucket's own "
        "default where not set.",
    )

    @model_validator(mode="after")
    def _key_is_used(self) -> Self:
        if self.kms_key_id and self.server_side_encryption != "aws:kms":
            raise ValueError('kms_key_id is only used with server_side_encryption = "aws:kms"')
        if self.kms_bucket_key is not None and self.server_side_encryption != "aws:kms":
            raise ValueError('kms_bucket_key is only used with server_side_encryption = "aws:kms"')
        return self


def check_endpoint_url(value: str | None) -> str | None:
    """An HTTP address. Raises `ValueError` without repeating the value, which may hold credentials."""
    if value is None:
        return None
    scheme, _, rest = value.strip().partition("://")
    if "@" in rest:
        raise ValueError("credentials do not belong into the URL: use AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    if scheme not in ("http", "https") or not re.fullmatch(r"[^\s/?#]+(/[^\s?#]*)?", rest):
        raise ValueError("write http://host:port or https://host")
    return value.strip()


class S3Section(Section):
    """How S3 is reached. Without keys the whole AWS credential chain applies: profile, IRSA, instance role."""

    access_key_id: OptionalSecret = Field(default=None, description="Access key, with `secret_access_key`.")
    secret_access_key: OptionalSecret = Field(
        default=None, description="Its secret. Better set by the environment than in a file."
    )
    session_token: OptionalSecret = Field(default=None, description="Session token, where the keys are temporary ones.")
    credentials: SecretPlace = Field(
        default=None,
        description="Keys from AWS Secrets Manager instead: `secretsmanager:NAME`. New ones need no restart. `AWS_...` keys "
        "are then those that Secrets Manager itself is asked with.",
    )
    region: OptionalText = Field(default=None, description="The bucket's region; found by the AWS chain where not set.")
    endpoint_url: Annotated[str | None, BeforeValidator(none_if_empty), AfterValidator(check_endpoint_url), Meaning("text")] = (
        Field(default=None, description="Another S3 server, such as MinIO: `http://host:port`.")
    )
    request_timeout: Annotated[Duration, AfterValidator(at_least(0.1, "100ms"))] = Field(
        default=30.0, le=600, description="The most time for one try of one request, the upload of its body included."
    )

    @model_validator(mode="after")
    def _credentials_are_complete(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("set access_key_id and secret_access_key together, or neither")
        if self.session_token is not None and self.access_key_id is None:
            raise ValueError("session_token needs access_key_id and secret_access_key")
        if self.credentials is not None and self.access_key_id is not None:
            raise ValueError("set credentials, or access_key_id and secret_access_key, not both")
        return self


class MemorySection(Section):
    """How much the process may hold."""

    budget: Annotated[Size, AfterValidator(at_least(16 << 20, "16MiB"))] = Field(
        default=256 << 20,
        description="All buffered bytes of the process, the client's prefetch and the feature windows included.",
    )


class HttpSection(Section):
    """`/healthz`, `/readyz` and `/metrics`."""

    enabled: bool = Field(default=True, description="Whether to serve them.")
    host: Annotated[str, BeforeValidator(parse_word)] = Field(
        default="127.0.0.1", min_length=1, description="Address to listen on; the container image sets `0.0.0.0`."
    )
    port: int = Field(default=9464, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")


class LogSection(Section):
    """What is logged, to standard error."""

    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(parse_lower)] = Field(
        default="info", description="The least severity that is logged. The Kafka and S3 clients never log below `warning`."
    )
    format: Annotated[Literal["auto", "json", "console"], BeforeValidator(parse_lower)] = Field(
        default="auto", description="JSON lines, or readable text; `auto` is text on a terminal."
    )


class StopSection(Section):
    """How the process ends."""

    budget: Annotated[Duration, AfterValidator(at_least(0.1, "100ms"))] = Field(
        default=25.0,
        le=3600,
        description="From SIGTERM to the end. Less than the 30s that Kubernetes grants; what is not written is read again.",
    )


class WorkersSection(Section):
    """Threads that decode and encode."""

    threads: int = Field(
        default_factory=available_cores, ge=1, le=256, description="How many; one for each core that the process may use."
    )


class UploadsSection(Section):
    """Writing to the store."""

    concurrency: int = Field(
        default=16, ge=1, le=1000, description="PUTs under way at the same time, of all partitions together."
    )


class ModelsSection(Section):
    """Model checkpoints: a directory that trainers write to. Every complete file becomes a version, see `docs/models.md`."""

    watch: OptionalText = Field(
        default=None, description="Directory to watch, such as a volume shared with the trainer. Not its sub-directories."
    )
    include: TextList = Field(
        default=MODEL_PATTERNS,
        min_length=1,
        description="Names of the files that are models, as shell patterns. Hidden and temporary files never are.",
    )
    settle: Annotated[Duration, AfterValidator(at_least(0.05, "50ms"))] = Field(
        default=5.0,
        le=3600,
        description="A file written in place is complete when it has not changed for so long; one renamed into place at once.",
    )
    poll: Annotated[Duration | None, BeforeValidator(none_if_empty), Meaning("duration")] = Field(
        default=None,
        description="Look at the directory this often instead of being notified: for network volumes (NFS, EFS, SMB), which "
        "notify of nothing. Every file must settle then.",
    )

    @model_validator(mode="after")
    def _polling_has_a_pace(self) -> Self:
        if self.poll is not None and not 0.05 <= self.poll <= 3600:
            raise ValueError("poll must be at least 50ms and at most 1h")
        return self
