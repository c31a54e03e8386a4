"""Row filters as Arrow users write them, and which columns they need. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from streamer.errors import Invalid

_FORMS = "write an Arrow expression, pc.field('price') > 100, or tuples: [('price', '>', 100), ('side', 'in', ['buy'])]"


def as_expression(where: Any) -> Any:
    """`where` as an Arrow expression: one already, or tuples as `pyarrow.parquet.read_table(filters=)` takes them (a list of
    tuples is AND, a list of such lists OR). None stays None. Raises `Invalid`."""
    if where is None or isinstance(where, pc.Expression):
        return where
    if isinstance(where, tuple) and len(where) == 3 and isinstance(where[0], str):
        where = [where]
    try:
        return pq.filters_to_expression(where)
    except (pa.ArrowException, TypeError, ValueError, AttributeError) as error:
        raise Invalid(f"the filter is not understood: {error}", hint=_FORMS) from error


def columns_of(where: Any, schema: pa.Schema) -> frozenset[str]:
    """The columns of `schema` that the expression needs. Raises `Invalid` where it needs others, or compares what cannot be."""
    if where is None:
        return frozenset()
    try:
        schema.empty_table().filter(where)
    except (pa.ArrowException, KeyError, TypeError) as error:
        text = str(error).splitlines()[0]
        raise Invalid(f"the filter does not fit the stream: {text}", hint=f"it has {', '.join(schema.names)}") from error
    # pyarrow does not say which fields an expression names, so each is left out in turn to see whether it is missed.
    return frozenset(name for name in schema.names if not _binds(where, schema, {name}))


def _binds(where: Any, schema: pa.Schema, without: Collection[str]) -> bool:
    try:
        pa.schema([field for field in schema if field.name not in without]).empty_table().filter(where)
    except (pa.ArrowException, KeyError):
        return False
    return True
