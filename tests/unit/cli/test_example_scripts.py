"""The scripts in examples/ do what they say, against Amazon's services as moto has them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from tests.moto_server import moto_server

pytestmark = pytest.mark.thorough  # a dozen starts of the interpreter

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_server() as address:
        yield address


def run(script: str, *arguments: str, endpoint: str, **environment: str) -> str:
    """What the script prints. It finds `streamer` where this Python has it."""
    given = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "asking",
        "AWS_SECRET_ACCESS_KEY": "asking-secret",
    }
    ended = subprocess.run(
        ["sh", str(EXAMPLES / script), *arguments], env=given | environment, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_setting_up_makes_the_bucket_and_a_policy_for_each_role(endpoint: str, tmp_path: Path) -> None:
    told = run("setting_up.sh", "s3://example-of-setting-up/lake", str(tmp_path / "policies"), endpoint=endpoint)

    assert "ticks" in told
    s3 = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    assert s3.get_bucket_versioning(Bucket="example-of-setting-up")["Status"] == "Enabled"
    for role in ("daemon", "reader", "trainer", "writer"):
        assert json.loads((tmp_path / "policies" / f"{role}.json").read_text())["Statement"]


def test_keys_in_secrets_manager_are_stored_tried_and_replaced(endpoint: str, tmp_path: Path) -> None:
    s3 = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    s3.create_bucket(Bucket="example-of-secrets")
    for name in ("first", "second"):
        keys = {"AccessKeyId": f"AK{name}", "SecretAccessKey": f"secret of the {name}"}
        (tmp_path / name).write_text(json.dumps(keys))

    told = run(
        "rotating_secrets.sh", str(tmp_path / "first"), str(tmp_path / "second"), endpoint=endpoint,
        STREAMER__S3__CREDENTIALS="secretsmanager:examples/s3", S3_BUCKET="example-of-secrets",
    )  # fmt: skip

    assert "secret of the" not in told
    manager = boto3.client(
        "secretsmanager", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    assert "secret of the second" in manager.get_secret_value(SecretId="examples/s3")["SecretString"]
