"""What a model is called: the stem and the suffix of a file's name, and which of them can be kept.

Pure text. A stem becomes part of keys, file names and command lines, so it holds nothing that any of them would read
otherwise. The keys themselves are built in `streamer/keys.py`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Self

from streamer.errors import Invalid
from streamer.keys import MODEL_STEM, MODEL_SUFFIX, model_copy_key, model_version_key
from streamer.models.shelf import MODEL_SHELF, Shelf

COMPRESSIONS = frozenset({".gz", ".bz2", ".xz", ".zst", ".lz4", ".br"})
"""Suffixes that say how the file is packed: the one before them belongs to the suffix too (`.tar.gz`, `.pkl.zst`)."""

_STEM = re.compile(MODEL_STEM)
_WHOLE_SUFFIX = re.compile(MODEL_SUFFIX)
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,16}")
# `models/versions` and `models/registry` are folders, and a directory cannot have a file of that name too.
_FOLDERS = frozenset({"versions", "registry"})
_HINT = "use up to 128 letters, digits, `.`, `_` and `-`, beginning with a letter or digit, such as isolation_forest.pkl"


@dataclass(frozen=True, slots=True)
class ModelName:
    """A model's stem, by which it is known, and the suffix of its files, with its dot."""

    stem: str
    suffix: str
    shelf: Shelf = MODEL_SHELF

    @property
    def file(self) -> str:
        """The name of its files."""
        return f"{self.stem}{self.suffix}"

    @property
    def copy_key(self) -> str:
        return model_copy_key(self.stem, self.suffix, self.shelf.top)

    def version_key(self, n: int) -> str:
        return model_version_key(self.stem, n, self.suffix, self.shelf.top)

    @classmethod
    def of_file(cls, file: str, name: str | None = None, shelf: Shelf = MODEL_SHELF) -> Self:
        """The name of the model in a file called `file` (its last part counts), or `name` with the suffix of the file.

        The suffix is what follows the last dot; after a compression (`.gz`, `.zst`, ...) also what follows the dot before:
        `hmm.pkl` is `hmm` + `.pkl`, `net.tar.gz` is `net` + `.tar.gz`, `hmm.2026.01.pkl` is `hmm.2026.01` + `.pkl`.
        Raises `Invalid` for names that cannot be kept.
        """
        stem, suffix = split_suffix(os.path.basename(file))
        if name is not None:
            stem = name.removesuffix(suffix) if suffix else name
        check_stem(stem, shelf)
        if stem + suffix in _FOLDERS:
            raise Invalid(f"a {shelf.noun} cannot be called {stem}", hint="give it another name, or its file a suffix")
        return cls(stem, suffix, shelf)


def split_suffix(file: str) -> tuple[str, str]:
    """Stem and suffix of a file's name, by the rule of `ModelName.of_file`."""
    stem, last = os.path.splitext(file)
    if not _SUFFIX.fullmatch(last):
        return file, ""
    if last.lower() in COMPRESSIONS:
        inner, before = os.path.splitext(stem)
        if _SUFFIX.fullmatch(before):
            return inner, before + last
    return stem, last


def kept_name(stem: str, suffix: str, shelf: Shelf = MODEL_SHELF) -> ModelName:
    """The name that a registry speaks of. Raises `ValueError` for one that no file can have had: its suffix might lead out of
    the folder that a model is pulled into."""
    if not _STEM.fullmatch(stem) or not _WHOLE_SUFFIX.fullmatch(suffix) or stem + suffix in _FOLDERS:
        raise ValueError(f"{stem[:80]!r} with the suffix {suffix[:80]!r} is no {shelf.noun}'s name")
    return ModelName(stem, suffix, shelf)


def check_stem(stem: str, shelf: Shelf = MODEL_SHELF) -> None:
    """Raise `Invalid` unless a model can be called `stem`."""
    if not _STEM.fullmatch(stem):
        raise Invalid(f"{stem[:80]!r} cannot be a {shelf.noun}'s name", hint=_HINT)
