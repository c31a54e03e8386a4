"""From settings to what the two clients take: Kafka's and S3's own values. Nothing is connected here."""

from __future__ import annotations

from pydantic import SecretStr

from streamer.clock import SystemClock
from streamer.config.settings import Settings
from streamer.index.settings import TableSettings
from streamer.secrets.settings import ManagerSettings
from streamer.secrets.sources import key_source, login_source
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
        login=login_source(kafka.credentials, manager_settings(settings), SystemClock()) if kafka.credentials else None,
        ssl_cafile=kafka.ssl_cafile,
        ssl_certfile=kafka.ssl_certfile,
        ssl_keyfile=kafka.ssl_keyfile,
        ssl_key_password=_open(kafka.ssl_key_password),
        aws_region=settings.s3.region,
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
        key_source=key_source(s3.credentials, manager_settings(settings), SystemClock()) if s3.credentials else None,
        expected_bucket_owner=settings.lake.expected_bucket_owner,
        server_side_encryption=settings.lake.server_side_encryption,
        kms_key_id=settings.lake.kms_key_id,
        kms_bucket_key=settings.lake.kms_bucket_key,
        at_least_once=settings.lake.allow_at_least_once,
        request_seconds=s3.request_timeout,
        max_connections=settings.uploads.concurrency + SPARE_CONNECTIONS,
    )


def manager_settings(settings: Settings) -> ManagerSettings:
    """How Secrets Manager is reached."""
    return ManagerSettings(
        region=settings.secrets.region or settings.s3.region,
        region_is_stated=settings.secrets.region is not None,
        endpoint_url=settings.secrets.endpoint_url,
        refresh_seconds=settings.secrets.refresh,
    )


def table_settings(settings: Settings, table: str) -> TableSettings:
    """How DynamoDB is reached for a table."""
    return TableSettings(table, settings.dynamodb.region or settings.s3.region, settings.dynamodb.endpoint_url)


def _open(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None
