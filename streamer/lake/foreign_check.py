"""Objects below `raw/` and `dead-letters/` that streamer did not name: harmless strangers, or copies that double rows.

SQL engines list folders and read what they find, whatever its name, so a copy of a data file is damage. A stranger is a note.
"""

from __future__ import annotations

from collections.abc import Collection

import orjson
import pyarrow as pa

from streamer.errors import NotFound
from streamer.keys import DEAD_LETTERS, RAW
from streamer.lake.fetched_ranges import MAGIC, fetch_parquet
from streamer.lake.finding import Finding, FindingKind, NoteKind
from streamer.lake.inventory import ForeignObject, Inventory
from streamer.lake.stored_file import FACTS, decompressed
from streamer.store.contract import Store
from streamer.write.parquet import METADATA_PREFIX

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_WHOLE_BYTES_MAX = 64 << 20


async def check_foreign(store: Store, inventory: Inventory, streams: Collection[str] | None) -> list[Finding]:
    """A finding or a note for each of the first foreign objects (the inventory keeps 1000), and one note for the others."""
    found = []
    for item in inventory.foreign:
        if streams is not None and not item.key.startswith(
            tuple(f"{top}{stream}/" for top in (RAW, DEAD_LETTERS) for stream in streams)
        ):
            continue
        found.append(await _examine(store, item))
    if inventory.foreign_count > len(inventory.foreign):
        detail = f"{inventory.foreign_count - len(inventory.foreign)} more foreign objects were not looked at"
        found.append(Finding(NoteKind.FOREIGN_FILE, detail, "move them out of raw/ and dead-letters/"))
    return found


async def _examine(store: Store, item: ForeignObject) -> Finding:
    if not item.visible:
        return Finding(NoteKind.FOREIGN_FILE, "not of streamer; SQL engines do not look at it", "", item.key)
    try:
        copied = await _is_copy(store, item)
    except NotFound:
        return Finding(NoteKind.FOREIGN_FILE, "not of streamer, and gone when it was looked at", "", item.key)
    if copied:
        detail = "it holds rows or dead letters of streamer under a name that is none: engines read them twice"
        return Finding(FindingKind.COPIED_FILE, detail, "move it out of raw/ and dead-letters/", item.key)
    return Finding(NoteKind.FOREIGN_FILE, "not of streamer; SQL engines will try to read it", "move it elsewhere", item.key)


async def _is_copy(store: Store, item: ForeignObject) -> bool:
    metadata = (await store.head(item.key)).metadata or {}
    if all(name in metadata for name in FACTS):
        return True
    if item.size_bytes < len(MAGIC):
        return False
    head = await store.get_range(item.key, 0, len(MAGIC))
    try:
        if head == MAGIC:
            footer = await fetch_parquet(store, item.key, item.size_bytes, ())
            names = {"_offset", "_partition"} <= set(footer.schema_arrow.names)
            return names or f"{METADATA_PREFIX}start".encode() in (footer.metadata.metadata or {})
        if head.startswith((_GZIP, _ZSTD)) and item.size_bytes <= _WHOLE_BYTES_MAX:
            text = decompressed((await store.get(item.key)).body, "zst" if head == _ZSTD else "gz")
            return _is_our_line(text.partition(b"\n")[0])
        if head.startswith(b"{") and item.size_bytes <= _WHOLE_BYTES_MAX:
            return _is_our_line((await store.get(item.key)).body.partition(b"\n")[0])
    except (pa.ArrowException, OSError, ValueError):
        return False
    return False


def _is_our_line(line: bytes) -> bool:
    try:
        body = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return isinstance(body, dict) and ({"_offset", "_partition"} <= body.keys() or {"offset", "reason", "value"} <= body.keys())
