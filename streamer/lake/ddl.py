"""Tables and views over a lake for SQL engines, as text. Pure: what a stream looks like in, statements out.

Each stream becomes `{stream}_raw` over its raw files, where the archive has some `{stream}_archive`, and the view `{stream}`,
in which every row is once: days whose certificate is complete from the archive, all others from raw. `bars` is made of ticks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

import pyarrow as pa

from streamer.errors import Invalid
from streamer.lake.ddl_bars import DUCKDB, PRESTO, SPARK, Dialect, bars_view

Engine = Literal["athena", "trino", "spark", "duckdb"]
ArchiveShape = Literal["by symbol", "by day"]
HIVE_TICKS = "symbol={symbol}/date={date}"
HIVE_DAYS = "date={date}"
BAR_TICKS = "ticks"


@dataclass(frozen=True, slots=True)
class StreamTable:
    """A stream as a table. columns: of its rows. path: the template of its folders. first_day: the oldest there is.

    archive: how the archive keeps it, None where it does not, or has no closed day yet. archive_folder: where.
    """

    name: str
    columns: pa.Schema
    path: str
    format: str
    event_time: str
    first_day: date
    archive: ArchiveShape | None = None
    archive_folder: str = ""


def ddl(engine: str, url: str, tables: Sequence[StreamTable]) -> str:
    """The statements for `engine`, each ended by a semicolon. `url`: the lake, `s3://...` or `file:///...`.

    Raises `Invalid` for an engine that is not known, and for one that cannot read a directory.
    """
    make = _ENGINES.get(engine)
    if make is None:
        raise Invalid(f"no DDL for {engine!r}", hint=f"--engine is one of {', '.join(_ENGINES)}")
    if engine in ("athena", "trino") and not url.startswith("s3://"):
        raise Invalid(f"{engine} reads buckets, not directories", hint="use --engine duckdb or spark", lake=url)
    place = url.removeprefix("file://").rstrip("/")
    parts = [_HEAD]
    for table in tables:
        if table.format != "parquet":
            parts.append(f"-- {table.name} is kept as {table.format}: convert it, or use `streamer query`\n")
        else:
            parts.append(make(place, table))
            if table.name == BAR_TICKS:
                parts.append(bars_view(_DIALECTS[engine], table.name, table.columns))
    return "\n".join(parts)


_HEAD = "-- Made by `streamer ddl`. Print it again when a stream has new columns, or when its first day was closed.\n"


_SYMBOLS = "-- Name the symbols you want, as the folders spell them: ETH/USDT is 'ETH%2FUSDT' in conditions on the raw table.\n"

# A symbol, which is a folder, may look like a day. No backslash: engines differ in what it means within quotes.
_DAY = "([0-9]{4}-[0-9]{2}-[0-9]{2})"
_DAY_IN: Mapping[ArchiveShape, str] = {"by symbol": f"/{_DAY}[.]parquet$", "by day": f"/{_DAY}/[^/]*$"}
_DAY_OF_CERTIFICATE = f"/{_DAY}[.]json$"

# ---- DuckDB ----------------------------------------------------------------------------------------------------------


def _duckdb(place: str, table: StreamTable) -> str:
    columns = ", ".join(_quoted(name) for name in table.columns.names)
    day = "" if "date" in table.columns.names else f', CAST({_quoted(table.event_time)} AS DATE) AS "date"'
    raw = f"{place}/raw/{table.name}/**/*.parquet"
    text = [
        "SET TimeZone = 'UTC';\n",
        f"CREATE OR REPLACE VIEW {table.name}_raw AS SELECT {columns}{day}\n"
        f"  FROM read_parquet('{_escaped(raw)}', hive_partitioning = false, union_by_name = true);\n",
    ]
    if table.archive is None:
        text.append(f"CREATE OR REPLACE VIEW {table.name} AS SELECT * FROM {table.name}_raw;\n")
        return "".join(text)
    files = "*/*.parquet" if table.archive == "by symbol" else "*/regime_signals.parquet"
    file_day = f"regexp_extract(filename, '{_DAY_IN[table.archive]}', 1)"
    day = "" if "date" in table.columns.names else ', file_day AS "date"'
    archive = f"{place}/{table.archive_folder}/{files}"
    text.append(
        f"CREATE OR REPLACE VIEW {table.name}_closed_days AS\n"
        "  SELECT CAST(json_extract_string(content, '$.date') AS DATE) AS day\n"
        f"  FROM read_text('{_escaped(place)}/archive/*.json')\n"
        f"  WHERE json_extract(content, '$.streams.{table.name}.complete') = 'true';\n"
        f"CREATE OR REPLACE VIEW {table.name}_archive AS SELECT {columns}{day}\n"
        f"  FROM (SELECT *, CAST({file_day} AS DATE) AS file_day\n"
        f"    FROM read_parquet('{_escaped(archive)}', hive_partitioning = false, union_by_name = true, filename = true))\n"
        f"  WHERE file_day IN (SELECT day FROM {table.name}_closed_days);\n"
        f"CREATE OR REPLACE VIEW {table.name} AS SELECT * FROM {table.name}_archive\n"
        f"  UNION ALL BY NAME SELECT * FROM {table.name}_raw\n"
        f"  WHERE CAST({_quoted(table.event_time)} AS DATE) NOT IN (SELECT day FROM {table.name}_closed_days);\n"
    )
    return "".join(text)


# ---- Spark -----------------------------------------------------------------------------------------------------------


def _spark(place: str, table: StreamTable) -> str:
    place = place.replace("s3://", "s3a://", 1) if place.startswith("s3://") else place
    names = table.columns.names
    listed = ", ".join(f"`{field.name}` {_type(field.type, _HIVE_TYPES)}" for field in table.columns)
    selected = ", ".join(f"`{name}`" for name in names)
    day = "" if "date" in names else f", CAST(`{table.event_time}` AS DATE) AS `date`"
    hive = table.path in (HIVE_TICKS, HIVE_DAYS)
    # Spark takes each byte of a percent-encoded folder name for a character. Files are still left out by this expression.
    decoded = "decode(encode(`symbol`, 'ISO-8859-1'), 'UTF-8') AS `symbol`"
    shown = selected.replace("`symbol`", decoded, 1) if table.path == HIVE_TICKS else selected
    folders = "" if hive else ", recursiveFileLookup 'true'"
    found = ", `date` DATE" if hive and "date" not in names else ""
    if hive:
        day = "" if "date" in names else ", `date`"
    text = [
        "SET spark.sql.session.timeZone = UTC;\n",
        f"CREATE OR REPLACE TEMPORARY VIEW {table.name}_raw_files ({listed}{found})\n"
        f"  USING parquet OPTIONS (path '{place}/raw/{table.name}'{folders});\n"
        f"CREATE OR REPLACE TEMPORARY VIEW {table.name}_raw AS SELECT {shown}{day} FROM {table.name}_raw_files;\n",
    ]
    if table.archive is None:
        text.append(f"CREATE OR REPLACE TEMPORARY VIEW {table.name} AS SELECT * FROM {table.name}_raw;\n")
        return "".join(text)
    path_day = f"CAST(regexp_extract(input_file_name(), '{_DAY_IN[table.archive]}', 1) AS DATE)"
    day = "" if "date" in names else ", file_day AS `date`"
    text.append(
        f"CREATE OR REPLACE TEMPORARY VIEW streamer_certificates USING json\n"
        f"  OPTIONS (path '{place}/archive', multiLine 'true');\n"
        f"CREATE OR REPLACE TEMPORARY VIEW {table.name}_closed_days AS\n"
        f"  SELECT CAST(`date` AS DATE) AS day FROM streamer_certificates WHERE streams.`{table.name}`.complete;\n"
        f"CREATE OR REPLACE TEMPORARY VIEW {table.name}_archive_files ({listed})\n"
        f"  USING parquet OPTIONS (path '{place}/{table.archive_folder}', recursiveFileLookup 'true');\n"
        f"CREATE OR REPLACE TEMPORARY VIEW {table.name}_archive AS SELECT {selected}{day}\n"
        f"  FROM (SELECT *, {path_day} AS file_day FROM {table.name}_archive_files)\n"
        f"  WHERE file_day IN (SELECT day FROM {table.name}_closed_days);\n"
        f"CREATE OR REPLACE TEMPORARY VIEW {table.name} AS SELECT * FROM {table.name}_archive\n"
        f"  UNION ALL SELECT * FROM {table.name}_raw\n"
        f"  WHERE CAST(`{table.event_time}` AS DATE) NOT IN (SELECT day FROM {table.name}_closed_days);\n"
    )
    return "".join(text)


# ---- Athena and Trino ------------------------------------------------------------------------------------------------


def _athena(place: str, table: StreamTable) -> str:
    partitions, projection = _projection(place, table)
    notice = _SYMBOLS if "symbol" in partitions else ""
    columns = ",\n".join(
        f"  `{field.name}` {_type(field.type, _HIVE_TYPES)}" for field in table.columns if field.name not in partitions
    )
    by = f"PARTITIONED BY ({', '.join(f'`{name}` string' for name in partitions)})\n" if partitions else ""
    properties = "".join(f",\n  '{name}' = '{value}'" for name, value in projection.items())
    text = notice + (
        f"CREATE EXTERNAL TABLE IF NOT EXISTS {table.name}_raw (\n{columns}\n)\n{by}STORED AS PARQUET\n"
        f"LOCATION '{place}/raw/{table.name}/'\nTBLPROPERTIES ('parquet.compression' = 'ZSTD'{properties});\n"
    )
    if table.archive is None:
        return text + f"CREATE OR REPLACE VIEW {table.name} AS SELECT * FROM {table.name}_raw;\n"
    archived = ",\n".join(f"  `{field.name}` {_type(field.type, _HIVE_TYPES)}" for field in table.columns)
    return text + (
        f"CREATE EXTERNAL TABLE IF NOT EXISTS {table.name}_archive_files (\n{archived}\n)\nSTORED AS PARQUET\n"
        f"LOCATION '{place}/{table.archive_folder}/'\nTBLPROPERTIES ('parquet.compression' = 'ZSTD');\n"
        "CREATE EXTERNAL TABLE IF NOT EXISTS streamer_certificate_lines (line string)\n"
        "ROW FORMAT DELIMITED FIELDS TERMINATED BY '\\001'\n"
        f"LOCATION '{place}/archive/';\n" + _presto_views(table, partitions)
    )


def _trino(place: str, table: StreamTable) -> str:
    partitions, projection = _projection(place, table)
    fields = [field for field in table.columns if field.name not in partitions]
    listed = [f'  "{field.name}" {_type(field.type, _TRINO_TYPES)}' for field in fields]
    listed += [f'  "{name}" varchar{_trino_projection(name, projection)}' for name in partitions]
    options = [f"external_location = '{place}/raw/{table.name}/'", "format = 'PARQUET'"]
    if partitions:
        options.append(f"partitioned_by = ARRAY[{', '.join(repr(name) for name in partitions)}]")
        options.append("partition_projection_enabled = true")
        options.append(f"partition_projection_location_template = '{projection['storage.location.template']}'")
    notice = _SYMBOLS if "symbol" in partitions else ""
    given = _lines([f"  {option}" for option in options])
    text = notice + f"CREATE TABLE IF NOT EXISTS {table.name}_raw (\n{_lines(listed)}\n) WITH (\n{given}\n);\n"
    if table.archive is None:
        return text + f"CREATE OR REPLACE VIEW {table.name} AS SELECT * FROM {table.name}_raw;\n"
    archived = _lines([f'  "{field.name}" {_type(field.type, _TRINO_TYPES)}' for field in table.columns])
    return text + (
        f"CREATE TABLE IF NOT EXISTS {table.name}_archive_files (\n{archived}\n) WITH (\n"
        f"  external_location = '{place}/{table.archive_folder}/',\n  format = 'PARQUET'\n);\n"
        "CREATE TABLE IF NOT EXISTS streamer_certificate_lines (line varchar) WITH (\n"
        f"  external_location = '{place}/archive/',\n  format = 'TEXTFILE',\n  textfile_field_separator = U&'\\0001'\n);\n"
        + _presto_views(table, partitions)
    )


def _trino_projection(name: str, projection: Mapping[str, str]) -> str:
    kind = projection[f"projection.{name}.type"]
    parts = [f"partition_projection_type = '{kind.upper()}'"]
    if kind == "date":
        first = projection["projection.date.range"].split(",")[0]
        parts += [f"partition_projection_range = ARRAY['{first}', 'NOW']", "partition_projection_format = 'yyyy-MM-dd'"]
    return f" WITH ({', '.join(parts)})"


def _presto_views(table: StreamTable, partitions: Sequence[str]) -> str:
    """Both speak this dialect: `"$path"` is the file of a row. A certificate's lines are looked at one by one, because neither
    reads JSON that goes over several lines."""
    names = table.columns.names
    selected = ", ".join(f'"{name}"' for name in names)
    own = "date" in names
    day = f'CAST("{table.event_time}" AS date)'
    from_folder = 'CAST("date" AS date)' if "date" in partitions else day
    assert table.archive is not None
    path_day = f"""CAST(regexp_extract("$path", '{_DAY_IN[table.archive]}', 1) AS date)"""
    certificate_day = f"""CAST(regexp_extract("$path", '{_DAY_OF_CERTIFICATE}', 1) AS date)"""
    shown = ("", "") if own else (f', {path_day} AS "date"', f', {from_folder} AS "date"')
    return (
        f"CREATE OR REPLACE VIEW {table.name}_closed_days AS\n"
        f"  SELECT {certificate_day} AS day FROM streamer_certificate_lines\n"
        f"  WHERE line = '  \"complete\": true,' OR line = '    \"{table.name}\": {{'\n"
        '  GROUP BY "$path" HAVING count(DISTINCT line) = 2;\n'
        f"CREATE OR REPLACE VIEW {table.name} AS\n"
        f"  SELECT {selected}{shown[0]} FROM {table.name}_archive_files\n"
        f"  WHERE {path_day} IN (SELECT day FROM {table.name}_closed_days)\n"
        f"  UNION ALL SELECT {selected}{shown[1]} FROM {table.name}_raw\n"
        f"  WHERE {from_folder} NOT IN (SELECT day FROM {table.name}_closed_days);\n"
    )


def _projection(place: str, table: StreamTable) -> tuple[list[str], dict[str, str]]:
    """The partition columns of the raw files, and the properties of their projection."""
    partitions = {HIVE_TICKS: ["symbol", "date"], HIVE_DAYS: ["date"]}.get(table.path, [])
    if not partitions or "date" in table.columns.names:
        return [], {}
    folders = "/".join(f"{name}=${{{name}}}" for name in partitions)
    properties = {
        "projection.enabled": "true",
        "projection.date.type": "date",
        "projection.date.format": "yyyy-MM-dd",
        "projection.date.range": f"{table.first_day.isoformat()},NOW",
        "storage.location.template": f"{place}/raw/{table.name}/{folders}/",
    }
    if "symbol" in partitions:
        # There is no list of symbols that stays true: a query names the ones it wants.
        properties["projection.symbol.type"] = "injected"
    return partitions, properties


_HIVE_TYPES: Mapping[pa.DataType, str] = {
    pa.string(): "string",
    pa.binary(): "binary",
    pa.bool_(): "boolean",
    pa.int32(): "int",
    pa.int64(): "bigint",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.date32(): "date",
}
_TRINO_TYPES: Mapping[pa.DataType, str] = {
    **_HIVE_TYPES,
    pa.string(): "varchar",
    pa.binary(): "varbinary",
    pa.int32(): "integer",
    pa.float32(): "real",
}


def _type(kind: pa.DataType, names: Mapping[pa.DataType, str]) -> str:
    if kind in names:
        return names[kind]
    if pa.types.is_timestamp(kind):
        return "timestamp(6)" if names is _TRINO_TYPES else "timestamp"
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    trino = names is _TRINO_TYPES
    if pa.types.is_map(kind):
        key, item = _type(kind.key_type, names), _type(kind.item_type, names)
        return f"map({key}, {item})" if trino else f"map<{key},{item}>"
    if pa.types.is_list(kind):
        item = _type(kind.value_type, names)
        return f"array({item})" if trino else f"array<{item}>"
    if pa.types.is_struct(kind):
        fields = [(field.name, _type(field.type, names)) for field in kind]
        listed = (f"{name} {inner}" if trino else f"{name}:{inner}" for name, inner in fields)
        return f"row({', '.join(listed)})" if trino else f"struct<{','.join(listed)}>"
    raise Invalid(f"no SQL type for {kind}", hint="leave the stream out")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _escaped(text: str) -> str:
    return text.replace("'", "''")


def _lines(parts: Sequence[str]) -> str:
    return ",\n".join(parts)


_ENGINES: Mapping[str, Callable[[str, StreamTable], str]] = {
    "athena": _athena,
    "trino": _trino,
    "spark": _spark,
    "duckdb": _duckdb,
}
_DIALECTS: Mapping[str, Dialect] = {"athena": PRESTO, "trino": PRESTO, "spark": SPARK, "duckdb": DUCKDB}
