"""docs/layout.md says what the code does: its tables are compared with what is really written."""

from __future__ import annotations

import gzip
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from decoded_tables import COLUMNS, TICKS, batch, decoded, layout, letter

from streamer.commit.position import Position
from streamer.layout import SYSTEM_FIELDS
from streamer.records import DeadLetterReason
from streamer.schemas import SCHEMAS
from streamer.write.batch_files import BatchWriter
from streamer.write.dead_letter_file import encode_dead_letters
from streamer.write.partition_value import decode_value, encode_value
from streamer.write.path_template import parse_template

PAGE = Path(__file__).parents[3] / "docs" / "layout.md"


def _first_column(heading: str, number: int = 0) -> list[str]:
    """The names in the first column of a table below `heading`."""
    section = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)
    (text,) = [part for part in section if part.startswith(heading + "\n")]
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    return [row.split("|")[1].strip().strip("`") for row in tables[number].splitlines()[2:]]


def test_the_metadata_named_is_the_metadata_written() -> None:
    plan = BatchWriter(layout()).plan(batch(0, 2), [decoded(layout(), [{}])], [letter(1)])

    for file in plan.files:
        assert sorted(_first_column("What a file says of itself")) == sorted(file.encode().metadata)


def test_the_fields_of_a_position_are_those_of_the_document() -> None:
    position = Position("cluster", TICKS, 0, 0, 0, 1, 1, "writer", "host", "layout", through=datetime(2024, 1, 1, tzinfo=UTC))

    assert _first_column("The position document") == list(json.loads(position.to_json()))


def test_the_fields_of_a_layout_are_those_of_the_document() -> None:
    assert sorted(_first_column("The layout document")) == sorted(layout().document())


def test_the_fields_and_reasons_of_dead_letters_are_those_written() -> None:
    line = json.loads(gzip.decompress(encode_dead_letters(TICKS, [letter(0)])))
    assert _first_column("Dead letters") == list(line)
    assert _first_column("Dead letters", 1) == [reason.value for reason in DeadLetterReason]


def test_the_columns_named_are_the_columns_there_are() -> None:
    assert _first_column("Columns") == [field.name for field in SYSTEM_FIELDS]
    assert _first_column("Columns", 1) == list(SCHEMAS)
    for name, columns in SCHEMAS.items():
        (row,) = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{name}` | `")]
        assert re.findall(r"`(\w+)`", row)[1:] == [column.name for column in columns]


@pytest.mark.parametrize(
    "row", [line for line in PAGE.read_text().splitlines() if re.fullmatch(r"\| `[^`]+` \| `[^` ]+` \|", line)]
)
def test_a_value_is_spelt_as_the_page_says(row: str) -> None:
    value, text = re.findall(r"`([^`]+)`", row)

    assert encode_value(value) == text
    assert decode_value(text) == value


def test_the_directives_named_are_accepted() -> None:
    (row,) = [line for line in PAGE.read_text().splitlines() if line.startswith("| `%Y %m")]
    for directive in re.findall(r"%[A-Za-z]", row):
        assert parse_template(directive, COLUMNS)


def test_the_examples_for_duckdb_and_pyarrow_read_a_lake(tmp_path: Path) -> None:
    rows = [{"symbol": "BTC/USDT"}, {"symbol": "BTCUSDT", "_offset": 1}]
    for of in (layout(), layout(format="ndjson.zst")):
        for file in BatchWriter(of).plan(batch(0, 4), [decoded(of, rows)], [letter(2), letter(3, -1)]).files:
            (tmp_path / file.key).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file.key).write_bytes(file.encode().body)
    page = PAGE.read_text().replace("s3://bucket", str(tmp_path))
    (sql,) = re.findall(r"```sql\n(.*?)```", page, flags=re.DOTALL)
    (python,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)

    by_symbol, raw, lines, letters = sql.split(";")[:-1]
    assert sorted(duckdb.sql(by_symbol).fetchall()) == [("BTC/USDT", 1), ("BTCUSDT", 1)]
    assert [duckdb.sql(f"SELECT count(*) FROM ({rows})").fetchall() for rows in (raw, lines)] == [[(2,)], [(2,)]]
    assert [(reason, count) for reason, count, _ in duckdb.sql(letters).fetchall()] == [("invalid_json", 2)]
    for lines_file in tmp_path.glob("raw/**/*.zst"):
        lines_file.unlink()  # a dataset has one format
    *statements, last = python.strip().splitlines()
    names: dict[str, Any] = {}
    exec("\n".join(statements), names)
    assert eval(last, names)["symbol"].to_pylist() == ["BTC/USDT"]
