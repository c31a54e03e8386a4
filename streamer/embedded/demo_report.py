"""What the demo shows at its end, as text and as a document: counts, proof, files, a price, and where to look next.

Pure: it formats what `demo.py` found, and judges nothing.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from streamer.embedded.demo import Outcome
from streamer.embedded.market import TICKS

SPARKLINE_WIDTH = 60
_BARS = "▁▂▃▄▅▆▇█"
_PLACES_SHOWN = 5


def report(outcome: Outcome, program: str, directory: Path) -> Iterator[str]:
    """The lines of the report. `program`: how streamer is called, `directory`: what shown paths are relative to."""
    yield from _counts(outcome)
    yield ""
    yield from _proof(outcome)
    yield ""
    low, high = (min(outcome.prices), max(outcome.prices)) if outcome.prices else (0.0, 0.0)
    yield f"{outcome.sparkline_symbol}  {sparkline(outcome.prices)}  {low:,.2f} .. {high:,.2f}"
    yield ""
    yield shown_path(outcome.folder.lake, directory)
    yield from tree(outcome.found.files)
    yield ""
    yield "Where to look next:"
    yield from (f"  {command}" for command in next_commands(outcome, program, directory))


def _counts(outcome: Outcome) -> Iterator[str]:
    produced, found = outcome.ledger.rows(), outcome.found
    yield f"{'rows':<10}{'symbol':<12}{'produced':>10}{'in the lake':>13}"
    for topic, symbol in sorted(produced | found.rows, key=lambda pair: (pair[0] != TICKS, pair)):
        yield f"{topic:<10}{symbol:<12}{produced[topic, symbol]:>10,}{found.rows[topic, symbol]:>13,}"
    refusals = outcome.ledger.refusals()
    yield f"{'dead letters, by reason':<22}"
    for reason in sorted(refusals | found.dead_letters):
        yield f"{'':<10}{reason:<16}{refusals[reason]:>6,}{found.dead_letters[reason]:>13,}"


def _proof(outcome: Outcome) -> Iterator[str]:
    killed, found, proved = outcome.killed, outcome.found, outcome.report
    yield (
        f"{outcome.ledger.count:,} records produced; the daemon was killed with {killed.produced - killed.committed:,} of "
        f"{killed.produced:,} not yet committed."
    )
    if killed.recovered_ranges:
        yield f"It died between seal and commit of {killed.recovered_ranges} batches: its successor wrote exactly these again."
    counts = f"missing {len(found.missing)}   double {len(found.double)}   foreign {len(found.foreign)}"
    yield f"{counts}   (read by plain pyarrow, each record known by its offset)"
    for name in ("missing", "double", "foreign"):
        places = getattr(found, name)
        if places:
            shown = ", ".join(f"{topic}-{partition}@{offset}" for topic, partition, offset in places[:_PLACES_SHOWN])
            yield f"  {name}: {shown}{' ...' if len(places) > _PLACES_SHOWN else ''}"
    verdict = "sound" if proved.sound else f"NOT SOUND, {proved.finding_count} findings"
    yield f"verify: {verdict}, {proved.batches:,} batches in {proved.files:,} files, {proved.bytes / 1024:,.0f} KiB"
    yield "Every record is in the lake exactly once." if outcome.good else "THE PROMISE WAS NOT KEPT. Please report this."


def sparkline(values: Sequence[float], width: int = SPARKLINE_WIDTH) -> str:
    """At most `width` bars, each the mean of its share of `values`. Empty for no values."""
    if not values:
        return ""
    count = min(width, len(values))
    edges = [number * len(values) // count for number in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((mean - low) * scale)] for mean in means)


def tree(files: Sequence[tuple[str, int]]) -> Iterator[str]:
    """The folders that hold files, with number and size; of the first folder below each top the name of one file too."""
    folders = [(folder, list(group)) for folder, group in groupby(files, key=lambda file: file[0].rpartition("/")[0])]
    tops: set[str] = set()
    for number, (folder, group) in enumerate(folders):
        last = number == len(folders) - 1
        count = "1 file" if len(group) == 1 else f"{len(group)} files"
        yield f"{'└── ' if last else '├── '}{folder + '/':<52} {count:>9} {sum(size for _, size in group) / 1024:>8,.1f} KiB"
        top = folder.partition("/")[0]
        if top not in tops:
            tops.add(top)
            yield f"{'    ' if last else '│   '}    {group[0][0].rpartition('/')[2]}"


def next_commands(outcome: Outcome, program: str, directory: Path) -> list[str]:
    """Commands that work as they are, from `directory`."""
    lake = shlex.quote(shown_path(outcome.folder.lake, directory))
    symbol = shlex.quote(outcome.sparkline_symbol)
    return [
        f"{program} ls --lake {lake}",
        f"{program} scan ticks --lake {lake} --symbol {symbol} --limit 5",
        f"{program} verify --lake {lake} --no-kafka",
    ]


def shown_path(path: Path, directory: Path) -> str:
    """`./...` where `path` is below `directory`, else absolute: both are what `--lake` takes."""
    absolute = path.resolve()
    base = directory.resolve()
    return f"./{absolute.relative_to(base).as_posix()}" if absolute.is_relative_to(base) else str(absolute)


def called_as(argument: str, directory: Path) -> str:
    """How to call streamer again, from `sys.argv[0]` of this call."""
    script = Path(argument)
    if script.name == "__main__.py" or not script.name:
        return f"{shlex.quote(_relative(Path(sys.executable), directory))} -m streamer"
    found = shutil.which(script.name)
    if found is not None and os.path.realpath(found) == os.path.realpath(argument):
        return shlex.quote(script.name)
    return shlex.quote(_relative(script, directory))


def _relative(program: Path, directory: Path) -> str:
    # Not resolved: the python of a virtual environment is a link, and must be called by its own name.
    absolute = Path(os.path.abspath(program))
    return str(absolute.relative_to(directory)) if absolute.is_relative_to(directory) else str(absolute)


def document(outcome: Outcome) -> dict[str, Any]:
    """The same as JSON takes it."""
    produced, found, proved = outcome.ledger.rows(), outcome.found, outcome.report
    refusals = outcome.ledger.refusals()
    return {
        "good": outcome.good,
        "folder": str(outcome.folder.root.resolve()),
        "lake": str(outcome.folder.lake.resolve()),
        "config": str(outcome.folder.config.resolve()),
        "produced": outcome.ledger.count,
        "killed": {
            "produced": outcome.killed.produced,
            "committed": outcome.killed.committed,
            "recovered_ranges": outcome.killed.recovered_ranges,
        },
        "rows": [
            {"stream": topic, "symbol": symbol, "produced": produced[topic, symbol], "found": found.rows[topic, symbol]}
            for topic, symbol in sorted(produced | found.rows)
        ],
        "dead_letters": [
            {"reason": reason, "produced": refusals[reason], "found": found.dead_letters[reason]}
            for reason in sorted(refusals | found.dead_letters)
        ],
        "missing": found.missing,
        "double": found.double,
        "foreign": found.foreign,
        "files": [{"key": key, "bytes": size} for key, size in found.files],
        "verify": {
            "sound": proved.sound,
            "findings": proved.finding_count,
            "batches": proved.batches,
            "files": proved.files,
            "rows": proved.rows,
            "dead_letters": proved.dead_letters,
        },
    }
