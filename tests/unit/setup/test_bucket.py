"""The bucket as `streamer init` makes it, on a server that has all of it (moto)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from streamer.clock import SystemClock
from streamer.config import Settings
from streamer.config.clients import s3_settings
from streamer.errors import Invalid
from streamer.setup.bucket import BLOCKED
from streamer.setup.everything import carry_out, look
from streamer.setup.step import Step
from streamer.store.s3_bucket import S3Bucket

Configured = Callable[..., Settings]


@pytest.fixture
async def found(configured: Configured, bucket: str) -> AsyncIterator[S3Bucket]:
    asked = S3Bucket(bucket, s3_settings(configured()))
    yield asked
    await asked.close()


async def init(settings: Settings, *, dry_run: bool = False) -> list[Step]:
    async with look(settings, SystemClock(), topics=False) as plan:
        return list(plan.steps) if dry_run else await carry_out(plan.steps)


async def test_a_new_bucket_is_closed_to_the_public_encrypted_versioned_and_tidied(
    configured: Configured, found: S3Bucket
) -> None:
    steps = await init(configured("lake"))

    assert [step.about for step in steps if step.due] == ["bucket", "public access", "encryption", "versioning", "lifecycle"]
    assert await found.public_access() == BLOCKED
    assert await found.encryption() == {"SSEAlgorithm": "AES256"}
    assert await found.versioning() == "Enabled"
    assert any(rule["ID"] == "streamer:lake/:cache/expires" for rule in await found.lifecycle())


async def test_the_second_time_nothing_is_to_be_done(configured: Configured) -> None:
    await init(configured("lake"))

    assert {step.action for step in await init(configured("lake"))} == {"keep"}


async def test_a_dry_run_tells_everything_and_makes_nothing(configured: Configured, found: S3Bucket) -> None:
    steps = await init(configured(), dry_run=True)

    assert all(step.action == "create" and step.diff() for step in steps)
    assert await found.region() is None


async def test_a_changed_rule_is_shown_as_a_difference_and_others_stay(configured: Configured, found: S3Bucket) -> None:
    await init(configured("lake"))
    theirs = {"ID": "theirs", "Filter": {"Prefix": "x/"}, "Status": "Enabled", "Expiration": {"Days": 3}}
    await found.set_lifecycle([*await found.lifecycle(), theirs])

    (step,) = [step for step in await init(configured("lake", LIFECYCLE__CACHE="3d")) if step.due]

    assert step.diff() == ["- lake/cache/: deleted after 7 d", "+ lake/cache/: deleted after 3 d"]
    assert step.remark == "1 rule of others stay"
    assert {rule["ID"] for rule in await found.lifecycle()} >= {"theirs", "streamer:lake/:cache/expires"}
    assert {step.action for step in await init(configured("lake", LIFECYCLE__CACHE="3d"))} == {"keep"}


async def test_a_key_of_kms_becomes_the_buckets_default_and_is_not_weakened_later(
    configured: Configured, found: S3Bucket
) -> None:
    kms = {"LAKE__SERVER_SIDE_ENCRYPTION": "aws:kms", "LAKE__KMS_KEY_ID": "arn:aws:kms:us-east-1:123456789012:key/abc"}
    await init(configured(**kms))
    await init(configured())

    assert await found.encryption() == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": kms["LAKE__KMS_KEY_ID"]}


async def test_what_is_switched_off_is_left_alone(configured: Configured, found: S3Bucket) -> None:
    steps = await init(configured(BUCKET__VERSIONING="false", BUCKET__BLOCK_PUBLIC_ACCESS="false", LIFECYCLE__ENABLED="false"))

    assert [step.about for step in steps] == ["bucket", "encryption"]
    assert await found.versioning() == ""


async def test_a_bucket_elsewhere_is_said_to_be_elsewhere(configured: Configured, bucket: str) -> None:
    class Elsewhere(S3Bucket):
        async def region(self) -> str | None:
            return "eu-west-1"

    from streamer.setup.bucket import bucket_steps

    settings = configured()
    amazon = settings.model_copy(update={"s3": settings.s3.model_copy(update={"endpoint_url": None})})
    asked = Elsewhere(bucket, s3_settings(settings))
    with pytest.raises(Invalid, match="in region eu-west-1, not us-east-1") as told:
        await bucket_steps(asked, amazon, "", lambda: init(settings))  # type: ignore[arg-type]
    assert told.value.hint == "set AWS_REGION=eu-west-1"
    await asked.close()
