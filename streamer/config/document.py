"""Writes the reference page of the configuration from the models: `python -m streamer.config.document > docs/configuration.md`.

A test fails when the page and the models disagree.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from streamer.config.layers import WELL_KNOWN, env_name
from streamer.config.sections import Section, available_cores
from streamer.config.settings import Settings
from streamer.config.tree import Names, Path, fields, meaning, node
from streamer.config.values import format_duration, format_size

HEAD = """<!-- Made by `python -m streamer.config.document > docs/configuration.md`. Change the models, not this page. -->
# Configuration

Two variables are enough: `KAFKA_BOOTSTRAP_SERVERS` and `S3_BUCKET_NAME`. Everything else has a default.

## Where values come from

Highest first. Each value is looked up by itself: a variable changes one field of a section that a file describes.

1. **The command line**: `--lake URL`, `--kafka SERVERS`.
2. **Variables** `STREAMER__SECTION__FIELD`, such as `STREAMER__STREAMS__TICKS__CUT__ROWS=5000`. A list is JSON or parted by
   commas; a variable that names a table (`STREAMER__STREAMS__TICKS__COLUMNS`) holds a JSON object. An empty value means
   "not set", where a field can be that. Column names in a variable are lower case, unless it writes them in mixed case.
3. **The file**: `--config FILE`, else `./streamer.toml`, else `/etc/streamer/streamer.toml`. TOML.
4. **Well-known variables**, named in the last column below. S3 keys count as one value: as soon as a file or a
   `STREAMER__` variable names one of them, none is taken from `AWS_...`. Without any keys the AWS credential chain applies.
5. **The built-in streams** `ticks`, `signals` and `features`: topics of the same names, with the schemas `tick`, `signal` and
   `feature`. A file extends them field by field; `enabled = false` switches one off.
6. **Defaults**.

`streamer config show` prints every value and where it came from, secrets excepted. A name that nobody knows is an error, not
ignored; so is a `STREAMER__` variable.

## How values are written

- **size**: a number of bytes, or text: `"64MiB"`, `"1GiB"`, `"500kB"`.
- **duration**: a number of seconds, or text: `"60s"`, `"250ms"`, `"5m"`, `"1h30m"`.
- **Arrow type** of a column: `string`, `binary`, `bool`, `int32`, `int64`, `float32`, `float64`, `date32`,
  `timestamp[us, UTC]`, `timestamp[ns, UTC]`, `decimal128(38,18)`, `map<string, float64>`, `list<string>`, `list<float64>`;
  a side of an order book: `list<struct<price: float64, quantity: float64>>`, either of them a decimal where wanted.
- **rule**: a column, one of `>` `>=` `<` `<=` `==` `!=`, and a number: `"price > 0"`.

## Example

```toml
[kafka]
bootstrap_servers = "kafka-1:9092,kafka-2:9092"

[lake]
url = "s3://microstream-data"

[streams.ticks]
cut = { rows = 500_000, bytes = "64MiB", age = "60s" }
rules = ["price > 0"]

[streams.ticks.columns]            # beyond the schema, or instead of its types
bid = "float64"
price = "decimal128(38,18)"

[streams.ticks.aliases]
price = ["p", "px"]

[streams.orders]                   # a stream of your own needs a schema
schema = "raw"

[streams.orderbooks]
topic = "depth"
schema = "orderbook"
```
"""


def document() -> str:
    """The whole page."""
    parts = [HEAD]
    for name, field in fields(Settings).items():
        found = node(field.annotation)
        if isinstance(found, Names):
            parts.append(_section((name, "NAME"), node(found.values)))
        else:
            parts.append(_section((name,), found))
    return "\n".join(parts)


def _section(path: Path, section: Any) -> str:
    text = " ".join((section.__doc__ or "").split())
    rows = "\n".join(_rows((), path, section))
    head = "| name | type | default | variable | meaning |\n|---|---|---|---|---|"
    return f"## `[{'.'.join(path)}]`\n\n{text}\n\n{head}\n{rows}\n"


def _rows(below: Path, path: Path, section: type[Section]) -> Iterator[str]:
    for name, field in fields(section).items():
        inner = node(field.annotation)
        here, full = (*below, name), (*path, name)
        named = node(inner.values) if isinstance(inner, Names) else None
        if isinstance(inner, type):
            yield from _rows(here, full, inner)
        elif isinstance(named, type):
            yield from _rows((*here, "NAME"), (*full, "NAME"), named)
        else:
            cells = (f"`{'.'.join(here)}`", _type(field), _default(field), _variables(full), field.description or "")
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _variables(path: Path) -> str:
    own = env_name(path)
    return ", ".join([f"`{own}`", *(f"`{variable}`" for variable, other in WELL_KNOWN if other == path)])


def _type(field: FieldInfo) -> str:
    if known := meaning(field):
        return known
    if isinstance(found := node(field.annotation), Names):
        return "table of lists" if "tuple" in str(found.values) else "table of text"
    if choices := _choices(field.annotation):
        return " | ".join(f"`{choice}`" for choice in choices)
    names: dict[Any, str] = {bool: "true or false", int: "whole number", str: "text"}
    return names.get(field.annotation, str(field.annotation))


def _choices(annotation: Any) -> list[str]:
    if str(get_origin(annotation)) == "typing.Literal":
        return [str(choice) for choice in get_args(annotation)]
    return [choice for part in get_args(annotation) for choice in _choices(part)]


def _default(field: FieldInfo) -> str:
    if field.default_factory is available_cores:
        return "one for each core"
    if field.default is PydanticUndefined:
        return "none" if isinstance(node(field.annotation), Names) else "**required**, unless built in"
    value, kind = field.default, meaning(field)
    if value is None or value == ():
        return "not set" if value is None else "none"
    if isinstance(value, tuple):
        return f"`{', '.join(value)}`"
    if kind in ("size", "duration"):
        return f"`{format_size(value) if kind == 'size' else format_duration(value)}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    sys.stdout.write(document())
