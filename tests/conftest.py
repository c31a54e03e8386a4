"""What all tests share: properties are examined without a stop-watch, because a machine under load is no defect, and no test
inherits what another did to the process."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

from streamer import logs

settings.register_profile("streamer", deadline=None)
settings.load_profile("streamer")


@pytest.fixture(autouse=True)
def _nobody_elses_logging() -> Iterator[None]:
    """A command that a test runs in its own process configures the logging of that process: the next test has its own."""
    yield
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    logs._learned.clear()
    logs._redaction = logs.Redaction(())
