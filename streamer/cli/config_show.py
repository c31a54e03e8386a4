"""`streamer config show`: what is configured, and who said so."""

from __future__ import annotations

from typing import Annotated

import typer

from streamer.cli.options import ConfigOption, JsonOption, KafkaOption, LakeOption, settings_from
from streamer.cli.output import note, print_json, print_table


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(help="The configuration.", no_args_is_help=True, rich_markup_mode=None)
    group.command("show")(show)
    app.add_typer(group, name="config")


def show(
    config: ConfigOption = None,
    lake: LakeOption = None,
    kafka: KafkaOption = None,
    json: JsonOption = False,
    changed: Annotated[bool, typer.Option("--changed", help="Only what somebody set.")] = False,
) -> None:
    """Print every value of the configuration and where it came from: an option, a variable, the file, or the default.
    Secrets are never printed.

    \b
    Example:
      streamer config show --changed
      streamer config show --json

    \b
    Exit status:
      0  the configuration is right
      2  it is not; every wrong value is named
    """
    from streamer.config.settings import DEFAULT

    settings = settings_from(config, lake=lake, kafka=kafka, require_lake=False)
    entries = [entry for entry in settings.entries() if not changed or entry.origin != DEFAULT]
    if json:
        values = {entry.path: {"value": entry.value, "from": entry.origin} for entry in entries}
        print_json({"values": values, "warnings": list(settings.warnings)})
        return
    print_table(("name", "value", "from"), [(entry.path, entry.text, entry.origin) for entry in entries])
    for warning in settings.warnings:
        note(f"warning: {warning}")
