"""A moto server in this process, and boto3-free ways to ask it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from moto.server import ThreadedMotoServer

from streamer.store.s3_settings import S3Settings


@contextmanager
def moto_server(*, verbose: bool = False) -> Iterator[str]:
    """Its address, while the block lasts. What it holds is shared by all servers of the process. verbose: each request is a log
    line, as loud as the caller has set them."""
    if not verbose:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=verbose)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def s3_settings_for(endpoint: str, key: str = "key", secret: str = "secret", **more: object) -> S3Settings:
    return S3Settings(region="us-east-1", endpoint_url=endpoint, access_key_id=key, secret_access_key=secret, **more)
