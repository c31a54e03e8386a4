"""A token by which Amazon MSK knows an AWS identity: a request of `kafka-cluster:Connect`, signed and never sent.

What Amazon's own `aws-msk-iam-sasl-signer-python` makes, byte for byte (a test compares them); that package brings boto3 and a
second, blocking credential chain. The token is a secret: whoever has it is us, for a quarter of an hour.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Any
from urllib.parse import urlencode

import botocore.exceptions as boto
from aiobotocore.session import AioSession
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest

from streamer.aws import without_keys
from streamer.errors import Denied

TOKEN_SECONDS = 900
_HINT = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the machine a role"
_USER_AGENT = "streamer"


class MskSigner:
    """Makes tokens for the clusters of one region, with credentials that the AWS chain finds once and renews by itself."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._finding = asyncio.Lock()
        self._credentials: Any = None

    async def token(self) -> str:
        """A token that is good from now on. Raises `Denied` where the AWS chain has no credentials."""
        try:
            async with self._finding:
                self._credentials = self._credentials or await AioSession().get_credentials()
            if self._credentials is None:
                raise boto.NoCredentialsError
            frozen = await self._credentials.get_frozen_credentials()
        except (boto.BotoCoreError, OSError) as error:
            denied = without_keys(error, region=self._region)
            raise denied or Denied(f"no usable credentials: {type(error).__name__}", hint=_HINT, region=self._region) from error
        return signed(frozen, self._region)


def signed(credentials: Any, region: str, user_agent: str = _USER_AGENT) -> str:
    """The token that `credentials` (access_key, secret_key, token) make, now."""
    request = AWSRequest("GET", f"https://kafka.{region}.amazonaws.com/", params={"Action": "kafka-cluster:Connect"})
    SigV4QueryAuth(credentials, "kafka-cluster", region, expires=TOKEN_SECONDS).add_auth(request)
    # Behind the signature: it is not part of what is signed.
    url = f"{request.url}&{urlencode({'User-Agent': user_agent})}"
    return base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")
