"""The bucket of the lake, as `streamer init` finds it and makes it: its existence, its defaults, its lifecycle rules."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from streamer.errors import Invalid
from streamer.setup import lifecycle
from streamer.setup.step import Step, compared
from streamer.store.s3_bucket import NotOffered, S3Bucket

if TYPE_CHECKING:
    from streamer.config import Settings

BLOCKED: Mapping[str, bool] = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}
DEFAULT_ENCRYPTION: Mapping[str, str] = {"SSEAlgorithm": "AES256"}
"""SSE-S3: free, and needs no permission."""


async def bucket_steps(bucket: S3Bucket, settings: Settings, prefix: str, create: Callable[[], Awaitable[None]]) -> list[Step]:
    """What is there and what is to be done, the bucket first. `prefix`: of the lake, with its slash, or nothing.

    Raises `Invalid` where the bucket is in another region than the configured one, and what the store raises.
    """
    region = await bucket.region()
    home = await bucket.home()
    if region is None:
        step = Step("bucket", "create", (), (f"s3://{bucket.name} in {home}",), carry_out=create)
        return [step, *await _settings_steps(bucket, settings, prefix, there=False)]
    _check_region(bucket, settings, region)
    there = (f"s3://{bucket.name} in {region or home}",)
    return [Step("bucket", "keep", there, there), *await _settings_steps(bucket, settings, prefix, there=True)]


def _check_region(bucket: S3Bucket, settings: Settings, region: str) -> None:
    wanted = settings.s3.region
    if wanted and region and region != wanted and settings.s3.endpoint_url is None:
        raise Invalid(f"the bucket is in region {region}, not {wanted}", hint=f"set AWS_REGION={region}", bucket=bucket.name)


async def _settings_steps(bucket: S3Bucket, settings: Settings, prefix: str, *, there: bool) -> list[Step]:
    steps = []
    if settings.bucket.block_public_access:
        steps.append(await _looked_at(_public_access, bucket, there))
    steps.append(await _looked_at(lambda b, t: _encryption(b, t, settings), bucket, there))
    if settings.bucket.versioning:
        steps.append(await _looked_at(_versioning, bucket, there))
    if settings.lifecycle.enabled:
        steps.append(await _looked_at(lambda b, t: _lifecycle(b, t, settings, prefix), bucket, there))
    return steps


async def _looked_at(look: Callable[[S3Bucket, bool], Awaitable[Step]], bucket: S3Bucket, there: bool) -> Step:
    try:
        return await look(bucket, there)
    except NotOffered as error:
        return (await look(bucket, False)).not_offered(error.message)


async def _public_access(bucket: S3Bucket, there: bool) -> Step:
    found = {name for name, on in (await bucket.public_access()).items() if on} if there else set()
    return compared("public access", _blocked(found), _blocked(set(BLOCKED)), lambda: bucket.block_public_access(BLOCKED))


def _blocked(names: set[str]) -> tuple[str, ...]:
    return tuple(sorted(f"{name} = true" for name in names))


async def _encryption(bucket: S3Bucket, there: bool, settings: Settings) -> Step:
    found = dict(await bucket.encryption()) if there else {}
    wanted = dict(DEFAULT_ENCRYPTION)
    if settings.lake.server_side_encryption is not None:
        wanted = {"SSEAlgorithm": settings.lake.server_side_encryption}
        if settings.lake.kms_key_id:
            wanted["KMSMasterKeyID"] = settings.lake.kms_key_id
    elif found:
        wanted = found  # nothing is configured: whatever somebody chose for the bucket is not weakened
    return compared("encryption", _named(found), _named(wanted), lambda: bucket.encrypt(wanted))


def _named(values: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{name} = {value}" for name, value in sorted(values.items()))


async def _versioning(bucket: S3Bucket, there: bool) -> Step:
    status = await bucket.versioning() if there else ""
    return compared("versioning", (status,) if status else (), ("Enabled",), bucket.keep_versions)


async def _lifecycle(bucket: S3Bucket, there: bool, settings: Settings, prefix: str) -> Step:
    ours = lifecycle.rules(settings.lifecycle, prefix)
    found = await bucket.lifecycle() if there else []
    others = len(lifecycle.merged(found, [], prefix))

    async def set_rules() -> None:
        # Read again: somebody may have added a rule since, and setting ours replaces all.
        await bucket.set_lifecycle(lifecycle.merged(await bucket.lifecycle(), ours, prefix))

    remark = f"{others} rule{'s' * (others > 1)} of others stay" if others else ""
    wanted = lifecycle.lines(ours, prefix)
    return compared("lifecycle", lifecycle.lines(found, prefix), wanted, set_rules, remark)
