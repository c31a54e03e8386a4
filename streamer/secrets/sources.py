"""From the names of secrets to sources of keys and logins. Nothing is read before the first call."""

from __future__ import annotations

from streamer.clock import Clock
from streamer.secrets.contract import AwsKeys, KafkaLogin
from streamer.secrets.kept import KeptSecret
from streamer.secrets.secret import parse_keys, parse_login
from streamer.secrets.settings import ManagerSettings

PLACE = "secretsmanager:"


def key_source(place: str, settings: ManagerSettings, clock: Clock) -> KeptSecret[AwsKeys]:
    """The keys at `place` (`secretsmanager:NAME`)."""
    name = place.removeprefix(PLACE)

    async def read() -> AwsKeys:
        return parse_keys(await _text(name, settings), name)

    return KeptSecret(name, read, clock, refresh_seconds=settings.refresh_seconds)


def login_source(place: str, settings: ManagerSettings, clock: Clock) -> KeptSecret[KafkaLogin]:
    """The login at `place`."""
    name = place.removeprefix(PLACE)

    async def read() -> KafkaLogin:
        return parse_login(await _text(name, settings), name)

    return KeptSecret(name, read, clock, refresh_seconds=settings.refresh_seconds)


async def _text(name: str, settings: ManagerSettings) -> str:
    from streamer.secrets.aws_secrets import SecretsManager  # it loads the client, which a lake in a directory does not need

    return (await SecretsManager(settings).read(name)).text
