"""The one place that knows DynamoDB's requests: an index's table, made, described, written, asked.

One request per call of the client. What is throttled or comes back unprocessed is sent again here, more and more slowly; what
fails for good is an error of streamer's own, with the next step.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from streamer.aws import BAD_REQUEST, RAISED, ClientError, Connections, Reach, reason_of, refusal_of, without_keys
from streamer.aws_refusals import another_region, keys_refused, missing_action
from streamer.clock import Clock, backoff_seconds
from streamer.errors import Denied, Invalid, StreamerError, Unavailable
from streamer.events.event import NO_TICKER, TICKER, TIMESTAMP, stamp
from streamer.index.item import Attributes, Item
from streamer.index.permissions import ACTIONS
from streamer.index.settings import BY_TICKER, TableSettings
from streamer.lake.parallel import in_parallel
from streamer.store.contract import Unsupported
from streamer.store.s3_errors import Refusal

BATCH_ITEMS = 25
"""DynamoDB takes no more in one request."""
WRITES_AT_ONCE = 8
WRITE_BUDGET_BYTES = 32 << 20
TRIES = 10
ACTIVE_SECONDS = 600.0

KEYS = (TIMESTAMP, TICKER)
INDEX_KEYS = (TICKER, TIMESTAMP)

_TOO_LARGE = "Item size"
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_THROTTLED = frozenset({"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"})
_NOT_NOW = frozenset({"InternalServerError", "ServiceUnavailable", "LimitExceededException", "ResourceInUseException"})
_UNKNOWN = frozenset({"UnknownOperationException", "NotImplemented", "UnsupportedOperation"})


@dataclass(frozen=True, slots=True)
class TableState:
    """A table as it is. keys, index_keys: the names of partition key and sort key; of the index none where it is not there.
    status, index_status: `ACTIVE` where it can be used. size_bytes, items: as DynamoDB counts them, every six hours."""

    status: str
    keys: tuple[str, ...]
    index_keys: tuple[str, ...]
    index_status: str
    items: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Written:
    """What became of some items: those that are in the table now, and those that are too large for it."""

    items: int
    left_out: int


class IndexTable:
    """One table. Every method may raise `Unavailable`, `Denied`, and `Invalid` where the table is not there or is another one.
    Belongs to one event loop; `close` frees its connections."""

    def __init__(self, settings: TableSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        reach = Reach("dynamodb", settings.region, settings.endpoint_url, max_connections=WRITES_AT_ONCE + 4)
        self._connections = Connections(reach, name="DynamoDB")

    @property
    def name(self) -> str:
        """The table's."""
        return self._settings.table

    # ---- writing and asking ----------------------------------------------------------------------------------------------

    async def write(self, items: Sequence[Item]) -> Written:
        """Put all items, several requests at a time; of equal keys only the last. Idempotent. What is too large for an item is
        left out. Where it raises, some are written."""
        unique = list({item.key: item for item in items}.values())
        fitting = [item for item in unique if item.fits]
        batches = [fitting[at : at + BATCH_ITEMS] for at in range(0, len(fitting), BATCH_ITEMS)]
        refused = 0
        requests = in_parallel(batches, self._write_batch, _size, most=WRITES_AT_ONCE, budget_bytes=WRITE_BUDGET_BYTES)
        async for count in requests:
            refused += count
        return Written(len(fitting) - refused, len(unique) - len(fitting) + refused)

    async def of_ticker(self, ticker: str, start: datetime | None, end: datetime | None) -> AsyncIterator[Attributes]:
        """Items of `ticker` with `start <= timestamp < end` (None: open), by time. Reads no others."""
        first, last = _bounds(start, end)
        question = {
            "IndexName": BY_TICKER,
            "KeyConditionExpression": "#ticker = :ticker AND #timestamp BETWEEN :first AND :last",
            "ExpressionAttributeNames": {"#ticker": TICKER, "#timestamp": TIMESTAMP},
            "ExpressionAttributeValues": {":ticker": {"S": ticker}, ":first": {"S": first}, ":last": {"S": last}},
        }
        async for item in self._pages("query", question):
            yield item

    async def between(self, start: datetime | None, end: datetime | None) -> AsyncIterator[Attributes]:
        """Items of all tickers with `start <= timestamp < end`, in no order. Reads the whole table, whatever the span."""
        first, last = _bounds(start, end)
        question = {
            "FilterExpression": "#timestamp BETWEEN :first AND :last",
            "ExpressionAttributeNames": {"#timestamp": TIMESTAMP},
            "ExpressionAttributeValues": {":first": {"S": first}, ":last": {"S": last}},
        }
        async for item in self._pages("scan", question):
            yield item

    async def _write_batch(self, items: Sequence[Item]) -> int:
        """Write them; how many are too large, by DynamoDB's own count."""
        waiting: list[Any] = [{"PutRequest": {"Item": item.attributes}} for item in items]
        for attempt in range(TRIES):
            try:
                answer = await self._ask("batch_write_item", RequestItems={self.name: waiting})
            except Invalid as error:
                if _TOO_LARGE not in error.message:
                    raise
                if len(items) == 1:
                    return 1
                # One of them is refused, and all with it: which one it is does not say.
                half = len(items) // 2
                return await self._write_batch(items[:half]) + await self._write_batch(items[half:])
            waiting = answer.get("UnprocessedItems", {}).get(self.name, [])
            if not waiting:
                return 0
            await self._wait(attempt)
        raise self._throttled()

    async def _pages(self, operation: str, question: dict[str, Any]) -> AsyncIterator[Attributes]:
        page: dict[str, Any] = {}
        while True:
            answer = await self._ask(operation, TableName=self.name, **question, **page)
            for item in answer["Items"]:
                yield item
            if "LastEvaluatedKey" not in answer:
                return
            page = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    # ---- making ----------------------------------------------------------------------------------------------------------

    async def describe(self) -> TableState | None:
        """The table as it is; None where there is none."""
        try:
            found = (await self._ask("describe_table", TableName=self.name))["Table"]
        except NoTable:
            return None
        index: dict[str, Any] = next(
            (each for each in found.get("GlobalSecondaryIndexes", ()) if each["IndexName"] == BY_TICKER), {}
        )
        return TableState(
            found["TableStatus"],
            _keys(found),
            _keys(index),
            index.get("IndexStatus", ""),
            found.get("ItemCount", 0),
            found.get("TableSizeBytes", 0),
        )

    async def create(self) -> None:
        """Make the table and its index, paid by request, and wait until it can be used. One that is there is left alone."""
        try:
            await self._ask(
                "create_table",
                TableName=self.name,
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=_definitions(),
                KeySchema=_schema(KEYS),
                GlobalSecondaryIndexes=[_index()],
            )
        except Unavailable:
            if await self.describe() is None:
                raise
        await self._until_active()

    async def add_index(self) -> None:
        """Make the index of a table that lacks it, and wait until it can be used."""
        change = [{"Create": _index()}]
        await self._ask(
            "update_table", TableName=self.name, AttributeDefinitions=_definitions(), GlobalSecondaryIndexUpdates=change
        )
        await self._until_active()

    async def recovers(self) -> bool:
        """Whether point-in-time recovery is on. Raises `Unsupported` where the server has none."""
        answer = await self._ask("describe_continuous_backups", TableName=self.name)
        found = answer["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
        return bool(found.get("PointInTimeRecoveryStatus") == "ENABLED")

    async def switch_recovery_on(self) -> None:
        """Point-in-time recovery. Raises `Unsupported` where the server has none."""
        wanted = {"PointInTimeRecoveryEnabled": True}
        await self._ask("update_continuous_backups", TableName=self.name, PointInTimeRecoverySpecification=wanted)

    async def check_writing(self) -> None:
        """Find out whether we may write, without writing: an item without its keys is refused. Raises `Denied` and the like."""
        try:
            await self._ask("batch_write_item", RequestItems={self.name: [{"PutRequest": {"Item": {"probe": {"S": "probe"}}}}]})
        except NoTable:
            raise
        except Invalid:
            return

    async def check_reading(self) -> None:
        """Find out whether we may ask the index. Raises `Denied` and the like."""
        async for _ in self.of_ticker(NO_TICKER, None, _LONG_AGO):
            return

    async def close(self) -> None:
        """Free the connections. Idempotent."""
        await self._connections.close()

    async def _until_active(self) -> None:
        until = self._clock.monotonic() + ACTIVE_SECONDS
        while self._clock.monotonic() < until:
            state = await self.describe()
            if state is not None and state.status == state.index_status == "ACTIVE":
                return
            await self._clock.sleep(1.0)
        raise Unavailable("the table is not ready yet", hint="wait, then run `streamer init` again", table=self.name)

    # ---- one request -----------------------------------------------------------------------------------------------------

    async def _ask(self, operation: str, **question: Any) -> Any:
        lost = False
        for attempt in range(TRIES):
            try:
                return await self._ask_once(operation, question)
            except TimeoutError as error:
                hint = "is it reachable from here? A private subnet needs a VPC endpoint for dynamodb"
                seconds = self._settings.request_seconds
                raise Unavailable(f"DynamoDB gave no answer within {seconds:g} s", hint=hint, table=self.name) from error
            except ClientError as error:
                if refusal_of(error).code not in _THROTTLED:
                    raise self._refused(refusal_of(error), operation) from error
                await self._wait(attempt)
            except RAISED as error:
                failed = self._failed(error)
                # A connection that was idle for long may be gone; every request here can be sent twice.
                if lost or not isinstance(failed, Unavailable):
                    raise failed from error
                lost = True
        raise self._throttled()

    async def _ask_once(self, operation: str, question: dict[str, Any]) -> Any:
        async with asyncio.timeout(self._settings.request_seconds):
            connection = await self._connections.take()
            try:
                return await getattr(connection.client, operation)(**question)
            except ClientError as error:
                if keys_refused(refusal_of(error)):
                    self._connections.refused(connection)
                raise
            finally:
                await self._connections.release(connection)

    async def _wait(self, attempt: int) -> None:
        await self._clock.sleep(self._clock.jitter(backoff_seconds(attempt, first=0.05, most=5.0)))

    # ---- errors ----------------------------------------------------------------------------------------------------------

    @property
    def _where(self) -> str:
        return self._settings.region or "the default region"

    def _throttled(self) -> Unavailable:
        hint = "a new table doubles its speed within minutes; else give it more capacity, or write to it more slowly"
        return Unavailable("DynamoDB does not take as much as this at once", hint=hint, table=self.name)

    def _failed(self, error: BaseException) -> StreamerError:
        if (denied := without_keys(error, table=self.name)) is not None:
            return denied
        if isinstance(error, BAD_REQUEST) or type(error).__name__ == "NoRegionError":
            return Invalid(f"DynamoDB cannot be asked: {error}", hint="set dynamodb.region, or AWS_REGION", table=self.name)
        reason, _ = reason_of(error)
        hint = f"check dynamodb.region ({self._where}) and dynamodb.endpoint_url; a private subnet needs a VPC endpoint"
        return Unavailable(f"no connection to DynamoDB: {reason}", hint=hint, table=self.name)

    def _refused(self, refusal: Refusal, operation: str) -> StreamerError:
        code = refusal.code
        if code in ("ResourceNotFoundException", "TableNotFoundException"):
            hint = "`streamer init` makes it; or correct its name, or dynamodb.region"
            return NoTable(f"there is no such table in {self._where}", hint=hint, table=self.name)
        if another_region(refusal):
            hint = "set dynamodb.region to that of the table"
            return Invalid(f"the request was signed for another region than {self._where}", hint=hint, table=self.name)
        if keys_refused(refusal):
            hint = "check the role, AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: DynamoDB is asked with these"
            return Denied(f"DynamoDB refused the credentials: {code}", hint=hint, table=self.name)
        if (missing := missing_action(refusal, ACTIONS[operation])) is not None:
            hint = f"grant {missing} on the table and its index to the role; `streamer policy` prints all that is needed"
            return Denied("DynamoDB does not let us", hint=hint, table=self.name, action=missing)
        if code in _UNKNOWN:
            return Unsupported(f"this server has no {operation}", hint="do without", table=self.name)
        if code in _NOT_NOW or refusal.status >= 500:
            return Unavailable(f"DynamoDB answered {code or refusal.status}", hint="wait, then try again", table=self.name)
        hint = f"has it the keys {KEYS[0]} and {KEYS[1]}, and the index {BY_TICKER}? `streamer check` says so"
        return Invalid(f"DynamoDB refused the request: {refusal.message[:200] or code}", hint=hint, table=self.name)


class NoTable(Invalid):
    """There is no such DynamoDB table: create it with `streamer init`, or name another."""


def _size(items: Sequence[Item]) -> int:
    return sum(item.size_bytes for item in items)


def _bounds(start: datetime | None, end: datetime | None) -> tuple[str, str]:
    """First and last timestamp, both included."""
    last = stamp(end - timedelta(microseconds=1)) if end is not None else "9999"
    return stamp(start) if start is not None else "0", last


def _keys(described: dict[str, Any]) -> tuple[str, ...]:
    kinds = {each["KeyType"]: each["AttributeName"] for each in described.get("KeySchema", ())}
    return tuple(kinds[kind] for kind in ("HASH", "RANGE") if kind in kinds)


def _schema(names: Sequence[str]) -> list[dict[str, str]]:
    return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(names, ("HASH", "RANGE"), strict=True)]


def _definitions() -> list[dict[str, str]]:
    return [{"AttributeName": name, "AttributeType": "S"} for name in KEYS]


def _index() -> dict[str, Any]:
    return {"IndexName": BY_TICKER, "KeySchema": _schema(INDEX_KEYS), "Projection": {"ProjectionType": "ALL"}}
