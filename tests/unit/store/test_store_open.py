"""A lake's URL names its store, or says what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer.errors import Invalid
from streamer.store.directory import DirectoryStore
from streamer.store.open import open_store
from streamer.store.s3 import S3Store
from streamer.store.s3_settings import S3Settings
from streamer.testing.manual_clock import ManualClock


@pytest.mark.parametrize(
    ("url", "opened"),
    [
        ("s3://data", "s3://data"),
        ("s3://data/", "s3://data"),
        ("s3://data/a/b", "s3://data/a/b"),
        ("s3://data/a/b/", "s3://data/a/b"),
        ("s3://my.data-1/a b%2F", "s3://my.data-1/a b%2F"),
    ],
)
def test_a_bucket(url: str, opened: str) -> None:
    store = open_store(url, S3Settings(), ManualClock())

    assert isinstance(store, S3Store)
    assert store.url == opened


def test_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path))

    for url, path in [
        (f"file://{tmp_path}/lake", "lake"), (f"{tmp_path}/lake/", "lake"), ("./lake", "here/lake"), ("../lake", "lake"),
        ("~/lake", "lake"), (".", "here"),
    ]:  # fmt: skip
        store = open_store(url, S3Settings(), ManualClock())
        assert isinstance(store, DirectoryStore)
        assert store.url == f"file://{tmp_path}/{path}"


@pytest.mark.parametrize(
    "url",
    ["", "lake", "s3:/data", "s3://", "s3:///prefix", "s3://a", "s3://da ta", "s3://data//a", "s3://data/../x", "s3a://data", "gs://d",
     "file://lake", "memory://x", "s3://data/a?region=eu-west-1", "s3://data/a#b", "s3://data/a\nb"],
)  # fmt: skip
def test_anything_else_is_invalid_with_a_hint(url: str) -> None:
    with pytest.raises(Invalid) as invalid:
        open_store(url, S3Settings(), ManualClock())
    assert invalid.value.hint


def test_credentials_in_a_url_are_refused_and_not_repeated() -> None:
    with pytest.raises(Invalid) as invalid:
        open_store("s3://AKIAKEY:hush-hush@data/prefix", S3Settings(), ManualClock())
    assert "hush" not in f"{invalid.value} {invalid.value.hint}"
    assert "AKIA" not in f"{invalid.value} {invalid.value.hint}"
