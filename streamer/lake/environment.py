"""Which lake the environment means: the variables that programs of this field have set for years. Opens nothing.

USE_STORAGE_BACKEND              false: no store; then there is no lake to open
STORAGE_TYPE                     local | s3 | auto (the default): S3 where a bucket and credentials are found, else local
S3_BUCKET, S3_BUCKET_NAME        the bucket; `s3://bucket/prefix` is taken too
AWS_S3_PULSE_BUCKET              the same, where neither of them is set
LOCAL_STORAGE_PATH               the local directory; default ./lake
STREAMER__LAKE__URL              as the daemon has it; goes before all of the above
ENABLE_CACHE, CACHE_DIR, CACHE_TTL_SECONDS
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from streamer.errors import Invalid

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")
LOCAL_DEFAULT = "./lake"


@dataclass(frozen=True, slots=True)
class EnvironmentChoice:
    """What the variables say.

    storage: what was asked for. bucket_url: the S3 lake, None where no bucket is named. local_url: the directory. cache:
    whether to cache; cache_folder: where, None for the default; cache_ttl_seconds: None for no limit of age.
    """

    storage: Literal["local", "s3", "auto"]
    bucket_url: str | None
    local_url: str
    cache: bool = True
    cache_folder: str | None = None
    cache_ttl_seconds: float | None = None


def choice(environment: Mapping[str, str]) -> EnvironmentChoice:
    """Read the variables. Raises `Invalid` for a value that none of them can have, and for s3 without a bucket."""

    def text(name: str) -> str:
        return environment.get(name, "").strip()

    if text("USE_STORAGE_BACKEND") and not _flag("USE_STORAGE_BACKEND", text("USE_STORAGE_BACKEND")):
        hint = "set it to true, or leave it out, to open the lake"
        raise Invalid("USE_STORAGE_BACKEND says that there is no lake", hint=hint)
    storage = text("STORAGE_TYPE").lower() or "auto"
    bucket, first, second = text("STREAMER__LAKE__URL"), text("S3_BUCKET_NAME"), text("S3_BUCKET")
    if first and second and first != second:
        raise Invalid("S3_BUCKET and S3_BUCKET_NAME name different buckets", hint="set one of them")
    local = text("LOCAL_STORAGE_PATH") or LOCAL_DEFAULT
    url: str | None = None
    if bucket:
        url, local = (bucket, local) if bucket.startswith("s3://") else (None, bucket)
        storage = "s3" if url is not None else "local"
    elif named := first or second or text("AWS_S3_PULSE_BUCKET"):
        url = named if "://" in named else f"s3://{named}"
    if storage == "s3" and url is None:
        raise Invalid("STORAGE_TYPE is s3, and no bucket is named", hint="set S3_BUCKET_NAME")
    if storage not in ("local", "s3", "auto"):
        raise Invalid(f"STORAGE_TYPE is {storage!r}", hint="it is local, s3 or auto")
    cached = text("ENABLE_CACHE")
    kind: Literal["local", "s3", "auto"] = "local" if storage == "local" else "s3" if storage == "s3" else "auto"
    return EnvironmentChoice(
        kind,
        url,
        local,
        _flag("ENABLE_CACHE", cached) if cached else True,
        text("CACHE_DIR") or None,
        _seconds(text("CACHE_TTL_SECONDS")),
    )


def _flag(name: str, text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise Invalid(f"{name} is {text!r}", hint="it is true or false")


def _seconds(text: str) -> float | None:
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < math.inf:
        raise Invalid(f"CACHE_TTL_SECONDS is {text!r}", hint="it is a number of seconds greater than 0")
    return seconds
