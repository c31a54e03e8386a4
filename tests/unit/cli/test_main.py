"""Every end of a command is a line for people and a documented number."""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
import typer
from command_line import Shell

from streamer import __version__
from streamer.cli import main as shell_room
from streamer.errors import Damaged, Denied, Invalid, NotFound, PartitionRefused, StreamerError, Unavailable


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> list[BaseException | int | None]:
    """A command `probe` that ends as the test says."""
    outcome: list[BaseException | int | None] = [None]

    def probe(json: bool = False) -> int | None:
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return outcome[0]

    def build() -> typer.Typer:
        app = typer.Typer()
        app.command("probe")(probe)
        app.callback()(lambda: None)
        return app

    monkeypatch.setattr(shell_room, "build", build)
    return outcome


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        (None, 0),
        (0, 0),
        (5, 5),
        (Invalid("x"), 2),
        (Unavailable("x"), 3),
        (Denied("x"), 4),
        (Damaged("x"), 5),
        (PartitionRefused("x"), 6),
        (NotFound("x"), 1),
        (KeyboardInterrupt(), 130),
        (typer.Exit(4), 4),
        (ExceptionGroup("both", [Unavailable("x"), Denied("y")]), 3),
    ],
)
def test_each_ending_has_its_status(
    shell: Shell, command: list[BaseException | int | None], ending: BaseException | int | None, status: int
) -> None:
    command[0] = ending
    ended = shell("probe")

    assert ended.status == status
    assert "Traceback" not in ended.err


def test_an_error_is_one_line_and_its_hint(shell: Shell, command: list[BaseException | int | None]) -> None:
    command[0] = Denied("the store refused", hint="grant s3:PutObject", bucket="b")

    assert shell("probe").err == "error: the store refused bucket=b\n  hint: grant s3:PutObject\n"


def test_with_json_an_error_is_an_object_on_standard_error(shell: Shell, command: list[BaseException | int | None]) -> None:
    command[0] = Denied("the store refused", hint="grant s3:PutObject", bucket="b")
    ended = shell("probe", "--json")

    assert ended.out == ""
    assert json.loads(ended.err) == {
        "error": {
            "kind": "Denied",
            "message": "the store refused",
            "hint": "grant s3:PutObject",
            "context": {"bucket": "b"},
            "exit_code": 4,
        }
    }


@pytest.mark.parametrize(
    "bug", [ZeroDivisionError("by zero"), StreamerError("impossible"), ExceptionGroup("x", [ValueError("y")])]
)
def test_a_bug_shows_its_traceback_and_how_to_report_it(
    shell: Shell, command: list[BaseException | int | None], bug: BaseException
) -> None:
    command[0] = bug
    ended = shell("probe")

    assert ended.status == 1
    assert "Traceback" in ended.err
    assert f"this is a bug in streamer {__version__}" in ended.err
    assert "please report it" in ended.err


def test_a_reader_that_has_gone_is_not_success(shell: Shell, command: list[BaseException | int | None]) -> None:
    stdout, stderr = sys.stdout, sys.stderr
    command[0] = BrokenPipeError(32, "Broken pipe")
    status = shell("probe").status
    sys.stdout, sys.stderr = stdout, stderr  # typer has silenced both

    assert status == 141


def test_the_version_is_the_packages(shell: Shell) -> None:
    assert shell("--version").out == f"streamer {__version__}\n"


def test_a_command_that_is_not_there_is_a_usage_error_with_a_suggestion(shell: Shell) -> None:
    ended = shell("chek")

    assert ended.status == 2
    assert ended.err.startswith("error: no such command 'chek'")
    assert "check" in ended.err
    assert "hint: see `streamer --help`" in ended.err


def test_an_option_that_is_not_there_is_told_to_scripts_as_json(shell: Shell) -> None:
    ended = shell("check", "--jason", "--json")

    assert ended.status == 2
    assert json.loads(ended.err)["error"]["kind"] == "Invalid"


def test_without_a_command_the_help_is_shown(shell: Shell) -> None:
    ended = shell()

    assert ended.status == 2
    assert "Commands:" in ended.err


def _paths(app: typer.Typer) -> Iterator[list[str]]:
    for registered in app.registered_commands:
        yield [str(registered.name)]
    for group in app.registered_groups:
        assert group.typer_instance is not None
        for path in _paths(group.typer_instance):
            yield [str(group.name), *path]


def test_every_command_has_an_example_and_its_exit_status(shell: Shell) -> None:
    paths = list(_paths(shell_room.build()))
    pages = {" ".join(path): shell(*path, "--help").out for path in paths}

    assert {"run", "check", "init", "config show"} <= set(pages)
    assert [name for name, page in pages.items() if "Example:" not in page or "Exit status:" not in page] == []


def test_help_loads_nothing_heavy() -> None:
    heavy = ["pyarrow", "aiokafka", "aiobotocore", "botocore", "aiohttp", "pydantic", "rich.console"]
    code = (
        f"import sys; from streamer.cli.main import main; main(['--help']); print([m for m in {heavy!r} if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert ended.stdout.splitlines()[-1] == "[]"


def test_every_module_of_the_list_registers_its_commands() -> None:
    there = [name for name in shell_room.COMMANDS if importlib.util.find_spec(f"streamer.cli.{name}") is not None]

    assert there
    for name in there:
        app = typer.Typer()
        importlib.import_module(f"streamer.cli.{name}").register(app)
        assert app.registered_commands or app.registered_groups
