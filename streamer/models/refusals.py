"""What can go wrong with a model alone, each named by its reader's next step. The tree is that of `streamer/errors.py`."""

from __future__ import annotations

from streamer.errors import Denied, Invalid, NotFound


class NoSuchModel(NotFound, Invalid):
    """No model of this name, or no such version or alias of it. Name another."""


class SchemaMismatch(Invalid):
    """The model was trained on other features than the caller has. Choose another version, or change the features."""


class NotSigned(Denied):
    """The version carries no signature, or none by this key. Nothing of it was handed out."""
