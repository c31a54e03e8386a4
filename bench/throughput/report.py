"""Figures as the tables and the plot of docs/performance.md. Medians of the rounds; ratios of medians."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench.throughput.freshness import CUT_AGE_SECONDS, Freshness
from bench.throughput.growth import Grown
from bench.throughput.processes import Run

BEGIN_MARK, END_MARK = "<!-- bench: begin -->", "<!-- bench: end -->"
LIMIT = "fetch and drop, batches"
OURS, OURS_DATE = "streamer, symbol and date", "streamer, date"
HAND, QUIX = "by hand, symbol and date", "Quix Streams, its own folders"
MIB = 2**20
BUDGET_MIB = 256


@dataclass(slots=True)
class Results:
    """Everything that one `make bench` found."""

    command: str
    runs: Mapping[str, Sequence[Run]]
    freshness: Freshness | None = None
    growth: Sequence[Grown] = ()
    scaling: Mapping[int, tuple[float, float, int]] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def rate(self, name: str) -> float:
        """Median records a second."""
        return median(run.rate for run in self.runs[name])

    def cpu(self, name: str) -> float:
        """Median CPU seconds for a million records."""
        return median(run.cpu_per_million for run in self.runs[name])

    def peak(self, name: str) -> float:
        """Median peak memory in MiB."""
        return median(run.peak_bytes for run in self.runs[name]) / MIB


def tables(results: Results) -> str:
    """Markdown, to stand between the markers."""
    parts = [_head(results), _contest(results), _targets(results)]
    if results.freshness is not None:
        parts.append(_freshness(results.freshness))
    if results.growth:
        parts.append(_growth(results.growth))
    if results.scaling:
        parts.append(_scaling(results.scaling))
    return "\n\n".join([*parts, *results.notes])


def _head(results: Results) -> str:
    cores = len(os.sched_getaffinity(0))
    rounds = max(len(runs) for runs in results.runs.values())
    return (
        f"Made by `{results.command}` on {datetime.now(UTC):%Y-%m-%d}: {cores} cores, Python {platform.python_version()},"
        f" {rounds} rounds, medians. The broker and the S3 server run on the same cores, so records a second are those of"
        " all together; CPU is that of the contestant alone."
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _contest(results: Results) -> str:
    head = ["", "k records/s", "MB/s", "CPU s per million", "× the limit's CPU", "of the limit's rate", "peak MiB", "objects"]
    rows = []
    for name, runs in results.runs.items():
        rate, cpu = results.rate(name), results.cpu(name)
        each = median(run.facts["record_bytes"] for run in runs)
        objects = median(run.facts["objects"] for run in runs)
        rows.append(
            [name, f"{rate / 1e3:,.0f}", f"{rate * each / 1e6:.0f}", f"{cpu:.2f}", f"{cpu / results.cpu(LIMIT):.1f}",
             f"{rate / results.rate(LIMIT):.2f}", f"{results.peak(name):.0f}", f"{objects:.0f}" if objects else ""]
        )  # fmt: skip
    return _table(head, rows)


def _targets(results: Results) -> str:
    limits = sum(results.cpu(name) for name in (LIMIT, "json alone", "parquet alone"))
    rows = [
        _judged("catch-up, of fetch-and-drop by batches", results.rate(OURS) / results.rate(LIMIT), 0.4),
        _judged("catch-up, times the baseline by hand", results.rate(OURS) / results.rate(HAND), 3),
    ]
    if QUIX in results.runs:
        rows.append(_judged("catch-up, times Quix Streams", results.rate(OURS) / results.rate(QUIX), 9))
    cost = results.cpu(OURS) / results.cpu(OURS_DATE) - 1
    rows += [
        _judged(f"CPU per record, times the sum of the three limits ({limits:.2f} µs)", results.cpu(OURS) / limits, -1.4),
        _judged("symbol and date, CPU more than date alone, %", cost * 100, -15),
        _judged("peak memory beyond the budget, MiB", max(results.peak(OURS), results.peak(OURS_DATE)) - BUDGET_MIB, -200),
        _judged(
            "the loop's worst pause at catch-up, ms (worst of all runs)",
            max(run.facts["pause_seconds"] for name in (OURS, OURS_DATE) for run in results.runs[name]) * 1000,
            -50,
        ),
    ]
    if results.freshness is not None:
        rows += [
            _judged("the loop's worst pause at a steady rate, ms", results.freshness.worst_pause_seconds * 1000, -50),
            _judged("freshness p99 beyond the cut age, s", results.freshness.p99_seconds - CUT_AGE_SECONDS, -1),
        ]
    return _table(["target", "measured", "wanted", "reached"], rows)


def _judged(what: str, found: float, wanted: float) -> list[str]:
    """`wanted` is a floor; negative, a ceiling."""
    reached = found >= wanted if wanted > 0 else found <= -wanted
    digits = 0 if abs(wanted) >= 15 else 2
    return [what, f"{found:.{digits}f}", f"{'≥' if wanted > 0 else '≤'} {abs(wanted):g}", "yes" if reached else "**no**"]


def _freshness(found: Freshness) -> str:
    return (
        f"Freshness at a steady {found.rate:,} records/s, cut by age after {CUT_AGE_SECONDS:g} s, {found.samples} files: the"
        f" oldest record of a file is visible after {found.p50_seconds:.2f} s (p50), {found.p99_seconds:.2f} s (p99),"
        f" {found.max_seconds:.2f} s (worst). {found.puts_per_million:,.0f} PUTs per million records,"
        f" {found.cpu_per_million:.2f} CPU s per million, {found.peak_bytes / MIB:.0f} MiB at most, worst pause of the loop"
        f" {found.worst_pause_seconds * 1000:.0f} ms."
    )


def _growth(cells: Sequence[Grown]) -> str:
    rows = [
        [
            f"{cell.partitions} × {cell.symbols:,}", f"`{cell.path}`", f"{cell.run.rate / 1e3:,.0f}",
            f"{cell.run.cpu_per_million:.2f}", f"{cell.run.peak_bytes / MIB:.0f}", str(cell.run.facts["files"]),
        ]
        for cell in cells
    ]  # fmt: skip
    return _table(["partitions × symbols", "path", "k records/s", "CPU s per million", "peak MiB", "files"], rows)


def _scaling(found: Mapping[int, tuple[float, float, int]]) -> str:
    rows = [[str(n), f"{rate / 1e3:,.0f}", f"{cpu:.2f}", f"{peak / MIB:.0f}"] for n, (rate, cpu, peak) in found.items()]
    return _table(["processes in one group", "k records/s", "CPU s per million", "peak MiB of all"], rows)


def write_page(page: Path, text: str) -> None:
    """Put `text` between the page's markers. Raises `SystemExit` where it has none."""
    old = page.read_text()
    new, found = re.subn(f"{BEGIN_MARK}.*?{END_MARK}", lambda _: f"{BEGIN_MARK}\n\n{text}\n\n{END_MARK}", old, flags=re.DOTALL)
    if not found:
        raise SystemExit(f"{page} has no markers {BEGIN_MARK} {END_MARK}")
    page.write_text(new)


def plot(results: Results, file: Path) -> None:
    """CPU for a million records of each contestant, as bars: what a record costs, whoever shares the machine."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "streamer"
    from matplotlib import pyplot

    names = [name for name in results.runs if not name.endswith("alone") and ":" not in name]
    costs = [results.cpu(name) for name in names]
    figure, axes = pyplot.subplots(figsize=(8, 0.5 * len(names) + 1))
    colours = ["#2a6f97" if name.startswith("streamer") else "#b0b7bf" for name in names]
    bars = axes.barh(names, costs, color=colours)
    axes.bar_label(bars, [f" {cost:.1f}" for cost in costs])
    axes.invert_yaxis()
    axes.set_xlabel("CPU seconds for a million records (less is better)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(file, format="svg", metadata={"Date": None})
