"""`streamer policy`: the least that each role needs, as IAM policies."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from streamer.cli.options import ConfigOption, JsonOption, LakeOption, settings_from
from streamer.cli.output import note, print_json


class RoleName(StrEnum):
    """Who asks."""

    daemon = "daemon"
    reader = "reader"
    trainer = "trainer"
    writer = "writer"
    setup = "setup"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("policy")(policy)


def policy(
    role: Annotated[RoleName | None, typer.Argument(help="One role alone; all of them where none is named.")] = None,
    config: ConfigOption = None,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> None:
    """Print the least-privilege IAM policies that this configuration needs, as JSON: for the daemon, for a reader, for a
    trainer that pushes models, for a writer of documents, bundles and cached values, and for `streamer init` (setup). Bucket
    and prefix are exact; the daemon may write where its streams are, and delete what [retention] tells it to. With a key of
    KMS, or secrets, their permissions are in it. Asks no service.

    \b
    Example:
      streamer policy daemon > daemon.json
      aws iam put-role-policy --role-name streamer --policy-name lake --policy-document file://daemon.json

    \b
    Exit status:
      0  printed
      2  the configuration is wrong, or the lake is no bucket
    """
    from streamer.setup.policy import ROLES
    from streamer.setup.policy import policy as made

    settings = settings_from(config, lake=lake)
    if role is not None:
        print_json(made(settings, role.value))
        return
    print_json({name: made(settings, name) for name in ROLES})
    if not json:
        note("one policy for each role; `streamer policy daemon` prints one alone")
