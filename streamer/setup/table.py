"""The DynamoDB tables of indexes, as `streamer init` finds them and makes them. What is in one is never touched."""

from __future__ import annotations

from streamer.errors import Invalid
from streamer.index.dynamodb import INDEX_KEYS, KEYS, IndexTable, TableState
from streamer.index.settings import BY_TICKER
from streamer.setup.step import Step, compared
from streamer.store.contract import Unsupported


async def table_steps(table: IndexTable, *, recovery: bool) -> list[Step]:
    """The table, its index, and, where it is wanted, its point-in-time recovery. Raises `Invalid` where it has other keys."""
    state = await table.describe()
    if state is not None:
        demand_keys(table.name, state)
    about, wanted = f"table {table.name}", lines(KEYS, INDEX_KEYS)
    if state is None:
        steps = [Step(about, "create", (), (*wanted, "paid by request"), carry_out=table.create)]
    else:
        steps = [compared(about, lines(state.keys, state.index_keys), wanted, table.add_index)]
    return [*steps, await _recovery(table, there=state is not None)] if recovery else steps


def demand_keys(name: str, state: TableState) -> None:
    """Raises `Invalid` where this is another table than an index's."""
    if state.keys != KEYS or state.index_keys not in ((), INDEX_KEYS):
        said = "; ".join(lines(state.keys, state.index_keys))
        hint = "keys of a table cannot be changed: name another table, or delete this one if nobody needs it"
        raise Invalid(f"the table is not that of an index: {said}", hint=hint, table=name)


def lines(keys: tuple[str, ...], index_keys: tuple[str, ...]) -> tuple[str, ...]:
    """A table as people read it."""
    found = [f"keys {', '.join(keys)}"]
    return tuple(found + ([f"index {BY_TICKER}: {', '.join(index_keys)}"] if index_keys else []))


async def _recovery(table: IndexTable, *, there: bool) -> Step:
    about, wanted = f"table {table.name} recovery", ("point-in-time recovery = on",)
    try:
        found = wanted if there and await table.recovers() else ()
    except Unsupported as error:
        return Step(about, "create", (), wanted).not_offered(error.message)
    return compared(about, found, wanted, table.switch_recovery_on)
