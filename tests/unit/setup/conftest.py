"""A moto server for the session, and a configuration that reaches it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from streamer.config import Settings, load
from tests.moto_server import moto_server

_numbers = itertools.count()


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    with moto_server() as address:
        yield address


@pytest.fixture
def bucket() -> str:
    """The name of a bucket that nobody else has."""
    return f"setup-{next(_numbers)}"


@pytest.fixture
def configured(endpoint: str, bucket: str) -> Callable[..., Settings]:
    """`configured(LIFECYCLE__CACHE="3d")`: settings for `bucket` on the server, with more `STREAMER__` variables."""

    def make(prefix: str = "", **variables: str) -> Settings:
        given = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }
        given |= {f"STREAMER__{name}": value for name, value in variables.items()}
        return load(lake=f"s3://{bucket}/{prefix}".rstrip("/"), environment=given)

    return make
