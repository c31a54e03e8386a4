"""From settings to what the two clients take: Kafka's and S3's own values. Nothing is connected here."""

from __future__ import annotations

from pydantic import SecretStr

from streamer.config.settings import Settings
from streamer.source.settings import KafkaSettings
from streamer.store.s3_settings import S3Settings

HEARTBEATS_PER_SESSION = 4
PREFETCH_SHARE = 4
PREFETCH_BYTES_MAX = 64 << 20
"""A quarter of the budget, 64 MiB at most: what is fetched ahead keeps the line busy while batches, the larger part, fill."""

SPARE_CONNECTIONS = 16
"""Beside the uploads: positions, reads of a recovery, health probes must not queue behind them."""


def kafka_settings(settings: Settings) -> KafkaSettings:
    """How the source reaches Kafka and behaves in the group. Raises `Invalid` where values contradict each other."""
    kafka = settings.kafka
    return KafkaSettings(
        bootstrap_servers=kafka.bootstrap_servers,
        group_id=kafka.group_id,
        client_id=kafka.client_id,
        group_instance_id=kafka.group_instance_id,
        session_timeout_seconds=kafka.session_timeout,
        heartbeat_seconds=min(3.0, kafka.session_timeout / HEARTBEATS_PER_SESSION),
        rebalance_timeout_seconds=kafka.rebalance_timeout,
        security_protocol=kafka.security_protocol,
        sasl_mechanism=kafka.sasl_mechanism,
        sasl_username=kafka.sasl_username,
        sasl_password=_open(kafka.sasl_password),
        ssl_cafile=kafka.ssl_cafile,
        ssl_certfile=kafka.ssl_certfile,
        ssl_keyfile=kafka.ssl_keyfile,
        prefetch_budget_bytes=min(PREFETCH_BYTES_MAX, settings.memory.budget // PREFETCH_SHARE),
        read_mode=kafka.read_mode,
    )


def s3_settings(settings: Settings) -> S3Settings:
    """How the store reaches a bucket. Without keys in the configuration the AWS credential chain applies. Raises `Invalid`."""
    s3 = settings.s3
    return S3Settings(
        region=s3.region,
        endpoint_url=s3.endpoint_url,
        access_key_id=_open(s3.access_key_id),
        secret_access_key=_open(s3.secret_access_key),
        session_token=_open(s3.session_token),
        expected_bucket_owner=settings.lake.expected_bucket_owner,
        server_side_encryption=settings.lake.server_side_encryption,
        kms_key_id=settings.lake.kms_key_id,
        request_seconds=s3.request_timeout,
        max_connections=settings.uploads.concurrency + SPARE_CONNECTIONS,
    )


def _open(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None
