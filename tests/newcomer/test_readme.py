"""What the pages tell people to type is there to be typed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streamer.cli.main import build

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
FIRST_SCREEN_LINES = 30


def code_lines(page: Path) -> list[str]:
    """The lines of a page's shell blocks, without prompts and remarks."""
    blocks = re.findall(r"^```(?:sh|bash|console|shell)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ ").partition("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def spoken_commands(page: Path) -> list[str]:
    """Every `streamer ...` that a page shows, in blocks and in its sentences."""
    spans = re.findall(r"`(streamer [a-z][^`]*)`", page.read_text())
    blocks = [part.strip() for line in code_lines(page) for part in re.split(r"&&|\||;", line)]
    return [*spans, *(part for part in blocks if part.startswith("streamer "))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    named = set(re.findall(r"`make ([a-z]+)", text)) | {
        line.split()[1] for line in code_lines(page) if line.startswith("make ")
    }

    assert named <= TARGETS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    app = build()
    known = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    commands = {spoken.split()[1].strip(".,;:)") for spoken in spoken_commands(page)}

    assert {command for command in commands if re.fullmatch(r"[a-z][a-z-]*", command)} <= known


def test_both_ways_in_are_in_the_first_screen_of_the_readme() -> None:
    first_screen = "\n".join((ROOT / "README.md").read_text().splitlines()[:FIRST_SCREEN_LINES])

    for way_in in ("make demo", "make test", "docker compose up"):
        assert way_in in first_screen


def test_make_without_a_target_explains_itself_and_every_target_is_explained() -> None:
    makefile = (ROOT / "Makefile").read_text()

    assert ".DEFAULT_GOAL := help" in makefile
    explained = set(re.findall(r"^([a-z]+):.*## .+$", makefile, re.MULTILINE))
    assert explained == TARGETS


def test_the_help_page_lists_every_command_that_is_there() -> None:
    app = build()

    names = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    assert {"run", "demo", "check", "verify", "ls", "scan"} <= names
