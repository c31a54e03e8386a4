"""Credentials as values, and where they come from when they may change: what the store and the source know of secrets."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class AwsKeys:
    """What a request to AWS, or to a server like it, is signed with. expires: when they stop working, where that is known."""

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class KafkaLogin:
    """Who we are to Kafka, over SASL."""

    username: str = field(repr=False)
    password: str = field(repr=False)
    expires: datetime | None = None


class KeySource(Protocol):
    """Where keys come from that may change while the process runs."""

    async def current(self) -> AwsKeys:
        """The keys to sign with now: at once, where none are due.

        Raises `Unavailable`, `Denied` or `Invalid`, and nothing else: a secret that is missing must not look like an object
        that is missing.
        """
        ...

    def refused(self, keys: AwsKeys) -> None:
        """A service did not take `keys`: look for others before the next call."""
        ...


class LoginSource(Protocol):
    """The same for Kafka's brokers."""

    @property
    def known(self) -> KafkaLogin | None:
        """What was read last; None before the first call of `current`."""
        ...

    async def current(self) -> KafkaLogin:
        """As `KeySource.current`."""
        ...

    def refused(self, login: KafkaLogin) -> None:
        """As `KeySource.refused`."""
        ...
