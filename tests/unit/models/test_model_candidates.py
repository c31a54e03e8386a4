"""Which files of a watched directory are models, and when one is complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer.config.sections import MODEL_PATTERNS
from streamer.errors import Invalid
from streamer.models.candidates import Completion, Seen, ignored_among, is_temporary, models_among
from streamer.models.schema import feature_schema
from streamer.models.sidecar import read_sidecar

SECOND = 1_000_000_000


def seen(size: int, at: int, *, inode: int = 1, changed: int | None = None) -> Seen:
    return Seen(inode, size, at * SECOND, (at if changed is None else changed) * SECOND)


@pytest.mark.parametrize(
    "file",
    [".hmm.pkl", ".hmm.pkl.swp", "hmm.pkl~", "hmm.pkl.tmp", "hmm.pkl.tmp123", "hmm.tmp.pkl", "hmm.pkl.part", "~hmm.pkl",
     "hmm.pkl.tmp-a1b2", "hmm.pkl.crdownload"],
)  # fmt: skip
def test_hidden_and_temporary_files_are_no_models(file: str) -> None:
    assert is_temporary(file)
    assert models_among([file], ["*"]) == []


def test_a_name_that_only_looks_temporary_is_a_model() -> None:
    files = ["temperature.pkl", "part_2.onnx", "template.pt", "partial_model.pkl"]

    assert models_among(files, MODEL_PATTERNS) == sorted(files)


def test_models_sidecars_and_the_rest_are_told_apart() -> None:
    files = ["hmm.pkl", "hmm.json", "net.tar.gz", "net.metrics.json", "net.tar.gz.json", "alone.json", "README.md", "x.pkl.tmp"]

    assert models_among(files, MODEL_PATTERNS) == ["hmm.pkl", "net.tar.gz"]
    assert ignored_among(files, MODEL_PATTERNS) == ["README.md", "alone.json"]
    assert models_among(files, ["*.json", "*.pkl"]) == ["alone.json", "hmm.pkl", "net.metrics.json", "net.tar.gz.json"]


def test_a_file_of_which_a_rename_was_heard_is_complete_at_once_until_it_is_written() -> None:
    completion = Completion(5, trust_times=False)
    completion.look("hmm.pkl", seen(10, at=1), 100.0)
    completion.renamed("hmm.pkl")

    assert completion.look("hmm.pkl", seen(20, at=2, inode=2), 101.0) == 0.0
    completion.written("hmm.pkl")
    assert completion.look("hmm.pkl", seen(30, at=3, inode=2), 102.0) == 5.0


def test_a_file_of_which_a_write_was_heard_must_settle_whatever_its_times_say() -> None:
    completion = Completion(5)
    completion.written("hmm.pkl")

    assert completion.look("hmm.pkl", seen(10, at=1, changed=2), 100.0) == 5.0


def test_a_file_whose_status_changed_after_its_content_was_renamed() -> None:
    assert Completion(5).look("hmm.pkl", seen(10, at=1, changed=2), 100.0) == 0.0


def test_a_file_written_in_place_is_complete_when_it_is_left_alone() -> None:
    completion = Completion(5)

    assert completion.look("hmm.pkl", seen(10, at=1), 100.0) == 5.0
    assert completion.look("hmm.pkl", seen(10, at=1), 103.0) == 2.0
    assert completion.look("hmm.pkl", seen(20, at=3), 104.0) == 5.0
    assert completion.look("hmm.pkl", seen(20, at=3), 109.0) == 0.0


def test_a_change_of_mode_while_it_is_written_is_no_rename() -> None:
    completion = Completion(5)
    completion.look("hmm.pkl", seen(10, at=1), 100.0)
    completion.look("hmm.pkl", seen(20, at=2), 101.0)

    assert completion.look("hmm.pkl", seen(20, at=2, changed=3), 102.0) == 4.0


def test_an_empty_file_is_never_complete() -> None:
    completion = Completion(5)

    assert completion.look("hmm.pkl", seen(0, at=1, changed=2), 100.0) > 0
    assert completion.look("hmm.pkl", seen(0, at=1, changed=2), 900.0) > 0
    assert completion.look("hmm.pkl", seen(9, at=800), 901.0) == 5.0


def test_on_a_network_volume_every_file_must_settle() -> None:
    assert Completion(5, trust_times=False).look("hmm.pkl", seen(10, at=1, changed=2), 100.0) == 5.0


def test_another_file_under_the_name_is_judged_anew() -> None:
    completion = Completion(5)
    completion.look("hmm.pkl", seen(10, at=1), 100.0)
    completion.look("hmm.pkl", seen(20, at=2), 101.0)

    assert completion.look("hmm.pkl", seen(30, at=3, inode=2, changed=4), 102.0) == 0.0


def test_a_file_that_changed_while_it_was_sent_settles_again() -> None:
    completion = Completion(5)
    assert completion.look("hmm.pkl", seen(10, at=1, changed=2), 100.0) == 0.0
    completion.again("hmm.pkl", 101.0)

    assert completion.look("hmm.pkl", seen(12, at=3, changed=3), 101.0) == 5.0


def test_files_that_are_gone_are_forgotten() -> None:
    completion = Completion(5)
    completion.look("hmm.pkl", seen(10, at=1), 100.0)
    completion.forget(["hmm.pkl"])

    assert completion.look("hmm.pkl", seen(10, at=1), 200.0) == 5.0
    assert completion.names() == {"hmm.pkl"}


@pytest.mark.parametrize("name", ["hmm.json", "hmm.metrics.json", "hmm.pkl.json", "hmm.pkl.metrics.json"])
def test_a_sidecar_of_plain_numbers_is_all_metrics(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"auc": 0.91, "folds": [1, 2]}')

    about, path = read_sidecar(str(tmp_path / "hmm.pkl"))

    assert (dict(about.metrics), path) == ({"auc": 0.91, "folds": [1, 2]}, str(tmp_path / name))


def test_a_sidecar_may_say_more_than_metrics(tmp_path: Path) -> None:
    (tmp_path / "hmm.json").write_text(
        '{"metrics": {"auc": 1}, "tags": ["nightly"], "parent": 3, "features": ["rsi", "macd"], "framework": "sklearn"}'
    )

    about, _ = read_sidecar(str(tmp_path / "hmm.pkl"))

    assert (about.metrics, about.tags, about.parent) == ({"auc": 1}, {"nightly": ""}, 3)
    assert (about.features, about.schema) == (("rsi", "macd"), feature_schema(["rsi", "macd"]))


@pytest.mark.parametrize("body", ["", "{", "[1]", "3", '{"metrics": {"a": 1}, "features": 5}', '{"features": [1]}'])
def test_a_sidecar_that_is_none_is_refused_with_a_hint(tmp_path: Path, body: str) -> None:
    (tmp_path / "hmm.json").write_text(body)

    with pytest.raises(Invalid) as refused:
        read_sidecar(str(tmp_path / "hmm.pkl"))
    assert refused.value.hint


def test_no_sidecar_says_nothing(tmp_path: Path) -> None:
    about, path = read_sidecar(str(tmp_path / "hmm.pkl"))

    assert (about.metrics, about.schema, path) == ({}, None, None)
