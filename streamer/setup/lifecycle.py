"""The lifecycle rules of the lake's bucket, from the configuration. Pure: rules as S3's API has them, in and out.

What the daemon may have to read is never moved to GLACIER by its age: a rule knows no certificates. Raw files go there only
with the tag that is set once their day is certified and its archive was read again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from streamer.archive.cold import CERTIFIED
from streamer.config.setup import DAY_SECONDS, LifecycleSection

DATA = ("raw/", "dead-letters/", "ticks/", "ohlcv/", "features/", "signals/", "orderbooks/", "streams/")
"""Folders of files that are written once and read seldom."""

BUSY = ("_streamer/", "state/")
"""Folders of small objects that change all the time: with versioning each change leaves a version."""

_PREFIX_IN_NAME = 120
"""A rule's name has 255 characters at most."""

Rule = dict[str, Any]


def rules(section: LifecycleSection, prefix: str) -> list[Rule]:
    """The rules for a lake under `prefix` (with its slash, or nothing)."""
    if not section.enabled:
        return []
    made: list[Rule] = []

    def rule(name: str, **what: Any) -> None:
        made.append({"ID": f"{owner(prefix)}{name}", "Status": "Enabled", **what})

    to_cold = [
        {"Days": _days(after), "StorageClass": kind}
        for after, kind in ((section.glacier_after, "GLACIER"), (section.deep_archive_after, "DEEP_ARCHIVE"))
        if after is not None
    ]
    if section.infrequent_after is not None:
        for folder in DATA:
            # S3 leaves objects below 128 KiB where they are, since STANDARD_IA counts each as so large.
            move = {"Days": _days(section.infrequent_after), "StorageClass": "STANDARD_IA"}
            rule(f"{folder}infrequent", Filter={"Prefix": prefix + folder}, Transitions=[move])
    if to_cold:
        tags = [{"Key": name, "Value": value} for name, value in CERTIFIED.items()]
        rule("raw/certified", Filter={"And": {"Prefix": f"{prefix}raw/", "Tags": tags}}, Transitions=to_cold)
        for folder in section.cold:
            rule(f"{folder}cold", Filter={"Prefix": prefix + folder}, Transitions=to_cold)
    if section.cache is not None:
        rule("cache/expires", Filter={"Prefix": f"{prefix}cache/"}, Expiration={"Days": _days(section.cache)})
    if section.old_versions is not None:
        for folder in BUSY:
            rule(
                f"{folder}versions",
                Filter={"Prefix": prefix + folder},
                NoncurrentVersionExpiration={"NoncurrentDays": min(1, _days(section.old_versions))},
            )
        rule(
            "versions",
            Filter={"Prefix": prefix},
            Expiration={"ExpiredObjectDeleteMarker": True},
            NoncurrentVersionExpiration={"NoncurrentDays": _days(section.old_versions)},
        )
    if section.uploads is not None:
        left = {"DaysAfterInitiation": _days(section.uploads)}
        rule("uploads", Filter={"Prefix": prefix}, AbortIncompleteMultipartUpload=left)
    return made


def owner(prefix: str) -> str:
    """What the names of our rules begin with: another lake in the same bucket has others."""
    name = prefix if len(prefix) <= _PREFIX_IN_NAME else hashlib.sha256(prefix.encode()).hexdigest()[:32]
    return f"streamer:{name}:"


def merged(found: Sequence[Mapping[str, Any]], ours: Sequence[Rule], prefix: str) -> list[Mapping[str, Any]]:
    """All rules of the bucket once ours are set: setting any replaces all, so those of others go along."""
    return [rule for rule in found if not str(rule.get("ID", "")).startswith(owner(prefix))] + list(ours)


def lines(found: Iterable[Mapping[str, Any]], prefix: str) -> tuple[str, ...]:
    """Our rules among `found` as text, one a line, so that two sets of them can be compared."""
    ours = (rule for rule in found if str(rule.get("ID", "")).startswith(owner(prefix)))
    return tuple(sorted(_line(rule) for rule in ours))


def _line(rule: Mapping[str, Any]) -> str:
    where = rule.get("Filter") or {}
    both = where.get("And", where)
    scope = [str(both.get("Prefix", rule.get("Prefix", ""))) or "everything"]
    tags = [*both.get("Tags", []), *([where["Tag"]] if "Tag" in where else [])]
    scope += [f"tagged {tag['Key']}={tag['Value']}" for tag in tags]
    what = [f"to {move['StorageClass']} after {move['Days']} d" for move in rule.get("Transitions", [])]
    expires = rule.get("Expiration", {})
    what += [f"deleted after {expires['Days']} d"] if expires.get("Days") else []
    what += ["delete markers removed"] if expires.get("ExpiredObjectDeleteMarker") else []
    if old := rule.get("NoncurrentVersionExpiration"):
        what.append(f"old versions removed after {old['NoncurrentDays']} d")
    if left := rule.get("AbortIncompleteMultipartUpload"):
        what.append(f"unfinished uploads removed after {left['DaysAfterInitiation']} d")
    status = "" if rule.get("Status") == "Enabled" else " (switched off)"
    return f"{', '.join(scope)}: {', '.join(what) or 'nothing'}{status}"


def _days(seconds: float) -> int:
    return int(seconds // DAY_SECONDS)
