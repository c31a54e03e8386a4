"""AWS Secrets Manager: reads and writes secrets by name. Keeps none, and never repeats one in an error."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from streamer.aws import BAD_REQUEST, RAISED, ClientError, Connections, Reach, reason_of, refusal_of, without_keys
from streamer.aws_refusals import another_region, keys_refused, missing_action
from streamer.errors import Denied, Invalid, StreamerError, Unavailable
from streamer.secrets.settings import ManagerSettings
from streamer.store.s3_errors import Refusal

_ARN = re.compile(r"arn:aws[a-z-]*:secretsmanager:(?P<region>[a-z0-9-]+):\d{12}:secret:\S+", re.ASCII)
_NOT_NOW = frozenset({"ThrottlingException", "TooManyRequestsException", "InternalServiceError", "RequestTimeout"})


@dataclass(frozen=True, slots=True)
class SecretVersion:
    """A secret's text, and which version of it this is."""

    text: str = field(repr=False)
    version: str


class SecretsManager:
    """Secrets of one account and region. Every method raises `Invalid` (no such secret, another region), `Denied` and
    `Unavailable`, each with the next step."""

    def __init__(self, settings: ManagerSettings) -> None:
        self._settings = settings

    async def read(self, name: str) -> SecretVersion:
        """The current version."""
        async with self._request("secretsmanager:GetSecretValue", name) as client:
            answer = await client.get_secret_value(SecretId=name)
        text = answer.get("SecretString")
        if not isinstance(text, str):
            raise Invalid("the secret is binary", hint="store it as text: `streamer secrets put`", secret=name)
        return SecretVersion(text, str(answer.get("VersionId", "")))

    async def write(self, name: str, text: str) -> str:
        """Make `text` the current version, and the secret itself where there is none; the version. What was current until now
        stays as the previous one."""
        async with self._request("secretsmanager:PutSecretValue", name) as client:
            try:
                answer = await client.put_secret_value(SecretId=name, SecretString=text)
            except ClientError as error:
                if refusal_of(error).code != "ResourceNotFoundException" or _ARN.fullmatch(name):
                    raise
                answer = None
        if answer is None:
            async with self._request("secretsmanager:CreateSecret", name) as client:
                answer = await client.create_secret(Name=name, SecretString=text)
        return str(answer.get("VersionId", ""))

    @asynccontextmanager
    async def _request(self, action: str, name: str) -> AsyncIterator[Any]:
        region = self._region(name)
        endpoint = self._settings.endpoint_url
        seconds = self._settings.request_seconds
        connections = Connections(Reach("secretsmanager", region, endpoint, max_connections=1), name="Secrets Manager")
        try:
            async with asyncio.timeout(seconds):
                # A connection for each request: they are minutes apart.
                yield (await connections.take()).client
        except TimeoutError as error:
            hint = "is it reachable from here? A private subnet needs a VPC endpoint for secretsmanager"
            raise Unavailable(f"Secrets Manager gave no answer within {seconds:g} s", hint=hint, secret=name) from error
        except RAISED as error:
            raise _translate(error, action, name, region) from error
        finally:
            await connections.close()

    def _region(self, name: str) -> str | None:
        arn, configured = _ARN.fullmatch(name), self._settings.region
        if arn is None:
            return configured
        if self._settings.region_is_stated and configured not in (None, arn["region"]):
            raise Invalid(
                f"the secret is in region {arn['region']}, not {configured}",
                hint=f"set secrets.region to {arn['region']}, or leave it out: an ARN names its region",
                secret=name,
            )
        return arn["region"]


def _translate(error: BaseException, action: str, name: str, region: str | None) -> StreamerError:
    if isinstance(error, ClientError):
        return _refused(refusal_of(error), action, name, region or "the default region")
    if (denied := without_keys(error, secret=name)) is not None:
        return denied
    if isinstance(error, BAD_REQUEST) or type(error).__name__ == "NoRegionError":
        hint = "set secrets.region, or AWS_REGION"
        return Invalid(f"Secrets Manager cannot be asked: {error}", hint=hint, secret=name)
    reason, _ = reason_of(error)
    hint = f"check secrets.region ({region}) and secrets.endpoint_url; a private subnet needs a VPC endpoint for secretsmanager"
    return Unavailable(f"no connection to Secrets Manager: {reason}", hint=hint, secret=name)


def _refused(refusal: Refusal, action: str, name: str, region: str) -> StreamerError:
    code = refusal.code
    if code == "ResourceNotFoundException":
        hint = "check its name; a secret is in one region alone: set secrets.region to it; or make it: `streamer secrets put`"
        return Invalid(f"there is no such secret in {region}", hint=hint, secret=name)
    if another_region(refusal):
        hint = "set secrets.region to that of the secret"
        return Invalid(f"the request was signed for another region than {region}", hint=hint, secret=name)
    if keys_refused(refusal):
        hint = (
            "check the role, AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: Secrets Manager is asked with these"
        )
        return Denied(f"Secrets Manager refused the credentials: {code}", hint=hint, secret=name)
    if code in ("DecryptionFailure", "EncryptionFailure"):
        return Denied(f"the secret's key refused: {code}", hint="grant kms:Decrypt on the key of the secret", secret=name)
    if code == "InvalidRequestException":
        hint = "is it about to be deleted? `aws secretsmanager restore-secret` brings it back"
        return Invalid("the secret cannot be used as it is", hint=hint, secret=name)
    if (missing := missing_action(refusal, action)) is not None:
        hint = f"grant {missing} on this secret to the role; `streamer policy daemon` prints it"
        return Denied("Secrets Manager does not give the secret to us", hint=hint, secret=name, region=region)
    if code in _NOT_NOW or refusal.status >= 500:
        return Unavailable(f"Secrets Manager answered {code or refusal.status}", hint="wait, then try again", secret=name)
    return Invalid(f"Secrets Manager refused the request: {code}", hint="check the secret's name", secret=name)
