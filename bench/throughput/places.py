"""Where the broker and the bucket are that a measurement uses, and its own corner of each."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from typing import Any

from streamer.store.s3 import S3Settings, S3Store


@dataclass(frozen=True, slots=True)
class Places:
    """Addresses. `s3` is `URL|access key|secret key[|region]`."""

    kafka: str
    s3: str

    @property
    def environment(self) -> dict[str, str]:
        """The same as every program here understands them."""
        url, key, secret, region = self._parts
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka,
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
        }

    @property
    def _parts(self) -> tuple[str, str, str, str]:
        url, key, secret, region = [*self.s3.split("|"), "us-east-1"][:4]
        return url, key, secret, region

    def settings(self) -> S3Settings:
        """For streamer's own store."""
        url, key, secret, region = self._parts
        return S3Settings(region=region, endpoint_url=url, access_key_id=key, secret_access_key=secret)


class Bucket:
    """A bucket of this measurement, emptied after each run: a lake that grows would slow the later ones down."""

    def __init__(self, places: Places) -> None:
        self.name = f"bench-{uuid.uuid4().hex[:10]}"
        self._places = places

    def _run(self, work: Any) -> Any:
        async def alone() -> Any:
            store = S3Store(self.name, settings=self._places.settings())
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(alone())

    def create(self) -> None:
        """Make it."""
        self._run(lambda store: store.create_bucket())

    def empty(self, prefix: str) -> tuple[int, int]:
        """Delete everything below `prefix`; how many objects and bytes were data files."""

        async def delete(store: S3Store) -> tuple[int, int]:
            found = [info async for info in store.list(prefix)]
            slots = asyncio.Semaphore(16)

            async def one(key: str) -> None:
                async with slots:
                    await store.delete(key)

            await asyncio.gather(*(one(info.key) for info in found))
            data = [info.size_bytes for info in found if "/_streamer/" not in info.key]
            return len(data), sum(data)

        return self._run(delete)  # type: ignore[no-any-return]
