"""Which lake the environment names."""

from __future__ import annotations

from pathlib import Path

import pytest
import structlog

from streamer import Lake
from streamer.errors import Invalid
from streamer.lake.environment import choice


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ("auto", None, "./lake")),
        ({"S3_BUCKET": "b"}, ("auto", "s3://b", "./lake")),
        ({"S3_BUCKET_NAME": "s3://b/p", "STORAGE_TYPE": "S3"}, ("s3", "s3://b/p", "./lake")),
        ({"S3_BUCKET": "b", "STORAGE_TYPE": "local", "LOCAL_STORAGE_PATH": "/x"}, ("local", "s3://b", "/x")),
        ({"STREAMER__LAKE__URL": "s3://c", "S3_BUCKET": "b"}, ("s3", "s3://c", "./lake")),
        ({"STREAMER__LAKE__URL": "/y", "S3_BUCKET": "b"}, ("local", None, "/y")),
    ],
)
def test_the_variables_say_which(environment: dict[str, str], expected: tuple[str, str | None, str]) -> None:
    chosen = choice(environment)

    assert (chosen.storage, chosen.bucket_url, chosen.local_url) == expected


def test_the_cache_is_on_unless_it_is_switched_off() -> None:
    assert choice({}).cache
    assert not choice({"ENABLE_CACHE": "False"}).cache
    chosen = choice({"ENABLE_CACHE": "1", "CACHE_DIR": "/c", "CACHE_TTL_SECONDS": "60"})
    assert (chosen.cache_folder, chosen.cache_ttl_seconds) == ("/c", 60.0)


@pytest.mark.parametrize(
    "environment",
    [
        {"STORAGE_TYPE": "s3"},
        {"STORAGE_TYPE": "gcs"},
        {"ENABLE_CACHE": "maybe"},
        {"CACHE_TTL_SECONDS": "soon"},
        {"CACHE_TTL_SECONDS": "0"},
        {"USE_STORAGE_BACKEND": "false"},
        {"S3_BUCKET": "a", "S3_BUCKET_NAME": "b"},
    ],
)
def test_what_cannot_be_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        choice(environment)


def test_auto_takes_the_directory_where_no_bucket_is_named_and_says_so(tmp_path: Path) -> None:
    structlog.reset_defaults()  # a test of a command may have decided how the whole process logs
    with structlog.testing.capture_logs() as logs, Lake.from_env({"LOCAL_STORAGE_PATH": str(tmp_path / "new")}) as lake:
        assert lake.url.endswith("/new")
    assert [(line["event"], line["reason"]) for line in logs] == [("lake_opened", "no bucket is named")]


def test_the_bucket_of_events_is_the_lake_where_no_other_is_named() -> None:
    assert choice({"AWS_S3_PULSE_BUCKET": "pulse"}).bucket_url == "s3://pulse"
    assert choice({"AWS_S3_PULSE_BUCKET": "pulse", "S3_BUCKET": "other"}).bucket_url == "s3://other"
