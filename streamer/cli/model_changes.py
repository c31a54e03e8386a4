"""The commands of `streamer models` that move bytes or change a registry. `models.py` registers them."""

from __future__ import annotations

import asyncio
import json as json_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.model_access import (
    AliasArgument,
    CacheOption,
    NameArgument,
    ReasonOption,
    VersionArgument,
    WhoOption,
    document_of,
    opened_models,
    transfer,
)
from streamer.cli.options import ConfigOption, JsonOption, LakeOption, settings_from
from streamer.cli.output import note, print_json, print_table
from streamer.errors import Invalid, StreamerError

if TYPE_CHECKING:
    from typing import Any

    from streamer.models.version import Version


def push(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    config: ConfigOption = None,
    lake: LakeOption = None,
    name: Annotated[str | None, typer.Option("--name", help="The model's name; default: the file's, without suffix.")] = None,
    metrics: Annotated[
        str | None, typer.Option("--metrics", metavar="JSON", help='A JSON object: {"auc": 0.91}. Default: the sidecar file.')
    ] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", metavar="NAME[=VALUE]", help="May be given again.")] = None,
    feature: Annotated[
        list[str] | None, typer.Option("--feature", metavar="NAME", help="An input, in order; may be given again.")
    ] = None,
    parent: Annotated[str | None, typer.Option("--parent", metavar="VERSION", help="What it was trained from.")] = None,
    who: WhoOption = None,
    json: JsonOption = False,
) -> int:
    """Make a file the next version of its model; `latest` points to it then. Content that is a version already is not pushed
    again. Without --metrics the sidecar beside the file counts: FILE.json, or NAME.metrics.json.

    \b
    Example:
      streamer models push hmm_regime.pkl --metrics '{"auc": 0.91}' --tag retrained

    \b
    Exit status:
      0  the content is a version now, or was one already
      2  the file or its name cannot be pushed
      3  the store was unreachable
      4  credentials or permissions were refused
    """
    settings = settings_from(config, lake=lake)
    from streamer.models.sidecar import read_sidecar
    from streamer.models.version import about

    beside, _ = read_sidecar(str(file))
    tags = dict(text.partition("=")[::2] for text in tag or ())
    said = about(
        metrics=_parse_metrics(metrics) if metrics is not None else beside.metrics,
        tags={**beside.tags, **tags},
        parent=(int(parent) if parent.isdecimal() else parent) if parent is not None else beside.parent,
        features=feature or beside.features,
        schema=None if feature else beside.schema,
    )

    async def work() -> tuple[dict[str, Any], bool]:
        async with opened_models(settings) as models:
            with transfer(f"pushing {file.name}") as progress:
                pushed = await models.push_file(file, name, said, who=who, progress=progress)
            return document_of(await models.registry(pushed.name), pushed.version), pushed.created

    body, created = asyncio.run(work())
    if json:
        print_json({**body, "created_now": created})
    else:
        what = "pushed" if created else "nothing to push: the content is there already"
        print(f"{what}: {body['name']} version {body['n']}, {body['size']:,} bytes, sha256 {body['sha256']}")
    return 0


def pull(
    name: NameArgument,
    to: Annotated[Path, typer.Argument(metavar="TO", help="A file, or a directory.")],
    config: ConfigOption = None,
    lake: LakeOption = None,
    version: Annotated[str, typer.Option("--version", help="A number, or an alias.")] = "latest",
    expect_schema: Annotated[
        str | None, typer.Option("--expect-schema", metavar="FINGERPRINT", help="Refuse a model of other features.")
    ] = None,
    cache: CacheOption = True,
    json: JsonOption = False,
) -> int:
    """Write a version to a file. The hash is checked first; the file is replaced at once, or stays as it is.

    \b
    Example:
      streamer models pull hmm_regime models/hmm_regime.pkl --version production

    \b
    Exit status:
      0  the file is there
      2  there is no such model or version, or it was trained on other features
      3  the store was unreachable
      4  refused: credentials, permissions, or the signature (STREAMER_MODEL_KEY)
      5  the lake has other bytes than were pushed, or none
    """
    settings = settings_from(config, lake=lake)
    target = f"{to}/" if to.is_dir() else str(to)

    async def work() -> dict[str, Any]:
        async with opened_models(settings, cache=cache) as models:
            with transfer(f"pulling {name}") as progress:
                pulled = await models.pull(name, target, version, expect_schema=expect_schema, progress=progress)
            body = document_of(await models.registry(name), pulled.version)
            return {**body, "path": str(pulled.path), "from_cache": pulled.from_cache}

    body = asyncio.run(work())
    if json:
        print_json(body)
    else:
        source = "from the cache" if body["from_cache"] else "fetched"
        print(f"{body['path']}: {name} version {body['n']}, {body['size']:,} bytes, {source}")
    return 0


