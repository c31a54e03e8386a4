"""The least that each role of a lake needs, as IAM policies. Pure: a configuration in, documents out.

The daemon writes where its streams, its archive and its models are, and nowhere else; it deletes only what the configuration
tells it to. A reader reads. A trainer reads, and pushes models. A writer reads, and keeps documents, bundles and cached
values. `store/s3_permissions.py` says which request needs what.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from streamer.config.archive_settings import archive_settings
from streamer.config.documents import document_kinds
from streamer.config.sections import SECRETS_MANAGER
from streamer.docstore.kinds import BUILT_IN, Kind
from streamer.errors import Invalid
from streamer.index import permissions
from streamer.index.settings import BY_TICKER
from streamer.keys import BUNDLES, LINEAGE, RAW
from streamer.store.s3_permissions import ON_BUCKET, ON_OBJECTS

if TYPE_CHECKING:
    from streamer.config import Settings

Role = Literal["daemon", "reader", "trainer", "writer", "setup"]
ROLES: tuple[Role, ...] = ("daemon", "reader", "trainer", "writer", "setup")
Statement = dict[str, Any]

_READS = ("get", "head")
_WRITES = ("put", "begin_upload", "put_part", "complete_upload", "abort_upload")
_SETS_UP = tuple(name for name in ON_BUCKET if name.startswith(("get_", "put_", "create_")))
_KEY_ARN = re.compile(r"arn:aws[a-z-]*:kms:\S+")


@dataclass(frozen=True, slots=True)
class Folders:
    """Prefixes of keys, each with its slash, below the lake's own prefix."""

    writes: tuple[str, ...]
    deletes: tuple[str, ...]


def policy(settings: Settings, role: Role) -> dict[str, Any]:
    """The policy of a role. Raises `Invalid` where the lake is a directory: nobody needs a policy for one."""
    bucket, prefix = _place(settings)
    arn = f"arn:{_partition(settings)}:s3:::{bucket}"
    statements: list[Statement] = []
    if role == "setup":
        statements.append(_allow("SetUp", [ON_BUCKET[name] for name in (*_SETS_UP, "list")], [arn]))
    else:
        statements += _listing(arn, prefix, uploads=role != "reader")
        statements.append(_allow("Read", _actions(_READS), [f"{arn}/{prefix}*"]))
        folders = daemon_folders(settings) if role == "daemon" else Folders(("models/",), ())
        if role == "writer":
            objects = [f"{arn}/{prefix}{glob}" for glob in writer_globs(settings)]
            statements.append(_allow("Write", _actions(_WRITES), objects))
        elif role != "reader":
            statements.append(_allow("Write", _actions(_WRITES), [f"{arn}/{prefix}{folder}*" for folder in folders.writes]))
            if folders.deletes:
                objects = [f"{arn}/{prefix}{folder}*" for folder in folders.deletes]
                statements.append(_allow("Delete", _actions(["delete"]), objects))
        statements += _encryption(settings, writes=role != "reader")
        if role == "daemon":
            statements += _secrets(settings)
    statements += _indexes(settings, role)
    return {"Version": "2012-10-17", "Statement": statements}


def daemon_folders(settings: Settings) -> Folders:
    """Where the daemon writes and deletes under this configuration."""
    writes = ["_streamer/"]
    deletes = ["_streamer/probe/"]
    streams = settings.enabled_streams
    for name in streams:
        writes += [f"raw/{name}/", f"dead-letters/{name}/"]
    if any(stream.history is not None for stream in streams.values()):
        writes.append("state/")
        deletes.append("state/")
    archived = archive_settings(settings).streams if settings.archive.enabled else ()
    if archived:
        writes += ["ticks/", "ohlcv/", "features/", "signals/", "orderbooks/", "daily-summaries/", "archive/"]
        writes += [f"streams/{stream.name}/" for stream in archived]
        deletes.append("_streamer/archive/")
        if not settings.retention.dry_run:
            kinds = (("raw", settings.retention.raw), ("dead-letters", settings.retention.dead_letters))
            deletes += [f"{kind}/{stream.name}/" for kind, after in kinds if after is not None for stream in archived]
    if settings.models.watch is not None:
        writes.append("models/")
    return Folders(tuple(writes), tuple(deletes))


