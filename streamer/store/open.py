"""From a lake's URL to the store it names. Bare: retries and metrics are layers that the caller puts around it."""

from __future__ import annotations

import os
import re

from streamer.clock import Clock
from streamer.errors import Invalid
from streamer.store.contract import Store
from streamer.store.directory import DirectoryStore
from streamer.store.limits import check_prefix
from streamer.store.s3_settings import S3Settings

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_FORMS = "write s3://bucket/prefix, file:///path or ./path"


def open_store(url: str, s3_settings: S3Settings, clock: Clock, *, create_directory: bool = False) -> Store:
    """The store at `url`: `s3://bucket[/prefix]`, `file:///path`, `/path`, `./path`, `../path` or `~/path`.

    Nothing is connected yet; `prepare` does that. create_directory: let `prepare` make a directory that is not there.
    Raises `Invalid` for anything else.
    """
    scheme, separator, rest = url.partition("://")
    if separator and scheme == "s3":
        return _bucket(rest, s3_settings)
    if separator and scheme == "file":
        if not rest.startswith("/"):
            raise Invalid("a file URL needs an absolute path", hint="write file:///path, or ./path", url=url)
        return DirectoryStore(rest, clock, create=create_directory)
    if separator:
        hint = "write s3:// for it" if scheme in ("s3a", "s3n") else _FORMS
        raise Invalid(f"a lake cannot be at {scheme!r}", hint=hint)
    if url.startswith(("/", "./", "../", "~/")) or url in (".", ".."):
        return DirectoryStore(os.path.expanduser(url), clock, create=create_directory)
    raise Invalid("the lake's URL is neither a bucket nor a directory", hint=_FORMS, url=url)


async def create_place(url: str, s3_settings: S3Settings, clock: Clock) -> None:
    """Make the bucket or the directory of `url`, and see that it answers. One that is there is left as it is.

    Raises `Invalid` where somebody else owns the bucket's name, and what the store raises.
    """
    store = open_store(url, s3_settings, clock, create_directory=True)
    try:
        if not isinstance(store, DirectoryStore):
            from streamer.store.s3 import S3Store

            assert isinstance(store, S3Store)
            await store.create_bucket()
        await store.prepare()
    finally:
        await store.close()


def _bucket(rest: str, settings: S3Settings) -> Store:
    if "@" in rest:
        # Not quoted: what stands before the @ is a secret.
        raise Invalid("the lake's URL holds credentials", hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead")
    if "?" in rest or "#" in rest:
        raise Invalid("the lake's URL has a query", hint="set AWS_REGION and AWS_ENDPOINT_URL instead", url=f"s3://{rest}")
    bucket, _, prefix = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise Invalid("the lake's URL has no valid bucket name", hint="write s3://bucket/prefix", url=f"s3://{rest}")
    prefix = prefix.rstrip("/")
    check_prefix(f"{prefix}/" if prefix else "")
    # Loading the client takes a third of a second, which a lake in a directory need not spend.
    from streamer.store.s3 import S3Store

    return S3Store(bucket, prefix, settings)
