"""Which table, and how it is reached. Values only, so that reading a configuration does not load DynamoDB's client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

BY_TICKER = "by-ticker"
"""The global secondary index that finds the events of a ticker by their time."""


@dataclass(frozen=True, slots=True)
class TableSettings:
    """DynamoDB is asked with the AWS chain: a role, a profile, the environment."""

    table: str
    region: str | None = None
    endpoint_url: str | None = None
    request_seconds: float = 20.0


@dataclass(frozen=True, slots=True)
class IndexedStream:
    """A stream and its table. check_seconds: how often the daemon looks whether there is something to do."""

    name: str
    topic: str
    table: str
    check_seconds: float = 10.0


def table_of_environment(environment: Mapping[str, str]) -> TableSettings | None:
    """The table of `lake.events`, as the environment names it: `AWS_DYNAMODB_PULSE_TABLE`; None where it names none."""

    def text(*names: str) -> str | None:
        return next((found for name in names if (found := environment.get(name, "").strip())), None)

    table = text("STREAMER__DYNAMODB__PULSE_TABLE", "AWS_DYNAMODB_PULSE_TABLE")
    if table is None:
        return None
    region = text("STREAMER__DYNAMODB__REGION", "AWS_REGION", "AWS_DEFAULT_REGION")
    endpoint = text("STREAMER__DYNAMODB__ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL")
    return TableSettings(table, region, endpoint)
