"""Opening a lake: from a URL, or from what the environment says, to a connected store with this machine's caches in front.

Knows where things are and who may have them; reads nothing of what the lake holds.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from streamer.cache.lake_cache import OBJECTS, cache_base, tiers_at
from streamer.cache.tiers import TieredCache
from streamer.clock import Clock, SystemClock
from streamer.docstore.kinds import Kind
from streamer.errors import Invalid
from streamer.index.settings import TableSettings, table_of_environment
from streamer.lake.environment import choice
from streamer.log_events import LogEvent
from streamer.models.cache import BUDGET_BYTES, ModelCache, default_cache_folder
from streamer.store.contract import NoCredentials, Store
from streamer.store.open import open_store
from streamer.store.presigned import Presigner
from streamer.store.retry import RetryingStore
from streamer.store.s3_settings import S3Settings

DEFAULT_CACHE = "~/.cache/streamer"

Folder = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class CacheChoice:
    """What this machine keeps: folder None: nothing. model_bytes: of models. ttl_seconds: how long what was read is good; None:
    until there is no room."""

    folder: Folder | None = None
    model_bytes: int = BUDGET_BYTES
    ttl_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class OpenedLake:
    """A connected store, and what goes with it. presigner: of a bucket. objects: keeps what was read from a bucket; a directory
    is as near as its cache would be. cache_folder: where named caches keep theirs; None: nowhere. kinds: of documents, beside
    the built-in ones. events_table: the index of `events`; None: they have none."""

    store: Store
    clock: Clock
    presigner: Presigner | None = None
    objects: TieredCache | None = None
    models: ModelCache | None = None
    cache_folder: str | None = None
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    events_table: TableSettings | None = None


def settings_of(
    region: str | None,
    endpoint_url: str | None,
    access_key_id: str | None,
    secret_access_key: str | None,
    session_token: str | None,
) -> S3Settings:
    """What was said, else what AWS's variables say; without keys the credential chain applies."""
    return S3Settings(
        region=region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
        endpoint_url=endpoint_url or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"),
        access_key_id=access_key_id,
        secret_access_key=secret_access_key,
        session_token=session_token,
    )


async def open_at(url: str, settings: S3Settings, cache: CacheChoice, *, create: bool = False) -> OpenedLake:
    """Connect. Raises `Invalid` where there is no such place (a directory is made with `create`), `Denied`, `Unavailable`."""
    clock = SystemClock()
    bare = open_store(url, settings, clock, create_directory=create)
    store = RetryingStore(bare, clock)
    try:
        await store.prepare()
    except BaseException:
        await store.close()
        raise
    presigner, table = bare if isinstance(bare, Presigner) else None, table_of_environment(os.environ)
    folder = default_cache_folder() if cache.folder == DEFAULT_CACHE else cache.folder
    if folder is None:
        return OpenedLake(store, clock, presigner, events_table=table)
    base = cache_base(folder)
    objects = tiers_at(base, OBJECTS, clock, cache.ttl_seconds) if presigner is not None else None
    models = ModelCache(folder, cache.model_bytes)
    return OpenedLake(store, clock, presigner, objects, models, base, events_table=table)


async def open_environment(environment: Mapping[str, str], config: Folder | None = None) -> OpenedLake:
    """The lake that the environment names, with the kinds of documents and the index of events of the configuration that is at
    hand; see docs/reading.md. Logs which. Raises as `open_at`."""
    kinds, table = configured(environment, config)
    return replace(await _open_environment(environment), kinds=kinds, events_table=table)


def configured(environment: Mapping[str, str], config: Folder | None = None) -> tuple[Mapping[str, Kind], TableSettings | None]:
    """The kinds of documents and the index of events in the file `config`, else in the one that the daemon takes, and in the
    environment. Raises `Invalid` where something in the configuration is wrong; where there is none, no file is looked at."""
    from streamer.config import load
    from streamer.config.clients import table_settings
    from streamer.config.documents import document_kinds
    from streamer.config.layers import FILES

    told = any(name.upper().startswith("STREAMER__DOCUMENTS__") for name in environment)
    if config is None and not told and not any(file.is_file() for file in FILES):
        return {}, table_of_environment(environment)
    settings = load(Path(config) if config is not None else None, environment=environment, require_lake=False)
    table = settings.dynamodb.pulse_table
    return document_kinds(settings), table_settings(settings, table) if table is not None else None


async def _open_environment(environment: Mapping[str, str]) -> OpenedLake:
    log = structlog.get_logger()
    chosen = choice(environment)
    cache = CacheChoice((chosen.cache_folder or DEFAULT_CACHE) if chosen.cache else None, ttl_seconds=chosen.cache_ttl_seconds)
    settings = settings_of(None, None, None, None, None)
    reason = None if chosen.storage == "local" else "no bucket is named"
    if chosen.bucket_url is not None and chosen.storage != "local":
        try:
            opened = await open_at(explicit(chosen.bucket_url), settings, cache)
        except NoCredentials as error:
            if chosen.storage == "s3":
                raise
            reason = error.message
        else:
            log.info(LogEvent.LAKE_OPENED, lake=opened.store.url, storage=chosen.storage)
            return opened
    opened = await open_at(explicit(chosen.local_url), settings, cache, create=True)
    log.info(LogEvent.LAKE_OPENED, lake=opened.store.url, storage=chosen.storage, reason=reason)
    return opened


def explicit(url: str) -> str:
    """A relative path as `open_store` wants it: notebooks say `lake`, and mean `./lake`."""
    if not url:
        raise Invalid("the lake's URL is empty", hint='write Lake.open("s3://bucket/prefix") or Lake.open("./lake")')
    return url if "://" in url or url.startswith(("/", ".", "~")) else f"./{url}"