def promote(
    name: NameArgument,
    version: VersionArgument,
    alias: AliasArgument,
    config: ConfigOption = None,
    lake: LakeOption = None,
    reason: ReasonOption = "",
    who: WhoOption = None,
    json: JsonOption = False,
) -> int:
    """Point an alias to a version. `latest` moves by itself, with every push.

    \b
    Example:
      streamer models promote hmm_regime 7 production --reason "better in shadow for a week"

    \b
    Exit status:
      0  the alias points there
      2  there is no such model or version, or no alias may be called so
      3  the store was unreachable
      5  the registry is damaged
    """
    settings = settings_from(config, lake=lake)

    async def work() -> Version:
        async with opened_models(settings) as models:
            return await models.promote(name, version, alias, reason=reason, who=who)

    return _moved(name, alias, asyncio.run(work()), json)


def rollback(
    name: NameArgument,
    alias: AliasArgument,
    config: ConfigOption = None,
    lake: LakeOption = None,
    reason: ReasonOption = "",
    who: WhoOption = None,
    json: JsonOption = False,
) -> int:
    """Point an alias to what it pointed to before; given again, to what was before that. Works for `latest` too, until the next
    push moves it.

    \b
    Example:
      streamer models rollback hmm_regime production --reason "drift"

    \b
    Exit status:
      0  the alias points there
      2  there is no such model or alias, or nothing to return to
      3  the store was unreachable
      5  the registry is damaged
    """
    settings = settings_from(config, lake=lake)

    async def work() -> Version:
        async with opened_models(settings) as models:
            return await models.rollback(name, alias, reason=reason, who=who)

    return _moved(name, alias, asyncio.run(work()), json)


def prune(
    name: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Default: every model.")] = None,
    config: ConfigOption = None,
    lake: LakeOption = None,
    keep: Annotated[int, typer.Option(min=0, help="How many of the newest versions stay.")] = 10,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove them. Without it nothing is changed, only shown.")] = False,
    json: JsonOption = False,
) -> int:
    """Remove old versions. Shows what would go; removes it with --yes. A version that an alias points to, or would roll back
    to, always stays, and no number is given a second time.

    \b
    Example:
      streamer models prune --keep 10
      streamer models prune hmm_regime --keep 10 --yes

    \b
    Exit status:
      0  done
      2  there is no such model
      3  the store was unreachable
      4  credentials or permissions were refused
      5  a registry is damaged
    """
    settings = settings_from(config, lake=lake)

    async def work() -> list[dict[str, Any]]:
        async with opened_models(settings) as models:
            results = [await models.prune(each, keep=keep, dry_run=not yes) for each in name or await models.names()]
            return [
                {
                    "name": result.name,
                    "versions": [version.n for version in result.versions],
                    "keys": list(result.keys),
                    "bytes": result.bytes,
                    "removed": result.done,
                }
                for result in results
            ]

    results = asyncio.run(work())
    if json:
        print_json({"keep": keep, "dry_run": not yes, "models": results})
        return 0
    print_table(
        ("model", "versions", "bytes"),
        [(one["name"], ", ".join(map(str, one["versions"])), one["bytes"]) for one in results if one["keys"]],
    )
    total = sum(len(one["keys"]) for one in results)
    note(f"{total} objects removed" if yes else f"{total} objects would be removed: add --yes to do it")
    return 0


def repair(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Default: every model.")] = None,
    config: ConfigOption = None,
    lake: LakeOption = None,
    who: WhoOption = None,
    json: JsonOption = False,
) -> int:
    """Put right what a crash or a hand in the bucket left: versions that no registry knows are taken in, plain copies written
    again. The daemon does it at start. Nothing is removed but parts of uploads that are a day old.

    \b
    Example:
      streamer models repair

    \b
    Exit status:
      0  all is as it should be
      3  the store was unreachable
      5  something is left to do by hand; each line says what
    """
    settings = settings_from(config, lake=lake)

    async def work() -> tuple[dict[str, Any], list[tuple[str, StreamerError]]]:
        async with opened_models(settings) as models:
            done = await models.recover(name, who=who)
        versions = [{"name": stem, "version": n} for stem, n in done.versions]
        return {"versions": versions, "copies": done.copies, "uploads": done.uploads}, done.failures

    body, failures = asyncio.run(work())
    if json:
        print_json({**body, "failures": [{"name": stem, "detail": str(error), "hint": error.hint} for stem, error in failures]})
    else:
        print(
            f"taken in: {len(body['versions'])} versions, plain copies written: {len(body['copies'])}, "
            f"uploads aborted: {body['uploads']}"
        )
        for _, error in failures:
            note(f"error: {error}; {error.hint}")
    return min((error.exit_code for _, error in failures), default=0)


def _moved(name: str, alias: str, version: Version, json: bool) -> int:
    if json:
        print_json({"name": name, "alias": alias, "version": version.n, "sha256": version.sha256})
    else:
        print(f"{name}: {alias} points to version {version.n}")
    return 0


def _parse_metrics(text: str) -> dict[str, Any]:
    try:
        said = json_.loads(text)
    except ValueError as error:
        raise Invalid(f"--metrics is not JSON: {error}", hint="""write --metrics '{"auc": 0.91}'""") from error
    if not isinstance(said, dict):
        raise Invalid("--metrics is not a JSON object", hint="""write --metrics '{"auc": 0.91}'""")
    return said
