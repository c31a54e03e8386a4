"""`streamer documents`: documents of the lake, by kind and fields, from a terminal or a script."""

from __future__ import annotations

import json as json_
import sys
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamer.cli.opened import opened_lake
from streamer.cli.options import ConfigOption, JsonOption, LakeOption, YesOption, settings_from
from streamer.cli.output import note, print_json, print_table
from streamer.errors import Invalid

if TYPE_CHECKING:
    from streamer.docstore.docstore import Packing
    from streamer.docstore.document import Document, DocumentInfo
    from streamer.docstore.kinds import Kind
    from streamer.docstore.sync import Documents

KindArgument = Annotated[str, typer.Argument(metavar="KIND", help="A kind; `streamer documents kinds` lists them.")]
KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="The document's key, as `list` prints it.")]
FieldOption = Annotated[
    list[str] | None, typer.Option("--field", "-f", metavar="NAME=VALUE", help="A field of the key; once for each.")
]
AtOption = Annotated[str | None, typer.Option("--at", metavar="TIME", help="Its instant, ISO 8601; without zone UTC.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(help="Documents under keys that templates make.", no_args_is_help=True, rich_markup_mode=None)
    for name, command in (
        ("kinds", kinds),
        ("list", list_),
        ("show", show),
        ("latest", latest),
        ("put", put),
        ("delete", delete),
    ):
        group.command(name)(command)
    app.add_typer(group, name="documents")


def kinds(config: ConfigOption = None, json: JsonOption = False) -> int:
    """List the kinds of documents: the built-in ones, and those of [documents.kinds]. Asks no service.

    \b
    Example:
      streamer documents kinds

    \b
    Exit status:
      0  done
      2  the configuration is wrong
    """
    from streamer.config.documents import document_kinds
    from streamer.docstore.kinds import BUILT_IN, Kind

    configured = document_kinds(settings_from(config, require_lake=False))
    known = {name: Kind(template) for name, template in BUILT_IN.items()} | configured
    rows = [_kind_document(name, kind, name in configured) for name, kind in known.items()]
    if json:
        print_json(rows)
        return 0
    for row in rows:
        row["schema"] = ", ".join(f"{name} {type_}" for name, type_ in row["schema"].items())
    print_table(
        ("kind", "template", "schema", "rules"),
        [(row["kind"], row["template"], row["schema"], "; ".join(row["rules"])) for row in rows],
    )
    return 0


def list_(
    kind: KindArgument,
    field: FieldOption = None,
    start: Annotated[str | None, typer.Option("--start", metavar="TIME", help="From this instant on.")] = None,
    end: Annotated[str | None, typer.Option("--end", metavar="TIME", help="Until before this instant.")] = None,
    config: ConfigOption = None,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> int:
    """List documents of one kind, by time. Fields that are not given may be anything; the first ones make the listing shorter.

    \b
    Example:
      streamer documents list orderbook --field symbol=BTC/USDT --start 2026-01-03 --end 2026-01-04

    \b
    Exit status:
      0  done, also where there are none
      2  there is no such kind or field
      3  the store was unreachable
      4  credentials or permissions were refused
    """
    fields = _fields(field)
    with opened_lake(settings_from(config, lake=lake)) as opened:
        found = opened.documents.list(kind, start, end, **fields)
    if json:
        print_json([_info_document(info) for info in found])
        return 0
    rows = [(f"{i.at:%Y-%m-%dT%H:%M:%S.%fZ}", i.version, i.size_bytes, i.key) for i in found]
    print_table(("at", "version", "bytes", "key"), rows)
    return 0


def show(key: KeyArgument, config: ConfigOption = None, lake: LakeOption = None, json: JsonOption = False) -> int:
    """Print a document: JSON indented, text as it is, bytes raw. With --json also metadata, tags and how it was made; bytes are
    then base64.

    \b
    Example:
      streamer documents show market-data/trades/BTCUSDT/2026/01/03/2026-01-03T10-00-00-000000.json

    \b
    Exit status:
      0  done
      1  there is no such document
      2  no kind has such keys
      3  the store was unreachable
      4  credentials or permissions were refused
      5  it is damaged
    """
    with opened_lake(settings_from(config, lake=lake)) as opened:
        return _show(opened.documents.read(opened.documents.find(key)), json)


def latest(
    kind: KindArgument,
    field: FieldOption = None,
    config: ConfigOption = None,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> int:
    """Print the newest document with these fields, all of them given, as `show` does.

    \b
    Example:
      streamer documents latest processed --field computation=percentiles --field ticker=BTCUSDT --json

    \b
    Exit status:
      0  done
      1  there is none
      2  there is no such kind or field
      3  the store was unreachable
      4  credentials or permissions were refused
      5  it is damaged
    """
    fields = _fields(field)
    with opened_lake(settings_from(config, lake=lake)) as opened:
        return _show(opened.documents.latest(kind, **fields), json)


def put(
    kind: KindArgument,
    file: Annotated[str, typer.Argument(metavar="[FILE]", help="What to keep; - is standard input.")] = "-",
    field: FieldOption = None,
    at: AtOption = None,
    packing: Annotated[str | None, typer.Option("--packing", metavar="gzip|zstd", help="Packed; else readable.")] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", metavar="NAME[=VALUE]", help="A tag; once for each.")] = None,
    source: Annotated[
        list[str] | None, typer.Option("--source", metavar="KEY", help="An object that it was made of; once for each.")
    ] = None,
    computation: Annotated[str | None, typer.Option("--computation", metavar="NAME", help="What made it of them.")] = None,
    computation_version: Annotated[
        str | None, typer.Option("--computation-version", metavar="VERSION", help="Of the computation.")
    ] = None,
    config: ConfigOption = None,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> int:
    """Keep a document, and print its key. A kind in JSON takes JSON, and refuses what its schema and rules do not allow.

    \b
    Example:
      echo '{"BTC": 1.5}' | streamer documents put portfolio --field user_id=7
      streamer documents put analytics risk.json --field report_type=risk --computation risk --source archive/2026-01-03.json

    \b
    Exit status:
      0  kept
      1  a source is not in the lake
      2  there is no such kind, field or file, or the data is not what the kind takes
      3  the store was unreachable
      4  credentials or permissions were refused
    """
    fields = _fields(field)
    tags = {name: value for name, _, value in (each.partition("=") for each in tag or ())}
    computation = fields.pop("computation", computation)
    body = _content(file)
    with opened_lake(settings_from(config, lake=lake)) as opened:
        documents = opened.documents
        info = documents.put(
            kind, _data(documents, kind, body), at=at, packing=_packing(packing), tags=tags, sources=source,
            computation=computation, computation_version=computation_version, **fields,
        )  # fmt: skip
    if json:
        print_json(_info_document(info))
    else:
        print(info.key)
    return 0


def delete(key: KeyArgument, yes: YesOption = False, config: ConfigOption = None, lake: LakeOption = None) -> int:
    """Remove one document. Asks first.

    \b
    Example:
      streamer documents delete user-data/7/portfolio/2026/01/03/2026-01-03T10-00-00-000000.json --yes

    \b
    Exit status:
      0    removed
      1    there is no such document
      2    no kind has such keys
      3    the store was unreachable
      4    credentials or permissions were refused
      130  not removed: the answer was no
    """
    with opened_lake(settings_from(config, lake=lake)) as opened:
        info = opened.documents.find(key)
        if not yes:
            typer.confirm(f"remove {key}, {info.size_bytes} bytes?", abort=True, err=True)
        opened.documents.delete(info)
    note(f"removed {key}")
    return 0


def _fields(given: list[str] | None) -> dict[str, Any]:
    from streamer.docstore.template import WORDS

    found: dict[str, Any] = {}
    for each in given or ():
        name, sign, value = each.partition("=")
        if not sign or not name.isidentifier() or name in WORDS:
            raise Invalid(f"{each[:80]!r} is no field", hint="write --field symbol=BTC/USDT")
        found[name] = value
    return found


def _packing(text: str | None) -> Packing | None:
    match text:
        case None | "gzip" | "zstd":
            return text
    raise Invalid(f"{text!r} is no packing", hint="write gzip or zstd")


def _content(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise Invalid(f"the file cannot be read: {error.strerror}", hint="name a readable file, or -", path=file) from error


def _data(documents: Documents, kind: str, body: bytes) -> Any:
    from streamer.docstore.body import TEXT

    template = documents.kinds.get(kind, "")
    try:
        if template.endswith(".json"):
            return json_.loads(body)
        return body.decode() if template.endswith(TEXT) else body
    except (ValueError, RecursionError) as error:
        what = "JSON" if template.endswith(".json") else "text in UTF-8"
        raise Invalid(f"this is not {what}: {error}", hint=f"documents of this kind are {what}") from None


def _show(found: Document, json: bool) -> int:
    if json:
        made = found.derivation
        derivation = None if made is None else {
            "computation": made.computation,
            "version": made.version,
            "computed_at": made.computed_at.isoformat(),
            "sources": [source.document() for source in made.sources],
            "listed": made.listed,
        }  # fmt: skip
        print_json(
            {
                **_info_document(found.info),
                "metadata": dict(found.metadata),
                "tags": dict(found.tags),
                "derivation": derivation,
                "data": _printable(found.data),
            }
        )
    elif isinstance(found.data, bytes):
        sys.stdout.buffer.write(found.data)
    elif isinstance(found.data, str) and not _is_json(found.info.key):
        print(found.data, end="")
    else:
        print_json(found.data)
    return 0


def _printable(data: Any) -> Any:
    return b64encode(data).decode() if isinstance(data, bytes) else data


def _is_json(key: str) -> bool:
    return key.removesuffix(".gz").removesuffix(".zst").endswith(".json")


def _kind_document(name: str, kind: Kind, configured: bool) -> dict[str, Any]:
    schema = kind.schema
    columns = schema.columns if schema is not None else ()
    rules = [str(rule) for rule in schema.rules] if schema is not None else []
    rules += [f"{check.name}: {check.kind} {' '.join(check.columns)}" for check in schema.checks] if schema is not None else []
    return {
        "kind": name,
        "template": kind.template.text,
        "fields": list(kind.template.fields),
        "schema": {column.name: column.type for column in columns},
        "rules": rules,
        "configured": configured,
    }


def _info_document(info: DocumentInfo) -> dict[str, Any]:
    return {
        "kind": info.kind,
        "key": info.key,
        "fields": dict(info.fields),
        "at": info.at.isoformat(),
        "version": info.version,
        "bytes": info.size_bytes,
        "etag": info.etag,
    }
