"""streamer: archives market data from Kafka to a lake in object storage, exactly once."""

from __future__ import annotations

__version__ = "0.1.0"
