"""The example about order books is run as it is shown: its own broker, the real daemon, and what it prints is true."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from streamer import Lake

EXAMPLE = Path(__file__).parents[2] / "examples" / "order_books.py"


def test_the_example_of_order_books_says_what_is_in_its_lake(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("STREAMER", "AWS", "S3_", "KAFKA"))
    }
    command = [sys.executable, str(EXAMPLE), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    first, second, *symbols = done.stdout.splitlines()
    assert first.startswith("BTCUSDT: 200 books")
    assert second == "crossed: 4"
    assert [(row["symbol"], row["books"]) for row in map(ast.literal_eval, symbols)] == [("BTCUSDT", 196), ("ETH/USDT", 200)]
    with Lake.open(str(tmp_path / "lake"), cache=None) as lake:
        rows = lake.scan("orderbooks").to_pylist()
    assert len(rows) == 400
    assert all(len(row["bids"]) == len(row["asks"]) == 10 for row in rows)
    assert all((row["bids"][0]["price"] > row["asks"][0]["price"]) == (row["_flags"] == "crossed") for row in rows)
    assert {row["extra"] for row in rows} == {None}
