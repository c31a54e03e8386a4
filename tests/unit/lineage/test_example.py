"""`examples/lineage.py` does what it shows, on a lake in a directory."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "lineage.py"


def test_the_example_shows_the_tree_the_refusal_and_what_has_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("lineage_example", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    for _ in range(2):  # a second run finds what the first one kept
        module.main(str(tmp_path / "lake"))
        out = capsys.readouterr().out.splitlines()

        assert out[0].startswith("refused: price > 0 is false for -1")
        assert out[1].startswith("processed/features/BTC%2FUSDT/2024-01-15/")
        assert sum(line.endswith("[unchanged]") for line in out) == 5
        assert "{'p50': 43010}" in out
        assert out[-1].endswith("2024-01-15T10-00-00-000000.json is gone")
