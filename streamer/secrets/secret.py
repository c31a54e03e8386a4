"""What a secret's text says: keys of S3, or a login to Kafka. Pure. A text that is none is never repeated in an error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from streamer.errors import Invalid
from streamer.secrets.contract import AwsKeys, KafkaLogin

_ACCESS = ("access_key_id", "aws_access_key_id", "accesskeyid", "access_key", "accesskey")
_SECRET = ("secret_access_key", "aws_secret_access_key", "secretaccesskey", "secret_key", "secretkey")
_TOKEN = ("session_token", "aws_session_token", "sessiontoken", "token")
_EXPIRES = ("expiration", "expires", "expires_at")
_USER = ("username", "user", "sasl_username")
_PASSWORD = ("password", "sasl_password")


def parse_keys(text: str, name: str) -> AwsKeys:
    """`{"access_key_id": ..., "secret_access_key": ...}`, with `session_token` and `expiration` where the keys are temporary.
    Names as other tools write them are taken, too. Raises `Invalid`."""
    values = _values(text, name, 'write {"access_key_id": "...", "secret_access_key": "..."}')
    return AwsKeys(
        _demand(values, _ACCESS, name),
        _demand(values, _SECRET, name),
        _find(values, _TOKEN),
        _time(_find(values, _EXPIRES), name),
    )


def parse_login(text: str, name: str) -> KafkaLogin:
    """`{"username": ..., "password": ...}`, as Amazon MSK wants its secrets. Raises `Invalid`."""
    values = _values(text, name, 'write {"username": "...", "password": "..."}')
    return KafkaLogin(_demand(values, _USER, name), _demand(values, _PASSWORD, name), _time(_find(values, _EXPIRES), name))


def keys_text(keys: AwsKeys) -> str:
    """The text that `parse_keys` reads."""
    body = {"access_key_id": keys.access_key_id, "secret_access_key": keys.secret_access_key}
    if keys.session_token is not None:
        body["session_token"] = keys.session_token
    if keys.expires is not None:
        body["expiration"] = keys.expires.isoformat()
    return json.dumps(body)


def login_text(login: KafkaLogin) -> str:
    """The text that `parse_login` reads."""
    return json.dumps({"username": login.username, "password": login.password})


def _values(text: str, name: str, hint: str) -> Mapping[str, str]:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise Invalid("the secret is not a JSON object", hint=hint, secret=name)
    return {str(key).lower().replace("-", "_"): value for key, value in body.items() if isinstance(value, str)}


def _find(values: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((values[name].strip() for name in names if values.get(name, "").strip()), None)


def _demand(values: Mapping[str, str], names: tuple[str, ...], name: str) -> str:
    found = _find(values, names)
    if found is None:
        raise Invalid(f"the secret lacks {names[0]}", hint=f"add {names[0]}: `streamer secrets put`", secret=name)
    return found


def _time(text: str | None, name: str) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid("the secret's expiration is not a time", hint="write it as 2026-01-31T12:00:00Z", secret=name) from None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
