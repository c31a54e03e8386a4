"""One immutable version of a model, as its registry knows it. Values and their JSON; no I/O.

Fields that a newer release wrote are kept in `extra` and written back as they were.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Self

import orjson

from streamer.documents import instant, typed
from streamer.errors import Invalid

ABOUT_BYTES = 64 << 10
"""The most that metrics, tags and features of one version may take in the registry: every reader reads all of it."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_FIELDS = frozenset(
    {"n", "size", "sha256", "created", "pushed_by", "metrics", "tags", "parent", "trained_through", "features", "schema",
     "signature", "recovered"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TrainedThrough:
    """Where one topic-partition stood in the lake when the model was pushed: every offset below `offset` was there.

    `through`: the event time up to which the partition was complete; None while that was unknown.
    """

    topic: str
    partition: int
    lineage: int
    offset: int
    through: datetime | None = None


@dataclass(frozen=True, slots=True)
class About:
    """What its trainer says of a model. `parent`: the version it was trained from, or text. `features`: names in the order of
    the inputs. `schema`: their fingerprint, or a name of the trainer's own."""

    metrics: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    parent: int | str | None = None
    features: tuple[str, ...] | None = None
    schema: str | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a model.

    size: bytes. created: when it was pushed. signature: HMAC over name, number, size and hash; None where it was pushed
    without a key. recovered: found without its registry entry and taken in; what its trainer said of it is lost.
    aliases: the names that point to it now.
    """

    n: int
    size: int
    sha256: str
    created: datetime
    pushed_by: str
    about: About = field(default_factory=About)
    trained_through: tuple[TrainedThrough, ...] = ()
    signature: str | None = None
    recovered: bool = False
    aliases: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def metrics(self) -> Mapping[str, Any]:
        return MappingProxyType(dict(self.about.metrics))

    @property
    def tags(self) -> Mapping[str, str]:
        return MappingProxyType(dict(self.about.tags))

    @property
    def parent(self) -> int | str | None:
        return self.about.parent

    @property
    def features(self) -> tuple[str, ...] | None:
        return self.about.features

    @property
    def schema(self) -> str | None:
        return self.about.schema

    def document(self) -> dict[str, Any]:
        """The entry in the registry. Aliases are not part of it: they have a place of their own."""
        return {
            **self.extra,
            "n": self.n,
            "size": self.size,
            "sha256": self.sha256,
            "created": _text(self.created),
            "pushed_by": self.pushed_by,
            "metrics": dict(self.about.metrics),
            "tags": dict(self.about.tags),
            "parent": self.about.parent,
            "trained_through": [
                {
                    "topic": at.topic,
                    "partition": at.partition,
                    "lineage": at.lineage,
                    "offset": at.offset,
                    "through": _text(at.through) if at.through else None,
                }
                for at in self.trained_through
            ],
            "features": list(self.about.features) if self.about.features is not None else None,
            "schema": self.about.schema,
            "signature": self.signature,
            **({"recovered": True} if self.recovered else {}),
        }

    @classmethod
    def from_document(cls, entry: Mapping[str, Any]) -> Self:
        """The inverse of `document`. Raises `KeyError`, `TypeError`, `ValueError` or `AttributeError` where it is none."""
        n, size, sha256 = entry["n"], entry["size"], entry["sha256"]
        if not (type(n) is int and n > 0 and type(size) is int and size >= 0 and _SHA256.fullmatch(sha256)):
            raise ValueError(f"n={n!r} size={size!r} sha256={sha256!r} is no version")
        return cls(
            n=n,
            size=size,
            sha256=sha256,
            created=instant(entry["created"]),
            pushed_by=typed(entry["pushed_by"], str),
            about=About(
                metrics=typed(entry.get("metrics") or {}, dict[str, Any]),
                tags=typed(entry.get("tags") or {}, dict[str, str]),
                parent=typed(entry.get("parent"), int | str | None),
                features=typed(entry.get("features"), tuple[str, ...] | None),
                schema=typed(entry.get("schema"), str | None),
            ),
            trained_through=tuple(
                typed({**at, "through": instant(at["through"]) if at.get("through") else None}, TrainedThrough)
                for at in entry.get("trained_through") or ()
            ),
            signature=typed(entry.get("signature"), str | None),
            recovered=typed(entry.get("recovered", False), bool),
            extra={name: value for name, value in entry.items() if name not in _FIELDS},
        )


def about(
    metrics: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | Iterable[str] | None = None,
    parent: int | str | None = None,
    features: Iterable[str] | None = None,
    schema: str | None = None,
) -> About:
    """What callers and sidecars say, as a registry can keep it. Tags without values have an empty one.

    Raises `Invalid` where it is no JSON (numpy's numbers and arrays are taken), or more than 64 KiB.
    """
    from streamer.models.schema import feature_schema

    named = dict(tags) if isinstance(tags, Mapping) else dict.fromkeys([tags] if isinstance(tags, str) else tags or (), "")
    listed = tuple(features) if features is not None else None
    said = {"metrics": dict(metrics or {}), "tags": {str(k): str(v) for k, v in named.items()}, "features": listed}
    try:
        body = orjson.dumps(said, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
    except (TypeError, ValueError) as error:
        raise Invalid(f"metrics, tags or features cannot be written as JSON: {error}", hint="use numbers and text") from error
    if len(body) > ABOUT_BYTES:
        raise Invalid(f"metrics, tags and features take more than {ABOUT_BYTES} bytes", hint="keep long ones in a file")
    if listed is not None and not all(isinstance(name, str) for name in listed):
        raise Invalid("a feature's name is no text", hint='write features=["rsi_14", "macd"]')
    if type(parent) not in (int, str, type(None)) or type(schema) not in (str, type(None)):
        raise Invalid("parent or schema is neither text nor a number", hint='write parent="v3", schema="rsi-14"')
    kept = orjson.loads(body)
    fingerprint = schema if schema is not None else feature_schema(listed) if listed is not None else None
    return About(kept["metrics"], kept["tags"], parent, listed, fingerprint)


def _text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat()
