"""What came of a run: the ledger against the listing, as figures, a table and JSON."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.live.chaos.lakes import Found

Ends = Mapping[int, int]


@dataclass(frozen=True)
class Blow:
    """One fault done once. The windows are the offsets that were at stake, per partition: from what was committed when it began
    to what had been acknowledged when all was well again. `seconds` is None where it did not recover."""

    fault: str
    lakes: tuple[str, ...]
    lasted_seconds: float
    seconds: float | None
    windows: Mapping[str, Mapping[int, tuple[int, int]]] = field(repr=False)


@dataclass
class Checked:
    """One lake against the ledger."""

    lake: str
    acknowledged: int
    found: int
    files: int
    missing: set[tuple[int, int]]
    double: set[tuple[int, int]]
    different: set[tuple[int, int]]  # the offset holds another tick than the one acknowledged there
    verify_exit: int

    @property
    def sound(self) -> bool:
        return not (self.missing or self.double or self.different or self.verify_exit)


def check(lake: str, ledger: Mapping[int, Mapping[int, int]], found: Found, verify_exit: int) -> Checked:
    """Compare what was acknowledged with what listing finds."""
    missing, different = set(), set()
    for partition, ticks in ledger.items():
        there = found.ticks.get(partition, {})
        missing |= {(partition, offset) for offset in ticks if offset not in there}
        different |= {(partition, offset) for offset, tick in ticks.items() if there.get(offset, tick) != tick}
    double = {(p, offset) for p, times in found.times.items() for offset, count in times.items() if count > 1}
    total = sum(sum(times.values()) for times in found.times.values())
    acknowledged = sum(len(ticks) for ticks in ledger.values())
    return Checked(lake, acknowledged, total, found.files, missing, double, different, verify_exit)


@dataclass
class Row:
    """One fault in the table."""

    fault: str
    done: str
    times: int
    at_stake: int
    missing: int
    double: int
    seconds: list[float]
    not_recovered: int

    @property
    def recovery(self) -> str:
        if not self.seconds:
            return "-"
        low, middle, high = min(self.seconds), statistics.median(self.seconds), max(self.seconds)
        return f"{low:.1f} / {middle:.1f} / {high:.1f}"


@dataclass
class Outcome:
    """Everything about one run."""

    seed: int
    minutes: float
    setting: dict[str, Any]
    rows: list[Row]
    lakes: list[Checked]
    not_exercised: dict[str, str]
    wrong: list[str]
    died: list[str]
    blows: list[Blow]

    @property
    def sound(self) -> bool:
        return not self.wrong

    def table(self) -> str:
        """The table of docs/guarantees.md."""
        lines = [
            "| fault | what was done | times | records at stake | missing | double | seconds to recover: min / median / max |",
            "|---|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {row.fault} | {row.done} | {row.times} | {row.at_stake:,} | {row.missing} | {row.double} | {row.recovery} |"
            for row in self.rows
        ]
        lines.append("")
        lines += [
            f"{lake.lake}: {lake.acknowledged:,} acknowledged, {lake.found:,} found in {lake.files:,} files, "
            f"{len(lake.missing)} missing, {len(lake.double)} double, {len(lake.different)} different; "
            f"streamer verify: exit {lake.verify_exit}"
            for lake in self.lakes
        ]
        lines += [f"NOT EXERCISED: {fault}: {reason}" for fault, reason in self.not_exercised.items()]
        lines += [f"WRONG: {sentence}" for sentence in self.wrong]
        return "\n".join(lines)

    def document(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "seed": self.seed,
            "minutes": self.minutes,
            "setting": self.setting,
            "faults": [asdict(row) for row in self.rows],
            "lakes": [
                asdict(lake)
                | {"sound": lake.sound}
                | {name: sorted(getattr(lake, name))[:100] for name in ("missing", "double", "different")}
                for lake in self.lakes
            ],
            "blows": [
                {"fault": b.fault, "lakes": b.lakes, "lasted_seconds": b.lasted_seconds, "seconds": b.seconds}
                for b in self.blows
            ],
            "not_exercised": self.not_exercised,
            "wrong": self.wrong,
        }


def rows(faults: Iterable[tuple[str, str]], blows: Sequence[Blow], lakes: Sequence[Checked]) -> list[Row]:
    """A row for each fault that was done, and one for what no fault's window covers."""
    found: list[Row] = []
    blamed: set[tuple[str, int, int]] = set()
    lost = {(lake.lake, *place) for lake in lakes for place in lake.missing}
    twice = {(lake.lake, *place) for lake in lakes for place in lake.double}
    for name, done in faults:
        mine = [blow for blow in blows if blow.fault == name]
        if not mine:
            continue
        inside = {place for blow in mine for place in (lost | twice) if _covers(blow, place)}
        blamed |= inside
        at_stake = sum(end - start for b in mine for window in b.windows.values() for start, end in window.values())
        seconds = [blow.seconds for blow in mine if blow.seconds is not None]
        found.append(
            Row(name, done, len(mine), at_stake, len(inside & lost), len(inside & twice), seconds, len(mine) - len(seconds))
        )
    if rest := (lost | twice) - blamed:
        found.append(Row("-", "outside every fault", 0, 0, len(rest & lost), len(rest & twice), [], 0))
    return found


def _covers(blow: Blow, place: tuple[str, int, int]) -> bool:
    lake, partition, offset = place
    start, end = blow.windows.get(lake, {}).get(partition, (0, 0))
    return start <= offset < end
