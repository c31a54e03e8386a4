"""What a trainer writes beside a model, in JSON: its metrics and what else the registry should know.

`hmm.metrics.json`, `hmm.json`, `hmm.pkl.metrics.json` or `hmm.pkl.json` belongs to `hmm.pkl`. Either an object with any of
`metrics`, `tags`, `parent`, `features`, `schema`; or, without `metrics`, an object that is all metrics.
"""

from __future__ import annotations

import os

import orjson

from streamer.errors import Invalid
from streamer.models.name import split_suffix
from streamer.models.version import ABOUT_BYTES, About, about

_NAMED = frozenset({"metrics", "tags", "parent", "features", "schema"})


def sidecar_names(file: str) -> tuple[str, ...]:
    """The names that a sidecar of `file` may have, the first that is there counts."""
    stem, _ = split_suffix(file)
    return tuple(dict.fromkeys(f"{base}{end}" for end in (".metrics.json", ".json") for base in (file, stem)))


def read_sidecar(path: str) -> tuple[About, str | None]:
    """What the sidecar of the model at `path` says, and the sidecar's own path; nothing and None where there is none.

    Raises `Invalid` where it is not JSON, or says what no registry can keep.
    """
    folder, file = os.path.split(path)
    for name in sidecar_names(file):
        beside = os.path.join(folder, name)
        if name != file and os.path.isfile(beside):
            return _read(beside), beside
    return About(), None


def _read(path: str) -> About:
    hint = 'write an object such as {"auc": 0.91}, or {"metrics": {...}, "features": [...]}'
    try:
        with open(path, "rb") as file:
            body = file.read(2 * ABOUT_BYTES)
        said = orjson.loads(body)
    except (OSError, ValueError) as error:
        raise Invalid(f"the sidecar cannot be read: {error}", hint=hint, path=path) from error
    if not isinstance(said, dict):
        raise Invalid("the sidecar is not a JSON object", hint=hint, path=path)
    if not isinstance(said.get("metrics"), dict) and not said.keys() <= _NAMED:
        return about(metrics=said)
    try:
        return about(**{name: said[name] for name in _NAMED & said.keys()})
    except (TypeError, ValueError) as error:
        raise Invalid(f"the sidecar says what cannot be kept: {error}", hint=hint, path=path) from error
