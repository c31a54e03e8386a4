"""Known vulnerabilities in the versions that the container image pins: `make audit`.

pip-audit calls it a success when a registry knows of no vulnerability data at all and every package was skipped. Here that is
an audit that did not happen, with an exit status of its own.

Exit status: 0 none is known, 1 some are, 3 no database could be asked.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PINNED = Path(__file__).parents[2] / "deploy" / "constraints.txt"
SERVICES = ("pypi", "osv")
FOUND, NOT_ASKED = 1, 3
SECONDS = 300


@dataclass(frozen=True)
class Report:
    """What one service said. `skipped`: it knows nothing of these."""

    audited: int
    skipped: int
    vulnerabilities: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Report:
        """Of pip-audit's JSON. Raises `ValueError` where it is none."""
        found, audited, skipped = [], 0, 0
        for package in json.loads(text)["dependencies"]:
            if "skip_reason" in package:
                skipped += 1
                continue
            audited += 1
            for known in package["vulns"]:
                mended = ", ".join(known.get("fix_versions", ())) or "no version yet"
                found.append(f"{package['name']} {package['version']}: {known['id']}, mended in {mended}")
        return cls(audited, skipped, tuple(found))


def ask(service: str) -> Report | None:
    """None where the service cannot be reached."""
    command = [sys.executable, "-m", "pip_audit", "-r", str(PINNED), "--no-deps", "--disable-pip", "-s", service, "-f", "json"]
    try:
        done = subprocess.run([*command, "--progress-spinner", "off"], capture_output=True, text=True, timeout=SECONDS)
        return Report.parse(done.stdout)
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        return None


def judge(reports: dict[str, Report | None]) -> Iterator[tuple[int, str]]:
    """A status and a sentence for each service; the least status above 0 counts, unless one could be asked."""
    for service, report in reports.items():
        if report is None:
            yield NOT_ASKED, f"{service}: not reached"
        elif report.vulnerabilities:
            yield FOUND, f"{service}: " + "; ".join(report.vulnerabilities)
        elif report.audited == 0 or report.skipped:
            yield NOT_ASKED, f"{service}: knows nothing of {report.skipped} of {report.audited + report.skipped} packages"
        else:
            yield 0, f"{service}: nothing is known of {report.audited} packages"


def verdict(reports: dict[str, Report | None]) -> int:
    """1 where any service knows of a vulnerability, 0 where one knows all packages and of none, else 3."""
    statuses = [status for status, _ in judge(reports)]
    return FOUND if FOUND in statuses else 0 if 0 in statuses else NOT_ASKED


def main() -> int:
    reports = {service: ask(service) for service in SERVICES}
    for _, sentence in judge(reports):
        print(sentence)
    status = verdict(reports)
    if status == NOT_ASKED:
        print("NOT AUDITED: no vulnerability database can be asked from here; run `make audit` where one can", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