def writer_globs(settings: Settings) -> tuple[str, ...]:
    """What an application writes that keeps documents, bundles and cached values. Below raw/ are the streams: there it is only
    what can be no data file."""
    found: list[str] = []
    known = {name: Kind(template) for name, template in BUILT_IN.items()} | document_kinds(settings)
    for kind in known.values():
        globs = kind.template.globs
        found += globs if globs[0].startswith(RAW) else [f"{globs[0]}*"]
    return tuple(dict.fromkeys([*found, f"{LINEAGE}*", f"{BUNDLES}*", "cache/*"]))


def _place(settings: Settings) -> tuple[str, str]:
    url = settings.lake.url or ""
    if not url.startswith("s3://"):
        raise Invalid("a lake in a directory has no policy", hint="name a bucket: --lake s3://bucket/prefix", lake=url)
    bucket, _, rest = url.removeprefix("s3://").partition("/")
    rest = rest.strip("/")
    return bucket, f"{rest}/" if rest else ""


def _listing(arn: str, prefix: str, *, uploads: bool) -> list[Statement]:
    # A list permission that is bound to a prefix does not cover HEAD of the bucket; the store lists the prefix instead.
    bound = {"Condition": {"StringLike": {"s3:prefix": [prefix, f"{prefix}*"]}}} if prefix else {}
    actions = [ON_BUCKET["list"]]
    statements = [{**_allow("List", actions, [arn]), **bound}]
    if uploads:
        # This one knows no prefix.
        statements.append(_allow("ListUploads", [ON_BUCKET["list_uploads"]], [arn]))
    return statements


def _encryption(settings: Settings, *, writes: bool) -> list[Statement]:
    key = settings.lake.kms_key_id
    if settings.lake.server_side_encryption != "aws:kms" or key is None:
        return []  # S3's own keys need no permission
    actions = ["kms:Decrypt", *(["kms:GenerateDataKey"] if writes else [])]
    partition, region = _partition(settings), settings.s3.region or "*"
    if _KEY_ARN.fullmatch(key) and ":alias/" not in key:
        return [_allow("Encryption", actions, [key])]
    alias = key.rpartition(":")[2]
    if alias.startswith("alias/"):
        # An alias is no resource of a policy; what it points to is found by this condition.
        condition = {"Condition": {"ForAnyValue:StringEquals": {"kms:ResourceAliases": alias}}}
        return [{**_allow("Encryption", actions, [f"arn:{partition}:kms:{region}:*:key/*"]), **condition}]
    return [_allow("Encryption", actions, [f"arn:{partition}:kms:{region}:*:key/{key}"])]


def _secrets(settings: Settings) -> list[Statement]:
    places = [place for place in (settings.s3.credentials, settings.kafka.credentials) if place is not None]
    if not places:
        return []
    partition, region = _partition(settings), settings.secrets.region or settings.s3.region or "*"
    arns = []
    for place in dict.fromkeys(places):
        name = place.removeprefix(SECRETS_MANAGER)
        # Secrets Manager adds six characters of its own to a name.
        arns.append(name if name.startswith("arn:") else f"arn:{partition}:secretsmanager:{region}:*:secret:{name}-??????")
    return [_allow("Secrets", ["secretsmanager:GetSecretValue"], arns)]


def _indexes(settings: Settings, role: Role) -> list[Statement]:
    pulse = [settings.dynamodb.pulse_table] if settings.dynamodb.pulse_table is not None else []
    tables = {"daemon": [*settings.indexed.values()], "writer": pulse}.get(role, settings.tables)
    region = settings.dynamodb.region or settings.s3.region or "*"
    arns = [f"arn:{_partition(settings)}:dynamodb:{region}:*:table/{table}" for table in dict.fromkeys(tables)]
    if not arns:
        return []
    if role == "daemon":
        return [_allow("Index", [permissions.ACTIONS[name] for name in permissions.WRITES], arns)]
    if role == "setup":
        return [_allow("SetUpIndex", [permissions.ACTIONS[name] for name in permissions.SETS_UP], arns)]
    of_tables = (*permissions.READS, *(permissions.WRITES if role == "writer" else ()))
    return [
        _allow("Index", sorted({permissions.ACTIONS[name] for name in of_tables}), arns),
        _allow(
            "IndexByTicker",
            [permissions.ACTIONS[name] for name in permissions.READS_INDEX],
            [f"{arn}/index/{BY_TICKER}" for arn in arns],
        ),
    ]


def _partition(settings: Settings) -> str:
    region = settings.s3.region or ""
    return "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"


def _actions(operations: Iterable[str]) -> list[str]:
    return sorted({ON_OBJECTS[name] for name in operations})


def _allow(name: str, actions: Sequence[str], resources: Sequence[str]) -> Statement:
    return {"Sid": name, "Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
