"""`streamer bundles`: folders of code and data, versioned as models are. What it shares with `streamer models` is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.model_access import (
    AliasArgument,
    CacheOption,
    ReasonOption,
    VersionArgument,
    WhoOption,
    all_registries,
    document_of,
    opened_versions,
    time_of,
    transfer,
)
from streamer.cli.options import ConfigOption, JsonOption, LakeOption, settings_from
from streamer.cli.output import note, print_json, print_table
from streamer.errors import Damaged

if TYPE_CHECKING:
    from typing import Any

    from streamer.bundles.bundles import AsyncBundles
    from streamer.config import Settings
    from streamer.models.registry import Registry
    from streamer.models.version import Version

BundleArgument = Annotated[str, typer.Argument(metavar="NAME", help="The bundle.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(help="Folders of code and data, versioned as models are.", no_args_is_help=True, rich_markup_mode=None)
    for name, command in (
        ("list", list_),
        ("show", show),
        ("push", push),
        ("load", load),
        ("promote", promote),
        ("rollback", rollback),
        ("prune", prune),
        ("repair", repair),
        ("check", check),
    ):
        group.command(name)(command)
    app.add_typer(group, name="bundles")


@asynccontextmanager
async def opened_bundles(settings: Settings, *, cache: bool = False) -> AsyncIterator[AsyncBundles]:
    """The bundles of the configured lake. cache: with the local cache of this user."""
    from streamer.bundles.bundles import AsyncBundles

    async with opened_versions(settings, AsyncBundles, threads=2, cache=cache) as bundles:
        yield bundles


def list_(config: ConfigOption = None, lake: LakeOption = None, json: JsonOption = False) -> int:
    """List the bundles, with their newest version and their aliases.

    \b
    Example:
      streamer bundles list

    \b
    Exit status:
      0  done, also where there are none
      3  the store was unreachable
      4  credentials or permissions were refused
      5  a registry is damaged; the others are listed
    """
    settings = settings_from(config, lake=lake)

    async def ask() -> tuple[list[Registry], list[tuple[str, Damaged]]]:
        async with opened_bundles(settings) as bundles:
            return await all_registries(bundles)

    registries, damaged = asyncio.run(ask())
    found: list[dict[str, Any]] = [
        {
            "name": registry.name.stem,
            "file": registry.name.file,
            "versions": len(registry.versions),
            "bytes": sum(version.size for version in registry.versions),
            "newest": time_of(registry.versions[-1]) if registry.versions else None,
            "aliases": {alias: at.n for alias, at in sorted(registry.aliases.items())},
        }
        for registry in registries
    ]
    if json:
        print_json({"bundles": found, "damaged": [str(error) for _, error in damaged]})
    else:
        print_table(
            ("bundle", "file", "versions", "bytes", "newest", "aliases"),
            [(*list(one.values())[:-1], ", ".join(f"{alias}={n}" for alias, n in one["aliases"].items())) for one in found],
        )
        for _, error in damaged:
            note(f"error: {error}; {error.hint}")
    return Damaged.exit_code if damaged else 0


def show(name: BundleArgument, config: ConfigOption = None, lake: LakeOption = None, json: JsonOption = False) -> int:
    """Show the versions of a bundle.

    \b
    Example:
      streamer bundles show data-science-libs

    \b
    Exit status:
      0  done
      2  there is no such bundle
      3  the store was unreachable
      5  its registry is damaged
    """
    settings = settings_from(config, lake=lake)

    async def ask() -> list[dict[str, Any]]:
        async with opened_bundles(settings) as bundles:
            registry = await bundles.registry(name)
            return [{**document_of(registry, version), "pushed": time_of(version)} for version in registry.listed()]

    versions = asyncio.run(ask())
    if json:
        print_json({"name": name, "versions": versions})
    else:
        print_table(
            ("version", "pushed", "by", "bytes", "sha256", "aliases"),
            [(v["n"], v["pushed"], v["pushed_by"], v["size"], v["sha256"][:16], ", ".join(v["aliases"])) for v in versions],
        )
    return 0


def push(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A folder, or a .zip, .whl, .tar, .tar.gz, .tgz.")],
    config: ConfigOption = None,
    lake: LakeOption = None,
    name: Annotated[str | None, typer.Option("--name", help="The bundle's name; default: the folder's or file's.")] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", metavar="NAME[=VALUE]", help="May be given again.")] = None,
    who: WhoOption = None,
    json: JsonOption = False,
) -> int:
    """Make a folder, or an archive, the next version of a bundle; `latest` points to it then. Content that is a version already
    is not pushed again.

    \b
    Example:
      pip install --target libs scikit-learn && streamer bundles push libs --name data-science-libs

    \b
    Exit status:
      0  the content is a version now, or was one already
      2  it cannot be pushed: the archive is damaged, or would write outside its folder
      3  the store was unreachable
      4  credentials or permissions were refused
    """
    settings = settings_from(config, lake=lake)
    tags = dict(text.partition("=")[::2] for text in tag or ())

    async def work() -> Version:
        async with opened_bundles(settings) as bundles:
            with transfer(f"pushing {source.name}") as progress:
                return await bundles.push(source, name, tags=tags, who=who, progress=progress)

    version = asyncio.run(work())
    if json:
        print_json({"n": version.n, "bytes": version.size, "sha256": version.sha256})
    else:
        print(f"version {version.n}, {version.size:,} bytes, sha256 {version.sha256}")
    return 0


def load(
    name: BundleArgument,
    to: Annotated[Path, typer.Argument(metavar="TO", help="A folder of this user alone, or one that is not there yet.")],
    config: ConfigOption = None,
    lake: LakeOption = None,
    version: Annotated[str, typer.Option("--version", help="A number, or an alias.")] = "latest",
    size_limit: Annotated[int, typer.Option("--size-limit", min=1, metavar="BYTES", help="The most it may unpack to.")] = 2
    << 30,
    cache: CacheOption = True,
    json: JsonOption = False,
) -> int:
    """Have a bundle in a folder of its own below TO, and print its path, for PYTHONPATH. Fetched once per machine.

    \b
    Example:
      export PYTHONPATH=$(streamer bundles load data-science-libs /tmp/python-libs)

    \b
    Exit status:
      0  it is there
      2  there is no such bundle or version, or it would write outside its folder
      3  the store was unreachable
      4  refused: credentials, permissions, the signature (STREAMER_MODEL_KEY), or others can write into TO
      5  the lake has other bytes than were pushed, or none
    """
    settings = settings_from(config, lake=lake)

    async def work() -> dict[str, Any]:
        async with opened_bundles(settings, cache=cache) as bundles:
            with transfer(f"loading {name}") as progress:
                loaded = await bundles.load(
                    name, to, version, on_path=False, max_age_seconds=0, size_limit_bytes=size_limit, progress=progress
                )
        return {"name": name, "n": loaded.version, "sha256": loaded.sha256, "path": str(loaded.path), "fetched": loaded.fetched}

    body = asyncio.run(work())
    if json:
        print_json(body)
    else:
        print(body["path"])
    return 0


def promote(
    name: BundleArgument,
    version: VersionArgument,
    alias: AliasArgument,
    config: ConfigOption = None,
    lake: LakeOption = None,
    reason: ReasonOption = "",
    who: WhoOption = None,
) -> int:
    """Point ALIAS to a version. `latest` moves by itself, with every push.

    \b
    Example:
      streamer bundles promote data-science-libs 7 production

    \b
    Exit status:
      0  the alias points there
      2  there is no such bundle or version, or no alias may be called so
      3  the store was unreachable
      5  the registry is damaged
    """
    settings = settings_from(config, lake=lake)

    async def work() -> Version:
        async with opened_bundles(settings) as bundles:
            return await bundles.promote(name, version, alias, reason=reason, who=who)

    print(f"{alias} of {name} is version {asyncio.run(work()).n}")
    return 0


def rollback(
    name: BundleArgument,
    alias: AliasArgument,
    config: ConfigOption = None,
    lake: LakeOption = None,
    reason: ReasonOption = "",
    who: WhoOption = None,
) -> int:
    """Point ALIAS to what it pointed to before; `latest` too, until the next push.

    \b
    Example:
      streamer bundles rollback data-science-libs latest --reason "numpy 3"

    \b
    Exit status:
      0  the alias points there
      2  there is no such bundle or alias, or nothing to return to
      3  the store was unreachable
      5  the registry is damaged
    """
    settings = settings_from(config, lake=lake)

    async def work() -> Version:
        async with opened_bundles(settings) as bundles:
            return await bundles.rollback(name, alias, reason=reason, who=who)

    print(f"{alias} of {name} is version {asyncio.run(work()).n}")
    return 0


def prune(
    name: BundleArgument,
    config: ConfigOption = None,
    lake: LakeOption = None,
    keep: Annotated[int, typer.Option(min=0, help="How many of the newest versions stay.")] = 10,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove them. Without it nothing is changed, only shown.")] = False,
) -> int:
    """Remove old versions, never one that an alias points to, or would roll back to. Removes with --yes.

    \b
    Example:
      streamer bundles prune data-science-libs --keep 3 --yes

    \b
    Exit status:
      0  done
      2  there is no such bundle
      3  the store was unreachable
      4  credentials or permissions were refused
    """
    settings = settings_from(config, lake=lake)

    async def work() -> tuple[tuple[str, ...], int]:
        async with opened_bundles(settings) as bundles:
            pruned = await bundles.prune(name, keep=keep, dry_run=not yes)
            return pruned.keys, pruned.bytes

    keys, size = asyncio.run(work())
    print("\n".join(keys) or "nothing to remove")
    if keys:
        note(f"{size:,} bytes {'removed' if yes else 'would go; remove them with --yes'}")
    return 0


def repair(config: ConfigOption = None, lake: LakeOption = None) -> int:
    """Put right what crashes left: versions that are in no registry, plain copies that lag, uploads a day old.

    \b
    Example:
      streamer bundles repair

    \b
    Exit status:
      0  done
      3  the store was unreachable
      4  credentials or permissions were refused
      5  something could not be put right
    """
    settings = settings_from(config, lake=lake)

    async def work() -> int:
        async with opened_bundles(settings) as bundles:
            done = await bundles.recover()
        print(f"{len(done.versions)} versions taken in, {len(done.copies)} copies written, {done.uploads} uploads aborted")
        for name, failure in done.failures:
            note(f"error: {name}: {failure}; {failure.hint}")
        return Damaged.exit_code if done.failures else 0

    return asyncio.run(work())


def check(
    config: ConfigOption = None,
    lake: LakeOption = None,
    deep: Annotated[bool, typer.Option("--deep/--shallow", help="Read and hash every version, or compare sizes.")] = True,
    json: JsonOption = False,
) -> int:
    """Prove that every bundle is whole. Reads, and changes nothing.

    \b
    Example:
      streamer bundles check

    \b
    Exit status:
      0  every version has the bytes it was pushed with
      3  the store was unreachable
      4  credentials or permissions were refused
      5  something was found
    """
    settings = settings_from(config, lake=lake)

    async def work() -> tuple[dict[str, Any], bool]:
        async with opened_bundles(settings) as bundles:
            report = await bundles.check(deep=deep)
            return report.document(), report.sound

    body, sound = asyncio.run(work())
    if json:
        print_json({"bundles" if name == "models" else name: value for name, value in body.items()})
    else:
        for found in (*body["findings"], *body["notes"]):
            print(f"{found['kind']}  {found['key']}: {found['detail']}; {found['hint']}")
        note(f"{body['versions']} versions of {body['models']} bundles, {len(body['findings'])} findings")
    return 0 if sound else Damaged.exit_code
