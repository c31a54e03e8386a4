"""How Secrets Manager is reached. Values only, so that reading a configuration does not load its client."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ManagerSettings:
    """It is asked with the AWS chain: a role, a profile, the environment. region_is_stated: somebody meant this one for
    secrets, so that an ARN of another is a mistake. refresh_seconds: how often a secret is read again."""

    region: str | None = None
    region_is_stated: bool = False
    endpoint_url: str | None = None
    refresh_seconds: float = 300.0
    request_seconds: float = 20.0
