"""Under `-m thorough` every test of this folder runs, with many more examples; else every test runs quickly."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import profile

HERE = Path(__file__).parent
LONG_SECONDS = 900


def _is_long(config: pytest.Config) -> bool:
    return config.getoption("-m") == "thorough"


def pytest_configure(config: pytest.Config) -> None:
    if _is_long(config):
        profile.choose_long()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if _is_long(config):
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.thorough)
                item.add_marker(pytest.mark.timeout(LONG_SECONDS))
