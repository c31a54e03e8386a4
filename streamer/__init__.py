"""streamer: archives market data from Kafka to a lake in object storage, exactly once.

from streamer import Lake

lake = Lake.open("s3://microstream-data")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamer.lake.lake import AsyncLake, Lake

__version__ = "0.1.0"
__all__ = ["AsyncLake", "Lake", "__version__"]


def __getattr__(name: str) -> Any:
    # The command line imports this package for every `--help`; the reader and its client are loaded when asked for.
    if name in ("AsyncLake", "Lake"):
        from streamer.lake import lake

        return getattr(lake, name)
    raise AttributeError(name)
