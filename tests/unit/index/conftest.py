"""The DynamoDB with moods of the tests of events."""

from __future__ import annotations

from tests.unit.events.conftest import dynamo, dynamo_address, moto

__all__ = ["dynamo", "dynamo_address", "moto"]
