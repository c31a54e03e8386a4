"""Coverage-guided fuzzing of the documents' parsers with atheris, beside hypothesis: `make fuzz SECONDS=60`.

Starts from whole documents and keeps what reaches new code. Anything but the parser's own error ends it, with the input.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris
import orjson

with atheris.instrument_imports(include=["streamer"]):
    from streamer.archive.certificate import Certificate
    from streamer.archive.lease import LeaseDocument
    from streamer.commit.position import Position
    from streamer.features.document import parse, parsed_rows
    from streamer.keys import certificate_key
    from streamer.lake.letters import parse_letters
    from streamer.models.registry import Registry

from streamer.errors import Damaged
from tests.fuzz import test_documents as whole
from tests.fuzz.test_files import LETTER

SEEDS = [whole.POSITION, whole.REGISTRY, whole.CERTIFICATE, whole.LEASE]


def history(data: bytes) -> None:
    for _, text in parse(data, key="k")[1]:
        parsed_rows(text, {}, key="k")


PARSERS: tuple[tuple[Callable[[bytes], object], type[Exception]], ...] = (
    (lambda data: Position.from_json(data, key="k"), Damaged),
    (lambda data: Registry.from_json(data, key="k"), Damaged),
    (lambda data: Certificate.from_json(data, key=certificate_key(whole.DAY)), Damaged),
    (LeaseDocument.from_json, Damaged),
    (history, Damaged),
    (parse_letters, ValueError),
)


def examine(data: bytes) -> None:
    """Every parser on the same bytes."""
    for parser, expected in PARSERS:
        try:
            parser(data)
        except expected:
            continue


if __name__ == "__main__":
    corpus = Path(tempfile.mkdtemp(prefix="streamer-corpus-"))
    bodies = [*(seed.to_json() for seed in SEEDS), whole.HISTORY, orjson.dumps(LETTER) + b"\n"]
    for number, body in enumerate(bodies):
        (corpus / str(number)).write_bytes(body)
    atheris.Setup([*sys.argv, "-max_len=4096", str(corpus)], examine)
    atheris.Fuzz()
