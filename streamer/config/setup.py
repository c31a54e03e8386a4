"""The sections about what is made before the daemon runs: the bucket, its lifecycle rules, topics; and where secrets live.

The daemon itself reads only `[secrets]`; `streamer init` and `streamer plan` read the others.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from streamer.config.sections import OptionalText, Section, check_endpoint_url
from streamer.config.stream import check_table
from streamer.config.values import Duration, Meaning, TextList, at_least, none_if_empty

DAY_SECONDS = 86_400.0
LEAST_INFREQUENT_DAYS = 30
"""S3 moves nothing to STANDARD_IA sooner, and nothing on from there within another thirty days."""

NEEDED = (
    "_streamer/",
    "state/",
    "models/",
    "archive/",
    "daily-summaries/",
    "raw/",
    "ticks/",
    "ohlcv/",
    "features/",
    "signals/",
    "orderbooks/",
    "streams/",
)
"""What the daemon, `streamer verify` or an engine at boot reads at any time: it has to stay where a GET answers at once."""

_PREFIX = re.compile(r"[A-Za-z0-9._=/-]{1,500}/", re.ASCII)


def whole_days(value: float | None) -> float | None:
    """S3 counts in days. Raises `ValueError`."""
    if value is not None and (value % DAY_SECONDS or value < DAY_SECONDS):
        raise ValueError("S3 counts in whole days: write 30d, 90d or 365d")
    return value


def cold_prefixes(value: tuple[str, ...]) -> tuple[str, ...]:
    """Folders that may be moved out of reach by their age alone. Raises `ValueError` for one that something still reads."""
    for prefix in value:
        if not _PREFIX.fullmatch(prefix):
            raise ValueError('a prefix is a folder of the lake such as "backups/", and ends in /')
        for needed in NEEDED:
            if prefix.startswith(needed) or needed.startswith(prefix):
                raise ValueError(f"{prefix} cannot be moved to GLACIER by age: below {needed} is read at any time")
    return value


Days = Annotated[Annotated[Duration, AfterValidator(whole_days)] | None, BeforeValidator(none_if_empty), Meaning("duration")]


class BucketSection(Section):
    """The bucket as `streamer init` makes it. Its encryption is that of `[lake]`, `AES256` where nothing is set there."""

    block_public_access: bool = Field(default=True, description="Nothing in the bucket can be made public.")
    versioning: bool = Field(
        default=True,
        description="Overwritten and deleted objects stay for `lifecycle.old_versions`: the way back from a mistake.",
    )


class LifecycleSection(Section):
    """Rules of the bucket that `streamer init` sets, counted from an object's writing. Rules of others are left alone."""

    enabled: bool = Field(default=True, description="Whether `streamer init` sets any.")
    infrequent_after: Days = Field(
        default=30 * DAY_SECONDS,
        description="To STANDARD_IA: data files, dead letters and closed days. They are read as before, at a price per read.",
    )
    glacier_after: Days = Field(
        default=90 * DAY_SECONDS,
        description="To GLACIER, where nothing reads them without a restore: objects below `cold`, and raw files of certified "
        "days that `streamer mark-cold` has tagged.",
    )
    deep_archive_after: Days = Field(default=365 * DAY_SECONDS, description="From there to DEEP_ARCHIVE.")
    cold: Annotated[TextList, AfterValidator(cold_prefixes)] = Field(
        default=(), description='Folders that nothing of streamer reads again, such as `["backups/", "logs/"]`.'
    )
    cache: Days = Field(default=7 * DAY_SECONDS, description="Objects below `cache/` are deleted.")
    old_versions: Days = Field(
        default=30 * DAY_SECONDS,
        description="Versions that were overwritten or deleted are removed for good. Those below `_streamer/` and `state/`, "
        "which change with every batch, after a day.",
    )
    uploads: Days = Field(default=7 * DAY_SECONDS, description="Parts of uploads that were never completed are removed.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        steps = [self.infrequent_after, self.glacier_after, self.deep_archive_after]
        names = ["infrequent_after", "glacier_after", "deep_archive_after"]
        given = [(name, days) for name, days in zip(names, steps, strict=True) if days is not None]
        for (earlier, first), (later, second) in pairwise(given):
            if second <= first:
                raise ValueError(f"{later} must be more than {earlier}")
        if self.infrequent_after is not None and self.infrequent_after < LEAST_INFREQUENT_DAYS * DAY_SECONDS:
            raise ValueError("infrequent_after must be at least 30d: S3 moves nothing to STANDARD_IA sooner")
        if (
            self.infrequent_after is not None
            and self.glacier_after is not None
            and self.glacier_after - self.infrequent_after < LEAST_INFREQUENT_DAYS * DAY_SECONDS
        ):
            raise ValueError("glacier_after must be at least 30d more than infrequent_after: S3 demands it")
        return self


class TopicsSection(Section):
    """The topics that `streamer init` creates where they are missing. The daemon never creates one."""

    partitions: int = Field(default=6, ge=1, le=10_000, description="Of a new topic: at most so many replicas share its work.")
    replication: int = Field(
        default=-1, ge=-1, le=100, description="Copies of each partition of a new topic; -1 leaves it to the brokers."
    )
    retention: Annotated[
        Annotated[Duration, AfterValidator(at_least(60, "1m"))] | None, BeforeValidator(none_if_empty), Meaning("duration")
    ] = Field(
        default=None,
        description="How long Kafka keeps the records of a new topic: longer than the daemon may ever be down. The brokers' "
        "own where not set.",
    )


class SecretsSection(Section):
    """AWS Secrets Manager, where `s3.credentials` or `kafka.credentials` name a secret. It is asked with the AWS chain."""

    region: OptionalText = Field(
        default=None, description="Where the secrets are; that of an ARN, else `s3.region`, where not set."
    )
    endpoint_url: Annotated[str | None, BeforeValidator(none_if_empty), AfterValidator(check_endpoint_url), Meaning("text")] = (
        Field(default=None, description="Another server that speaks its language, such as a VPC endpoint.")
    )
    refresh: Annotated[Duration, AfterValidator(at_least(1, "1s"))] = Field(
        default=300.0,
        le=86_400,
        description="Read the secret again this often, and at once where a service refuses what it said.",
    )


class DynamoSection(Section):
    """DynamoDB, where streams or `lake.events` are indexed there. It is asked with the AWS chain."""

    region: OptionalText = Field(default=None, description="Where the tables are; `s3.region` where not set.")
    endpoint_url: Annotated[str | None, BeforeValidator(none_if_empty), AfterValidator(check_endpoint_url), Meaning("text")] = (
        Field(default=None, description="Another server that speaks its language, such as DynamoDB Local.")
    )
    pulse_table: Annotated[str | None, BeforeValidator(none_if_empty), AfterValidator(check_table), Meaning("text")] = Field(
        default=None, description="The table of `lake.events`, and of streams of the schema `pulse` that name none themselves."
    )
    recovery: bool = Field(
        default=True,
        description="`streamer init` switches point-in-time recovery of the tables on; it costs by their size.",
    )
