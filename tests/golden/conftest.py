"""Golden files: bytes that the lake promised. `pytest tests/golden --bless` accepts what the code makes now.

A blessed change is a change of the format. Ask first whether rows or keys that are in somebody's lake already would still be
found and read, whether `layout.CODE_REVISION` must be raised, and write it into docs/layout.md.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from golden_files import Golden


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="accept what the code makes now as the golden files")


@pytest.fixture(scope="session")
def golden(request: pytest.FixtureRequest) -> Golden:
    # The option is unknown where this conftest was not loaded at start, that is in a run of the whole suite.
    return Golden(Path(__file__).parent, bool(request.config.getoption("bless", default=False)))
