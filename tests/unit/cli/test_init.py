"""`streamer init`, on a directory."""

from __future__ import annotations

import io
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Shell

from tests.moto_server import moto_server


def test_with_yes_the_place_is_created_and_the_second_time_left_alone(shell: Shell, tmp_path: Path) -> None:
    first = shell("init", "--yes", "--json", "--lake", "./deep/lake")
    (tmp_path / "deep/lake/kept").write_text("x")
    second = shell("init", "--yes", "--json", "--lake", "./deep/lake")

    assert (first.status, second.status) == (0, 0)
    assert (tmp_path / "deep/lake").is_dir()
    said = [(json.loads(ended.out)["existed"], json.loads(ended.out)["created"]) for ended in (first, second)]
    assert said == [(False, True), (True, False)]
    assert (tmp_path / "deep/lake/kept").read_text() == "x"


def test_a_dry_run_creates_nothing(shell: Shell, tmp_path: Path) -> None:
    ended = shell("init", "--dry-run", "--lake", "./lake")

    assert ended.status == 0
    assert "would be made" in ended.out
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize(("answer", "status", "there"), [("y\n", 0, True), ("n\n", 2, False), ("", 2, False)])
def test_without_yes_it_asks(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, status: int, there: bool
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    ended = shell("init", "--lake", "./lake")

    assert ended.status == status
    assert "Make these changes?" in ended.err
    assert (tmp_path / "lake").exists() is there


def test_without_a_lake_the_variables_are_named(shell: Shell) -> None:
    ended = shell("init", "--yes")

    assert ended.status == 2
    assert "S3_BUCKET_NAME" in ended.err


@pytest.fixture
def s3_endpoint() -> Iterator[str]:
    with moto_server() as address:
        yield address


@pytest.mark.parametrize(("region", "constraint"), [("us-east-1", ""), ("eu-west-1", "eu-west-1")])
def test_a_bucket_is_created_in_the_configured_region(shell: Shell, s3_endpoint: str, region: str, constraint: str) -> None:
    aws = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_ENDPOINT_URL": s3_endpoint, "AWS_REGION": region}
    bucket = f"init-{region}"
    endings = [shell("init", "--yes", "--json", "--lake", f"s3://{bucket}/prefix", **aws) for _ in range(2)]

    assert [ended.status for ended in endings] == [0, 0]
    assert [json.loads(ended.out)["existed"] for ended in endings] == [False, True]
    with urllib.request.urlopen(f"{s3_endpoint}/{bucket}?location", timeout=10) as answer:
        assert (constraint or "LocationConstraint") in answer.read().decode()
