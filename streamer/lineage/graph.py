"""What a walk found: every object once, what each says of itself, and whether its sources are still what they were. Values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from streamer.lineage.derivation import Source

Kind = Literal[
    "data file", "dead letters", "archive", "summary", "certificate", "feature history", "model", "bundle", "registry",
    "document", "object",
]  # fmt: skip

State = Literal["unchanged", "changed", "gone", "unknown", "unvisited"]
"""Of a source, compared with what was recorded of it. unknown: it is there, and nothing to compare was recorded. unvisited: the
walk was at its limit."""


@dataclass(frozen=True, slots=True)
class Offsets:
    """Offsets `[start, end)` of one topic-partition; start None: everything below `end`. lineage: how often the topic was made
    anew."""

    topic: str
    partition: int
    lineage: int
    start: int | None
    end: int

    def __str__(self) -> str:
        anew = f" (lineage {self.lineage})" if self.lineage else ""
        return f"{self.topic}-{self.partition}{anew} [{0 if self.start is None else self.start},{self.end})"


@dataclass(frozen=True, slots=True)
class Link:
    """From an object to one of its sources, as it was recorded."""

    source: Source
    state: State

    @property
    def key(self) -> str:
        return self.source.key


@dataclass(frozen=True, slots=True)
class Node:
    """One object. etag, modified and size_bytes: as it is now; None where it is gone. offsets: the records of Kafka that are in
    it, or that it was made of. about: what else it says of itself. problem: what of it could not be read, and why."""

    key: str
    kind: Kind
    etag: str | None = None
    modified: datetime | None = None
    size_bytes: int | None = None
    computation: str | None = None
    version: str | None = None
    computed_at: datetime | None = None
    offsets: tuple[Offsets, ...] = ()
    links: tuple[Link, ...] = ()
    about: Mapping[str, str] = field(default_factory=dict)
    problem: str | None = None

    @property
    def is_there(self) -> bool:
        return self.etag is not None

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "key": self.key,
            "kind": self.kind,
            "there": self.is_there,
            "etag": self.etag,
            "modified": self.modified.isoformat() if self.modified is not None else None,
            "size_bytes": self.size_bytes,
            "computation": self.computation,
            "version": self.version,
            "computed_at": self.computed_at.isoformat() if self.computed_at is not None else None,
            "offsets": [
                {"topic": o.topic, "partition": o.partition, "lineage": o.lineage, "start": o.start, "end": o.end}
                for o in self.offsets
            ],
            "sources": [{**link.source.document(), "state": link.state} for link in self.links],
            "about": dict(self.about),
            "problem": self.problem,
        }


@dataclass(frozen=True, slots=True)
class LineageGraph:
    """An object and all that it was made of, each once. key: the object that was asked about. complete: whether the walk came
    to the end everywhere."""

    key: str
    nodes: Mapping[str, Node]
    complete: bool

    @property
    def node(self) -> Node:
        """The object that was asked about."""
        return self.nodes[self.key]

    @property
    def roots(self) -> tuple[Node, ...]:
        """The objects that were made of no other object of the lake, or say nothing of any."""
        return tuple(node for node in self.nodes.values() if not node.links)

    @property
    def problems(self) -> tuple[Node, ...]:
        """The objects of which something could not be read."""
        return tuple(node for node in self.nodes.values() if node.problem is not None)

    @property
    def outdated(self) -> tuple[Link, ...]:
        """The sources, anywhere, that are not what they were."""
        return tuple(link for node in self.nodes.values() for link in node.links if link.state in ("changed", "gone"))

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {"key": self.key, "complete": self.complete, "nodes": [node.document() for node in self.nodes.values()]}

    def lines(self) -> Iterator[str]:
        """As a tree, for people. What was shown further up is not shown again."""
        shown = {self.key}
        yield _line(self.node, None)
        waiting = [(link, "", at == 0) for at, link in enumerate(reversed(self.node.links))]
        while waiting:
            link, before, last = waiting.pop()
            node = self.nodes.get(link.key)
            again = link.key in shown and node is not None and bool(node.links)
            yield f"{before}{'└── ' if last else '├── '}{_line(node, link)}{', see above' if again else ''}"
            if node is None or link.key in shown:
                continue
            shown.add(link.key)
            below = before + ("    " if last else "│   ")
            waiting += [(inner, below, at == 0) for at, inner in enumerate(reversed(node.links))]


def _line(node: Node | None, link: Link | None) -> str:
    key = _plain(node.key if node is not None else link.key if link is not None else "")
    if node is None:
        return f"{key}  [unvisited]"
    made = " ".join(filter(None, (node.computation, node.version)))
    at = f"{node.computed_at:%Y-%m-%dT%H:%M:%SZ}" if node.computed_at is not None else ""
    shown = [str(each) for each in node.offsets[:3]]
    shown += [f"{len(node.offsets) - 3} more"] if len(node.offsets) > 3 else []
    said = ", ".join(_plain(text) for text in (node.kind, made, at, *shown, node.problem or "") if text)
    state = f"  [{link.state}]" if link is not None else ""
    return f"{key}  {said}{state}"


def _plain(text: str) -> str:
    """On one line of a terminal, whatever somebody wrote into the lake."""
    return text if text.isprintable() else ascii(text)
