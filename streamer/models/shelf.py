"""Which part of the lake a registry keeps: models, or what else is versioned the same way (`streamer/bundles`).

Keys and words alone: what is on another shelf is pushed, pulled, promoted and pruned by the very same code.
"""

from __future__ import annotations

from dataclasses import dataclass

from streamer.keys import MODELS


@dataclass(frozen=True, slots=True)
class Shelf:
    """top: the folder of its keys, with its slash. noun: what one thing on it is called, in messages. command: its command
    line. trained: whether a version says where the lake stood when it was pushed."""

    top: str
    noun: str
    command: str
    trained: bool = False

    @property
    def versions(self) -> str:
        return f"{self.top}versions/"

    @property
    def registries(self) -> str:
        return f"{self.top}registry/"

    def signed_name(self, stem: str) -> str:
        """What a signature calls it: never the same for things of two shelves, as no stem has a slash."""
        return stem if self.top == MODELS else f"{self.top}{stem}"


MODEL_SHELF = Shelf(MODELS, "model", "streamer models", trained=True)
