"""Signatures of versions: an HMAC by a key that is not in the lake, so that whoever can write there cannot forge a model.

The key comes from the variable STREAMER_MODEL_KEY and stays in memory: never in a message, a log or a repr. Aliases are not
signed: who may write the registry may choose among signed versions.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from typing import Self

from streamer.models.refusals import NotSigned
from streamer.models.version import Version

KEY_VARIABLE = "STREAMER_MODEL_KEY"


class Signer:
    """Signs and checks versions with one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self | None:
        """The signer of STREAMER_MODEL_KEY; None where it is not set or empty: then nothing is signed or checked."""
        key = (os.environ if environment is None else environment).get(KEY_VARIABLE, "")
        return cls(key.encode("utf-8", "surrogateescape")) if key else None

    def sign(self, stem: str, n: int, size: int, sha256: str) -> str:
        """HMAC-SHA256, in hexadecimal digits. The name and the number are part of it: a signed version cannot be passed off
        as another one."""
        text = f"streamer-model\n{stem}\n{n}\n{size}\n{sha256}"
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def demand(self, stem: str, version: Version) -> None:
        """Raise `NotSigned` unless `version` was signed with this key."""
        if version.signature is None:
            raise NotSigned(
                "the version is not signed",
                hint=f"push it with {KEY_VARIABLE} set, or unset {KEY_VARIABLE} here to take unsigned models",
                model=stem,
                version=version.n,
            )
        ours = self.sign(stem, version.n, version.size, version.sha256)
        # As bytes: a text that is not ASCII, which only somebody else can have written, would raise instead of differing.
        if not hmac.compare_digest(version.signature.encode(), ours.encode()):
            raise NotSigned(
                "the version's signature is not by this key",
                hint=f"find out who pushed it, or set the {KEY_VARIABLE} of its trainer",
                model=stem,
                version=version.n,
                pushed_by=version.pushed_by,
            )
