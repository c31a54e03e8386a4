"""`streamer sync` copies what differs, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lake_on_disk import build

from streamer.cli.main import main


def contents(lake: Path) -> dict[str, bytes]:
    """Every object of a lake in a directory, hidden twins with metadata included."""
    return {
        str(path.relative_to(lake)): path.read_bytes()
        for path in lake.rglob("*")
        if path.is_file() and not path.relative_to(lake).parts[0].startswith(".")
    }


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    return build(tmp_path / "from"), tmp_path / "to"


def sync(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, object]:
    assert main(["sync", *map(str, arguments), "--json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_everything_arrives_and_the_second_time_nothing_is_to_do(
    places: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    first = sync(capsys, *places)
    second = sync(capsys, *places)

    assert first["copied"] == second["same"] > 10  # type: ignore[operator]
    assert second["copied"] == 0
    source, target = contents(places[0]), contents(places[1])
    visible = {name for name in source if "/." not in name}
    assert {name: target[name] for name in visible} == {name: source[name] for name in visible}
    assert main(["verify", "--lake", str(places[1])]) == 0


def test_what_differs_is_copied_and_what_is_too_much_stays(
    places: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    sync(capsys, *places)
    changed = next(path for path in sorted(places[1].rglob("*.parquet")))
    original = changed.read_bytes()
    changed.write_bytes(b"x" * len(original))
    (places[1] / "extra.txt").write_bytes(b"mine")

    dry = sync(capsys, *places, "--dry-run", "--deep", "--delete")
    assert sorted(step["action"] for step in dry["steps"]) == ["copy", "delete"]  # type: ignore[attr-defined, index]
    assert changed.read_bytes() != original

    sync(capsys, *places, "--deep")
    assert changed.read_bytes() == original
    assert (places[1] / "extra.txt").exists()
    assert sync(capsys, *places, "--delete")["deleted"] == 1
    assert not (places[1] / "extra.txt").exists()


def test_a_prefix_narrows_it(places: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    sync(capsys, *places, "--prefix", "_streamer/layouts/")

    assert [path for path in contents(places[1]) if "/." not in path] == [
        path for path in contents(places[0]) if path.startswith("_streamer/layouts/") and "/." not in path
    ]


def test_one_place_is_no_copy(places: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sync", str(places[0]), str(places[0])]) == 2
    assert main(["sync", str(places[1]), str(places[0])]) == 2
