"""What AWS's services have in common when they refuse: codes, and how they name the permission that is missing. Pure."""

from __future__ import annotations

import re

from streamer.store.s3_errors import Refusal

_ACTION = re.compile(r"not authorized to perform:? ([a-z0-9]+:[A-Za-z]+)", re.ASCII)
_UNKNOWN_KEYS = frozenset(
    {
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "ExpiredTokenException",
        "ExpiredToken",
    }
)


def keys_refused(refusal: Refusal) -> bool:
    """Whether the keys are the trouble, and not what they may do."""
    return refusal.code in _UNKNOWN_KEYS


def another_region(refusal: Refusal) -> bool:
    """Whether the request was signed for another region than the one that was asked."""
    said = refusal.message.lower()
    return keys_refused(refusal) and "scope" in said and "region" in said


def missing_action(refusal: Refusal, asked: str) -> str | None:
    """The permission that a denial is about, `asked` where it does not say; None where it is no denial."""
    if not refusal.code.startswith("AccessDenied") and refusal.status != 403:
        return None
    named = _ACTION.search(refusal.message)
    return named[1] if named else asked
