"""Which files of the watched directory are models, and which of them are complete. Pure: names and times in, verdicts out.

A file renamed into place is complete. One written in place is complete when it has not changed for the settle time. Which of
both it was is heard from the kernel; where nobody listened, a status that changed after the content tells a rename.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from streamer.models.sidecar import sidecar_names

_TEMPORARY = re.compile(r".*(~|\.(tmp|temp|part|partial|swp|swx|lock|crdownload|download|filepart)([._-]?[A-Za-z0-9]*)?)", re.I)


class Seen(NamedTuple):
    """What one look at a file told."""

    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @property
    def content(self) -> tuple[int, int, int]:
        """What differs where the content does."""
        return self.inode, self.size, self.modified_ns


def is_temporary(file: str) -> bool:
    """Hidden files, and those that editors and downloads make."""
    return file.startswith((".", "~")) or _TEMPORARY.fullmatch(file) is not None


def models_among(files: Collection[str], include: Sequence[str]) -> list[str]:
    """The names that are models: matching `include`, not temporary, and no sidecar of another that is."""
    matching = [file for file in files if not is_temporary(file) and _matches(file, include)]
    sidecars = {name for file in matching for name in sidecar_names(file) if name != file}
    # Two models whose sidecars are each other's names do not exist: a sidecar ends in .json, and its model not.
    return sorted(file for file in matching if not (file.endswith(".json") and file in sidecars))


def ignored_among(files: Collection[str], include: Sequence[str]) -> list[str]:
    """The names that somebody may have meant to be models: no patterns fit them, and they are nobody's sidecar."""
    models = models_among(files, include)
    sidecars = {name for file in models for name in sidecar_names(file)}
    return sorted(file for file in files if not is_temporary(file) and file not in models and file not in sidecars)


@dataclass(slots=True)
class _Waiting:
    seen: Seen
    since: float


@dataclass(slots=True)
class Completion:
    """Tells of each file when it is complete. Times are those of a monotonic clock.

    settle_seconds: how long a file written in place must be left alone. trust_times: False where the file system's times
    come from another machine; then every file must settle of which no rename was heard.
    """

    settle_seconds: float
    trust_times: bool = True
    _waiting: dict[str, _Waiting] = field(default_factory=dict)
    _renamed: set[str] = field(default_factory=set)
    _written: set[str] = field(default_factory=set)

    def renamed(self, file: str) -> None:
        """It was heard that the file was renamed into place: what is there now is complete."""
        self._renamed.add(file)
        self._written.discard(file)
        self._waiting.pop(file, None)

    def written(self, file: str) -> None:
        """It was heard that somebody writes into the file."""
        self._written.add(file)
        self._renamed.discard(file)

    def look(self, file: str, seen: Seen, now: float) -> float:
        """Seconds until `file` may be complete; 0.0 if it is. An empty file never is."""
        waiting = self._waiting.get(file)
        if waiting is not None and waiting.seen.content != seen.content and waiting.seen.inode == seen.inode:
            self.written(file)
        if waiting is None or waiting.seen.content != seen.content:
            if waiting is not None and waiting.seen.inode != seen.inode:
                self._written.discard(file)
            waiting = self._waiting[file] = _Waiting(seen, now)
        if seen.size == 0:
            return self.settle_seconds
        renamed = self.trust_times and seen.changed_ns > seen.modified_ns and file not in self._written
        return 0.0 if file in self._renamed or renamed else max(0.0, waiting.since + self.settle_seconds - now)

    def again(self, file: str, now: float) -> None:
        """The file turned out to be changing: it must settle from now on."""
        self.written(file)
        if (waiting := self._waiting.get(file)) is not None:
            waiting.since = now

    def names(self) -> set[str]:
        """The files of which something is known."""
        return {*self._waiting, *self._renamed, *self._written}

    def forget(self, files: Collection[str]) -> None:
        """Keep nothing of these: they are gone."""
        for file in files:
            self._waiting.pop(file, None)
            self._renamed.discard(file)
            self._written.discard(file)


def _matches(file: str, include: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(file, pattern) for pattern in include)
