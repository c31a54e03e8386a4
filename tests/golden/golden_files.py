"""A folder of committed files, and the one way to change it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Golden:
    """The committed files below `folder`."""

    folder: Path
    bless: bool

    def committed(self, name: str, made: bytes) -> bytes:
        """What is committed under `name`; with --bless that is `made` from now on."""
        path = self.folder / name
        if self.bless:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(made)
        assert path.exists(), f"{path} is missing: pytest tests/golden --bless makes it"
        return path.read_bytes()
