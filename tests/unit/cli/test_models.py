"""`streamer models`: what an operator and a script see of the versions of a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import Ended, Shell

pytestmark = pytest.mark.usefixtures("lake")


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "lake").mkdir()
    return tmp_path / "lake"


@pytest.fixture
def models(shell: Shell) -> Shell:
    """`models("list")`: run `streamer models list` on the lake."""

    def run(*arguments: str, **environment: str) -> Ended:
        return shell("models", *arguments, "--lake", "./lake", **environment)

    return run


def told(ended: Ended) -> Any:
    assert ended.status == 0, ended.err
    return json.loads(ended.out)


def push(models: Shell, content: str, *arguments: str, file: str = "hmm.pkl") -> dict[str, Any]:
    Path(file).write_text(content)
    body = told(models("push", file, *arguments, "--json"))
    assert isinstance(body, dict)
    return body


def test_push_list_show_and_pull_tell_the_same_story(models: Shell) -> None:
    first = push(models, "one", "--metrics", '{"auc": 0.5}', "--tag", "nightly", "--tag", "team=quants", "--feature", "rsi")
    again = push(models, "one")
    Path("hmm.json").write_text('{"auc": 0.75}')
    second = push(models, "two", "--parent", "1")

    assert (first["n"], first["created_now"], again["n"], again["created_now"]) == (1, True, 1, False)
    assert (first["metrics"], first["tags"], first["features"]) == ({"auc": 0.5}, {"nightly": "", "team": "quants"}, ["rsi"])
    assert (second["n"], second["metrics"], second["parent"], second["aliases"]) == (2, {"auc": 0.75}, 1, ["latest"])
    (listed,) = told(models("list", "--json"))["models"]
    assert (listed["name"], listed["file"], listed["versions"], listed["aliases"]) == ("hmm", "hmm.pkl", 2, {"latest": 2})
    shown = told(models("show", "hmm", "--json"))
    assert [version["n"] for version in shown["versions"]] == [1, 2]
    assert [(move["alias"], move["from"], move["to"]) for move in shown["history"]] == [("latest", None, 1), ("latest", 1, 2)]
    assert told(models("show", "hmm", "1", "--json"))["sha256"] == first["sha256"]
    pulled = told(models("pull", "hmm", "out/model.pkl", "--version", "1", "--json"))
    assert (pulled["n"], pulled["from_cache"], Path("out/model.pkl").read_text()) == (1, False, "one")
    assert told(models("pull", "hmm", "out", "--version", "1", "--json"))["from_cache"]
    assert Path("out/hmm.pkl").read_text() == "one"


def test_people_get_tables_and_lines(models: Shell) -> None:
    assert models("list").status == 0
    push(models, "one")
    Path("hmm.pkl").write_text("two")

    assert models("push", "hmm.pkl", "--metrics", '{"auc": 0.9}').out.startswith("pushed: hmm version 2, 3 bytes, sha256 ")
    assert models("push", "hmm.pkl").out.startswith("nothing to push")
    assert models("list").out.splitlines()[1].startswith("hmm\thmm.pkl\t2\t6\t")
    assert "auc=0.9" in models("show", "hmm").out
    assert models("promote", "hmm", "1", "production").out == "hmm: production points to version 1\n"
    assert "fetched" in models("pull", "hmm", "x.pkl", "--no-cache").out


def test_promote_rollback_and_history(models: Shell) -> None:
    for content in ("one", "two"):
        push(models, content)

    for version in ("1", "2"):
        told(models("promote", "hmm", version, "production", "--reason", "because", "--who", "ops", "--json"))
    back = told(models("rollback", "hmm", "production", "--json"))

    assert (back["alias"], back["version"]) == ("production", 1)
    history = told(models("show", "hmm", "--moves", "3", "--json"))["history"]
    assert [(move["who"], move["from"], move["to"], move["reason"]) for move in history[:2]] == [
        ("ops", None, 1, "because"),
        ("ops", 1, 2, "because"),
    ]


def test_diff_shows_the_change_of_each_metric(models: Shell) -> None:
    push(models, "one", "--metrics", '{"auc": 0.5, "loss": 3}')
    push(models, "two!", "--metrics", '{"auc": 0.75, "depth": 4}')

    lines = {line["field"]: line for line in told(models("diff", "hmm", "1", "latest", "--json"))["differences"]}

    assert (lines["metrics.auc"]["change"], lines["metrics.loss"]["second"], lines["size"]["change"]) == (0.25, None, 1)
    assert "metrics.auc\t0.5\t0.75\t0.25" in models("diff", "hmm", "1", "2").out
    assert told(models("diff", "hmm", "2", "2", "--json"))["differences"] == []


def test_prune_shows_first_and_removes_only_when_told(models: Shell, lake: Path) -> None:
    for number in range(5):
        push(models, f"content {number}")
    told(models("promote", "hmm", "1", "production", "--json"))

    shown = told(models("prune", "--keep", "2", "--json"))
    assert (shown["dry_run"], shown["models"][0]["versions"], shown["models"][0]["removed"]) == (True, [2, 3], False)
    assert "add --yes" in models("prune", "--keep", "2").err
    assert len(list((lake / "models/versions").iterdir())) == 5
    models("prune", "hmm", "--keep", "2", "--yes")

    assert sorted(path.name for path in (lake / "models/versions").iterdir()) == ["hmm_v1.pkl", "hmm_v4.pkl", "hmm_v5.pkl"]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("show", "none"), 2),
        (("show", "hmm", "9"), 2),
        (("pull", "hmm", "x.pkl", "--version", "production"), 2),
        (("pull", "hmm", "x.pkl", "--expect-schema", "abc"), 2),
        (("promote", "hmm", "1", "latest"), 2),
        (("rollback", "hmm", "latest"), 2),
        (("push", "none.pkl"), 2),
        (("push", "hmm.pkl", "--metrics", "{"), 2),
        (("push", "hmm.pkl", "--name", "a/b"), 2),
    ],
)
def test_what_cannot_be_done_says_what_to_do(models: Shell, arguments: tuple[str, ...], status: int) -> None:
    push(models, "one")

    ended = models(*arguments)

    assert ended.status == status
    assert "hint:" in ended.err


def test_damage_has_a_status_of_its_own_and_a_way_out(models: Shell, shell: Shell, lake: Path) -> None:
    push(models, "one")
    push(models, "two")
    assert shell("verify", "--models", "--lake", "./lake").out == "sound: 1 models, 2 versions, 9 bytes, 0 findings\n"
    (lake / "models/versions/hmm_v2.pkl").write_text("TWO")
    (lake / "models/hmm.pkl").unlink()

    pulled = models("pull", "hmm", "x.pkl")
    verified = shell("verify", "--models", "--lake", "./lake", "--json")

    assert (pulled.status, verified.status) == (5, 5)
    assert not Path("x.pkl").exists()
    assert {finding["kind"] for finding in json.loads(verified.out)["findings"]} == {"version_wrong", "copy_missing"}
    assert models("repair").status == 5
    (lake / "models/versions/hmm_v2.pkl").unlink()
    push(models, "two")
    assert models("repair").status == 0
    assert shell("verify", "--models", "--lake", "./lake").status == 0


def test_a_damaged_registry_does_not_hide_the_others(models: Shell, shell: Shell, lake: Path) -> None:
    push(models, "one")
    push(models, "one", file="net.pt")
    (lake / "models/registry/hmm.json").write_text("{")

    ended = models("list", "--json")

    assert ended.status == 5
    assert [model["name"] for model in json.loads(ended.out)["models"]] == ["net"]
    assert models("show", "hmm").status == 5
    told_ = shell("verify", "--models", "--quick", "--lake", "./lake")
    assert (told_.status, "FOUND    registry_damaged  models/registry/hmm.json" in told_.out) == (5, True)


def test_an_unsigned_model_is_refused_with_a_key(models: Shell) -> None:
    push(models, "one")

    refused = models("pull", "hmm", "x.pkl", STREAMER_MODEL_KEY="hunter2")

    assert refused.status == 4
    assert "hunter2" not in refused.out + refused.err
    push(models, "one")
    assert models("pull", "hmm", "x.pkl").status == 0


def test_verify_of_models_has_no_days(shell: Shell) -> None:
    assert shell("verify", "--models", "--date", "2026-01-01", "--lake", "./lake").status == 2
