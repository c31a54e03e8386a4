"""`streamer secrets`: puts, tests and rotates the credentials that AWS Secrets Manager keeps for S3 and Kafka."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamer.cli.options import ConfigOption, JsonOption, KafkaOption, LakeOption, settings_from
from streamer.cli.output import note, print_json, print_line
from streamer.errors import Invalid, StreamerError

if TYPE_CHECKING:
    from streamer.clock import Clock
    from streamer.config import Settings
    from streamer.secrets.contract import AwsKeys, KafkaLogin

_PLACE = "secretsmanager:"
_PROBE_SECONDS = 6.0
_FIELDS = {
    "s3": (("access_key_id", "Access key id"), ("secret_access_key", "Secret access key")),
    "kafka": (("username", "User"), ("password", "Password")),
}


class For(StrEnum):
    """Whose credentials."""

    s3 = "s3"
    kafka = "kafka"


ForArgument = Annotated[For, typer.Argument(metavar="s3|kafka", help="Whose credentials.")]
StdinOption = Annotated[bool, typer.Option("--stdin", help="Read the secret's JSON from standard input instead of asking.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Credentials that AWS Secrets Manager keeps: s3.credentials and kafka.credentials name them.",
    )
    group.command("put")(put)
    group.command("test")(try_out)
    group.command("rotate")(rotate)
    app.add_typer(group, name="secrets")


def put(
    target: ForArgument,
    config: ConfigOption = None,
    lake: LakeOption = None,
    stdin: StdinOption = False,
    json: JsonOption = False,
) -> None:
    """Store credentials under the name that the configuration has for them, and make the secret where there is none. The values
    are asked for, or read from standard input as JSON; never taken from the command line, where others could see them.

    \b
    Example:
      export STREAMER__S3__CREDENTIALS=secretsmanager:cryptotrading/s3-storage
      streamer secrets put s3
      vault read -format=json lake/keys | jq .data | streamer secrets put s3 --stdin

    \b
    Exit status:
      0  stored
      2  the configuration names no secret, the values are incomplete, or the secret is in another region
      3  Secrets Manager is unreachable
      4  it refused the credentials, or a permission is missing
    """
    settings = settings_from(config, lake=lake, require_lake=False)
    name = _name(settings, target)
    text, _ = _asked(target, name, stdin=stdin)
    version = asyncio.run(_write(settings, name, text))
    _say({"secret": name, "version": version, "tested": False}, f"{name} is stored", json=json)


def try_out(
    target: ForArgument,
    config: ConfigOption = None,
    lake: LakeOption = None,
    kafka: KafkaOption = None,
    json: JsonOption = False,
) -> int:
    """Read the secret, and try what it says: list the lake and write a probe below _streamer/probe/, or talk to a broker.

    \b
    Example:
      streamer secrets test s3
      streamer secrets test kafka --json

    \b
    Exit status:
      0  it is there, and it works
      2  there is no such secret, it is no credentials, or it is in another region
      3  Secrets Manager, or the service, is unreachable
      4  a permission is missing, or the service refused the credentials
    """
    settings = settings_from(config, lake=lake, kafka=kafka, require_lake=target is For.s3)
    name = _name(settings, target)
    try:
        asyncio.run(_test(settings, target, name))
    except StreamerError as error:
        if json:
            raise
        print_line("fail", name, str(error), error.hint)
        return error.exit_code
    if json:
        print_json({"secret": name, "works": True})
    else:
        print_line("ok", name, "is there, and works")
    return 0


def rotate(
    target: ForArgument,
    config: ConfigOption = None,
    lake: LakeOption = None,
    kafka: KafkaOption = None,
    stdin: StdinOption = False,
    json: JsonOption = False,
) -> None:
    """Replace credentials without a restart: asks for the new ones, tries them, and stores them only if they work; the old ones
    stay as the secret's previous version. Running daemons and readers take them within secrets.refresh, and at once where the
    old ones are refused. So: make the new ones, rotate, and then revoke the old ones.

    \b
    Example:
      streamer secrets rotate s3
      aws iam create-access-key --user-name streamer | jq .AccessKey | streamer secrets rotate s3 --stdin

    \b
    Exit status:
      0  the new ones work, and are stored
      2  the configuration names no secret, or the values are incomplete
      3  Secrets Manager, or the service, is unreachable; nothing was stored
      4  the new ones were refused, and not stored; or a permission is missing
    """
    settings = settings_from(config, lake=lake, kafka=kafka, require_lake=target is For.s3)
    name = _name(settings, target)
    text, found = _asked(target, name, stdin=stdin)

    async def tried_then_written() -> str:
        await _try(settings, found)
        return await _write(settings, name, text)

    version = asyncio.run(tried_then_written())
    _say({"secret": name, "version": version, "tested": True}, f"{name}: the new credentials work, and are stored", json=json)
    if not json:
        seconds = settings.secrets.refresh
        note(f"what runs now takes them within {seconds:g} s, and at once where the old ones are refused: revoke those now")


def _name(settings: Settings, target: For) -> str:
    place = settings.s3.credentials if target is For.s3 else settings.kafka.credentials
    if place is None:
        hint = f'set {target.value}.credentials = "secretsmanager:NAME", or STREAMER__{target.value.upper()}__CREDENTIALS'
        raise Invalid(f"the configuration names no secret for {target.value}", hint=hint)
    return place.removeprefix(_PLACE)


def _asked(target: For, name: str, *, stdin: bool) -> tuple[str, AwsKeys | KafkaLogin]:
    """The secret's text, in its usual form, and what it says."""
    import json as json_module

    from streamer.secrets.secret import keys_text, login_text, parse_keys, parse_login

    if stdin:
        text = sys.stdin.read()
    else:
        values = {field: typer.prompt(label, hide_input=label != "User", err=True) for field, label in _FIELDS[target.value]}
        text = json_module.dumps(values)
    if target is For.s3:
        keys = parse_keys(text, name)
        return keys_text(keys), keys
    login = parse_login(text, name)
    return login_text(login), login


