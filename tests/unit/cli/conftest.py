"""A command line in a directory of its own, with an environment of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from command_line import Ended, Shell

from streamer.cli.main import main


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    """`shell("config", "show", S3_BUCKET="x")`: run `streamer config show` with these variables, in an empty directory."""
    for variable in list(os.environ):
        if variable.startswith(("STREAMER", "AWS_", "S3_", "KAFKA_")):
            monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **environment: str) -> Ended:
        for variable, value in environment.items():
            monkeypatch.setenv(variable, value)
        status = main(arguments)
        return Ended(status, *capsys.readouterr())

    yield run
    structlog.reset_defaults()  # a command decides how the whole process logs
