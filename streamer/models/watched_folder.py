"""The directory that trainers write to: what is in it, and word of what happened in it. The only import of watchdog.

Word is a reason to look, and tells a rename from a write; it may get lost, and on network volumes there is none. What is there
is decided by looking.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from enum import Enum, auto
from pathlib import PurePath

from watchdog.events import (
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from streamer.models.candidates import Seen

_EVENTS: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileModifiedEvent,
    FileClosedEvent,
    FileMovedEvent,
    FileDeletedEvent,
]


class Word(Enum):
    """What happened to a file."""

    CAME = auto()  # it has a name in the directory now; or it went
    WRITTEN = auto()  # somebody wrote into it, and may still
    RENAMED = auto()  # it was whole under another name of the directory, and has this one now


def look_into(folder: str) -> dict[str, Seen]:
    """The regular files directly in `folder`, links followed. Raises `OSError` where it cannot be read."""
    found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                status = entry.stat()
            except OSError:  # renamed or removed since, or a link to nowhere
                continue
            if stat.S_ISREG(status.st_mode):
                found[entry.name] = Seen(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return found


class Notices:
    """Calls `heard(file, word)`, in a thread of its own, for what happens in `folder`, until `stop`.

    Raises `OSError` where the directory is not there, or the kernel has no watch left.
    """

    def __init__(self, folder: str, heard: Callable[[str, Word], None]) -> None:
        self._folder = folder
        self._place = _place(folder)
        self._observer = Observer()
        self._observer.schedule(_Handler(heard), folder, recursive=False, event_filter=_EVENTS)
        self._observer.start()

    @property
    def alive(self) -> bool:
        """Whether it still hears of the directory that has this name."""
        try:
            same = _place(self._folder) == self._place
        except OSError:
            return False
        return same and all(emitter.is_alive() for emitter in self._observer.emitters)

    def stop(self) -> None:
        """Hear no more. Idempotent."""
        self._observer.stop()
        self._observer.join()


class _Handler(FileSystemEventHandler):
    def __init__(self, heard: Callable[[str, Word], None]) -> None:
        self._heard = heard

    def on_any_event(self, event: FileSystemEvent) -> None:
        if isinstance(event, FileMovedEvent):
            self._heard(_name(event.dest_path), Word.RENAMED)
        elif isinstance(event, FileModifiedEvent | FileClosedEvent):
            self._heard(_name(event.src_path), Word.WRITTEN)
        else:
            self._heard(_name(event.src_path), Word.CAME)


def _name(path: str | bytes) -> str:
    return PurePath(os.fsdecode(path)).name


def _place(folder: str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino
