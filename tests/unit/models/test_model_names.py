"""Names of models: the rule of stem and suffix, and keys that are built and read back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.errors import Invalid
from streamer.keys import (
    MODEL_STEM,
    MODEL_SUFFIX,
    ModelVersionKey,
    model_registry_key,
    model_version_key,
    parse_model_registry_key,
    parse_model_version_key,
)
from streamer.models.name import ModelName

STEMS = st.from_regex(re.compile(MODEL_STEM, re.ASCII), fullmatch=True)
SUFFIXES = st.from_regex(re.compile(MODEL_SUFFIX, re.ASCII), fullmatch=True)


@pytest.mark.parametrize(
    ("file", "stem", "suffix"),
    [
        ("isolation_forest.pkl", "isolation_forest", ".pkl"),
        ("model.tar.gz", "model", ".tar.gz"),
        ("hmm.pkl.zst", "hmm", ".pkl.zst"),
        ("hmm.2026.01.pkl", "hmm.2026.01", ".pkl"),
        ("model.gz", "model", ".gz"),
        ("weights", "weights", ""),
        ("a.b.c.d", "a.b.c", ".d"),
        ("hmm_v3.pkl", "hmm_v3", ".pkl"),
        ("folder/net.onnx", "net", ".onnx"),
        ("net.", "net.", ""),
    ],
)
def test_a_files_name_has_one_stem_and_one_suffix(file: str, stem: str, suffix: str) -> None:
    assert ModelName.of_file(file) == ModelName(stem, suffix)


def test_a_name_may_be_given_with_or_without_the_suffix() -> None:
    assert (
        ModelName.of_file("tmp123.tar.gz", "net") == ModelName.of_file("x.tar.gz", "net.tar.gz") == ModelName("net", ".tar.gz")
    )


@given(stem=STEMS, n=st.integers(1, 10**9), suffix=SUFFIXES)
def test_a_versions_key_is_read_back_as_it_was_built(stem: str, n: int, suffix: str) -> None:
    key = model_version_key(stem, n, suffix)

    assert parse_model_version_key(key) == ModelVersionKey(stem, n, suffix)
    assert parse_model_registry_key(key) is None


@given(stem=STEMS)
def test_a_registrys_key_is_read_back_as_it_was_built(stem: str) -> None:
    assert parse_model_registry_key(model_registry_key(stem)) == stem


@given(text=st.text(max_size=40))
def test_a_name_is_kept_as_it_is_or_refused(text: str) -> None:
    try:
        name = ModelName.of_file("file.pkl", text)
    except Invalid:
        return
    assert parse_model_version_key(name.version_key(1)) == ModelVersionKey(name.stem, 1, ".pkl")
    assert name.copy_key == f"models/{name.file}"
    assert name.file.isascii()
    assert "/" not in name.file
