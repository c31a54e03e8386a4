"""The kinds of documents that are known without being declared, and which templates may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from streamer.docstore.schema import DocumentSchema
from streamer.docstore.template import Template
from streamer.errors import Invalid
from streamer.keys import ARCHIVE_PARTS, BUNDLES, CERTIFICATES, DEAD_LETTERS, MODELS, RAW


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of documents. schema: what its data must be; None: anything."""

    template: Template
    schema: DocumentSchema | None = None

    def __post_init__(self) -> None:
        if self.schema is not None and not self.template.text.endswith(".json"):
            raise Invalid(f"only documents in JSON have fields, and {self.template.text} is none", hint="leave the schema out")


_DAY = "{Y}/{m}/{d}"

BUILT_IN: Mapping[str, Template] = MappingProxyType(
    {
        "ohlcv": Template(f"market-data/ohlcv/{{symbol}}/{{timeframe}}/{_DAY}/{{timestamp}}.json"),
        "orderbook": Template(f"market-data/orderbook/{{symbol}}/{_DAY}/{{H}}/{{minute}}_{{timestamp}}.json"),
        "trades": Template(f"market-data/trades/{{symbol}}/{_DAY}/{{timestamp}}.json"),
        "portfolio": Template(f"user-data/{{user_id}}/portfolio/{_DAY}/{{timestamp}}.json"),
        "user-trades": Template(f"user-data/{{user_id}}/trades/{_DAY}/{{timestamp}}.json"),
        "analytics": Template(f"analytics/{{report_type}}/{_DAY}/{{timestamp}}.json"),
        "backup": Template(f"backups/database/{{table}}/{_DAY}/{{timestamp}}.json"),
        "log": Template(f"logs/{{log_type}}/{_DAY}/{{timestamp}}_app.log"),
        "raw": Template("raw/{source}/{ticker}/{date}/{timestamp}.json"),
        "processed": Template("processed/{computation:indicators|percentiles|features}/{ticker}/{date}/{timestamp}.json"),
        "report": Template("reports/{ticker}/{date}.pdf"),
        "pulse": Template("pulse-events/{date}/{timestamp}.json"),
        "pulse-summary": Template("daily-summaries/pulse/{date}.json"),
    }
)

_OURS = (RAW, DEAD_LETTERS, CERTIFICATES, ARCHIVE_PARTS, MODELS, BUNDLES, "_streamer/", "state/", "cache/", "ticks/", "ohlcv/",
         "features/", "signals/", "orderbooks/", "daily-summaries/", "streams/")  # fmt: skip


def declared(template: str) -> Template:
    """The template that somebody declares. Raises `Invalid` where it is none, or lies where the rest of the lake does."""
    made = Template(template)
    top = template.split("/")[0]
    choice = next(iter(made.fields.values()), (top,)) if top.startswith("{") else (top,)
    if not choice:
        # A value of it could be `archive`, and the document a certificate.
        raise Invalid(f"the folder {top} of documents could be any", hint=f"put one before it: documents/{template}")
    if taken := [name for name in choice if f"{name}/" in _OURS]:
        raise Invalid(f"documents cannot lie below {taken[0]}/", hint="choose a folder of their own")
    return made
