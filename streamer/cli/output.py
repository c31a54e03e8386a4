"""How commands print: tables and progress for people, JSON for scripts, errors in one clear line.

Results go to standard output, everything else to standard error. Colour and progress are for terminals only.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from streamer.errors import StreamerError

if TYPE_CHECKING:
    from rich.console import Console

MARKS = {"ok": ("ok", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "red")}


def console(*, stderr: bool = False) -> Console:
    """Where text for people goes. Outside of a terminal lines are as long as they need to be."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, soft_wrap=not stream.isatty())


def print_json(value: Any) -> None:
    """One JSON document on standard output. What JSON cannot hold (times, paths, decimals) is written as text."""
    print(_safe(json.dumps(value, indent=2, default=str)))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """A table for people: values as text, numbers to the right; parted by tabs where standard output is no terminal."""
    texts = [[_text(value) for value in row] for row in rows]
    if not sys.stdout.isatty():
        for line in ([*columns], *texts):
            print("\t".join(_one_line(cell) for cell in line))
        return
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for number, name in enumerate(columns):
        numeric = bool(texts) and all(_is_number(row[number]) for row in texts)
        table.add_column(escape(name), justify="right" if numeric else "left", overflow="fold")
    for row in texts:
        table.add_row(*(escape(cell) for cell in row))
    console().print(table)


def print_line(status: str, name: str, message: str, hint: str = "") -> None:
    """One finding of a check: `ok`, `warn` or `fail`, what was looked at, what was found, and what to do."""
    from rich.text import Text

    mark, colour = MARKS[status]
    out = console()
    line = Text(f"{mark:<5}", style=colour)
    line.append(_safe(f"{name:<24} {message}"), style="default")
    out.print(line, soft_wrap=True)
    if hint and status != "ok":
        out.print(Text(_safe(f"{'':<5}{'':<24} -> {hint}")), soft_wrap=True)


def note(text: str) -> None:
    """A remark for people, on standard error, so that it is in nobody's pipe."""
    print(text, file=sys.stderr)


def progress(text: str) -> AbstractContextManager[object]:
    """Shows on a terminal that something is under way, while the block runs."""
    return console(stderr=True).status(text) if sys.stderr.isatty() else nullcontext()


def print_error(error: StreamerError, *, as_json: bool) -> None:
    """`error: ...` and its hint, on standard error; with `as_json` one JSON object."""
    if as_json:
        print(_safe(json.dumps({"error": error_document(error)}, default=str)), file=sys.stderr)
        return
    print(_safe(f"error: {error}"), file=sys.stderr)
    if error.hint:
        print(_safe(f"  hint: {error.hint}"), file=sys.stderr)


def error_document(error: StreamerError) -> dict[str, Any]:
    """An error as scripts read it."""
    return {
        "kind": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
        "context": error.context,
        "exit_code": error.exit_code,
    }


def _safe(text: str) -> str:
    """`text` without the secrets of the configuration: a server may quote in its answer what it was sent."""
    from streamer.logs import redacted

    return redacted(text)


def _text(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _one_line(text: str) -> str:
    return text.replace("\t", " ").replace("\n", " ")


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "").replace("-", "").isdigit() or not text
