"""DynamoDB Local, Amazon's own, started from its jars for the length of a test run; moto where there are none.

STREAMER_TEST_DYNAMODB_JARS=folder with DynamoDBLocal.jar and its libraries, the native ones of SQLite among them. Maven fetches
them: `mvn dependency:copy-dependencies` of com.amazonaws:DynamoDBLocal. Needs `java` and nothing else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.live.tls_broker import free_ports
from tests.moto_server import moto_server

START_SECONDS = 60
MAIN = "com.amazonaws.services.dynamodbv2.local.main.ServerRunner"


def dynamodb_jars() -> Path | None:
    """The jars that the environment names; None where it names none, or there is no Java."""
    given = os.environ.get("STREAMER_TEST_DYNAMODB_JARS")
    return Path(given) if given and shutil.which("java") else None


@contextmanager
def dynamodb_server(jars: Path | None, folder: Path) -> Iterator[str]:
    """Its address, while the block lasts. Raises `RuntimeError` with the end of its log."""
    if jars is None:
        with moto_server() as address:
            yield address
        return
    (port,) = free_ports(1)
    classes = ["java", "-Xmx256m", f"-Djava.library.path={jars}", "-cp", f"{jars}/*", MAIN]
    log = folder / "dynamodb.log"
    with log.open("wb") as output:
        process = subprocess.Popen([*classes, "-inMemory", "-port", str(port)], stdout=output, stderr=output, cwd=folder)
    try:
        _wait(process, port, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2).close()
            return
        except urllib.error.HTTPError:
            return  # it answers, and wants a signature
        except OSError as error:
            if process.poll() is not None or time.monotonic() > end:
                said = log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"DynamoDB Local did not start: {said}") from error
        time.sleep(0.2)