async def _write(settings: Settings, name: str, text: str) -> str:
    from streamer.config.clients import manager_settings
    from streamer.secrets.aws_secrets import SecretsManager

    return await SecretsManager(manager_settings(settings)).write(name, text)


async def _test(settings: Settings, target: For, name: str) -> None:
    from streamer.config.clients import manager_settings
    from streamer.secrets.aws_secrets import SecretsManager
    from streamer.secrets.secret import parse_keys, parse_login

    found = await SecretsManager(manager_settings(settings)).read(name)
    await _try(settings, parse_keys(found.text, name) if target is For.s3 else parse_login(found.text, name))


async def _try(settings: Settings, found: AwsKeys | KafkaLogin) -> None:
    """Raises what the service says to these credentials."""
    from streamer.clock import SystemClock
    from streamer.secrets.contract import AwsKeys

    if isinstance(found, AwsKeys):
        await _try_s3(settings, found, SystemClock())
    else:
        await _try_kafka(settings, found, SystemClock())


async def _try_s3(settings: Settings, keys: AwsKeys, clock: Clock) -> None:
    from streamer.config.clients import s3_settings
    from streamer.errors import Denied
    from streamer.store.contract import Overwrite
    from streamer.store.open import open_store
    from streamer.store.probe import PROBES

    reach = replace(
        s3_settings(settings),
        key_source=None,
        access_key_id=keys.access_key_id,
        secret_access_key=keys.secret_access_key,
        session_token=keys.session_token,
    )
    store = open_store(settings.lake.url or "", reach, clock)
    key = f"{PROBES}{clock.token()}"
    try:
        await store.prepare()
        await store.put(key, b"probe", mode=Overwrite())
        try:
            await store.delete(key)
        except Denied:
            note(f"these credentials may not delete: {key} stays")
    finally:
        await store.close()


async def _try_kafka(settings: Settings, login: KafkaLogin, clock: Clock) -> None:
    from streamer.config.clients import kafka_settings
    from streamer.source.probe import probe

    reach = replace(
        kafka_settings(settings),
        login=None,
        sasl_username=login.username,
        sasl_password=login.password,
        start_timeout_seconds=_PROBE_SECONDS,
    )
    await probe(reach, [], clock)


def _say(document: dict[str, Any], text: str, *, json: bool) -> None:
    if json:
        print_json(document)
    else:
        print(text)
