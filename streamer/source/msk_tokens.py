"""Who we are to Amazon MSK with IAM: tokens for SASL/OAUTHBEARER, signed with whatever the AWS credential chain gives.

One is made for each connection, on this machine alone: role, profile and their renewal are the chain's affair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import SaslAuthenticationFailed

from streamer.errors import StreamerError

if TYPE_CHECKING:
    from streamer.aws_token import MskSigner


class MskTokens(AbstractTokenProvider):  # type: ignore[misc]
    """The tokens for the clusters of one region, as aiokafka asks for them. Its repr names the region alone."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._signer: MskSigner | None = None

    async def token(self) -> str:
        """A token that a broker takes for the next quarter of an hour.

        Raises aiokafka's own error, because its tasks survive no other; `translate` finds ours behind it.
        """
        if self._signer is None:
            # botocore takes a third of a second to load, which nobody else here needs.
            from streamer.aws_token import MskSigner

            self._signer = MskSigner(self._region)
        try:
            return await self._signer.token()
        except StreamerError as error:
            raise SaslAuthenticationFailed(error.message) from error

    def __repr__(self) -> str:
        return f"MskTokens({self._region!r})"
