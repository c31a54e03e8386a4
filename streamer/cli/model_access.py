"""What the commands about models and bundles share: those of the configured lake, and how a version is shown."""

from __future__ import annotations

import json as json_
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from streamer.cli.opened import opened_store
from streamer.cli.output import console
from streamer.errors import Damaged

if TYPE_CHECKING:
    from typing import Any

    from streamer.config import Settings
    from streamer.models.models import AsyncModels
    from streamer.models.registry import Registry
    from streamer.models.sync_versions import AsyncVersions
    from streamer.models.version import Version
    from streamer.store.big_objects import Progress

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The model: its file's name without the suffix.")]
VersionArgument = Annotated[str, typer.Argument(metavar="VERSION", help="A number, or an alias such as production.")]
AliasArgument = Annotated[str, typer.Argument(metavar="ALIAS")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept in the history.")]
WhoOption = Annotated[str | None, typer.Option("--who", help="Who; default: this user at this host.")]
CacheOption = Annotated[bool, typer.Option("--cache/--no-cache", help="Use the local cache of this user.")]


T = TypeVar("T")


@asynccontextmanager
async def opened_versions(settings: Settings, make: Callable[..., T], *, threads: int, cache: bool = False) -> AsyncIterator[T]:
    """What `make` makes of the configured lake: `AsyncModels` or `AsyncBundles`. cache: with the local cache of this user."""
    from streamer.clock import SystemClock
    from streamer.models.cache import ModelCache, default_cache_folder
    from streamer.models.signature import Signer
    from streamer.workers import ThreadWorkers

    folder = default_cache_folder() if cache else None
    kept = ModelCache(folder) if folder is not None else None
    workers = ThreadWorkers(threads)
    try:
        async with opened_store(settings) as store:
            yield make(store, SystemClock(), workers, cache=kept, signer=Signer.from_environment())
    finally:
        workers.close()


@asynccontextmanager
async def opened_models(settings: Settings, *, cache: bool = False) -> AsyncIterator[AsyncModels]:
    """The models of the configured lake. cache: with the local cache of this user."""
    from streamer.models.models import AsyncModels

    async with opened_versions(settings, AsyncModels, threads=4, cache=cache) as models:
        yield models


async def all_registries(versions: AsyncVersions) -> tuple[list[Registry], list[tuple[str, Damaged]]]:
    """Those that can be read, and the names of the others with what is wrong."""
    found: list[Registry] = []
    damaged: list[tuple[str, Damaged]] = []
    for name in await versions.names():
        try:
            found.append(await versions.registry(name))
        except Damaged as error:
            damaged.append((name, error))
    return found, damaged


def document_of(registry: Registry, version: Version) -> dict[str, Any]:
    """A version as scripts read it."""
    body = version.document()
    return {
        "name": registry.name.stem,
        "n": body.pop("n"),
        "key": registry.name.version_key(version.n),
        "aliases": list(version.aliases),
        **body,
        "signed": version.signature is not None,
    }


def time_of(version: Version) -> str:
    """When it was pushed, to the second."""
    return f"{version.created:%Y-%m-%d %H:%M:%S}"


def cell(value: object) -> object:
    """A value in one line of a table."""
    return json_.dumps(value, default=str) if isinstance(value, dict | list) else value


@contextmanager
def transfer(text: str) -> Iterator[Progress | None]:
    """A bar on a terminal, for as long as the block runs; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bar(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
