"""What is published holds what it must, and nothing else."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    return zipfile.ZipFile(built)


def test_the_wheel_holds_every_module_and_no_test(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())

    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "streamer").rglob("*.py")}
    assert modules <= names
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"streamer"}


def test_the_wheel_says_that_it_is_typed_and_carries_its_licence(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()

    assert "streamer/py.typed" in names
    (licence,) = [name for name in names if name.endswith("licenses/LICENSE")]
    assert "Apache License" in wheel.read(licence).decode()


def test_the_wheel_installs_the_command(wheel: zipfile.ZipFile) -> None:
    (entry_points,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]

    assert "streamer = streamer.cli.main:main" in wheel.read(entry_points).decode()
