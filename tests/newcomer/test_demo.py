"""The newcomer's first minute, as he spends it: one command, and then the commands that it names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


def run(command: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    """As a shell of a newcomer would: nothing of ours in the environment."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("STREAMER", "AWS", "S3_", "KAFKA"))
    }
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=110, check=False)


@pytest.mark.thorough  # `make demo` is what a change runs; it takes a while
def test_the_demo_keeps_its_promise_and_the_commands_it_names_work(tmp_path: Path) -> None:
    done = run([sys.executable, "-P", "-m", "streamer", "demo", "--seconds", "3"], tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "kill -9" in done.stderr
    assert "the daemon stopped in order, exit status 0" in done.stderr
    assert re.search(r"missing 0\s+double 0\s+foreign 0", done.stdout)
    assert "verify: sound" in done.stdout
    assert "Every record is in the lake exactly once." in done.stdout
    assert re.search(r"ticks +BTC/USDT +[\d,]+ +[1-9]", done.stdout)

    (lake,) = (tmp_path / "demo-lake").glob("*/lake")
    commands = done.stdout.partition("Where to look next:")[2].strip().splitlines()
    assert len(commands) == 3
    for command in commands:
        assert lake.parent.name in command
        looked = run(["/bin/sh", "-c", command.strip()], tmp_path)
        assert looked.returncode == 0, command + looked.stderr
        assert looked.stdout.strip(), command
