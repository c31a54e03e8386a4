"""Reads the configuration from everywhere it can come from, and says in one error all that is wrong with it.

Precedence, highest first: command line, `STREAMER__SECTION__FIELD`, the file, the well-known variables, the built-in streams
and defaults. Whatever is in them, the outcome is `Settings` or `Invalid`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails

from streamer.config import layers
from streamer.config.layers import Given, Layer, dotted, env_name
from streamer.config.settings import Settings
from streamer.config.stream import BUILT_IN
from streamer.config.tree import Path, field_at, meaning
from streamer.config.values import format_duration
from streamer.errors import Invalid

PROBLEMS_SHOWN = 20
_PLAIN_WORDS = {
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "tuple_type": "must be a list of text",
}


def load(
    config: FilePath | None = None,
    *,
    lake: str | None = None,
    kafka: str | None = None,
    environment: Mapping[str, str] | None = None,
    directory: FilePath | None = None,
    require_lake: bool = True,
) -> Settings:
    """The configuration that holds here and now.

    config: the file; without it `streamer.toml` in `directory` (default: the working directory), else
    `/etc/streamer/streamer.toml`, else none. lake, kafka: what the options `--lake` and `--kafka` say. environment: default
    `os.environ`. require_lake: False for what needs no lake. Raises `Invalid`, naming every wrong value and its place.
    """
    environment = os.environ if environment is None else environment
    problems: list[str] = []
    above = layers.file(config, directory, problems)
    above |= layers.environment_variables(environment, problems)
    above |= layers.command_line(lake, kafka)
    given = layers.built_in() | layers.well_known(environment, above) | above
    if problems:
        raise _invalid(problems)
    try:
        settings = Settings.model_validate(_nested(given))
    except ValidationError as error:
        raise _invalid([_sentence(details, given) for details in error.errors(include_url=False)]) from None
    if require_lake and settings.lake.url is None:
        raise Invalid(
            "no lake is configured",
            hint="set S3_BUCKET_NAME to the bucket and KAFKA_BOOTSTRAP_SERVERS to the brokers; "
            "or lake.url in streamer.toml, or --lake URL (a directory will do)",
        )
    return settings.with_origins({path: value.origin for path, value in given.items()})


def _nested(given: Layer) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for path, value in given.items():
        if value.value is None:
            continue  # a JSON null: as if it were not there
        here = root
        for name in path[:-1]:
            here = here.setdefault(name, {})
        if value.value == {} and path[-1] in here:
            continue  # an empty table takes nothing away
        here[path[-1]] = value.value
    return root


def _invalid(problems: list[str]) -> Invalid:
    shown = list(dict.fromkeys(problems))
    if len(shown) == 1:
        return Invalid(
            shown[0], hint="correct it; docs/configuration.md lists every name, `streamer config show` what holds now"
        )
    lines = "".join(f"\n  - {problem}" for problem in shown[:PROBLEMS_SHOWN])
    more = f"\n  - and {len(shown) - PROBLEMS_SHOWN} more" if len(shown) > PROBLEMS_SHOWN else ""
    return Invalid(
        f"the configuration has {len(shown)} errors:{lines}{more}", hint="correct them; docs/configuration.md lists every name"
    )


def _sentence(details: ErrorDetails, given: Layer) -> str:
    """One error of pydantic as people would say it: where, what is wrong, what was found, and who wrote it."""
    path = _path(details["loc"])
    where = f"{dotted(path)}: " if path else ""
    written = _written(path, given)
    if details["type"] == "missing":
        return f"{where}is missing{_meant_stream(path)}{_place(_written(path[:-1], given))}"
    wrong = _what(details, path)
    return f"{where}{wrong}{_found(path, written)}{_place(written)}"


def _path(loc: tuple[int | str, ...]) -> Path:
    """The part of pydantic's location that the configuration has names for."""
    path: Path = ()
    for part in loc:
        if not isinstance(part, str) or part == "[key]":
            break
        path = (*path, part)
    return path


def _written(path: Path, given: Layer) -> Given | None:
    if path in given:
        return given[path]
    below = [value for other, value in given.items() if other[: len(path)] == path] if path else []
    return Given(None, below[-1].origin) if below else None


def _what(details: ErrorDetails, path: Path) -> str:
    context = details.get("ctx", {})
    if details["type"] == "value_error":
        return str(context.get("error", details["msg"]))
    if details["type"] == "literal_error":
        expected = str(context.get("expected", ""))
        names = [name.strip("'") for name in expected.replace(" or ", ", ").split(", ")]
        value = details.get("input")
        close = get_close_matches(value, names, n=1) if isinstance(value, str) and len(value) < 100 else []
        return f"must be one of {', '.join(names)}" + (f" (did you mean {close[0]}?)" if close else "")
    if details["type"] in _PLAIN_WORDS:
        return _PLAIN_WORDS[details["type"]]
    if details["type"] in ("greater_than_equal", "less_than_equal"):
        least, most = context.get("ge"), context.get("le")
        return f"must be at least {_limit(least, path)}" if least is not None else f"must be at most {_limit(most, path)}"
    message = details["msg"].replace("Input should", "must").replace("valid ", "")
    return message[:1].lower() + message[1:]


def _limit(limit: Any, path: Path) -> str:
    return format_duration(limit) if meaning(field_at(Settings, path)) == "duration" else str(limit)


def _found(path: Path, written: Given | None) -> str:
    """What was found instead. Never of a secret, nor of what may carry one."""
    value = written.value if written else None
    if (
        not isinstance(value, str | int | float)
        or isinstance(value, SecretStr)
        or meaning(field_at(Settings, path)) == "secret text"
        or path[-1:] == ("credentials",)  # somebody may have put the secret where its name belongs
    ):
        return ""
    try:
        text = ascii(value)
    except ValueError:  # Python prints no integer of more than 4,300 digits
        return ""
    if "://" in text or "@" in text:
        return ""
    return f", not {text}" if len(text) <= 60 else f", not {text[:57]}..."


def _place(written: Given | None) -> str:
    return f" (in {written.origin})" if written else ""


def _meant_stream(path: Path) -> str:
    if len(path) != 3 or path[0] != "streams":
        return ""
    close = get_close_matches(path[1][:64], list(BUILT_IN), n=1)
    if close:
        return f" (did you mean streams.{close[0]}? A stream of your own needs one: {env_name(path)}, or in the file)"
    return f": a stream that is not built in needs {path[2]} = tick, signal, feature, orderbook, pulse or raw"
