"""`streamer bundles`: what an operator and a script see of bundles."""

from __future__ import annotations

import json
from pathlib import Path
from zipfile import ZipFile

import pytest
from command_line import Ended, Shell


@pytest.fixture
def bundles(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """`bundles("list")`: run `streamer bundles list` on a lake."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "lake").mkdir()

    def run(*arguments: str, **environment: str) -> Ended:
        return shell("bundles", *arguments, "--lake", "./lake", **environment)

    return run


def make(content: str) -> None:
    Path("libs").mkdir(exist_ok=True)
    Path("libs/tool.py").write_text(content)


def test_push_load_list_roll_back_and_check_tell_the_same_story(bundles: Shell) -> None:
    make("one")
    assert json.loads(bundles("push", "libs", "--tag", "py311", "--json").out)["n"] == 1
    make("two")
    assert bundles("push", "libs").out.startswith("version 2, ")

    loaded = bundles("load", "libs", "to")
    assert loaded.status == 0
    assert Path(loaded.out.strip(), "tool.py").read_text() == "two"
    assert json.loads(bundles("load", "libs", "to", "--json").out)["fetched"] is False
    assert bundles("promote", "libs", "1", "production").out == "production of libs is version 1\n"
    assert bundles("rollback", "libs", "latest").out == "latest of libs is version 1\n"
    assert Path(bundles("load", "libs", "to").out.strip(), "tool.py").read_text() == "one"
    (listed,) = json.loads(bundles("list", "--json").out)["bundles"]
    assert (listed["name"], listed["versions"], listed["aliases"]) == ("libs", 2, {"latest": 1, "production": 1})
    assert bundles("list").out.splitlines()[1].startswith("libs\tlibs.zip\t2\t")
    assert [version["tags"] for version in json.loads(bundles("show", "libs", "--json").out)["versions"]] == [{"py311": ""}, {}]
    assert "latest, production" in bundles("show", "libs").out
    assert json.loads(bundles("check", "--json").out)["versions"] == 2
    assert bundles("repair").out == "0 versions taken in, 0 copies written, 0 uploads aborted\n"


def test_prune_shows_first_and_removes_with_yes(bundles: Shell) -> None:
    for content in ("one", "two", "three"):
        make(content)
        bundles("push", "libs")

    assert bundles("prune", "libs", "--keep", "1").out == "bundles/versions/libs_v1.zip\n"
    assert Path("lake/bundles/versions/libs_v1.zip").exists()
    assert bundles("prune", "libs", "--keep", "1", "--yes").status == 0
    assert not Path("lake/bundles/versions/libs_v1.zip").exists()
    assert bundles("prune", "libs", "--keep", "1").out == "nothing to remove\n"


def test_damage_is_found_and_an_evil_archive_refused(bundles: Shell) -> None:
    make("one")
    bundles("push", "libs")
    Path("lake/bundles/versions/libs_v1.zip").write_bytes(b"other")
    with ZipFile("evil.zip", "w") as archive:
        archive.writestr("../evil.py", "")

    found = bundles("check")
    assert found.status == 5
    assert "version_wrong  bundles/versions/libs_v1.zip" in found.out
    refused = bundles("push", "evil.zip")
    assert refused.status == 2
    assert "leads out of the archive" in refused.err
    assert bundles("load", "nobody", "to").status == 2


def test_a_damaged_registry_does_not_hide_the_others(bundles: Shell) -> None:
    make("one")
    bundles("push", "libs")
    bundles("push", "libs", "--name", "other")
    Path("lake/bundles/registry/other.json").write_text("{}")

    listed = bundles("list")

    assert listed.status == 5
    assert listed.out.splitlines()[1].startswith("libs\t")
    assert "streamer bundles repair" in listed.err
