"""Where values come from: the built-in streams, well-known variables, the file, `STREAMER__` variables, the command line.

Each source becomes one flat layer, path -> value and origin; a later layer covers an earlier one value by value. Names that
nobody knows are found here, where it is still known who wrote them. Nothing here judges values: `load.py` does.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from streamer.config.settings import Settings
from streamer.config.stream import BUILT_IN
from streamer.config.tree import Names, Node, Path, child, did_you_mean, fields, node
from streamer.errors import Invalid

PREFIX = "STREAMER__"
FILES = (FilePath("streamer.toml"), FilePath("/etc/streamer/streamer.toml"))

WELL_KNOWN: tuple[tuple[str, Path], ...] = (
    ("KAFKA_BOOTSTRAP_SERVERS", ("kafka", "bootstrap_servers")),
    ("S3_BUCKET_NAME", ("lake", "url")),
    ("S3_BUCKET", ("lake", "url")),
    ("AWS_S3_PULSE_BUCKET", ("lake", "url")),
    ("AWS_ACCESS_KEY_ID", ("s3", "access_key_id")),
    ("AWS_SECRET_ACCESS_KEY", ("s3", "secret_access_key")),
    ("AWS_SESSION_TOKEN", ("s3", "session_token")),
    ("AWS_REGION", ("s3", "region")),
    ("AWS_DEFAULT_REGION", ("s3", "region")),
    ("AWS_ENDPOINT_URL_S3", ("s3", "endpoint_url")),
    ("AWS_ENDPOINT_URL", ("s3", "endpoint_url")),
    ("AWS_ENDPOINT_URL_SECRETS_MANAGER", ("secrets", "endpoint_url")),
    ("AWS_ENDPOINT_URL", ("secrets", "endpoint_url")),
    ("AWS_ENDPOINT_URL_DYNAMODB", ("dynamodb", "endpoint_url")),
    ("AWS_ENDPOINT_URL", ("dynamodb", "endpoint_url")),
    ("AWS_DYNAMODB_PULSE_TABLE", ("dynamodb", "pulse_table")),
)
"""Variables that other tools use, too. The first that is set, and not empty, counts."""

_CREDENTIALS: frozenset[Path] = frozenset(
    {("s3", "access_key_id"), ("s3", "secret_access_key"), ("s3", "session_token"), ("s3", "credentials")}
)
_SEPARATOR = re.compile(r"__(?!_)")  # a name may end in an underscore, none begins with one


@dataclass(frozen=True, slots=True)
class Given:
    """A value as somebody wrote it, and where."""

    value: Any = field(repr=False)
    origin: str


Layer = dict[Path, Given]


def built_in() -> Layer:
    """The three streams that are there without a file."""
    return flatten(BUILT_IN, ("streams",), "built in", [])


def well_known(environment: Mapping[str, str], above: Mapping[Path, Given]) -> Layer:
    """What the well-known variables say. Keys of S3 are one thing: where `above` names one of them, none is taken from here,
    lest a session token of one account meet the keys of another."""
    layer: Layer = {}
    has_keys = any(path in above for path in _CREDENTIALS)
    for variable, path in WELL_KNOWN:
        value = environment.get(variable, "").strip()
        if not value or path in layer or (has_keys and path in _CREDENTIALS):
            continue
        if path == ("lake", "url") and "://" not in value:
            value = f"s3://{value}"
        layer[path] = Given(value, variable)
    return layer


def file(config: FilePath | None, directory: FilePath | None, problems: list[str]) -> Layer:
    """What the file says: `config`, else the first of `FILES` that exists. Raises `Invalid` where it cannot be read."""
    path = config
    if path is None:
        path = next((p for p in ((directory or FilePath()) / f for f in FILES) if p.is_file()), None)
    if path is None:
        return {}
    try:
        content = path.read_bytes().decode()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise Invalid(
            "the configuration file cannot be read", hint="name a readable TOML file", file=path, reason=reason
        ) from error
    try:
        body = tomllib.loads(content)
    except (ValueError, RecursionError) as error:
        raise Invalid(
            f"the configuration file is not TOML: {error}", hint="correct the line that is named", file=path
        ) from None
    return flatten(body, (), str(path), problems)


def environment_variables(environment: Mapping[str, str], problems: list[str]) -> Layer:
    """What the `STREAMER__SECTION__FIELD` variables say. A variable that names a table holds a JSON object."""
    found: list[tuple[Path, Node, str]] = []
    for variable in environment:
        if variable.upper().startswith(PREFIX):
            path, here, problem = _resolve(variable[len(PREFIX) :])
            if problem:
                problems.append(f"unknown variable {dotted((variable,))}{problem}")
            else:
                found.append((path, here, variable))
        elif (
            variable.upper().startswith(PREFIX[:-1]) and "__" in (name := variable[len(PREFIX) - 1 :]) and not _resolve(name)[2]
        ):
            # Other variables with one underscore are not ours: Kubernetes sets STREAMER_SERVICE_HOST by itself.
            problems.append(f"unknown variable {dotted((variable,))} (did you mean {PREFIX}{name}?)")
    layer: Layer = {}
    # Shorter paths first, so that the variable of one value covers the JSON of its table. Then by name, not in the order of
    # the environment: the order of columns is part of the layout.
    for path, here, variable in sorted(found, key=lambda each: (len(each[0]), each[2])):
        if here is None:
            layer[path] = Given(environment[variable], variable)
            continue
        try:
            body = json.loads(environment[variable])
        except (ValueError, RecursionError):
            problems.append(f"{dotted((variable,))} names a table: give it a JSON object, or set its values one by one")
        else:
            _flatten(body, here, path, variable, layer, problems)
    return layer


def _resolve(name: str) -> tuple[Path, Node, str]:
    """The path that a variable's name (without prefix) means, what is there, and, where nothing can be, a remark for people.

    Sections and streams are lower case. A column's name is what is left, whatever it contains; in lower case if the variable
    has it in upper case only, since variables are written so by habit.
    """
    parts = _SEPARATOR.split(name)
    path: Path = ()
    here: Node = Settings
    while parts:
        if here is None:
            return path, None, f" ({env_name(path)} is a single value)"
        if isinstance(here, Names) and node(here.values) is None:
            column = "__".join(parts)
            part, parts = column if column != column.upper() else column.lower(), []
        else:
            part = parts.pop(0).lower()
        known, below = child(here, part)
        if not known or not part:
            names = {} if isinstance(here, Names) else fields(here)
            return path, None, did_you_mean(part, names) or f" (see {env_name(path)})"
        path, here = (*path, part), below
    return path, here, ""


def env_name(path: Path) -> str:
    """The variable that sets the value at `path`."""
    return PREFIX + "__".join(name if name != name.lower() else name.upper() for name in path)


def command_line(lake: str | None, kafka: str | None) -> Layer:
    """What the common options say."""
    given = ((("lake", "url"), lake, "--lake"), (("kafka", "bootstrap_servers"), kafka, "--kafka"))
    return {path: Given(value, option) for path, value, option in given if value is not None}


def flatten(body: object, path: Path, origin: str, problems: list[str]) -> Layer:
    """The values of a nested table, by path. What does not fit the tree goes to `problems`."""
    layer: Layer = {}
    here: Node = Settings
    for name in path:
        assert here is not None
        _, here = child(here, name)
    _flatten(body, here, path, origin, layer, problems)
    return layer


def _flatten(body: object, here: Node, path: Path, origin: str, layer: Layer, problems: list[str]) -> None:
    if here is None:
        layer[path] = Given(body, origin)
    elif not isinstance(body, Mapping):
        problems.append(f"{dotted(path)} is a table of names, not {_kind(body)} (in {origin})")
    else:
        if path and not body:
            layer[path] = Given({}, origin)
        for name, value in body.items():
            known, below = child(here, name)
            if known:
                _flatten(value, below, (*path, name), origin, layer, problems)
            else:
                names = () if isinstance(here, Names) else fields(here)
                problems.append(f"unknown name {dotted((*path, name))}{did_you_mean(name, names)} (in {origin})")


def dotted(path: Path) -> str:
    """`path` as people read it, at a length that fits a line."""
    text = ".".join(name[:80] for name in path)
    return text if text.isprintable() else ascii(text)


def _kind(value: object) -> str:
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list"}
    return kinds.get(type(value), "this")
