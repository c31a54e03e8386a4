"""`streamer run`: the daemon."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from streamer.cli.options import ConfigOption, KafkaOption, LakeOption, settings_from


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("run")(run)


def run(
    config: ConfigOption = None,
    lake: LakeOption = None,
    kafka: KafkaOption = None,
    until_caught_up: Annotated[
        bool, typer.Option("--until-caught-up", help="End when all that was in the topics at the start is in the lake.")
    ] = False,
) -> int:
    """Archive the configured topics until told to stop. SIGTERM or Ctrl-C writes and commits what is buffered within
    stop.budget, a second signal ends at once; neither loses nor doubles a record. With --until-caught-up it ends by itself
    and waits for partitions, too, that other members of the consumer group hold.

    \b
    Example:
      KAFKA_BOOTSTRAP_SERVERS=localhost:9092 S3_BUCKET_NAME=microstream-data streamer run
      streamer run --config streamer.toml --until-caught-up

    \b
    Exit status:
      0    stopped in order, or caught up
      1    a bug
      2    the configuration is wrong
      3    Kafka or the store was unreachable at the start
      4    credentials or permissions were refused
      5    the lake is damaged
      6    a partition was refused, and the rest is done
      130  ended by a second signal
    """
    settings = settings_from(config, lake=lake, kafka=kafka)
    from streamer import daemon, logs
    from streamer.arrow_process import set_up_arrow

    set_up_arrow()
    secrets = (*settings.hidden_values, *logs.secret_variables(os.environ))
    logs.configure(settings.log.level, settings.log.format, secrets=secrets)
    return daemon.run(settings, until_caught_up=until_caught_up)
