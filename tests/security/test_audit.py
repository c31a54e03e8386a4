"""The audit of dependencies does not take silence for health."""

from __future__ import annotations

import json

import pytest

from tests.security.audit import FOUND, NOT_ASKED, PINNED, Report, verdict

SOUND = {"name": "a", "version": "1", "vulns": []}
HURT = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
UNKNOWN = {"name": "c", "skip_reason": "Dependency not found on PyPI and could not be audited: c (1)"}


def report(*packages: object) -> Report:
    return Report.parse(json.dumps({"dependencies": packages, "fixes": []}))


@pytest.mark.parametrize(
    ("pypi", "osv", "status"),
    [
        (report(SOUND), report(SOUND), 0),
        (report(SOUND), None, 0),
        (report(UNKNOWN), report(SOUND), 0),
        (report(SOUND, HURT), report(SOUND), FOUND),
        (None, report(UNKNOWN, HURT), FOUND),
        (report(UNKNOWN), None, NOT_ASKED),
        (report(SOUND, UNKNOWN), None, NOT_ASKED),
        (report(), report(), NOT_ASKED),
        (None, None, NOT_ASKED),
    ],
)
def test_only_a_service_that_knows_every_package_says_that_nothing_is_known(
    pypi: Report | None, osv: Report | None, status: int
) -> None:
    assert verdict({"pypi": pypi, "osv": osv}) == status


def test_a_finding_names_the_version_that_mends_it() -> None:
    assert report(HURT).vulnerabilities == ("b 2: PYSEC-1, mended in 3",)


def test_what_is_audited_is_what_the_image_installs() -> None:
    pins = [line for line in PINNED.read_text().splitlines() if line and not line.startswith("#")]

    assert len(pins) > 20
    assert all("==" in pin for pin in pins)
