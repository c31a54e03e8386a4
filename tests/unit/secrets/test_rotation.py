"""Keys are rotated under a running store: on a server that enforces them (moto), with real signatures, nothing is lost."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable

import pytest
from moto.core.authorization import enable_iam_authentication

from streamer import logs
from streamer.clock import SystemClock
from streamer.config import load
from streamer.config.clients import s3_settings
from streamer.errors import Denied
from streamer.secrets.aws_secrets import SecretsManager
from streamer.secrets.contract import AwsKeys
from streamer.secrets.secret import keys_text
from streamer.secrets.settings import ManagerSettings
from streamer.store.contract import Create
from streamer.store.retry import RetryingStore
from streamer.store.s3 import S3Store

ALL = ("s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:DeleteObject")
Users = Callable[..., AwsKeys]
Root = Callable[[str], object]


@pytest.fixture
def settings_of(endpoint: str, secret_name: str, new_user: Users, chain: Callable[[AwsKeys], None]) -> Callable[[], object]:
    """The configuration names the secret alone; Secrets Manager is asked with the keys of the AWS chain."""
    chain(new_user("secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue", "secretsmanager:CreateSecret"))
    return lambda: load(
        lake="s3://rotated",
        environment={
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "not-for-s3",
            "AWS_SECRET_ACCESS_KEY": "not-for-s3",
            "STREAMER__S3__CREDENTIALS": f"secretsmanager:{secret_name}",
        },
    )


def forget(root: Root, keys: AwsKeys) -> None:
    iam = root("iam")
    user = iam.get_access_key_last_used(AccessKeyId=keys.access_key_id)["UserName"]  # type: ignore[attr-defined]
    iam.delete_access_key(UserName=user, AccessKeyId=keys.access_key_id)  # type: ignore[attr-defined]


async def test_keys_rotated_and_revoked_in_the_middle_of_a_run_lose_nothing(
    settings_of: Callable[[], object], secret_name: str, endpoint: str, root: Root, new_user: Users
) -> None:
    first, second = new_user(*ALL), new_user(*ALL)
    root("s3").create_bucket(Bucket="rotated")  # type: ignore[attr-defined]
    manager = SecretsManager(ManagerSettings("us-east-1", endpoint_url=endpoint))
    await manager.write(secret_name, keys_text(first))
    settings = settings_of()
    store = RetryingStore(S3Store("rotated", "", s3_settings(settings)), SystemClock(), first_seconds=0.01)  # type: ignore[arg-type]
    written = []

    async def write(worker: int) -> None:
        for number in range(15):
            key = f"raw/{worker}/{number:03d}"
            await store.put(key, key.encode(), mode=Create())
            written.append(key)

    async def rotate() -> None:
        while len(written) < 20:
            await asyncio.sleep(0.01)
        await manager.write(secret_name, keys_text(second))
        await asyncio.to_thread(revoke)

    def revoke() -> None:
        from moto.iam.models import iam_backends

        for backend in iam_backends["123456789012"].values():
            for user in backend.users.values():
                user.access_keys = [key for key in user.access_keys if key.access_key_id != first.access_key_id]

    with enable_iam_authentication():
        await asyncio.gather(rotate(), *(write(worker) for worker in range(4)))
        assert [info.key async for info in store.list("raw/")] == sorted(written)
        assert (await store.get(written[0])).body == written[0].encode()
        old = S3Store("rotated", "", s3_settings_with(first, endpoint))
        with pytest.raises(Denied):
            await old.get(written[0])
        await old.close()
    await store.close()
    assert len(written) == 60


def s3_settings_with(keys: AwsKeys, endpoint: str) -> object:
    from tests.moto_server import s3_settings_for

    return s3_settings_for(endpoint, keys.access_key_id, keys.secret_access_key)


async def test_a_secret_that_is_not_there_does_not_look_like_an_object_that_is_not_there(
    settings_of: Callable[[], object],
) -> None:
    from streamer.errors import Invalid

    store = S3Store("rotated", "", s3_settings(settings_of()))  # type: ignore[arg-type]
    with pytest.raises(Invalid, match="no such secret"):
        await store.get("raw/a")
    await store.close()


async def test_a_secret_read_while_running_is_taken_out_of_every_log_line(
    settings_of: Callable[[], object], secret_name: str, endpoint: str
) -> None:
    import structlog

    lines = io.StringIO()
    logs.configure("info", "json", lines)
    manager = SecretsManager(ManagerSettings("us-east-1", endpoint_url=endpoint))
    await manager.write(secret_name, keys_text(AwsKeys("AK", "a-secret-learned-late")))
    source = s3_settings(settings_of()).key_source  # type: ignore[arg-type]
    assert source is not None
    structlog.get_logger().info("before", text="a-secret-learned-late")
    await source.current()
    structlog.get_logger().info("after", text="a-secret-learned-late", nested={"x": ["a-secret-learned-late"]})
    structlog.reset_defaults()

    before, after = lines.getvalue().splitlines()
    assert "a-secret-learned-late" in before
    assert "a-secret-learned-late" not in after


def test_keys_of_the_environment_are_not_those_of_s3_where_a_secret_is_named(settings_of: Callable[[], object]) -> None:
    made = s3_settings(settings_of())  # type: ignore[arg-type]

    assert made.keys is None
    assert made.key_source is not None
