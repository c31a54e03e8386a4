"""The page about errors, read from the code that raises them: `python -m streamer.error_catalogue > docs/errors.md`.

Works on the text of the modules and imports none of them. What a message says only at run time is an ellipsis here.
"""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent
GAP = "…"
_HEAD = """# Every error, by its message

Made by `make docs` from the code. `…` stands for what is known only at run time. Behind a message stand the names and values
of its context (`key=...`, `topic=...`); the hint below it on the command line, the field `hint` of the log, says the next step.
What the kinds mean, and what to do about each, is in [troubleshooting.md](troubleshooting.md#errors).
"""
_BASE = "StreamerError"


@dataclass(frozen=True, slots=True, order=True)
class Row:
    """One place that makes an error. room: the folder or file of streamer/ that it is in."""

    room: str
    message: str
    kind: str
    hint: str


@functools.cache
def kinds() -> dict[str, str]:
    """Every class of error: its name, and the first line of its docstring."""
    found = {_BASE: "A bug: report it."}
    classes = [node for tree in _trees().values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    while True:
        new = {
            node.name: (ast.get_docstring(node) or "").split("\n")[0]
            for node in classes
            if node.name not in found and any(isinstance(base, ast.Name) and base.id in found for base in node.bases)
        }
        if not new:
            return found
        found |= new


def rows() -> list[Row]:
    """Every place that makes an error with a message of its own, without doubles."""
    known = set(kinds())
    found: set[Row] = set()
    for path, tree in _trees().items():
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        for scope in _scopes(tree):
            texts = _assigned(scope)
            for call in _own(scope):
                name = call.func.id if isinstance(call.func, ast.Name) else ""
                if name not in known or not call.args:
                    continue
                message = _text(call.args[0], texts)
                hints = [_text(word.value, texts) for word in call.keywords if word.arg == "hint"]
                if message.strip(GAP + " "):
                    found.add(Row(room, message, name, hints[0] if hints else ""))
    return sorted(found)


def page() -> str:
    """The whole page, Markdown."""
    parts, room = [_HEAD], ""
    for row in rows():
        if row.room != room:
            room = row.room
            parts.append(f"\n## {room}\n\n| message | kind | what to do |\n|---|---|---|\n")
        parts.append(f"| {_cell(row.message)} | `{row.kind}` | {_cell(row.hint)} |\n")
    return "".join(parts)


@functools.cache
def _trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py")) if path.name != Path(__file__).name}


def _scopes(tree: ast.Module) -> Iterator[ast.AST]:
    yield tree
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _own(scope: ast.AST) -> Iterator[ast.Call]:
    """The calls of a scope, without those of functions inside of it."""
    waiting = list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.Call):
            yield node
        waiting.extend(ast.iter_child_nodes(node))


def _assigned(scope: ast.AST) -> dict[str, list[ast.expr]]:
    """What the names of a scope are set to, so that `hint=hint` can be told."""
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).append(node.value)
    return found


def _text(node: ast.expr, texts: dict[str, list[ast.expr]], depth: int = 0) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else GAP for part in node.values
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left, texts, depth) + _text(node.right, texts, depth)
    if isinstance(node, ast.IfExp):
        either = (_text(node.body, texts, depth), _text(node.orelse, texts, depth))
        return " / ".join(dict.fromkeys(text for text in either if text.strip(GAP + " "))) or GAP
    if isinstance(node, ast.Name) and depth == 0 and node.id in texts:
        options = [_text(value, texts, 1) for value in texts[node.id]]
        return " / ".join(dict.fromkeys(text for text in options if text.strip(GAP + " "))) or GAP
    return GAP


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    sys.stdout.write(page())
