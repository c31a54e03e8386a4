"""Web addresses for objects: what a bucket can give out and a directory cannot."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Presigner(Protocol):
    """A store whose objects can be read over the web by who has a signed address."""

    async def presign(self, key: str, seconds: int) -> str:
        """An address that is good for so many seconds. It is a secret. Whether the object is there is not looked at."""
        ...
