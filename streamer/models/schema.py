"""Which features a model was trained on, as a fingerprint that can be compared. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from streamer.models.refusals import SchemaMismatch
from streamer.models.version import Version


def feature_schema(features: Iterable[str]) -> str:
    """16 hexadecimal digits for these feature names in this order: a model reads its inputs by their place."""
    return hashlib.sha256(json.dumps(list(features), separators=(",", ":")).encode()).hexdigest()[:16]


def demand_schema(stem: str, version: Version, expected: str | Iterable[str]) -> None:
    """Raise `SchemaMismatch` unless `version` was trained on `expected`: a fingerprint, or the names in their order."""
    names = None if isinstance(expected, str) else tuple(expected)
    wanted = expected if isinstance(expected, str) else feature_schema(names or ())
    if version.schema == wanted:
        return
    if version.schema is None:
        raise SchemaMismatch(
            "the version does not say on which features it was trained",
            hint="push it with features=[...], or with a sidecar that lists `features`",
            model=stem,
            version=version.n,
        )
    different = ""
    if names is not None and version.features is not None:
        missing = [name for name in version.features if name not in names]
        more = [name for name in names if name not in version.features]
        different = f": it wants {missing}, and does not know {more}" if missing or more else ": in another order"
    raise SchemaMismatch(
        f"the model was trained on other features{different}",
        hint="pull a version trained on these features, or give it those it was trained on",
        model=stem,
        version=version.n,
        schema=version.schema,
        expected=wanted,
    )
