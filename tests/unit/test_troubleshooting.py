"""The pages for people in trouble are complete: every kind of error, every warning, every message."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import streamer
from streamer.error_catalogue import kinds, page, rows
from streamer.errors import StreamerError
from streamer.log_events import LogEvent

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/troubleshooting.md").read_text()
LOUD = ("warning", "error", "exception", "critical")


def loud_events() -> set[str]:
    """Every event that is logged as a warning or worse somewhere."""
    found = set()
    for path in (ROOT / "streamer").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOUD and node.args:
                found |= {LogEvent[name] for name in re.findall(r"LogEvent\.([A-Z_]+)", ast.unparse(node.args[0]))}
    return found


def every_class() -> dict[str, type[StreamerError]]:
    for module in pkgutil.walk_packages(streamer.__path__, "streamer."):
        if "embedded" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, waiting = {}, [StreamerError]
    while waiting:
        kind = waiting.pop()
        found[kind.__name__] = kind
        waiting += kind.__subclasses__()
    return {name: kind for name, kind in found.items() if kind.__module__.startswith("streamer.")}


def test_the_page_of_messages_is_the_one_that_the_code_makes() -> None:
    assert (ROOT / "docs/errors.md").read_text() == page(), "run `make docs`"


def test_the_catalogue_finds_every_class_of_error() -> None:
    assert set(kinds()) == set(every_class())


def test_every_kind_of_error_has_its_row_with_its_exit_status() -> None:
    told = dict(re.findall(r"^\| `([A-Z]\w+)` \| (\d+) \|", TEXT, re.MULTILINE))

    assert told == {name: str(kind.exit_code) for name, kind in every_class().items()}


def test_every_warning_has_its_row_and_no_row_is_of_something_else() -> None:
    section = TEXT.partition("## Log events")[2].partition("\n## ")[0]
    told = re.findall(r"^\| `([a-z_]+)` \|", section, re.MULTILINE)

    assert set(told) == {str(event) for event in loud_events()}
    assert told == sorted(told)


def test_every_exit_status_is_told() -> None:
    told = set(re.findall(r"^\| (\d+) \|", TEXT.partition("## Exit status")[2], re.MULTILINE))

    assert {str(kind.exit_code) for kind in every_class().values()} | {"0", "130", "141"} == told


@pytest.mark.parametrize("kind", ["Invalid", "Denied", "Unavailable", "PartitionRefused"])
def test_errors_of_these_kinds_tell_the_next_step(kind: str) -> None:
    """A few are made by code that adds the hint; those that say nothing at all are bugs of wording."""
    silent = [row for row in rows() if row.kind == kind and not row.hint]

    assert len(silent) <= 6, silent


def test_the_catalogue_reads_hints_that_are_put_together() -> None:
    found = {row.message: row for row in rows()}

    row = found["there is no such secret in …"]
    assert (row.room, row.kind) == ("secrets", "Invalid")
    assert "secrets.region" in row.hint


def test_links_of_the_page_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([a-z-]+\.md)(?:#[a-z-]+)?\)", TEXT):
        assert (ROOT / "docs" / target).is_file(), target
