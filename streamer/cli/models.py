"""`streamer models`: the versions of models, from a terminal or a script. What changes something is in `model_changes.py`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.model_access import NameArgument, VersionArgument, all_registries, cell, document_of, opened_models, time_of
from streamer.cli.model_changes import promote, prune, pull, push, repair, rollback
from streamer.cli.options import ConfigOption, JsonOption, LakeOption, settings_from
from streamer.cli.output import note, print_json, print_table
from streamer.errors import Damaged

if TYPE_CHECKING:
    from streamer.models.registry import Registry
    from streamer.models.version import Version


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(help="Versions of model checkpoints.", no_args_is_help=True, rich_markup_mode=None)
    for name, command in (
        ("list", list_),
        ("show", show),
        ("push", push),
        ("pull", pull),
        ("promote", promote),
        ("rollback", rollback),
        ("diff", diff),
        ("prune", prune),
        ("repair", repair),
    ):
        group.command(name)(command)
    app.add_typer(group, name="models")


def list_(config: ConfigOption = None, lake: LakeOption = None, json: JsonOption = False) -> int:
    """List the models, with their newest version and their aliases.

    \b
    Example:
      streamer models list

    \b
    Exit status:
      0  done, also where there are none
      3  the store was unreachable
      4  credentials or permissions were refused
      5  a registry is damaged; the others are listed
    """
    settings = settings_from(config, lake=lake)

    async def ask() -> tuple[list[Registry], list[tuple[str, Damaged]]]:
        async with opened_models(settings) as models:
            return await all_registries(models)

    found, damaged = asyncio.run(ask())
    if json:
        models = [
            {
                "name": registry.name.stem,
                "file": registry.name.file,
                "versions": len(registry.versions),
                "bytes": sum(version.size for version in registry.versions),
                "aliases": {name: alias.n for name, alias in sorted(registry.aliases.items())},
            }
            for registry in found
        ]
        print_json({"models": models, "damaged": [{"name": name, "detail": str(error)} for name, error in damaged]})
    else:
        print_table(
            ("model", "file", "versions", "bytes", "newest", "aliases"),
            [
                (
                    registry.name.stem,
                    registry.name.file,
                    len(registry.versions),
                    sum(version.size for version in registry.versions),
                    time_of(registry.versions[-1]) if registry.versions else None,
                    ", ".join(f"{name}={alias.n}" for name, alias in sorted(registry.aliases.items())),
                )
                for registry in found
            ],
        )
        for _, error in damaged:
            note(f"error: {error}; {error.hint}")
    return Damaged.exit_code if damaged else 0


def show(
    name: NameArgument,
    version: Annotated[str | None, typer.Argument(metavar="[VERSION]", help="One version, whole.")] = None,
    config: ConfigOption = None,
    lake: LakeOption = None,
    moves: Annotated[int, typer.Option(min=0, help="How many of the last moves of aliases to show.")] = 10,
    json: JsonOption = False,
) -> int:
    """Show the versions of a model and the last moves of its aliases, or all that is known of one version.

    \b
    Example:
      streamer models show hmm_regime
      streamer models show hmm_regime production

    \b
    Exit status:
      0  done
      2  there is no such model or version
      3  the store was unreachable
      5  its registry is damaged
    """
    settings = settings_from(config, lake=lake)

    async def ask() -> Registry:
        async with opened_models(settings) as models:
            return await models.registry(name)

    registry = asyncio.run(ask())
    if version is not None:
        body = document_of(registry, registry.resolve(version))
        if json:
            print_json(body)
        else:
            print_table(("name", "value"), [(field, cell(value)) for field, value in body.items()])
        return 0
    history = [move.document() for move in registry.history[len(registry.history) - min(moves, len(registry.history)) :]]
    if json:
        versions = [document_of(registry, found) for found in registry.listed()]
        aliases = {alias: target.n for alias, target in sorted(registry.aliases.items())}
        print_json({"name": name, "file": registry.name.file, "aliases": aliases, "versions": versions, "history": history})
        return 0
    columns = ("version", "aliases", "created", "bytes", "pushed by", "metrics", "tags", "sha256")
    print_table(columns, [_row(found) for found in registry.listed()])
    if history:
        print_table(
            ("at", "who", "alias", "from", "to", "reason"),
            [(move["at"][:19], *(move[field] for field in ("who", "alias", "from", "to", "reason"))) for move in history],
        )
    return 0


def diff(
    name: NameArgument,
    first: VersionArgument,
    second: VersionArgument,
    config: ConfigOption = None,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> int:
    """Show in what two versions differ: metrics with their change, features, tags, size, what they were trained through.

    \b
    Example:
      streamer models diff hmm_regime production latest

    \b
    Exit status:
      0  done, whether they differ or not
      2  there is no such model or version
      3  the store was unreachable
    """
    settings = settings_from(config, lake=lake)

    async def ask() -> Registry:
        async with opened_models(settings) as models:
            return await models.registry(name)

    registry = asyncio.run(ask())
    from streamer.models.difference import difference

    lines = difference(registry.resolve(first), registry.resolve(second))
    if json:
        print_json({"name": name, "differences": [line.document() for line in lines]})
    else:
        print_table(
            ("field", f"version {registry.resolve(first).n}", f"version {registry.resolve(second).n}", "change"),
            [(line.field, cell(line.first), cell(line.second), line.change) for line in lines],
        )
    return 0


def _row(version: Version) -> tuple[object, ...]:
    metrics = ", ".join(f"{name}={value}" for name, value in version.metrics.items())
    tags = ", ".join(f"{name}={value}" if value else name for name, value in version.tags.items())
    aliases = ", ".join(version.aliases)
    return version.n, aliases, time_of(version), version.size, version.pushed_by, metrics, tags, version.sha256[:12]
