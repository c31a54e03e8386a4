"""The options that most commands share, and how they become settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from streamer.config import Settings

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="TOML file; default ./streamer.toml, else /etc/streamer/streamer.toml."),
]
LakeOption = Annotated[
    str | None, typer.Option("--lake", metavar="URL", help="The lake: s3://bucket/prefix, file:///path or a path.")
]
KafkaOption = Annotated[str | None, typer.Option("--kafka", metavar="SERVERS", help="Kafka's bootstrap servers: host:port,...")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def settings_from(
    config: Path | None, *, lake: str | None = None, kafka: str | None = None, require_lake: bool = True
) -> Settings:
    """The configuration under these options. Raises `Invalid`. `require_lake`: False for what needs no lake."""
    from streamer import logs
    from streamer.config import load

    logs.configure("warning", secrets=logs.secret_variables(os.environ))
    settings = load(config, lake=lake, kafka=kafka, require_lake=require_lake)
    for secret in settings.hidden_values:
        logs.hide(secret)
    return settings
